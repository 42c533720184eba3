"""The notebooks' widgets in JupyterLab, in a real browser, against the same search by hand."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import shutil
import time
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from PIL import Image, ImageOps
from scipy.stats import binomtest
from sklearn.decomposition import PCA

from helpers import services
from helpers.conversion import ensure_onnx
from helpers.datasets import open_dataset
from helpers.explorer.answer import DEPTH, OWN_PHOTO
from helpers.explorer.votes import load_votes, votes_path
from helpers.explorer.widget import STILL_ALT
from helpers.extraction import extract
from helpers.models import EmbeddingModel, embedding_model
from helpers.settings import ROOT
from helpers.vector_store import collection_name

HANG_SECONDS = 240  # ends what hangs; notebook 10 measures how long an update takes
A, B = embedding_model("resnet50"), embedding_model("vgg16")
NAMES = ("resnet", "vgg", "article", "recommended", "fp32", "int8")


# JupyterLab ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(environment):
    """The dataset, and clients of the servers that JupyterLab's kernels have started."""
    for name in ("MILVUS_URI", "MILVUS_TOKEN", "REDIS_URL"):
        assert not os.environ.get(name), f"unset {name}: these tests use the embedded servers"
    with pytest.MonkeyPatch.context() as patched:
        for name in ("DATASET", "BUILD_DIR"):
            patched.setenv(name, environment[name])
        yield open_dataset("sample")


@pytest.fixture(scope="module")
def opened(watch, lab, stored):
    """Notebook 10, run once for all tests that use it."""
    with watch() as watched:
        run_all(watched.page, lab, "10_explore.ipynb")
        yield watched


@pytest.fixture
def explore(opened):
    """Its explorer with all settings as at first; afterwards nothing may have gone wrong."""
    page = opened.page
    page.evaluate(
        """window.jupyterapp.shell.currentWidget.content.widgets
            .filter(cell => cell.model.sharedModel.source === 'explore')
            .forEach(cell => cell.model.clearExecution())"""
    )  # its second view, which has a test of its own
    scroll_to(page, "Explorer(dataset)")
    page.locator(".photo-browser").first.wait_for()
    page.get_by_label("Blind", exact=True).set_checked(False)
    set_number(page, 6)
    name = page.get_by_label("File name")
    if name.input_value():
        name.fill("")
        name.press("Enter")
    for label, option in (
        ("Model A", A.label), ("Model B", B.label), ("Score", "squared L2 distance"),
        ("Results from", "all categories"), ("Queries from", "all categories"),
        ("Strip", "evenly spread"), ("Photo size", "small"),
    ):  # fmt: skip
        choose(page, label, option)
    idle(page)
    yield page
    opened.check()


def run_all(page, address: str, notebook: str) -> None:
    """Open a notebook, run all its cells, and check that none failed."""
    page.goto(f"{address}/tree/{notebook}?token=test&reset")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady")
    page.evaluate(
        "window.jupyterapp.shell.currentWidget.content.widgets.forEach("
        "cell => cell.model.type === 'code' && cell.model.clearExecution())"
    )
    settled(page, "window.jupyterapp.commands.execute('notebook:run-all-cells')")
    cells = json.loads(
        page.evaluate(
            "JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON().cells)"
        )
    )
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    failed = [out["evalue"] for out in outputs if out["output_type"] == "error"]
    assert failed == []
    counts = [cell["execution_count"] for cell in code]
    assert counts == list(range(counts[0], counts[0] + len(code)))


def scroll_to(page, text: str) -> None:
    """JupyterLab draws only the cells in view: go to the code cell that holds `text`."""
    page.evaluate(
        """async text => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const number = notebook.widgets.findIndex(
                cell => cell.model.type === 'code' && cell.model.sharedModel.source.includes(text));
            notebook.activeCellIndex = number;
            await notebook.scrollToItem(number, 'start');
        }""",
        text,
    )


def settled(page, promise: str) -> None:
    """Wait for a promise in the page; unlike that of `evaluate`, this wait ends."""
    page.evaluate(
        f"() => {{ window.settled = false; {promise}.then(() => window.settled = true); }}"
    )
    page.wait_for_function("window.settled")


def idle(page) -> None:
    """Wait until the kernel has done everything asked of it so far, and the page has heard of it.

    The end of a request is told where the widgets' news is told, after them.
    """
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    settled(page, f"{kernel}.requestExecute({{code: '', silent: true}}).done")


# make lab ------------------------------------------------------------------------------------


def test_it_opens_notebook_0_beside_names_one_can_read(watched, lab, screenshots):
    page = watched.page
    page.goto(f"{lab.removesuffix('/lab')}/?token=test")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.context?.path")
    path = page.evaluate("window.jupyterapp.shell.currentWidget.context.path")
    assert path == "00_quick_start.ipynb"
    name = page.locator(".jp-DirListing-itemText", has_text="08_go_faster").first
    name.wait_for()
    page.screenshot(path=screenshots / "start.png")
    assert name.evaluate("one => one.scrollWidth <= one.clientWidth"), "the name is cut"


def test_a_saved_explorer_is_a_picture_and_the_notebooks_stay_clean(
    watched, lab, environment, stored, screenshots
):
    page, build = watched.page, Path(environment["BUILD_DIR"])
    source = (
        "from helpers.datasets import open_dataset\n"
        "from helpers.explorer.widget import Explorer\n"
        "Explorer(open_dataset())"
    )
    write_notebook(build / "lab/saved.ipynb", source)
    run_all(page, lab, "saved.ipynb")
    page.locator(".photo-browser").first.wait_for()
    take_the_picture(page, stored, screenshots / "explorer.jpg")
    page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    saved = json.loads((build / "lab/saved.ipynb").read_text(encoding="utf-8"))
    [view] = [one["data"] for one in saved["cells"][0]["outputs"] if "data" in one]
    assert sorted(view) == ["text/html", "text/plain"]
    page.evaluate("window.jupyterapp.commands.execute('kernelmenu:shutdown')")
    page.goto(f"{lab}/tree/saved.ipynb?token=test&reset")
    page.get_by_alt_text(STILL_ALT).wait_for()
    assert page.get_by_text("Error displaying widget").count() == 0
    page.goto(f"{lab}/tree/10_explore.ipynb?token=test&reset")  # as committed, and not trusted
    picture = page.get_by_alt_text(STILL_ALT).first
    wait_until(page, lambda: picture.evaluate("one => one.naturalWidth > 0"))
    # JupyterLab that is told to stop while it starts a kernel does not end.
    context = "window.jupyterapp.shell.currentWidget.sessionContext"
    page.wait_for_function(f"{context}.session?.kernel?.status === 'idle'")
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        copy = Path(environment["PYTHONPATH"]) / "notebooks" / notebook.name
        assert copy.read_bytes() == notebook.read_bytes()


def take_the_picture(page, stored, path: Path) -> None:
    """What `docs/explorer.jpg` shows and STILL_ALT says; to be copied there when it changes."""
    click_photo(page, ".strip", 5)
    query = stored.by_id[click_photo(page, ".strip", 6)]
    assert query.labels == {"bottle"}
    check_rows(page, stored, query.id, 6)
    for row in ("a", "b", "combined"):
        found = [stored.by_id[id_].labels for id_ in shown(page, row)]
        assert len(found) == 6 and all("bottle" in labels for labels in found)
    page.mouse.move(0, 0)
    page.set_viewport_size({"width": 1400, "height": 1300})
    page.locator(".explorer").screenshot(path=path, type="jpeg", quality=85)


def write_notebook(path: Path, source: str) -> None:
    """A notebook with one code cell."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    cells = [nbformat.v4.new_code_cell(source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


# The explorer --------------------------------------------------------------------------------


def choose(page, label: str, option: str) -> None:
    """Choose the option that starts with a text, unless it is chosen."""
    control = page.get_by_role("combobox", name=label, exact=True)
    texts = [text.replace("\xa0", " ") for text in control.locator("option").all_text_contents()]
    [number, *_] = [place for place, text in enumerate(texts) if text.startswith(option)]
    if control.evaluate("one => one.selectedIndex") != number:
        control.select_option(index=number)


def control(page, text: str):
    """A button of ipywidgets; its icon is part of the name that `get_by_role` sees."""
    return page.locator(".explorer button.widget-button", has_text=text).first


def set_number(page, count: int) -> None:
    number = page.get_by_label("Results", exact=True)
    if number.input_value() != str(count):
        number.fill(str(count))
        number.press("Enter")


def click_photo(page, place: str, number: int) -> int:
    """Click a photo of the strip or a row, and wait for its results; returns its id."""
    photo = page.locator(".photo-browser").first.locator(f"{place} .photo").nth(number)
    query = int(photo.get_attribute("data-id"))
    photo.click()
    wait_until(page, lambda: asked(page) == query)
    idle(page)
    return query


def asked(page) -> int:
    """Id of the query."""
    return int(page.locator(".photo-browser .query figure").first.get_attribute("data-id"))


def told(page) -> str:
    """The sentence in the widget."""
    return page.locator(".photo-browser").first.get_by_role("status").inner_text()


def check_message_moves_no_photo(page, screenshot: Path) -> None:
    """Ask for too much: the sentence appears, and the results stay where they are."""

    def places() -> list[list[float]]:
        return page.locator(".photo-browser").first.evaluate(
            """one => [...one.querySelectorAll('.results .photo')].map(photo => {
                const [mine, whole] = [photo, one].map(node => node.getBoundingClientRect());
                return [mine.left - whole.left, mine.top - whole.top];
            })"""
        )

    before = places()
    set_number(page, 5000)
    wait_until(page, lambda: told(page).startswith("5000 results were asked for"))
    assert before and places() == before
    page.screenshot(path=screenshot)
    set_number(page, 6)
    wait_until(page, lambda: told(page) == "")


def shown(page, row: str) -> list[int]:
    """Ids of the photos in a row of the explorer."""
    photos = page.locator(".photo-browser").first.locator(f"[data-row={row}] .photo")
    return [int(id_) for id_ in photos.evaluate_all("all => all.map(one => one.dataset.id)")]


def captions(page, row: str) -> list[list[str]]:
    """The lines under each photo in a row."""
    return page.locator(f".photo-browser [data-row={row}] .photo").evaluate_all(
        "all => all.map(one => [...one.querySelectorAll('span')].map(line => line.textContent))"
    )


def by_hand(
    dataset, model: EmbeddingModel, query: int | Path, count: int, category: str | None = None
) -> dict[int, float]:
    """The explorer's row, asked of Milvus directly: squared distance by id, nearest first."""
    onnx = ensure_onnx(model)
    if isinstance(query, Path):
        [vector] = extract(onnx, [query], progress=False)
    else:
        row = [record.id for record in dataset].index(query)
        vector = extract(onnx, dataset.paths, progress=False)[row]
    with services.temporary_services():  # else this process would count as a user until it ends
        [answer] = services.connect_milvus().search(
            collection_name(dataset.slug, model),
            data=[vector.tolist()],
            limit=count + 1,
            filter=f'ARRAY_CONTAINS(labels, "{category}")' if category else "",
        )
    found = {hit["id"]: hit["distance"] for hit in answer if hit["id"] != query}
    return dict(list(found.items())[:count])


def fused_by_hand(dataset, query: int, weight: float, count: int) -> list[int]:
    """The combined row, by Milvus' published formula: Σ weight · (1 − 2 · atan(d²) / π)."""
    scores: dict[int, float] = {}
    for share, model in ((1 - weight, A), (weight, B)):
        for id_, distance in by_hand(dataset, model, query, DEPTH).items():
            scores[id_] = scores.get(id_, 0) + share * (1 - 2 * math.atan(distance) / math.pi)
    return sorted(scores, key=lambda id_: (-scores[id_], id_))[:count]


def wait_until(page, condition) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the explorer did not update"
        page.wait_for_timeout(50)


def check_rows(
    page, dataset, query: int | Path, count: int, category: str | None = None, *,
    models: tuple[EmbeddingModel, EmbeddingModel] = (A, B),
) -> None:  # fmt: skip
    """Both rows hold what Milvus answers, in its order."""
    for row, model in zip(("a", "b"), models, strict=True):
        wanted = list(by_hand(dataset, model, query, count, category))
        wait_until(page, lambda row=row, wanted=wanted: shown(page, row) == wanted)


def check_captions(
    page, dataset, query: int, models: tuple[EmbeddingModel, EmbeddingModel]
) -> None:
    """Distance, movement against the other model and shared categories, each worked out here."""
    lists = [by_hand(dataset, model, query, DEPTH) for model in models]
    for row, mine, other in (("a", *lists), ("b", *lists[::-1])):
        ids = shown(page, row)
        for rank, (id_, lines) in enumerate(
            zip(ids, captions(page, row), strict=True), start=1
        ):  # fmt: skip
            place, distance = lines[0].split(" · d² ")
            assert int(place) == rank
            assert float(distance) == pytest.approx(mine[id_], abs=6e-4)
            there = list(other).index(id_) + 1 if id_ in other else None
            if there is None:
                assert lines[1] == f"new, beyond {DEPTH} there"
            elif there > len(ids):
                assert lines[1] == f"new, {there} there"
            else:
                sign = "▲" if there > rank else "▼"
                moved = f"{sign} {abs(there - rank)}" if there != rank else "= same rank"
                assert lines[1] == moved
            common = dataset.by_id[id_].labels & dataset.by_id[query].labels
            assert lines[2] == ("✓ " + ", ".join(sorted(common)) if common else "✗")


# What it does --------------------------------------------------------------------------------


def test_the_quick_start_shows_its_picture_and_takes_a_photo(watched, lab, tmp_path, screenshots):
    page, photo = watched.page, tmp_path / "my photo.png"
    Image.new("RGB", (320, 240), "teal").save(photo)
    run_all(page, lab, "00_quick_start.ipynb")
    for theme in ("Light", "Dark"):
        page.evaluate(
            """async theme => {
                const app = window.jupyterapp;
                await app.commands.execute('apputils:change-theme', {theme});
                await app.shell.currentWidget.content.scrollToItem(1, 'start');
            }""",
            f"JupyterLab {theme}",
        )
        picture = page.get_by_alt_text("A photo becomes pixels")
        picture.wait_for()
        wait_until(page, lambda picture=picture: picture.evaluate("one => one.naturalWidth > 0"))
        page.wait_for_timeout(500)  # the theme's colours fade in
        page.screenshot(path=screenshots / f"00_quick_start_{theme.lower()}.png")
    scroll_to(page, "my_photo")
    outputs = page.evaluate(
        """async photo => {
            const {content} = window.jupyterapp.shell.currentWidget;
            const {sharedModel} = content.activeCell.model;
            sharedModel.setSource(sharedModel.source.replace('""', JSON.stringify(photo)));
            await window.jupyterapp.commands.execute('notebook:run-cell');
            return content.activeCell.model.toJSON().outputs;
        }""",
        str(photo),
    )
    [output] = (one for one in outputs if one["output_type"] == "display_data")  # no bar
    shown = Image.open(io.BytesIO(base64.b64decode(output["data"]["image/jpeg"]))).convert("RGB")
    red, green, blue = shown.getpixel((70, shown.height // 2))  # in the middle of the query
    assert red < 20 and abs(green - 128) < 20 and abs(blue - 128) < 20
    page.screenshot(path=screenshots / "00_quick_start_my_photo.png")


def test_run_all_ends_at_the_explorer_one_has_used(opened, stored, screenshots):
    page, last = opened.page, page_end(opened.page)
    page.screenshot(path=screenshots / "10_explore_end.png")
    query = int(last.locator(".strip .photo").nth(3).get_attribute("data-id"))
    last.locator(".strip .photo").nth(3).click()
    both = page.locator(".photo-browser .query figure")
    ids = "all => all.map(one => Number(one.dataset.id))"
    wait_until(page, lambda: both.evaluate_all(ids) == [query, query])
    last.locator("[data-row=a] .enlarge").first.click()
    page.locator("dialog[open]").wait_for()
    idle(page)
    assert page.locator("dialog[open]").count() == 1, "only where it was asked for"
    page.keyboard.press("Escape")
    opened.check()


def page_end(page):
    """The last explorer in the notebook, of which a good part is in view."""
    last = page.locator(".explorer .photo-browser").last
    in_view = """one => {
        const [{top, bottom}, seen] =
            [one, one.closest('.jp-WindowedPanel-outer')].map(node => node.getBoundingClientRect());
        return Math.min(bottom, seen.bottom) - Math.max(top, seen.top);
    }"""
    wait_until(page, lambda: last.evaluate(in_view) > 300)
    return last


def test_query_filter_number_and_fusion(explore, stored, screenshots):
    page, dataset = explore, stored
    check_rows(page, dataset, click_photo(page, ".strip", 3), 6)
    query = click_photo(page, "[data-row=a]", 1)
    check_rows(page, dataset, query, 6)
    page.screenshot(path=screenshots / "10_explore.png")
    check_message_moves_no_photo(page, screenshots / "message.png")

    category = max(dataset.categories, key=dataset.categories.get)
    choose(page, "Results from", f"{category} (")
    check_rows(page, dataset, query, 6, category)
    choose(page, "Results from", "all categories")
    check_rows(page, dataset, query, 6)

    slider = page.get_by_role("slider", name="Fusion")
    slider.focus()
    for weight in (0.5, 0.45, 0.4, 0.35):
        assert float(slider.input_value()) == pytest.approx(weight)
        wanted = fused_by_hand(dataset, query, weight, 6)
        wait_until(page, lambda wanted=wanted: shown(page, "combined") == wanted)
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Home")
    wait_until(page, lambda: shown(page, "combined") == shown(page, "a"))
    page.keyboard.press("End")
    wait_until(page, lambda: shown(page, "combined") == shown(page, "b"))

    set_number(page, 5000)
    wait_until(page, lambda: "5000 results were asked for" in told(page))
    set_number(page, 3)
    check_rows(page, dataset, query, 3)
    assert told(page) == ""

    choose(page, "Queries from", f"{category} (")
    of_it = {record.id for record in dataset if category in record.labels}
    strip = page.locator(".explorer .strip .photo")
    wait_until(page, lambda: strip.count() == len(of_it))
    control(page, "Random query").click()
    wait_until(page, lambda: asked(page) != query)
    assert asked(page) in of_it
    check_rows(page, dataset, asked(page), 3)

    images = page.locator(".photo-browser img")
    assert all(images.evaluate_all("all => all.map(one => one.alt)"))


@pytest.mark.parametrize(
    "models",
    [
        (embedding_model("resnet50"), embedding_model("vgg16")),
        (embedding_model("resnet50"), embedding_model("resnet50", precision="int8")),
        (embedding_model("resnet50", "article"), embedding_model("resnet50", "recommended")),
    ],
    ids=["two_networks", "fp32_against_int8", "article_against_recommended"],
)
def test_any_two_models(explore, stored, models):
    page = explore
    click_photo(page, ".strip", 11)
    for side, model in zip(("Model A", "Model B"), models, strict=True):
        choose(page, side, model.label)
    titles = page.locator(".photo-browser .rows h3")
    labels = [f"{side} · {model.label}" for side, model in zip("AB", models, strict=True)]
    wait_until(page, lambda: titles.all_text_contents()[:2] == labels)
    for number in (11, 20):
        query = click_photo(page, ".strip", number)
        check_rows(page, stored, query, 6, models=models)
        check_captions(page, stored, query, models)
    assert shown(page, "a") != shown(page, "b") or models[1].precision == "int8"


def test_why_shows_heat_maps_under_the_row(explore, stored, screenshots):
    page = explore
    query = click_photo(page, ".strip", 5)
    check_rows(page, stored, query, 6)
    maps = page.locator(".photo-browser .explanation img")
    for row, number in (("a", 0), ("b", 2)):
        result = shown(page, row)[number]
        page.locator(f".photo-browser [data-row={row}] .why").nth(number).click()
        told_of = []
        for side, model in (("A", A), ("B", B)):
            distance = by_hand(stored, model, query, DEPTH)[result]
            cosine = f"cosine {1 - distance / 2:.3f} (d² {distance:.3f})"
            told_of.append(f"{side}, {model.label}: {cosine}")
        under = page.locator(f".photo-browser [data-row={row}] .explanation")
        wait_until(page, lambda under=under, t=told_of: all(x in under.inner_text() for x in t))
        assert maps.count() == 1
        marked = page.locator(".photo-browser .explained")
        assert marked.get_attribute("data-id") == str(result)
        assert asked(page) == query, "explaining must not change the query"
    wait_until(page, lambda: maps.evaluate("one => one.naturalWidth") > 600)
    page.screenshot(path=screenshots / "heat_maps.png")
    why = page.locator(".photo-browser [data-row=b] .why").nth(2)
    why.click()
    wait_until(page, lambda: maps.count() == 0)  # the same button takes them away
    why.click()
    maps.wait_for()
    check_rows(page, stored, click_photo(page, ".strip", 6), 6)
    assert maps.count() == 0, "the maps are of another query"


# Votes ---------------------------------------------------------------------------------------


def tally(page) -> str:
    """What stands above the photos about votes."""
    return page.locator(".explorer .votes").first.inner_text()


def test_open_votes_are_counted_and_not_tested(explore, stored):
    page = explore
    votes_path().unlink(missing_ok=True)
    given = ["A is better"] * 3 + ["B is better", "Same"]
    queries = []
    for number, answer in enumerate(given):
        queries.append(click_photo(page, ".strip", number))
        page.get_by_role("button", name=answer, exact=True).click()
        wait_until(page, lambda: votes_path().exists() and len(load_votes()) == len(queries))
    kept = json.loads(votes_path().read_text())
    assert [vote["query"] for vote in kept] == [str(query) for query in queries]
    assert [vote["better"] for vote in kept] == ["a"] * 3 + ["b", "same"]
    assert all((vote["a"], vote["b"], vote["blind"]) == (A.label, B.label, False) for vote in kept)
    wanted = f"Open: 5 votes; A ({A.label}) 3, B ({B.label}) 1, same 1. Names seen, so not tested."
    wait_until(page, lambda: tally(page) == wanted)
    click_photo(page, ".strip", 0)  # a change of mind about the first query
    page.get_by_role("button", name="B is better", exact=True).click()
    wait_until(page, lambda: f"A ({A.label}) 2, B ({B.label}) 2, same 1." in tally(page))
    assert len(load_votes()) == len(given)


def readable(page) -> str:
    """All that the widget shows or reads aloud: texts, attributes, options of visible controls."""
    return page.locator(".explorer").first.evaluate(
        """root => [root, ...root.querySelectorAll('*')]
            .filter(one => one.checkVisibility() || one.tagName === 'OPTION'
                           && one.parentElement.checkVisibility())
            .flatMap(one => [
                ...[...one.attributes].filter(a => a.name !== 'src').map(a => a.value),
                ...[...one.childNodes].filter(n => n.nodeType === 3).map(n => n.data),
            ]).join('\\n')"""
    )


def test_blind_votes_are_blind_complete_and_reach_the_right_model(explore, stored, screenshots):
    page = explore
    votes_path().unlink(missing_ok=True)
    assert all(name in readable(page).lower() for name in NAMES)
    seen_with_names = click_photo(page, ".strip", 3)
    page.get_by_label("Votes to give").fill("6")
    page.get_by_label("Blind", exact=True).check()
    wait_until(page, lambda: tally(page) == "0 of 6 votes")
    assert asked(page) != seen_with_names, "what was seen with names is not asked"
    wins, queries, sides = {A: 0, B: 0}, [], set()
    while len(queries) < 6:
        wait_until(page, lambda: tally(page) == f"{len(queries)} of 6 votes")
        query = asked(page)
        rows = {model: list(by_hand(stored, model, query, 6)) for model in (A, B)}
        at = {row: [m for m in rows if rows[m] == shown(page, row)] for row in "ab"}
        assert all(at.values())
        text = readable(page).lower()
        hidden = [*NAMES, "d²", "✓", "✗", "▲", "▼"]
        assert [name for name in hidden if name in text] == []
        assert page.locator(".photo-browser :is(.match, .miss)").count() == 0
        key = "1" if len(queries) % 2 else "2"
        if len(queries) == 3:
            page.screenshot(path=screenshots / "blind.png")
            page.keyboard.press(key)
            wait_until(page, lambda: tally(page) == "4 of 6 votes")
            page.get_by_role("button", name="Undo the last vote").click()
            wait_until(page, lambda q=query: tally(page) == "3 of 6 votes" and asked(page) == q)
            assert len(load_votes()) == 3
            at = {row: [m for m in rows if rows[m] == shown(page, row)] for row in "ab"}
        page.keyboard.press(key)
        queries.append(query)
        if rows[A] != rows[B]:
            [better] = at["a" if key == "1" else "b"]
            sides.add((better, key))
            wins[better] += 1
        wait_until(page, lambda: len(load_votes()) == len(queries))
    assert len(set(queries)) == 6, "no query comes twice"
    kept = load_votes()
    assert [int(vote.query) for vote in kept] == queries and all(vote.blind for vote in kept)
    blind = page.get_by_label("Blind", exact=True)
    wait_until(page, lambda: not blind.is_checked())  # it ends by itself
    a, b = (sum(vote.better == side for vote in kept) for side in "ab")
    assert sum(wins.values()) < 6 or (a, b) == (wins[A], wins[B])
    wait_until(page, lambda: f"{a} : {b}, could well be chance (p = " in tally(page))
    assert f"(p = {binomtest(a, a + b).pvalue:.2g})" in tally(page)


# Keys ----------------------------------------------------------------------------------------


def test_keys_work_in_the_explorer_and_never_reach_the_notebook(explore, stored, screenshots):
    page = explore
    votes_path().unlink(missing_ok=True)
    first, second = click_photo(page, ".strip", 4), click_photo(page, ".strip", 7)
    sources = (
        "window.jupyterapp.shell.currentWidget.content.model.toJSON().cells.map(c => c.source)"
    )
    before = page.evaluate(sources)
    places = [
        page.locator(".explorer .strip .photo").nth(7),
        page.locator(".photo-browser h3").first,
        control(page, "Back"),
    ]
    for place in places:
        place.click()
        idle(page)
        for key in "xacdd":  # cut, new cell, copy, delete
            page.keyboard.press(key)
        assert page.evaluate(sources) == before
    wait_until(page, lambda: asked(page) == first)  # Back was one of them
    page.keyboard.press("f")
    wait_until(page, lambda: asked(page) == second)
    page.keyboard.press("b")
    wait_until(page, lambda: asked(page) == first)
    page.keyboard.press("2")
    wait_until(page, lambda: votes_path().exists() and load_votes()[-1].better == "b")
    page.keyboard.press("r")
    wait_until(page, lambda: asked(page) != first)
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    dialog.wait_for()
    page.screenshot(path=screenshots / "keys.png")
    page.keyboard.press("Escape")
    name = page.get_by_label("File name")
    name.fill("")
    name.press_sequentially("xrb1")  # a field takes letters as letters
    assert name.input_value() == "xrb1" and page.evaluate(sources) == before
    name.fill("")
    name.press("Enter")


def test_a_row_is_one_tab_stop_with_arrow_keys(explore):
    page = explore
    click_photo(page, ".strip", 3)
    focus = "document.activeElement"
    strip = page.locator(".explorer .strip .photo")
    strip.nth(3).focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{focus}.dataset.id") == strip.nth(4).get_attribute("data-id")
    page.keyboard.press("End")
    assert page.evaluate(f"{focus}.dataset.id") == strip.last.get_attribute("data-id")
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"{focus}.dataset.place ?? {focus}.className"))
    assert {"a", "b", "vote"} <= set(reached), "votes and both rows within 14 Tabs"
    assert reached.count("a") == reached.count("b") == 1
    page.locator(".photo-browser [data-row=a] .photo").first.focus()
    page.keyboard.press("ArrowRight")
    wanted = int(page.evaluate(f"{focus}.dataset.id"))
    page.keyboard.press("Enter")
    wait_until(page, lambda: asked(page) == wanted)
    assert page.evaluate(f"{focus}.dataset.place") == "a", "the keyboard stays in the row"


# Looking closer ------------------------------------------------------------------------------


def test_a_result_is_enlarged_beside_the_query(explore, stored, screenshots):
    page = explore
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    query = click_photo(page, ".strip", 6)
    ids = shown(page, "b")
    page.locator(".photo-browser [data-row=b] .photo").nth(1).focus()
    page.keyboard.press("e")
    dialog = page.get_by_role("dialog", name="Enlarged")
    dialog.get_by_text("2 of 6").wait_for()
    page.keyboard.press("ArrowRight")
    dialog.get_by_text("3 of 6").wait_for()
    path = str(stored.by_id[ids[2]].path)
    assert Path(path).name in dialog.inner_text()
    assert stored.by_id[query].path.name in dialog.inner_text()
    page.screenshot(path=screenshots / "enlarged.png")
    sizes = dialog.locator("img").evaluate_all("all => all.map(one => one.clientWidth)")
    assert len(sizes) == 2 and min(sizes) > 400
    dialog.get_by_role("button", name="Copy path").last.click()
    dialog.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert Path(copied).name == Path(path).name and Path(copied).is_absolute()
    page.keyboard.press("Escape")
    wait_until(page, lambda: dialog.count() == 0 or not dialog.is_visible())
    assert asked(page) == query


def test_trail_marks_hover_tooltips_size_and_saved_view(explore, stored, tmp_path):
    page = explore
    first, second = click_photo(page, ".strip", 2), click_photo(page, ".strip", 9)
    marked = page.locator(".explorer .strip [aria-current=true]")
    assert marked.get_attribute("data-id") == str(second)
    page.locator(f".explorer .trail .photo[data-id='{first}']").last.click()
    wait_until(page, lambda: asked(page) == first)

    common = next(id_ for id_ in shown(page, "a") if id_ in shown(page, "b"))
    page.locator(f".photo-browser [data-row=a] .photo[data-id='{common}']").hover()
    lit = page.locator(".explorer .results .tile.lit")
    rows = lit.evaluate_all("all => all.map(one => one.closest('section').dataset.row)")
    assert {"a", "b"} <= set(rows)
    tips = page.locator(".photo-browser [data-row=a] .photo span").evaluate_all(
        "all => all.map(one => one.title)"
    )
    assert all(tips) and any("with B" in tip for tip in tips)

    photo = page.locator(".photo-browser [data-row=a] .photo img").first
    small = photo.evaluate("one => one.clientWidth")
    choose(page, "Photo size", "large")
    wait_until(page, lambda: photo.evaluate("one => one.clientWidth") > 2 * small)
    wait_until(page, lambda: photo.evaluate("one => one.naturalWidth") > 300)

    with page.expect_download() as download:
        page.get_by_role("button", name="Save this view").click()
    saved = tmp_path / "view.html"
    download.value.save_as(saved)
    text = saved.read_text(encoding="utf-8")
    assert A.label in text and text.count("data:image/jpeg") >= 19 and "<script" not in text


def test_any_photo_is_found_and_the_strip_starts_at_its_beginning(explore, stored):
    page = explore
    strip = page.locator(".explorer .strip").first
    assert f"40 of {len(stored)} photos" in strip.inner_text()
    row = strip.locator(".photos")
    row.evaluate("one => { one.scrollLeft = 900 }")
    category = max(stored.categories, key=stored.categories.get)
    choose(page, "Queries from", f"{category} (")
    wait_until(page, lambda: "40 of" not in strip.inner_text())
    assert row.evaluate("one => one.scrollLeft") == 0
    choose(page, "Queries from", "all categories")
    hidden = next(r for r in stored if r.id not in {
        int(i) for i in strip.locator(".photo").evaluate_all("a => a.map(one => one.dataset.id)")
    })  # fmt: skip
    name = page.get_by_label("File name")
    name.fill(hidden.path.stem)
    name.press("Enter")
    wait_until(page, lambda: strip.locator(".photo").count() == 1)
    assert click_photo(page, ".strip", 0) == hidden.id


# A model that is not there yet ---------------------------------------------------------------


def test_a_model_is_made_with_progress_and_can_be_cancelled(explore, stored, screenshots):
    page, other = explore, embedding_model("vgg16", "recommended", "int8")
    model = page.get_by_role("combobox", name="Model B", exact=True)
    progress = page.locator(".explorer .widget-box:has(> .progress-bar, .progress)").last
    cancel = control(page, "Cancel")
    choose(page, "Model B", other.label)
    page.get_by_text("step 1 of 3, converting to ONNX").wait_for()
    query = click_photo(page, ".strip", 12)
    check_rows(page, stored, query, 6)  # the old pair
    page.screenshot(path=screenshots / "preparing.png")
    cancel.click()
    wait_until(page, lambda: not cancel.is_visible())
    option = "one => one.selectedOptions[0].textContent"
    wait_until(page, lambda: model.evaluate(option).replace("\xa0", " ") == B.label)
    assert told(page) == "" and progress.count() <= 1

    made = embedding_model("resnet50", "recommended", "int8")
    page.locator(".explorer").first.evaluate(
        """one => {
            window.told = [];  // on a fast machine a text may come and go between two looks
            new MutationObserver(() => window.told.push(one.textContent))
                .observe(one, {childList: true, characterData: true, subtree: true});
        }"""
    )
    choose(page, "Model B", made.label)
    title = page.locator(".photo-browser [data-row=b] h3")
    wait_until(page, lambda: title.inner_text() == f"B · {made.label}")
    progress = rf"step 2 of 3, computing vectors: \d+ of {len(stored)} photos, about \d+ s left"
    assert any(re.search(progress, text) for text in page.evaluate("window.told"))
    assert model.evaluate(option).replace("\xa0", " ") == made.label, "no “made on first use”"
    check_rows(page, stored, query, 6, models=(A, made))


# The reader's own photos ---------------------------------------------------------------------


def drop(page, *files: tuple[str, bytes], on: str = ".photo-browser .rows") -> None:
    """Drag files from the desktop over the widget, and drop them there."""
    dragged = page.evaluate_handle(
        """files => {
            const all = new DataTransfer();
            for (const [name, content] of files) {
                const bytes = Uint8Array.from(atob(content), one => one.charCodeAt(0));
                all.items.add(new File([bytes], name));
            }
            return all;
        }""",
        [[name, base64.b64encode(content).decode()] for name, content in files],
    )
    target, frame = page.locator(on).first, page.locator(".explorer.dropping")
    for event, count in (("dragenter", 1), ("dragover", 1), ("dragleave", 1), ("drop", 0)):
        inside = target.evaluate_handle("one => one.parentElement")  # where a dragleave goes to
        target.evaluate(
            """(one, [type, dataTransfer, relatedTarget]) => one.dispatchEvent(new DragEvent(type,
                {dataTransfer, relatedTarget, bubbles: true, cancelable: true}))""",
            [event, dragged, inside],
        )
        assert frame.count() == count, event


def test_dropped_photos_are_searched_for(explore, stored, screenshots, tmp_path):
    page = explore
    own, other = tmp_path / "mine.png", tmp_path / "other.png"  # no photos of the dataset
    for path, row in ((own, 7), (other, 20)):
        with Image.open(stored.records[row].path) as photo:
            ImageOps.mirror(photo).save(path)
    drop(page, (own.name, own.read_bytes()), (other.name, other.read_bytes()))
    wait_until(page, lambda: told(page).startswith("2 files: this is the first photo"))
    check_rows(page, stored, own, 6)
    assert page.locator(".explorer .results :is(.match, .miss)").count() == 0
    assert "No file chosen" not in page.locator(".explorer").first.inner_text()
    control(page, "Forward").click()
    check_rows(page, stored, other, 6)
    before = shown(page, "a")
    drop(page, ("notes.txt", b"no image"))
    wait_until(page, lambda: told(page).startswith("'notes.txt' cannot be used as a photo"))
    assert "remove the file" not in told(page) and shown(page, "a") == before
    drop(page, (own.name, own.read_bytes()), on=".explorer .widget-gridbox")
    check_rows(page, stored, own, 6)
    upload = page.locator(".photo-browser input[type=file]").first
    upload.set_input_files(str(stored.records[9].path))
    check_rows(page, stored, stored.records[9].path, 6)
    assert told(page) == ""
    check_rows(page, stored, click_photo(page, ".strip", 2), 6)


def test_a_large_photo_is_shrunk_in_the_browser(explore, tmp_path):
    page, large = explore, tmp_path / "large.bmp"
    Image.effect_noise((3000, 2000), 90).convert("RGB").save(large)
    assert large.stat().st_size > 16e6
    page.locator(".photo-browser input[type=file]").first.set_input_files(str(large))
    wait_until(page, lambda: asked(page) == OWN_PHOTO)
    idle(page)
    assert told(page) == ""
    page.get_by_role("button", name="Enlarge", exact=True).click()
    photo = page.locator("dialog[open] img")
    photo.wait_for()
    assert photo.evaluate("one => one.naturalWidth / one.naturalHeight") == pytest.approx(1.5, 0.01)
    page.keyboard.press("Escape")


def test_a_click_that_waits_for_the_kernel_is_seen(explore):
    page = explore
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    page.evaluate(f"() => {{ {kernel}.requestExecute({{code: 'import time; time.sleep(3)'}}); }}")
    photo = page.locator(".explorer .strip .photo").nth(15)
    photo.click()
    page.locator(".photo-browser[aria-busy=true]").first.wait_for()
    wait_until(page, lambda: asked(page) == int(photo.get_attribute("data-id")))
    wait_until(page, lambda: page.locator(".photo-browser[aria-busy=true]").count() == 0)


@pytest.mark.parametrize("name", ["milvus", "redis"])
def test_it_goes_on_after_a_service_was_stopped(explore, stored, name):
    page = explore
    check_rows(page, stored, click_photo(page, ".strip", 1), 6)
    [service] = [one for one in services.running_services() if one.name == name]
    server = psutil.Process(service.pid)
    server.kill()
    psutil.wait_procs([server])
    page.locator(".photo-browser [data-row=a] .why").first.click()  # needs no server
    page.locator(".photo-browser .explanation img").wait_for()
    wait_until(page, lambda: told(page) == "")
    click = page.locator(".explorer .strip .photo").nth(4)
    click.click()
    wait_until(page, lambda: told(page).startswith(f"{name.capitalize()} does not answer"))
    assert told(page).count(".") == 1 and "Traceback" not in told(page)
    click.click()
    query = int(click.get_attribute("data-id"))
    wait_until(page, lambda: asked(page) == query and told(page) == "")
    check_rows(page, stored, query, 6)
    [again] = [one for one in services.running_services() if one.name == name]
    assert again.pid != service.pid


def test_what_a_small_dataset_cannot_answer_is_said(watched, lab, stored, environment, tmp_path):
    for record, place in zip(stored, ("cat/1", "dog/2", "dog/3", "dog/4"), strict=False):
        target = tmp_path / f"pets/{place}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(record.path, target)
    source = (
        "from helpers.datasets import open_dataset\n"
        "from helpers.explorer.widget import Explorer\n"
        f"Explorer(open_dataset({str(tmp_path / 'pets')!r}))"
    )
    write_notebook(Path(environment["BUILD_DIR"]) / "lab/small.ipynb", source)
    page, pets = watched.page, open_dataset(tmp_path / "pets")
    run_all(page, lab, "small.ipynb")
    [cat] = [record.id for record in pets if record.labels == {"cat"}]
    page.locator(f".explorer .strip .photo[data-id='{cat}']").click()
    check_rows(page, pets, cat, 3)

    choose(page, "Results from", "cat (1)")
    wait_until(page, lambda: told(page).startswith("No other photo shows “cat”: "))
    choose(page, "Results from", "all categories")
    wait_until(page, lambda: told(page) == "")
    set_number(page, 4)
    wait_until(page, lambda: told(page).startswith("4 results were asked for, and there are 3"))
    set_number(page, 0)
    wait_until(page, lambda: told(page).startswith("0 results were asked for"))
    set_number(page, 3)
    wait_until(page, lambda: told(page) == "")
    [dog, *_] = [record.id for record in pets if record.labels == {"dog"}]
    page.locator(f".explorer .strip .photo[data-id='{dog}']").click()
    check_rows(page, pets, dog, 3)
    choose(page, "Results from", "dog (3)")
    wait_until(page, lambda: told(page) == "Only 2 other photos show “dog”: these are all.")
    check_rows(page, pets, dog, 2, "dog")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_accessible_in_both_themes(explore, stored, screenshots, theme):
    checker = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    page = explore
    click_photo(page, ".strip", 8)
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
    arrow = page.get_by_role("combobox", name="Model A").evaluate(
        "one => getComputedStyle(one).backgroundImage"
    )
    assert ("white" in arrow) == (theme == "JupyterLab Dark")
    page.locator(".photo-browser [data-row=a] .why").first.click()
    page.locator(".photo-browser .explanation img").first.wait_for()
    idle(page)
    page.screenshot(path=screenshots / f"explorer_{theme.split()[1].lower()}.png")
    found = checker.Axe().run(page, context=".explorer").response
    assert found["passes"]
    broken = [
        (rule["id"], node["html"][:200]) for rule in found["violations"] for node in rule["nodes"]
    ]
    assert broken == []


def test_a_narrow_window(explore, screenshots):
    page = explore
    page.set_viewport_size({"width": 700, "height": 1000})
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    try:
        click_photo(page, ".strip", 8)
        browser = page.locator(".photo-browser").first
        fits = "one => one.clientWidth < 650 && one.scrollWidth <= one.clientWidth"
        wait_until(page, lambda: browser.evaluate(fits))
        tiles = page.locator(".photo-browser .results .tile")
        assert tiles.evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
        page.screenshot(path=screenshots / "explorer_narrow.png")
        check_message_moves_no_photo(page, screenshots / "message_narrow.png")
    finally:
        page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
        page.set_viewport_size({"width": 1400, "height": 1000})


# The map -------------------------------------------------------------------------------------


@pytest.fixture
def plot(explore):
    """The map of notebook 10."""
    scroll_to(explore, "EmbeddingMap(dataset")
    plot = explore.locator(".embedding-map .js-plotly-plot").first
    plot.wait_for()
    # plotly first draws an empty plot of its own, and this one at first 700 pixels wide
    there = """plot => Boolean(plot._fullLayout?._plots?.x2y2)
        && Math.abs(plot.querySelector('.main-svg').clientWidth - plot.clientWidth) < 3"""
    wait_until(explore, lambda: plot.evaluate(there))
    return plot


@pytest.fixture(scope="module")
def neighbours(stored):
    """Per model the rows of each photo's five nearest, computed here."""
    spaces = []
    for model in (A, B):
        vectors = extract(ensure_onnx(model), stored.paths, progress=False)
        similarity = vectors @ vectors.T
        np.fill_diagonal(similarity, -np.inf)
        spaces.append(np.argsort(-similarity, axis=1)[:, :5])
    return spaces


@pytest.fixture(scope="module")
def places(stored):
    """Where each photo is on either map, 0 to 1: [maps, photos, 2], computed here."""
    maps = []
    for model in (A, B):
        vectors = extract(ensure_onnx(model), stored.paths, progress=False)
        flat = PCA(2, random_state=0).fit_transform(vectors).astype(float)
        maps.append((flat - flat.min(axis=0)) / np.ptp(flat, axis=0))
    return np.array(maps)


def on_screen(plot, places: np.ndarray) -> np.ndarray:
    """Where the photos are drawn, in pixels of the page: [maps, photos, 2]."""
    drawn = []
    for side, place in zip(("", "2"), places, strict=True):
        left, top, width, height, (x0, x1), (y0, y1) = plot.evaluate(
            """(plot, side) => {
                const {xaxis, yaxis} = plot._fullLayout._plots['x' + side + 'y' + side];
                const box = plot.getBoundingClientRect();
                return [box.left + xaxis._offset, box.top + yaxis._offset, xaxis._length,
                        yaxis._length, xaxis.range, yaxis.range];
            }""",
            side,
        )
        x = left + width * (place[:, 0] - x0) / (x1 - x0)
        y = top + height * (1 - (place[:, 1] - y0) / (y1 - y0))
        drawn.append(np.stack([x, y], axis=1))
    return np.array(drawn)


def lit(plot, places: np.ndarray) -> list[list[int]]:
    """The photos at whose place the last two traces draw a marker, in either map."""
    strong = plot.evaluate(
        """plot => plot.data.slice(-2).map(trace => [...trace.x].map((x, i) => [x, trace.y[i]]))"""
    )
    return [
        sorted(
            int(np.abs(place - point).max(axis=1).argmin()) for point in np.reshape(found, (-1, 2))
        )
        for place, found in zip(places, strong, strict=True)
    ]


def lasso(page, left: float, top: float, right: float, bottom: float) -> None:
    """Draw around a rectangle, in pixels of the page."""
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()


def between(values: np.ndarray, share: float) -> float:
    """A whole pixel, as a mouse is at, near that quantile and as far from all photos as can be."""
    first, last = np.quantile(values, [share - 0.06, share + 0.06])
    pixels = np.arange(math.ceil(first), last)
    distances = np.abs(pixels[:, None] - values).min(axis=1)
    assert distances.max() > 1
    return float(pixels[distances.argmax()])


def inside(places: np.ndarray, left: float, top: float, right: float, bottom: float) -> list[int]:
    chosen = (places > (left, top)).all(axis=1) & (places < (right, bottom)).all(axis=1)
    return np.flatnonzero(chosen).tolist()


def test_map_fits_its_place_and_offers_no_upload(plot, explore, stored):
    page = explore
    titles = plot.locator(".modebar-btn").evaluate_all("all => all.map(one => one.dataset.title)")
    assert titles and not [one for one in titles if re.search("share|cloud|edit|plotly", one, re.I)]
    inside = "plot => [plot.querySelector('.main-svg'), plot].map(one => one.clientWidth)"
    named = plot.locator(".legendtext").all_text_contents()
    assert sorted(named) == sorted(set(stored.classes.tolist()))

    def fits() -> bool:
        drawn, width = plot.evaluate(inside)
        return abs(drawn - width) < 3

    wait_until(page, fits)
    before = plot.evaluate(inside)
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    wait_until(page, lambda: plot.evaluate(inside)[1] > before[1] + 50 and fits())
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    wait_until(page, lambda: abs(plot.evaluate(inside)[1] - before[1]) < 3 and fits())
    background = plot.locator(".main-svg").first.evaluate("one => one.style.background")
    assert "0, 0, 0, 0" in background or background in ("transparent", "")


def test_map_click_lights_up_the_nearest_in_both_maps(
    plot, explore, stored, neighbours, places
):  # fmt: skip
    page, drawn = explore, on_screen(plot, places)
    for side in (0, 1):
        apart = np.linalg.norm(drawn[side][:, None] - drawn[side][None], axis=2)
        np.fill_diagonal(apart, np.inf)
        row = int(apart.min(axis=1).argmax())  # the one that no other covers
        point_at(page, *drawn[side][row])
        hovered = "plot => Boolean(plot._hoverdata)"  # plotly looks for it now and then only
        wait_until(page, lambda hovered=hovered: plot.evaluate(hovered))
        page.mouse.click(*drawn[side][row])
        near = [set(space[row].tolist()) for space in neighbours]
        wanted = sorted({row} | near[0] | near[1])
        wait_until(page, lambda wanted=wanted: lit(plot, places) == [wanted, wanted])
        text = f"{len(wanted)} photos chosen. {len(near[0] & near[1])} of its 5 nearest"
        page.get_by_text(text).wait_for()
        assert len(plot.evaluate("plot => plot.layout.shapes")) == len(wanted)
        shown_below = page.locator(".embedding-map .photo").evaluate_all(
            "all => all.map(one => Number(one.dataset.id))"
        )
        assert shown_below == [stored.records[one].id for one in wanted]
        wait_until(page, lambda row=row: asked(page) == stored.records[row].id)
        assert np.abs(on_screen(plot, places) - drawn).max() < 2, "the explorer moved the page"


def test_map_lasso_lights_up_the_same_photos_in_the_other_map(
    plot, explore, stored, places, screenshots
):
    page, drawn = explore, on_screen(plot, places)
    for side in (0, 1):
        x, y = drawn[side].T
        box = (between(x, 0.5), between(y, 0.2), math.ceil(x.max()) + 2, between(y, 0.7))
        wanted = inside(drawn[side], *box)
        assert 5 < len(wanted) < len(stored) / 2
        lasso(page, *box)
        wait_until(page, lambda wanted=wanted: lit(plot, places) == [wanted, wanted])
    page.screenshot(path=screenshots / "embedding_map.png")
    left, top = drawn[1].min(axis=0)
    lasso(page, left - 8, top - 8, left - 2, top - 2)  # around nothing
    wait_until(page, lambda: lit(plot, places) == [[], []])
    strong = "plot => plot._fullData.every(one => one.visible !== true || one.opacity === 1)"
    wait_until(page, lambda: plot.evaluate(strong))
    drawn_around = plot.locator(".selectionlayer path")
    wait_until(page, lambda: drawn_around.count() == 0)  # no empty lasso stays


def point_at(page, x: float, y: float) -> None:
    page.mouse.move(x - 40, y - 40)
    page.mouse.move(x, y, steps=5)


def test_map_shows_the_photo_under_the_pointer(plot, explore, stored, places, screenshots):
    page = explore
    preview = page.locator(".embedding-map .widget-html-content img").first
    for side, row in ((0, 30), (1, 30), (1, 150)):
        x, y = on_screen(plot, places)[side][row]

        # FigureWidget keeps one message for all events: on a busy machine a later one takes the
        # place of this one. A reader moves the pointer again.
        under: list = []

        def shown_after_pointing(x=x, y=y, side=side, under=under) -> bool:
            point_at(page, x, y)
            page.wait_for_timeout(500)
            drawn_on_top = plot.evaluate("plot => plot._hoverdata?.map(one => [one.x, one.y])")
            under[:] = [
                stored.records[int(np.abs(places[side] - point).max(axis=1).argmin())]
                for point in drawn_on_top or []
            ]
            alts = [", ".join(sorted(record.labels)) for record in under]
            return alts == [preview.get_attribute("alt")]

        wait_until(page, shown_after_pointing)
        kind, _, content = preview.get_attribute("src").partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as thumbnail:
            thumbnail.load()
        with Image.open(under[0].path) as photo:
            whole = photo.convert("RGB").resize(thumbnail.size)
        difference = np.abs(np.asarray(thumbnail, float) - np.asarray(whole, float)).mean()
        assert difference < 8
    page.screenshot(path=screenshots / "embedding_map_hover.png")
