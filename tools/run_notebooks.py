"""Execute every notebook in order, write the HTML pages and show the headline numbers.

`make run` calls this. `--update` also writes the executed notebooks back into `notebooks/`, which
is how the committed outputs are made.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import pages
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.utils import run_sync
from kernels import kernel_environment
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat.v4 import new_code_cell, new_notebook
from tqdm import tqdm

from helpers import adoption, conversion, extraction, results, services, weights
from helpers.datasets import ImageDataset, open_dataset
from helpers.files import remove_leftovers
from helpers.models import NETWORKS, EmbeddingModel
from helpers.progress import watched_stream
from helpers.settings import ROOT, NeedsLabels, TutorialError, exit_status, load_settings

START_SECONDS = 600  # a hang
CELL_SECONDS = 24 * 3600  # a hang; forty thousand photos take VGG16 two hours
STUCK = (
    f"A cell still ran after {CELL_SECONDS // 3600} hours and was stopped: run again, which goes "
    "on from what is done, or name a smaller folder of photos in DATASET."
)
DEAD = (
    "most often because memory ran out: close other programs or name a smaller folder of photos in "
    "DATASET, and run again, which goes on from what is done."
)
ARTICLE = ("resnet50", "vgg16")
QUICK_START = "00_quick_start"
GALLERY_AFTER = "02_extract_vectors"
CONVERT = """
from helpers import adoption, conversion
for model in adoption.chosen_models("article"):
    conversion.ensure_onnx(model)
"""


@exit_status
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write back into notebooks/")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # nbclient's tasks after a Ctrl-C
    everything = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    with services.temporary_services():
        if options.notebooks:
            return run(options.notebooks, options.update)
        return run(everything, options.update, gallery=True)


def run(notebooks: list[Path], update: bool, *, gallery: bool = False) -> int:
    """Execute the notebooks, show their pages as they come, and sum up. Returns the exit status."""
    dataset = open_dataset()
    print(dataset.banner(), flush=True)
    names = adoption.chosen()
    folder = load_settings().build_dir / "html"
    remove_leftovers(folder)
    chapters = [pages.chapter(path) for path in notebooks]
    written: list[pages.Page] = []
    ended, fetched, shown = {}, set(), None

    def write_index(running: str | None = None) -> None:
        notes = index_notes(pages.present(folder, chapters), chapters, ended, running)
        about = folder, dataset.banner(), chapters, headlines(results.results_of(dataset))
        pages.write_index(*about, shown, notes, going_on=running is not None)

    try:
        for number, path in enumerate(notebooks):
            fetch_weights(ARTICLE if path.stem == QUICK_START else [*ARTICLE, *names], fetched)
            notebook = nbformat.read(path, as_version=4)
            error, ended[path.stem] = execute_shown(notebook, path)
            written.append(pages.notebook_page(notebook, chapters[number]))
            for page in reversed(written):  # those before it may now lead to the new one
                pages.write_notebook(folder, page, chapters, dataset.skipped)
            if error:
                print(f"\n{error}\nThe page up to there: {located(folder / path.stem)}.html")
                return 1
            if update and not ended[path.stem]:
                write_clean(notebook, path)
            if gallery and path.stem == GALLERY_AFTER:
                models = adoption.chosen_models("article")
                convert_missing(models)
                shown = write_gallery(folder, dataset, models)
            for following in chapters[number + 1 : number + 2]:
                write_index(running=following.stem)
                if number == 0:
                    print(f"Pages so far: {located(folder / 'index.html')}", flush=True)
    finally:  # also after an error or a Ctrl-C, so that it does not wait for more
        if written:
            write_index()
    print_summary(dataset, folder)
    return 0


def execute_shown(notebook: nbformat.NotebookNode, path: Path) -> tuple[str | None, str]:
    """Execute a notebook and show a line with the seconds it took.

    Returns the error that ends the run, or None; and what the index says beside the notebook.
    """
    watched = watched_stream() is not None  # then a bar stands where the name will be
    print("" if watched else f"{path.stem:24}", end="", flush=True)
    started = time.monotonic()
    error = execute(notebook, path.parent, path.stem)
    print(f"{path.stem:24}" if watched else "", end="")
    seconds = f"{time.monotonic() - started:4.0f} s"
    if error is None:
        print(seconds, flush=True)
        return None, ""
    if error.startswith(NeedsLabels.__name__):
        print(f"{seconds}  stopped early. {error.partition(': ')[2]}", flush=True)
        return None, "stopped early"
    print(f"FAILED after {seconds}", flush=True)
    return error, "stopped with an error"


def fetch_weights(names: Iterable[str], fetched: set[str]) -> None:
    """Fetch what is not `fetched` yet, here where the terminal shows it."""
    for name in names:
        if name in NETWORKS and name not in fetched:
            weights.load_weights(name)
            fetched.add(name)


def index_notes(
    there: set[str],
    chapters: Sequence[pages.Chapter],
    ended: Mapping[str, str],
    running: str | None,
) -> dict[str, str]:
    """What the index says beside each notebook.

    there: stems of those that have a page, of this run or of an earlier one; ended: what there is
    to say of those that ran, by stem; running: stem of the one that runs now.
    """
    notes = dict(ended)
    for stem in (chapter.stem for chapter in chapters if chapter.stem not in ended):
        state = "running now" if stem == running else "" if stem in there else "not run yet"
        earlier = "page of an earlier run" if stem in there else ""
        notes[stem] = ", ".join(filter(None, (state, earlier)))
    return notes


def convert_missing(models: Sequence[EmbeddingModel]) -> None:
    """Convert those of MODELS that the gallery needs beside the article's pair.

    In a kernel of its own, as the notebooks have: TensorFlow would stay in this process. Raises
    TutorialError if it fails.
    """
    if all(conversion.is_current(conversion.onnx_path(model), model) for model in models):
        return
    notebook = new_notebook(cells=[new_code_cell(CONVERT)])
    error, _ = execute_shown(notebook, ROOT / "notebooks" / "more models")
    if error:
        raise TutorialError(error)


def write_gallery(
    folder: Path, dataset: ImageDataset, models: Sequence[EmbeddingModel]
) -> pages.Gallery:
    """The gallery of the models of MODELS, under the article's recipe where they have it."""
    vectors = {}
    for model in models:
        title = model.title if model.preset == "article" else f"{model.title} ({model.preset})"
        vectors[title] = extraction.extract(conversion.ensure_onnx(model), dataset.paths)
    return pages.write_gallery(folder, dataset, vectors)


def execute(notebook: nbformat.NotebookNode, folder: Path, label: str = "") -> str | None:
    """Run all cells in a fresh kernel; returns the error's last line, or None.

    A bar with this label shows the cells done, where someone watches.
    """
    # By default it lies in the home folder, which may not be writable.
    connection = TemporaryDirectory(ignore_cleanup_errors=True)
    kernel = AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),  # leaves this very Python
        connection_file=str(Path(connection.name) / "kernel.json"),
        transport_encryption="auto",
    )
    client = NotebookClient(notebook, km=kernel, **client_options(folder))
    cells = [(index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    stream = watched_stream()
    options = {"leave": False, "file": stream, "disable": stream is None}
    environment = kernel_environment(load_settings().build_dir)
    try:
        # client.execute() would take Ctrl-C for itself
        with (
            tqdm(cells, desc=f"{label:24}", unit=" cells", **options) as bar,
            client.setup_kernel(env=environment),
        ):
            for index, cell in bar:
                client.execute_cell(cell, index)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        return STUCK
    except RuntimeError as error:  # DeadKernelError is one; at the kernel's start it is a plain one
        return f"The process that runs the notebook died or did not start ({error}), {DEAD}"
    finally:
        if kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)
        connection.cleanup()
    return None


def client_options(folder: Path) -> dict[str, Any]:
    """How a notebook of this folder is run."""
    return {
        "timeout": CELL_SECONDS,
        "startup_timeout": START_SECONDS,
        "resources": {"metadata": {"path": str(folder)}},
        "coalesce_streams": True,
        "store_widget_state": False,
        "record_timing": False,
    }


def write_clean(notebook: nbformat.NotebookNode, path: Path) -> None:
    """The executed notebook, without the traces of this machine or of a kernel's widgets."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(pages.WIDGET, None)
    kernel = notebook.metadata.kernelspec
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


def headlines(measured: dict) -> list[tuple[str, str]]:
    """The numbers worth a glance, as far as this run has measured them."""
    rows = []
    for model, values in measured.get("conversion", {}).items():
        rows.append((f"{model}: lowest cosine, Keras to ONNX", f"{values['min_cosine']:.7f}"))
    for model, values in measured.get("extraction", {}).items():
        rows.append((f"{model}: photos per second", f"{values['photos_per_second']:.0f}"))
        ratio = values["ratio_to_article_loop"]
        rows.append((f"{model}: times the article's loop", f"{ratio:.1f}"))
    for model, values in measured.get("store", {}).items():
        rows.append((f"{model}: vectors in Milvus", f"{values['vectors']}"))
    if (overlap := measured.get("search", {}).get("overlap_at_10")) is not None:
        rows.append(("of ten results, both models share", f"{10 * overlap:.1f}"))
    for model, values in measured.get("evaluation", {}).items():
        if isinstance(values, dict) and "ndcg@10" in values:
            low, high = values["ndcg@10_ci"]
            score = f"{values['ndcg@10']:.3f} (95 %: {low:.3f} to {high:.3f})"
            rows.append((f"{model}: nDCG@10", score))
    return rows


def print_summary(dataset: ImageDataset, folder: Path) -> None:
    """The numbers worth a glance, and where pages and numbers are."""
    rows = headlines(results.results_of(dataset))
    width = max((len(label) for label, _ in rows), default=0)
    print()
    for label, value in rows:
        print(f"{label:{width}}  {value}")
    print(f"\nPages:   {located(folder / 'index.html')}")
    print(f"Numbers: {located(results.results_path())}")


def located(path: Path) -> Path:
    """A path for the terminal: relative inside the repository, else whole."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
