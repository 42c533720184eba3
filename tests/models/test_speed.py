"""The ways that are raced do the same work, and a network's operations are counted right."""

import math
import sys
import time

import numpy as np
import pandas as pd
import pytest

from helpers.settings import ROOT
from helpers.study import speed

sys.path.append(str(ROOT / "tools"))
import bench  # noqa: E402


@pytest.fixture(scope="module")
def fp32(onnx_files):
    return onnx_files["vgg16"]


def test_every_way_gives_the_same_vectors(fp32, photos):
    expected = speed.one_session(fp32, photos)
    assert expected.shape == (len(photos), 512)
    for way in (
        lambda paths: speed.article_loop(fp32, paths),
        bench.network_only(fp32, photos),
        bench.one_pass([fp32]),
    ):
        assert np.allclose(way(photos), expected, atol=1e-5)


def test_operations_of_vgg16(fp32):
    # by hand: height × width × 9 × channels in × channels out of its 13 convolutions
    layers = [(224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256)]
    layers += 2 * [(56, 256, 256)] + [(28, 256, 512)] + 2 * [(28, 512, 512)] + 3 * [(14, 512, 512)]
    by_hand = sum(2 * side**2 * 9 * math.prod(channels) for side, *channels in layers) / 1e9
    assert speed.gflop_per_photo(fp32) == pytest.approx(by_hand, rel=1e-9)
    assert speed.gflop_per_photo(fp32, 448) == pytest.approx(4 * by_hand, rel=1e-9)


def test_a_race_asks_every_way_and_compares_within_rounds():
    asked = {"slow": [], "fast": []}
    ways = {name: lambda paths, name=name: asked[name].append(len(paths)) for name in asked}
    measured = speed.throughput(ways, list(range(20)), rounds=2, seconds=60)
    assert list(measured.columns) == ["slow", "fast"] and len(measured) == 2
    assert all(len(counts) == 4 for counts in asked.values()), "warmed up, gauged, two rounds"
    assert measured.notna().all().all()


def test_a_way_slower_than_its_turn_is_not_gauged_twice():
    asked = []
    ways = {"slow": lambda paths: (asked.append(len(paths)), time.sleep(0.01))}
    speed.throughput(ways, list(range(20)), rounds=2, seconds=1e-6)
    assert len(asked) == 3, "warmed up, two rounds"


def test_summary_takes_the_median_of_the_rounds_ratios():
    measured = pd.DataFrame({"loop": [1.0, 2.0, 4.0], "better": [3.0, 4.0, 20.0]})
    table = speed.summary(measured)
    assert table.loc["better"].to_dict() == {
        "photos_per_s": 4.0,
        "low": 3.0,
        "high": 20.0,
        "ratio": 3.0,
    }
