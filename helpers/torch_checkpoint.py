"""A PyTorch checkpoint in the format before PyTorch 1.6, read without PyTorch.

Five pickles one after another – magic number, protocol, system, state dict, keys of the storages –
then for each key its count, a little-endian int64, and the raw numbers. This is the one place where
something is unpickled: after the file proved to be the pinned one, and tensors only.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections import OrderedDict

import numpy as np
from numpy.lib.stride_tricks import as_strided


def rebuild(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_) -> np.ndarray:
    """A tensor as a view of its storage; strides count numbers, not bytes."""
    return as_strided(storage[offset:], shape, [stride * storage.itemsize for stride in strides])


ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


def read_checkpoint(content: bytes, sha256: str) -> dict[str, np.ndarray]:
    """The tensors of a state dict by name, float32 and int64.

    content: the whole file. sha256: what it must hash to; not a byte is read before that is known.
    Raises ValueError if it is another file, or its pickles name anything but tensors.
    """
    if (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"SHA-256 {digest[:12]}… is not the pinned {sha256[:12]}…")
    file, storages = io.BytesIO(content), {}

    class Tensors(pickle.Unpickler):
        def find_class(self, module: str, name: str):
            if (module, name) not in ALLOWED:
                raise ValueError(f"{module}.{name} is no part of a tensor")
            return ALLOWED[module, name]

        def persistent_load(self, described: tuple) -> np.ndarray:
            _, kind, key, _, count, _ = described
            return storages.setdefault(key, np.empty(count, kind))

    *_, state, keys = (Tensors(file).load() for _ in range(5))
    for key in keys:  # the tensors above are views of these
        count, storage = int.from_bytes(file.read(8), "little"), storages[key]
        storage[:] = np.frombuffer(file.read(count * storage.itemsize), storage.dtype)
    return state
