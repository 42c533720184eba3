"""The explorer: choose a query, see what two models find, vote. For JupyterLab, without a network.

The photos are `photo_browser`; the other controls are ipywidgets.
"""

from __future__ import annotations

import hashlib
import io
import random
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from helpers import extraction, plots
from helpers.conversion import onnx_path
from helpers.datasets import ImageDataset, ImageRecord
from helpers.explorer import votes
from helpers.explorer.answer import (
    METRICS,
    OWN_PHOTO,
    Choice,
    Result,
    Stores,
    answer,
    rank_line,
    score_line,
)
from helpers.explorer.photo_browser import (
    SIZES,
    Line,
    PhotoBrowser,
    alt_text,
    data_uri,
    photo_entry,
    photo_uri,
)
from helpers.explorer.preparing import Preparation
from helpers.images import open_photo
from helpers.models import EmbeddingModel, all_models
from helpers.settings import ROOT, TutorialError, display_path
from helpers.study import explanation, figures

STRIP = 40
QUERY = 320  # pixels
ENLARGED = 1400
BUTTONS = {"a": [("a", "A is better", 1), ("same", "Same", 3)], "b": [("b", "B is better", 2)]}
"""Beside the title of a row: a vote, its text and its key."""
TRAIL = 30
"""Queries that Back leads to."""
ALL = "all categories"
SPREAD, DISAGREE = "evenly spread", "most disagreement first"
ROW = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 10px"}

STILL = ROOT / "docs/explorer.jpg"
"""What is seen where no kernel runs; `tests/browser/test_lab.py` takes it."""
STILL_ALT = (
    "The explorer on the sample. Above: menus for both models, the score and the filters, and a "
    "strip of photos to choose a query from. Below: the query, two bottles, beside three rows of "
    "six results, what ResNet50 finds, what VGG16 finds, and both combined; all show bottles."
)

_remembered: dict[str, tuple[Choice, str]] = {}
"""Per dataset what was last chosen, photo size included, for the next explorer in this kernel."""


class Explorer(widgets.VBox):
    """Two models, A and B, side by side for one query, updated by every choice.

    Args:
        dataset: the photos.

    It starts with what was last chosen in this kernel. Raises TutorialError where the photos or a
    service cannot be used at the start; later errors are shown as a sentence inside the widget,
    which goes on working.
    """

    def __init__(self, dataset: ImageDataset):
        self.dataset, self.stores = dataset, Stores(dataset)
        first = Choice(dataset.records[0], *all_models()[:2], count=min(6, len(dataset) - 1))
        self.choice, size = _remembered.get(dataset.slug, (first, "small"))
        if self.choice.query not in dataset.records:  # a file that was dropped
            self.choice = replace(self.choice, query=first.query)
        self.trail, self.place = [self.choice.query], 0
        self.seen: set[str] = set()
        self.swapped = self.was_shown = False
        self.series: list[tuple[votes.Vote, ImageRecord]] = []
        self.preparation: Preparation | None = None
        self.lock = threading.RLock()  # a model that is ready comes from another thread
        self.listeners: list[Callable[[ImageRecord], None]] = []
        self.uploads = tempfile.TemporaryDirectory(prefix="explorer-")
        self.photos = PhotoBrowser(weight=self.choice.weight)
        self.photos.on_action(partial(self._guarded, self._handle))
        self.photos.observe(lambda _: self._guarded(self._set), "weight")
        settings, switches = self._make_settings(size), self._make_switches()
        self.progress = self._make_progress()
        self.answer = answer(self.stores, self.choice)
        self._show_models()
        self._show_strip()
        self._show()
        self._show_tally()
        super().__init__([settings, switches, self.progress, self.photos])
        self.add_class("explorer")

    def _repr_mimebundle_(self, **options: object) -> dict:
        """For pages without a kernel a sentence, and the first time a picture.

        As HTML, because JupyterLab draws an `image/jpeg` without its text alternative.
        """
        sentence = "The explorer needs a running kernel: run this cell, in `make lab`."
        bundle = {**super()._repr_mimebundle_(**options), "text/plain": sentence}
        if not self.was_shown:
            source = data_uri(STILL.read_bytes(), "jpeg")
            bundle["text/html"] = f'<img src="{source}" alt="{STILL_ALT}">'
        self.was_shown = True
        return bundle

    # --- controls -----------------------------------------------------------------------------

    def _make_settings(self, size: str) -> widgets.GridBox:
        """What is searched for and shown; each change takes effect at once."""
        categories = [(ALL, "")] + [
            (f"{name} ({count})", name) for name, count in self.dataset.categories.items()
        ]
        metrics = [(title, name) for name, (title, *_) in METRICS.items()]
        choice, control = self.choice, self._control
        self.models = {
            side: control(widgets.Dropdown, f"Model {side.upper()}", partial(self._set_model, side))
            for side in "ab"
        }
        self.metric = control(
            widgets.Dropdown, "Score", self._set, options=metrics, value=choice.metric
        )
        self.count = control(widgets.IntText, "Results", self._set, value=choice.count)
        self.category = control(
            widgets.Dropdown, "Results from", self._set, options=categories,
            value=choice.category or "",
        )  # fmt: skip
        self.queries = control(
            widgets.Dropdown, "Queries from", self._show_strip, options=categories
        )
        self.find = control(widgets.Text, "File name", self._show_strip, placeholder="part of it")
        self.order = control(
            widgets.Dropdown, "Strip", self._show_strip, options=[SPREAD, DISAGREE]
        )
        self.size = control(
            widgets.Dropdown, "Photo size", self._set, options=list(SIZES), value=size
        )
        # wide enough for a model's name, and two beside each other in a narrow window
        columns = "repeat(auto-fill, minmax(max(15rem, min(18rem, 50% - 6px)), 1fr))"
        return widgets.GridBox(
            [*self.models.values(), self.metric, self.count, self.category, self.queries,
             self.find, self.order, self.size],
            layout={"grid_template_columns": columns, "grid_gap": "2px 12px"},
        )  # fmt: skip

    def _make_switches(self) -> widgets.Box:
        """The way through the queries, and blind votes."""
        self.random = self._button("Random query", "random", self._ask_random)
        self.back = self._button("Back", "arrow-left", lambda: self._walk(-1))
        self.forward = self._button("Forward", "arrow-right", lambda: self._walk(1))
        self.blind = widgets.Checkbox(description="Blind", indent=False, layout={"width": "auto"})
        self.blind.observe(lambda _: self._guarded(self._set_blind), "value")
        self.target = widgets.BoundedIntText(
            10, 1, 1000, description="Votes to give", layout={"width": "9rem"},
            style={"description_width": "auto"},
        )  # fmt: skip
        self.undo = self._button("Undo the last vote", "undo", self._undo)
        _show_only_if(False, self.undo)
        self.tally = widgets.HTML().add_class("votes")
        parts = [self.random, self.back, self.forward, self.blind, self.target, self.undo]
        return widgets.Box([*parts, self.tally], layout=ROW)

    def _make_progress(self) -> widgets.Box:
        """Of a model that is being made; hidden where none is."""
        self.bar, self.told = widgets.FloatProgress(max=1), widgets.HTML()
        cancel = self._button("Cancel", "stop", self._cancel)
        progress = widgets.Box([self.bar, self.told, cancel], layout=ROW)
        _show_only_if(False, progress)
        return progress

    def _control(
        self, kind: type[widgets.Widget], title: str, action: Callable[[], None], **options: object
    ) -> widgets.Widget:
        """A control with its title before it; a new value calls `action`."""
        if kind is not widgets.Dropdown:
            options["continuous_update"] = False
        style, layout = {"description_width": "5.5rem"}, {"width": "auto"}
        control = kind(description=title, style=style, layout=layout, **options)
        control.observe(lambda _: self._guarded(action), "value")
        return control

    def _button(self, text: str, icon: str, action: Callable[[], None]) -> widgets.Button:
        button = widgets.Button(description=text, icon=icon, layout={"width": "auto"})
        button.on_click(lambda _: self._guarded(action))
        return button

    def _show_models(self) -> None:
        """What can be chosen; afterwards the controls stand at the models that are shown."""
        options = [
            (model.label + ("" if onnx_path(model).exists() else " (made on first use)"), model)
            for model in all_models()
        ]
        self.listing = True  # new options choose the first of them
        for side, control in self.models.items():
            control.options = options
            control.value = getattr(self.choice, side)
        self.listing = False

    # --- what the reader does -----------------------------------------------------------------

    def ask(self, query: ImageRecord) -> None:
        """Search for a photo of the dataset; a file dropped on the explorer may be any other."""
        self._guarded(self._ask, query)

    def _ask(self, query: ImageRecord, place: int | None = None) -> None:
        """Search for a photo: a new one, or the one that stands at a place of the trail."""
        if self.blind.value and _name(query) in self._voted():
            raise TutorialError("You have voted on this photo before: choose another one.")
        if place is not None:
            self.place = place
        elif query != self.trail[self.place]:
            self.trail = [*self.trail[: self.place + 1], query][-TRAIL:]
            self.place = len(self.trail) - 1
        self.swapped = self.blind.value and random.random() < 0.5
        self._search(replace(self.choice, query=query))

    def _candidates(self) -> list[ImageRecord]:
        """What a random query is drawn from; in blind votes without photos that were seen."""
        records = [record for record in self._query_records() if record != self.choice.query]
        if self.blind.value:
            seen = self._voted() | self.seen
            records = [record for record in records if _name(record) not in seen]
        return records

    def _ask_random(self) -> None:
        records = self._candidates()
        if not records:
            raise TutorialError(
                "No other photo is left to ask for: choose other `Queries from`, or no file name."
            )
        self._ask(random.choice(records))

    def _walk(self, step: int) -> None:
        """Back or forward over the queries so far."""
        place = self.place + step
        if 0 <= place < len(self.trail):
            self._ask(self.trail[place], place)

    def _ask_file(self, name: str, content: bytes, number: int, of: int) -> None:
        """Search for a photo of the reader's own; of several files the others come after it."""
        # Its own name: thumbnails are kept by path, and two files may be named alike.
        path = Path(self.uploads.name) / hashlib.sha256(content).hexdigest()[:12]
        path.write_bytes(content)
        try:
            open_photo(path)
        except TutorialError as error:
            reason = str(error).partition(" cannot be used as a photo: ")[2].rpartition("; ")[0]
            name = Path(name).name
            raise TutorialError(f"{name!r} cannot be used as a photo: {reason}.") from error
        record = ImageRecord(OWN_PHOTO, path, frozenset())
        if number:
            self.trail.append(record)
            self._show_trail()
            self.photos.message = f"{of} files: this is the first photo, Forward leads to the next."
        else:
            self._ask(record)

    def _handle(self, message: dict, buffers: list) -> None:
        match message["kind"]:
            case "photo" if message["place"] == "trail":
                self._ask(self.trail[message["number"]], message["number"])
            case "photo":
                self._ask(self.dataset.by_id[int(message["id"])])
            case "why":
                self._explain(self.dataset.by_id[int(message["id"])], message["place"])
            case "enlarge":
                self._enlarge(message["id"], message["place"])
            case "vote" if message["query"] == self.photos.query["id"]:  # not a second click
                self._vote(message["better"])
            case "random":
                self._ask_random()
            case "back" | "forward":
                self._walk(1 if message["kind"] == "forward" else -1)
            case "file":
                content = bytes(buffers[0])
                self._ask_file(message["name"], content, message["number"], message["of"])

    def _set(self) -> None:
        """Search anew, as the controls say."""
        settings = {
            "metric": self.metric.value,
            "count": self.count.value,
            "category": self.category.value or None,
            "weight": self.photos.weight,
        }
        self._search(replace(self.choice, **settings))

    def _guarded(self, action: Callable[..., None], *arguments: object) -> None:
        """Run an action of the reader's; what goes wrong becomes a sentence in the widget."""
        with self.lock:
            try:
                self.photos.message = ""
                action(*arguments)
            except TutorialError as error:
                self.photos.message = str(error)

    def _search(self, choice: Choice) -> None:
        self.choice = choice  # kept even if the search fails: choosing again tries again
        self.answer = answer(self.stores, choice)
        _remembered[self.dataset.slug] = choice, self.size.value
        self._show()
        self._show_tally()
        for listener in self.listeners:
            listener(choice.query)

    # --- models that are made on first use ----------------------------------------------------

    def _set_model(self, side: str) -> None:
        model = self.models[side].value
        if self.listing or model == getattr(self.choice, side):
            return
        if self.stores.made(model):
            self._use_model(side, model)
            return
        self._preparing(True)
        self.preparation = Preparation(
            self.dataset,
            model,
            self._show_progress,
            lambda why: self._guarded(self._prepared, side, model, why),
        )

    def _use_model(self, side: str, model: EmbeddingModel) -> None:
        self._search(replace(self.choice, **{side: model}))
        if self.order.value == DISAGREE:
            self._show_strip()

    def _preparing(self, going_on: bool) -> None:
        _show_only_if(going_on, self.progress)
        for control in (*self.models.values(), self.blind):
            control.disabled = going_on

    def _show_progress(self, share: float, text: str) -> None:
        self.bar.value, self.told.value = share, text

    def _prepared(self, side: str, model: EmbeddingModel, why: str) -> None:
        """The process of a preparation has ended, `why` being what went wrong."""
        self.preparation = None
        self._preparing(False)
        try:
            if why:
                raise TutorialError(why)
            self._use_model(side, model)
        finally:
            self._show_models()

    def _cancel(self) -> None:
        if self.preparation:
            self.preparation.cancel()
            self._prepared("a", self.choice.a, "")

    # --- votes --------------------------------------------------------------------------------

    def _set_blind(self) -> None:
        on = self.blind.value
        _show_only_if(not on, *self.models.values(), self.metric, self.order)
        _show_only_if(on, self.undo)
        self.target.disabled, self.undo.disabled = on, True
        if not on:
            self.swapped = False
            self._search(self.choice)
            return
        self.series.clear()
        try:
            self._ask_random()
        except TutorialError:  # the rows still show names
            self.blind.value = False
            raise

    def _voted(self) -> set[str]:
        """Queries on which the reader voted blind, for this pair of models."""
        pair = {self.choice.a.label, self.choice.b.label}
        return {
            vote.query
            for vote in votes.load_votes()
            if vote.blind and vote.dataset == self.dataset.slug and {vote.a, vote.b} == pair
        }

    def _vote(self, better: str) -> None:
        choice, swapped, blind = self.shown
        if better != "same" and swapped:
            better = {"a": "b", "b": "a"}[better]
        a, b, name = choice.a.label, choice.b.label, _name(choice.query)
        if blind and name in self._voted():
            raise TutorialError("You have voted on this photo before: choose another one.")
        vote = votes.Vote(self.dataset.slug, name, a, b, better, blind)
        votes.save_vote(vote)
        if not blind:
            self._show_tally()
            return
        self.series.append((vote, choice.query))
        self.undo.disabled = False
        if len(self.series) == self.target.value:
            self.blind.value = False
        elif self._candidates():
            self._ask_random()  # before a second look spoils it
        else:
            self.blind.value = False
            self.photos.message = f"No other photo is left: these are {len(self.series)} votes."

    def _undo(self) -> None:
        """Take back the last vote of this series, and ask for its query again."""
        vote, query = self.series.pop()
        votes.remove_vote(vote)
        self.undo.disabled = not self.series
        self._ask(query)

    def _show_tally(self) -> None:
        choice, _, blind = self.shown
        if blind:
            self.tally.value = f"{len(self.series)} of {_votes(self.target.value)}"
            return
        a, b = choice.a.label, choice.b.label
        kept, told = votes.load_votes(), []
        for kind, hidden in (("Blind", True), ("Open", False)):
            found = votes.tally(kept, self.dataset.slug, a, b, blind=hidden)
            total = found.a + found.b + found.same
            if total:
                verdict = f" {found.verdict}." if hidden else " Names seen, so not tested."
                told.append(f"{kind}: {_votes(total)}; A ({a}) <b>{found.a}</b>, B ({b}) "
                            f"<b>{found.b}</b>, same <b>{found.same}</b>.{verdict}")  # fmt: skip
        self.tally.value = "<br>".join(told) or "No votes yet on these two models."

    # --- what the reader sees -----------------------------------------------------------------

    def _query_records(self) -> list[ImageRecord]:
        """The photos to choose from: of one category or all, with a file name or any."""
        wanted, name = self.queries.value, self.find.value.strip().lower()
        return [
            record
            for record in self.dataset
            if (not wanted or wanted in record.labels) and name in record.path.name.lower()
        ]

    def _show_strip(self) -> None:
        records = self._query_records()
        if self.order.value == DISAGREE:
            self.photos.message = "Comparing the ten nearest of every photo …"
            differ = self.stores.disagreement(self.choice.a, self.choice.b)
            share = dict(zip(self.dataset.by_id, differ, strict=True))
            shown = sorted(records, key=lambda record: -share[record.id])[:STRIP]
            self.photos.message = ""
        else:
            rows = np.linspace(0, len(records) - 1, min(STRIP, len(records))).astype(int)
            shown = [records[row] for row in rows]
        self.photos.strip = [photo_entry(record) for record in shown]
        self.photos.note = (
            f"{len(shown)} of {len(records)} photos, {self.order.value}"
            + ("" if len(shown) == len(records) else "; a category or a file name leads to others")
        )  # fmt: skip

    def _show_trail(self) -> None:
        self.photos.trail = [
            photo_entry(one, current=number == self.place) for number, one in enumerate(self.trail)
        ]
        self.back.disabled = self.place == 0
        self.forward.disabled = self.place == len(self.trail) - 1

    def _show(self) -> None:
        """The answer; the browser gets all of it in one message, never rows of another query."""
        choice, found = self.choice, self.answer
        titles = {side: f"{side.upper()} · {getattr(choice, side).label}" for side in "ab"}
        results = {"a": found.a, "b": found.b, "combined": found.combined}
        titles["combined"] = (
            f"A and B combined: {1 - choice.weight:.0%} {choice.a.label}, "
            f"{choice.weight:.0%} {choice.b.label}"
        )
        if self.blind.value:
            titles = {"a": "A", "b": "B"}
            sides = (found.b, found.a) if self.swapped else (found.a, found.b)
            results = dict(zip("ab", sides, strict=True))
        # Votes, their tally and heat maps are of this, whatever a search that failed was to show.
        self.shown = (choice, self.swapped, self.blind.value)
        self.results = results
        self.seen.add(_name(choice.query))
        with self.photos.hold_sync():
            self.photos.size = SIZES[self.size.value]
            self.photos.query = photo_entry(choice.query, self._about_query(), QUERY)
            self.photos.ends = [f"A {choice.a.title}", f"B {choice.b.title}"]
            self.photos.explanation = {}
            self.photos.rows = [
                {"name": name, "title": title, "votes": BUTTONS.get(name, []),
                 "photos": [self._entry(result, name) for result in results[name]]}
                for name, title in titles.items()
            ]  # fmt: skip
            self.photos.message = found.notice
            self._show_trail()

    def _about_query(self) -> list[Line]:
        query = self.shown[0].query
        name = "Your photo" if query.id == OWN_PHOTO else "Query"
        return [(name, ""), (", ".join(sorted(query.labels)), "")]

    def _entry(self, result: Result, row: str) -> dict:
        """A result with what there is to say of it; in blind votes that is its place."""
        hit, (choice, _, blind) = result.hit, self.shown
        lines, classes = [(str(hit.rank), "")], []
        if not blind:
            count = len(self.results[row])
            lines = [score_line(result, row, choice.metric), rank_line(result, row, count)]
            if choice.query.labels:
                shared = "✓ " + ", ".join(sorted(result.shared)) if result.shared else "✗"
                lines.append((shared, "Categories it shares with the query"))
                classes = ["match" if result.shared else "miss"]
        size = max(240, 8 * SIZES[self.size.value] // 5)  # sharp where it has grown
        record = self.dataset.by_id[hit.id]
        entry = photo_entry(record, lines, size, classes=classes, silent=blind)
        return {**entry, "alt": f"Result {hit.rank}: {entry['alt']}"}

    def _enlarge(self, id_: str, place: str) -> None:
        """Query and result side by side, with the way to the results before and after it."""
        ids = [str(result.hit.id) for result in self.results.get(place, [])]
        if place != "query" and id_ not in ids:
            return  # clicked before the row changed
        pair = [self._large(self.shown[0].query, self._about_query())]
        about = {"place": place, "title": ""}
        if place != "query":
            number = ids.index(id_)
            result = self.results[place][number]
            lines = self._entry(result, place)["lines"]
            pair.append(self._large(self.dataset.by_id[int(id_)], lines))
            about |= {
                "title": f"{number + 1} of {len(ids)}",
                "before": ids[number - 1] if number else "",
                "after": ids[number + 1] if number + 1 < len(ids) else "",
            }
        self.photos.enlarged = {**about, "photos": pair}

    def _large(self, record: ImageRecord, lines: list[Line]) -> dict:
        """A photo for the dialog; where names could tell the models apart it has none."""
        hidden = self.shown[2] or record.id == OWN_PHOTO
        name = [] if hidden else [(display_path(record.path), str(record.path))]
        return {
            "src": photo_uri(record.path, ENLARGED),
            "alt": alt_text(record.labels),
            "lines": [*name, *lines],
            "path": "" if hidden else str(record.path),
        }

    def _explain(self, record: ImageRecord, row: str) -> None:
        """Heat maps of notebook 07: where the similarity of the query and a result comes from."""
        shown = self.photos.explanation
        if (shown.get("row"), shown.get("id")) == (row, str(record.id)):
            self.photos.explanation = {}
            return
        self.photos.message = "Computing the heat maps …"
        choice, *_ = self.shown
        query, maps, told = choice.query, {}, []
        for side, model in (("A", choice.a), ("B", choice.b)):
            stored = self.stores(model)
            paths = [query.path, record.path]
            features = extraction.feature_maps(stored.onnx_path, paths)
            recipe = stored.model.recipe
            split = explanation.similarity_maps(*features, recipe.pooling)
            cosine = split[0].sum()
            told.append(f"{side}, {model.label}: cosine {cosine:.3f} (d² {2 - 2 * cosine:.3f})")
            seen = [explanation.seen(np.asarray(open_photo(path)), recipe) for path in paths]
            maps[model.label.replace(" · ", "\n", 1)] = list(zip(seen, split, strict=True))
        figure = io.BytesIO()
        figures.match_maps(maps, ("query", "result")).savefig(figure, format="png", dpi=130)
        self.photos.explanation = {
            "src": data_uri(figure.getvalue(), "png"),
            "alt": f"Heat maps: where the query and a result ({plots.names(record.labels)}) are "
            "alike for " + " and ".join(told),
            "note": f"The shares of the places add up to the cosine; d² = 2 − 2 · cosine. "
            f"{'; '.join(told)}.",
            "row": row,
            "id": str(record.id),
        }
        self.photos.message = ""


def _show_only_if(wanted: bool, *parts: widgets.DOMWidget) -> None:
    for part in parts:
        part.layout.display = None if wanted else "none"


def _name(query: ImageRecord) -> str:
    """What a vote calls a query: its id, or the digest of a photo of the reader's own."""
    return query.path.name if query.id == OWN_PHOTO else str(query.id)


def _votes(number: int) -> str:
    return f"{number} vote{'' if number == 1 else 's'}"
