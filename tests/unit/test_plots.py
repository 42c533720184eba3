"""Figures on labels as they come: none, odd ones, many at one place."""

import io
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image

from helpers import photo_maps, plots
from helpers.datasets import ImageDataset, ImageRecord
from helpers.hits import Hit
from helpers.study import figures as study_figures

ODD = r"$\x$ y"  # no mathematics that Matplotlib could set


@pytest.fixture
def dataset(tmp_path):
    records = []
    for number, label in enumerate((ODD, "cat", "dog", ODD)):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40, 30), (60 * number, 90, 120)).save(path)
        records.append(ImageRecord(number, path, frozenset({label})))
    return ImageDataset("odd", "odd", tuple(records))


def texts(figure):
    """All that is written in the figure, once it was drawn."""
    figure.savefig(io.BytesIO(), format="png")
    found = [text for axes in figure.axes for text in (*axes.texts, axes.title)]
    found += [text for axes in figure.axes for text in axes.get_yticklabels()]
    return [text.get_text() for text in found]


def test_a_category_with_dollar_signs_is_written_as_it_is(dataset):
    table = pd.DataFrame({"mean": [0.5, 0.6], "queries": [2, 3]}, index=[ODD, "cat"])
    figures = [
        plots.photo_grid(dataset.records),
        study_figures.category_bars({"ResNet50": table, "VGG16": table}, "ndcg@10"),
    ]
    for figure in figures:
        assert any(text.startswith(ODD) for text in texts(figure))


def test_results_are_only_marked_where_the_query_has_labels(dataset):
    photos = {record.id: record.path for record in dataset}
    hits = [Hit(1, 0.5, 1, "1.png", frozenset({"cat"})), Hit(2, 0.6, 2, "2.png", frozenset())]
    for labels, marks in ((frozenset(), ""), (frozenset({"cat"}), "✓✗")):
        figure = plots.side_by_side(photos[0], labels, {"ResNet50": hits}, photos)
        written = "".join(texts(figure))
        assert "".join(mark for mark in "✓✗" if mark in written) == marks
        frames = {axes.patches[0].get_linestyle() for axes in figure.axes[1:]}
        assert (":" in frames) is bool(labels)


def test_long_names_of_models_do_not_cover_each_other(dataset):
    hits = [Hit(1, 0.5, 1, "1.png", frozenset())]
    titles = ("efficientnet_lite0_from_pytorch", "EfficientNet-Lite0", "a name of five short words")
    results = dict.fromkeys(titles, hits)
    figure = plots.side_by_side(dataset.paths[0], frozenset(), results, dataset.photos)
    figure.savefig(io.BytesIO(), format="png")
    found = [text for axes in figure.axes for text in axes.texts if text.get_rotation() == 90]
    boxes = [text.get_window_extent() for text in found]
    assert len(found) == 3 and found[1].get_text() == titles[1]
    for upper, lower in pairwise(boxes):
        assert lower.y1 < upper.y0


def test_the_searched_part_is_drawn_on_the_whole_query(dataset):
    tall = dataset.paths[0]
    Image.new("RGB", (60, 120)).save(tall)
    hits = [Hit(1, 0.5, 1, "1.png", frozenset())]
    box = (0.25, 0.5, 0.5, 0.25)
    figure = plots.side_by_side(tall, frozenset(), {"VGG16": hits}, dataset.photos, box)
    query = figure.axes[0]
    height, width = query.images[0].get_array().shape[:2]
    assert height == 2 * width
    drawn = query.patches[-1]
    place = (drawn.get_x(), drawn.get_y(), drawn.get_width(), drawn.get_height())
    assert place == pytest.approx((width / 4, height / 2, width / 2, height / 4))


def test_a_comparison_says_in_words_what_it_shows(dataset):
    hits = [Hit(1, 0.5, 1, "", frozenset({"cat"})), Hit(2, 0.6, 2, "", frozenset({"dog", "cup"}))]
    results = {"ResNet50": hits, "VGG16": hits[1:]}
    said = plots.matching(frozenset({"cat", "cup"}), results)
    assert said == "Results for cat, cup; matching: ResNet50 2 of 2, VGG16 1 of 1"
    assert plots.matching(frozenset(), results) == "Results of ResNet50 and VGG16"


def test_the_chart_of_operators_shows_the_most_frequent_of_both_files():
    resnet50 = Counter(Conv=9, Add=5, Pad=1, Relu=4, Mul=3, Cast=2)
    shown = texts(plots.operators({"ResNet50": resnet50, "VGG16": Counter(Conv=3, MaxPool=6)}))
    known = ["Conv", "MaxPool", "Add", "Relu", "Mul", "Cast"]
    assert [text for text in shown if text.isalpha()] == known


def test_names_on_a_map_stand_beside_the_photos(dataset):
    places = {"ResNet50": np.zeros((4, 2)), "VGG16": np.eye(4, 2)}
    figure = photo_maps.embedding_maps(places, dataset, [ODD, "cat", "dog", ODD])
    assert ODD in texts(figure)
    for axes in figure.axes:
        names = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
        assert len(names) == 3
        assert not any(a.overlaps(b) for n, a in enumerate(names) for b in names[:n])
        pictures = [artist for artist in axes.artists if isinstance(artist, AnnotationBbox)]
        assert len(pictures) == 4
        for picture in pictures:
            assert not picture.get_window_extent().count_overlaps(names)


def test_names_on_a_map_that_is_full_of_photos_do_not_lie_on_each_other(dataset):
    records = dataset.records * 50
    places = {"ResNet50": np.random.default_rng(0).uniform(size=(200, 2))}
    kinds = [f"the kind {row % 12}" for row in range(200)]  # their medians are near each other
    figure = photo_maps.embedding_maps(places, ImageDataset("full", "full", records), kinds)
    assert set(kinds) <= set(texts(figure))
    names = [text.get_bbox_patch().get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for n, a in enumerate(names) for b in names[:n])


def test_a_difference_that_may_be_none_has_a_hollow_mark():
    rows, columns = ["sure", "unsure"], ["difference", "low", "high"]
    table = pd.DataFrame([[0.2, 0.1, 0.3], [0.1, -0.1, 0.3]], index=rows, columns=columns)
    for zero, hollow in ((True, [1]), (False, [])):
        figure = study_figures.intervals({"": table}, "difference", zero=zero)
        marks = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
        assert [y for line in marks for y in line.get_ydata()] == hollow
        assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == rows


def test_six_models_are_told_apart_by_colour_and_mark():
    table = pd.DataFrame([[0.2, 0.1, 0.3]], index=["nDCG"], columns=["mean", "low", "high"])
    titles = ["ResNet50", "VGG16", "EfficientNet-Lite0", "mine", "yours", "theirs"]
    figure = study_figures.intervals(dict.fromkeys(titles, table), "score")
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == titles
    assert len({plots.colour(title, place) for place, title in enumerate(titles)}) == 6
    markers = {line.get_marker() for line in figure.axes[0].lines} - {"|", "_", "None", ""}
    assert len(markers) == 6


def test_the_ladder_states_every_score_and_what_it_costs():
    rungs = pd.DataFrame({"mean": [0.4, 0.5], "low": 0.3, "high": 0.6, "gflop": [7.7, 17.31]})
    rungs.index, rungs["model"] = ["first", "both"], ["ResNet50", ""]
    written = "".join(texts(study_figures.ladder(rungs, "nDCG@10")))
    for part in ("first", "both", "0.400", "0.500", "7.7", "17.3", "GFLOP"):
        assert part in written
