"""`DATASET=coco-val2017`: every photo of the split, from a server that fails in the middle."""

import json
import os
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

import pytest
from faults import serve

from helpers.settings import ROOT

PHOTOS, SERVED_FIRST, MOST_MB = 1200, 500, 600
SAMPLE = ROOT / "data/sample"
OPEN = """
import resource
from helpers.datasets import open_dataset
dataset = open_dataset()
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(dataset), len(dataset.skipped), memory // 1024)
"""


@pytest.fixture
def source(tmp_path) -> Path:
    """The sample's photos under 1200 names, as COCO's server has them."""
    folder = tmp_path / "source"
    whole = json.loads((SAMPLE / "annotations/instances_sample.json").read_text())
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").mkdir()
    images = []
    for number, image in enumerate(islice(cycle(whole["images"]), PHOTOS), start=1):
        name = f"{number:012}.jpg"
        (folder / "val2017" / name).symlink_to(SAMPLE / "sample" / image["file_name"])
        images.append({**image, "id": number, "file_name": name})
    known = {image["id"] for image in whole["images"]}
    annotations = [each for each in whole["annotations"] if each["image_id"] in known]
    content = {**whole, "images": images, "annotations": annotations}
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(content))
    return folder


def opened(server, data: Path) -> subprocess.CompletedProcess:
    settings = {"DATASET": "coco-val2017", "COCO_BASE_URL": server.url, "DATA_DIR": str(data)}
    code = [sys.executable, "-c", OPEN]
    return subprocess.run(code, env={**os.environ, **settings}, capture_output=True, text=True)


def test_the_whole_split_is_fetched_and_an_interrupted_run_goes_on(source, tmp_path):
    data = tmp_path / "data"
    with serve(source, photos_left=SERVED_FIRST) as server:
        first = opened(server, data)
    assert first.returncode == 1 and "run again to resume" in first.stderr
    there = len(list((data / "coco/val2017").glob("*.jpg")))
    assert there >= SERVED_FIRST - 50
    with serve(source) as server:
        photos, skipped, megabytes = map(int, opened(server, data).stdout.split())
        assert len(server.photos_asked) == PHOTOS - there
    assert (photos, skipped) == (PHOTOS, 0)
    assert megabytes < MOST_MB
