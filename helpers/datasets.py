"""Photos with ids, paths and category labels: COCO-layout folders, COCO's server, plain folders."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import sys
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import quote, urlsplit

import joblib
import numpy as np
import requests
import urllib3
from pycocotools import mask as coco_mask
from remotezip import RemoteIOError, RemoteZip, RemoteZipError
from requests.adapters import HTTPAdapter

from helpers.files import remove_leftovers, written_whole
from helpers.images import MOST_PIXELS, open_photo
from helpers.neighbours import proxy_variable
from helpers.progress import track
from helpers.settings import (
    COCO_BASE_URL,
    TutorialError,
    display_path,
    load_settings,
    typed_path,
    web_masked,
)

ANIMALS = ("bear", "bird", "cat", "dog", "giraffe", "horse", "sheep", "zebra")
"""The classes of the article's photos."""

PHOTO_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg")
    + (".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""Of files in plain folders. Pillow cannot read HEIC: such files are listed to be reported."""
COCO_SPLITS = ("train2017", "val2017")
LEAST_PHOTOS = 4
CONNECTIONS = 8
ATTEMPTS = 4
BACKOFF_S = 0.5
TIMEOUT_S = (5, 30)  # to connect, between two packets
PROBE_TIMEOUT_S = 3
MIB = 2**20
PHOTO_BYTES = 64 * MIB  # COCO's largest has 1
ANNOTATION_BYTES = 2048 * MIB  # COCO's largest unpacks to 450
OUTLINE_PIXELS = 2 * MIB  # pycocotools takes 100 bytes for each, and crashes where it gets none


@dataclass(frozen=True)
class ImageRecord:
    """One photo: positive 63-bit id, absolute path, names of the categories seen in it."""

    id: int
    path: Path
    labels: frozenset[str]


@dataclass(frozen=True)
class Annotation:
    """One object in a photo, as COCO describes it."""

    category: str
    bbox: tuple[float, float, float, float]
    """x, y of the upper left corner, width, height; in pixels."""
    photo_size: tuple[int, int]
    """Height and width of the photo, in pixels."""
    segmentation: list | dict | None = field(repr=False)
    """Polygons or run lengths, in COCO's form, unchecked; None if the file has no outline."""
    file: Path = field(repr=False)
    """The annotation file it comes from."""

    def mask(self) -> np.ndarray:
        """The object's pixels: bool [height, width].

        Raises TutorialError without an outline, and for one that is not in COCO's form.
        """
        if not self.segmentation:
            raise TutorialError(
                f"This {self.category} has no outline: its annotation file gives only boxes; "
                "use `bbox` instead."
            )
        draw = _runs_mask if isinstance(self.segmentation, dict) else _polygons_mask
        try:
            return draw(self.segmentation, self.photo_size)
        except ValueError as error:
            raise TutorialError(
                f"{display_path(self.file)!r} has a {self.category} in the box {self.bbox} whose "
                f"outline {error}: replace the file by an intact one."
            ) from error


@dataclass(frozen=True)
class ImageDataset:
    """Photos in a stable order: by id in COCO layouts, by relative path in plain folders."""

    name: str
    """As shown to the reader, such as `sample` or `coco-val2017-animals`."""
    slug: str
    """[a-z0-9_]+, different for every dataset; names files and collections made from it."""
    records: tuple[ImageRecord, ...] = field(repr=False)
    skipped: tuple[tuple[Path, str], ...] = ()
    """Photos that are listed but cannot be used, each with the reason."""
    note: str = ""
    """What the reader should know about the choice of the photos."""
    objects: Mapping[int, tuple[Annotation, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.records)

    @property
    def paths(self) -> list[Path]:
        """The photos' absolute paths, in the order of the records."""
        return [record.path for record in self.records]

    @cached_property
    def by_id(self) -> dict[int, ImageRecord]:
        """Id → record."""
        return {record.id: record for record in self.records}

    def spread_rows(self, most: int) -> np.ndarray:
        """Rows of at most `most` of the photos, evenly spread: int64 [min(most, photos)]."""
        return np.linspace(0, len(self) - 1, min(len(self), most)).astype(np.int64)

    def spread(self, most: int) -> ImageDataset:
        """The photos of `spread_rows` as a dataset of its own; this one, if it has no more."""
        if len(self) <= most:
            return self
        records = tuple(self.records[row] for row in self.spread_rows(most))
        return replace(self, slug=f"{self.slug}_{most}_spread", records=records)

    @cached_property
    def categories(self) -> dict[str, int]:
        """Label → number of photos that have it, sorted by label."""
        return dict(sorted(Counter(label for r in self.records for label in r.labels).items()))

    def annotations(self, image_id: int) -> list[Annotation]:
        """The objects outlined in a photo; none in a plain folder. KeyError for an unknown id."""
        return list(self.objects.get(self.by_id[image_id].id, ()))

    def banner(self) -> str:
        """One or two lines for the top of a notebook."""
        lines = [
            f"Dataset {self.name}: {len(self)} photos, {len(self.categories)} categories.",
            self.note,
        ]
        if self.skipped:
            names = ", ".join(path.name for path, _ in self.skipped[:3])
            more = ", …" if len(self.skipped) > 3 else ""
            lines[1] += f" {len(self.skipped)} skipped: {names}{more}."
        return "\n".join(line.strip() for line in lines if line)


def open_dataset(name_or_path: str | Path | None = None) -> ImageDataset:
    """Open a dataset and check that every photo in it can be decoded.

    - `sample`: the rendered photos that come with the tutorial.
    - `coco`: the article's subset of COCO; what is missing is downloaded (see `fetch_coco`).
    - `coco-val2017`: all 5 000 photos of that split, downloaded in the same way.
    - `auto`: `coco` if its server answers or its photos are here already, else `sample`.
    - a path: a folder in COCO's layout (`annotations/instances_<split>.json` and `<split>/`; all
      splits are taken) or any folder of photos, where the first sub-folder's name is the label.
    - None: what the environment's DATASET says; then it must have at least 4 photos.

    Raises TutorialError, naming the file, if there is nothing usable or a file contradicts itself.
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
    if choice == "coco":
        return fetch_coco()
    if choice == "coco-val2017":
        return fetch_coco("all")
    if choice == "sample":
        folder = settings.data_dir / "sample"
        if not folder.is_dir():
            raise TutorialError(
                f"The sample photos are not in {display_path(folder)!r}: restore the folder from "
                "the tutorial's repository, or unset DATA_DIR."
            )
        return _open_coco_layout(folder, name="sample", slug="sample")
    return _open_folder(typed_path(choice))


# Folders -------------------------------------------------------------------------------------


def _open_folder(folder: Path) -> ImageDataset:
    if not folder.is_dir():
        raise TutorialError(
            f"There is no folder {display_path(folder)!r}: set DATASET to auto, coco, sample or "
            "the path of a folder of photos."
        )
    slug = f"{_slug(folder.name)}_{_digest(folder.as_posix())}"
    if any(folder.glob("annotations/instances_*.json")):
        return _open_coco_layout(folder, name=folder.name, slug=slug)
    records = []
    for path in _photo_files(folder):
        relative = path.relative_to(folder)
        labels = frozenset(relative.parts[:-1][:1])
        records.append(ImageRecord(_path_id(relative.as_posix()), path, labels))
    return _checked_dataset(folder, records, name=folder.name, slug=slug)


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


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "photos"


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


# COCO's layout -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Split:
    """One annotation file, checked: everything in it by image id."""

    folder: Path
    file_names: dict[int, str]
    objects: dict[int, tuple[Annotation, ...]]
    category_names: frozenset[str]

    def record(self, image_id: int) -> ImageRecord:
        labels = frozenset(annotation.category for annotation in self.objects[image_id])
        return ImageRecord(image_id, self.folder / self.file_names[image_id], labels)


def _open_coco_layout(folder: Path, name: str, slug: str) -> ImageDataset:
    files = sorted(folder.glob("annotations/instances_*.json"))
    if not files:
        raise TutorialError(
            f"{display_path(folder)!r} has no annotations/instances_*.json: restore the folder."
        )
    records, objects = [], {}
    for file in files:
        _inside(file.parent, folder)
        split = _read_split(_inside(file, folder))
        if not _inside(split.folder, folder).is_dir():
            raise TutorialError(
                f"{display_path(file)!r} describes photos in {display_path(split.folder)!r}, "
                "which is not there: add that folder or move the annotation file away."
            )
        records += [split.record(image_id) for image_id in split.file_names]
        objects |= split.objects
    records.sort(key=lambda record: record.id)
    return _checked_dataset(folder, records, name=name, slug=slug, objects=objects)


def _read_split(file: Path) -> _Split:
    """Read and check `annotations/instances_<split>.json`; its photos belong into `<split>/`."""

    def wrong(what: str) -> TutorialError:
        return TutorialError(f"{display_path(file)!r} {what}: replace the file by an intact one.")

    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = {c["id"]: str(c["name"]) for c in content["categories"]}
        images = [(i["id"], i["file_name"], (i["height"], i["width"])) for i in content["images"]]
        annotations = [
            (a["image_id"], a["category_id"], tuple(a["bbox"]), a.get("segmentation"))
            for a in content["annotations"]
        ]
    except OSError as error:
        raise wrong(f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise wrong(f"is not valid JSON ({error})") from error
    except RecursionError as error:
        raise wrong("is nested too deep") from error
    except KeyError as error:
        raise wrong(f"lacks the key {error}") from error
    except (TypeError, AttributeError) as error:
        raise wrong(f"does not have the form of a COCO annotation file ({error})") from error

    file_names: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for image_id, file_name, size in images:
        if type(image_id) is not int or not 0 <= image_id < 2**63:
            raise wrong(f"has the image id {image_id!r}, which is no 63-bit integer")
        if image_id in file_names:
            raise wrong(f"lists the image id {image_id} twice")
        if not _is_plain_name(file_name):
            raise wrong(f"lists {file_name!r}, which is not the plain name of a file")
        if not all(type(pixels) is int and pixels > 0 for pixels in size):
            raise wrong(f"gives the image {image_id} the size {size}")
        if math.prod(size) > MOST_PIXELS:
            raise wrong(f"gives the image {image_id} the size {size}, more than 178 megapixels")
        file_names[image_id], sizes[image_id] = file_name, size
    (file_name, count), *_ = Counter(file_names.values()).most_common(1) or [("", 0)]
    if count > 1:
        raise wrong(f"lists the file {file_name!r} {count} times")

    objects: dict[int, list[Annotation]] = {image_id: [] for image_id in file_names}
    for image_id, category_id, bbox, segmentation in annotations:
        if type(image_id) is not int or image_id not in objects:
            raise wrong(f"has an annotation for the unknown image {image_id!r}")
        if type(category_id) is not int or category_id not in names:
            raise wrong(f"has an annotation of the unknown category {category_id!r}")
        if len(bbox) != 4 or not all(map(_is_finite, bbox)):
            raise wrong(f"has an annotation of image {image_id} with the box {bbox}")
        annotation = Annotation(names[category_id], bbox, sizes[image_id], segmentation, file)
        objects[image_id].append(annotation)
    return _Split(
        folder=file.parents[1] / file.stem.removeprefix("instances_"),
        file_names=file_names,
        objects={image_id: tuple(found) for image_id, found in objects.items()},
        category_names=frozenset(names.values()),
    )


def _is_plain_name(name: object) -> bool:
    """Whether a name stays in its folder on every system: no separator, drive, `..` or NUL."""
    return (
        isinstance(name, str)
        and not re.search("[\ud800-\udfff]", name)  # no file can be called that
        and name not in {"", ".", ".."}
        and "\0" not in name
        and PurePosixPath(name).name == PureWindowsPath(name).name == name
    )


def _is_finite(value: object) -> bool:
    """Whether a value out of JSON is a number that fits a float."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _polygons_mask(polygons: object, photo_size: tuple[int, int]) -> np.ndarray:
    """Polygons [x, y, x, y, …] as pycocotools draws them: bool [height, width].

    It does not check what it is given, and what is too large ends the process. Corners further out
    than the photo's longer side are therefore moved in to there: still where no pixel is.

    Raises ValueError, saying what is wrong.
    """
    side, length, outlines = max(photo_size), 0.0, []
    for polygon in polygons if isinstance(polygons, list) else [polygons]:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("is no list of polygons with three or more corners")
        if not all(map(_is_finite, polygon)):
            raise ValueError("has a corner that is no pair of finite numbers")
        corners = np.array(polygon, float).reshape(-1, 2)
        corners = corners.clip(-side, 2 * side)
        length += np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum()
        outlines.append(corners.ravel().tolist())
    if length > OUTLINE_PIXELS:
        raise ValueError(f"is more than {OUTLINE_PIXELS} pixels long")
    mask = coco_mask.merge(coco_mask.frPyObjects(outlines, *photo_size))
    return coco_mask.decode(mask).astype(bool)


def _runs_mask(runs: dict, photo_size: tuple[int, int]) -> np.ndarray:
    """COCO's run lengths, down the columns, outside first: bool [height, width].

    Raises ValueError, saying what is wrong.
    """
    height, width = photo_size
    counts = runs.get("counts")
    if isinstance(counts, str):
        counts = _uncompressed(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError("is neither polygons nor run lengths")
    if runs.get("size") != [height, width] or sum(counts) != height * width:
        raise ValueError(f"has run lengths for another size than the photo's {photo_size}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def _uncompressed(text: str) -> list[int]:
    """Run lengths out of COCO's compressed form: 5 bits of a number in a character, lowest first.

    From the third on each is the difference to the one before the last. Raises ValueError.
    """
    if not re.fullmatch("([P-o]{0,6}[0-O])*", text):
        raise ValueError("has compressed run lengths that are damaged")
    counts, value, shift = [], 0, 0
    for bits in (ord(character) - ord("0") for character in text):
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # the number goes on
            continue
        if bits & 16:  # it is negative
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    return counts


# Checking ------------------------------------------------------------------------------------


def _checked_dataset(
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
    problems = _check_photos(folder, [r.path for r in records], slug=slug, progress=progress)
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


def _check_photos(
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


# COCO's server -------------------------------------------------------------------------------


def fetch_coco(
    classes: Sequence[str] = ANIMALS,
    per_class: int = 25,
    split: str = "val2017",
    base_url: str | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> ImageDataset:
    """A subset of COCO; annotations and photos that are not on disk yet are downloaded.

    For each class in turn the `per_class` photos with the lowest ids that show it and are not yet
    taken; `classes="all"` takes the whole split. `base_url` (default: COCO_BASE_URL) serves
    `annotations/annotations_trainval2017.zip`, of which only the split's part is read, and
    `<split>/<file_name>`. `folder` (default: `coco` in DATA_DIR) keeps what was fetched in the
    same layout.

    Raises TutorialError if the server fails or sends something else, when running again resumes,
    and for a selection or an address that cannot be.
    """
    settings = load_settings()
    base_url = _web_address(base_url or settings.coco_base_url)
    folder = typed_path(folder or settings.data_dir / "coco")
    if split not in COCO_SPLITS:
        raise TutorialError(f"COCO has no split {split!r}: use one of {', '.join(COCO_SPLITS)}.")
    file = folder / "annotations" / f"instances_{split}.json"
    for place in (file.parent, folder / split):
        remove_leftovers(place)
    with _session() as session:
        if not file.is_file():
            _fetch_annotations(session, base_url, file, progress)
        selection = _select(_read_split(file), classes, per_class)
        problems = _check_photos(
            folder, [r.path for r in selection.records], slug=selection.slug, progress=progress
        )
        _fetch_photos(session, base_url, sorted(problems), progress)
    return _checked_dataset(
        folder,
        selection.records,
        name=selection.name,
        slug=selection.slug,
        note=selection.note,
        objects=selection.objects,
        progress=progress,
    )


def _select(split: _Split, classes: Sequence[str], per_class: int) -> ImageDataset:
    """The photos a selection names, by id, before they are known to exist."""
    taken: set[int] = set()
    short = []
    if classes == "all":
        kind, taken = "all", set(split.file_names)
    else:
        classes = (classes,) if isinstance(classes, str) else tuple(classes)
        if unknown := [name for name in classes if name not in split.category_names]:
            raise TutorialError(
                f"COCO has no class {unknown[0]!r}: use "
                f"{', '.join(sorted(split.category_names))} or classes='all'."
            )
        if per_class < 1 or not classes:
            raise TutorialError("Select at least one class and one photo per class.")
        animals = classes == ANIMALS and per_class == 25
        kind = "animals" if animals else f"{'-'.join(classes)}-{per_class}"
        by_id = [split.record(image_id) for image_id in sorted(split.file_names)]
        for name in classes:
            having = [r.id for r in by_id if name in r.labels and r.id not in taken][:per_class]
            taken.update(having)
            if len(having) < per_class:
                short.append(f"{name} {len(having)}")
    ids = sorted(taken)
    name = f"coco-{split.folder.name}-{kind}"
    note = f"Fewer than {per_class} photos each of: {', '.join(short)}." if short else ""
    return ImageDataset(
        name=name,
        slug=f"{_slug(name)}_{_digest(str(ids))}",
        records=tuple(split.record(image_id) for image_id in ids),
        note=note,
        objects={image_id: split.objects[image_id] for image_id in ids},
    )


def _web_address(url: str) -> str:
    """An address that begins with http(s)://host, without a trailing slash, or a TutorialError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.port != 0
        usable = usable and bool(parts.hostname and parts.hostname.encode("idna"))
    except ValueError:
        usable = False
    if not usable:  # not shown, because where its password begins is not known
        raise TutorialError(
            "COCO_BASE_URL is not the address of a web server: set it to one such as "
            f"{COCO_BASE_URL}, which begins with http:// or https://, or unset it."
        )
    return url.rstrip("/")


def _session() -> requests.Session:
    """A session that tries again, more and more slowly, and follows no redirect."""
    retry = urllib3.Retry(
        total=ATTEMPTS,
        backoff_factor=BACKOFF_S,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # JPEG and zip are compressed already
    adapter = HTTPAdapter(max_retries=retry, pool_maxsize=CONNECTIONS)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _fetch_annotations(
    session: requests.Session, base_url: str, file: Path, progress: bool
) -> None:
    """Read one member out of the remote archive by range requests (5 of 241 MB for val2017)."""
    url = f"{base_url}/annotations/annotations_trainval2017.zip"
    member = f"annotations/{file.name}"
    try:
        with (
            written_whole(file) as part,
            RemoteZip(url, session=session, timeout=TIMEOUT_S, allow_redirects=False) as archive,
            archive.open(member) as source,
            part.open("wb") as target,
        ):
            size = archive.getinfo(member).file_size  # no more than that is unpacked
            if size > ANNOTATION_BYTES:
                raise zipfile.BadZipFile(f"{member} unpacks to {size // MIB} MiB")
            pieces = math.ceil(size / MIB)
            blocks = iter(partial(source.read, MIB), b"")
            for block in track(
                blocks, total=pieces, unit="MiB", label="annotations", enabled=progress
            ):
                target.write(block)
    except (
        OSError,
        urllib3.exceptions.HTTPError,
        RemoteZipError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
    ) as error:
        raise _fetch_error(url, error, "nothing is kept") from None


def _fetch_photos(
    session: requests.Session, base_url: str, paths: Sequence[Path], progress: bool
) -> None:
    """Fetch photos to `<folder>/<split>/<name>`, eight at a time; the first failure ends it."""

    def url(path: Path) -> str:
        return f"{base_url}/{path.parent.name}/{quote(path.name)}"

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        pending = {pool.submit(_fetch_photo, session, url(path), path): path for path in paths}
        done = 0
        try:
            for future in track(
                as_completed(pending),
                total=len(paths),
                unit="photos",
                label="downloading",
                enabled=progress,
            ):
                future.result()
                done += 1
        except OSError as error:
            kept = f"{done} of {len(paths)} missing photos are fetched"
            raise _fetch_error(url(pending[future]), error, kept) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_photo(session: requests.Session, url: str, path: Path) -> None:
    """Put a photo in its place once it is complete and decodes; a damaged body is tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with (
                session.get(url, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as response,
                written_whole(path) as part,
            ):
                if response.status_code != 200:
                    raise requests.HTTPError(f"the server answers {response.status_code}")
                _save_photo(response, part)
            return
        except (_BrokenOff, _NoPhoto):
            if attempt == ATTEMPTS:
                raise


class _BrokenOff(requests.RequestException):
    """A body that ended too early, or whose rest did not come in time."""


class _NoPhoto(requests.RequestException):
    """A whole body that is no photo."""


def _save_photo(response: requests.Response, part: Path) -> None:
    try:
        with part.open("wb") as file:
            for block in response.iter_content(MIB):
                file.write(block)
                if file.tell() > PHOTO_BYTES:
                    raise requests.RequestException(f"it sends more than {PHOTO_BYTES // MIB} MiB")
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _BrokenOff("the transfer broke off") from error
    try:
        open_photo(part)
    except TutorialError as error:
        raise _NoPhoto("what it sends is no readable photo") from error


def _fetch_error(url: str, error: Exception, kept: str) -> TutorialError:
    """What failed, without the user and password that `url` and the error's text may hold."""
    if isinstance(error, RemoteIOError):  # holds only the text of what it was raised for
        error = error.__context__
    if isinstance(error, urllib3.exceptions.HTTPError):
        reason = "the transfer broke off"
    elif isinstance(error, requests.exceptions.ProxyError):
        scheme, host = url.partition(":")[0], urlsplit(url).hostname
        names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        variable = proxy_variable(host, *names)  # None where it is macOS' own setting
        named = f" in {variable}" if variable else ""
        reason = f"the proxy{named} does not pass the request on"
    elif isinstance(error, requests.ConnectionError):
        reason = "the server cannot be reached"
    elif isinstance(error, requests.Timeout):
        reason = "the server does not answer in time"
    else:
        reason = web_masked(str(error)).rstrip(".")
        reason = reason or type(error).__name__
    return TutorialError(
        f"{web_masked(url)} could not be fetched ({reason}); {kept}: run again to resume, "
        "set COCO_BASE_URL to another server, or DATASET=sample to do without."
    )


def _open_auto() -> ImageDataset:
    settings = load_settings()
    base_url = _web_address(settings.coco_base_url)
    host = urlsplit(base_url).netloc.rpartition("@")[2]
    if _coco_is_complete(settings.data_dir / "coco"):
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


def _coco_is_complete(folder: Path) -> bool:
    file = folder / "annotations" / "instances_val2017.json"
    if not file.is_file():
        return False
    return all(record.path.is_file() for record in _select(_read_split(file), ANIMALS, 25))


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
