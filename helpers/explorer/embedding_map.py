"""Two embedding spaces as linked maps: photos chosen in one light up in the other.

Drawn by plotly's `FigureWidget`, which is an anywidget and brings its JavaScript along, so it
works without a network and without WebGL.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
from matplotlib.path import Path
from sklearn.neighbors import NearestNeighbors

from helpers import plots
from helpers.datasets import ImageDataset
from helpers.explorer.widget import alt_text, thumbnail_uri

GAP = 1.15  # left edge of the second map; each map is 1 wide
MOST_LINES = 60
FAINT = 0.25
NOTHING_CHOSEN = "Click a photo, or draw around several."


def unit_square(places: np.ndarray) -> np.ndarray:
    """Places float [photos, 2] moved and scaled into 0 … 1 on both axes."""
    low, high = places.min(axis=0), places.max(axis=0)
    return (places - low) / np.where(high > low, high - low, 1)


def nearest(vectors: np.ndarray, count: int = 5) -> np.ndarray:
    """Each photo's nearest other photos in the space itself, not on the map: int [photos, count].

    vectors: float32 [photos, d]. There are fewer where the dataset has no `count` others.
    """
    count = min(count, len(vectors) - 1)
    return NearestNeighbors(n_neighbors=count).fit(vectors).kneighbors(return_distance=False)


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


class EmbeddingMap(widgets.VBox):
    """Both maps, a line of text, and the photo under the pointer.

    A click chooses a photo and its five nearest in either space; a lasso or box chooses many; a
    double click on no photo lets go of all.
    Lines join the same photo in both maps, for at most 60 photos.

    Args:
        dataset: the photos.
        vectors: per model float32 [photos, d], rows in the order of the dataset; two models.
        places: per model float [photos, 2], a projection of them.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        vectors: Mapping[str, np.ndarray],
        places: Mapping[str, np.ndarray],
    ):
        self.dataset = dataset
        self.neighbours = [nearest(found) for found in vectors.values()]
        self.places = [unit_square(place) + (GAP * side, 0) for side, place in
                       enumerate(places.values())]  # fmt: skip
        self.chosen: list[int] = []
        names = [plots.names(record.labels) for record in dataset]
        # lists: FigureWidget draws nothing from a strided array's buffer
        traces = [
            go.Scatter(
                x=place[:, 0].tolist(), y=place[:, 1].tolist(),
                mode="markers", name=title, text=names,
                hovertemplate="%{text}<extra></extra>",
                marker={"size": 9, "color": plots.colour(title, side),
                        "symbol": ("circle", "square")[side]},
            )
            for side, (title, place) in enumerate(zip(places, self.places, strict=True))
        ]  # fmt: skip
        lines = go.Scatter(
            x=[], y=[], mode="lines", line={"width": 1, "color": "#777"}, hoverinfo="skip",
            showlegend=False,
        )  # fmt: skip
        # The chosen photos are drawn once more, on top: plotly's own highlighting of a selection
        # stays within the map that the lasso was drawn in.
        lit = [
            go.Scatter(
                x=[], y=[], mode="markers", marker=trace.marker, hoverinfo="skip", showlegend=False
            )
            for trace in traces
        ]
        self.figure = go.FigureWidget([*traces, lines, *lit])
        for trace in (*self.figure.data[:2], *self.figure.data[3:]):
            _set_opacity(trace, 1)
        self.figure.update_layout(
            height=520, margin={"l": 10, "r": 10, "t": 10, "b": 10}, dragmode="lasso",
            clickmode="event", template="plotly_white",
            legend={"orientation": "h", "y": 1.05},
        )  # fmt: skip
        self.figure.update_xaxes(visible=False)
        self.figure.update_yaxes(visible=False)
        self.preview = widgets.HTML()
        self.told = widgets.HTML(NOTHING_CHOSEN)
        for trace in self.figure.data[:2]:
            trace.on_click(lambda _trace, points, _state: self._clicked(points.point_inds))
            trace.on_hover(lambda _trace, points, _state: self.show(points.point_inds))
        # Not on_selection: its message has one place to wait in with those of the pointer, which
        # overwrite it where a lasso ends on a photo.
        self.figure.observe(self._drawn_around, "_js2py_relayout")
        below = widgets.HBox([self.preview, self.told], layout={"min_height": "130px"})
        super().__init__([self.figure, below])

    def _repr_mimebundle_(self, **options) -> dict:
        """Beside the live view a sentence for pages without a kernel."""
        bundle = super()._repr_mimebundle_(**options)
        return {
            **bundle,
            "text/plain": "The map needs a running kernel: open this notebook with `make lab`.",
        }

    def choose(self, rows: Sequence[int]) -> None:
        """Light up photos, given as rows of the dataset, in both maps and join them by lines.

        Without rows nothing is chosen, and all photos are drawn alike.
        """
        self.chosen = joined(rows, self.neighbours)
        left, right = self.places
        ends = [(left[row], right[row], (None, None)) for row in self.chosen[:MOST_LINES]]
        points = [point for three in ends for point in three]
        with self.figure.batch_update():
            for trace, lit, place in zip(
                self.figure.data[:2], self.figure.data[3:], self.places, strict=True
            ):
                _set_opacity(trace, FAINT if self.chosen else 1)
                lit.x, lit.y = place[self.chosen].T.tolist() if self.chosen else ([], [])
            self.figure.data[2].x = [x for x, _ in points]
            self.figure.data[2].y = [y for _, y in points]
        if not self.chosen:
            self.told.value = NOTHING_CHOSEN
            return
        common = set(self.neighbours[0][rows[0]]) & set(self.neighbours[1][rows[0]])
        among = f" {len(common)} of its {self.neighbours[0].shape[1]} nearest are the same in both."
        self.told.value = f"{len(self.chosen)} photos chosen." + (among if len(rows) == 1 else "")

    def _clicked(self, rows: Sequence[int]) -> None:
        """plotly reports a click to both maps, to the other one without a photo."""
        if len(rows):
            self.choose(rows)

    def _drawn_around(self, change: dict) -> None:
        """Choose what lies within the lassos and boxes on the plot, on either map."""
        drawn = ((change["new"] or {}).get("relayout_data") or {}).get("selections")
        if drawn is not None:
            inside = [outline(one).contains_points(place) for one in drawn for place in self.places]
            self.choose(np.flatnonzero(np.any(inside, axis=0)).tolist() if inside else [])

    def show(self, rows: Sequence[int]) -> None:
        """The photo under the pointer, beside the text."""
        if len(rows):
            record = self.dataset.records[rows[0]]
            alt = html.escape(alt_text(record.labels))
            self.preview.value = f'<img src="{thumbnail_uri(record.path)}" alt="{alt}">'


def _set_opacity(trace: go.Scatter, opacity: float) -> None:
    """Of all markers alike, whether plotly takes them for selected or not."""
    trace.update(
        marker_opacity=opacity,
        selected_marker_opacity=opacity,
        unselected_marker_opacity=opacity,
    )
