"""The pages of `build/html/`, opened from disk in a real browser."""

from __future__ import annotations

import sys
from itertools import chain

import nbformat
import numpy as np
import pytest

from helpers.conversion import onnx_model
from helpers.datasets import open_dataset
from helpers.extraction import extract
from helpers.models import NETWORKS
from helpers.settings import ROOT, load_settings

sys.path.append(str(ROOT / "tools"))
import pages  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PAGES = ["index", "gallery", *(path.stem for path in NOTEBOOKS)]
DESKTOP, PHONE = (1300, 900), (360, 740)
SCREENSHOTS = load_settings().build_dir / "screenshots"


@pytest.fixture(scope="module")
def dataset():
    return open_dataset("sample")


@pytest.fixture(scope="module")
def vectors(dataset):
    return {
        network.title: extract(onnx_model(name), dataset.paths, progress=False)
        for name, network in NETWORKS.items()
    }


@pytest.fixture(scope="module")
def site(dataset, vectors, tmp_path_factory):
    """The folder with all pages, of the notebooks as committed."""
    folder = tmp_path_factory.mktemp("html")
    chapters = [pages.chapter(path) for path in NOTEBOOKS]
    written = [
        pages.notebook_page(nbformat.read(path, as_version=4), chapter)
        for path, chapter in zip(NOTEBOOKS, chapters, strict=True)
    ]
    for page in [*written, *written]:  # once more, with links to those that came later
        pages.write_notebook(folder, page, chapters)
    told = pages.write_gallery(folder, dataset, vectors)
    numbers = [("ResNet50: nDCG@10", "0.724 (95 %: 0.699 to 0.749)")]
    pages.write_index(folder, dataset.banner(), chapters, numbers, told)
    return folder


@pytest.fixture
def visit(browser, site):
    """Open a page from disk; afterwards nothing may have failed or asked for another host."""
    contexts, troubles = [], []

    def console(message):
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    def asked(request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            troubles.append(f"request: {request.url[:200]}")

    def visit(name, size=DESKTOP, **options):
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height}, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", console)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", asked)
        page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
        page.goto((site / f"{name}.html").as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(scope="module")
def nearest(dataset, vectors):
    """Ten ids per query and model, computed here from nothing but the vectors."""
    ids = np.array([record.id for record in dataset])
    lists = {}
    for title, found in vectors.items():
        similarity = found @ found.T
        np.fill_diagonal(similarity, -np.inf)
        lists[title] = ids[np.argsort(-similarity, axis=1, kind="stable")[:, :10]]
    return lists


@pytest.fixture(scope="module")
def different(nearest):
    """How many photos the rows of a query hold together."""
    rows = zip(*nearest.values(), strict=True)
    return np.array([len(set(chain(*ids))) for ids in rows])


def shown(page):
    return page.locator(".query").evaluate_all(
        "queries => queries.filter(query => query.checkVisibility()).map(query => query.id)"
    )


def ids_of(dataset, chosen):
    return [f"q{record.id}" for record, use in zip(dataset, chosen, strict=True) if use]


def slide(page, name, value):
    """Move a slider as a reader does who has only a keyboard."""
    slider = page.locator(f"[name={name}]")
    slider.focus()
    step = "ArrowRight" if value > int(slider.input_value()) else "ArrowLeft"
    for _ in range(abs(value - int(slider.input_value()))):
        page.keyboard.press(step)
    assert slider.input_value() == str(value)


def test_the_gallery_shows_every_ranking(visit, dataset, nearest):
    page = visit("gallery")
    for row in np.linspace(0, len(dataset) - 1, 7).astype(int):
        query = page.locator(f"#q{dataset.records[row].id}")
        for number, (title, ids) in enumerate(nearest.items()):
            assert query.locator("h3").nth(number).text_content() == f"{'①②③'[number]} {title}"
            links = query.locator("ol").nth(number).locator("li a")
            targets = links.evaluate_all("links => links.map(link => link.hash)")
            assert targets == [f"#q{one}" for one in ids[row]]
        query.scroll_into_view_if_needed()
        page.wait_for_function(
            "id => [...document.querySelectorAll(`#${id} img`)].every(i => i.naturalWidth > 0)",
            arg=f"q{dataset.records[row].id}",
        )
    page.evaluate("scrollTo(0, 0)")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "gallery.png")


def test_its_filters(visit, dataset, different):
    page = visit("gallery")
    status = page.locator("#status")
    assert status.inner_text() == f"{len(dataset)} of {len(dataset)} queries"

    category = list(dataset.categories)[3]
    has_it = np.array([category in record.labels for record in dataset])
    page.get_by_label("Category").select_option(category)
    assert shown(page) == ids_of(dataset, has_it)
    assert status.inner_text() == f"{has_it.sum()} of {len(dataset)} queries"

    bound = int(np.median(different[has_it])) + 1
    slide(page, "least", bound)
    assert shown(page) == ids_of(dataset, has_it & (different >= bound))
    page.screenshot(path=SCREENSHOTS / "gallery_filtered.png")

    few = int(different[has_it].min())
    slide(page, "most", few)  # pushes the lower end
    assert page.locator("[name=least]").input_value() == str(few)
    assert shown(page) == ids_of(dataset, has_it & (different == few))

    page.get_by_label("Category").select_option("all")
    assert shown(page) == ids_of(dataset, different == few)
    slide(page, "least", 30)
    assert shown(page) == ids_of(dataset, different == 30)
    if not (different == 30).any():
        assert "widen the range" in status.inner_text()

    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelectorAll('.query[hidden]').length === 0")
    assert status.inner_text() == f"{len(dataset)} of {len(dataset)} queries"


def test_a_result_leads_to_its_own_results(visit, dataset, nearest):
    page = visit("gallery")
    first = dataset.records[0]
    target = next(
        number
        for number in nearest["ResNet50"][0]
        if not dataset.by_id[number].labels & first.labels
    )
    page.get_by_label("Category").select_option(sorted(first.labels)[0])
    assert page.locator(f"#q{target}").is_hidden()
    link = page.locator(f"#q{first.id} ol").first.locator(f"a[href='#q{target}']")
    link.focus()
    page.keyboard.press("Enter")
    page.locator(f"#q{target}").wait_for(state="visible")
    page.wait_for_function(f"document.activeElement.id === 'q{target}'")
    page.wait_for_function(
        f"Math.abs(document.getElementById('q{target}').getBoundingClientRect().top) < innerHeight"
    )


def test_filters_and_place_survive_a_result_outside_of_them_and_back(visit, dataset, nearest):
    page = visit("gallery")
    category = list(dataset.categories)[3]
    wanted = ids_of(dataset, [category in record.labels for record in dataset])
    page.get_by_label("Category").select_option(category)
    slide(page, "least", 11)
    there = shown(page)
    assert set(there) <= set(wanted) and len(there) > 3
    link = page.locator(f"#{there[-1]} li a").first
    for _ in range(20):  # a result that the filter hides
        target = link.get_attribute("href").removeprefix("#")
        if target not in there:
            break
        link = page.locator(f"#{there[-1]} li a[href='#{target}'] >> xpath=../following::a").first
    link.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    link.click()
    page.wait_for_function(f"document.activeElement.id === '{target}'")
    assert set(shown(page)) == {*there, target}
    assert "and the selected one" in page.locator("#status").inner_text()
    page.reload()
    assert set(shown(page)) == {*there, target}, "the address says it all"
    page.go_back()
    page.wait_for_function(f"Math.abs(scrollY - {before}) < 3")
    assert shown(page) == there
    assert page.get_by_label("Category").input_value() == category


def test_queries_in_the_order_of_disagreement(visit, dataset, different):
    page = visit("gallery")
    page.get_by_label("Order").select_option("most different first")
    order = np.argsort(-different, kind="stable")
    assert shown(page) == [f"q{dataset.records[row].id}" for row in order]
    assert page.url.endswith("#order=different")
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("!location.hash.includes('order')")
    assert shown(page) == [f"q{record.id}" for record in dataset]


def test_printed_pages_lose_no_code(visit):
    page = visit("01_convert_models", (800, 1000))
    page.emulate_media(media="print")
    cut = page.locator("pre").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    )
    assert cut == 0
    assert not page.locator("nav.contents").is_visible()
    gallery = visit("gallery")
    gallery.emulate_media(media="print")
    assert gallery.locator("form").is_hidden() and gallery.locator(".query").first.is_visible()


def test_the_index_has_a_gap_after_each_number(visit):
    assert "10Explore" not in visit("index").locator("main").inner_text()


def test_without_javascript_everything_is_there(visit, dataset):
    page = visit("gallery", java_script_enabled=False)
    assert len(shown(page)) == len(dataset)
    assert page.locator("form").is_hidden()


def test_the_index_shows_what_is_new_by_itself(browser, dataset, tmp_path):
    chapters = [pages.chapter(path) for path in NOTEBOOKS[:2]]
    (tmp_path / "00_quick_start.html").touch()
    notes = {chapters[1].stem: "running now"}
    about = tmp_path, dataset.banner(), chapters, [], None
    pages.write_index(*about, notes, going_on=True)
    page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]}, offline=True)
    page.goto((tmp_path / "index.html").as_uri())
    assert page.get_by_text("running now").is_visible()
    assert page.locator("main a").all_text_contents() == ["0 · Quick start", "Quick start"]
    (tmp_path / f"{chapters[1].stem}.html").touch()
    pages.write_index(*about)
    page.get_by_role("link", name=chapters[1].title).wait_for()
    assert page.get_by_text("running now").count() == 0
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_from_disk_and_fits_a_phone(visit, site, name):
    page = visit(name, PHONE, color_scheme="dark", has_touch=True, is_mobile=True)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE[0], f"{width} pixels wide"
    shown = page.locator(".scroll img").evaluate_all(
        "all => all.map(one => [one.naturalWidth, one.getBoundingClientRect().width])"
    )
    assert all(width >= min(natural, 600) for natural, width in shown), "too small to be read"
    page.screenshot(path=SCREENSHOTS / f"phone_{name}.png")
    links = page.locator("a[href]:not([href^=http])").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    anchors = set(page.locator("[id]").evaluate_all("all => all.map(one => one.id)"))
    for target, _, anchor in (link.partition("#") for link in links):
        assert (site / target).exists() if target else anchor in anchors, (target, anchor)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_no_page_breaks_a_rule_of_accessibility(visit, name, scheme):
    checker = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed"
    )
    page = visit(name, color_scheme=scheme)
    if name == "gallery":  # the rules hold for each query alike: check some
        page.evaluate(
            "document.querySelectorAll('.query:nth-of-type(n + 12)').forEach(q => q.remove())"
        )
    found = checker.Axe().run(page).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found] == []
