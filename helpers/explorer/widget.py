"""The explorer: choose a query, see what two models find, vote. For JupyterLab, without a network.

The photos are one anywidget (`photo_browser.js`), because no widget of ipywidgets is both a picture
and a button: `Image` and `HTML` send no clicks, `Button` holds no picture, `FileUpload` takes no
dropped files. The other controls are ipywidgets.
"""

from __future__ import annotations

import base64
import hashlib
import io
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import anywidget
import ipywidgets as widgets
import numpy as np
import traitlets

from helpers import extraction, plots
from helpers.conversion import onnx_path
from helpers.datasets import ImageDataset, ImageRecord, open_dataset
from helpers.explorer import votes
from helpers.explorer.answer import (
    DEPTH,
    METRICS,
    OWN_PHOTO,
    Answer,
    Choice,
    Result,
    Stores,
    answer,
    offered_models,
)
from helpers.images import open_photo, thumbnail
from helpers.models import EmbeddingModel, embedding_model
from helpers.settings import TutorialError, resolve
from helpers.study import explanation, figures

THUMBNAIL = (160, 160)
STRIP = 40
ALL = "all categories"
SIDES = ("left", "right")
FIT = {"width": "auto"}
ROW = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 10px"}


class PhotoBrowser(anywidget.AnyWidget):
    """Thumbnails as buttons: a strip of queries, the query, and rows of results.

    The slider of the combined row is here too, since that of ipywidgets has no name that a screen
    reader could read.
    """

    _esm = Path(__file__).with_name("photo_browser.js")
    _css = Path(__file__).with_name("photo_browser.css")
    strip = traitlets.List().tag(sync=True)
    query = traitlets.Dict().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    explanation = traitlets.Dict().tag(sync=True)
    weight = traitlets.Float(0.5).tag(sync=True)


class Explorer(widgets.VBox):
    """Two models side by side for one query, updated by every choice.

    Args:
        dataset: the photos; None opens the one that `DATASET` names.
        left, right: the models to start with.

    Raises TutorialError where the photos or a service cannot be used at the start; later errors
    are shown as a sentence inside the widget, which goes on working.
    """

    def __init__(
        self,
        dataset: ImageDataset | None = None,
        left: EmbeddingModel = embedding_model("resnet50"),  # noqa: B008 frozen
        right: EmbeddingModel = embedding_model("vgg16"),  # noqa: B008 frozen
    ):
        self.dataset = dataset or open_dataset()
        self.stores = Stores(self.dataset)
        self.choice = Choice(
            self.dataset.records[0], left, right, count=min(6, len(self.dataset) - 1)
        )
        self.answer: Answer | None = None
        self.swapped = False
        self.uploads = tempfile.TemporaryDirectory(prefix="explorer-")
        self.photos = PhotoBrowser()
        self.photos.on_msg(self._on_photo)
        self._make_controls()
        self._show_strip()
        self.answer = answer(self.stores, self.choice)
        self._show()
        self._show_tally()
        super().__init__([self.settings, self.switches, self.photos, self.voting])

    def _repr_mimebundle_(self, **options) -> dict:
        """Beside the live view a sentence for pages without a kernel."""
        bundle = super()._repr_mimebundle_(**options)
        sentence = "The explorer needs a running kernel: open this notebook with `make lab`."
        return {**bundle, "text/plain": sentence}

    # --- controls -----------------------------------------------------------------------------

    def _make_controls(self) -> None:
        models = [
            (model.label + ("" if onnx_path(model).exists() else " (made on first use)"), model)
            for model in offered_models()
        ]
        categories = [(ALL, "")] + [
            (f"{name} ({count})", name) for name, count in self.dataset.categories.items()
        ]
        self.left = _control(widgets.Dropdown, "Left", options=models, value=self.choice.left)
        self.right = _control(widgets.Dropdown, "Right", options=models, value=self.choice.right)
        self.metric = _control(
            widgets.Dropdown,
            "Score",
            options=[(title, name) for name, title in METRICS.items()],
            value=self.choice.metric,
        )
        self.count = _control(
            widgets.IntText, "Results", value=self.choice.count, continuous_update=False
        )
        self.category = _control(widgets.Dropdown, "Only", options=categories, value="")
        self.queries = _control(widgets.Dropdown, "Queries", options=categories, value="")
        self.random = widgets.Button(description="Random query", icon="random", layout=FIT)
        self.explain = widgets.Checkbox(description="Explain on click", indent=False, layout=FIT)
        self.blind = widgets.Checkbox(description="Blind", indent=False, layout=FIT)
        for control in (self.left, self.right, self.metric, self.count, self.category):
            control.observe(self._on_setting, "value")
        self.photos.observe(lambda change: self._update(weight=change["new"]), "weight")
        self.queries.observe(lambda _: self._guarded(self._show_strip), "value")
        self.random.on_click(lambda _: self.ask(random.choice(self._strip_records())))
        self.blind.observe(self._on_blind, "value")
        self.explain.observe(self._on_explain, "value")
        self.settings = widgets.GridBox(
            [self.left, self.right, self.metric, self.count, self.category, self.queries],
            layout=widgets.Layout(
                grid_template_columns="repeat(auto-fit, minmax(17rem, 1fr))", grid_gap="2px 12px"
            ),
        )
        self.switches = widgets.Box([self.random, self.explain, self.blind], layout=ROW)
        self.tally = widgets.HTML()
        buttons = []
        for better, text in zip(
            votes.ANSWERS, ("Left is better", "Right is better", "Same"), strict=True
        ):
            button = widgets.Button(description=text)
            button.on_click(lambda _, better=better: self._guarded(self._vote, better))
            buttons.append(button)
        self.voting = widgets.Box([*buttons, self.tally], layout=ROW)

    # --- what the reader does -----------------------------------------------------------------

    def ask(self, query: ImageRecord) -> None:
        """Search for a photo of the dataset; `Explorer.ask_file` takes any other."""
        self.swapped = self.blind.value and random.random() < 0.5
        self._update(query=query)

    def ask_file(self, name: str, content: bytes) -> None:
        """Search for a photo of the reader's own, given as the bytes of a file."""
        # Its own name: thumbnails are kept by path, and two files may be named alike.
        path = Path(self.uploads.name) / _digest(content)
        path.write_bytes(content)
        try:
            open_photo(path)
        except TutorialError as error:
            raise TutorialError(str(error).replace(path.name, Path(name).name)) from error
        self.ask(ImageRecord(OWN_PHOTO, path, frozenset()))

    def _on_photo(self, _widget: object, message: dict, buffers: list) -> None:
        self._guarded(self._handle, message, buffers)

    def _handle(self, message: dict, buffers: list) -> None:
        if message["kind"] == "large":
            raise TutorialError(f"{message['name']!r} is larger than 8 MB: drop a smaller copy.")
        if message["kind"] == "file":
            self.ask_file(message["name"], bytes(buffers[0]))
            return
        record = self.dataset.by_id[int(message["id"])]
        if self.explain.value and not self.blind.value and message["place"] != "strip":
            self._explain(record)
        else:
            self.ask(record)

    def _on_setting(self, _change: object) -> None:
        self._update(
            left=self.left.value,
            right=self.right.value,
            metric=self.metric.value,
            count=self.count.value,
            category=self.category.value or None,
        )

    def _on_blind(self, _change: object) -> None:
        hidden = "none" if self.blind.value else None
        for control in (self.left, self.right, self.metric, self.explain):
            control.layout.display = hidden
        self.ask(self.choice.query)

    def _on_explain(self, change: dict) -> None:
        if not change["new"]:
            self.photos.explanation = {}

    def _guarded(self, action: Callable[..., None], *arguments: object) -> None:
        """Run an action of the reader's; what goes wrong becomes a sentence in the widget."""
        try:
            self.photos.message = ""
            action(*arguments)
        except TutorialError as error:
            self.photos.message = str(error)

    def _update(self, **chosen: object) -> None:
        self._guarded(self._search, replace(self.choice, **chosen))

    def _search(self, choice: Choice) -> None:
        if not all(model in self.stores.known for model in (choice.left, choice.right)):
            self.photos.message = "Preparing the models: converting, extracting, storing …"
        self.choice = choice  # kept even if the search fails: choosing again tries again
        self.answer = answer(self.stores, choice)
        self._show()
        self._show_tally()

    def _vote(self, better: str) -> None:
        choice, swapped, blind = self.shown
        if better != "same" and swapped:
            better = SIDES[1 - SIDES.index(better)]
        query = choice.query
        name = query.path.name if query.id == OWN_PHOTO else str(query.id)
        models = choice.left.label, choice.right.label
        votes.save_vote(votes.Vote(self.dataset.slug, name, *models, better, blind))
        self._show_tally()
        if self.blind.value:  # the next one, before a second look spoils it
            self.ask(random.choice(self._strip_records()))

    # --- what the reader sees -----------------------------------------------------------------

    def _strip_records(self) -> list[ImageRecord]:
        """The photos to choose from: of one category or all, evenly spread."""
        wanted = self.queries.value
        records = [one for one in self.dataset if not wanted or wanted in one.labels]
        rows = np.linspace(0, len(records) - 1, min(STRIP, len(records))).astype(int)
        return [records[row] for row in rows]

    def _show_strip(self) -> None:
        self.photos.strip = [_photo(record.id, record.path, record.labels, []) for record in
                             self._strip_records()]  # fmt: skip

    def _show(self) -> None:
        query, found = self.choice.query, self.answer
        name = "Your photo" if query.id == OWN_PHOTO else "Query"
        labels = ", ".join(sorted(query.labels))
        photo = _photo(query.id, query.path, query.labels, [name, labels])
        rows = [(self.choice.left.label, found.left, "left"),
                (self.choice.right.label, found.right, "right")]  # fmt: skip
        if self.blind.value:
            shown = rows[::-1] if self.swapped else rows
            rows = [(side.capitalize(), results, side)
                    for side, (_, results, _) in zip(SIDES, shown, strict=True)]  # fmt: skip
        else:
            share = f"{1 - self.choice.weight:.0%} left, {self.choice.weight:.0%} right"
            rows.append((f"Combined: {share}", found.combined, "combined"))
        rows = [
            {
                "name": name,
                "title": title,
                "photos": [self._result(result, name) for result in results],
            }
            for title, results, name in rows
        ]
        # Votes, their tally and heat maps are of this, whatever a search that failed was to show.
        self.shown = (self.choice, self.swapped, self.blind.value)
        self.photos.query, self.photos.rows = photo, rows
        self.photos.explanation = {}
        self.photos.message = found.notice

    def _result(self, result: Result, row: str) -> dict:
        hit = result.hit
        score = "" if self.blind.value else f" · {self._score_name(row)} {result.score:.3f}"
        lines = [f"{hit.rank}{score}", self._movement(result, row)]
        if self.choice.query.labels:
            lines.append("✓ " + ", ".join(sorted(result.shared)) if result.shared else "✗")
        photo = _photo(hit.id, resolve(hit.path), hit.labels, lines)
        photo["alt"] = f"Result {hit.rank}: {photo['alt']}"
        return {**photo, "match": bool(result.shared)}

    def _score_name(self, row: str) -> str:
        if row == "combined":
            return "score"
        return {"L2": "d²", "COSINE": "cos", "IP": "ip"}[self.choice.metric]

    def _movement(self, result: Result, row: str) -> str:
        """Where else the photo stands: ▲ if this model ranks it higher than the other does."""
        if row == "combined":
            places = [rank or f"beyond {DEPTH}" for rank in result.elsewhere]
            return f"left {places[0]}, right {places[1]}"
        [other] = result.elsewhere
        if other is None:
            return f"new, beyond {DEPTH} there"
        if other > len(self.answer.left):
            return f"new, {other} there"
        change = other - result.hit.rank
        return f"▲ {change}" if change > 0 else f"▼ {-change}" if change < 0 else "= same rank"

    def _explain(self, record: ImageRecord) -> None:
        """Heat maps of notebook 07: where the similarity of the query and a result comes from."""
        self.photos.message = "Computing the heat maps …"
        choice, *_ = self.shown
        query, maps, cosines = choice.query, {}, []
        for model in (choice.left, choice.right):
            stored = self.stores(model)
            paths = [query.path, record.path]
            features = extraction.feature_maps(stored.onnx_path, paths)
            recipe = stored.model.recipe
            split = explanation.similarity_maps(*features, recipe.pooling)
            cosines.append(f"{model.label} cosine {split[0].sum():.3f}")
            seen = [explanation.seen(np.asarray(open_photo(path)), recipe) for path in paths]
            maps[model.label.replace(" · ", "\n", 1)] = list(zip(seen, split, strict=True))
        figure = io.BytesIO()
        figures.match_maps(maps, ("query", "result")).savefig(figure, format="png", dpi=80)
        photo = plots.names(record.labels)
        self.photos.explanation = {
            "src": _data_uri(figure.getvalue(), "png"),
            "alt": f"Heat maps: where the query and a result ({photo}) are alike for "
            + " and ".join(cosines),
        }
        self.photos.message = ""

    def _show_tally(self) -> None:
        choice, _, blind = self.shown
        left, right = choice.left.label, choice.right.label
        found = votes.tally(votes.load_votes(), self.dataset.slug, left, right)
        total = found.first + found.second + found.same
        if blind:
            self.tally.value = f"{total} votes so far; switch Blind off to see for whom."
            return
        self.tally.value = (
            f"Your votes: {left} <b>{found.first}</b>, {right} <b>{found.second}</b>, "
            f"same <b>{found.same}</b>. Sign test: p = {found.p_value:.3f}"
        )


def _control(kind: type[widgets.Widget], description: str, **options: object) -> widgets.Widget:
    return kind(
        description=description,
        style={"description_width": "4.5rem"},
        layout=widgets.Layout(width="auto"),
        **options,
    )


def alt_text(labels: frozenset[str]) -> str:
    """What a screen reader says of a photo."""
    return ", ".join(sorted(labels)) or "photo without label"


def _photo(id_: int, path: Path, labels: frozenset[str], lines: list[str]) -> dict:
    """A thumbnail as the browser takes it; JavaScript would round a long id that is a number."""
    return {
        "id": str(id_),
        "src": thumbnail_uri(path),
        "alt": alt_text(labels),
        "lines": [line for line in lines if line],
    }


@lru_cache(maxsize=4096)
def thumbnail_uri(path: Path) -> str:
    """A whole photo, at most 160 pixels wide and high, as the text of a JPEG data URI.

    Raises TutorialError if the photo cannot be read.
    """
    content = io.BytesIO()
    thumbnail(path, THUMBNAIL, crop=False).save(content, "JPEG", quality=82)
    return _data_uri(content.getvalue(), "jpeg")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
