"""Any folder of photos, and the check that every photo decodes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import joblib

from helpers.datasets.annotations import fitted, read_annotations
from helpers.datasets.records import ImageDataset, ImageRecord, path_id, summary
from helpers.files import written_whole
from helpers.images import PHOTO_START, UnusablePhoto, decode
from helpers.progress import track
from helpers.settings import TutorialError, display_path, load_settings

PHOTO_SUFFIXES = frozenset(
    (".avif", ".bmp", ".dib", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jfif")
    + (".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
OTHER_SUFFIXES = {
    "a RAW photo, which darktable and RawTherapee export as JPEG": ".3fr .ari .arw .bay .cap .cr2 "
    ".cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw .nef .nrw .orf .pef "
    ".ptx .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f",
    "a JPEG XL image, which djxl turns into JPEG or PNG": ".jxl",
    "a video, out of which ffmpeg takes pictures": ".3gp .avi .flv .insv .m2ts .m4v .mkv .mov .mp4 "
    ".mpeg .mpg .mts .webm .wmv",
    "in another format, which ImageMagick turns into JPEG or PNG": ".dds .exr .hdr .icns "
    ".ico .j2c .j2k .jp2 .jpf .jpx .jxr .pcx .psb .psd .tga .wdp .xcf",
}
KINDS = {suffix: what for what, suffixes in OTHER_SUFFIXES.items() for suffix in suffixes.split()}
UNNAMED = "a photo without its suffix, to be renamed so that it ends in .jpg or what it is"
FORMATS = {UNNAMED, *OTHER_SUFFIXES}
LIKE_A_PHOTO = re.compile("|".join(map(re.escape, PHOTO_SUFFIXES)), re.IGNORECASE)

# Folders that NAS, desktops and photo programs keep beside photos; the name, or the parent's too.
LEFT_OUT = {
    "a thumbnail or preview of another program": r"@eaDir|@tmp|\.@.*|\.?thumb(nail)?s"
    r"|\.sh_thumbnails|\.wdmc|.*\.lrdata|\.picasaoriginals|appdata_.*/preview|__MACOSX"
    r"|.*\.(photos|photo|ap)library/(?!originals|Masters).*",
    "deleted in another program": r"[#@.][Rr]ecycle([._]?[Bb]in)?|[#@]snapshot|\$RECYCLE\.BIN"
    r"|RECYCLER|\.(Trash|trashed|dtrash).*|Network Trash Folder|FOUND\.\d+"
    r"|files_(trashbin|versions)",
}
NOT_UTF8 = "a name that is not valid UTF-8, to be renamed"
UNLISTED = "not listed in the annotation files"
SPLIT = re.compile(
    "((seg|data|img|images?)[-_ ]?)?(train(ing|val)?|trn|val(id(ation)?)?|test(ing)?|dev"
    "|eval(uation)?|hold[-_ ]?out|pred(ict)?(ion)?s?|unlabell?ed)"
    "([-_ ]?(set|split|data|images?|imgs?|[0-9]+))*",
    re.IGNORECASE,
)


def open_folder(folder: Path, named: str = "") -> ImageDataset:
    """The photos of a folder, with the labels and objects of its annotation files if it has some.

    `named` is the name of a dataset whose annotation files need not be told. Raises TutorialError
    for a folder that is not there, cannot be read or has no usable photo, and as `read_annotations`
    does.
    """
    if not folder.is_dir():
        raise TutorialError(
            f"There is no folder {display_path(folder)!r}: set DATASET to auto, coco, sample or "
            "the path of a folder of photos."
        )
    files, left_out = walk(folder)
    photos = [name for name in files if Path(name).suffix.lower() in PHOTO_SUFFIXES]
    others = [path.relative_to(folder).as_posix() for path, what in left_out if what in FORMATS]
    dataset, note = read_annotations(folder, files + others)
    if dataset:
        listed = set(dataset.paths)
        there = {path.parent for path in listed}
        unlisted = [folder / name for name in photos if (folder / name).parent in there]
        left_out += [(path, UNLISTED) for path in unlisted]
        left_out = [(path, what) for path, what in left_out if path not in listed]
    else:
        records, about_labels = _labelled(folder, photos)
        dataset = ImageDataset(folder.name, "", records)
        note = f"{note} {about_labels}".strip()
    dataset = replace(
        dataset,
        name=named or folder.name,
        slug=named or f"{slug_of(folder.name)}_{short_digest(folder.as_posix())}",
        skipped=(*sorted(left_out), *dataset.skipped),
        note="" if named else note,
    )
    return checked(folder, dataset)


def _labelled(folder: Path, names: Sequence[str]) -> tuple[tuple[ImageRecord, ...], str]:
    """Records by relative path, and what to say of the labels, which are the names of folders.

    They are of one level: the deepest at which at least two names hold at least two photos each,
    else the one with most names. Names of splits do not count.
    """
    parents = [name.split("/")[:-1] for name in names]
    counts = []  # of every level from the top, name → photos
    for level in range(max(map(len, parents), default=0)):
        there = [parts[level] for parts in parents if len(parts) > level]
        counts.append(Counter(name for name in there if not SPLIT.fullmatch(name)))
    several = [n for n, c in enumerate(counts) if sum(photos > 1 for photos in c.values()) > 1]
    most = max(range(len(counts)), key=lambda n: len(counts[n]), default=0)
    level = several[-1] if several else most
    labels = set(counts[level]) if counts else set()
    records = tuple(
        ImageRecord(path_id(name), folder / name, frozenset(parts[level : level + 1]) & labels)
        for name, parts in zip(names, parents, strict=True)
    )
    if len(labels) == 1:
        return records, f"All labels are the same: {min(labels)!r}, the name of a folder."
    if any(parents) and not labels:
        splits = ", ".join(sorted({parts[0] for parts in parents if parts}))
        return records, f"No labels: the folders are named like splits ({splits})."
    return records, ""


def walk(folder: Path) -> tuple[list[str], list[tuple[Path, str]]]:
    """The files of a folder by relative POSIX path, and photos and folders left out, with reasons.

    Hidden ones are passed over. Links are followed; a folder is never walked twice. Raises
    TutorialError if the folder itself cannot be read.
    """
    files: list[str] = []
    left_out: list[tuple[Path, str]] = []
    real = folder.resolve()
    walked, waiting, links = {real}, [(folder, real, "")], []
    while waiting or links:
        if not waiting:  # links come last, when it is known which folders are walked anyway
            path, why = links.pop()
            target = path.resolve()
            if target in walked or real.is_relative_to(target):
                left_out.append((path, "a link to a folder that is read already"))
                continue
            walked.add(target)
            waiting.append((path, target, why))
        parent, parent_real, why = waiting.pop()
        entries, problem = _entries(parent, parent == folder)
        left_out += [(parent, problem)] if problem else []
        for entry in entries:
            path, is_link = Path(entry.path), entry.is_symlink()
            is_folder = path.is_dir() if is_link else entry.is_dir()  # of a loop only Path says no
            reason = why or _left_out(path, is_folder)
            if entry.name.startswith(".") and not reason:
                continue
            if is_folder and is_link:
                links.append((path, reason))
            elif is_folder:
                walked.add(parent_real / entry.name)
                waiting.append((path, parent_real / entry.name, reason))
            elif reason:
                left_out += [(path, reason)] if path.suffix.lower() in PHOTO_SUFFIXES else []
            elif other := _other_format(path):
                left_out.append((path, other))
            else:
                files.append(path.relative_to(folder).as_posix())
    return sorted(files), _without_link_targets(folder, files, left_out)


def _entries(folder: Path, is_top: bool) -> tuple[list[os.DirEntry], str]:
    """What lies in a folder; or why it cannot be read, which ends everything for the top one."""
    try:
        return list(os.scandir(folder)), ""
    except OSError as error:
        if is_top:
            raise TutorialError(
                f"The folder {display_path(folder)!r} cannot be read: {error.strerror}; change "
                "its permissions or set DATASET to another folder."
            ) from error
        return [], f"in a folder that cannot be read: {error.strerror}"


def _without_link_targets(
    folder: Path, files: Sequence[str], left_out: list[tuple[Path, str]]
) -> list[tuple[Path, str]]:
    """What is left out, but for photos without a suffix that a link with one leads to."""
    if all(reason != UNNAMED for _, reason in left_out):
        return left_out
    targets = {os.path.realpath(folder / name) for name in files}
    return [(path, why) for path, why in left_out if os.path.realpath(path) not in targets]


def _left_out(path: Path, is_folder: bool) -> str:
    """Why a folder or file is left out for its name; "" where it is not."""
    if not path.name.isascii():
        try:
            path.name.encode()
        except UnicodeEncodeError:
            return NOT_UTF8
    if is_folder or path.name.startswith("."):
        name = f"{path.parent.name}/{path.name}"
        for reason, names in LEFT_OUT.items():
            if re.fullmatch(f"(.*/)?({names})", name):
                return reason
    return ""


def _other_format(path: Path) -> str:
    """What a file is that is no photo by its name, but something to look at; "" otherwise."""
    suffix = path.suffix.lower()
    if suffix in PHOTO_SUFFIXES or suffix in KINDS:
        return KINDS.get(suffix, "")
    if (suffix and not LIKE_A_PHOTO.search(path.name)) or not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            return UNNAMED if PHOTO_START.match(file.read(32)) else ""
    except OSError:
        return ""


def slug_of(name: str) -> str:
    """A name in [a-z0-9_]+, at most 40 characters."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "photos"


def short_digest(text: str) -> str:
    """Eight hexadecimal digits that tell texts and paths apart."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]


# Checking ------------------------------------------------------------------------------------


def checked(folder: Path, dataset: ImageDataset) -> ImageDataset:
    """The dataset with those photos that decode, and its objects turned as the photos are.

    Raises TutorialError where no photo is left.
    """
    shapes, problems = check_photos(folder, dataset)
    usable = tuple(record for record in dataset if record.path in shapes)
    skipped = (*problems.items(), *dataset.skipped)
    if not usable:
        told = summary(skipped) or "no file in it has a photo's suffix such as .jpg"
        raise TutorialError(
            f"{display_path(folder)!r} holds no usable photo: {told}. Put photos there or set "
            "DATASET to another folder."
        )
    objects, faults = fitted(
        {record.id: dataset.objects.get(record.id, ()) for record in usable},
        {record.id: shapes[record.path] for record in usable},
    )
    return replace(dataset, records=usable, skipped=(*skipped, *faults), objects=objects)


def check_photos(
    folder: Path, dataset: ImageDataset
) -> tuple[dict[Path, tuple[int, int, int]], dict[Path, str]]:
    """Decode every photo, except those found good and unchanged since.

    Returns path → height and width of the upright photo in pixels, EXIF orientation; and path →
    what is wrong. One that failed is looked at again, since what was wrong may leave no trace in
    size and time, as permissions do.
    """
    cache_file = load_settings().build_dir / "checked" / f"{dataset.slug}.json"
    try:
        known = dict(json.loads(cache_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # never written, or damaged: check everything again
        known = {}

    def check(path: Path) -> tuple[list[int], str]:
        return _check_photo(path, known.get(path.relative_to(folder).as_posix()))

    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        paths = dataset.paths
        checks = track(pool.map(check, paths), total=len(paths), unit="photos", label="checking")
        results = dict(zip(paths, checks, strict=True))
    good = {path: state for path, (state, reason) in results.items() if not reason}
    with written_whole(cache_file) as part:
        text = json.dumps({path.relative_to(folder).as_posix(): good[path] for path in good})
        part.write_text(text, encoding="utf-8")
    return (
        {path: tuple(state[2:]) for path, state in good.items()},
        {path: reason for path, (_, reason) in results.items() if reason},
    )


def _check_photo(path: Path, before: object) -> tuple[list[int], str]:
    """Size and time of the file, height, width and orientation of the photo; or what is wrong.

    `before` is what this returned for a photo found good: it stands where size and time do.
    """
    try:
        about = path.stat()
    except OSError as error:
        what = "a link that leads nowhere" if path.is_symlink() else "listed, but not there"
        return [], f"{what}: the file cannot be found ({error.strerror})"
    if not stat.S_ISREG(about.st_mode):
        return [], "a pipe, a device or a folder"
    state = [about.st_size, about.st_mtime_ns]
    if isinstance(before, list) and len(before) == 5 and before[:2] == state:
        return before, ""
    try:
        photo, orientation = decode(path)
    except UnusablePhoto as error:
        return [], f"{error.kind}: {error}"
    return [*state, photo.height, photo.width, orientation], ""
