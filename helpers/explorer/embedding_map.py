"""Two embedding spaces as linked maps: photos chosen in one light up in the other.

Drawn by plotly's `FigureWidget`, which is an anywidget and brings its JavaScript along, so it
works without a network and without WebGL.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
from matplotlib.path import Path
from plotly.subplots import make_subplots

from helpers import plots
from helpers.datasets import ImageDataset, ImageRecord
from helpers.explorer.photo_browser import (
    THUMBNAIL,
    PhotoBrowser,
    alt_text,
    photo_entry,
    thumbnail_uri,
)
from helpers.explorer.widget import Explorer
from helpers.ranking import rank_exact

MOST = 60
"""Of the chosen photos that many are joined by lines, and shown below."""
FAINT = 0.2
WHOLE = (-0.05, 1.05)
OTHER = "other"
LOOKS = list(product(("circle", "square", "diamond"), plots.CYCLE[:6]))
"""Symbol and colour of the most frequent categories; all others are grey crosses."""
NOTHING_CHOSEN = "Click a photo, or draw around several."
STYLE = """<style>.embedding-map :is(.legendtext, .gtitle, .annotation-text)
{fill: var(--jp-ui-font-color1, #222) !important}</style>"""
CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,  # nothing is offered to be uploaded
    "scrollZoom": True,
    "responsive": True,
}


def unit_square(places: np.ndarray) -> np.ndarray:
    """Places float [photos, 2] moved and scaled into 0 … 1 on both axes."""
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1)


def nearest(vectors: np.ndarray, count: int = 5) -> np.ndarray:
    """Each photo's nearest other photos in the space itself, not on the map: int [photos, count].

    vectors: float32 [photos, d], unit length. There are fewer where the dataset has no `count`
    others.
    """
    return rank_exact(vectors, vectors, np.arange(len(vectors)), min(count, len(vectors) - 1))


def joined(chosen: Iterable[int], neighbours: Sequence[np.ndarray]) -> list[int]:
    """The photos to join across the maps: the chosen ones, or one photo with its neighbours.

    neighbours: per space what `nearest` returns. Returns sorted rows of the dataset.
    """
    rows = set(map(int, chosen))
    if len(rows) == 1:
        [row] = rows
        rows |= {int(other) for space in neighbours for other in space[row]}
    return sorted(rows)


def outline(selection: Mapping) -> Path:
    """The polygon of a lasso (`path`, as SVG writes it) or box (two corners) of plotly's."""
    if "path" in selection:
        numbers = re.findall(r"-?[\d.]+(?:e-?\d+)?", selection["path"])
        return Path(np.array(numbers, float).reshape(-1, 2))
    (x0, x1), (y0, y1) = ((selection[f"{axis}0"], selection[f"{axis}1"]) for axis in "xy")
    return Path([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def looks(dataset: ImageDataset) -> tuple[list[str], dict[str, tuple[str, str]]]:
    """The category each photo is drawn as, and symbol and colour of each, most frequent first."""
    kinds = dataset.classes.tolist()
    frequent = [kind for kind, _ in Counter(kinds).most_common(len(LOOKS))]
    styles = dict(zip(frequent, LOOKS, strict=False)) | {OTHER: ("x", plots.COLOURS["other"])}
    return [kind if kind in styles else OTHER for kind in kinds], styles


class EmbeddingMap(widgets.VBox):
    """Both maps, the chosen photos, and the photo under the pointer.

    A click chooses a photo and its five nearest in either space, and asks the explorer for it; a
    photo that the explorer is asked for is chosen here. A lasso or box chooses many; a double
    click on no photo lets go of all. Lines join the same photo in both maps, for at most 60.

    Args:
        dataset: the photos.
        vectors: per model float32 [photos, d], rows in the order of the dataset; two models.
        places: per model float [photos, 2], a projection of them.
        explorer: what shows the results of a photo that is clicked.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        vectors: Mapping[str, np.ndarray],
        places: Mapping[str, np.ndarray],
        explorer: Explorer | None = None,
    ):
        self.dataset, self.explorer = dataset, explorer
        self.neighbours = [nearest(found) for found in vectors.values()]
        self.places = [unit_square(place) for place in places.values()]
        self.chosen: list[int] = []
        self.figure = go.FigureWidget(
            make_subplots(1, 2, subplot_titles=list(places), horizontal_spacing=0.04)
        )
        self.figure._config = CONFIG
        for title, side in zip(self.figure.layout.annotations, ("", "2"), strict=True):
            title.update(x=self.figure.layout[f"xaxis{side}"].domain[0], xanchor="left")
        self._draw_photos()
        self.preview = widgets.HTML(
            "Point at a photo to see it.", layout={"min_height": "130px", "min_width": "170px"}
        )
        self.photos = PhotoBrowser(note=NOTHING_CHOSEN)
        self.photos.on_action(lambda message, _buffers: self._ask(int(message["id"])))
        # Not on_selection: its message has one place to wait in with those of the pointer, which
        # overwrite it where a lasso ends on a photo.
        self.figure.observe(self._drawn_around, "_js2py_relayout")
        axes = [f"{axis}axis{side}.range" for axis in "xy" for side in ("", "2")]
        self.figure.layout.on_change(lambda *_: self._draw_lines(), *axes)
        if explorer:
            explorer.listeners.append(self._follow)
        below = widgets.HBox([self.preview, self.photos])
        super().__init__([self.figure, below, widgets.HTML(STYLE)])
        self.add_class("embedding-map")

    def _repr_mimebundle_(self, **options: object) -> dict:
        """Beside the live view a sentence for pages without a kernel."""
        sentence = "The map needs a running kernel: run this cell, in `make lab`."
        return {**super()._repr_mimebundle_(**options), "text/plain": sentence}

    @property
    def chosen_photos(self) -> list[ImageRecord]:
        """What a click or a lasso has chosen, in the order of the dataset."""
        return [self.dataset.records[row] for row in self.chosen]

    def choose(self, rows: Sequence[int]) -> None:
        """Light up photos, given as rows of the dataset, in both maps and join them by lines.

        Without rows nothing is chosen, and all photos are drawn alike.
        """
        self.chosen = joined(rows, self.neighbours)
        with self.figure.batch_update():
            for trace in self.figure.data[: -len(self.places)]:
                if trace.showlegend is False:
                    trace.opacity = FAINT if self.chosen else 1
            for lit, place in zip(self.figure.data[-2:], self.places, strict=True):
                lit.x, lit.y = place[self.chosen].T.tolist() if self.chosen else ([], [])
                styles = [self.styles[self.kinds[row]] for row in self.chosen]
                lit.marker.symbol = [symbol for symbol, _ in styles]
                lit.marker.color = [colour for _, colour in styles]
            self._draw_lines()
        shown = self.chosen_photos[:MOST]
        self.photos.strip = [photo_entry(record) for record in shown]
        note = NOTHING_CHOSEN
        if self.chosen:
            note = f"{len(self.chosen)} photos chosen"
            note += f", {len(shown)} of them here." if len(shown) < len(self.chosen) else "."
        if len(rows) == 1:
            common = set(self.neighbours[0][rows[0]]) & set(self.neighbours[1][rows[0]])
            count = self.neighbours[0].shape[1]
            note += f" {len(common)} of its {count} nearest are the same in both."
        self.photos.note = note

    def _draw_photos(self) -> None:
        """All photos by category in either map, and on top the chosen ones, at first none."""
        self.kinds, self.styles = looks(self.dataset)
        texts = [plots.names(record.labels) for record in self.dataset]
        for kind, (symbol, colour) in self.styles.items():
            rows = [row for row, mine in enumerate(self.kinds) if mine == kind]
            if not rows:
                continue
            marker = {"size": 9, "color": colour, "symbol": symbol}
            # The legend's own, which stays strong where the photos are drawn faint.
            self.figure.add_scatter(
                x=[None], y=[None], mode="markers", name=kind, legendgroup=kind, marker=marker
            )
            for side, place in enumerate(self.places, start=1):
                # lists: FigureWidget draws nothing from a strided array's buffer
                self.figure.add_scatter(
                    x=place[rows, 0].tolist(), y=place[rows, 1].tolist(), row=1, col=side,
                    mode="markers", legendgroup=kind, showlegend=False, marker=marker,
                    text=[texts[row] for row in rows], hovertemplate="%{text}<extra></extra>",
                    selected_marker_opacity=1, unselected_marker_opacity=1,
                )  # fmt: skip
                trace = self.figure.data[-1]
                trace.on_click(lambda _trace, points, _state, r=rows: self._clicked(r, points))
                trace.on_hover(lambda _trace, points, _state, r=rows: self._pointed(r, points))
        # The chosen photos are drawn once more, on top: plotly's own highlighting of a selection
        # stays within the map that the lasso was drawn in.
        for side in (1, 2):
            self.figure.add_scatter(
                x=[], y=[], row=1, col=side, mode="markers", marker_size=11, hoverinfo="skip",
                marker_line={"width": 1, "color": "#777"}, showlegend=False,
            )  # fmt: skip
        self.figure.update_xaxes(visible=False, range=WHOLE)
        self.figure.update_yaxes(visible=False, range=WHOLE)
        self.figure.update_layout(
            height=480, autosize=True, margin={"l": 5, "r": 5, "t": 40, "b": 40},
            dragmode="lasso", clickmode="event", template="none",
            paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(128,128,128,0.08)",
            legend={"orientation": "h", "y": -0.03, "yanchor": "top"},
            modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#888", "activecolor": "#0072b2"},
        )  # fmt: skip

    def _draw_lines(self) -> None:
        """From each chosen photo in one map to itself in the other, where both are in view."""
        ends = []
        for place, side in zip(self.places, ("", "2"), strict=True):
            point = place[self.chosen[:MOST]] if self.chosen else np.empty((0, 2))
            seen = np.ones(len(point), bool)
            for column, axis in enumerate("xy"):
                about = self.figure.layout[f"{axis}axis{side}"]
                (low, high), (start, end) = about.range, about.domain
                share = (point[:, column] - low) / (high - low)
                seen &= (share >= 0) & (share <= 1)
                point[:, column] = start + share * (end - start)
            ends.append((point, seen))
        (left, seen_left), (right, seen_right) = ends
        self.figure.layout.shapes = [
            {"type": "line", "xref": "paper", "yref": "paper", "layer": "below",
             "line": {"width": 1, "color": "#888"}, "x0": a[0], "y0": a[1], "x1": b[0], "y1": b[1]}
            for a, b, seen in zip(left, right, seen_left & seen_right, strict=True) if seen
        ]  # fmt: skip

    def _clicked(self, rows: Sequence[int], points: object) -> None:
        """plotly reports a click to all traces, to the others without a photo."""
        if points.point_inds:
            self._ask(self.dataset.records[rows[points.point_inds[0]]].id)

    def _ask(self, id_: int) -> None:
        """Choose one photo, here and in the explorer."""
        self.choose([self.dataset.row_of[id_]])
        if self.explorer:
            self.explorer.ask(self.dataset.by_id[id_])

    def _follow(self, query: ImageRecord) -> None:
        """The explorer was asked for a photo; one of the reader's own has no place here."""
        row = self.dataset.row_of.get(query.id)
        if row is not None and row not in self.chosen:
            self.choose([row])

    def _drawn_around(self, change: dict) -> None:
        """Choose what lies within the lassos and boxes on the map that was drawn on last.

        With Shift a map keeps what was drawn before; plotly keeps it on the other map in any case.
        """
        drawn = ((change["new"] or {}).get("relayout_data") or {}).get("selections")
        if drawn is None:
            return
        here = [one for one in drawn if one.get("xref") == drawn[-1].get("xref")]
        if len(here) < len(drawn):
            self.figure._send_relayout_msg({"selections": here})
            drawn = here
        inside = [
            outline(one).contains_points(self.places[one.get("xref", "x") == "x2"]) for one in drawn
        ]
        rows = np.flatnonzero(np.any(inside, axis=0)).tolist() if inside else []
        if drawn and not rows:
            self.figure._send_relayout_msg({"selections": []})  # no empty lasso stays
        self.choose(rows)

    def _pointed(self, rows: Sequence[int], points: object) -> None:
        """The photo under the pointer, beside the chosen ones."""
        if points.point_inds:
            record = self.dataset.records[rows[points.point_inds[0]]]
            alt = html.escape(alt_text(record.labels))
            source = thumbnail_uri(record.path, THUMBNAIL)
            self.preview.value = f'<img src="{source}" alt="{alt}">'
