"""The notebooks' widgets in JupyterLab, in a real browser, against the same search by hand."""

from __future__ import annotations

import json
import os
import time

import pytest

from helpers import services
from helpers.conversion import onnx_model
from helpers.datasets import open_dataset
from helpers.extraction import extract
from helpers.vector_store import collection_name

CELL_SECONDS = 180
UPDATE_SECONDS = 10  # generous: the machine may be busy; notebook 10 measures the real time


@pytest.fixture
def stored(environment, monkeypatch):
    """The dataset, and clients of the servers that JupyterLab's kernels have started."""
    for name in ("DATASET", "BUILD_DIR"):
        monkeypatch.setenv(name, environment[name])
    for name in ("MILVUS_URI", "MILVUS_TOKEN", "REDIS_URL"):
        assert not os.environ.get(name), f"unset {name}: these tests use the embedded servers"
    return open_dataset("sample")


def run_all(page, address: str, notebook: str) -> None:
    """Open a notebook, run all its cells, and check that none failed."""
    page.goto(f"{address}/tree/{notebook}?token=test&reset")
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady", timeout=60_000
    )
    page.set_default_timeout(CELL_SECONDS * 1000)
    page.evaluate(
        "window.jupyterapp.shell.currentWidget.content.widgets.forEach("
        "cell => cell.model.type === 'code' && cell.model.clearExecution())"
    )
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    cells = json.loads(
        page.evaluate(
            "JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON().cells)"
        )
    )
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    failed = [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
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


def shown(page, row: str) -> list[int]:
    """Ids of the photos in a row of the explorer."""
    photos = page.locator(f".photo-browser [data-row={row}] .photo")
    return [int(id_) for id_ in photos.evaluate_all("all => all.map(one => one.dataset.id)")]


def by_hand(dataset, name: str, query: int, count: int, category: str | None = None) -> list[int]:
    """The explorer's row, asked of Milvus directly."""
    vectors = extract(onnx_model(name), dataset.paths, progress=False)
    row = [record.id for record in dataset].index(query)
    [answer] = services.connect_milvus().search(
        collection_name(dataset.slug, name, "article", "fp32"),
        data=[vectors[row].tolist()],
        limit=count + 1,
        filter=f'ARRAY_CONTAINS(labels, "{category}")' if category else "",
    )
    return [hit["id"] for hit in answer if hit["id"] != query][:count]


def wait_until(page, condition) -> None:
    deadline = time.monotonic() + UPDATE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the explorer did not update"
        page.wait_for_timeout(50)


def check_rows(page, dataset, query: int, count: int, category: str | None = None) -> None:
    for row, name in (("left", "resnet50"), ("right", "vgg16")):
        wanted = by_hand(dataset, name, query, count, category)
        wait_until(page, lambda row=row, wanted=wanted: shown(page, row) == wanted)


@pytest.mark.parametrize("notebook", ["04_search_compare.ipynb", "10_explore.ipynb"])
def test_explorer(watched, lab, stored, screenshots, notebook):
    page = watched.page
    run_all(page, lab, notebook)
    scroll_to(page, "Explorer(dataset)")
    browser = page.locator(".photo-browser").first
    browser.wait_for()

    strip = browser.locator(".strip .photo").nth(3)
    query = int(strip.get_attribute("data-id"))
    strip.click()
    wait_until(page, lambda: browser.locator(f".query figure[data-id='{query}']").count() == 1)
    check_rows(page, stored, query, 6)

    result = browser.locator("[data-row=left] .photo").nth(1)
    query = int(result.get_attribute("data-id"))
    result.click()
    wait_until(page, lambda: browser.locator(f".query figure[data-id='{query}']").count() == 1)
    check_rows(page, stored, query, 6)
    page.screenshot(path=screenshots / f"{notebook.removesuffix('.ipynb')}.png")

    category = max(stored.categories, key=stored.categories.get)
    page.get_by_label("Only", exact=True).select_option(
        label=f"{category} ({stored.categories[category]})"
    )
    check_rows(page, stored, query, 6, category)
    page.get_by_label("Only", exact=True).select_option(label="all categories")
    check_rows(page, stored, query, 6)

    thumb = page.locator(".widget-slider .noUi-handle").first
    thumb.focus()
    page.keyboard.press("Home")
    wait_until(page, lambda: shown(page, "combined") == shown(page, "left"))
    page.keyboard.press("End")
    wait_until(page, lambda: shown(page, "combined") == shown(page, "right"))

    number = page.get_by_label("Results", exact=True)
    number.fill("5000")
    number.press("Enter")
    status = browser.get_by_role("status")
    wait_until(page, lambda: "5000 results were asked for" in status.inner_text())
    number.fill("3")
    number.press("Enter")
    check_rows(page, stored, query, 3)

    upload = browser.get_by_label("Your own photo").last
    upload.set_input_files({"name": "notes.txt", "mimeType": "image/png", "buffer": b"no image"})
    wait_until(page, lambda: "cannot be used as a photo" in status.inner_text())
    own = stored.records[7]
    upload.set_input_files(str(own.path))
    wait_until(page, lambda: shown(page, "left")[0] == shown(page, "right")[0] == own.id)

    images = browser.locator("img")
    assert all(images.evaluate_all("all => all.map(one => one.alt)"))


def test_map_is_linked(watched, lab, stored, screenshots):
    page = watched.page
    run_all(page, lab, "10_explore.ipynb")
    scroll_to(page, "EmbeddingMap(dataset")
    plot = page.locator(".js-plotly-plot").first
    plot.wait_for()
    points = plot.locator(".scatterlayer path.point")
    wait_until(page, lambda: points.count() == 2 * len(stored))
    chosen = plot.evaluate("plot => plot.data.slice(0, 2).map(one => [...one.selectedpoints])")
    assert chosen[0] == chosen[1] and len(chosen[0]) > 1
    assert len(plot.evaluate("plot => [...plot.data[2].x]")) == 3 * len(chosen[0])
    page.screenshot(path=screenshots / "embedding_map.png")
