"""Votes of a reader who compares two models query by query, and the sign test on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.stats import binomtest

from helpers.files import locked, written_whole
from helpers.settings import TutorialError, display_path, load_settings

ANSWERS = ("left", "right", "same")


@dataclass(frozen=True)
class Vote:
    """One reader's answer to one query: which of two models found the better results."""

    dataset: str
    """The dataset's slug."""
    query: str
    """The photo's id, or a digest of a photo that is not in the dataset."""
    left: str
    right: str
    better: str
    """`left`, `right` or `same`."""
    blind: bool
    """Whether the models' names were hidden."""


@dataclass(frozen=True)
class Tally:
    """Votes on two models, each query counted once."""

    first: int
    second: int
    same: int
    p_value: float
    """Two-sided sign test of first against second; 1 without any preference."""


def votes_path() -> Path:
    """The file the votes are kept in."""
    return load_settings().build_dir / "votes.json"


def load_votes() -> list[Vote]:
    """All votes so far, oldest first.

    Raises TutorialError where the file is not a list of votes.
    """
    path = votes_path()
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        votes = [Vote(**vote) for vote in found]
        if isinstance(found, list) and all(vote.better in ANSWERS for vote in votes):
            return votes
    except (ValueError, TypeError):
        pass
    raise TutorialError(
        f"{display_path(path)} does not hold votes as the explorer writes them: correct it, or "
        "delete it to start counting afresh."
    )


def save_vote(vote: Vote) -> list[Vote]:
    """Add a vote to the file, in one step, and return all of them.

    A second vote on the same query and the same two models replaces the first: the sign test
    takes votes to be independent. Raises TutorialError for a vote on a model against itself, where
    the file cannot be written, and as `load_votes` does.
    """
    if vote.left == vote.right:
        raise TutorialError(f"Both sides are {vote.left}: vote on two different models.")
    path = votes_path()
    with locked(path.with_suffix(".lock")):  # two notebooks may be open
        votes = [old for old in load_votes() if _question(old) != _question(vote)] + [vote]
        with written_whole(path) as part:
            part.write_text(
                json.dumps([asdict(one) for one in votes], indent=1) + "\n", encoding="utf-8"
            )
    return votes


def tally(votes: Iterable[Vote], dataset: str, first: str, second: str) -> Tally:
    """Count the votes on two models, on whichever side they stood.

    The sign test (`scipy.stats.binomtest`) asks how likely a split at least this uneven is if
    both were equally good; votes for “same” say nothing about it and are left out.
    """
    counts = {first: 0, second: 0, "same": 0}
    for vote in votes:
        if vote.dataset == dataset and {vote.left, vote.right} == {first, second}:
            winner = {"left": vote.left, "right": vote.right, "same": "same"}[vote.better]
            counts[winner] += 1
    decided = counts[first] + counts[second]
    p_value = float(binomtest(counts[first], decided).pvalue) if decided else 1.0
    return Tally(counts[first], counts[second], counts["same"], p_value)


def _question(vote: Vote) -> tuple[str, str, frozenset[str]]:
    return vote.dataset, vote.query, frozenset((vote.left, vote.right))
