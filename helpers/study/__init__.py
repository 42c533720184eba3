"""What notebooks 5 to 9 measure, and their figures."""
