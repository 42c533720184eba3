"""Coverage-guided fuzzing of what reads files from elsewhere: any bytes are read, or refused.

    pip install atheris==3.0.0        # Linux, CPython up to 3.13
    python tests/fuzz/fuzz_readers.py annotations -max_total_time=60
    python tests/fuzz/fuzz_readers.py photos -max_total_time=60
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
from PIL import Image

with atheris.instrument_imports(include=["helpers.datasets", "helpers.mending", "helpers.weights"]):
    from helpers import weights
    from helpers.datasets import annotations
from helpers.images import open_photo
from helpers.settings import TutorialError

FOLDER = Path(tempfile.mkdtemp())
ANNOTATIONS = {
    "images": [{"id": 1, "file_name": "1.jpg", "height": 9, "width": 12}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"image_id": "1", "category_id": 1.0, "segmentation": [[1, 1, 5, 1, 5, 5]]},
        {"image_id": 1, "category_id": 1, "segmentation": {"size": [9, 12], "counts": [0, 108]}},
    ],
}


def read_annotations(data: bytes) -> None:
    file = FOLDER / "instances_val2017.json"
    file.write_bytes(data)
    try:
        split = annotations.read_split(file)
    except TutorialError:
        return
    assert set(split.names) == set(split.labels) == set(split.objects)
    assert not any(".." in Path(name).parts or name[0] in "/\\" for name in split.names.values())
    for orientation in (1, 6):
        shapes = dict.fromkeys(split.objects, (9, 12, orientation))
        kept, _ = annotations.fitted(split.objects, shapes)
        for one in (one for found in kept.values() for one in found):
            try:
                assert one.mask().shape == one.photo_size == (9, 12)
            except TutorialError:
                continue


def read_photo(data: bytes) -> None:
    file = FOLDER / "a.jpg"
    file.write_bytes(data)
    try:
        photo = open_photo(file)
    except TutorialError:
        return
    assert photo.mode == "RGB" and min(photo.size) > 0


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


def damaged_photos() -> list[bytes]:
    """JPEGs without an end marker, and a PNG whose text has a wrong checksum."""
    photo, kinds = Image.linear_gradient("L").resize((32, 24)), []
    for options in ({}, {"progressive": True}):
        photo.save(buffer := io.BytesIO(), "JPEG", **options)
        kinds.append(buffer.getvalue()[:-2])
    photo.save(buffer := io.BytesIO(), "PNG")
    text = b"\0\0\0\5tEXta\0b c" + bytes(4)
    return [*kinds, buffer.getvalue()[:33] + text + buffer.getvalue()[33:]]


SEEDS = {
    "annotations": (read_annotations, [json.dumps(ANNOTATIONS).encode()]),
    "photos": (read_photo, damaged_photos()),
    "weights": (read_weights, [small_archive()]),
}


def main() -> None:
    """Fuzz the reader named first on the command line; the rest are libFuzzer's options."""
    read, seeds = SEEDS[sys.argv.pop(1)]
    corpus = Path(tempfile.mkdtemp())
    for number, seed in enumerate(seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
