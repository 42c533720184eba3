"""Photos with ids, paths and category labels: COCO's, the sample, or any folder."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import requests

from helpers.datasets.folders import open_folder
from helpers.datasets.records import Annotation, ImageDataset, ImageRecord
from helpers.settings import TutorialError, display_path, load_settings, typed_path

__all__ = ["Annotation", "ImageDataset", "ImageRecord", "open_dataset"]

LEAST_PHOTOS = 4
PROBE_TIMEOUT_S = 3


def open_dataset(name_or_path: str | Path | None = None) -> ImageDataset:
    """Open a dataset and check that every photo in it can be decoded.

    - `sample`: the rendered photos that come with the tutorial.
    - `coco`: the article's subset of COCO; what is missing is downloaded (`download.fetch_coco`).
    - `coco-val2017`: all 5 000 photos of that split, downloaded in the same way.
    - `auto`: `coco` if its server answers or its photos are here already, else `sample`.
    - a path: a folder with annotation files in COCO's form where tools put them, or any folder of
      photos, where the names of sub-folders are the labels. The README says what is read.
    - None: what the environment's DATASET says; then it must have at least 4 photos.

    Raises TutorialError, naming the file, if there is nothing usable, or an annotation file cannot
    be understood or leads out of the folder.
    """
    settings = load_settings()
    choice = name_or_path
    if not choice:
        dataset = open_dataset(settings.dataset)
        if len(dataset) < LEAST_PHOTOS:
            raise TutorialError(
                f"{dataset.name!r} has only {len(dataset)} usable photo(s), and the notebooks "
                f"compare at least {LEAST_PHOTOS}: add photos or set DATASET to another folder."
            )
        return dataset
    if choice == "auto":
        return _open_auto()
    if choice in ("coco", "coco-val2017"):
        from helpers.datasets.download import fetch_coco  # for COCO only

        return fetch_coco(everything=choice == "coco-val2017")
    if choice == "sample":
        folder = settings.data_dir / "sample"
        if not folder.is_dir():
            raise TutorialError(
                f"The sample photos are not in {display_path(folder)!r}: restore the folder from "
                "the tutorial's repository, or unset DATA_DIR."
            )
        return open_folder(folder, named="sample")
    return open_folder(typed_path(choice))


def _open_auto() -> ImageDataset:
    from helpers.datasets.download import coco_is_complete, fetch_coco, web_address

    base_url = web_address(load_settings().coco_base_url)
    host = urlsplit(base_url).netloc.rpartition("@")[2]
    if coco_is_complete():
        note = "DATASET=auto took COCO, which is on disk already."
    elif _answers(f"{base_url}/annotations/annotations_trainval2017.zip"):
        note = f"DATASET=auto took COCO from {host}."
    else:
        note = (
            f"DATASET=auto took the rendered sample: {host} does not serve COCO here "
            f"(asked for {PROBE_TIMEOUT_S} s)."
        )
        return replace(open_dataset("sample"), note=note)
    dataset = fetch_coco()
    return replace(dataset, note=f"{note} {dataset.note}".strip())


def _answers(url: str) -> bool:
    """Whether a file is served within three seconds, looking up the host's name included."""
    status = []

    def ask() -> None:
        with contextlib.suppress(requests.RequestException):
            reply = requests.head(url, timeout=PROBE_TIMEOUT_S, allow_redirects=False)
            status.append(reply.status_code)

    # A thread, because no timeout covers the name look-up; a daemon, so that one that hangs does
    # not keep the kernel from ending.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_S)
    return status == [200]
