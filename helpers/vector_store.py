"""Milvus collections: one per model, with each photo's vector, path and labels under its id.

The calls work on Milvus Lite 3.2 and on Milvus from 2.3.5. Milvus returns the squared L2 distance:
for unit vectors 2 - 2 * cosine similarity.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient
from pymilvus.milvus_client import IndexParams

from helpers.files import locked
from helpers.hits import Hit
from helpers.models import EmbeddingModel
from helpers.progress import say, track
from helpers.services import answering
from helpers.settings import TutorialError, load_settings

# An unknown index type is accepted at creation and fails later in the background, hence the list.
INDEX_TYPES = ("FLAT", "IVF_FLAT", "IVF_SQ8", "HNSW", "HNSW_SQ")
ONE_CLUSTER = {"nlist": 1}
RECIPE = "recipe"  # the collection property that records what the vectors were made with
ROWS = "rows"  # the property that records for how many vectors the index was made
DIGEST = "digest"  # the field that tells whether a row is what shall be stored
DIGEST_BYTES = 8
PATH_BYTES = 4096
LABELS_PER_PHOTO = 1024
LABEL_BYTES = 1024
BATCH_ROWS = 1000  # per insert, delete or page
SEARCH_BATCH = 256
LITE_SEARCH_BYTES = 384 * 2**20
CONTAINS = re.compile(r'ARRAY_CONTAINS\(\s*labels\s*,\s*("(?:[^"\\]|\\.)*")\s*\)', re.IGNORECASE)
SAME_DISTANCE = 1e-4  # squared L2 up to which two unit vectors in float32 count as one


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


def index_parameters(index_type: str, rows: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Parameters to build an index for `rows` vectors and to search it.

    IVF: 4·√rows clusters, as Milvus' documentation advises, of which 1/16 and at least 16 are
    searched. HNSW: 16 links a vector, the 64 best candidates kept while searching.
    """
    if index_type.startswith("IVF"):
        clusters = max(2, min(rows, round(4 * math.sqrt(rows))))
        return {"nlist": clusters}, {"nprobe": min(clusters, max(16, clusters // 16))}
    if index_type.startswith("HNSW"):
        build: dict[str, Any] = {"M": 16, "efConstruction": 200}
        return build | ({"sq_type": "SQ8"} if index_type == "HNSW_SQ" else {}), {"ef": 64}
    return {}, {}


def create_index(
    client: MilvusClient, name: str, index_type: str, build: Mapping[str, Any]
) -> None:
    """Ask for an L2 index on the field `vector`, without waiting until it is built."""
    index = client.prepare_index_params()
    add_index(index, "vector", index_type, build)
    client.create_index(name, index, sync=False)  # else it sleeps half a second


def add_index(index: IndexParams, field: str, index_type: str, build: Mapping[str, Any]) -> None:
    """Add an L2 index with these build parameters to what `prepare_index_params` returned.

    pymilvus 3 hands `params` on one by one, and Milvus Lite 3.2 reads them only as one value, so
    that every IVF index there had 128 clusters; Milvus takes both.
    """
    index.add_index(field, index_type=index_type, metric_type="L2", params={"params": dict(build)})


@answering("milvus")
def ensure_collection(
    client: MilvusClient,
    name: str,
    dim: int,
    *,
    description: Mapping[str, Any],
    index_type: str = "FLAT",
    rows: int = 0,
) -> None:
    """Create the collection `name` for vectors [dim], or check that the existing one fits.

    `description` (JSON values: model, preset, precision, weights digest, …) is recorded as the
    collection's property `recipe`; `rows` is how many vectors are to come, for which the index is
    made. Raises TutorialError for an unsupported `index_type` and for an existing collection of
    another dimension, another recipe or another index.
    """
    if index_type not in INDEX_TYPES:
        raise TutorialError(
            f"Index type {index_type!r} is not supported: use one of {', '.join(INDEX_TYPES)}."
        )
    recipe = json.dumps(dict(description), sort_keys=True, ensure_ascii=False)
    with locked(load_settings().build_dir / "collections.lock"):  # two notebooks may start at once
        if client.has_collection(name) and _of_earlier_version(client, name):
            say(f"The collection {name} is of an earlier version: it is stored again.")
            client.drop_collection(name)
        if not client.has_collection(name):
            _create_collection(client, name, dim, {RECIPE: recipe, ROWS: str(rows)})
        if index_of(client, name) is None:  # new, or of a process that was killed here
            _create_own_index(client, name, index_type, rows)
        about = client.describe_collection(name)
        for what, there, wanted in (
            ("vectors of dimension", _dimension(about), dim),
            ("vectors of the recipe", about["properties"].get(RECIPE), recipe),
            ("an index of type", index_of(client, name), index_type),
        ):
            if there != wanted:
                raise _to_be_dropped(name, f"holds {what} {there}, not {wanted}")


def _of_earlier_version(client: MilvusClient, name: str) -> bool:
    about = client.describe_collection(name)
    fields = {field["name"] for field in about["fields"]}
    return RECIPE in about["properties"] and DIGEST not in fields


def _create_collection(
    client: MilvusClient, name: str, dim: int, properties: dict[str, str]
) -> None:
    labels = {"max_capacity": LABELS_PER_PHOTO, "max_length": LABEL_BYTES}
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("path", DataType.VARCHAR, max_length=PATH_BYTES)
    schema.add_field("labels", DataType.ARRAY, element_type=DataType.VARCHAR, **labels)
    schema.add_field(DIGEST, DataType.VARCHAR, max_length=2 * DIGEST_BYTES)
    client.create_collection(name, schema=schema, consistency_level="Strong", properties=properties)


def _create_own_index(client: MilvusClient, name: str, index_type: str, rows: int) -> None:
    """`create_index`; on Milvus Lite, FLAT becomes an IVF index with one cluster.

    That is the same exhaustive search, done by Faiss. Milvus Lite 3.2 itself searches FLAT by L2
    in arrays queries × rows × dimension: 20 GB for 256 queries, 5 000 photos and 2 048 numbers.
    """
    build, _ = index_parameters(index_type, rows)
    if index_type == "FLAT" and is_lite(client):
        index_type, build = "IVF_FLAT", ONE_CLUSTER
    create_index(client, name, index_type, build)


def index_of(client: MilvusClient, name: str) -> str | None:
    """The collection's index, one of INDEX_TYPES; FLAT also for what Milvus Lite has in its stead.

    None where it has none.
    """
    index = client.describe_index(name, "vector") or {}
    return "FLAT" if index.get("params") == ONE_CLUSTER else index.get("index_type")


def is_lite(client: MilvusClient) -> bool:
    """Whether this is Milvus Lite, the embedded server.

    Not so the server of PyPI's package `milvus`, which calls itself v2.3.5-lite.
    """
    return client.get_server_version().startswith("milvus_lite")


def _dimension(about: Mapping[str, Any]) -> int | None:
    """The vectors' dimension, from what `describe_collection` returns; None where it has none."""
    fields = {field["name"]: field["params"] for field in about["fields"]}
    return fields.get("vector", {}).get("dim")


def _to_be_dropped(name: str, fault: str) -> TutorialError:
    return TutorialError(
        f'The collection {name!r} {fault}: drop it with `client.drop_collection("{name}")` and run '
        "notebook 03 again."
    )


# Rows -----------------------------------------------------------------------------------------


@answering("milvus")
def store(
    client: MilvusClient,
    name: str,
    ids: Sequence[int],
    vectors: np.ndarray,
    paths: Sequence[str],
    labels: Sequence[Collection[str]],
) -> list[int]:
    """Make the collection hold exactly these rows; running it twice changes nothing.

    Rows that are missing or differ are upserted by id, then rows with other ids are deleted.
    `vectors` is float32 [n, dim]; `paths` are relative POSIX paths. Returns the ids. Raises
    TutorialError for values that are not finite, a path or label that is no UTF-8, and where the
    collection ends up with another number of rows.
    """
    if not np.isfinite(vectors).all():
        raise TutorialError(
            "Some vectors hold NaN or infinity: extract the vectors again (notebook 02)."
        )
    rows = _rows(ids, vectors, paths, labels)
    there = _digests(client, name)
    changed = [row for row in rows if there.get(row["id"]) != row[DIGEST]]
    batches = [changed[at : at + BATCH_ROWS] for at in range(0, len(changed), BATCH_ROWS)]
    for batch in track(batches, total=len(changed), unit="photos", label=name, size=len):
        client.upsert(name, batch)
    if changed or len(there) != len(ids):
        keep_only(client, name, ids)
    return [row["id"] for row in rows]


@answering("milvus")
def upsert(
    client: MilvusClient,
    name: str,
    ids: Sequence[int],
    vectors: np.ndarray,
    paths: Sequence[str],
    labels: Sequence[Collection[str]],
) -> list[int]:
    """Insert rows, or replace those with their ids; takes and returns what `store` does.

    Raises TutorialError where the server refuses them.
    """
    return client.upsert(name, _rows(ids, vectors, paths, labels))["ids"]


def _rows(
    ids: Sequence[int],
    vectors: np.ndarray,
    paths: Sequence[str],
    labels: Sequence[Collection[str]],
) -> list[dict[str, Any]]:
    """Rows as Milvus takes them."""
    rows = []
    vectors = np.asarray(vectors, np.float32)  # [n, dim]
    for id_, vector, path, names in zip(ids, vectors, paths, labels, strict=True):
        texts = [path, *sorted(names)]
        for text in texts:
            _check_utf8(text)
        digest = hashlib.blake2b(vector.tobytes(), digest_size=DIGEST_BYTES)
        digest.update(json.dumps(texts).encode())
        row = {"id": int(id_), "vector": vector, "path": path, "labels": texts[1:]}
        rows.append(row | {DIGEST: digest.hexdigest()})
    return rows


def _check_utf8(text: str) -> None:
    """Refuse the name of a file, folder or category whose bytes are no UTF-8: Milvus takes none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TutorialError(f"The name {text!a} is not valid UTF-8: rename it.") from None


@answering("milvus")
def copy(source: MilvusClient, name: str, target: MilvusClient, new_name: str) -> int:
    """Copy a collection and its recipe under another name, or to another server.

    The vectors are read from `source`, batch by batch. Running it twice changes nothing. Returns
    the number of rows. Raises TutorialError for a collection that `target` has with other vectors,
    and where it ends up with another number of rows.
    """
    about = source.describe_collection(name)
    recipe = json.loads(about["properties"][RECIPE])
    index = {"index_type": index_of(source, name), "rows": count(source, name)}
    ensure_collection(target, new_name, _dimension(about), description=recipe, **index)
    source.load_collection(name)
    ids: list[int] = []
    for page in _pages(source, name, ["id", "vector", "path", "labels", DIGEST]):
        rows = [{**row, "labels": list(row["labels"])} for row in page]
        ids += target.upsert(new_name, rows)["ids"]
    keep_only(target, new_name, ids)
    return len(ids)


@answering("milvus")
def keep_only(client: MilvusClient, name: str, ids: Collection[int]) -> None:
    """Delete all rows but those with these ids, none of which may be missing.

    Raises TutorialError where the collection ends up with another number of rows.
    """
    client.flush(name)
    client.load_collection(name)  # Milvus Lite builds the index of what is there now
    if count(client, name) != len(ids):
        others = list(_digests(client, name).keys() - set(ids))
        for start in range(0, len(others), BATCH_ROWS):
            client.delete(name, ids=others[start : start + BATCH_ROWS])
        client.flush(name)
    if (there := count(client, name)) != len(ids):
        raise _to_be_dropped(name, f"holds {there} rows after {len(ids)} were stored")


@answering("milvus")
def count(client: MilvusClient, name: str) -> int:
    """Exact number of rows in the collection, all earlier writes included."""
    rows = client.query(name, filter="", output_fields=["count(*)"], consistency_level="Strong")
    return int(rows[0]["count(*)"])


def _digests(client: MilvusClient, name: str) -> dict[int, str]:
    """The digest of each row that is there, by id."""
    if not client.get_collection_stats(name)["row_count"]:
        return {}
    client.load_collection(name)
    pages = _pages(client, name, ["id", DIGEST])
    return {row["id"]: row[DIGEST] for page in pages for row in page}


def _pages(client: MilvusClient, name: str, fields: list[str]) -> Iterator[list[dict[str, Any]]]:
    """All rows of a collection, BATCH_ROWS at a time."""
    pages = client.query_iterator(name, batch_size=BATCH_ROWS, filter="", output_fields=fields)
    while page := pages.next():
        yield page
    pages.close()


# Search ---------------------------------------------------------------------------------------


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

    `exclude` gives an id per query that is no answer to it: the query's own. `filter` is a Milvus
    expression such as `ARRAY_CONTAINS(labels, {label})`, whose `{name}` placeholders are filled
    from `filter_params` (strings, numbers, lists of ids). An approximate index may find fewer that
    pass a narrow filter. Raises TutorialError for queries of another dimension.
    """
    vectors = np.asarray(vectors, np.float32)  # [m, dim]
    about = client.describe_collection(name)
    _check_dimension(name, about, vectors)
    fetched = limit + (exclude is not None)
    excluded = [None] * len(vectors) if exclude is None else exclude
    expression = _with_literals(filter or "", filter_params or {})
    options = {
        "anns_field": "vector",
        "limit": fetched,
        "filter": _without_contains(client, name, expression),
        "output_fields": ["path", "labels"],
        "search_params": {"metric_type": "L2", "params": _search_parameters(about, fetched)},
        "consistency_level": "Strong",
    }
    results: list[list[Hit]] = []
    step = _queries_per_call(client, name, vectors)
    for start in range(0, len(vectors), step):
        block = slice(start, start + step)
        answers = client.search(name, data=vectors[block], **options)
        for answer, own in zip(answers, excluded[block], strict=True):
            results.append(_hits(answer, own, limit))
    return results


def _check_dimension(name: str, about: Mapping[str, Any], vectors: np.ndarray) -> None:
    if vectors.shape[1] != (dim := _dimension(about)):
        raise TutorialError(
            f"The query vectors have dimension {vectors.shape[1]}, the collection {name!r} holds "
            f"vectors of dimension {dim}: ask with vectors of the model that filled it."
        )


def _search_parameters(about: Mapping[str, Any], limit: int) -> dict[str, int]:
    """For any index: Milvus ignores the parameters that the collection's does not know.

    How many rows the index was made for is noted, because Milvus Lite counts them one by one:
    9 ms for 20 000.
    """
    rows = int(about["properties"].get(ROWS, 0))
    return {"ef": max(64, 2 * limit), **index_parameters("IVF_FLAT", rows)[1]}


def _queries_per_call(client: MilvusClient, name: str, vectors: np.ndarray) -> int:
    """How many queries to send at once, such that the server's memory stays bounded.

    Milvus Lite 3.2 searches rows whose index is not built yet as `_create_own_index` says, in two
    arrays queries × rows × dimension of float32.
    """
    if len(vectors) == 1 or not is_lite(client):
        return SEARCH_BATCH
    rows = client.get_collection_stats(name)["row_count"]
    per_query = 2 * vectors.itemsize * max(rows, 1) * vectors.shape[1]
    return min(SEARCH_BATCH, max(1, LITE_SEARCH_BYTES // per_query))


def _hits(answer: Sequence[Mapping[str, Any]], excluded: int | None, limit: int) -> list[Hit]:
    rows = [row for row in answer if row["id"] != excluded]
    rows.sort(key=lambda row: (row["distance"], row["id"]))
    hits = []
    for rank, row in enumerate(rows[:limit], start=1):
        path, labels = row["entity"]["path"], frozenset(row["entity"]["labels"])
        hits.append(Hit(row["id"], row["distance"], rank, path, labels))
    return hits


@answering("milvus")
def check_self_first(
    client: MilvusClient, name: str, ids: Sequence[int], vectors: np.ndarray
) -> int:
    """Check that each of `ids` finds itself at distance 0; returns how many were checked.

    `vectors` [n, dim] are those stored under `ids`, all or a sample: each costs one search.
    Identical vectors (copies of a photo) tie for rank 1. Raises TutorialError with the number of
    those that do not find themselves.
    """
    lost = list(range(len(ids)))
    for limit in (10, 1000):  # ten hits show all copies of nearly every photo
        results = search(client, name, vectors[lost], limit) if lost else []
        nearest = [{hit.id for hit in hits if hit.distance <= SAME_DISTANCE} for hits in results]
        lost = [row for row, same in zip(lost, nearest, strict=True) if ids[row] not in same]
    if lost:
        fault = f"does not find {len(lost)} of {len(ids)} vectors by themselves"
        raise _to_be_dropped(name, f"{fault} (id {ids[lost[0]]} is the first)")
    return len(ids)


def _with_literals(expression: str, values: Mapping[str, Any]) -> str:
    """The expression with its `{name}` placeholders replaced by quoted literals.

    Done here because Milvus Lite 3.2, and Milvus before 2.5, do not fill filter templates.
    """

    def literal(match: re.Match[str]) -> str:
        value = values[match[1]]
        value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        return json.dumps(value, ensure_ascii=False)

    return re.sub(r"\{(\w+)\}", literal, expression)


def _without_contains(client: MilvusClient, name: str, expression: str) -> str:
    """The same filter in words that cost Milvus Lite little: the ids of the photos with a label.

    For ARRAY_CONTAINS, Milvus Lite 3.2 makes Python lists of all rows, their vectors included:
    1.3 GB and 3 s a query for 20 000 photos and 2 048 numbers.
    """
    if not CONTAINS.search(expression) or not is_lite(client):
        return expression
    rows = list(chain.from_iterable(_pages(client, name, ["id", "labels"])))

    def ids(match: re.Match[str]) -> str:
        label = json.loads(match[1])
        return f"(id in {[row['id'] for row in rows if label in row['labels']]})"

    return CONTAINS.sub(ids, expression)


@answering("milvus")
def holds_several_vectors(client: MilvusClient) -> bool:
    """Whether this server's collections may have several vector fields: Milvus from 2.4 on.

    Milvus Lite and hosted servers state their version in a sentence; its first number decides.
    """
    version = re.search(r"(\d+)\.(\d+)", client.get_server_version())
    return version is not None and (int(version[1]), int(version[2])) >= (2, 4)
