"""What is computed from timings and scores, and the figures of notebooks 7 and 8."""

import io

import numpy as np
import pandas as pd
import pytest

from helpers.study import figures, speed


def test_losses_are_paired_within_a_model_and_a_recipe():
    fp32 = np.array([0.2, 0.9, 0.5])
    scores = {
        ("A", "article fp32"): fp32,
        ("A", "article int8"): fp32 - 0.1,
        ("A", "recommended fp32"): fp32 + 0.05,
        ("B", "recommended fp32"): fp32,  # an adopted model has no other recipe
        ("B", "recommended int8"): fp32,
    }
    losses = speed.paired_losses(scores)
    steps = ["article int8 − article fp32", "recommended int8 − recommended fp32"]
    steps.append("recommended fp32 − article fp32")
    assert all(list(table.index) == steps for table in losses.values())
    assert losses["A"]["difference"].tolist() == pytest.approx([-0.1, np.nan, 0.05], nan_ok=True)
    assert losses["B"]["difference"].tolist() == pytest.approx([np.nan, 0, np.nan], nan_ok=True)
    low, high = losses["A"].loc[steps[0], ["low", "high"]]
    assert (low, high) == pytest.approx((-0.1, -0.1)), "the queries differ, the losses do not"
    assert speed.paired_losses({}) == {}


def test_every_item_is_asked_for_alone_and_all_at_once():
    asked = []
    ratio = speed.one_by_one_over_at_once(asked.append, 3)
    assert asked == 3 * [slice(0, 1), slice(1, 2), slice(2, 3), slice(0, 3)]
    assert ratio > 0


def test_a_ladder_of_several_models_is_raced_in_one_run():
    ways = {("A", "loop"): len, ("A", "fast"): len, ("B", "loop"): len}
    measured = speed.throughput(ways, list(range(8)), rounds=2, seconds=1e-9)
    assert measured["A"].columns.tolist() == ["loop", "fast"]
    assert speed.summary(measured["B"])["ratio"].to_dict() == {"loop": 1}


def test_logarithmic_axes_end_where_the_values_do():
    points = pd.DataFrame(
        {
            "model": ["A", "A", "B"],
            "variant": ["article fp32", "article int8", "article fp32"],
            "photos_per_s": [12, 40, 90],
            "gflop": [7.7, 7.7, np.nan],  # a network whose operations ONNX cannot count
            "nDCG@10": [0.5, 0.49, 0.6],
        }
    )
    study = pd.DataFrame(
        {
            "index": ["FLAT", "HNSW"] * 2,
            "vectors": [1000, 1000, 10_000, 10_000],
            "p50_ms": [3, 4, 30, 5],
            "recall": [1, 0.9, 1, 0.96],
        }
    )
    drawn = [figures.quality_per_second(points, "nDCG@10"), figures.index_choice({"M": study})]
    for figure, ends in zip(drawn, ([(12, 90), (7.7, 7.7)], [(1000, 10_000)]), strict=True):
        figure.savefig(io.BytesIO())
        for axes, (low, high) in zip(figure.axes, ends, strict=True):
            assert low / 1.5 < axes.get_xlim()[0] < low
            assert high < axes.get_xlim()[1] < 1.5 * high


def test_heat_maps_share_one_scale():
    pixels = np.full((6, 9, 3), 200, np.uint8)
    weak, strong = np.full((3, 3), 0.1), np.diag([0.0, 0.5, 0.1])
    shown = {"A": [(pixels, weak)], "B": [(pixels, strong)]}
    figure = figures.match_maps(shown, ["query"])
    figure.savefig(io.BytesIO())
    norms = {id(image.norm) for axes in figure.axes[:2] for image in axes.images[1:]}
    assert len(norms) == 1
    assert [axes.texts[0].get_text() for axes in figure.axes[:2]] == ["11%", "83%"]
