"""Photos → unit vectors: decoding and network overlap, in bounded memory, cached by content."""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import joblib
import numpy as np
import onnxruntime

from helpers.conversion import metadata
from helpers.files import locked, writing
from helpers.images import load_pixels
from helpers.models import Recipe, described_recipe
from helpers.progress import track
from helpers.settings import TutorialError, display_path, load_settings

DIGEST_BYTES = 32  # SHA-256
BATCH_SIZE = 4
IN_MEMORY_BYTES = 64 * 2**20
READ_ROWS = 4096
CPU = "CPUExecutionProvider"
PROVIDERS = {
    "CUDAExecutionProvider": "CUDA",
    "TensorrtExecutionProvider": "TensorRT",
    "OpenVINOExecutionProvider": "OpenVINO",
    "CoreMLExecutionProvider": "CoreML",
    CPU: "CPU",
}
"""ONNX Runtime's execution providers in the order they are tried, and their names as shown."""

Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True)
class Embedder:
    """What turns prepared pixels into one row of numbers per photo, and where rows are kept."""

    stem: str
    """What the cache is called, such as the model's file name."""
    key: str
    """Names everything the rows depend on besides the photo."""
    dimension: int
    preparation: tuple[int, str, bool]
    """Of a photo to pixels: `models.Recipe.preparation`."""
    load: Callable[[int], Callable[[np.ndarray], np.ndarray]] = field(compare=False)
    """Given the threads of one call, the function pixels [n, H, W, 3] → float32 [n, dimension]."""


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
            each: stack.enter_context(vector_cache(folder, each))
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

    def compute(digests: list[bytes]) -> list[tuple[VectorCache, list[bytes], np.ndarray]]:
        pixels = np.stack([load_pixels(photos[digest], *preparation) for digest in digests])
        done = []
        for each, cache in caches.items():
            mine = [row for row, digest in enumerate(digests) if digest not in known[each]]
            if mine:
                done.append((cache, [digests[row] for row in mine], networks[each](pixels[mine])))
        return done

    label = " + ".join(each.stem for each in caches)
    done = ahead(compute, batches, workers)
    bar = track(done, total=len(batches), unit="batches", label=label, enabled=progress)
    for results in bar:
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


def open_session(onnx_path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the best execution provider that loads; the CPU if none does.

    Opened once for each state of the file. `threads` per call of the network, by default as many
    as this process may use CPUs.
    """
    state = onnx_path.stat()
    return _session(onnx_path, state.st_mtime_ns, state.st_size, threads or joblib.cpu_count())


@functools.lru_cache(maxsize=4)
def _session(
    onnx_path: Path, _changed: int, _size: int, threads: int
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # a provider that does not load is reported here, once
    onnxruntime.set_default_logger_severity(4)
    try:
        for provider in installed_providers():
            chain = list(dict.fromkeys([provider, CPU]))
            try:
                session = onnxruntime.InferenceSession(
                    str(onnx_path), options, providers=chain, enable_fallback=False
                )
            except Exception as error:  # ONNX Runtime's errors have no common class
                if provider == CPU:
                    raise
                reason = str(error).strip().splitlines()[0]
            else:
                if session.get_providers()[0] == provider:
                    return session
                reason = "ONNX Runtime left it out"
            _report_once(provider, reason)
    finally:
        onnxruntime.set_default_logger_severity(2)  # as it is by default
    raise AssertionError("unreachable: the CPU's provider is in every ONNX Runtime")


def installed_providers() -> list[str]:
    """The execution providers of this ONNX Runtime that `PROVIDERS` knows, in its order."""
    return [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]


def provider(onnx_path: Path) -> str:
    """The execution provider that runs this file here: CUDA, TensorRT, OpenVINO, CoreML or CPU."""
    return PROVIDERS[open_session(onnx_path).get_providers()[0]]


@functools.cache
def _report_once(provider: str, reason: str) -> None:
    print(
        f"Warning: {PROVIDERS[provider]} is installed but does not load ({reason}); the next "
        "execution provider is used, the CPU at last. Install its libraries to use it."
    )


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


@contextmanager
def vector_cache(parent: Path, embedder: Embedder) -> Iterator[VectorCache]:
    """The vectors of one model, locked so that two notebooks do not extract the same photos."""
    folder = parent / f"{embedder.stem}-{embedder.key[:12]}"
    with locked(folder / "lock"):
        with writing(folder):
            cache = VectorCache(folder, embedder.dimension)
        yield cache


class VectorCache:
    """Two files that only grow: `keys` (SHA-256 per photo) and `vectors` (float32 rows).

    A vector is written before its key. What a killed process or a full disk left over is cut off
    on opening.
    """

    def __init__(self, folder: Path, dimension: int):
        self.keys, self.vectors, self.dimension = folder / "keys", folder / "vectors", dimension
        self.keys.touch()
        self.vectors.touch()
        row_bytes = 4 * dimension
        self.count = min(
            self.keys.stat().st_size // DIGEST_BYTES, self.vectors.stat().st_size // row_bytes
        )
        for path, size in ((self.keys, DIGEST_BYTES), (self.vectors, row_bytes)):
            with path.open("r+b") as file:
                file.truncate(self.count * size)

    def rows(self) -> dict[bytes, int]:
        """Row number by photo digest."""
        blob = self.keys.read_bytes()
        return {
            blob[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES]: row for row in range(self.count)
        }

    def append(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Add vectors float32 [len(keys), d]. Raises TutorialError where the disk is full."""
        with writing(self.keys.parent):
            for path, blob in ((self.vectors, vectors.tobytes()), (self.keys, b"".join(keys))):
                with path.open("ab") as file:
                    file.write(blob)
        self.count += len(keys)

    def read(self, keys: Sequence[bytes]) -> np.ndarray:
        """Vectors float32 [len(keys), d] of photos that are in the cache.

        Above 64 MiB they are copied into a file without a name, which goes with the array.
        """
        if not keys:
            return np.empty((0, self.dimension), np.float32)
        numbers = self.rows()
        rows = np.fromiter((numbers[key] for key in keys), np.int64, len(keys))
        stored = np.memmap(self.vectors, np.float32, "r", shape=(self.count, self.dimension))
        if len(rows) * stored.strides[0] <= IN_MEMORY_BYTES:
            return np.array(stored[rows])
        with writing(self.keys.parent), TemporaryFile(dir=self.keys.parent) as file:
            for start in range(0, len(rows), READ_ROWS):
                file.write(stored[rows[start : start + READ_ROWS]].tobytes())
            file.flush()
            return np.memmap(file, np.float32, "c", shape=(len(rows), self.dimension))
