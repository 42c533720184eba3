"""The committed numbers of notebooks 4 to 7 on COCO photos, and what is said of them."""

import json
import re
import sys

import pytest

from helpers.models import NETWORKS
from helpers.settings import ROOT
from helpers.study import recipes

sys.path.append(str(ROOT / "tools"))
import measure_quality  # noqa: E402

ROW = re.compile(r"^\|.*\[docs/\w+\.json\].*$", re.MULTILINE)


@pytest.fixture(scope="module")
def measured():
    text = measure_quality.MEASURED.read_text(encoding="utf-8")
    return json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON


def numbers(value):
    """All numbers in a file, at any depth, strings and names left out."""
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers(each)]
    return [value] if isinstance(value, int | float) else []


def test_it_covers_every_network_and_names_its_photos_and_versions(measured):
    assert measured["dataset"]["photos"] >= 100 and measured["environment"]["onnxruntime"]
    for name in NETWORKS:
        for score in (measured["evaluation"][name], measured["fusion"][name]["steps"]["centred"]):
            low, high = score["ndcg@10_ci"]
            assert low < score["ndcg@10"] < high
    pairs = len(NETWORKS) * (len(NETWORKS) - 1) // 2
    assert len(measured["evaluation"]["ndcg@10_pairs"]) == pairs
    assert len(measured["fusion"]["combinations"]) == pairs + 1


def test_the_ladder_is_drawn_from_it(measured, tmp_path, monkeypatch):
    drawn = measure_quality.LADDER.read_bytes()
    monkeypatch.setattr(measure_quality, "LADDER", tmp_path / "ladder.svg")
    measure_quality.draw_ladder(measured)
    assert measure_quality.LADDER.read_bytes() == drawn


def test_numbers_are_rounded_at_any_depth():
    value = {"a": [0.123456, {"b": 1}], "c": "0.123456"}
    assert measure_quality.rounded(value) == {"a": [0.1235, {"b": 1}], "c": "0.123456"}


def test_the_readmes_numbers_are_in_the_files_it_names():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Which should I take?")[1].split("\n## ")[0]
    rows = ROW.findall(section)
    assert 6 <= len(rows) <= 10
    for row in rows:
        known = []
        for name in re.findall(r"\]\((docs/\w+\.json)\)", row):
            found = json.loads((ROOT / name).read_text(encoding="utf-8"))
            known += numbers(found)
            for network in found.get("networks", ()):  # of every query: the README says their mean
                known += recipes.scores(found, network).mean().tolist()
        written = re.findall(r"(?<![\w.@])\d+\.\d+", row.split(" | ", 2)[2])
        assert written, row
        for number in written:
            places = len(number.partition(".")[2])
            half = 0.5001 / 10**places
            assert any(abs(abs(value) - float(number)) <= half for value in known), (number, row)
