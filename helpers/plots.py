"""One style for all figures: colours that colour-blind readers tell apart; those of 00 to 04.

Functions return a `Figure`; `show` puts it into the notebook with a text for those who cannot see
it. Photos go in as JPEG, charts as PNG, so that committed notebooks stay small.
"""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.images import open_photo, thumbnail

if TYPE_CHECKING:
    from helpers.datasets import ImageRecord
    from helpers.hits import Hit

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


def photo_grid(records: Sequence[ImageRecord], columns: int = 8) -> Figure:
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


def operators(counts: Mapping[str, Counter]) -> Figure:
    """How often the six most frequent ONNX operators occur, one bar per network."""
    total = sum(counts.values(), Counter())
    kinds = [kind for kind, _ in total.most_common(6)]
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


def side_by_side(
    query: Path,
    labels: frozenset[str],
    results: Mapping[str, Sequence[Hit]],
    photos: Mapping[int, Path],
    box: Sequence[float] | None = None,
) -> Figure:
    """A query and one row of results per model; results that share a category are marked.

    labels: the query's categories; empty if unknown, then nothing is marked. results: hits per
    model title. photos: the photo of each id. box: the part of the query that was searched: x, y,
    width, height as shares of the photo's.
    """
    columns = max(map(len, results.values()))
    size = (1.75 * (columns + 1), 1.75 * len(results))
    figure = Figure(figsize=size, layout="constrained", dpi=80)
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
