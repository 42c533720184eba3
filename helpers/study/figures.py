"""The figures of notebooks 5 to 9, in the style of `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullLocator, PercentFormatter
from PIL import Image

from helpers.plots import COLOURS, CYCLE, colour

HATCHES = ["", "//", "..", "xx"]

OUTLINE = [withStroke(linewidth=2, foreground="black")]


def metric_bars(
    means: Mapping[str, Mapping[str, tuple[float, float, float]]], ylabel: str = "mean over queries"
) -> Figure:
    """Metrics of several systems with their 95 % intervals.

    Args:
        means: per system, per metric: mean, lower and upper end.
        ylabel: what the bars measure.
    """
    metrics = list(next(iter(means.values())))
    wide = max(1.9, 0.6 * len(means)) * len(metrics) + 1.5
    figure = Figure(figsize=(max(wide, 6), 3.4), layout="constrained")
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
    columns = min(len(means), 4)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=columns)
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
    matches: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], titles: Sequence[str]
) -> Figure:
    """Where similarities come from: photos under their heat maps, one row per model, one scale.

    Args:
        matches: per model one entry for each column: what the network sees of a photo, uint8
            [height, width, 3], and its map float [h, w], which adds up to the cosine. The cell
            that holds most of it says how much.
        titles: names of the columns.
    """
    shares = {
        model: [places / max(places.sum(), 1e-12) for _, places in row]
        for model, row in matches.items()
    }
    top = max(share.max() for row in shares.values() for share in row)
    norm = PowerNorm(0.5, 0, top)  # a root, so that cells below a tenth of the largest are seen
    figure = Figure(
        figsize=(2.3 * len(titles) + 1.2, 2.2 * len(matches)), layout="constrained", dpi=80
    )
    grid = figure.subplots(len(matches), len(titles), squeeze=False)
    for number, (panels, (model, row)) in enumerate(zip(grid, matches.items(), strict=True)):
        for axes, title, (pixels, places), share in zip(
            panels, titles, row, shares[model], strict=True
        ):
            grey = Image.fromarray(pixels).convert("L")
            width, height = grey.size
            axes.imshow(grey, cmap="gray", vmin=-60, vmax=280)
            axes.imshow(
                share, cmap="plasma", norm=norm, alpha=0.85 * np.sqrt(np.clip(share / top, 0, 1)),
                extent=(0, width, height, 0), interpolation="nearest",
            )  # fmt: skip
            at = np.array(np.unravel_index(share.argmax(), share.shape))
            y, x = (at + 0.5) / share.shape * (height, width)
            axes.text(
                x, y, f"{share.max():.0%}", ha="center", va="center", fontsize=9, weight="bold",
                color="white", path_effects=OUTLINE,
            )  # fmt: skip
            axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
            axes.set_title(f"{title}\n" * (number == 0) + f"cosine {places.sum():.2f}", size=9)
        shade = colour(model.partition("\n")[0], number)
        panels[0].set_ylabel(model, color=shade, weight="bold", size=9)
    scale = ScalarMappable(norm, "plasma")
    figure.colorbar(
        scale, ax=grid, shrink=0.8, label="share of the similarity", format=PercentFormatter(1, 0)
    )
    return figure


def with_box(figure: Figure, box: Sequence[float], size: tuple[int, int]) -> Figure:
    """The figure of `plots.side_by_side`, with the box that was searched on its query.

    Args:
        figure: its first axes show the query, cropped as `plots.thumbnail` does.
        box: x, y, width, height in pixels of the photo.
        size: width and height of the photo, in pixels.
    """
    axes = figure.axes[0]
    height, width = axes.images[0].get_array().shape[:2]
    scale = max(width / size[0], height / size[1])
    x = box[0] * scale - (size[0] * scale - width) / 2
    y = box[1] * scale - (size[1] * scale - height) / 2
    for style in ({"ec": "black", "lw": 4}, {"ec": "white", "lw": 2, "ls": "--"}):
        patch = Rectangle((x, y), box[2] * scale, box[3] * scale, fill=False, **style)
        axes.add_patch(patch)
        patch.set_clip_path(axes.patch)
    return figure


def model_differences(
    differences: Mapping[str, Mapping[str, tuple[float, ...]]], xlabel: str
) -> Figure:
    """Paired differences with their intervals: a group of rows each, one row per model.

    Hollow points have 0 in their interval.

    Args:
        differences: per group, per model: the difference, lower and upper end of its interval,
            such as an `evaluation.PairedDifference`.
        xlabel: what was subtracted from what.
    """
    models = list(dict.fromkeys(title for group in differences.values() for title in group))
    height = 0.22 * len(models) + 0.25
    figure = Figure(figsize=(8.5, height * len(differences) + 1.1), layout="constrained")
    axes = figure.subplots()
    for row, group in enumerate(differences.values()):
        for number, title in enumerate(models):
            if title not in group:
                continue
            difference, low, high = group[title][:3]
            shade, shown = (
                colour(title, number),
                row + 0.7 / len(models) * (number - (len(models) - 1) / 2),
            )
            axes.errorbar(
                difference, shown, xerr=[[difference - low], [high - difference]],
                fmt="os^DvP"[number % 6], color=shade, capsize=3,
                mfc="white" if low <= 0 <= high else shade,
            )  # fmt: skip
    for number, title in enumerate(models):
        axes.plot([], [], "os^DvP"[number % 6], color=colour(title, number), label=title)
    axes.axvline(0, color="black", ls="--", lw=1)
    axes.set_yticks(range(len(differences)), differences, parse_math=False)
    axes.set(xlabel=xlabel, ylim=(len(differences) - 0.5, -0.5))
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(models))
    return figure


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
            for found, full in ((line["recall"] >= 0.95, True), (line["recall"] < 0.95, False)):
                axes.plot(
                    *(line.loc[found, column] for column in ("vectors", "p50_ms")),
                    linestyle="none",
                    marker=marker,
                    color=shade,
                    markerfacecolor=shade if full else "white",
                )
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

    Args:
        points: one row each: `model`, `variant`, `photos_per_s`, `gflop` (per photo) and the
            metric's mean.
        metric: the name of its column.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    labels = ("photos per second, decoding included", "GFLOP per photo")
    variants = list(dict.fromkeys(points["variant"]))
    styles = {
        variant: {"marker": "o^"[variant.startswith("recommended")], "hollow": "int8" in variant}
        for variant in variants
    }
    for axes, column, label in zip(panels, ("photos_per_s", "gflop"), labels, strict=True):
        for number, (title, mine) in enumerate(points.groupby("model", sort=False)):
            shade = colour(title, number)
            for _, pair in mine.groupby(mine["variant"].str.split().str[0]):
                axes.plot(pair[column], pair[metric], color=shade, lw=1, alpha=0.5)
            for variant, x, y in mine[["variant", column, metric]].itertuples(index=False):
                style = styles[variant]
                axes.plot(x, y, style["marker"], color=shade, ms=9,
                          mfc="white" if style["hollow"] else shade)  # fmt: skip
        axes.set(xscale="log", xlabel=label)
        axes.margins(y=0.1)
        plain_ticks(axes.xaxis, points[column])
    panels[0].set_ylabel(metric)
    for number, title in enumerate(dict.fromkeys(points["model"])):
        panels[0].plot([], [], color=colour(title, number), lw=4, label=title)
    for variant, style in styles.items():
        panels[0].plot([], [], style["marker"], color="black", label=variant,
                       mfc="white" if style["hollow"] else "black")  # fmt: skip
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure


def plain_ticks(axis: Axis, values: np.ndarray) -> None:
    """1, 2, 5, 10, … on a logarithmic axis, in plain numbers, no further than its values reach."""
    low, high = np.nanmin(values) / 1.2, np.nanmax(values) * 1.2
    steps = [digit * 10.0**power for power in range(-4, 8) for digit in (1, 2, 5)]
    axis.set_ticks([step for step in steps if low <= step <= high])
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low, high)
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_locator(NullLocator())
