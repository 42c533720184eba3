"""Coverage-guided fuzzing of what reads files from elsewhere: any bytes are read, or refused.

    pip install atheris==3.0.0        # Linux, CPython up to 3.13
    python tests/fuzz/fuzz_readers.py annotations -max_total_time=60
    python tests/fuzz/fuzz_readers.py weights -max_total_time=60

An input that raises anything but TutorialError is written to the working folder as `crash-…`.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["helpers.datasets", "helpers.weights"]):
    from helpers import weights
    from helpers.datasets import annotations
from helpers.settings import TutorialError

FOLDER = Path(tempfile.mkdtemp())
ANNOTATIONS = {
    "images": [{"id": 1, "file_name": "1.jpg", "height": 9, "width": 9}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
}


def read_annotations(data: bytes) -> None:
    file = FOLDER / "instances_val2017.json"
    file.write_bytes(data)
    try:
        split = annotations.read_split(file)
    except TutorialError:
        return
    assert set(split.names) == set(split.labels) == set(split.objects)
    assert not any(".." in name or name.startswith("/") for name in split.names.values())


def read_weights(data: bytes) -> None:
    file = FOLDER / "vgg16_imagenet_notop.npz"
    file.write_bytes(data)
    try:
        weights.verify("vgg16", weights.read_cache(file), file.name)
    except TutorialError:
        return
    raise AssertionError("random bytes pass for the genuine weights")


def small_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("block1_conv1|bias.npy", weights.np.lib.format.magic(1, 0) + bytes(64))
    return buffer.getvalue()


SEEDS = {
    "annotations": (read_annotations, json.dumps(ANNOTATIONS).encode()),
    "weights": (read_weights, small_archive()),
}


def main() -> None:
    """Fuzz the reader named first on the command line; the rest are libFuzzer's options."""
    read, seed = SEEDS[sys.argv.pop(1)]
    corpus = Path(tempfile.mkdtemp())
    (corpus / "seed").write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
