"""Vectors kept under the content of their photos, in two files that only grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from helpers.files import locked, writing

DIGEST_BYTES = 32  # SHA-256
IN_MEMORY_BYTES = 64 * 2**20
READ_ROWS = 4096


@contextmanager
def vector_cache(folder: Path, dimension: int) -> Iterator[VectorCache]:
    """The vectors of one model, locked so that two notebooks do not extract the same photos."""
    with locked(folder / "lock"):
        with writing(folder):
            cache = VectorCache(folder, dimension)
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
        # float32 [all photos of the cache, d]
        stored = np.memmap(self.vectors, np.float32, "r", shape=(self.count, self.dimension))
        if len(rows) * stored.strides[0] <= IN_MEMORY_BYTES:
            return np.array(stored[rows])
        with writing(self.keys.parent), TemporaryFile(dir=self.keys.parent) as file:
            for start in range(0, len(rows), READ_ROWS):
                file.write(stored[rows[start : start + READ_ROWS]].tobytes())
            file.flush()
            return np.memmap(file, np.float32, "c", shape=(len(rows), self.dimension))
