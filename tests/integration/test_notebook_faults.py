"""Notebooks whose kernel dies, the same notebook run twice at once, and two runs at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from faults import (  # noqa: F401 (fixtures)
    BUILD_DIR,
    HANG_SECONDS,
    build_fixture,
    record_fault_fixture,
    until,
)
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import path_store, vector_store
from helpers.models import embedding_model
from helpers.services import connect_milvus, connect_redis, running_services
from helpers.settings import ROOT

NOTEBOOK = ROOT / "notebooks/03_store_vectors.ipynb"
STORES = "stores = {"  # how the cell that stores both models' vectors begins


@pytest.fixture
def sample(build, clean_settings) -> Path:
    """The sample, with its vectors as extracted before."""
    clean_settings.setenv("DATASET", "sample")
    for folder in (BUILD_DIR / "vectors").glob("*-article-*"):
        shutil.copytree(folder, build / "vectors" / folder.name)
    return build


def run_all(dying_after: str | None = None) -> None:
    """Execute the notebook in a kernel of its own; die like a killed kernel after that cell."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if dying_after is not None:
        cells = [cell for cell in notebook.cells if cell.source.startswith(dying_after)]
        assert len(cells) == 1
        cells[0].source += "\nimport os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    client = NotebookClient(
        notebook,
        timeout=HANG_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    client.execute()


def counted() -> dict[str, tuple[int, int]]:
    """Vectors in Milvus and paths in Redis per model."""
    milvus, redis = connect_milvus(), connect_redis()
    names = {model: ("sample", embedding_model(model)) for model in ("resnet50", "vgg16")}
    for name in names.values():
        milvus.load_collection(vector_store.collection_name(*name))
    return {
        model: (
            vector_store.count(milvus, vector_store.collection_name(*name)),
            path_store.count_paths(redis, path_store.paths_key(*name)),
        )
        for model, name in names.items()
    }


def assert_whole(build: Path) -> None:
    assert counted() == {"resnet50": (208, 208), "vgg16": (208, 208)}
    stored = json.loads((build / "results.json").read_text())["store"]
    assert {model: (found["vectors"], found["paths"]) for model, found in stored.items()} == (
        counted()
    )
    assert not [name for name in connect_milvus().list_collections() if "three" in name]


def test_kernel_dies_halfway_and_run_all_again(sample, record_fault):
    with pytest.raises(DeadKernelError):
        run_all(dying_after=STORES)
    run_all()
    assert_whole(sample)
    record_fault(
        fault="Kernel dies halfway through notebook 03",
        done="SIGKILL to the kernel after it had stored the vectors; Run All again",
    )


def test_the_same_notebook_runs_twice_at_once(sample, record_fault):
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(run_all) for _ in range(2)]:
            run.result()
    assert_whole(sample)
    record_fault(
        fault="The same notebook runs twice at once",
        done="notebook 03 in two kernels at the same time; both end well",
    )


def waiting(path: Path, says: Path, for_: Path) -> Path:
    """A notebook that uses both servers, makes the file `says`, waits, and uses them again."""
    cells = [
        "import time\nfrom pathlib import Path\nfrom helpers import services\n"
        "milvus, redis = services.connect_milvus(), services.connect_redis()",
        f"Path({str(says)!r}).touch()\nwhile not Path({str(for_)!r}).exists():\n"
        "    time.sleep(0.05)",
        "milvus.list_collections(), redis.ping()",
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [new_markdown_cell(f"# 1 · {path.stem}"), *map(new_code_cell, cells)]
    nbformat.write(notebook, path)
    return path


def test_a_run_ends_while_another_still_uses_its_servers(sample, tmp_path, record_fault):
    first_is_on, second_is_on, first_ended = (tmp_path / name for name in ("1", "2", "ended"))

    def start(*notebooks: Path) -> subprocess.Popen:
        command = [sys.executable, ROOT / "tools/run_notebooks.py", *notebooks]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, **pipes)

    first = start(waiting(tmp_path / "first.ipynb", first_is_on, second_is_on))
    until(first_is_on.exists, first)
    servers = running_services()
    second = start(waiting(tmp_path / "second.ipynb", second_is_on, first_ended), NOTEBOOK)
    assert first.wait(HANG_SECONDS) == 0, first.communicate()
    assert running_services() == servers and len(servers) == 2
    first_ended.touch()
    said, _ = second.communicate(timeout=HANG_SECONDS)
    assert second.returncode == 0, said
    assert running_services() == []
    assert_whole(sample)
    record_fault(
        fault="A run ends while another uses the embedded servers it started",
        done="two `make run` at once; the first to end leaves the servers, the last stops them",
    )
