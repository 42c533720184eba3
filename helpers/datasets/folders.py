"""Folders of photos, plain or in COCO's layout, and the check that every photo decodes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib

from helpers.datasets.annotations import read_split
from helpers.datasets.records import Annotation, ImageDataset, ImageRecord
from helpers.files import written_whole
from helpers.images import open_photo
from helpers.progress import track
from helpers.settings import TutorialError, display_path, load_settings

PHOTO_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg")
    + (".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""Of files in plain folders. Pillow cannot read HEIC: such files are listed to be reported."""


def open_folder(folder: Path) -> ImageDataset:
    if not folder.is_dir():
        raise TutorialError(
            f"There is no folder {display_path(folder)!r}: set DATASET to auto, coco, sample or "
            "the path of a folder of photos."
        )
    slug = f"{slug_of(folder.name)}_{digest(folder.as_posix())}"
    if any(folder.glob("annotations/instances_*.json")):
        return open_coco_layout(folder, name=folder.name, slug=slug)
    records = []
    for path in _photo_files(folder):
        relative = path.relative_to(folder)
        labels = frozenset(relative.parts[:-1][:1])
        records.append(ImageRecord(_path_id(relative.as_posix()), path, labels))
    return checked_dataset(folder, records, name=folder.name, slug=slug)


def _photo_files(folder: Path) -> list[Path]:
    """All photos below a folder by relative path, hidden files and folders left out."""
    found = []
    for parent, folder_names, file_names in os.walk(folder, onerror=_raise):
        folder_names[:] = [name for name in folder_names if not name.startswith(".")]
        for name in folder_names:  # a link within the folder is not walked: its photos are known
            _inside(Path(parent, name), folder)
        for name in file_names:
            path = Path(parent, name)
            if path.suffix.lower() in PHOTO_SUFFIXES and not name.startswith("."):
                found.append(_inside(path, folder))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _raise(error: OSError) -> None:
    raise TutorialError(
        f"The folder {display_path(Path(error.filename))!r} cannot be read: {error.strerror}; "
        "change its permissions or move it out of the dataset."
    ) from error


def _path_id(relative: str) -> int:
    """Positive 63-bit id of a photo: the first bits of the SHA-256 of its relative path."""
    try:
        digest = hashlib.sha256(relative.encode()).digest()
    except UnicodeEncodeError as error:
        raise TutorialError(
            f"The file name {relative!a} is not valid UTF-8: rename the file."
        ) from error
    return int.from_bytes(digest[:8]) >> 1


def _inside(path: Path, folder: Path) -> Path:
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise TutorialError(
            f"{display_path(path)!r} is a link that leads out of {folder.name!r}: replace it by "
            "the photos it points to, or remove it."
        )
    return path


def slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "photos"


def digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


def open_coco_layout(folder: Path, name: str, slug: str) -> ImageDataset:
    files = sorted(folder.glob("annotations/instances_*.json"))
    if not files:
        raise TutorialError(
            f"{display_path(folder)!r} has no annotations/instances_*.json: restore the folder."
        )
    records, objects = [], {}
    for file in files:
        _inside(file.parent, folder)
        split = read_split(_inside(file, folder))
        if not _inside(split.folder, folder).is_dir():
            raise TutorialError(
                f"{display_path(file)!r} describes photos in {display_path(split.folder)!r}, "
                "which is not there: add that folder or move the annotation file away."
            )
        records += [split.record(image_id) for image_id in split.file_names]
        objects |= split.objects
    records.sort(key=lambda record: record.id)
    return checked_dataset(folder, records, name=name, slug=slug, objects=objects)


def checked_dataset(
    folder: Path,
    records: Sequence[ImageRecord],
    *,
    name: str,
    slug: str,
    note: str = "",
    objects: Mapping[int, tuple[Annotation, ...]] | None = None,
    progress: bool = True,
) -> ImageDataset:
    """The dataset of all records whose photo decodes; the others become `skipped`."""
    _check_ids(records)
    problems = check_photos(folder, [r.path for r in records], slug=slug, progress=progress)
    usable = tuple(record for record in records if record.path not in problems)
    if not usable:
        reason = next(iter(problems.values()), "no file in it has a photo's suffix such as .jpg")
        raise TutorialError(
            f"{display_path(folder)!r} holds no usable photo ({reason.rstrip('.')}): "
            "put photos there or set DATASET to another folder."
        )
    return ImageDataset(name, slug, usable, tuple(problems.items()), note, objects or {})


def _check_ids(records: Iterable[ImageRecord]) -> None:
    seen: dict[int, Path] = {}
    for record in records:
        if other := seen.get(record.id):
            raise TutorialError(
                f"{display_path(other)!r} and {display_path(record.path)!r} have the same id "
                f"{record.id}: rename or remove one of them."
            )
        seen[record.id] = record.path


def check_photos(
    folder: Path, paths: Sequence[Path], *, slug: str, progress: bool
) -> dict[Path, str]:
    """Decode every photo, except those found good and unchanged since. Path → what is wrong.

    One that failed is looked at again, since what was wrong may leave no trace in size and time,
    as permissions do.
    """
    cache_file = load_settings().build_dir / "checked" / f"{slug}.json"
    try:
        good = dict(json.loads(cache_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # never written, or damaged: check everything again
        good = {}

    def check(path: Path) -> tuple[list, str | None]:
        try:
            stat = _inside(path, folder).stat()
        except OSError as error:
            return [], f"the file is listed but cannot be found ({error.strerror})"
        state = [stat.st_size, stat.st_mtime_ns]
        try:
            if good.get(path.relative_to(folder).as_posix()) != state:
                open_photo(path)
        except TutorialError as error:
            return state, str(error)
        return state, None

    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        checks = pool.map(check, paths)
        checks = track(checks, total=len(paths), unit="photos", label="checking", enabled=progress)
        results = dict(zip(paths, checks, strict=True))
    good = {
        path.relative_to(folder).as_posix(): state
        for path, (state, reason) in results.items()
        if not reason
    }
    with written_whole(cache_file) as part:
        part.write_text(json.dumps(good), encoding="utf-8")
    return {path: reason for path, (_, reason) in results.items() if reason}
