"""The notebooks as committed: executed top to bottom, clean, linked, and alike in form."""

import base64
import json
import re
import sys
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers import evaluation
from helpers.explorer.widget import STILL, STILL_ALT
from helpers.settings import ROOT
from helpers.study import recipes

sys.path.append(str(ROOT / "tools"))
import measure_notebooks  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
QUICK_START, *LESSONS = NOTEBOOKS
OPENING = ("**You will learn**", "**You need**", "**It takes**")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    """A notebook that teaches a part: one with exercises and with sections that all have."""
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(scope="module")
def quick_start():
    return nbformat.read(QUICK_START, as_version=4)


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def headings(cells):
    """Level and text of every heading, in order; `#` in code is none."""
    found = []
    for cell in cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            found += re.findall(r"^(#+) (.+)$", prose, re.MULTILINE)
    return [(len(marks), text.strip()) for marks, text in found]


def part(notebook, title):
    """The cells from the one that starts with a heading to the next of its level or above."""
    starts = {place: cell.source for place, cell in enumerate(notebook.cells)}
    first = next(p for p, source in starts.items() if re.match(rf"#+ {title}(\n|$)", source))
    level = len(starts[first].split()[0])
    rest = (p for p in starts if p > first and re.match(rf"#{{1,{level}}} ", starts[p]))
    return notebook.cells[first : next(rest, len(notebook.cells))]


def test_executed_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code(notebook.cells)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_error_no_warning_no_machine_path(notebook):
    for cell in code(notebook.cells):
        for output in cell.outputs:
            assert output.output_type != "error" and output.get("name") != "stderr"
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users)/", text)


def test_every_figure_has_a_text_alternative(notebook):
    for cell in code(notebook.cells):
        for output in cell.outputs:
            for mime in output.get("data", {}):
                if mime.startswith("image/"):
                    assert output.metadata[mime]["alt"]


def test_it_opens_with_what_one_learns_needs_and_how_long_it_takes(notebook):
    opening = notebook.cells[0]
    assert opening.cell_type == "markdown" and re.match(r"# \d+ · \S", opening.source)
    starts = [opening.source.find(f"\n{words} ") for words in OPENING]
    assert -1 not in starts and starts == sorted(starts)


def test_the_headings_make_a_table_of_contents(notebook):
    levels = [level for level, _ in headings(notebook.cells)]
    assert levels[0] == 1 and 1 not in levels[1:]
    steps = zip(levels, levels[1:], strict=False)
    assert all(deeper - level <= 1 for level, deeper in steps), "a level is left out"
    sections = [text for level, text in headings(notebook.cells) if level == 2]
    assert len(sections) >= 4 and len(set(sections)) == len(sections)


def test_a_lesson_ends_with_exercises_and_sources(lesson):
    sections = [text for level, text in headings(lesson.cells) if level == 2]
    assert sections[-2:] == ["On your own", "Further reading"]


def test_exercises_have_folded_solutions_that_were_executed(lesson):
    asked, *_ = part(lesson, "On your own")
    exercises = re.findall(r"^(\d)\. ", asked.source, re.MULTILINE)
    assert len(exercises) >= 2
    heading, *solutions = part(lesson, "Solutions")
    assert heading.source == "### Solutions"
    assert heading.metadata["jp-MarkdownHeadingCollapsed"] is True  # JupyterLab shows it folded
    answered = []
    for cell in solutions:
        if number := re.match(r"\*\*(\d)\.\*\* \S", cell.source):
            answered.append([number[1]])
        else:
            answered[-1].append(cell)
    assert [number for number, *_ in answered] == exercises
    for number, *cells in answered:
        assert any(cell.outputs for cell in code(cells)), f"solution {number} shows nothing"


def test_further_reading_names_sources(lesson):
    reading, *_ = part(lesson, "Further reading")
    assert len(re.findall(r"^- .*\S", reading.source, re.MULTILINE)) >= 2


def test_cells_are_short_and_links_lead_somewhere(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(list(filter(str.strip, cell.source.splitlines()))) <= 12
        for target in re.findall(r"\]\(([^)#:]+\.(?:ipynb|svg))\)", cell.source):
            assert (ROOT / "notebooks" / target).exists(), target


def said_of_the_sample(cell):
    """What is said of the committed outputs: from "On the sample" to the paragraph's end.

    Or to a sentence that begins with "On" something else, such as real photos.
    """
    said = r"(?:^|(?<= ))On the sample.*?(?= On (?!the sample)|$)"
    return re.findall(said, cell.source, re.MULTILINE)


def numbers(text):
    """The numbers of a text, as written: 0.66, 79 %, 5 000; none of a name, such as VGG16 or d²."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|(?<=\d)[\u00a0 ](?=\d{3}\b)", "", text)
    return re.findall(r"(?<![\w@.])\d+(?:\.\d+)?(?: ?%)?(?!\w)", text)


def shown(cells):
    """The numbers in what the cells show: printed, in tables, in the words beside a figure."""
    texts = []
    for cell in code(cells):
        for output in cell.outputs:
            texts += [output.get("text", ""), *map(str, output.get("data", {}).values())]
    found = []
    for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?%?(?!\w)", " ".join(texts)):
        found.append(float(number.rstrip("%")) / (100 if number.endswith("%") else 1))
    return found


def is_among(number, values):
    """Whether a number as written, 79 % or 0.66, is one of the values rounded to its digits."""
    percent = number.endswith("%")
    digits = number.rstrip("% ")
    places = len(digits.partition(".")[2])
    scale = 100 if percent else 1
    return any(abs(scale * value - float(digits)) <= 0.5001 / 10**places for value in values)


def test_numbers_said_of_the_sample_are_in_the_outputs(notebook):
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for sentence in said_of_the_sample(cell):
                values = shown(notebook.cells[:place])
                wrong = [one for one in numbers(sentence) if not is_among(one, values)]
                assert wrong == [], sentence


def said_of_coco(cell):
    """What is said of the photos of COCO: to the paragraph's end, or to what is of the sample."""
    return re.findall(r"(?:of|[Oo]n) COCO.*?(?=On the sample|$)", cell.source, re.MULTILINE)


@pytest.fixture(scope="module")
def kept():
    """All numbers of the files that were measured on COCO, and what notebook 5 draws of one."""
    quality, speed = (
        json.loads((ROOT / f"docs/{name}.json").read_text(encoding="utf-8"))
        for name in ("quality", "quality_per_second")
    )
    study = recipes.load_study()
    found = numbers_of([quality, speed, recipes.INPUT_SIZES])
    for network in study["networks"]:
        scores = recipes.scores(study, network)
        chosen_on, _ = evaluation.split_queries(np.arange(len(scores)))
        found += scores.loc[chosen_on].mean().tolist()
    return np.abs(found)


def numbers_of(value):
    """All numbers at any depth."""
    if isinstance(value, dict | list | tuple):
        inner = value.values() if isinstance(value, dict) else value
        return [number for each in inner for number in numbers_of(each)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("number", [4, 5, 6, 7, 8, 11])
def test_numbers_said_of_coco_are_kept(kept, number):
    cells = nbformat.read(NOTEBOOKS[number], as_version=4).cells
    said = 0
    for place, cell in enumerate(cells):
        if cell.cell_type == "markdown":
            for sentence in said_of_coco(cell):
                values = [*kept, *shown(cells[:place])]
                said += len(numbers(sentence))
                wrong = [one for one in numbers(sentence) if not is_among(one, values)]
                assert wrong == [], sentence
    assert said >= 3


def test_a_wrong_number_said_of_the_sample_is_noticed():
    say = "Both. On the sample: 66 % of 5 000 by VGG16, 0.7 at nDCG@10 and 1.25 in `x[3]`. On 9 …"
    [sentence] = said_of_the_sample(new_markdown_cell(say))
    assert numbers(sentence) == ["66 %", "5000", "0.7", "1.25"]
    [cell] = [new_code_cell("", outputs=[new_output("stream", text="66.2% or 0.655, 5000; 0.74")])]
    assert [one for one in numbers(sentence) if not is_among(one, shown([cell]))] == ["1.25"]


@pytest.mark.parametrize(
    ("source", "nested", "conditional", "count"),
    [
        ("[a for a in b]\n!ls {a}\n%time c", 0, 0, 1),
        ("{a: b for a in c if a}", 0, 1, 1),
        ("[a for b in c for a in b]", 1, 0, 1),
        ("sum(max(a for a in b) for b in c)", 1, 0, 2),
    ],
)
def test_dense_cells_are_noticed(source, nested, conditional, count):
    notebook = new_notebook(cells=[new_code_cell(source)])
    row = measure_notebooks.measures(notebook)
    assert (row["nested"], row["conditional dicts"]) == (nested, conditional)
    assert row["comprehensions / 100 lines"] == round(100 * count / len(source.splitlines()), 1)


@pytest.mark.parametrize(("after", "silent"), [("It shows.", 0), ("## Next", 1), (None, 1)])
def test_a_table_nobody_speaks_about_is_noticed(after, silent):
    table = new_code_cell("x", outputs=[new_output("display_data", {"text/html": "<table>"})])
    cells = [table, new_markdown_cell(after) if after else new_code_cell("y")]
    row = measure_notebooks.measures(new_notebook(cells=cells))
    assert row["shown, not read aloud"] == silent


def test_the_quick_start_is_short(quick_start):
    cells = code(quick_start.cells)
    lines = [list(filter(str.strip, cell.source.splitlines())) for cell in cells]
    assert len(cells) <= 9 and max(map(len, lines)) <= 6


def test_the_quick_start_needs_no_server_and_few_photos(quick_start):
    source = "\n".join(cell.source for cell in code(quick_start.cells))
    for word in ("services", "milvus", "redis", "store", "recipes", "study"):
        assert word not in source.lower()
    shown = "".join(str(output) for cell in code(quick_start.cells) for output in cell.outputs)
    (photos,) = re.findall(r"Used here: (\d+) of them", shown)
    assert int(photos) <= 60
    assert f"vectors: ({photos}, 2048) and ({photos}, 512)" in shown


def test_the_quick_start_leads_to_every_other_notebook(quick_start):
    text = "\n".join(cell.source for cell in quick_start.cells)
    assert [path.name for path in LESSONS if f"]({path.name})" not in text] == []


def test_the_quick_start_shows_the_whole_way_in_a_picture(quick_start):
    text = "\n".join(cell.source for cell in quick_start.cells)
    ((alt, file),) = re.findall(r"!\[(.+)\]\((.+)\)", text)
    drawing = ElementTree.fromstring((QUICK_START.parent / file).read_bytes())
    named = [node.text for node in drawing.iter("{http://www.w3.org/2000/svg}text")]
    for step in ("Photo", "Pixels", "Vectors", "Milvus", "Redis", "Ranked photos"):
        assert step in named and step.lower() in alt.lower()
    numbers = {int(word) for text in named for word in re.findall(r"notebook (\d+)", text)}
    assert numbers == {int(word) for word in re.findall(r"notebook (\d+)", alt)} == {1, 2, 3, 4}


def test_the_explorer_is_a_picture_where_no_kernel_runs():
    cells = nbformat.read(ROOT / "notebooks/10_explore.ipynb", as_version=4).cells
    place = next(place for place, cell in enumerate(cells) if "Explorer(dataset)" in cell.source)
    [output] = cells[place].outputs
    [picture] = BeautifulSoup(output.data["text/html"], "html.parser").find_all("img")
    assert picture["alt"] == STILL_ALT
    kind, _, content = picture["src"].partition(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(content) == STILL.read_bytes()
    assert "make lab" in cells[place + 1].source, "how to get the live one"
    assert STILL.stat().st_size <= 300_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_size(path):
    assert path.stat().st_size < 1_500_000
