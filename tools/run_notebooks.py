"""Execute every notebook in order, write the HTML pages and show the headline numbers.

`make run` calls this. `--update` also writes the executed notebooks back into `notebooks/`, which
is how the committed outputs are made.
"""

from __future__ import annotations

import argparse
import html
import logging
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from helpers import results, services, weights
from helpers.datasets import open_dataset
from helpers.models import NETWORKS
from helpers.settings import ROOT, NeedsLabels, TutorialError, load_settings

CELL_SECONDS = 3600
KEPT_METADATA = ("kernelspec", "language_info")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Image search, two models side by side</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:17px/1.6 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}}
td,th{{text-align:left;padding:.2rem 1.5rem .2rem 0}}</style></head><body>
<h1>Image search, two models side by side</h1>
<p>{banner}</p><ol>{links}</ol><h2>Headline numbers</h2>
<table>{rows}</table></body></html>
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write back into notebooks/")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # nbclient's tasks after a Ctrl-C
    notebooks = options.notebooks or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    try:
        with services.temporary_services():
            return run(notebooks, options.update)
    except TutorialError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run again to go on: what is done is kept.", file=sys.stderr)
        return 130


def run(notebooks: list[Path], update: bool) -> int:
    """Prepare what the notebooks need, execute them, and sum up. Returns the exit status."""
    dataset = open_dataset()
    print(dataset.banner(), flush=True)
    for name in NETWORKS:
        weights.load_weights(name)
    pages = load_settings().build_dir / "html"
    pages.mkdir(parents=True, exist_ok=True)
    for path in notebooks:
        print(f"{path.stem:24}", end="", flush=True)
        started = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        error = execute(notebook, path.parent)
        write_page(notebook, pages / f"{path.stem}.html")
        seconds = f"{time.monotonic() - started:4.0f} s"
        if error and error.startswith(NeedsLabels.__name__):
            print(f"{seconds}  stopped early. {error.partition(': ')[2]}", flush=True)
            continue
        print(f"FAILED after {seconds}" if error else seconds, flush=True)
        if error:
            print(f"\n{error}\nThe page up to there: {located(pages / path.stem)}.html")
            return 1
        if update:
            write_clean(notebook, path)
    rows = headlines(results.load_results())
    write_index(pages, dataset.banner(), notebooks, rows)
    print_table(rows)
    print(f"\nPages:   {located(pages / 'index.html')}")
    print(f"Numbers: {located(results.results_path())}")
    return 0


def execute(notebook: nbformat.NotebookNode, folder: Path) -> str | None:
    """Run all cells in a fresh kernel; returns the error's last line, or None."""
    kernel = KernelManager(kernel_name="python3", transport_encryption="auto")
    client = NotebookClient(
        notebook,
        km=kernel,
        timeout=CELL_SECONDS,
        resources={"metadata": {"path": str(folder)}},
        coalesce_streams=True,
        store_widget_state=False,
        record_timing=False,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except Exception:
        if client.kc is None:  # nbclient takes Ctrl-C itself, closes the kernel, then trips here
            raise KeyboardInterrupt from None
        raise
    finally:
        if kernel.has_kernel:
            kernel.shutdown_kernel(now=True)
    return None


def write_page(notebook: nbformat.NotebookNode, page: Path) -> None:
    """One notebook as a page that needs no kernel."""
    body, _ = HTMLExporter(embed_images=True).from_notebook_node(
        notebook, {"metadata": {"name": page.stem}}
    )
    page.write_text(body)


def write_clean(notebook: nbformat.NotebookNode, path: Path) -> None:
    """The executed notebook, without the traces of this machine."""
    notebook.metadata = {key: notebook.metadata[key] for key in KEPT_METADATA}
    notebook.metadata.language_info = {"name": "python"}
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


def write_index(
    pages: Path, banner: str, notebooks: list[Path], rows: list[tuple[str, str]]
) -> None:
    """`index.html`: the notebooks' pages and the headline numbers."""
    titles = {path.stem: nbformat.read(path, as_version=4).cells[0].source for path in notebooks}
    links = "".join(
        f'<li><a href="{stem}.html">{html.escape(first_heading(source))}</a></li>'
        for stem, source in titles.items()
    )
    table = "".join(
        f"<tr><td>{html.escape(label)}</td><td>{html.escape(value)}</td></tr>"
        for label, value in rows
    )
    page = PAGE.format(banner=html.escape(banner), links=links, rows=table)
    (pages / "index.html").write_text(page)


def located(path: Path) -> Path:
    """A path for the terminal: relative inside the repository, else whole."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def first_heading(source: str) -> str:
    return source.splitlines()[0].lstrip("# ").partition("· ")[2] or source.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
