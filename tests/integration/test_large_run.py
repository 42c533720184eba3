"""Two thousand photos through two models: memory stays flat, a killed run goes on."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from helpers.conversion import onnx_model
from helpers.settings import ROOT
from helpers.vector_cache import DIGEST_BYTES

PHOTOS = 2000
PRECISIONS = ("int8", "fp32")  # of ResNet50: two networks at once, and faster than VGG16
GROWTH_MB = 60  # from the first half of a run to its second, 500 photos: decoded they take 75 MB
EXTRACT = """
import sys
from pathlib import Path
from helpers.extraction import extract_many
extract_many([Path(file) for file in sys.argv[2:]], sorted(Path(sys.argv[1]).iterdir()))
"""


@pytest.fixture(scope="module")
def many_photos(tmp_path_factory):
    """Mirrored and cropped copies of real photos, where there are some, else of the sample's."""
    real = sorted((ROOT / "../shared/coco-mini").rglob("*.jpg"))
    sources = real or sorted((ROOT / "data/sample/sample").glob("*.jpg"))
    folder, random = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    for number in range(PHOTOS):
        with Image.open(sources[number % len(sources)]) as photo:
            left, top = (int(random.uniform(0, 0.3) * length) for length in photo.size)
            copy = photo.convert("RGB").crop((left, top, *photo.size))
        if number % 2:
            copy = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        copy.save(folder / f"{number:05}.jpg", quality=85)
    return folder


def rows(build):
    """Photos in each model's cache."""
    return [path.stat().st_size // DIGEST_BYTES for path in sorted(build.glob("vectors/*/keys"))]


def run(folder, files, build, stop_at=None):
    """Extract in a process of its own; `[(photos done, resident MB), …]` until done or killed."""
    command = [sys.executable, "-c", EXTRACT, str(folder), *map(str, files)]
    seen, environment = [], {**os.environ, "BUILD_DIR": str(build)}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        about = psutil.Process(process.pid)
        while process.poll() is None:
            done = min(rows(build), default=0)
            try:
                seen.append((done, about.memory_info().rss / 1e6))
            except psutil.NoSuchProcess:
                break
            if stop_at and done >= stop_at:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.2)
    return process.returncode, seen


def test_two_thousand_photos_in_flat_memory_and_resumed(many_photos, tmp_path, record_property):
    files = [onnx_model("resnet50", precision=precision) for precision in PRECISIONS]
    code, before = run(many_photos, files, tmp_path, stop_at=PHOTOS // 2)
    assert code == -signal.SIGKILL
    kept = {path: path.read_bytes() for path in tmp_path.glob("vectors/*/*")}
    assert PHOTOS // 2 <= min(rows(tmp_path)) < PHOTOS

    code, after = run(many_photos, files, tmp_path)
    assert code == 0 and rows(tmp_path) == [PHOTOS, PHOTOS]
    for folder in tmp_path.glob("vectors/*"):
        keys = (folder / "keys").read_bytes()
        photos = {keys[at : at + DIGEST_BYTES] for at in range(0, len(keys), DIGEST_BYTES)}
        assert len(photos) == PHOTOS, "no photo twice"
        assert (folder / "vectors").stat().st_size % (4 * PHOTOS) == 0
        # What the killed run had finished was kept, not computed again: files only grew.
        row = (folder / "vectors").stat().st_size // PHOTOS
        whole = len(kept[folder / "keys"]) // DIGEST_BYTES
        for name, size in (("keys", DIGEST_BYTES), ("vectors", row)):
            old = kept[folder / name][: whole * size]
            assert (folder / name).read_bytes().startswith(old)

    for seen in (before, after):
        working = [mb for done, mb in seen if done > seen[0][0]]  # both networks are loaded
        first, second = np.array_split(working, 2)
        growth = max(second) - max(first)
        record_property("growth_mb", round(growth))
        assert growth < GROWTH_MB, f"{growth:.0f} MB more in the second half, {working}"
    print(f"resident: {[round(max(mb for _, mb in seen)) for seen in (before, after)]} MB at most")
