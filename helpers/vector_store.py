"""Milvus collections: one per model, with each photo's vector, path and labels under its id.

The calls work on Milvus Lite 3.2 and on Milvus from 2.3.5. Milvus returns the squared L2 distance:
for unit vectors 2 - 2 * cosine similarity.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient, Status
from pymilvus.exceptions import MilvusException

from helpers.models import EmbeddingModel
from helpers.progress import track
from helpers.services import answering
from helpers.settings import TutorialError

# An unknown index type is accepted at creation and fails later in the background, hence the list.
INDEX_PARAMETERS: dict[str, dict[str, int]] = {
    "FLAT": {},
    "IVF_FLAT": {"nlist": 128},
    "IVF_SQ8": {"nlist": 128},
    "HNSW": {"M": 16, "efConstruction": 200},
}
RECIPE = "recipe"  # the collection property that records what the vectors were made with
PATH_BYTES = 4096
LABELS_PER_PHOTO = 1024
LABEL_BYTES = 1536  # a folder name of 255 bytes, each of them escaped
SEARCH_BATCH = 256
LITE_SEARCH_BYTES = 384 * 2**20
SAME_DISTANCE = 1e-4  # squared L2 up to which two unit vectors in float32 count as one


@dataclass(frozen=True)
class Hit:
    """One search result; `distance` is the squared L2 distance, `rank` starts at 1."""

    id: int
    distance: float
    rank: int
    path: str
    labels: frozenset[str]


def collection_name(dataset_slug: str, model: EmbeddingModel) -> str:
    """Name of the collection for one dataset and model, in the characters Milvus allows.

    Hyphens become underscores. Where other characters have to go as well, a digest of the original
    keeps two names apart.
    """
    wanted = "_".join((dataset_slug, model.name, model.preset, model.precision))
    name = re.sub(r"[^A-Za-z0-9_]", "_", wanted)
    if name != wanted.replace("-", "_"):
        name += "_" + hashlib.sha256(wanted.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return name if re.match(r"[A-Za-z_]", name) else "_" + name


@answering("milvus")
def ensure_collection(
    client: MilvusClient,
    name: str,
    dim: int,
    *,
    description: Mapping[str, Any],
    index_type: str = "FLAT",
) -> None:
    """Create the collection `name` for vectors [dim], or check that the existing one fits.

    `description` (JSON values: model, preset, precision, weights digest, …) is recorded as the
    collection's property `recipe`. Raises TutorialError for an unsupported `index_type` and for an
    existing collection of another dimension, another recipe or another index.
    """
    if index_type not in INDEX_PARAMETERS:
        raise TutorialError(
            f"Index type {index_type!r} is not supported: use one of {', '.join(INDEX_PARAMETERS)}."
        )
    recipe = json.dumps(dict(description), sort_keys=True, ensure_ascii=False)
    if client.has_collection(name):
        _check_collection(client, name, dim, recipe, index_type)
    else:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("path", DataType.VARCHAR, max_length=PATH_BYTES)
        schema.add_field(
            "labels",
            DataType.ARRAY,
            element_type=DataType.VARCHAR,
            max_capacity=LABELS_PER_PHOTO,
            max_length=LABEL_BYTES,
        )
        index = client.prepare_index_params()
        index.add_index(
            "vector",
            index_type=index_type,
            metric_type="L2",
            params=INDEX_PARAMETERS[index_type],
        )
        client.create_collection(
            name,
            schema=schema,
            index_params=index,
            consistency_level="Strong",
            properties={RECIPE: recipe},
        )
    client.load_collection(name)


def _check_collection(
    client: MilvusClient, name: str, dim: int, recipe: str, index_type: str
) -> None:
    found = client.describe_collection(name)
    fields = {field["name"]: field["params"] for field in found["fields"]}
    index = client.describe_index(name, "vector") or {}
    for what, there, wanted in (
        ("vectors of dimension", fields.get("vector", {}).get("dim"), dim),
        ("vectors of the recipe", found["properties"].get(RECIPE), recipe),
        ("an index of type", index.get("index_type"), index_type),
    ):
        if there != wanted:
            raise TutorialError(
                f"The collection {name!r} holds {what} {there}, not {wanted}: drop it with "
                f'`client.drop_collection("{name}")` and run notebook 03 again.'
            )


@answering("milvus")
def store(
    client: MilvusClient,
    name: str,
    ids: Sequence[int],
    vectors: np.ndarray,
    paths: Sequence[str],
    labels: Sequence[Collection[str]],
    *,
    batch_size: int = 1000,
    progress: bool = True,
) -> list[int]:
    """Make the collection hold exactly these rows; running it twice changes nothing.

    Rows are upserted by id, then rows with other ids are deleted. `vectors` is float32 [n, dim];
    `paths` are relative POSIX paths of at most 4096 bytes. Returns the ids as Milvus returned them.
    Raises TutorialError for repeated ids, values that are not finite, an overlong path or label,
    and where the collection ends up with another number of rows.
    """
    _check_rows(ids, vectors, paths, labels)
    returned: list[int] = []
    starts = range(0, len(ids), batch_size)
    for start in track(starts, total=len(starts), unit="batches", label=name, enabled=progress):
        batch = slice(start, start + batch_size)
        returned += upsert(client, name, ids[batch], vectors[batch], paths[batch], labels[batch])
    keep_only(client, name, returned)
    return returned


@answering("milvus")
def upsert(
    client: MilvusClient,
    name: str,
    ids: Sequence[int],
    vectors: np.ndarray,
    paths: Sequence[str],
    labels: Sequence[Collection[str]],
) -> list[int]:
    """Insert these rows, or replace those with their ids; takes and returns what `store` does.

    Raises TutorialError where the server refuses them.
    """
    rows = [
        {
            "id": int(id_),
            "vector": vector,
            "path": _escape(path),
            "labels": sorted(map(_escape, names)),
        }
        for id_, vector, path, names in zip(ids, vectors, paths, labels, strict=True)
    ]
    return client.upsert(name, rows)["ids"]


def _check_rows(
    ids: Sequence[int],
    vectors: np.ndarray,
    paths: Sequence[str],
    labels: Sequence[Collection[str]],
) -> None:
    if not len(ids) == len(vectors) == len(paths) == len(labels):
        raise TutorialError(
            f"Ids, vectors, paths and labels differ in number ({len(ids)}, {len(vectors)}, "
            f"{len(paths)}, {len(labels)}): extract the vectors again (notebook 02)."
        )
    if len(set(ids)) != len(ids):
        raise TutorialError("Some photos share an id: give every photo of the dataset its own.")
    if not np.isfinite(vectors).all():
        raise TutorialError(
            "Some vectors hold NaN or infinity: extract the vectors again (notebook 02)."
        )
    for what, texts, most in (
        ("path", paths, PATH_BYTES),
        ("category", {name for names in labels for name in names}, LABEL_BYTES),
    ):
        longest = max(map(_escape, texts), key=lambda text: len(text.encode()), default="")
        if len(longest.encode()) > most:
            raise TutorialError(f"The {what} {longest!r} exceeds {most} bytes: shorten it.")


@answering("milvus")
def copy(
    source: MilvusClient,
    name: str,
    target: MilvusClient,
    new_name: str | None = None,
    *,
    batch_size: int = 1000,
) -> int:
    """Copy a collection and its recipe to another server, or under another name.

    Nothing is extracted again: the vectors are read from `source`, batch by batch. Running it
    twice changes nothing. Returns the number of rows. Raises TutorialError for a collection that
    `target` has with other vectors, and where it ends up with another number of rows.
    """
    new_name = new_name or name
    found = source.describe_collection(name)
    ensure_collection(
        target,
        new_name,
        _dimension(found),
        description=json.loads(found["properties"][RECIPE]),
        index_type=source.describe_index(name, "vector")["index_type"],
    )
    source.load_collection(name)
    pages = source.query_iterator(
        name, batch_size=batch_size, filter="", output_fields=["id", "vector", "path", "labels"]
    )
    ids: list[int] = []
    while page := pages.next():
        rows = [{**row, "labels": list(row["labels"])} for row in page]
        ids += target.upsert(new_name, rows)["ids"]
    pages.close()
    keep_only(target, new_name, ids)
    return len(ids)


@answering("milvus")
def keep_only(client: MilvusClient, name: str, ids: Collection[int]) -> None:
    """Delete all rows but those with these ids, none of which may be missing.

    Raises TutorialError where the collection ends up with another number of rows.
    """
    client.flush(name)
    _delete_others(client, name, ids)
    rows_stored = count(client, name)
    if rows_stored != len(ids):
        raise TutorialError(
            f"The collection {name!r} holds {rows_stored} rows after {len(ids)} were stored: drop "
            f'it with `client.drop_collection("{name}")` and run notebook 03 again.'
        )


def _delete_others(client: MilvusClient, name: str, ids: Collection[int]) -> None:
    if count(client, name) == len(ids):
        return
    wanted, others = set(ids), []
    pages = client.query_iterator(name, batch_size=1000, filter="", output_fields=["id"])
    while page := pages.next():
        others += [row["id"] for row in page if row["id"] not in wanted]
    pages.close()
    for start in range(0, len(others), 1000):
        client.delete(name, ids=others[start : start + 1000])
    client.flush(name)


@answering("milvus")
def count(client: MilvusClient, name: str) -> int:
    """Exact number of rows in the collection, all earlier writes included."""
    rows = client.query(name, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return int(rows[0]["count(*)"])


@answering("milvus")
def search(
    client: MilvusClient,
    name: str,
    vectors: np.ndarray,
    limit: int,
    *,
    exclude: Sequence[int] | None = None,
    filter: str | None = None,
    filter_params: Mapping[str, Any] | None = None,
) -> list[list[Hit]]:
    """The `limit` nearest rows to each of `vectors` [m, dim], by (distance, id).

    `exclude` gives one id per query that is no answer to it: the query's own. `filter` is a Milvus
    expression such as `ARRAY_CONTAINS(labels, {label})`, whose `{name}` placeholders are filled
    from `filter_params` (strings, numbers, lists of ids). Lists are shorter where the collection
    has fewer rows, and where an approximate index finds fewer that pass a narrow filter.
    Raises TutorialError for queries of another dimension than the collection's.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if exclude is not None and len(exclude) != len(vectors):
        raise ValueError(f"{len(exclude)} ids to exclude for {len(vectors)} queries")
    fetched = limit + (exclude is not None)
    found: list[list[Hit]] = []
    step = _queries_per_call(client, name, vectors)
    for start in range(0, len(vectors), step):
        try:
            answers = client.search(
                name,
                data=vectors[start : start + step],
                anns_field="vector",
                limit=fetched,
                filter=_filled(filter or "", filter_params or {}),
                output_fields=["path", "labels"],
                # Milvus ignores the parameter that the collection's index does not know.
                search_params={
                    "metric_type": "L2",
                    "params": {"ef": max(64, 2 * fetched), "nprobe": 16},
                },
                consistency_level="Strong",
            )
        except MilvusException as error:
            if error.code != Status.CONNECT_FAILED:  # else asking again would wait as long again
                _check_dimension(client, name, vectors)
            raise
        found += [
            _hits(answer, limit, None if exclude is None else int(exclude[query]))
            for query, answer in enumerate(answers, start=start)
        ]
    return found


def _queries_per_call(client: MilvusClient, name: str, vectors: np.ndarray) -> int:
    """How many queries to send at once, such that the server's memory stays bounded.

    Milvus Lite 3.2 compares by L2 in two arrays queries × rows × dimension of float32, which for
    256 queries, 5 000 rows and 2 048 numbers are 20 GB. Other servers do not.
    """
    if len(vectors) == 1 or "lite" not in client.get_server_version():
        return SEARCH_BATCH
    rows = client.get_collection_stats(name)["row_count"]
    per_query = 2 * vectors.itemsize * max(rows, 1) * vectors.shape[1]
    return min(SEARCH_BATCH, max(1, LITE_SEARCH_BYTES // per_query))


def _check_dimension(client: MilvusClient, name: str, vectors: np.ndarray) -> None:
    dim = _dimension(client.describe_collection(name))
    if vectors.shape[1] != dim:
        raise TutorialError(
            f"The query vectors have dimension {vectors.shape[1]}, the collection {name!r} holds "
            f"vectors of dimension {dim}: ask with vectors of the model that filled it."
        )


def _dimension(description: Mapping[str, Any]) -> int:
    """The vectors' dimension, from what `describe_collection` returns."""
    [vector] = [field for field in description["fields"] if field["name"] == "vector"]
    return vector["params"]["dim"]


def _hits(answer: Sequence[Mapping[str, Any]], limit: int, excluded: int | None) -> list[Hit]:
    rows = sorted(
        (row for row in answer if row["id"] != excluded),
        key=lambda row: (row["distance"], row["id"]),
    )
    return [
        Hit(
            id=row["id"],
            distance=row["distance"],
            rank=rank,
            path=_unescape(row["entity"]["path"]),
            labels=frozenset(map(_unescape, row["entity"]["labels"])),
        )
        for rank, row in enumerate(rows[:limit], start=1)
    ]


@answering("milvus")
def check_self_first(
    client: MilvusClient, name: str, ids: Sequence[int], vectors: np.ndarray
) -> int:
    """Check that each of `ids` finds itself at distance 0; returns how many were checked.

    `vectors` [n, dim] are those stored under `ids`, all or a sample: each costs one search.
    Identical vectors (copies of a photo) tie for rank 1. Raises TutorialError with the number of
    those that do not find themselves.
    """
    lost: list[int] = []
    asked = list(range(len(ids)))
    # Ten hits show all copies of nearly every photo; where they do not, ask for more.
    for limit in (10, 1000):
        crowded = []
        for row, hits in zip(asked, search(client, name, vectors[asked], limit), strict=True):
            same = [hit.id for hit in hits if hit.distance <= SAME_DISTANCE]
            if ids[row] not in same:
                (crowded if len(same) == limit else lost).append(row)
        asked = crowded
    lost += asked
    if lost:
        raise TutorialError(
            f"{len(lost)} of {len(ids)} vectors in the collection {name!r} do not find themselves "
            f"(id {ids[lost[0]]} is the first): drop it with "
            f'`client.drop_collection("{name}")` and run notebook 03 again.'
        )
    return len(ids)


def _filled(expression: str, values: Mapping[str, Any]) -> str:
    """The expression with its `{name}` placeholders replaced by quoted literals.

    Done here because Milvus Lite 3.2, and Milvus before 2.5, do not fill filter templates.
    """

    def literal(match: re.Match[str]) -> str:
        value = values[match[1]]
        value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        stored = _escape(value) if isinstance(value, str) else value
        return json.dumps(stored, ensure_ascii=False)

    return re.sub(r"\{(\w+)\}", literal, expression)


def _escape(text: str) -> str:
    """Make a path or label valid UTF-8: bytes that were none become `\\udcXX`, `\\` doubles."""
    return text.replace("\\", r"\\").encode("utf-8", "backslashreplace").decode()


def _unescape(text: str) -> str:
    return re.sub(
        r"\\(\\|u(dc[89a-f][0-9a-f]))",
        lambda match: chr(int(match[2], 16)) if match[2] else "\\",
        text,
    )


@answering("milvus")
def holds_several_vectors(client: MilvusClient) -> bool:
    """Whether this server's collections may have several vector fields: Milvus from 2.4 on.

    Milvus Lite and hosted servers state their version in a sentence; its first number decides.
    """
    version = re.search(r"(\d+)\.(\d+)", client.get_server_version())
    return version is not None and (int(version[1]), int(version[2])) >= (2, 4)
