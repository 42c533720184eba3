"""Maps of photos in the plane, such as by t-SNE: thumbnails, and class names beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from helpers import plots  # noqa: F401  its style
from helpers.datasets import ImageDataset
from helpers.images import thumbnail

MOST_THUMBNAILS = 400
MOST_NAMES = 24


def embedding_maps(
    maps: Mapping[str, np.ndarray], dataset: ImageDataset, classes: Sequence[str]
) -> Figure:
    """One panel per model: every photo at its place in the map, framed in its class's colour.

    maps: places float [photos, 2] per model, rows in the order of the dataset. classes: one per
    photo; the names of the most frequent ones stand beside their photos, and a line leads to the
    median of these. Of more than MOST_THUMBNAILS photos that many, evenly spread, are pictured, and
    the others are points.
    """
    frequency = Counter(classes)
    kinds = sorted(frequency)
    named = sorted(kinds, key=lambda kind: -frequency[kind])[:MOST_NAMES]
    shades = matplotlib.colormaps["tab20"](np.linspace(0, 1, max(len(kinds), 2)))
    colours = dict(zip(kinds, shades, strict=False))
    pictured = dataset.spread_rows(MOST_THUMBNAILS)
    thumbs = {row: np.asarray(thumbnail(dataset.paths[row], (40, 30))) for row in pictured}
    dots = 0 if len(pictured) == len(dataset) else 8
    figure = Figure(figsize=(14, 7.4), layout="constrained", dpi=90)
    panels = np.atleast_1d(figure.subplots(1, len(maps)))
    for axes, (title, places) in zip(panels, maps.items(), strict=True):
        axes.scatter(*places.T, s=dots, c=[colours[kind] for kind in classes])
        for row, image in thumbs.items():
            frame = {"edgecolor": colours[classes[row]], "linewidth": 2}
            box = OffsetImage(image, zoom=0.55)
            axes.add_artist(AnnotationBbox(box, tuple(places[row]), pad=0.08, bboxprops=frame))
        for kind in named:
            middle = np.median(places[[k == kind for k in classes]], axis=0)
            _write_name(axes, kind, middle, colours[kind])
        axes.set(xticks=[], yticks=[], title=title)
        axes.margins(0.09)
        axes.spines[:].set_visible(True)
    figure.draw_without_rendering()  # only now it is known how large a text is
    for axes in panels:
        pictures = [artist for artist in axes.artists if isinstance(artist, AnnotationBbox)]
        _move_beside(axes.texts, [picture.get_window_extent() for picture in pictures])
    return figure


def _write_name(axes: Axes, name: str, place: np.ndarray, colour: Sequence[float]) -> None:
    axes.annotate(
        name, place, place, ha="center", va="center", fontsize=9, weight="bold",
        parse_math=False, zorder=10,
        bbox={"fc": "white", "ec": colour, "alpha": 0.9, "pad": 1.5},
        arrowprops={"arrowstyle": "-", "color": "black", "lw": 0.8, "zorder": 9},
    )  # fmt: skip


def _move_beside(labels: Sequence[Annotation], pictures: Sequence[Bbox]) -> None:
    """Move each label to the free place next to it: not on a picture, not on another label.

    Where all places around are taken, to the one that hides the fewest pictures.
    """
    shifts = [(0.0, 0.0)]
    for radius in range(10, 130, 8):
        for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
            shifts.append((radius * np.cos(angle), radius * np.sin(angle)))
    placed: list[Bbox] = []
    for label in labels:
        frame = label.axes.get_window_extent()
        box = label.get_bbox_patch().get_window_extent().padded(1)
        hidden = {}
        for shift in shifts:
            moved = box.translated(*shift)
            inside = frame.containsx(moved.x0) and frame.containsx(moved.x1)
            inside = inside and frame.containsy(moved.y0) and frame.containsy(moved.y1)
            if not moved.count_overlaps(placed) and (inside or shift == (0, 0)):
                hidden[shift] = moved.count_overlaps(pictures)
        best = min(hidden, key=hidden.get, default=(0.0, 0.0))
        placed.append(box.translated(*best))
        transform = label.axes.transData
        label.set_position(transform.inverted().transform(transform.transform(label.xy) + best))
