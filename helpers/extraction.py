"""Photos → unit vectors: one session, batched, decoded in parallel, cached by content."""

from __future__ import annotations

import fcntl
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import onnxruntime

from helpers.conversion import metadata
from helpers.images import load_pixels
from helpers.progress import track
from helpers.settings import TutorialError, display_path, load_settings

DIGEST_BYTES = 32  # SHA-256


def extract(
    onnx_path: Path, paths: Sequence[Path], *, batch_size: int = 8, progress: bool = True
) -> np.ndarray:
    """One vector per photo, computed for photos this model has not seen and kept for the others.

    Vectors are kept in `build/vectors/` under the photo's content, so a renamed photo costs
    nothing and a changed one only itself; an interrupted run goes on where it stopped.

    Args:
        onnx_path: a file from `conversion.onnx_model`; its metadata says how photos are prepared.
        paths: photo files; the same content may occur twice.
        batch_size: photos per call of the network.
        progress: show a bar where someone is watching.

    Returns:
        float32 [len(paths), d], unit length, rows in the order of `paths`.

    Raises:
        TutorialError: a photo cannot be read, or the file is not from `conversion.onnx_model`.
    """
    props = recipe_of(onnx_path)
    return cached_vectors(
        onnx_path.stem,
        props["cache_key"],
        int(props["dimension"]),
        paths,
        lambda missing: embed(onnx_path, missing, batch_size=batch_size),
        batch_size=batch_size,
        progress=progress,
    )


def cached_vectors(
    stem: str,
    key: str,
    dimension: int,
    paths: Sequence[Path],
    compute: Callable[[list[Path]], Iterator[np.ndarray]],
    *,
    batch_size: int,
    progress: bool,
) -> np.ndarray:
    """Rows of a vector cache, one per photo; `compute` is asked for those it does not hold.

    Args:
        stem: what the cache is called, such as the model's file name.
        key: names everything the vectors depend on besides the photo.
        dimension: length of a row.
        paths: photo files.
        compute: yields float32 [≤ batch_size, dimension], batch after batch, for some photos.
        batch_size: rows per batch of `compute`.
        progress: show a bar where someone is watching.

    Returns:
        float32 [len(paths), dimension], rows in the order of `paths`.
    """
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        digests = list(pool.map(photo_digest, paths))
    with vector_cache(stem, key, dimension) as cache:
        known = cache.rows()
        missing = {d: p for d, p in zip(digests, paths, strict=True) if d not in known}
        if missing:
            keys = list(missing)
            starts = range(0, len(keys), batch_size)
            bar = track(starts, total=len(starts), unit="batches", label=stem, enabled=progress)
            for start, vectors in zip(bar, compute(list(missing.values())), strict=True):
                cache.append(keys[start : start + batch_size], vectors)
            known = cache.rows()
        return cache.read([known[digest] for digest in digests])


def embed(onnx_path: Path, paths: Sequence[Path], *, batch_size: int = 8) -> Iterator[np.ndarray]:
    """Run the network over `paths` without any cache; decoding runs ahead in other threads.

    Yields:
        float32 [≤ batch_size, d] unit vectors, batch after batch, in the order of `paths`.
    """
    session = open_session(onnx_path)
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        for pixels in prefetch(pool, recipe_of(onnx_path), paths, batch_size):
            yield session.run(["embedding"], {"image": pixels})[0]


def prefetch(
    pool: ThreadPoolExecutor, props: dict[str, str], paths: Sequence[Path], batch_size: int
) -> Iterator[np.ndarray]:
    """Batches uint8 [≤ batch_size, H, W, 3]; at most two batches are decoded ahead."""
    waiting: deque[list[Future]] = deque()
    for start in range(0, len(paths), batch_size):
        chunk = paths[start : start + batch_size]
        waiting.append([pool.submit(prepare, path, props) for path in chunk])
        if len(waiting) > 2:
            yield np.stack([future.result() for future in waiting.popleft()])
    while waiting:
        yield np.stack([future.result() for future in waiting.popleft()])


def prepare(path: Path, props: dict[str, str]) -> np.ndarray:
    """The pixels uint8 [H, W, 3] that a model with this metadata expects of a photo."""
    crop = props["crop"] == "true"
    return load_pixels(path, int(props["input_size"]), props["resize"], crop)


def open_session(onnx_path: Path) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session that uses the CPUs this process may use, not the host's."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = joblib.cpu_count()
    return onnxruntime.InferenceSession(str(onnx_path), options, providers=["CPUExecutionProvider"])


def recipe_of(onnx_path: Path) -> dict[str, str]:
    """The file's metadata: how photos are prepared for it.

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
def vector_cache(stem: str, key: str, dimension: int) -> Iterator[VectorCache]:
    """The vectors of one model, locked so that two notebooks do not extract the same photos."""
    folder = load_settings().build_dir / "vectors" / f"{stem}-{key[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield VectorCache(folder, dimension)


class VectorCache:
    """Two files that only grow: `keys` (SHA-256 per photo) and `vectors` (float32 rows).

    A vector is written before its key. What a killed process left over is cut off on opening.
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
        """Add vectors float32 [len(keys), d]."""
        for path, blob in ((self.vectors, vectors.tobytes()), (self.keys, b"".join(keys))):
            with path.open("ab") as file:
                file.write(blob)
        self.count += len(keys)

    def read(self, rows: Sequence[int]) -> np.ndarray:
        """Vectors float32 [len(rows), d]."""
        if not rows:
            return np.empty((0, self.dimension), np.float32)
        stored = np.memmap(self.vectors, np.float32, "r", shape=(self.count, self.dimension))
        return np.array(stored[rows])


def feature_maps(onnx_path: Path, paths: Sequence[Path], *, batch_size: int = 8) -> np.ndarray:
    """What the vectors are pooled from, not cached: float32 [len(paths), h, w, d].

    Rows in the order of `paths`, of at least one photo; 7 × 7 places for pixels of 224 × 224,
    0.4 MB a photo for ResNet50. Raises TutorialError as `extract` does.
    """
    session = open_session(onnx_path)
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        batches = prefetch(pool, recipe_of(onnx_path), paths, batch_size)
        found = [session.run(["feature_map"], {"image": pixels})[0] for pixels in batches]
    return np.concatenate(found)
