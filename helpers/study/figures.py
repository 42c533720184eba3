"""The figures of notebooks 5 to 9, in the style of `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator, PercentFormatter
from PIL import Image

from helpers.plots import COLOURS, CYCLE, colour

MARKERS = "os^DvP"
GREYS = {"most frequent": "#666666", "random": "#aaaaaa", "": "black"}
MOST_CATEGORIES = 30
OUTLINE = [withStroke(linewidth=2, foreground="black")]


def intervals(tables: Mapping[str, pd.DataFrame], xlabel: str, zero: bool = False) -> Figure:
    """Means with their intervals: a row per thing measured, in it a mark per system.

    tables: per system what `evaluation.intervals` or `evaluation.compare` returns, with the same
    rows; "" is no system's name. With `zero` these are differences: a line marks 0, and a mark is
    hollow where 0 is inside.
    """
    rows = next(iter(tables.values())).index
    height = 1.2 + len(rows) * (0.2 + 0.16 * len(tables))
    figure = Figure(figsize=(9, height), layout="constrained")
    axes = figure.subplots()
    for number, (title, table) in enumerate(tables.items()):
        shade = GREYS.get(title) or colour(title, number)
        mean, low, high = table.iloc[:, :3].to_numpy(float).T
        y = np.arange(len(rows)) + 0.8 * ((number + 0.5) / len(tables) - 0.5)
        axes.errorbar(
            mean, y, xerr=[mean - low, high - mean], fmt=MARKERS[number % 6], color=shade,
            capsize=3, label=title,
        )  # fmt: skip
        unsure = (low <= 0) & (high >= 0) & zero
        axes.plot(
            mean[unsure], y[unsure], MARKERS[number % 6], color=shade, mfc="white", zorder=3
        )  # fmt: skip
    if zero:
        axes.axvline(0, color="black", ls="--", lw=1)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.set(xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color="#e6e6e6", lw=1)
    if len(tables) > 1:
        legend(figure, axes)
    return figure


def category_bars(tables: Mapping[str, pd.DataFrame], metric: str) -> Figure:
    """One metric per category and model; the MOST_CATEGORIES with the most queries, those first.

    tables: per model what `evaluation.per_category` returns.
    """
    first = next(iter(tables.values()))
    kinds = list(first.index[:MOST_CATEGORIES])
    figure = Figure(figsize=(9, 0.33 * len(kinds) + 1.2), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(kinds))
    for number, (title, table) in enumerate(tables.items()):
        axes.plot(
            table.loc[kinds, "mean"], y, MARKERS[number % 6], color=colour(title, number),
            label=title, ms=7,
        )  # fmt: skip
    values = np.array([table.loc[kinds, "mean"] for table in tables.values()])
    axes.hlines(y, values.min(axis=0), values.max(axis=0), color=COLOURS["other"], zorder=0)
    labels = [f"{kind} ({first.loc[kind, 'queries']})" for kind in kinds]
    axes.set_yticks(y, labels, parse_math=False)
    axes.set(xlabel=f"mean {metric} of the queries that show it", xlim=(0, 1.02))
    axes.invert_yaxis()
    legend(figure, axes)
    return figure


def recipe_maps(
    means: Mapping[str, pd.Series], marks: Mapping[str, Mapping[str, tuple]], metric: str
) -> Figure:
    """One heat map per model: resize and shape in rows, input size and pooling in columns.

    means: per model the mean metric of every recipe, indexed as `recipes.label` names them; marks:
    per model what to outline, such as `{"article": recipe}`, at most three.
    """
    figure = Figure(figsize=(10, 3.5 * len(means) + 0.6), layout="constrained")
    panels = figure.subplots(len(means), 1, squeeze=False)[:, 0]
    lowest = min(mean.min() for mean in means.values())
    highest = max(mean.max() for mean in means.values())
    for axes, (title, mean) in zip(panels, means.items(), strict=True):
        table = mean.unstack(["size", "pooling"], sort=False)
        image = axes.imshow(table, cmap="cividis", aspect="auto", vmin=lowest, vmax=highest)
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            ink = "black" if value > (lowest + highest) / 2 else "white"
            axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=ink)
        for number, (name, (resize, shape, *column)) in enumerate(marks[title].items()):
            inset = 0.04 + 0.09 * number  # two marks of one recipe are both seen
            x, y = table.columns.get_loc(tuple(column)), table.index.get_loc((resize, shape))
            place, size = (x - 0.5 + inset, y - 0.5 + inset), 1 - 2 * inset
            line = {"color": ("#56B4E9", "#D55E00", "#000000")[number], "lw": 3}
            line["ls"] = ("--", "-", ":")[number]
            axes.add_patch(Rectangle(place, size, size, fill=False, **line))
            axes.plot([], [], label=name, **line)
        axes.set_xticks(range(table.shape[1]), [f"{pooling}" for _, pooling in table.columns])
        for start in range(0, table.shape[1], table.columns.get_level_values("pooling").nunique()):
            axes.text(start - 0.45, -0.62, f"{table.columns[start][0]} pixels", va="bottom")
            axes.axvline(start - 0.5, color="white", lw=3)
        axes.set_yticks(range(len(table)), [" ".join(label) for label in table.index])
        axes.set_title(title, pad=20, weight="bold", color=colour(title))
        axes.grid(visible=False)
    figure.colorbar(image, ax=panels, label=metric, aspect=40, pad=0.02)
    legend(figure, panels[0])
    return figure


def cost(
    points: Mapping[str, pd.DataFrame],
    marks: Mapping[str, Mapping[str, tuple[float, float]]],
    metric: str,
) -> Figure:
    """What quality costs: arithmetic per photo against a metric, a point per recipe.

    points: per model a row per recipe with `gflop` and the metric's mean, `quality`; marks: per
    model the points to name, such as `{"article": (gflop, quality)}`.
    """
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    for number, (title, table) in enumerate(points.items()):
        shade = colour(title, number)
        axes.plot(table["gflop"], table["quality"], "o", ms=4, color=shade, alpha=0.35)
        for place, (name, (gflop, quality)) in enumerate(marks[title].items()):
            axes.plot(gflop, quality, "s*"[place % 2], color=shade, ms=9 + 6 * (place % 2),
                      mec="black", label=f"{title}, {name}")  # fmt: skip
    axes.set(xscale="log", xlabel="GFLOP per photo (logarithmic)", ylabel=metric)
    plain_ticks(axes.xaxis, np.concatenate([table["gflop"] for table in points.values()]))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def weight_bands(bands: Mapping[str, pd.DataFrame], base: str, metric: str) -> Figure:
    """What a second model's weight adds to the first, `base`: a line and its band per second model.

    bands: per second model `evaluation.intervals` of the differences to `base` alone, a row per
    weight.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for number, (title, table) in enumerate(bands.items(), start=1):
        shade = colour(title, number)
        axes.fill_between(table.index, table["low"], table["high"], color=shade, alpha=0.2, lw=0)
        axes.plot(
            table.index, table["mean"], MARKERS[number % 6] + "-", color=shade, label=title
        )  # fmt: skip
    axes.axhline(0, color="black", ls="--", lw=1)
    axes.set(xlabel="weight of the second model", ylabel=f"{metric}: gain over {base} alone")
    legend(figure, axes)
    return figure


def ladder(rungs: pd.DataFrame, metric: str) -> Figure:
    """From the article's search to the best one: a rung per row, with its interval and its cost.

    rungs: from the lowest to the highest; index: what is searched with; columns `mean`, `low`,
    `high` of the metric, `gflop` per photo, and `model`, whose colour the rung has ("" where there
    are several).
    """
    figure = Figure(figsize=(9, 0.36 * len(rungs) + 1), layout="constrained")
    axes = figure.subplots()
    titles = [title for title in dict.fromkeys(rungs["model"]) if title]
    right = axes.get_yaxis_transform()  # x from 0 to 1 over the axes
    for row, rung in enumerate(rungs.itertuples()):
        shade = colour(rung.model, titles.index(rung.model)) if rung.model else "black"
        ends = [[rung.mean - rung.low], [rung.high - rung.mean]]
        axes.errorbar(rung.mean, row, xerr=ends, fmt="o", color=shade, capsize=3)
        axes.text(rung.high, row, f"   {rung.mean:.3f}", va="center", size=9, color=shade)
        axes.text(1.06, row, f"{rung.gflop:.1f}", transform=right, va="center", ha="right")
    axes.text(1.06, -0.9, "GFLOP", transform=right, va="center", ha="right")
    axes.set_yticks(range(len(rungs)), rungs.index)
    axes.set(xlabel=f"{metric}, 95 % interval", ylim=(len(rungs) - 0.5, -0.6))
    axes.grid(axis="y", visible=False)
    left, end = axes.get_xlim()
    axes.set_xlim(left, end + 0.12 * (end - left))  # room for the last number
    return figure


def legend(figure: Figure, axes: Axes) -> None:
    """The legend of `axes` above the figure, in lines of five."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5)


def match_maps(
    matches: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], titles: Sequence[str]
) -> Figure:
    """Where similarities come from: photos under their heat maps, one row per model, one scale.

    matches: per model one entry for each column: what the network sees of a photo, uint8 [height,
    width, 3], and its map float [h, w], which adds up to the cosine; titles: of the columns.
    """
    top = max(_share(places).max() for row in matches.values() for _, places in row)
    norm = PowerNorm(0.5, 0, top)  # a root, so that cells below a tenth of the largest are seen
    figure = Figure(
        figsize=(2.3 * len(titles) + 1.2, 2.2 * len(matches)), layout="constrained", dpi=80
    )
    grid = figure.subplots(len(matches), len(titles), squeeze=False)
    for number, (panels, (model, row)) in enumerate(zip(grid, matches.items(), strict=True)):
        for axes, title, (pixels, places) in zip(panels, titles, row, strict=True):
            _heat(axes, pixels, _share(places), norm)
            axes.set_title(f"{title}\n" * (number == 0) + f"cosine {places.sum():.2f}", size=9)
        shade = colour(model.partition("\n")[0], number)
        panels[0].set_ylabel(model, color=shade, weight="bold", size=9)
    scale = ScalarMappable(norm, "plasma")
    figure.colorbar(
        scale, ax=grid, shrink=0.8, label="share of the similarity", format=PercentFormatter(1, 0)
    )
    return figure


def _share(places: np.ndarray) -> np.ndarray:
    """Each cell's share of a similarity map [h, w]."""
    return places / max(places.sum(), 1e-12)


def _heat(axes: Axes, pixels: np.ndarray, share: np.ndarray, norm: PowerNorm) -> None:
    """A photo in grey under its heat map, whose largest cell says how much it holds."""
    height, width = pixels.shape[:2]
    axes.imshow(Image.fromarray(pixels).convert("L"), cmap="gray", vmin=-60, vmax=280)
    axes.imshow(
        share, cmap="plasma", norm=norm, alpha=0.85 * np.sqrt(np.clip(share / norm.vmax, 0, 1)),
        extent=(0, width, height, 0), interpolation="nearest",
    )  # fmt: skip
    cell = np.array(np.unravel_index(share.argmax(), share.shape))
    y, x = (cell + 0.5) / share.shape * (height, width)
    axes.text(
        x, y, f"{share.max():.0%}", ha="center", va="center", fontsize=9, weight="bold",
        color="white", path_effects=OUTLINE,
    )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def index_choice(studies: Mapping[str, pd.DataFrame]) -> Figure:
    """Latency against the number of vectors, one panel per server, one line per index.

    studies: per server, `indexes.study`'s table. Beside each line stand its index and the recall
    at its end; a point is hollow where less than 95 % of the true neighbours were found. Both axes
    are logarithmic.
    """
    figure = Figure(figsize=(6.2 * len(studies), 4.2), layout="constrained")
    panels = figure.subplots(1, len(studies), sharey=True, squeeze=False)[0]
    order = list(dict.fromkeys(name for table in studies.values() for name in table["index"]))
    latencies = np.concatenate([table["p50_ms"] for table in studies.values()])
    for axes, (server, table) in zip(panels, studies.items(), strict=True):
        ends = []
        for name, line in table.groupby("index"):
            place = order.index(name)
            shade, marker = CYCLE[place % len(CYCLE)], "osD^vPX"[place % 7]
            axes.plot(line["vectors"], line["p50_ms"], color=shade, linewidth=1.5)
            for part, fill in ((line["recall"] >= 0.95, shade), (line["recall"] < 0.95, "white")):
                points = line[part]
                axes.plot(points["vectors"], points["p50_ms"], marker, color=shade, mfc=fill)
            last = line.iloc[-1]
            ends.append((last["p50_ms"], f"{name}, {last['recall']:.1%}", shade))
        axes.set(xscale="log", yscale="log", title=server, xlabel="vectors stored")
        plain_ticks(axes.xaxis, table["vectors"])
        plain_ticks(axes.yaxis, latencies)
        bottom, top = np.log(axes.get_ylim())
        height = -1.0
        for p50, label, shade in sorted(ends):  # outside, one above the other
            height = max((np.log(p50) - bottom) / (top - bottom), height + 0.06)
            axes.text(1.02, height, label, color=shade, va="center", size=8,
                      transform=axes.transAxes)  # fmt: skip
    panels[0].set_ylabel("ms per query, median")
    return figure


def quality_per_second(points: pd.DataFrame, metric: str) -> Figure:
    """Quality against speed, and against arithmetic: a point per model and variant.

    points: one row each, with `model`, `variant`, `photos_per_s`, `gflop` (per photo) and, in the
    column `metric`, its mean.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    labels = ("photos per second, decoding included", "GFLOP per photo")
    styles = {
        variant: ("o^"[variant.startswith("recommended")], "int8" in variant)  # marker, hollow
        for variant in dict.fromkeys(points["variant"])
    }
    for axes, column, label in zip(panels, ("photos_per_s", "gflop"), labels, strict=True):
        for number, (title, mine) in enumerate(points.groupby("model", sort=False)):
            shade = colour(title, number)
            for _, pair in mine.groupby(mine["variant"].str.split().str[0]):
                axes.plot(pair[column], pair[metric], color=shade, lw=1, alpha=0.5)
            for variant, x, y in mine[["variant", column, metric]].itertuples(index=False):
                marker, hollow = styles[variant]
                axes.plot(x, y, marker, color=shade, ms=9, mfc="white" if hollow else shade)
        axes.set(xscale="log", xlabel=label)
        axes.margins(y=0.1)
        plain_ticks(axes.xaxis, points[column])
    first = panels[0]
    first.set_ylabel(metric)
    for number, title in enumerate(dict.fromkeys(points["model"])):
        first.plot([], [], color=colour(title, number), lw=4, label=title)
    for variant, (marker, hollow) in styles.items():
        fill = "white" if hollow else "black"
        first.plot([], [], marker, color="black", label=variant, mfc=fill)
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def plain_ticks(axis: Axis, values: np.ndarray) -> None:
    """Plain numbers on a logarithmic axis, no further than its values reach.

    1, 2, 5, 10, …; over more than two decades 1, 3, 10, …, as more would overlap.
    """
    low, high = np.nanmin(values) / 1.2, np.nanmax(values) * 1.2
    digits = (1, 2, 5) if high < 100 * low else (1, 3)
    steps = [digit * 10.0**power for power in range(-4, 8) for digit in digits]
    axis.set_ticks([step for step in steps if low <= step <= high])
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low, high)
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_locator(NullLocator())
