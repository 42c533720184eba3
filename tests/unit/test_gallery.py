"""The pages in `build/html/`: what they say, and that no name in a dataset breaks out of them."""

import base64
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, permutations

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from helpers.datasets import open_dataset
from helpers.settings import ROOT

sys.path.append(str(ROOT / "tools"))
import pages  # noqa: E402

HOSTILE_LABEL = "<script>alert(1)<"  # a folder's name cannot hold a slash
WIDGET = "application/vnd.jupyter.widget-view+json"
HOSTILE_NAME = '"><img src=x onerror=alert(1)> & {{ 7 * 7 }}'


def dataset_of(folder, labels):
    """A small photo per label, in the folder of that label; labels "" lie at the top."""
    for number, label in enumerate(labels):
        (folder / label).mkdir(parents=True, exist_ok=True)
        photo = Image.new("RGB", (40 + number, 30), (number, 0, 0))
        photo.save(folder / label / f"{HOSTILE_NAME}{number}.png")
    return open_dataset(folder)


TITLES = ("ResNet50", "VGG16", "EfficientNet-Lite0", "mine (recommended)", "five", HOSTILE_NAME)


def some_models(photos, number=2):
    random = np.random.default_rng(0)
    vectors = {}
    for title, dimension in zip(TITLES[:number], (8, 5, 7, 6, 4, 9), strict=False):
        found = random.normal(size=(photos, dimension)).astype(np.float32)
        vectors[title] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return vectors


def parsed(page):
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def test_two_runs_that_end_at_once_write_all_small_photos(tmp_path):
    dataset, folder = dataset_of(tmp_path / "photos", ["cat"] * 30), tmp_path / "html/photos"
    with ThreadPoolExecutor(4) as pool:
        for run in [pool.submit(pages.write_photos, folder, dataset.records) for _ in range(8)]:
            run.result()
    assert {file.stem for file in folder.iterdir()} == {str(record.id) for record in dataset}


@pytest.mark.parametrize("number", range(1, 7))
def test_the_gallery_shows_the_rankings_of_every_model(tmp_path, number):
    dataset = dataset_of(tmp_path / "photos", ["cat", "dog"] * 10)
    vectors = some_models(len(dataset), number)
    told = pages.write_gallery(tmp_path / "html", dataset, vectors)
    page = parsed(tmp_path / "html/gallery.html")
    queries = page.select("article.query")
    assert len(queries) == told.queries == 20
    agree = []
    titles = [f"{'①②③④⑤⑥'[place]} {title}" for place, title in enumerate(vectors)]
    for row, query in enumerate(queries):
        record = dataset.records[row]
        assert query["id"] == f"q{record.id}"
        nearest = []
        for found in vectors.values():
            distance = 2 - 2 * found @ found[row]
            distance[row] = np.inf
            nearest.append([dataset.records[place].id for place in np.argsort(distance)[:10]])
        headings = [heading.text for heading in query.select("h3")]
        assert headings == (titles if number > 1 else list(vectors))
        for shown, expected in zip(query.select("ol"), nearest, strict=True):
            items = shown.select("li")
            assert [item.a["href"] for item in items] == [f"#q{number}" for number in expected]
            same = [dataset.by_id[number].labels == record.labels for number in expected]
            assert ["match" in item.get("class", []) for item in items] == same
        pairs = list(permutations(range(number), 2))
        for a, b in pairs:
            said = "①②③④⑤⑥"[b]
            for photo, item in zip(nearest[a], query.select("ol")[a].select("li"), strict=True):
                ranks = [str(nearest[b].index(photo) + 1)] if photo in nearest[b] else []
                assert re.findall(rf"{said}(\d+)", item.select_one(".fact").text) == ranks
        agree += [len(set(nearest[a]) & set(nearest[b])) for a, b in pairs]
        assert int(query["data-different"]) == len(set(chain(*nearest)))
        common = len(set.intersection(*map(set, nearest)))
        assert (f"{common} of 10 in every row" in query.text) == (number > 1)
    assert (told.models, told.results) == (number, 10)
    assert told.agree == pytest.approx(np.mean(agree) if agree else np.nan, nan_ok=True)
    sliders = [slider["max"] for slider in page.select("input[type=range]")]
    assert sliders == ([str(min(10 * number, 19))] * 2 if number > 1 else [])
    assert not page.select("[onerror]") and ("⇄" in page.main.text) == (number > 1)
    pages.write_index(tmp_path / "html", dataset.banner(), [], [], told)
    index = parsed(tmp_path / "html/index.html").main.text
    assert ("two models share" in index) == (number > 1) and "nan" not in index
    for image in page.select("img"):
        with Image.open(tmp_path / "html" / image["src"]) as photo:
            assert photo.size == pages.PHOTO_SIZE and image["alt"]


def test_hostile_names_and_labels_stay_text(tmp_path):
    labels = [HOSTILE_LABEL, "'+\"", "a&b"] * 2
    dataset = dataset_of(tmp_path / "photos", labels)
    told = pages.write_gallery(tmp_path / "html", dataset, some_models(len(dataset)))
    pages.write_index(tmp_path / "html", dataset.banner(), [], [("<blink>", "<i> (<u>)")], told)
    unlabelled = dataset_of(tmp_path / "plain", [""] * 6)
    pages.write_gallery(tmp_path / "other", unlabelled, some_models(len(unlabelled)))
    for page in (tmp_path / "html/gallery.html", tmp_path / "other/gallery.html"):
        assert len(parsed(page).select("script")) == 1
    for page in (tmp_path / "html").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script>alert" not in text and "<img src=x" not in text and "{{" not in text
        assert not parsed(page).select("[onerror], main blink, main i, main u")
    options = parsed(tmp_path / "html/gallery.html").select("select[name=category] option")
    assert [option.text for option in options] == ["all", *dataset.categories]
    alts = {image["alt"] for image in parsed(tmp_path / "other/gallery.html").select("img")}
    assert alts == {path.name for path in unlabelled.paths}


def test_without_labels_nothing_is_called_right_or_wrong(tmp_path):
    dataset = dataset_of(tmp_path / "photos", [""] * 6)
    told = pages.write_gallery(tmp_path / "html", dataset, some_models(len(dataset)))
    page = parsed(tmp_path / "html/gallery.html")
    assert told.results == 5 and not page.select("select[name=category]")
    assert not re.search("[✓✗]", page.main.text)


def test_of_a_large_dataset_some_queries_are_shown_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST_SHOWN", 5 * 2 * 10)
    dataset = dataset_of(tmp_path / "photos", ["cat", "dog"] * 10)
    pages.write_gallery(tmp_path / "html", dataset, some_models(len(dataset)))
    page = parsed(tmp_path / "html/gallery.html")
    assert len(page.select("article.query")) == 5
    assert "5 of them, evenly spread, are shown as queries" in page.text
    targets = {link["href"] for link in page.select("li a")}
    assert targets <= {f"#{query['id']}" for query in page.select("article.query")}
    used = {image["src"] for image in page.select("img")}
    assert used == {f"photos/{path.name}" for path in (tmp_path / "html/photos").iterdir()}


def test_the_page_stays_small_whatever_the_models(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "MOST_SHOWN", 300)
    dataset = dataset_of(tmp_path / "photos", ["cat", "dog"] * 20)
    sizes = []
    for number in (2, 3, 6):
        pages.write_gallery(tmp_path / "html", dataset, some_models(len(dataset), number))
        page = parsed(tmp_path / "html/gallery.html")
        assert len(page.select("article.query")) == 30 // number
        sizes.append((tmp_path / "html/gallery.html").stat().st_size)
    assert max(sizes) < 1.5 * min(sizes)


def test_photos_of_another_dataset_do_not_stay(tmp_path):
    for name in ("one", "two"):
        dataset = dataset_of(tmp_path / name, [name] * 6)
        pages.write_gallery(tmp_path / "html", dataset, some_models(6))
    left = {int(path.stem) for path in (tmp_path / "html/photos").iterdir()}
    assert left == {record.id for record in dataset}


STILL = {WIDGET: {}, "text/html": '<img src="data:" alt="A tool">', "text/plain": "VBox()"}
CELLS = [
    new_markdown_cell("# 1 · Test\n\n**You will learn** to *test* `this`.\n"),
    new_markdown_cell(
        "## A formula\n\nIt is $a_c < b$, and\n\n$$\\frac{a}{b}$$\n\n`costs $1 or $2`"
    ),
    new_code_cell("1", outputs=[new_output("display_data", {WIDGET: {}, "text/plain": "VBox()"})]),
    new_markdown_cell(
        "See [2](2_b.ipynb) and [9](9_z.ipynb), [more](https://example.org/2_b.ipynb), "
        "[text](../docs/c.md).\n\n"
        "## On your own\n\nTry.\n"
    ),
    new_code_cell("1", outputs=[new_output("display_data", STILL)]),
    new_markdown_cell("![A dot](dot.svg)"),
    new_markdown_cell("### Solutions"),
    new_code_cell("2", outputs=[new_output("stream", text="two & <three>")]),
    new_markdown_cell("## Further reading\n\n- one"),
]


DOT = '<svg xmlns="http://www.w3.org/2000/svg"><circle r="1"/></svg>'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    for stem, title in (("1_a", "# 1 · Test"), ("2_b", "# 2 · Next")):
        cells = CELLS if stem == "1_a" else [new_markdown_cell(title)]
        nbformat.write(new_notebook(cells=cells), folder / f"{stem}.ipynb")
    paths = sorted(folder.glob("*.ipynb"))
    chapters = [pages.chapter(path) for path in paths]
    assert [chapter.title for chapter in chapters] == ["Test", "Next"]
    assert "<em>test</em> <code>this</code>" in chapters[0].lesson
    (folder / "dot.svg").write_text(DOT)
    for number in (1, 0):
        notebook = nbformat.read(paths[number], as_version=4)
        written = pages.notebook_page(notebook, chapters[number])
        skipped = [(folder / "2019/\udcff<b>.cr2", "a RAW photo")] * 1200 if number == 0 else []
        pages.write_notebook(folder, written, chapters, skipped)
    return parsed(folder / "1_a.html")


def test_what_is_left_out_of_the_dataset_can_be_unfolded(page):
    fold = page.select_one("details.left-out")
    lines = [line.text for line in fold.select("li")]
    assert fold.summary.text == "1200 left out of the dataset"
    assert lines[0] == "'2019/\\udcff<b>.cr2': a RAW photo" and lines[1000:] == ["… and 200 more"]


def test_formulas_are_drawn_by_the_browser(page):
    assert [formula["display"] for formula in page.find_all("math")] == ["inline", "block"]
    assert page.find("mfrac") and "$" not in page.main.text.replace("costs $1 or $2", "")


def test_solutions_are_folded_and_executed_ones_keep_their_output(page):
    [fold] = page.select("details.solutions")
    assert fold.summary.text == "Solutions" and "two & <three>" in fold.text
    assert "Further reading" not in fold.text and "Try." not in fold.text


def test_a_page_leads_on(page):
    sections = [link.text for link in page.select("nav.contents a")]
    assert sections == ["A formula", "On your own", "Further reading"]
    for link in page.select("nav.contents a"):
        assert page.find(id=link["href"].removeprefix("#"))
    assert page.select_one("a[rel=next]")["href"] == "2_b.html"
    assert page.select_one("main a[href='2_b.html']")


def test_what_leads_to_no_page_is_no_link(page):
    nowhere = [link for link in page.select("main a") if link.text in ("9", "text")]
    assert len(nowhere) == 2 and not any("href" in link.attrs for link in nowhere)
    assert page.select_one("main a[href='https://example.org/2_b.ipynb']").text == "more"


def test_a_picture_beside_the_notebook_is_inside_the_page(page):
    kind, _, content = page.select_one("img[alt='A dot']")["src"].partition(",")
    assert kind == "data:image/svg+xml;base64" and base64.b64decode(content).decode() == DOT


def test_tables_and_figures_scroll_inside_themselves(page):
    wide = page.main.select("table, img")
    boxes = [one.find_parent(class_="scroll") for one in wide]
    assert len(wide) == 2 and all(box["tabindex"] == "0" for box in boxes)
    assert len({box["aria-label"] for box in boxes}) == len(boxes)


def test_links_come_with_the_pages_they_lead_to(tmp_path):
    paths = [tmp_path / f"{stem}.ipynb" for stem in ("1_a", "2_b", "3_c")]
    cells = [new_markdown_cell("# 1 · Any"), new_markdown_cell("On to [c](3_c.ipynb).")]
    for path in paths:
        nbformat.write(new_notebook(cells=cells), path)
    chapters = [pages.chapter(path) for path in paths]
    first, second, third = (
        pages.notebook_page(nbformat.read(path, as_version=4), chapter)
        for path, chapter in zip(paths, chapters, strict=True)
    )
    for written, targets in (
        ([first], []),
        ([second, first], ["2_b.html"]),
        ([third, second, first], ["3_c.html", "2_b.html"]),
    ):
        for page in written:
            pages.write_notebook(tmp_path / "html", page, chapters)
        links = parsed(tmp_path / "html/1_a.html").select("main a[href]")
        assert [link["href"] for link in links] == targets
        assert not parsed(tmp_path / "html/1_a.html").select("details.left-out")
    back = parsed(tmp_path / "html/2_b.html").select_one("a[rel=prev]")
    assert back["href"] == "1_a.html"


def test_the_index_while_notebooks_are_still_running(tmp_path):
    chapters = [
        pages.Chapter(stem, number, f"About {stem}", "", tmp_path)
        for stem, number in (("00_q", "0"), ("01_a", "1"), ("02_b", "2"))
    ]
    (tmp_path / "00_q.html").touch()
    notes = {"01_a": "running now", "02_b": "not run yet"}
    pages.write_index(tmp_path, "Some photos", chapters, [], None, notes, going_on=True)
    page = parsed(tmp_path / "index.html")
    assert {link["href"] for link in page.select("main a")} == {"00_q.html"}
    assert [note.text for note in page.select(".note")] == ["running now", "not run yet"]
    assert "still running" in page.text and page.select("script")
    assert page.select_one("p:-soup-contains('In a hurry') a")["href"] == "00_q.html"
    pages.write_index(tmp_path, "Some photos", chapters, [])
    page = parsed(tmp_path / "index.html")
    assert "still running" not in page.text and not page.select("script, .note")


def test_a_widget_says_how_to_get_it(page):
    assert "make lab" in page.main.text
    assert "widget-view" not in str(page)


def test_a_widget_with_a_picture_is_that_picture(page):
    assert page.select_one("img[alt='A tool']")
    assert str(page.main).count("make lab") == 1, "said of the other one"


def test_no_template_or_page_names_another_host(page):
    for file in pages.TEMPLATES.iterdir():
        assert "http" not in file.read_text(encoding="utf-8").replace("http-equiv", "")
    assert "cdn" not in str(page) and not page.select("script, link[href^=http]")
