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
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import ImageOps

from helpers.datasets import ImageDataset, ImageRecord
from helpers.images import open_photo
from helpers.vector_store import Hit

# Okabe and Ito's palette: https://jfly.uni-koeln.de/color/
COLOURS = {
    "ResNet50": "#0072B2",
    "VGG16": "#D55E00",
    "match": "#009E73",
    "other": "#999999",
}
CYCLE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999"]

MAP_THUMBNAILS = 400
MAP_LABELS = 24
HATCHES = ["", "//", "..", "xx"]
OUTLINE = [withStroke(linewidth=2, foreground="black")]

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
    return COLOURS.get(title, CYCLE[(position + 2) % len(CYCLE)])


def thumbnail(path: Path, size: tuple[int, int] = (160, 120)) -> np.ndarray:
    """A photo cropped to `size` (width, height): uint8 [height, width, 3]."""
    return np.asarray(ImageOps.fit(open_photo(path), size))


def tile(axes: Axes, path: Path, title: str, *, frame: str, style: str = "-") -> None:
    """One photo with a title and a frame; the frame's style says what its colour says."""
    image = thumbnail(path)
    height, width = image.shape[:2]
    axes.imshow(image)
    axes.set_title(title, fontsize=8, pad=3, parse_math=False)  # a category may hold $
    axes.set_axis_off()
    axes.add_patch(
        Rectangle(
            (0, 0), width - 1, height - 1, fill=False, ec=frame, lw=3, ls=style, clip_on=False
        )
    )


def photo_grid(dataset: ImageDataset, records: Sequence[ImageRecord], columns: int = 8) -> Figure:
    """Photos with their categories, row by row."""
    rows = -(-len(records) // columns)
    figure = Figure(figsize=(1.55 * columns, 1.5 * rows), layout="constrained", dpi=80)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, record in zip(panels, records, strict=False):
        tile(axes, record.path, names(record.labels), frame="white")
    for axes in panels[len(records) :]:
        axes.set_axis_off()
    return figure


def names(labels: frozenset[str], width: int = 24) -> str:
    """Categories as one short line."""
    return textwrap.shorten(", ".join(sorted(labels)) or "no label", width, placeholder=" …")


def operators(counts: Mapping[str, Counter]) -> Figure:
    """How often each ONNX operator occurs, one bar per network."""
    total = sum(counts.values(), Counter())
    kinds = sorted(total, key=lambda kind: (-total[kind], kind))
    figure = Figure(figsize=(8, 5.5), layout="constrained")
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
    axes.set(xlabel="nodes in the graph", title="What the two ONNX files are made of")
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
        classes: one class per photo; the names of the most frequent ones stand at the median of
            their photos, or above it where another name is.
    """
    frequency = Counter(classes)
    kinds = sorted(frequency)
    named = sorted(kinds, key=lambda kind: -frequency[kind])[:MAP_LABELS]
    shades = matplotlib.colormaps["tab20"](np.linspace(0, 1, max(len(kinds), 2)))
    colours = dict(zip(kinds, shades, strict=False))
    pictured = dataset.spread_rows(MAP_THUMBNAILS)
    thumbs = {row: thumbnail(dataset.paths[row], (40, 30)) for row in pictured}
    dots = 0 if len(pictured) == len(dataset) else 8
    figure = Figure(figsize=(14, 7), layout="constrained", dpi=90)
    panels = np.atleast_1d(figure.subplots(1, len(maps)))
    for axes, (title, places) in zip(panels, maps.items(), strict=True):
        axes.scatter(*places.T, s=dots, c=[colours[kind] for kind in classes])
        for row, image in thumbs.items():
            frame = {"edgecolor": colours[classes[row]], "linewidth": 2}
            box = OffsetImage(image, zoom=0.55)
            axes.add_artist(AnnotationBbox(box, tuple(places[row]), pad=0.08, bboxprops=frame))
        for kind in named:
            x, y = np.median(places[[k == kind for k in classes]], axis=0)
            label = axes.text(x, y, kind, ha="center", va="center", fontsize=9, weight="bold")
            label.set(parse_math=False, zorder=10)
            label.set_bbox({"fc": "white", "ec": colours[kind], "alpha": 0.85, "pad": 1.5})
        axes.set(xticks=[], yticks=[], title=title)
        axes.spines[:].set_visible(False)
    figure.draw_without_rendering()  # only now it is known how large a text is
    for axes in panels:
        move_apart(axes.texts)
    return figure


def move_apart(labels: Sequence[Text]) -> None:
    """Move labels up until none lies on another."""
    placed: list[Bbox] = []
    for label in sorted(labels, key=lambda label: label.get_window_extent().y0):
        box = label.get_window_extent().padded(3)
        shift = 0
        while any(box.translated(0, shift).overlaps(other) for other in placed):
            shift += 1
        placed.append(box.translated(0, shift))
        transform = label.get_transform()
        x, y = transform.transform(label.get_position())
        label.set_position(transform.inverted().transform((x, y + shift)))


def side_by_side(
    query: Path,
    labels: frozenset[str],
    results: Mapping[str, Sequence[Hit]],
    photos: Mapping[int, Path],
) -> Figure:
    """A query and one row of results per model; results that share a category are marked.

    Args:
        query: the query photo.
        labels: its categories; empty if unknown, then nothing is marked.
        results: hits per model title.
        photos: the photo of each id.
    """
    columns = max(map(len, results.values()))
    figure = Figure(
        figsize=(1.75 * (columns + 1), 1.75 * len(results)), layout="constrained", dpi=80
    )
    grid = figure.add_gridspec(len(results), columns + 1)
    axes = figure.add_subplot(grid[:, 0])
    tile(axes, query, f"query\n{names(labels, 20)}" if labels else "query", frame="black")
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
                axes.text(
                    -0.08, 0.5, title, transform=axes.transAxes, rotation=90, va="center",
                    ha="right", weight="bold", color=colour(title, row),
                )  # fmt: skip
    return figure


def distances(nearest: Mapping[str, np.ndarray], pairs: Mapping[str, np.ndarray]) -> Figure:
    """Squared L2 distances of each model: to the nearest other photo, and between any two photos.

    Args:
        nearest: float [queries] per model.
        pairs: float [pairs] per model.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    top = 1.05 * max(values.max() for values in pairs.values())
    bins = np.linspace(0, top, 60)
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


def metric_bars(
    means: Mapping[str, Mapping[str, tuple[float, float, float]]], ylabel: str = "mean over queries"
) -> Figure:
    """Metrics of several systems with their 95 % intervals.

    Args:
        means: per system, per metric: mean, lower and upper end.
        ylabel: what the bars measure.
    """
    metrics = list(next(iter(means.values())))
    figure = Figure(figsize=(1.9 * len(metrics) + 1.5, 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(means)
    for number, (title, values) in enumerate(means.items()):
        mean, low, high = np.array([values[metric] for metric in metrics]).T
        x = np.arange(len(metrics)) + (number - (len(means) - 1) / 2) * width
        shade = colour(title, number) if title in COLOURS else ("#bbbbbb", "#e3e3e3")[number % 2]
        bars = axes.bar(x, mean, 0.9 * width, color=shade, label=title, hatch=HATCHES[number % 4])
        axes.errorbar(x, mean, [mean - low, high - mean], fmt="none", ecolor="black", capsize=3)
        axes.bar_label(bars, [f"{value:.2f}" for value in mean], fontsize=7, label_type="center",
                       bbox={"fc": "white", "ec": "none", "pad": 0.6})  # fmt: skip
    axes.set_xticks(range(len(metrics)), metrics)
    axes.set(ylabel=ylabel)
    axes.grid(axis="x", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(means))
    return figure


def category_bars(tables: Mapping[str, pd.DataFrame], metric: str, most: int = 30) -> Figure:
    """One metric per category and model, categories with the most queries first.

    Args:
        tables: per model what `evaluation.per_category` returns.
        metric: the metric's name, for the axis.
        most: categories shown at the most.
    """
    first = next(iter(tables.values()))
    kinds = list(first.index[:most])
    figure = Figure(figsize=(9, 0.33 * len(kinds) + 1.2), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(kinds))
    for number, (title, table) in enumerate(tables.items()):
        axes.plot(
            table.loc[kinds, "mean"], y, "os^D"[number % 4], color=colour(title, number),
            label=title, ms=7,
        )  # fmt: skip
    values = np.array([table.loc[kinds, "mean"] for table in tables.values()])
    axes.hlines(y, values.min(axis=0), values.max(axis=0), color=COLOURS["other"], zorder=0)
    labels = [f"{kind} ({first.loc[kind, 'queries']})" for kind in kinds]
    axes.set_yticks(y, labels, parse_math=False)
    axes.set(xlabel=metric, xlim=(0, 1.02))
    axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(tables))
    return figure


def recipe_maps(
    means: Mapping[str, pd.Series], marks: Mapping[str, Mapping[str, tuple]], metric: str
) -> Figure:
    """One heat map per model: resize and shape in rows, input size and pooling in columns.

    Args:
        means: per model the mean metric of every recipe, indexed as `recipes.label` names them.
        marks: per model what to outline, such as `{"article": recipe}`; at most three.
        metric: the metric's name, for the title.
    """
    figure = Figure(figsize=(10, 3.9 * len(means)), layout="constrained")
    for axes, (title, mean) in zip(
        np.atleast_1d(figure.subplots(len(means), 1)), means.items(), strict=True
    ):
        table = mean.unstack(["size", "pooling"], sort=False)
        axes.imshow(table, cmap="cividis", aspect="auto")
        middle = (table.to_numpy().min() + table.to_numpy().max()) / 2
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            ink = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=ink)
        for number, (name, (resize, shape, *column)) in enumerate(marks[title].items()):
            inset = 0.05 + 0.06 * number  # two marks of one recipe are both seen
            x, y = table.columns.get_loc(tuple(column)), table.index.get_loc((resize, shape))
            place, size = (x - 0.5 + inset, y - 0.5 + inset), 1 - 2 * inset
            colour, style = CYCLE[1 + number], ("--", "-", ":")[number]
            line = {"color": colour, "lw": 3, "ls": style}
            axes.add_patch(Rectangle(place, size, size, fill=False, **line))
            axes.plot([], [], label=name, **line)
        axes.set_xticks(range(table.shape[1]), [f"{pooling}" for _, pooling in table.columns])
        for start in range(0, table.shape[1], table.columns.get_level_values("pooling").nunique()):
            axes.text(start - 0.45, -0.62, f"{table.columns[start][0]} pixels", va="bottom")
            axes.axvline(start - 0.5, color="white", lw=3)
        axes.set_yticks(range(len(table)), [" ".join(label) for label in table.index])
        axes.set_title(f"{title}: {metric}", pad=20)
        axes.grid(visible=False)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3)
    return figure


def weight_sweep(
    sweeps: Mapping[str, Mapping[str, Mapping[float, tuple[float, float, float]]]],
    chosen: Mapping[str, float],
    ends: tuple[str, str],
    metric: str,
) -> Figure:
    """A metric over the second model's weight, one panel per set of queries, one line per way.

    Args:
        sweeps: per panel, per way of combining, per weight: mean, lower and upper end.
        chosen: the weight chosen for each way, ringed in every panel.
        ends: the models that weights 0 and 1 leave alone.
        metric: the metric's name, for the axis.
    """
    figure = Figure(figsize=(5 * len(sweeps), 3.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(sweeps), sharey=True))
    for axes, (panel, ways) in zip(panels, sweeps.items(), strict=True):
        for number, (way, values) in enumerate(ways.items()):
            weights = np.array(list(values))
            mean, low, high = np.array(list(values.values())).T
            shade, shift = CYCLE[2 + number], 0.012 * (number - (len(ways) - 1) / 2)
            axes.errorbar(
                weights + shift, mean, [mean - low, high - mean], color=shade, label=way,
                marker="os^D"[number % 4], ls=("-", "--", ":", "-.")[number % 4], capsize=2, lw=1.3,
            )  # fmt: skip
            best = list(weights).index(chosen[way])
            axes.plot(
                weights[best] + shift, mean[best], "o", ms=14, mfc="none", mec=shade, mew=2
            )  # fmt: skip
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], [f"0\n{ends[0]}", "¼", "½", "¾", f"1\n{ends[1]}"])
        axes.set(title=panel, xlabel=f"weight of {ends[1]}")
    panels[0].set_ylabel(metric)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(chosen)
    )
    return figure


def differences(pairs: Mapping[str, tuple[float, float, float]], xlabel: str) -> Figure:
    """Paired differences with their intervals, beside the line of no difference.

    Args:
        pairs: per row the difference, the lower and the upper end of its interval.
        xlabel: what was subtracted from what.
    """
    figure = Figure(figsize=(8, 0.45 * len(pairs) + 1), layout="constrained")
    axes = figure.subplots()
    for row, (difference, low, high) in enumerate(pairs.values()):
        sign = "+" if low > 0 else "−" if high < 0 else "○"
        shade = {"+": COLOURS["match"], "−": COLOURS["VGG16"], "○": "black"}[sign]
        axes.errorbar(
            difference, row, xerr=[[difference - low], [high - difference]], fmt="o",
            color=shade, mfc=shade if sign != "○" else "white", capsize=4,
        )  # fmt: skip
    axes.axvline(0, color="black", ls="--", lw=1)
    axes.set_yticks(range(len(pairs)), pairs)
    axes.set(xlabel=xlabel, ylim=(len(pairs) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    return figure


def match_maps(
    matches: Mapping[str, Sequence[tuple[Path, np.ndarray]]], titles: tuple[str, str]
) -> Figure:
    """Where a similarity comes from: query and result of each model under their heat maps.

    Args:
        matches: per model the query and the result, each a photo and its map float [h, w], which
            adds up to the cosine. Cells that hold 4 % or more of it say so.
        titles: names of the two photos.
    """
    panels = [
        (model, title, path, places)
        for model, pair in matches.items()
        for title, (path, places) in zip(titles, pair, strict=True)
    ]
    lines = 2 + max(model.count("\n") for model in matches)  # of a title
    figure = Figure(figsize=(3.1 * len(panels), 1.9 + 0.45 * lines), layout="constrained", dpi=80)
    for axes, (model, title, path, places) in zip(
        figure.subplots(1, len(panels)), panels, strict=True
    ):
        grey = open_photo(path).convert("L")
        width, height = grey.size
        total = places.sum()
        axes.imshow(grey, cmap="gray", vmin=-60, vmax=280)
        axes.imshow(
            places, cmap="plasma", alpha=0.8 * places / max(places.max(), 1e-12), aspect="auto",
            extent=(0, width, height, 0), interpolation="nearest",
        )  # fmt: skip
        for (row, column), value in np.ndenumerate(places):
            if value >= 0.04 * total > 0:
                x, y = (column + 0.5) / places.shape[1], (row + 0.5) / places.shape[0]
                axes.text(
                    x * width, y * height, f"{value / total:.0%}", ha="center", va="center",
                    fontsize=8, weight="bold", color="white", path_effects=OUTLINE,
                )  # fmt: skip
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        axes.set_title(
            f"{model}, {title}\nadds up to {total:.3f}", color=colour(model.partition("\n")[0])
        )
        axes.set_axis_off()
    return figure


def region(path: Path, box: Sequence[float], size: tuple[int, int], cells: np.ndarray) -> Figure:
    """A photo in pixel coordinates, a box on it, and the cells that stand for the box.

    Args:
        path: the photo.
        box: x, y, width, height in pixels.
        size: width and height of the photo that `box` refers to, in pixels.
        cells: bool [h, w], from `explanation.region_cells`.
    """
    figure = Figure(figsize=(4.6, 3.6), layout="constrained", dpi=80)
    axes = figure.subplots()
    width, height = size
    axes.imshow(open_photo(path), extent=(0, width, height, 0))
    cell_width, cell_height = width / cells.shape[1], height / cells.shape[0]
    for row, column in np.argwhere(~cells):
        corner = (column * cell_width, row * cell_height)
        axes.add_patch(Rectangle(corner, cell_width, cell_height, fc="black", ec="none", alpha=0.6))
    x, y, box_width, box_height = box
    for style in ({"ec": "black", "lw": 5}, {"ec": "white", "lw": 2, "ls": "--"}):
        axes.add_patch(Rectangle((x, y), box_width, box_height, fill=False, **style))
    axes.set(xlabel="x in pixels", ylabel="y in pixels")
    axes.grid(visible=False)
    return figure


def object_shares(
    shares: Mapping[str, Mapping[str, tuple[float, float, float]]],
    area: Mapping[str, float],
    counts: Mapping[str, int],
) -> Figure:
    """Share of the similarity on the shared object, per category and model, beside its area.

    Args:
        shares: per model, per category: mean, lower and upper end.
        area: per category the mean share of the photo's area.
        counts: per category the number of photos.
    """
    kinds = list(area)
    figure = Figure(figsize=(9, 0.42 * len(kinds) + 1.3), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(kinds))
    for number, (title, values) in enumerate(shares.items()):
        mean, low, high = np.array([values[kind] for kind in kinds]).T
        axes.errorbar(
            mean, y + 0.26 * (number - (len(shares) - 1) / 2), xerr=[mean - low, high - mean],
            fmt="os^D"[number % 4], color=colour(title, number), capsize=3, label=title,
        )  # fmt: skip
    axes.scatter(
        [area[kind] for kind in kinds], y, marker="|", s=260, color="black", label="share of area"
    )
    axes.set_yticks(y, [f"{kind} ({counts[kind]})" for kind in kinds], parse_math=False)
    axes.set(xlabel="share of the similarity that falls on the object", xlim=(0, 1))
    axes.invert_yaxis()
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(shares) + 1
    )
    return figure


def index_choice(studies: Mapping[str, pd.DataFrame]) -> Figure:
    """Latency against the number of vectors, one panel per server, one line per index.

    studies: per server, `index_study.study`'s table. Each line ends with its index and the recall
    there; a point is hollow where less than 95 % of the true neighbours were found. Both axes are
    logarithmic.
    """
    figure = Figure(figsize=(5 * len(studies), 4.2), layout="constrained")
    panels = figure.subplots(1, len(studies), sharey=True, squeeze=False)[0]
    order = list(dict.fromkeys(name for table in studies.values() for name in table["index"]))
    for axes, (server, table) in zip(panels, studies.items(), strict=True):
        ends = []
        for name, line in table.groupby("index"):
            place = order.index(name)
            colour, marker = CYCLE[place % len(CYCLE)], "osD^vPX"[place % 7]
            axes.plot(line["vectors"], line["p50_ms"], color=colour, linewidth=1.5)
            for found, full in ((line["recall"] >= 0.95, True), (line["recall"] < 0.95, False)):
                axes.plot(
                    *(line.loc[found, column] for column in ("vectors", "p50_ms")),
                    linestyle="none",
                    marker=marker,
                    color=colour,
                    markerfacecolor=colour if full else "white",
                )
            last = line.iloc[-1]
            ends.append((last["p50_ms"], f"{name}, {last['recall']:.1%}", colour))
        edge = table["vectors"].max()
        height = 0.0
        axes.set(xscale="log", yscale="log", title=server, xlabel="vectors stored")
        for p50, label, colour in sorted(ends):
            height = max(p50, height * 1.35)  # labels one below the other, not on top of each other
            axes.text(edge * 1.25, height, label, color=colour, va="center", size=8)
        axes.set_xlim(right=edge * 16)
        axes.set_ylim(top=max(axes.get_ylim()[1], height * 1.5))
    panels[0].set_ylabel("ms per query, median")
    return figure


def speed_ladder(
    tables: Mapping[str, pd.DataFrame], scores: Mapping[str, Mapping[str, tuple]], metric: str
) -> Figure:
    """What each step buys and costs: photos per second against quality, one line per model.

    Points carry the way's number and how many times as fast as the first it is.

    Args:
        tables: per model, `speed.summary`'s table.
        scores: per model and way the metric's mean, lower and upper end of its interval.
        metric: the metric's name, for the axis.
    """
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, (title, table) in enumerate(tables.items()):
        values = np.array([scores[title][way] for way in table.index])
        mean, low, high = values.T
        axes.errorbar(
            table["photos_per_s"], mean, [mean - low, high - mean], label=title,
            color=colour(title, number), marker="os^D"[number % 4], ms=7, capsize=3, lw=1.5,
        )  # fmt: skip
        for place, (photos, ratio) in enumerate(table[["photos_per_s", "ratio"]].to_numpy()):
            above = place % 2 == 0
            axes.annotate(
                f"{place + 1}: × {ratio:.1f}",
                (photos, high[place] if above else low[place]),
                (0, 5 if above else -5),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                color=colour(title, number),
            )
    ways = next(iter(tables.values())).index
    axes.set_title(", ".join(f"{place}: {way}" for place, way in enumerate(ways, start=1)), size=10)
    axes.set(xscale="log", xlabel="photos per second, decoding included", ylabel=metric)
    axes.margins(x=0.12, y=0.2)
    ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    left, right = axes.get_xlim()
    axes.set_xticks([tick for tick in ticks if left <= tick <= right])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(tables))
    return figure
