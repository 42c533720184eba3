"""`build/html/`: an index, every notebook and a gallery of all models' results, as plain pages.

They need no kernel, no server and no network; the templates are in `tools/templates/`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import jinja2
import nbformat
import numpy as np
from bs4 import BeautifulSoup, NavigableString, Tag
from latex2mathml.converter import convert as mathml
from markupsafe import Markup
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from helpers import evaluation
from helpers.datasets import ImageDataset, ImageRecord
from helpers.files import locked, written_whole
from helpers.hits import ranked_hits
from helpers.images import thumbnail

TEMPLATES = Path(__file__).parent / "templates"
PHOTO_SIZE = (192, 144)
RESULTS = 10
MOST_SHOWN = 7500  # results of all queries and models: the page then has under 2 MB
CODE_STYLES = {"light": "xcode", "dark": "lightbulb"}  # both reach a contrast of 4.5
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGET_NOTE = "Interactive: open this notebook with <code>make lab</code> to use it."
STATIC_OUTPUTS = Config(
    NbConvertBase={
        "display_data_priority": ["text/html", "text/markdown"]
        + ["image/svg+xml", "image/png", "image/jpeg", "text/plain"]
    }
)
FORMULA = re.compile(r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$\n]+)\$", re.DOTALL)


class Chapter(NamedTuple):
    """A notebook as the index and the other pages speak of it."""

    stem: str
    number: str
    title: str
    lesson: Markup
    """What one will learn, as HTML."""
    folder: Path
    """Where the notebook lies, and the pictures that its text shows."""


class Page(NamedTuple):
    """A notebook as HTML, to be written as often as other pages join it."""

    chapter: Chapter
    contents: list[tuple[str, str]]
    """Anchor and text of every section."""
    body: BeautifulSoup
    links: list[tuple[Tag, str]]
    """Links in `body` to other notebooks, each with that notebook's stem."""


class Gallery(NamedTuple):
    """What the index says about the gallery."""

    queries: int
    photos: int
    results: int
    models: int
    agree: float
    """Of `results`, how many two models share on average; nan for a single one."""
    examples: list[ImageRecord]


def chapter(path: Path) -> Chapter:
    """Number, title and lesson of a notebook, from its first cell."""
    opening = nbformat.read(path, as_version=4).cells[0].source
    heading = opening.partition("\n")[0].lstrip("# ")
    number, _, title = heading.rpartition(" · ")
    lesson = re.search(r"^\*\*You will learn\*\* (.+)$", opening, re.MULTILINE)
    html = HTMLExporter().markdown2html({"cell": {}}, lesson[1]) if lesson else ""
    return Chapter(path.stem, number, title, Markup(html), path.parent)


# Notebooks -----------------------------------------------------------------------------------


def notebook_page(notebook: nbformat.NotebookNode, chapter: Chapter) -> Page:
    """The page of an executed notebook, not yet written."""
    body = notebook_body(notebook, chapter.folder)
    for link in body.select("a[href^='../']"):
        del link["href"]  # the page is read where the repository may not be
    suffix = ".ipynb"
    links = [
        (link, link["href"].removesuffix(suffix))
        for link in body.select(f"a[href$='{suffix}']")
        if not any(urlsplit(link["href"])[:2])  # of scheme and host
    ]
    return Page(chapter, contents(body), body, links)


def write_notebook(
    folder: Path,
    page: Page,
    chapters: Sequence[Chapter],
    skipped: Sequence[tuple[Path, str]] = (),
) -> None:
    """`<stem>.html`: a notebook with a table of contents and links to its neighbours.

    What would lead to a page that is not in the folder is no link.

    Args:
        folder: `build/html`.
        page: from `notebook_page`.
        chapters: all notebooks that have or will have a page, in order; `page`'s is one of them.
        skipped: what is left out of the dataset, to be unfolded at the top.
    """
    place = [one.stem for one in chapters].index(page.chapter.stem)
    there = present(folder, chapters)
    before, after = chapters[:place][-1:], chapters[place + 1 :][:1]
    for link, stem in page.links:
        if (folder / f"{stem}.html").exists():
            link["href"] = f"{stem}.html"
        else:
            link.attrs.pop("href", None)
    write(
        folder / f"{page.chapter.stem}.html",
        "notebook.html",
        chapter=page.chapter,
        previous=next((one for one in before if one.stem in there), None),
        following=next((one for one in after if one.stem in there), None),
        contents=page.contents,
        body=Markup(page.body),
        left_out=[f"{'/'.join(path.parts[-2:])!r}: {reason}" for path, reason in skipped],
        code_styles=code_styles(),
    )


def present(folder: Path, chapters: Sequence[Chapter]) -> set[str]:
    """Stems of the notebooks that have a page in the folder, of this run or of an earlier one."""
    return {one.stem for one in chapters if (folder / f"{one.stem}.html").exists()}


def notebook_body(notebook: nbformat.NotebookNode, folder: Path) -> BeautifulSoup:
    """The cells as HTML without scripts that need a server, every picture inside.

    `folder` is where the notebook lies: its text names pictures relative to it.
    """
    exporter = HTMLExporter(template_name="basic", embed_images=True, config=STATIC_OUTPUTS)
    place = {"metadata": {"path": str(folder)}}
    html, _ = exporter.from_notebook_node(without_widgets(notebook), resources=place)
    body = BeautifulSoup(html, "html.parser")
    for link in body.select("a.anchor-link"):
        link.decompose()
    for text in body.find_all(string=FORMULA):
        if not text.find_parent(["pre", "code", "script", "style"]):
            typeset(text)
    for table in body.find_all("table"):
        table.attrs.pop("border", None)
    for kind, found in (("Table", body.find_all("table")), ("Figure", body.find_all("img"))):
        for number, one in enumerate(found, start=1):  # wide ones scroll, also by keyboard
            box = {"class": "scroll", "tabindex": "0", "role": "region"}
            place = one.find_parent("p") or one  # a paragraph holds no box
            place.wrap(body.new_tag("div", attrs={**box, "aria-label": f"{kind} {number}"}))
    for corner in body.find_all(lambda tag: tag.name == "th" and not tag.get_text(strip=True)):
        corner.name = "td"
    for block in body.select("pre, math[display=block]"):  # these, too
        block["tabindex"] = "0"
    fold_solutions(body)
    return body


def without_widgets(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy whose widgets, nothing without a kernel, are the picture they bring or a sentence."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data and "text/html" not in data:
                output["data"] = nbformat.from_dict({"text/html": f"<p>{WIDGET_NOTE}</p>"})
    return copy


def typeset(text: NavigableString) -> None:
    """Replace the formulas in a text by MathML, which browsers draw by themselves."""
    end = 0
    for formula in FORMULA.finditer(text):
        display = "block" if formula["block"] else "inline"
        drawn = mathml((formula["block"] or formula["inline"]).strip(), display=display)
        text.insert_before(text[end : formula.start()], BeautifulSoup(drawn, "html.parser"))
        end = formula.end()
    text.replace_with(text[end:])


def fold_solutions(body: BeautifulSoup) -> None:
    """Put everything under a heading `Solutions` into a fold that its reader opens."""
    for heading in body.find_all("h3", string="Solutions"):
        cell = heading.find_parent(class_="cell")
        level = ("h1", "h2", "h3")
        rest = []
        for sibling in cell.next_siblings:
            if isinstance(sibling, Tag) and sibling.find(level):
                break
            rest.append(sibling)
        fold = body.new_tag("details", attrs={"class": "solutions", "id": heading["id"]})
        summary = body.new_tag("summary")
        summary.string = "Solutions"
        cell.wrap(fold)
        heading.decompose()
        fold.insert(0, summary)
        fold.extend(rest)


def contents(body: BeautifulSoup) -> list[tuple[str, str]]:
    """Anchor and text of every section."""
    return [(heading["id"], heading.get_text()) for heading in body.find_all("h2", id=True)]


@cache
def code_styles() -> dict[str, Markup]:
    """CSS of the syntax highlighting, light and dark."""
    return {
        mode: Markup(HtmlFormatter(style=style).get_style_defs(".highlight"))
        for mode, style in CODE_STYLES.items()
    }


# The gallery ---------------------------------------------------------------------------------


def write_gallery(
    folder: Path, dataset: ImageDataset, vectors: Mapping[str, np.ndarray]
) -> Gallery:
    """`gallery.html`: queries × models, with `photos/` beside it.

    Args:
        folder: `build/html`.
        dataset: the photos.
        vectors: float32 [photos, d] of each model by title, rows in the order of the dataset.
    """
    queries = compare(dataset, vectors)
    shown = {query["record"].id for query in queries}
    seen = shown | {hit["id"] for query in queries for row in query["rows"] for hit in row["hits"]}
    write_photos(folder / "photos", [dataset.by_id[number] for number in sorted(seen)])
    results = min(RESULTS, len(dataset) - 1)
    write(
        folder / "gallery.html",
        "gallery.html",
        dataset=dataset,
        queries=queries,
        shown=shown,
        results=results,
        most=min(len(vectors) * results, len(dataset) - 1),
        titles=list(vectors),
        size=PHOTO_SIZE,
    )
    agree = float(np.mean([query["agree"] for query in queries]))
    examples = [query["record"] for query in queries[:: max(1, len(queries) // 6)][:6]]
    return Gallery(len(queries), len(dataset), results, len(vectors), agree, examples)


def compare(dataset: ImageDataset, vectors: Mapping[str, np.ndarray]) -> list[dict]:
    """What the gallery says of each query: a dict.

    Queries are photos of the dataset, evenly spread and as many as MOST_SHOWN allows. Of each
    there is its `record`; `common`, how many results all models have; `different`, how many photos
    there are in all rows; `agree`, how many results two models share on average; and `rows`, one
    per model, of a `title` and `hits`. A hit is a dict with `id`, `rank`, `distance`, `labels`,
    `shared` (labels in common with the query) and `elsewhere` (number and rank of each other model
    that has it).
    """
    depth = min(RESULTS, len(dataset) - 1)
    rows = dataset.spread_rows(MOST_SHOWN // (depth * len(vectors)))
    rankings = [
        evaluation.rank_exact(found[rows], found, rows, depth) for found in vectors.values()
    ]
    compared = []
    for row, *orders in zip(rows, *(ranking.tolist() for ranking in rankings), strict=True):
        record, sets = dataset.records[row], [set(order) for order in orders]
        lists = []
        for title, found, order in zip(vectors, vectors.values(), orders, strict=True):
            hits = [
                {
                    "id": hit.id,
                    "rank": hit.rank,
                    "distance": max(hit.distance, 0.0),
                    "labels": hit.labels,
                    "shared": hit.labels & record.labels,
                    "elsewhere": [
                        (number, other.index(place) + 1)
                        for number, other in enumerate(orders)
                        if other is not order and place in other
                    ],
                }
                for place, hit in zip(
                    order, ranked_hits(dataset, found, row, ranking=order), strict=True
                )
            ]
            lists.append({"title": title, "hits": hits})
        pairs = [len(one & other) for one, other in combinations(sets, 2)]
        compared.append(
            {
                "record": record,
                "common": len(set.intersection(*sets)),
                "different": len(set.union(*sets)),
                "agree": sum(pairs) / len(pairs) if pairs else float("nan"),
                "rows": lists,
            }
        )
    return compared


def write_photos(folder: Path, records: Sequence[ImageRecord]) -> None:
    """One small JPEG per photo, named by id; what another dataset left there goes."""

    def shrink(record: ImageRecord) -> None:
        thumbnail(record.path, PHOTO_SIZE).save(
            folder / f"{record.id}.jpg", quality=80, optimize=True
        )

    with locked(folder.with_suffix(".lock")), ThreadPoolExecutor() as pool:  # another run may end
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        list(pool.map(shrink, records))


# The index -----------------------------------------------------------------------------------


def write_index(
    folder: Path,
    banner: str,
    chapters: Sequence[Chapter],
    numbers: Sequence[tuple[str, str]],
    gallery: Gallery | None = None,
    notes: Mapping[str, str] | None = None,
    *,
    going_on: bool = False,
) -> None:
    """`index.html`: the notebooks' pages, the gallery and the headline numbers.

    Args:
        folder: `build/html`.
        banner: about the dataset.
        chapters: all notebooks; those without a page in the folder are no links.
        numbers: label and value.
        gallery: None where it is not written yet.
        notes: what is to be said beside a notebook, by its stem.
        going_on: more is to come; the page then reloads itself as long as nobody reads on it.
    """
    write(
        folder / "index.html",
        "index.html",
        banner=banner,
        chapters=chapters,
        there=present(folder, chapters),
        numbers=numbers,
        gallery=gallery,
        notes=notes or {},
        going_on=going_on,
        size=PHOTO_SIZE,
    )


def write(page: Path, template: str, **values: object) -> None:
    """Fill a template, every value escaped, and write the page; readers never see half of it."""
    with written_whole(page) as part:
        part.write_text(templates().get_template(template).render(values), encoding="utf-8")


@cache
def templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["named"] = lambda labels: ", ".join(sorted(labels))
    environment.filters["circled"] = lambda number: chr(ord("①") + number)  # from 0 on
    environment.globals["source"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment
