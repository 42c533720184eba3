"""Photos → unit vectors: decoding and network overlap, in bounded memory, cached by content."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import joblib
import numpy as np

from helpers.conversion import metadata
from helpers.images import load_pixels
from helpers.models import Recipe, described_recipe
from helpers.progress import track
from helpers.sessions import open_session
from helpers.settings import TutorialError, display_path, load_settings
from helpers.vector_cache import VectorCache, vector_cache

BATCH_SIZE = 4
Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True)
class Embedder:
    """What turns prepared pixels into one row of numbers per photo, and where rows are kept."""

    stem: str
    """What the cache is called, such as the model's file name."""
    key: str
    """Names everything the rows depend on besides the photo."""
    dimension: int
    preparation: tuple[int, str, bool, int | None]
    """Of a photo to pixels: `models.Recipe.preparation`."""
    load: Callable[[int], Callable[[np.ndarray], np.ndarray]] = field(compare=False)
    """Given the threads of one call, the function pixels [n, H, W, 3] → float32 [n, dimension]."""

    @property
    def folder(self) -> str:
        """Name of the folder that holds its rows."""
        return f"{self.stem}-{self.key[:12]}"


def extract(
    onnx_path: Path, paths: Sequence[Path], *, batch_size: int = BATCH_SIZE, progress: bool = True
) -> np.ndarray:
    """One vector per photo, computed for photos this model has not seen and kept for the others.

    Vectors are kept in `build/vectors/` under the photo's content, so a renamed photo costs
    nothing and a changed one only itself; an interrupted run goes on where it stopped. They go to
    disk batch by batch: memory does not grow with the number of photos, but for some 200 bytes
    each.

    Args:
        onnx_path: a file from `conversion.onnx_model`; its metadata says how photos are prepared.
        paths: photo files; the same content may occur twice.
        batch_size: photos per call of the network.
        progress: show a bar where someone is watching.

    Returns:
        float32 [len(paths), d], unit length, rows in the order of `paths`. Above 64 MiB it is
        mapped from a file, not held in memory.

    Raises:
        TutorialError: a photo cannot be read, the file is not from `conversion.onnx_model`, or
            the disk is full.
    """
    [vectors] = extract_many([onnx_path], paths, batch_size=batch_size, progress=progress)
    return vectors


def extract_many(
    onnx_paths: Sequence[Path],
    paths: Sequence[Path],
    *,
    batch_size: int = BATCH_SIZE,
    folder: Path | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """`extract` for several models over the same photos, in their order.

    A photo is decoded once for all models that prepare it in the same way. `folder` is where
    vectors are kept, if not in `build/vectors/`.
    """
    return cached_vectors(
        [embedder(path) for path in onnx_paths],
        paths,
        batch_size=batch_size,
        folder=folder,
        progress=progress,
    )


def embedder(onnx_path: Path) -> Embedder:
    """What computes and keeps the vectors of an ONNX file."""
    about = contract(onnx_path)

    def load(threads: int) -> Callable[[np.ndarray], np.ndarray]:
        session = open_session(onnx_path, threads)
        return lambda pixels: session.run(["embedding"], {"image": pixels})[0]

    stem, dimension = onnx_path.stem, int(about["dimension"])
    preparation = described_recipe(about).preparation
    return Embedder(stem, about["cache_key"], dimension, preparation, load)


def cached_vectors(
    embedders: Sequence[Embedder],
    paths: Sequence[Path],
    *,
    batch_size: int = BATCH_SIZE,
    folder: Path | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Rows of the embedders' caches, float32 [len(paths), dimension] each; missing ones are added.

    Embedders of the same preparation share its pixels. The caches are in `folder`, by default
    `build/vectors/`.
    """
    folder = folder or load_settings().build_dir / "vectors"
    bar = track(paths, total=len(paths), unit="photos", label="reading", enabled=progress)
    digests = list(ahead(photo_digest, bar, joblib.cpu_count()))
    with ExitStack() as stack:
        # In one order everywhere, so that two processes never wait for each other.
        caches = {
            each: stack.enter_context(vector_cache(folder / each.folder, each.dimension))
            for each in sorted(set(embedders), key=lambda each: (each.stem, each.key))
        }
        for preparation in dict.fromkeys(each.preparation for each in embedders):
            group = {
                each: cache for each, cache in caches.items() if each.preparation == preparation
            }
            add_missing(group, dict(zip(digests, paths, strict=True)), batch_size, progress)
        return [caches[each].read(digests) for each in embedders]


def add_missing(
    caches: dict[Embedder, VectorCache],
    photos: dict[bytes, Path],
    batch_size: int,
    progress: bool,
) -> None:
    """Compute what the caches do not hold of `photos` (digest → path), decoding each once."""
    known = {each: cache.rows() for each, cache in caches.items()}
    lacking = [digest for digest in photos if any(digest not in rows for rows in known.values())]
    if not lacking:
        return
    batches = [lacking[start : start + batch_size] for start in range(0, len(lacking), batch_size)]
    workers, threads = share_cpus(len(batches))
    networks = {each: each.load(threads) for each in caches}
    preparation = next(iter(caches)).preparation

    def compute(digests: list[bytes]) -> tuple[int, list]:
        pixels = np.stack([load_pixels(photos[digest], *preparation) for digest in digests])
        done = []
        for each, cache in caches.items():
            mine = [row for row, digest in enumerate(digests) if digest not in known[each]]
            if mine:
                done.append((cache, [digests[row] for row in mine], networks[each](pixels[mine])))
        return len(digests), done

    label = " + ".join(each.stem for each in caches)
    done = ahead(compute, batches, workers)
    bar = track(
        done,
        total=len(lacking),
        unit="photos",
        label=label,
        enabled=progress,
        size=lambda result: result[0],
    )
    for _, results in bar:
        for cache, keys, vectors in results:
            cache.append(keys, vectors)


def embed(
    onnx_path: Path, paths: Sequence[Path], *, batch_size: int = BATCH_SIZE
) -> Iterator[np.ndarray]:
    """Run the network over `paths` without any cache.

    Yields:
        float32 [≤ batch_size, d] unit vectors, batch after batch, in the order of `paths`.
    """
    return run_over(onnx_path, "embedding", paths, batch_size)


def feature_maps(
    onnx_path: Path, paths: Sequence[Path], *, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """What the vectors are pooled from, not cached: float32 [len(paths), h, w, d].

    Rows in the order of `paths`, of at least one photo; 7 × 7 places for pixels of 224 × 224,
    0.4 MB a photo for ResNet50. Raises TutorialError as `extract` does.
    """
    return np.concatenate(list(run_over(onnx_path, "feature_map", paths, batch_size)))


def run_over(
    onnx_path: Path, output: str, paths: Sequence[Path], batch_size: int
) -> Iterator[np.ndarray]:
    """An output of the network for photos, batch after batch."""
    preparation = file_recipe(onnx_path).preparation
    chunks = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    workers, threads = share_cpus(len(chunks))
    session = open_session(onnx_path, threads)

    def compute(chunk: Sequence[Path]) -> np.ndarray:
        pixels = np.stack([load_pixels(path, *preparation) for path in chunk])
        return session.run([output], {"image": pixels})[0]

    yield from ahead(compute, chunks, workers)


def share_cpus(batches: int) -> tuple[int, int]:
    """Batches worked on at once, and threads of the network for each.

    Together they use the CPUs this process may use, not the host's. With enough batches each
    CPU decodes and computes its own: no thread waits for another inside the network, and while
    one batch is decoded another is computed. A single batch gets all CPUs.
    """
    cpus = joblib.cpu_count()
    workers = max(1, min(cpus, batches))
    return workers, max(1, cpus // workers)


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """`map` in `workers` threads, in order; at most one result per worker waits to be fetched."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def file_recipe(onnx_path: Path) -> Recipe:
    """How photos are prepared for a file and its feature map is pooled."""
    return described_recipe(contract(onnx_path))


def contract(onnx_path: Path) -> dict[str, str]:
    """The file's metadata, checked to say how photos are prepared for it.

    Raises:
        TutorialError: it carries none, so nobody could know which pixels it expects.
    """
    props = metadata(onnx_path)
    if "cache_key" not in props:
        raise TutorialError(
            f"{display_path(onnx_path)} does not say which photo preparation it expects; "
            "make it with helpers.conversion.onnx_model()."
        )
    return props


def photo_digest(path: Path) -> bytes:
    """SHA-256 of a photo file's content."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise TutorialError(
            f"{display_path(path)!r} cannot be read ({error.strerror}); restore or remove it."
        ) from error
