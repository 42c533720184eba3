"""Votes of a reader who compares two models query by query, and the sign test on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.stats import binomtest

from helpers.files import locked, written_whole
from helpers.settings import TutorialError, display_path, load_settings

ANSWERS = ("a", "b", "same")
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Vote:
    """One reader's answer to one query: which of two models found the better results."""

    dataset: str
    """The dataset's slug."""
    query: str
    """The photo's id, or a digest of a photo that is not in the dataset."""
    a: str
    b: str
    """Labels of the two models."""
    better: str
    """`a`, `b` or `same`."""
    blind: bool
    """Whether all that tells the models apart was hidden."""


@dataclass(frozen=True)
class Tally:
    """Votes on two models, each query counted once."""

    a: int
    b: int
    same: int
    p_value: float
    """Two-sided sign test of a against b; 1 without any preference."""

    @property
    def verdict(self) -> str:
        """The split, and whether it could be chance, as a reader would say it."""
        if self.a + self.b == 0:
            return "no preference"
        likely = "hardly chance" if self.p_value < SIGNIFICANT else "could well be chance"
        return f"{self.a} : {self.b}, {likely} (p = {self.p_value:.2g})"


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


def save_vote(vote: Vote) -> None:
    """Add a vote to the file, in one step.

    A second vote on the same query and the same two models replaces the first, open and blind
    votes apart: the sign test takes votes to be independent. Raises TutorialError where the file
    cannot be written, and as `load_votes` does.
    """
    _rewrite(lambda votes: [*(v for v in votes if _question(v) != _question(vote)), vote])


def remove_vote(vote: Vote) -> None:
    """Take a vote out of the file. Raises TutorialError as `save_vote` does."""
    _rewrite(lambda votes: [other for other in votes if other != vote])


def tally(votes: Iterable[Vote], dataset: str, a: str, b: str, *, blind: bool = True) -> Tally:
    """Count the blind votes on two models, or the open ones, on whichever side they stood.

    The sign test (`scipy.stats.binomtest`) asks how likely a split at least this uneven is if
    both were equally good; votes for “same” say nothing about it and are left out.
    """
    counts = {a: 0, b: 0, "same": 0}
    for vote in votes:
        if (vote.dataset, vote.blind) == (dataset, blind) and {vote.a, vote.b} == {a, b}:
            counts[{"a": vote.a, "b": vote.b, "same": "same"}[vote.better]] += 1
    decided = counts[a] + counts[b]
    p_value = float(binomtest(counts[a], decided).pvalue) if decided else 1.0
    return Tally(counts[a], counts[b], counts["same"], p_value)


def _rewrite(change: Callable[[list[Vote]], list[Vote]]) -> None:
    path = votes_path()
    with locked(path.with_suffix(".lock")):  # two notebooks may be open
        votes = [asdict(vote) for vote in change(load_votes())]
        with written_whole(path) as part:
            part.write_text(json.dumps(votes, indent=1) + "\n", encoding="utf-8")


def _question(vote: Vote) -> tuple[str, str, frozenset[str], bool]:
    return vote.dataset, vote.query, frozenset((vote.a, vote.b)), vote.blind
