"""Every figure, in one style: colours that colour-blind readers can tell apart, and labels too.

Functions return a `Figure`; `show` puts it into the notebook with a text for those who cannot see
it. Photos go in as JPEG, charts as PNG, so that committed notebooks stay small.
"""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from helpers.datasets import ImageDataset, ImageRecord
from helpers.hits import Hit
from helpers.images import open_photo, thumbnail

# Okabe and Ito's palette: https://jfly.uni-koeln.de/color/
COLOURS = {
    "ResNet50": "#0072B2",
    "VGG16": "#D55E00",
    "EfficientNet-Lite0": "#CC79A7",
    "match": "#009E73",
    "other": "#999999",
}
OTHER_MODELS = ["#E69F00", "#56B4E9", "#000000", "#009E73", "#882255", "#332288"]
CYCLE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]

MAP_THUMBNAILS = 400
MAP_LABELS = 24

matplotlib.rcdefaults()  # a reader's own matplotlibrc may ask for LaTeX or a dark background
matplotlib.rcParams.update(
    {
        "figure.dpi": 100,
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e6e6e6",
        "axes.prop_cycle": matplotlib.cycler(color=CYCLE),
        "legend.frameon": False,
    }
)


def show(figure: Figure, alt: str, *, photos: bool = False) -> None:
    """Display a figure with its text alternative; `photos` stores it as JPEG."""
    kind = "jpeg" if photos else "png"
    options = {"pil_kwargs": {"quality": 82}} if photos else {}
    image = io.BytesIO()
    figure.savefig(image, format=kind, dpi=figure.dpi, **options)
    mime = f"image/{kind}"
    display(
        {mime: image.getvalue(), "text/plain": f"<Figure: {alt}>"},
        metadata={mime: {"alt": alt}},
        raw=True,
    )


def colour(title: str, position: int = 0) -> str:
    """A model's colour: always the same for the tutorial's own, by position for others."""
    return COLOURS.get(title, OTHER_MODELS[position % len(OTHER_MODELS)])


def tile(
    axes: Axes, path: Path, title: str, *, frame: str, style: str = "-",
    box: Sequence[float] | None = None,
) -> None:  # fmt: skip
    """One photo with a title and a frame; the frame's style says what its colour says.

    With a `box`, as `side_by_side` takes it, the whole photo is seen and the box drawn on it.
    """
    image = np.asarray(thumbnail(path, (160, 120), crop=box is None))
    height, width = image.shape[:2]
    axes.imshow(image)
    axes.set_title(title, fontsize=8, pad=3, parse_math=False)  # a category may hold $
    axes.set_axis_off()
    axes.add_patch(
        Rectangle(
            (0, 0), width - 1, height - 1, fill=False, ec=frame, lw=3, ls=style, clip_on=False
        )
    )
    if box is not None:
        x, y, wide, high = np.array(box) * (width, height, width, height)
        for line in ({"ec": "black", "lw": 4}, {"ec": "white", "lw": 2}):
            axes.add_patch(Rectangle((x, y), wide, high, fill=False, **line))


def photo_grid(dataset: ImageDataset, records: Sequence[ImageRecord], columns: int = 8) -> Figure:
    """Photos with their categories, row by row."""
    titles = [names(record.labels) for record in records]
    return titled_photos([record.path for record in records], titles, columns)


def titled_photos(paths: Sequence[Path], titles: Sequence[str], columns: int) -> Figure:
    """Photos, row by row, each under its title."""
    rows = -(-len(paths) // columns)
    figure = Figure(figsize=(1.55 * columns, 1.5 * rows), layout="constrained", dpi=80)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, path, title in zip(panels, paths, titles, strict=False):
        tile(axes, path, title, frame="white")
    for axes in panels[len(paths) :]:
        axes.set_axis_off()
    return figure


def names(labels: frozenset[str], width: int = 24) -> str:
    """Categories as one short line."""
    return textwrap.shorten(", ".join(sorted(labels)) or "no label", width, placeholder=" …")


def operators(counts: Mapping[str, Counter], most: int = 6) -> Figure:
    """How often the most frequent ONNX operators occur, one bar per network."""
    total = sum(counts.values(), Counter())
    kinds = [kind for kind, _ in total.most_common(most)]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(counts)
    for number, (title, counted) in enumerate(counts.items()):
        y = np.arange(len(kinds)) + number * height
        bars = axes.barh(
            y, [counted[kind] for kind in kinds], height, label=title, color=colour(title, number)
        )
        axes.bar_label(bars, padding=2, fontsize=8)
    axes.set_yticks(np.arange(len(kinds)) + height * (len(counts) - 1) / 2, kinds)
    axes.invert_yaxis()
    axes.set(xlabel="nodes in the graph", title=f"The {len(kinds)} most frequent operators")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower right")
    return figure


def parity(cosines: Mapping[str, np.ndarray], limit: float) -> Figure:
    """1 − cosine between Keras' and ONNX Runtime's vector, per photo, below the allowed limit."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for number, (title, values) in enumerate(cosines.items()):
        gap = np.maximum(1 - np.sort(values), 1e-16)
        axes.plot(gap, "os"[number % 2], ms=4, label=title, color=colour(title, number))
    axes.axhline(1 - limit, color="black", ls="--", lw=1)
    axes.text(0, 1 - limit, f" allowed: {1 - limit:.0e}", va="bottom")
    axes.set(yscale="log", xlabel="photo, worst first", ylabel="1 − cosine")
    axes.set_title("Keras and ONNX Runtime give the same vectors")
    axes.legend(loc="center right")
    return figure


def photo_steps(path: Path, pixels: np.ndarray, vectors: Mapping[str, np.ndarray]) -> Figure:
    """From a file to numbers: the photo, the pixels the network sees, and each model's vector."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 0.9, 2))
    photo = open_photo(path)
    left.imshow(photo)
    left.set_title(f"the photo, {photo.width} × {photo.height}")
    middle.imshow(pixels)
    middle.set_title(f"as the network sees it, {pixels.shape[0]}²")
    for axes in (left, middle):
        axes.set_axis_off()
    for number, (title, vector) in enumerate(vectors.items()):
        label = f"{title}: {len(vector)} numbers"
        right.plot(
            np.linspace(0, 1, len(vector)),
            np.sort(vector)[::-1],
            label=label,
            color=colour(title, number),
            ls="-" if number == 0 else "--",
        )
    right.set(xticks=[], xlabel="channels, strongest first", title="the vectors, length 1")
    right.legend()
    return figure


def embedding_maps(
    maps: Mapping[str, np.ndarray], dataset: ImageDataset, classes: Sequence[str]
) -> Figure:
    """One panel per model: every photo at its place in the map, framed in its class's colour.

    Of more than MAP_THUMBNAILS photos that many, evenly spread, and the others as points.

    Args:
        maps: places float [photos, 2] per model, rows in the order of the dataset.
        dataset: the photos.
        classes: one class per photo; the names of the most frequent ones stand beside their
            photos, and a line leads to the median of these.
    """
    frequency = Counter(classes)
    kinds = sorted(frequency)
    named = sorted(kinds, key=lambda kind: -frequency[kind])[:MAP_LABELS]
    shades = matplotlib.colormaps["tab20"](np.linspace(0, 1, max(len(kinds), 2)))
    colours = dict(zip(kinds, shades, strict=False))
    pictured = dataset.spread_rows(MAP_THUMBNAILS)
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
            axes.annotate(
                kind, middle, middle, ha="center", va="center", fontsize=9, weight="bold",
                parse_math=False, zorder=10,
                bbox={"fc": "white", "ec": colours[kind], "alpha": 0.9, "pad": 1.5},
                arrowprops={"arrowstyle": "-", "color": "black", "lw": 0.8, "zorder": 9},
            )  # fmt: skip
        axes.set(xticks=[], yticks=[], title=title)
        axes.margins(0.09)
        axes.spines[:].set_visible(True)
    figure.draw_without_rendering()  # only now it is known how large a text is
    for axes in panels:
        pictures = [one for one in axes.artists if isinstance(one, AnnotationBbox)]
        move_beside(axes.texts, [picture.get_window_extent() for picture in pictures])
    return figure


def move_beside(labels: Sequence[Annotation], pictures: Sequence[Bbox]) -> None:
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


def side_by_side(
    query: Path,
    labels: frozenset[str],
    results: Mapping[str, Sequence[Hit]],
    photos: Mapping[int, Path],
    box: Sequence[float] | None = None,
) -> Figure:
    """A query and one row of results per model; results that share a category are marked.

    Args:
        query: the query photo.
        labels: its categories; empty if unknown, then nothing is marked.
        results: hits per model title.
        photos: the photo of each id.
        box: the part of the query that was searched: x, y, width, height as shares of the photo's.
    """
    columns = max(map(len, results.values()))
    figure = Figure(
        figsize=(1.75 * (columns + 1), 1.75 * len(results)), layout="constrained", dpi=80
    )
    grid = figure.add_gridspec(len(results), columns + 1)
    axes = figure.add_subplot(grid[:, 0])
    title = f"query\n{names(labels, 20)}" if labels else "query"
    tile(axes, query, title, frame="black", box=box)
    for row, (title, hits) in enumerate(results.items()):
        for column, hit in enumerate(hits, start=1):
            axes = figure.add_subplot(grid[row, column])
            shared = labels & hit.labels
            mark = f"✓ {names(shared, 18)}" if shared else "✗ " if labels else ""
            tile(
                axes,
                photos[hit.id],
                f"{hit.rank}. d² = {hit.distance:.3f}\n{mark}",
                frame=COLOURS["match"] if shared else COLOURS["other"] if labels else "white",
                style=":" if labels and not shared else "-",
            )
            axes.set_gid(f"{title}/{hit.rank}/{hit.id}")
            if column == 1:
                axes.text(  # a file's name can be longer than a row is high
                    -0.1, 0.5, textwrap.fill(title, 18), transform=axes.transAxes, rotation=90,
                    va="center", ha="right", weight="bold", color="white",
                    bbox={"fc": colour(title, row), "ec": "none", "pad": 3},
                )  # fmt: skip
    return figure


def matching(labels: frozenset[str], results: Mapping[str, Sequence[Hit]]) -> str:
    """In words what `side_by_side` shows: the query, and how many results of each model match."""
    if not labels:
        return "Results of " + " and ".join(results)
    counts = [
        f"{title} {sum(bool(hit.labels & labels) for hit in hits)} of {len(hits)}"
        for title, hits in results.items()
    ]
    return f"Results for {names(labels)}; matching: {', '.join(counts)}"


def distances(nearest: Mapping[str, np.ndarray], pairs: Mapping[str, np.ndarray]) -> Figure:
    """Squared L2 distances of each model: to the nearest other photo, and between any two photos.

    Args:
        nearest: float [queries] per model.
        pairs: float [pairs] per model.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    top = 1.05 * max(values.max() for values in pairs.values())
    bins = np.linspace(0, top, 40)
    panels = np.atleast_1d(figure.subplots(1, len(pairs), sharex=True))
    for number, (axes, title) in enumerate(zip(panels, pairs, strict=True)):
        shade = colour(title, number)
        axes.hist(pairs[title], bins, density=True, color=COLOURS["other"], label="any two photos")
        axes.hist(
            nearest[title], bins, density=True, histtype="step", lw=2, color=shade,
            label="nearest other photo",
        )  # fmt: skip
        axes.set(title=title, xlabel="squared L2 distance", ylabel="density")
        axes.legend()
    return figure


def agreement(
    overlap_by_depth: np.ndarray, per_query: np.ndarray, expected: np.ndarray, k: int
) -> Figure:
    """How far two models agree: mean overlap@n for n = 1 … N, and per query at one depth.

    Args:
        overlap_by_depth: mean overlap@n, float [N].
        per_query: overlap@k of each query, float [queries], 0 to 1.
        expected: overlap@n of two random rankings, float [N].
        k: the depth of `per_query`.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    depth = np.arange(1, len(overlap_by_depth) + 1)
    left.plot(depth, overlap_by_depth, color=COLOURS["match"], label="ResNet50 and VGG16")
    left.plot(depth, expected, color="black", ls="--", label="two random orders")
    left.set(xlabel="k", ylabel="mean overlap@k", ylim=(0, 1), title="Agreement by depth")
    left.legend()
    right.hist(per_query, (np.arange(k + 2) - 0.5) / k, color=COLOURS["match"], ec="white")
    right.set(xlabel=f"overlap@{k} of one query", ylabel="queries", title="Agreement by query")
    return figure


def thresholds(tables: Mapping[str, pd.DataFrame], chosen: Mapping[str, float]) -> Figure:
    """Precision and recall over the distance up to which two photos count as the same.

    Args:
        tables: per model `study.copies.threshold_table`'s columns distance, precision, recall.
        chosen: per model the distance to mark.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(tables), sharex=True, sharey=True))
    for number, (axes, (title, table)) in enumerate(zip(panels, tables.items(), strict=True)):
        shade = colour(title, number)
        for column, line in (("precision", "--"), ("recall", "-")):
            axes.step(
                table["distance"], table[column], line, color=shade, label=column, where="post"
            )
        axes.axvline(chosen[title], color="black", lw=1, ls=":", label=f"{chosen[title]:.2f}")
        axes.set(title=title, xlabel="squared L2 distance", ylim=(0, 1.03))
        axes.legend(loc="lower right")
    return figure
