"""What the explorer shows: a query and two models → two ranked rows and a combined one.

Nothing here knows of widgets: `helpers.explorer.widget` draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import grpc
import numpy as np
import redis
from pymilvus.client.types import Status
from pymilvus.exceptions import MilvusException

from helpers import search, services
from helpers.conversion import is_current, onnx_path
from helpers.datasets import ImageDataset, ImageRecord
from helpers.hits import Hit
from helpers.models import EmbeddingModel
from helpers.ranking import overlap_at_k, rank_exact
from helpers.search import StoredModel
from helpers.settings import TutorialError
from helpers.study import fusion
from helpers.vector_store import collection_name, count

METRICS = {
    "L2": ("squared L2 distance", "d²", "Squared L2 distance, 0 to 4: 2 − 2 · cosine"),
    "COSINE": ("cosine", "cos", "Cosine, −1 to 1: 1 − d² / 2"),
    "IP": ("inner product", "ip", "Inner product of unit vectors: their cosine"),
}
"""Milvus' name of each, its title, its sign and what it means.

Unit vectors are ranked alike by all three; scores differ, and so does what is fused of them.
"""

DEPTH = 200
"""Results asked of each model, to say where the other one has a photo, and to fuse."""

OWN_PHOTO = -1
"""Id of a query that is not in the dataset, whose ids are 0 or greater."""

UNANSWERED = (
    Status.CONNECT_FAILED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
"""Codes of Milvus' errors where it did not answer; with all others it refused."""


@dataclass(frozen=True)
class Choice:
    """Everything a reader can set."""

    query: ImageRecord
    a: EmbeddingModel
    b: EmbeddingModel
    count: int = 6
    metric: str = "L2"
    category: str | None = None
    """Only photos of this category are results; None: all."""
    weight: float = 0.5
    """Of model B in the combined row: 0 is A alone, 1 is B alone."""


@dataclass(frozen=True)
class Result:
    """One photo in a row."""

    hit: Hit
    """`rank` is its place in this row, `distance` the squared L2 distance of this row's model
    (in the combined row of no use: 0)."""
    score: float
    """In the chosen metric; in the combined row the fused score, 0 to 1."""
    elsewhere: tuple[int | None, ...]
    """Its rank in the other model's list; in the combined row in A's and in B's.
    None: not among the first 200 there."""
    shared: frozenset[str]
    """Categories it has in common with the query."""


@dataclass(frozen=True)
class Answer:
    """Three rows of equal length, and what has to be said about them."""

    a: list[Result]
    b: list[Result]
    combined: list[Result]
    notice: str


class Stores:
    """Stored models, on servers that may end while the explorer is open."""

    def __init__(self, dataset: ImageDataset):
        self.dataset = dataset
        self.known: dict[EmbeddingModel, StoredModel] = {}
        self.differences: dict[frozenset[EmbeddingModel], np.ndarray] = {}

    def __call__(self, model: EmbeddingModel) -> StoredModel:
        """The stored model; converted, extracted and stored now if it is new here.

        Raises TutorialError as `search.store_dataset` and `services.connect_milvus` do.
        """
        if model not in self.known:
            self.known[model] = search.store_dataset(
                self.dataset,
                model,
                milvus=services.connect_milvus(),
                redis=services.connect_redis(),
            )
        return self.known[model]

    def made(self, model: EmbeddingModel) -> bool:
        """Whether it can be searched at once: it is converted, extracted and stored."""
        if model in self.known:
            return True
        name, client = collection_name(self.dataset.slug, model), services.connect_milvus()
        return (
            is_current(onnx_path(model), model)
            and client.has_collection(name)
            and count(client, name) == len(self.dataset)
        )

    def disagreement(self, a: EmbeddingModel, b: EmbeddingModel) -> np.ndarray:
        """Share of each photo's ten nearest that only one of two models has: float64 [photos].

        By exact search; the nearest are fewer where the dataset has no ten others.
        """
        pair = frozenset((a, b))
        if pair not in self.differences:
            rows, depth = np.arange(len(self.dataset)), min(10, len(self.dataset) - 1)
            rankings = [rank_exact(v, v, rows, depth) for v in (self(a).vectors, self(b).vectors)]
            self.differences[pair] = 1 - overlap_at_k(*rankings, depth)
        return self.differences[pair]


def answer(stores: Stores, choice: Choice) -> Answer:
    """Search with both models and combine their lists.

    Args:
        stores: the stored models, and the dataset they are of.
        choice: what to search for and how; a query of the dataset is not among its own results.

    Raises:
        TutorialError: more results than photos, a filter without match, the same model twice, or
            a server that does not answer.
    """
    count, notice = _countable(stores.dataset, choice)
    sides = [_search(stores, model, choice) for model in (choice.a, choice.b)]
    scores = [in_metric([hit.distance for hit in hits], choice.metric) for hits in sides]
    rankings = [np.array([[hit.id for hit in hits]], np.int64) for hits in sides]
    weights = (1 - choice.weight, choice.weight)
    fused, fused_scores = fusion.weighted_fusion(
        rankings, [row[np.newaxis] for row in scores], weights, count, choice.metric
    )
    ranks = [{hit.id: hit.rank for hit in hits} for hits in sides]
    by_id = {hit.id: hit for hits in sides for hit in hits}

    def row(hits: Sequence[Hit], values: np.ndarray, others: Sequence[dict[int, int]]):
        found = []
        for hit, value in zip(hits[:count], values[:count], strict=True):
            elsewhere = tuple(ranks.get(hit.id) for ranks in others)
            found.append(Result(hit, float(value), elsewhere, hit.labels & choice.query.labels))
        return found

    combined = [
        replace(by_id[id_], distance=0.0, rank=rank) for rank, id_ in enumerate(fused[0], start=1)
    ]
    return Answer(
        row(sides[0], scores[0], ranks[1:]),
        row(sides[1], scores[1], ranks[:1]),
        row(combined, fused_scores[0], ranks),
        notice,
    )


def in_metric(squared_distances: Sequence[float], metric: str) -> np.ndarray:
    """Scores of unit vectors in a metric, from their squared L2 distances d²: float64.

    Cosine and inner product are both 1 − d²/2.
    """
    distances = np.asarray(squared_distances, np.float64)
    return distances if metric == "L2" else 1 - distances / 2


def score_line(result: Result, row: str, metric: str) -> tuple[str, str]:
    """Rank and score, as they stand under a photo, and what the score means.

    row: `a`, `b` or `combined`; metric: the one that was chosen.
    """
    _, sign, meaning = METRICS[metric]
    if row == "combined":
        sign, meaning = "Σ", "Weighted sum of both models' normalised scores, 0 to 1"
    return f"{result.hit.rank} · {sign} {result.score:.3f}", meaning


def rank_line(result: Result, row: str, count: int) -> tuple[str, str]:
    """Where else the photo stands: ▲ if this row ranks it higher than the other; and in words.

    row: `a`, `b` or `combined`; count: results in each row.
    """
    if row == "combined":
        places = [rank or f"beyond {DEPTH}" for rank in result.elsewhere]
        return f"A {places[0]}, B {places[1]}", "Its rank with each model alone"
    [there], other = result.elsewhere, "B" if row == "a" else "A"
    if there is None:
        return f"new, beyond {DEPTH} there", f"Not among the first {DEPTH} of {other}"
    tip = f"At rank {there} with {other}"
    if there > count:
        return f"new, {there} there", f"{tip}: not in its row"
    higher = there - result.hit.rank
    if not higher:
        return "= same rank", tip
    sign, word = ("▲", "higher") if higher > 0 else ("▼", "lower")
    return f"{sign} {abs(higher)}", f"{tip}: {abs(higher)} {word} here"


def _countable(dataset: ImageDataset, choice: Choice) -> tuple[int, str]:
    """How many results there can be, and a sentence where these are fewer than asked for."""
    if choice.a == choice.b:
        raise TutorialError(f"Both sides are {choice.a.label}: choose two different models.")
    others = [record for record in dataset if record.id != choice.query.id]
    if not 1 <= choice.count <= len(others):
        raise TutorialError(
            f"{choice.count} results were asked for, and there are {len(others)} other photos: "
            f"choose a number from 1 to {len(others)}."
        )
    if choice.category is None:
        return choice.count, ""
    matching = sum(choice.category in record.labels for record in others)
    if not matching:
        raise TutorialError(
            f"No other photo shows “{choice.category}”: choose another category, or all."
        )
    if matching >= choice.count:
        return choice.count, ""
    photos = "photo shows" if matching == 1 else "photos show"
    return matching, f"Only {matching} other {photos} “{choice.category}”: these are all."


def _search(stores: Stores, model: EmbeddingModel, choice: Choice) -> list[Hit]:
    """The results of one model, deep enough to fuse; its servers may have ended."""
    photos = len(stores.dataset)
    filtered = {}
    if choice.category is not None:
        filtered = {
            "filter": "ARRAY_CONTAINS(labels, {category})",
            "filter_params": {"category": choice.category},
        }
    stored = stores(model)
    try:
        if choice.query.id == OWN_PHOTO:
            vector = search.photo_vector(stored, choice.query.path)
        else:
            vector = stored.vectors[[stores.dataset.row_of[choice.query.id]]]
        depth = min(max(DEPTH, choice.count), photos)
        [hits] = search.search_stored(stored, vector, depth, exclude=[choice.query.id], **filtered)
    except TutorialError as error:
        cause = error.__context__  # what `services.answering` made a sentence of
        if isinstance(cause, (MilvusException, grpc.RpcError, redis.RedisError)):
            stores.known.clear()  # connect anew next time, and check what is stored there
        if not _unanswered(cause):
            raise
        server = "Redis" if isinstance(cause, redis.RedisError) else "Milvus"
        raise TutorialError(
            f"{server} does not answer any more: choose a photo again to connect anew; an "
            f"embedded server is started again, one that {services.SETTINGS[server.lower()]} "
            "names has to be running by then."
        ) from error
    return hits


def _unanswered(error: BaseException | None) -> bool:
    """Whether the server of this error is gone, rather than there and unwilling."""
    code = error.code() if isinstance(error, grpc.Call) else getattr(error, "code", None)
    return code in UNANSWERED or isinstance(error, (redis.ConnectionError, redis.TimeoutError))
