"""Notebook 10: two models side by side for one query, votes, and linked maps."""
