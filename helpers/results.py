"""`build/results.json`: what a run measured, one section per step."""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib
import psutil

from helpers.datasets import ImageDataset
from helpers.files import locked, remove_leftovers, written_whole
from helpers.settings import TutorialError, display_path, load_settings

PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "pymilvus")
PACKAGES += ("milvus-lite", "redis", "numpy")


def results_path() -> Path:
    """The file the results are written to."""
    return load_settings().build_dir / "results.json"


def load_results() -> dict:
    """The results so far; empty before the first run.

    Raises TutorialError if the file is not JSON, or holds something else.
    """
    path = results_path()
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    except ValueError:
        pass
    raise TutorialError(f"{display_path(path)} holds no results as JSON; delete it and run again.")


def results_of(dataset: ImageDataset) -> dict:
    """The results so far on this dataset; empty where the file is of another, or of other photos.

    Raises TutorialError as `load_results` does.
    """
    results = load_results()
    return results if results.get("dataset") == about(dataset) else {}


def about(dataset: ImageDataset) -> dict:
    """What tells datasets apart in the file."""
    return {
        "name": dataset.name,
        "slug": dataset.slug,
        "photos": len(dataset),
        "categories": len(dataset.categories),
        "skipped": len(dataset.skipped),
        "skipped_by_reason": dataset.reasons,
        "ids_sha256": hashlib.sha256(repr(dataset.ids.tolist()).encode()).hexdigest()[:16],
    }


def record(dataset: ImageDataset, section: str, values: dict) -> None:
    """Write one section, beside those other notebooks wrote on the same dataset.

    Sections measured on another dataset, or on other photos of this one, are dropped, so the file
    never mixes two. NumPy numbers become plain ones; values are numbers with the unit in the key.
    """
    path = results_path()
    with locked(path.with_suffix(".lock")):
        remove_leftovers(path.parent)
        new = {"dataset": about(dataset), "environment": environment(), section: values}
        whole = results_of(dataset) | new
        with written_whole(path) as part:
            text = json.dumps(whole, indent=1, default=lambda number: number.item())
            part.write_text(text + "\n", encoding="utf-8")


def environment() -> dict:
    """The machine and the versions that the numbers belong to."""
    versions = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package.removesuffix("-cpu")] = version(package)
    return machine() | versions


def machine() -> dict:
    """Where something is measured; `cpus` are those that this process may use."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cpus": joblib.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
    }


def processor() -> str:
    """The processor's name, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or "unknown"
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
