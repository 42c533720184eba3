"""The figures of notebooks 5 to 9, in the style of `plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from helpers.images import open_photo
from helpers.plots import COLOURS, CYCLE, colour

HATCHES = ["", "//", "..", "xx"]
MOST_CATEGORIES = 30
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


def category_bars(tables: Mapping[str, pd.DataFrame], metric: str) -> Figure:
    """One metric per category and model; the MOST_CATEGORIES with the most queries, those first.

    Args:
        tables: per model what `evaluation.per_category` returns.
        metric: the metric's name, for the axis.
    """
    first = next(iter(tables.values()))
    kinds = list(first.index[:MOST_CATEGORIES])
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
        _heat_map(axes, path, places)
        axes.set_title(
            f"{model}, {title}\nadds up to {places.sum():.3f}",
            color=colour(model.partition("\n")[0]),
        )
    return figure


def _heat_map(axes: Axes, path: Path, places: np.ndarray) -> None:
    """A grey photo under its map float [h, w]; cells with 4 % of the sum or more say so."""
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
    axes.set_axis_off()


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

    studies: per server, `indexes.study`'s table. Each line ends with its index and the recall
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
                f"{place + 1}: × {ratio:.1f}", (photos, high[place] if above else low[place]),
                (0, 5 if above else -5), textcoords="offset points", ha="center",
                va="bottom" if above else "top", color=colour(title, number),
            )  # fmt: skip
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
