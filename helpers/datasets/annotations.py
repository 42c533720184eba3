"""COCO's JSON as tools write it: where it lies, which photos it means, the objects in them."""

from __future__ import annotations

import json
import mmap
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from helpers.datasets.masks import is_finite, outline_box
from helpers.datasets.records import Annotation, ImageDataset, ImageRecord, is_id, path_id
from helpers.images import MOST_PIXELS, upright_box
from helpers.settings import TutorialError, display_path

# Relative paths of annotation files. All files of the first place that has some are taken.
# Those of the places marked True are nothing else; the others have to look like COCO's.
PLACES = (
    (True, r"(.*/)?annotations/instances[^/]*\.json"),  # COCO, CVAT, Datumaro, Supervisely
    (True, r"(.*/)?_annotations[^/]*\.json"),  # Roboflow
    (False, r"(.*/)?labels\.json"),  # FiftyOne
    (False, r"(.*/)?result[^/]*\.json"),  # Label Studio
    (False, r".*\.(json|JSON)"),
)

# Where the photos of annotations/instances_{split}.json may be, from the folder that holds both.
ROOTS = ("{split}", "images/{split}", "{split}/images", "{split}/data", "images", "data", "img", "")

# Names that lead out of their folder on some system: by `..`, a root or a drive.
LEAVES = re.compile(r"(^|[/\\])\.\.($|[/\\])|^([/\\]|[a-zA-Z]:)")

NO_BOX = "object without a usable box, whose category still counts"
NO_FRAME = "object whose photo has another size than its annotation file says"
OUTSIDE = "object whose box lies outside of its photo"


class NotCoco(TutorialError):
    """A file that is no JSON, or says something else."""


@dataclass(frozen=True)
class Split:
    """One annotation file. A photo's key is its id, as an integer where it can be one."""

    file: Path
    names: dict[int | str, str]
    """Key → `file_name`, as it is in the file."""
    labels: dict[int | str, set[str]]
    objects: dict[int | str, list[Annotation]]
    """Their `photo_size` is what the file says, (0, 0) where it says nothing."""
    faults: tuple[str, ...]
    """Why a row could not be used, once for every such row."""


def read_split(file: Path) -> Split:
    """Read an annotation file; what is meant is read, what cannot be used becomes a fault.

    Raises NotCoco if it is not JSON in COCO's form, TutorialError if it cannot be read, if a name
    in it leaves the folder or a photo is impossibly large.
    """
    (images, categories, annotations), faults = _sections(file)
    names, sizes = _listed(file, images, faults)
    titles = {_key(row.get("id")): _text(row["name"]) for row in categories if row.get("name")}
    titles.pop(None, None)
    labels: dict[int | str, set[str]] = {key: set() for key in names}
    objects: dict[int | str, list[Annotation]] = {key: [] for key in names}
    for row in annotations:
        key, category = _key(row.get("image_id")), titles.get(_key(row.get("category_id")))
        if key not in names:
            faults.append("annotation of a photo that is not listed")
        elif category is None:
            faults.append("annotation of a category that is not listed")
        else:
            labels[key].add(category)
            outline = row.get("segmentation") or None
            if box := _box(row.get("bbox"), outline, sizes[key]):
                objects[key].append(Annotation(category, box, sizes[key], outline, file))
            else:
                faults.append(NO_BOX)
    return Split(file, names, labels, objects, tuple(faults))


def _wrong(file: Path, what: str, kind: type[TutorialError] = TutorialError) -> TutorialError:
    return kind(
        f"{display_path(file)!r} {what}: replace the file by an intact one, or move it away to "
        "read the photos without it."
    )


def _sections(file: Path) -> tuple[list[list[dict]], list[str]]:
    """The rows of images, categories and annotations; and a fault for each that is none."""
    try:
        if not file.is_file():
            raise _wrong(file, "is no regular file")
        content = json.loads(file.read_bytes())  # UTF-8 or UTF-16, with or without a mark
        sections = [content[name] for name in ("images", "categories", "annotations")]
        if not all(isinstance(section, list) for section in sections):
            raise TypeError
    except OSError as error:
        raise _wrong(file, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        what = {
            KeyError: f"lacks the key {error}",
            RecursionError: "is nested too deep",
            TypeError: "does not have the form of a COCO annotation file",
        }.get(type(error), f"is not valid JSON ({error})")
        raise _wrong(file, what, NotCoco) from error
    rows = [[row for row in section if isinstance(row, dict)] for section in sections]
    return rows, ["entry without a key"] * (sum(map(len, sections)) - sum(map(len, rows)))


def _listed(
    file: Path, images: Sequence[dict], faults: list[str]
) -> tuple[dict[int | str, str], dict[int | str, tuple[int, int]]]:
    """Key → `file_name`, and key → height and width, of the photos that a file lists."""
    names: dict[int | str, str] = {}
    sizes: dict[int | str, tuple[int, int]] = {}
    for row in images:
        key, name = _key(row.get("id")), row.get("file_name")
        if isinstance(name, str) and (LEAVES.search(name) or LEAVES.search(unquote(name))):
            what = f"lists {name!r}, which is not the plain name of a file in its folder"
            raise _wrong(file, what)
        if key is None or not _is_name(name):
            faults.append("photo listed without a usable name or id")
            continue
        if names.setdefault(key, name) != name:
            faults.append("photo listed under the id of another one")
            continue
        height, width = (_side(row.get(side)) for side in ("height", "width"))
        if height * width > MOST_PIXELS:
            what = f"gives the image {key} the size {(height, width)}, more than 178 megapixels"
            raise _wrong(file, what)
        sizes[key] = (height, width) if height and width else (0, 0)
    return names, sizes


def _is_name(value: object) -> bool:
    """Whether a photo can be called so: not by dots, nor by what no disk can hold."""
    usable = isinstance(value, str) and value.strip("./\\ ") and "\0" not in value
    return bool(usable) and _text(value) == value


def _key(value: object) -> int | str | None:
    """An id as something to look up: "7" and 7.0 are 7; None for what is no id."""
    if isinstance(value, str):
        value = value.strip()
        return int(value) if re.fullmatch("[0-9]{1,19}", value) else value or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()  # a lone surrogate cannot be shown


def _number(value: object) -> float | None:
    """A number, also one written as text; None for NaN, infinity and everything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if is_finite(value) else None


def _side(value: object) -> int:
    """A photo's height or width; 0 where nothing usable is said."""
    return max(value if isinstance(value, int) else int(_number(value) or 0), 0)


def _box(bbox: object, outline: object, photo_size: tuple[int, int]) -> tuple[float, ...] | None:
    """x, y, width, height; from the outline where there is no box; None if that cannot be."""
    if not bbox:
        return outline_box(outline, photo_size)
    box = tuple(map(_number, bbox)) if isinstance(bbox, list) else ()
    usable = len(box) == 4 and None not in box and min(box[2:]) > 0
    return box if usable else None


# Which annotation files a folder has, and which photos they mean ------------------------------


def read_annotations(folder: Path, names: Sequence[str]) -> tuple[ImageDataset | None, str]:
    """The photos that annotation files among a folder's files list, and what to say of these files.

    The photos may be missing. `names` are relative POSIX paths. None where no annotation file has
    photos here. Raises TutorialError for an annotation file that cannot be read or is a link out of
    the folder, and where those that are certainly meant list only photos that are not here.
    """
    files = [name for name in names if name.lower().endswith(".json")]
    missing: list[str] = []
    photos: dict[str, dict[int | str, str]] = {}
    for certain, place in PLACES:
        splits = _splits(folder, [name for name in files if re.fullmatch(place, name)], certain)
        photos = _photos(splits, names) if splits else {}
        if photos:
            break
        missing += splits if certain else []
    if missing and not photos:
        raise TutorialError(
            f"None of the photos that {display_path(folder / missing[0])!r} lists is in "
            f"{folder.name!r}: add them, or move that file away to read the photos without it."
        )
    others = [name for name in files if name not in photos and _looks_like_coco(folder / name)]
    notes = []
    for what, which in (("Annotations", list(photos)), ("Annotations not read", others)):
        if which:
            notes.append(f"{what}: {', '.join(which[:4])}{', …' if len(which) > 4 else ''}.")
    read = [(splits[name], places) for name, places in photos.items()]
    return _unchecked(folder, read) if read else None, " ".join(notes)


def _splits(folder: Path, files: Sequence[str], certain: bool) -> dict[str, Split]:
    """Annotation files by relative path; unless they are `certain`, those in COCO's form."""
    splits = {}
    for name in files:
        file = folder / name
        if not certain and not _looks_like_coco(file):
            continue
        if not file.resolve().is_relative_to(folder.resolve()):
            raise TutorialError(
                f"The annotation file {display_path(file)!r} is a link that leads out of "
                f"{folder.name!r}: put a copy in its place, or remove it."
            )
        try:
            splits[name] = read_split(file)
        except NotCoco as error:
            if certain:
                raise TutorialError(str(error)) from error
    return splits


def _unchecked(folder: Path, read: Sequence[tuple[Split, Mapping[int | str, str]]]) -> ImageDataset:
    """Every photo once, with what its rows in all annotation files say.

    Ids that cannot be those of records, or start again in every file, are made of the paths.
    """
    keys: dict[str, int | str] = {}
    labels: dict[str, frozenset[str]] = {}
    objects: dict[str, list[Annotation]] = {}
    for split, places in read:
        for key, name in places.items():
            keys.setdefault(name, key)
            labels[name] = labels.get(name, frozenset()) | split.labels[key]
            known = objects.setdefault(name, [])
            known += [thing for thing in split.objects[key] if thing not in known]
    if all(map(is_id, keys.values())) and len(set(keys.values())) == len(keys):
        keys = dict(sorted(keys.items(), key=lambda item: item[1]))
    else:
        keys = {name: path_id(name) for name in sorted(keys)}
    return ImageDataset(
        name=folder.name,
        slug="",
        records=tuple(ImageRecord(key, folder / name, labels[name]) for name, key in keys.items()),
        skipped=tuple((split.file, fault) for split, _ in read for fault in split.faults),
        objects={key: tuple(objects[name]) for name, key in keys.items()},
    )


def _looks_like_coco(file: Path) -> bool:
    """Whether a file has the keys of COCO's form somewhere, in UTF-8 or UTF-16."""
    keys = ('"images"', '"annotations"', '"categories"')
    try:
        if not file.is_file() or file.stat().st_size == 0:
            return False
        with (
            file.open("rb") as source,
            mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return any(
                all(content.find(key.encode(encoding)) >= 0 for key in keys)
                for encoding in ("utf-8", "utf-16-le", "utf-16-be")
            )
    except OSError:
        return False


def _photos(splits: Mapping[str, Split], names: Sequence[str]) -> dict[str, dict[int | str, str]]:
    """Annotation file → key → relative path, of those files some of whose photos are here.

    They are below the root where most of them are. Where no root has any, a photo is the file of
    its name, if only one is called so and no other annotation file lists it.
    """
    exact = set(names)
    folded = _unique((_fold(name), name) for name in names)
    alone = _unique((_fold(PurePosixPath(name).name), name) for name in names)

    def find(root: str, name: str) -> str | None:
        for written in dict.fromkeys((name, name.replace("\\", "/"), unquote(name))):
            path = posixpath.normpath(f"{root}/{written}")
            if here := path if path in exact else folded.get(_fold(path)):
                return here
        return None

    photos: dict[str, dict[int | str, str]] = {}
    for name, split in splits.items():
        best, places = "", {}
        for root in _roots(name):
            here = {key: find(root, written) for key, written in split.names.items()}
            here = {key: photo for key, photo in here.items() if photo}
            if len(here) > len(places):
                best, places = root, here
            if len(here) == len(split.names):
                break
        if places:
            photos[name] = {
                key: places.get(key) or posixpath.normpath(f"{best}/{written}")
                for key, written in split.names.items()
            }
    claimed = {photo for places in photos.values() for photo in places.values()}
    for name in splits.keys() - photos.keys():
        last = {key: re.split(r"[/\\]", unquote(n))[-1] for key, n in splits[name].names.items()}
        here = {key: alone.get(_fold(written)) for key, written in last.items()}
        if places := {k: photo for k, photo in here.items() if photo and photo not in claimed}:
            photos[name] = places
    return {name: photos[name] for name in splits if name in photos}


def _roots(name: str) -> list[str]:
    """The folders below which the photos of an annotation file may be, the likeliest first."""
    path = PurePosixPath(name)
    base = path.parents[1] if path.parent.name == "annotations" else path.parent
    split = re.sub("^(instances|person_keypoints)_", "", path.stem)
    return [f"{base}/{root.format(split=split)}" for root in ROOTS]


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Key → value; None where a key has several."""
    values: dict[str, str | None] = {}
    for key, value in pairs:
        values[key] = None if key in values else value
    return values


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


# Annotations on the upright photo -------------------------------------------------------------


def fitted(
    objects: Mapping[int, tuple[Annotation, ...]], shapes: Mapping[int, tuple[int, int, int]]
) -> tuple[dict[int, tuple[Annotation, ...]], list[tuple[Path, str]]]:
    """The objects of every photo in the frame of the upright photo, and what could not be used.

    `shapes` holds height and width of the upright photos, and the EXIF orientation that made them
    so. Tools draw either on the upright photo or on the stored one: the size in the annotation file
    tells. Where it cannot, the other photos of the file do.
    """
    votes: Counter[Path] = Counter()
    for id_, drawn in objects.items():
        for thing in drawn if shapes[id_][2] > 1 else ():
            votes[thing.file] += _stored(thing, *shapes[id_])
    kept, faults = {}, []
    for id_, drawn in objects.items():
        height, width, orientation = shapes[id_]
        fitting = []
        for thing in drawn:
            turn = 1
            if orientation > 1 and (_stored(thing, *shapes[id_]) or votes[thing.file]) > 0:
                turn = orientation
            stored = (width, height) if turn > 4 else (height, width)
            if thing.photo_size not in ((0, 0), stored):
                faults.append((thing.file, NO_FRAME))
                continue
            if turn > 1 or thing.photo_size != (height, width):
                box = upright_box(thing.bbox, stored, turn)
                thing = replace(thing, bbox=box, photo_size=(height, width), orientation=turn)
            x, y, box_width, box_height = thing.bbox
            if x < width and y < height and x + box_width > 0 and y + box_height > 0:
                fitting.append(thing)
            else:
                faults.append((thing.file, OUTSIDE))
        kept[id_] = tuple(fitting)
    return kept, faults


def _stored(thing: Annotation, height: int, width: int, orientation: int) -> int:
    """1 where an object was drawn on the photo as stored, -1 on the upright one, 0 if unknown."""
    upright, stored = (height, width), (width, height) if orientation > 4 else (height, width)
    if upright == stored:
        return 0
    if thing.photo_size == (0, 0):
        right, bottom = thing.bbox[0] + thing.bbox[2], thing.bbox[1] + thing.bbox[3]
        fits = [right <= size[1] + 1 and bottom <= size[0] + 1 for size in (stored, upright)]
        return fits[0] - fits[1]
    return (thing.photo_size == stored) - (thing.photo_size == upright)
