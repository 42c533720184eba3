"""The notebooks as committed: executed top to bottom, clean, linked, and alike in form."""

import ast
import re
from statistics import median
from xml.etree import ElementTree

import nbformat
import pytest

from helpers.settings import ROOT

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
    [reading] = part(lesson, "Further reading")
    assert len(re.findall(r"^- .*\S", reading.source, re.MULTILINE)) >= 2


def test_cells_are_short_and_links_lead_somewhere(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(list(filter(str.strip, cell.source.splitlines()))) <= 12
        for target in re.findall(r"\]\(([^)#:]+\.(?:ipynb|svg))\)", cell.source):
            assert (ROOT / "notebooks" / target).exists(), target


def test_the_quick_start_is_short_and_easy_to_read(quick_start):
    cells = code(quick_start.cells)
    lines = [list(filter(str.strip, cell.source.splitlines())) for cell in cells]
    assert len(cells) <= 8 and max(map(len, lines)) <= 6 and median(map(len, lines)) <= 4
    assert max(len(line) for cell in lines for line in cell) <= 88
    comprehensions = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    for cell in cells:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, comprehensions):
                inside = [one for one in ast.walk(node) if isinstance(one, comprehensions)]
                assert inside == [node], ast.unparse(node)


def test_the_quick_start_needs_no_server_and_few_photos(quick_start):
    source = "\n".join(cell.source for cell in code(quick_start.cells))
    for word in ("services", "milvus", "redis", "store", "recipes", "study"):
        assert word not in source.lower()
    shown = "".join(str(output) for cell in code(quick_start.cells) for output in cell.outputs)
    (photos,) = re.findall(r"Used here: (\d+) of them", shown)
    assert int(photos) <= 60
    assert f"'ResNet50': ({photos}, 2048), 'VGG16': ({photos}, 512)" in shown


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_size(path):
    assert path.stat().st_size < 1_500_000
