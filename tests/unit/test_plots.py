"""Figures on labels as they come: none, odd ones, many at one place."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.offsetbox import AnnotationBbox
from PIL import Image

from helpers import plots
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
        plots.photo_grid(dataset, dataset.records),
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


def test_names_on_a_map_stand_beside_the_photos(dataset):
    places = {"ResNet50": np.zeros((4, 2)), "VGG16": np.eye(4, 2)}
    figure = plots.embedding_maps(places, dataset, [ODD, "cat", "dog", ODD])
    assert ODD in texts(figure)
    for axes in figure.axes:
        names = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
        assert len(names) == 3
        assert not any(a.overlaps(b) for n, a in enumerate(names) for b in names[:n])
        pictures = [one for one in axes.artists if isinstance(one, AnnotationBbox)]
        assert len(pictures) == 4
        for picture in pictures:
            assert not picture.get_window_extent().count_overlaps(names)


def test_names_on_a_map_that_is_full_of_photos_do_not_lie_on_each_other(dataset):
    records = dataset.records * 100
    places = {"ResNet50": np.random.default_rng(0).uniform(size=(400, 2))}
    kinds = [str(row % 12) for row in range(400)]
    figure = plots.embedding_maps(places, ImageDataset("full", "full", records), kinds)
    names = [text.get_bbox_patch().get_window_extent() for text in figure.axes[0].texts]
    assert len(names) == 12
    assert not any(a.overlaps(b) for n, a in enumerate(names) for b in names[:n])
