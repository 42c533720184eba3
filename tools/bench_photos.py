"""Run all notebooks on many photos: seconds of each notebook, peak memory of each process, and then
milliseconds of a search and of the explorer.

`make bench-scale` does so for 1 000, 5 000 and 20 000 photos; numbers on the command line choose
others. The photos of DATASET are repeated under other names, in COCO's layout with their boxes and
outlines. Vectors are kept under a photo's content, so each photo passes the networks once, before
the clock starts: what is measured is everything but converting and extracting. Prints a table and
writes `BUILD_DIR/bench_photos.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import helpers  # noqa: F401  before pymilvus, which reads MILVUS_URI and .env when imported

# isort: split
import numpy as np
import pandas as pd
import psutil
from PIL import Image

from helpers import adoption, results, search, services
from helpers.conversion import ensure_onnx
from helpers.datasets import ImageDataset, open_dataset
from helpers.explorer.widget import Explorer
from helpers.extraction import extract
from helpers.files import written_whole
from helpers.models import all_models
from helpers.settings import ROOT, exit_status, load_settings

SIZES = (1000, 5000, 20_000)
LINE = re.compile(r"^(\d\d_\w+) .*\d s\b")  # as run_notebooks.py prints it for each notebook
SECONDS_BETWEEN = 1  # reading the memory costs 50 ms of a core
QUERIES = 50


@exit_status
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, help="numbers of photos")
    sizes = parser.parse_args().sizes
    dataset, build, names = open_dataset(), load_settings().build_dir, adoption.chosen()
    for model in all_models():
        if model.name in names:
            extract(ensure_onnx(model), dataset.paths)
    measured = [measure(dataset, size, build) for size in sizes]
    about = {"dataset": results.about(dataset), "environment": results.environment()}
    with written_whole(build / "bench_photos.json") as part:
        part.write_text(json.dumps(about | {"sizes": measured}, indent=1) + "\n", encoding="utf-8")
    return int(any(one["failed"] for one in measured))


def measure(dataset: ImageDataset, size: int, build: Path) -> dict:
    """Run the notebooks on `size` photos in a build folder of their own, and show a table."""
    folder = build / "bench-photos" / str(size)
    shutil.rmtree(folder, ignore_errors=True)
    repeated(dataset, size, folder / "coco")
    for kept in ("models", "vectors"):
        shutil.copytree(build / kept, folder / "build" / kept)
    os.environ["BUILD_DIR"] = str(folder / "build")  # also for `running_services` here
    environment = os.environ | {"DATASET": str(folder / "coco"), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(ROOT / "tools/run_notebooks.py")]
    print(f"\n{size} photos, {len(dataset)} of them different")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as run:
        rows = watched(run)
    table = pd.DataFrame(rows).set_index("notebook")
    print(table.to_string(float_format=lambda value: f"{value:.0f}"))
    print(f"in all {table['seconds'].sum():.0f} s; most memory at once {table['all_mb'].max()} MB")
    gallery = folder / "build/html/gallery.html"
    measured = {
        "photos": size,
        "failed": run.returncode != 0,
        "notebooks": rows,
        "gallery_mb": round(gallery.stat().st_size / 1e6, 2) if gallery.exists() else None,
        "milliseconds": milliseconds(open_dataset(folder / "coco")),
    }
    print(pd.DataFrame(measured["milliseconds"]).T.to_string())
    shutil.rmtree(folder)
    return measured


def milliseconds(dataset: ImageDataset) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of one search, its ids and then its paths, and of the explorer."""
    asked = dataset.spread_rows(QUERIES)
    with services.temporary_services():
        servers = {"milvus": services.connect_milvus(), "redis": services.connect_redis()}
        found = {}
        for model in adoption.chosen_models("article"):
            stored = search.store_dataset(dataset, model, **servers)
            found[model.name] = percentiles(
                lambda row, stored=stored: search.search_stored(stored, stored.vectors[[row]], 10),
                asked,
            )
        explorer = Explorer(dataset)
        found["explorer"] = percentiles(lambda row: explorer.ask(dataset.records[row]), asked)
    return found


def percentiles(action: Callable[[int], object], rows: np.ndarray) -> dict[str, float]:
    """Milliseconds of `action` over the rows, the first of them asked once more to warm up."""
    lasted = []
    for row in (rows[0], *rows):
        started = time.perf_counter()
        action(row)
        lasted.append((time.perf_counter() - started) * 1000)
    p50, p95 = np.percentile(lasted[1:], [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def repeated(dataset: ImageDataset, size: int, folder: Path) -> None:
    """`size` photos in COCO's layout, links to those of `dataset`, with their annotations."""
    photos, names = folder / "val2017", {name: n for n, name in enumerate(dataset.categories, 1)}
    photos.mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    sizes = {record.id: Image.open(record.path).size for record in dataset}
    for number, record in enumerate(islice(cycle(dataset), size), start=1):
        path = photos / f"{number:012}{record.path.suffix}"
        os.link(record.path.resolve(), path)
        width, height = sizes[record.id]
        images.append({"id": number, "file_name": path.name, "width": width, "height": height})
        annotations += [
            {"id": len(annotations) + n, "image_id": number, "category_id": names[found.category]}
            | {"bbox": list(found.bbox), "iscrowd": 0, "area": found.bbox[2] * found.bbox[3]}
            for n, found in enumerate(dataset.annotations(record.id), start=1)
        ]
    categories = [{"id": id_, "name": name} for name, id_ in names.items()]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(whole), encoding="utf-8")


def watched(run: subprocess.Popen) -> list[dict]:
    """A row per notebook as it ends, with the peak megabytes of each kind of process meanwhile."""
    peaks: dict[str, float] = defaultdict(float)
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SECONDS_BETWEEN):
            for kind, megabytes in memory(run.pid).items():
                peaks[kind] = max(peaks[kind], megabytes)

    sampler = threading.Thread(target=sample)
    sampler.start()
    rows, started = [], time.monotonic()
    for line in run.stdout:
        print(line, end="", flush=True)
        if found := LINE.match(line):
            now = time.monotonic()
            rows.append(
                {"notebook": found[1], "seconds": round(now - started)}
                | {f"{kind}_mb": round(peaks[kind]) for kind in ("kernel", "milvus", "run", "all")}
            )
            peaks.clear()
            started = now
    ended.set()
    sampler.join()
    return rows


def memory(pid: int) -> dict[str, float]:
    """Resident megabytes now, by kind of process; pages that several share are divided by them."""
    servers = {service.pid: service.name for service in services.running_services()}
    found: dict[str, float] = defaultdict(float)
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return {}
    known = {process.pid for process in processes}
    processes += [psutil.Process(server) for server in servers if server not in known]
    for process in processes:
        try:
            full = process.memory_full_info()
            kind = "kernel" if "ipykernel" in " ".join(process.cmdline()) else "other"
        except psutil.Error:
            continue
        kind = servers.get(process.pid) or ("run" if process.pid == pid else kind)
        megabytes = getattr(full, "pss", full.rss) / 1e6
        found[kind] += megabytes
        found["all"] += megabytes
    return found


if __name__ == "__main__":
    sys.exit(main())
