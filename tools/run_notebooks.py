"""Execute every notebook in order, write the HTML pages and show the headline numbers.

`make run` calls this. `--update` also writes the executed notebooks back into `notebooks/`, which
is how the committed outputs are made.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

import nbformat
import pages
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from tqdm import tqdm

from helpers import conversion, extraction, results, services, weights
from helpers.datasets import ImageDataset, open_dataset
from helpers.models import NETWORKS, embedding_model
from helpers.progress import watched_stream
from helpers.settings import ROOT, NeedsLabels, TutorialError, load_settings

CELL_SECONDS = 24 * 3600  # a hang; forty thousand photos take VGG16 two hours
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write back into notebooks/")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # nbclient's tasks after a Ctrl-C
    everything = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    try:
        with services.temporary_services():
            if options.notebooks:
                return run(options.notebooks, options.update)
            return run(everything, options.update, gallery=True)
    except TutorialError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run again to go on: what is done is kept.", file=sys.stderr)
        return 130


def run(notebooks: list[Path], update: bool, *, gallery: bool = False) -> int:
    """Prepare what the notebooks need, execute them, and sum up. Returns the exit status."""
    dataset = open_dataset()
    print(dataset.banner(), flush=True)
    for name in NETWORKS:
        weights.load_weights(name)
    folder = load_settings().build_dir / "html"
    chapters = [pages.chapter(path) for path in notebooks]
    for path in notebooks:
        watched = watched_stream() is not None  # then a bar stands where the name will be
        print("" if watched else f"{path.stem:24}", end="", flush=True)
        started = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        error = execute(notebook, path.parent, path.stem)
        early = error is not None and error.startswith(NeedsLabels.__name__)
        stops = error is not None and not early
        pages.write_notebook(folder, notebook, path.stem, chapters, last=stops)
        print(f"{path.stem:24}" if watched else "", end="")
        seconds = f"{time.monotonic() - started:4.0f} s"
        if early:
            print(f"{seconds}  stopped early. {error.partition(': ')[2]}", flush=True)
            continue
        print(f"FAILED after {seconds}" if stops else seconds, flush=True)
        if stops:
            print(f"\n{error}\nThe page up to there: {located(folder / path.stem)}.html")
            return 1
        if update:
            write_clean(notebook, path)
    rows = headlines(results.load_results())
    shown = write_gallery(folder, dataset) if gallery else None
    pages.write_index(folder, dataset.banner(), chapters, rows, shown)
    print_table(rows)
    print(f"\nPages:   {located(folder / 'index.html')}")
    print(f"Numbers: {located(results.results_path())}")
    return 0


def write_gallery(folder: Path, dataset: ImageDataset) -> pages.Gallery:
    """The gallery of the article's two models, from the vectors that the notebooks extracted."""
    vectors = {
        embedding_model(name).title: extraction.extract(
            conversion.onnx_model(name), dataset.paths, progress=False
        )
        for name in ("resnet50", "vgg16")
    }
    return pages.write_gallery(folder, dataset, vectors)


def execute(notebook: nbformat.NotebookNode, folder: Path, label: str = "") -> str | None:
    """Run all cells in a fresh kernel; returns the error's last line, or None.

    A bar with this label shows the cells done, where someone watches.
    """
    kernel = AsyncKernelManager(kernel_name="python3", transport_encryption="auto")
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=CELL_SECONDS,
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        store_widget_state=False,
        record_timing=False,
    )
    cells = [(index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    stream = watched_stream()
    bar = tqdm(
        cells,
        desc=f"{label:24}",
        unit=" cells",
        leave=False,
        file=stream,
        disable=stream is None,
    )
    try:
        with bar, client.setup_kernel():  # client.execute() would take Ctrl-C for itself
            for index, cell in bar:
                client.execute_cell(cell, index)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        return (
            f"A cell still ran after {CELL_SECONDS // 3600} hours and was stopped: run again, "
            "which goes on from what is done, or name a smaller folder of photos in DATASET."
        )
    except DeadKernelError:
        return (
            "The process that runs the notebook died, most often because memory ran out: close "
            "other programs or name a smaller folder of photos in DATASET, and run again, which "
            "goes on from what is done."
        )
    finally:
        if kernel.has_kernel:
            run_sync(kernel.shutdown_kernel)(now=True)
    return None


def write_clean(notebook: nbformat.NotebookNode, path: Path) -> None:
    """The executed notebook, without the traces of this machine or of a kernel's widgets."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
    kernel = notebook.metadata.kernelspec
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    nbformat.write(notebook, path)


def headlines(found: dict) -> list[tuple[str, str]]:
    """The numbers worth a glance, as far as this run has measured them."""
    rows = []
    for model, values in found.get("conversion", {}).items():
        rows.append((f"{model}: lowest cosine, Keras to ONNX", f"{values['min_cosine']:.7f}"))
    for model, values in found.get("extraction", {}).items():
        rows.append((f"{model}: photos per second", f"{values['photos_per_second']:.0f}"))
        ratio = values["ratio_to_article_loop"]
        rows.append((f"{model}: times the article's loop", f"{ratio:.1f}"))
    for model, values in found.get("store", {}).items():
        rows.append((f"{model}: vectors in Milvus", f"{values['vectors']}"))
    if (overlap := found.get("search", {}).get("overlap_at_10")) is not None:
        rows.append(("of ten results, both models share", f"{10 * overlap:.1f}"))
    for model, values in found.get("evaluation", {}).items():
        if isinstance(values, dict) and "ndcg@10" in values:
            low, high = values["ndcg@10_ci"]
            score = f"{values['ndcg@10']:.3f} (95 %: {low:.3f} to {high:.3f})"
            rows.append((f"{model}: nDCG@10", score))
    return rows


def print_table(rows: list[tuple[str, str]]) -> None:
    width = max((len(label) for label, _ in rows), default=0)
    print()
    for label, value in rows:
        print(f"{label:{width}}  {value}")


def located(path: Path) -> Path:
    """A path for the terminal: relative inside the repository, else whole."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main())
