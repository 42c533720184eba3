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

BATCH_SIZE = 4  # photos per call of the network
Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True)
class Encoder:
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


def extract(onnx_path: Path, paths: Sequence[Path], *, progress: bool = True) -> np.ndarray:
    """One vector per photo, computed for photos this model has not seen and kept for the others.

    Vectors are kept in `build/vectors/` under the photo's content, so a renamed photo costs
    nothing and a changed one only itself; an interrupted run goes on where it stopped. They go to
    disk batch by batch: memory does not grow with the number of photos, but for some 200 bytes
    each.

    onnx_path: a file from `conversion.onnx_model`; its metadata says how photos are prepared.
    paths: photo files; the same content may occur twice. progress: show a bar where someone is
    watching.

    Returns float32 [len(paths), d], unit length, rows in the order of `paths`; above 64 MiB it is
    mapped from a file, not held in memory. Raises TutorialError if a photo cannot be read, the file
    is not from `conversion.onnx_model`, or the disk is full.
    """
    [vectors] = extract_many([onnx_path], paths, progress=progress)
    return vectors


def extract_many(
    onnx_paths: Sequence[Path],
    paths: Sequence[Path],
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """`extract` for several models over the same photos, in their order.

    A photo is decoded once for all models that prepare it in the same way. `folder` is where
    vectors are kept, if not in `build/vectors/`.
    """
    return cached_vectors(list(map(encoder, onnx_paths)), paths, folder=folder, progress=progress)


def encoder(onnx_path: Path) -> Encoder:
    """What computes and keeps the vectors of an ONNX file."""
    about = contract(onnx_path)

    def load(threads: int) -> Callable[[np.ndarray], np.ndarray]:
        session = open_session(onnx_path, threads)
        return lambda pixels: session.run(["embedding"], {"image": pixels})[0]

    preparation = described_recipe(about).preparation
    return Encoder(onnx_path.stem, about["cache_key"], int(about["dimension"]), preparation, load)


def cached_vectors(
    encoders: Sequence[Encoder],
    paths: Sequence[Path],
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> list[np.ndarray]:
    """Rows of the encoders' caches, float32 [len(paths), dimension] each; missing ones are added.

    Encoders of the same preparation share its pixels. The caches are in `folder`, by default
    `build/vectors/`.
    """
    folder = folder or load_settings().build_dir / "vectors"
    bar = track(paths, total=len(paths), unit="photos", label="reading", enabled=progress)
    digests = list(ahead(photo_digest, bar, joblib.cpu_count()))
    photos = dict(zip(digests, paths, strict=True))
    with ExitStack() as stack:
        # In one order everywhere, so that two processes never wait for each other.
        caches = {
            encoder: stack.enter_context(vector_cache(folder / encoder.folder, encoder.dimension))
            for encoder in sorted(set(encoders), key=lambda encoder: (encoder.stem, encoder.key))
        }
        for preparation in dict.fromkeys(encoder.preparation for encoder in encoders):
            group = [encoder for encoder in caches if encoder.preparation == preparation]
            add_missing({encoder: caches[encoder] for encoder in group}, photos, progress)
        return [caches[encoder].read(digests) for encoder in encoders]


def add_missing(
    caches: dict[Encoder, VectorCache], photos: dict[bytes, Path], progress: bool
) -> None:
    """Compute what the caches do not hold of `photos` (digest → path), decoding each once."""
    known = {encoder: cache.rows() for encoder, cache in caches.items()}
    lacking = [digest for digest in photos if any(digest not in rows for rows in known.values())]
    if not lacking:
        return
    batches = in_batches(lacking, BATCH_SIZE)
    workers, threads = share_cpus(len(batches))
    networks = {encoder: encoder.load(threads) for encoder in caches}
    preparation = next(iter(caches)).preparation

    def compute(digests: list[bytes]) -> tuple[int, list]:
        pixels = np.stack([load_pixels(photos[digest], *preparation) for digest in digests])
        computed = []
        for encoder, cache in caches.items():
            mine = [row for row, digest in enumerate(digests) if digest not in known[encoder]]
            if mine:
                vectors = networks[encoder](pixels[mine])  # float32 [len(mine), d]
                computed.append((cache, [digests[row] for row in mine], vectors))
        return len(digests), computed

    bar = track(
        ahead(compute, batches, workers),
        total=len(lacking),
        unit="photos",
        label=" + ".join(encoder.stem for encoder in caches),
        enabled=progress,
        size=lambda result: result[0],
    )
    for _, computed in bar:
        for cache, keys, vectors in computed:
            cache.append(keys, vectors)


def embed(
    onnx_path: Path,
    paths: Sequence[Path],
    *,
    output: str = "embedding",
    batch_size: int = BATCH_SIZE,
) -> Iterator[np.ndarray]:
    """Run the network over `paths` without any cache, batch after batch, in their order.

    Yields `output`: unit vectors float32 [≤ batch_size, d], or `feature_map`, float32
    [≤ batch_size, h, w, d]. Raises TutorialError as `extract` does.
    """
    preparation = file_recipe(onnx_path).preparation
    batches = in_batches(paths, batch_size)
    workers, threads = share_cpus(len(batches))
    session = open_session(onnx_path, threads)

    def compute(batch: Sequence[Path]) -> np.ndarray:
        pixels = np.stack([load_pixels(path, *preparation) for path in batch])  # [n, H, W, 3]
        return session.run([output], {"image": pixels})[0]

    yield from ahead(compute, batches, workers)


def feature_maps(onnx_path: Path, paths: Sequence[Path]) -> np.ndarray:
    """What the vectors are pooled from, not cached: float32 [len(paths), h, w, d].

    Rows in the order of `paths`, of at least one photo; 7 × 7 places for pixels of 224 × 224,
    0.4 MB a photo for ResNet50. Raises TutorialError as `extract` does.
    """
    return np.concatenate(list(embed(onnx_path, paths, output="feature_map")))


def in_batches(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """`items` in their order, in runs of `size`; the last may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]


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

    Raises TutorialError if it carries none, so nobody could know which pixels it expects.
    """
    about = metadata(onnx_path)
    if "cache_key" not in about:
        raise TutorialError(
            f"{display_path(onnx_path)} does not say which photo preparation it expects; "
            "make it with helpers.conversion.onnx_model()."
        )
    return about


def photo_digest(path: Path) -> bytes:
    """SHA-256 of a photo file's content."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise TutorialError(
            f"{display_path(path)!r} cannot be read ({error.strerror}); restore or remove it."
        ) from error
