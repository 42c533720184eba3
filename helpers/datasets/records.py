"""What a dataset is: photos with ids, paths and labels, and the objects seen in them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from helpers.datasets.masks import polygons_mask, runs_mask
from helpers.images import upright
from helpers.settings import TutorialError, display_path


@dataclass(frozen=True)
class ImageRecord:
    """One photo: positive 63-bit id, absolute path, names of the categories seen in it."""

    id: int
    path: Path
    labels: frozenset[str]


def path_id(relative: str) -> int:
    """Positive 63-bit id of a photo: the first bits of the SHA-256 of its relative path."""
    return int.from_bytes(hashlib.sha256(relative.encode()).digest()[:8]) >> 1


def is_id(key: object) -> bool:
    """Whether an id out of an annotation file can be that of a record."""
    return type(key) is int and 0 <= key < 2**63


@dataclass(frozen=True)
class Annotation:
    """One object in a photo, as COCO describes it."""

    category: str
    bbox: tuple[float, float, float, float]
    """x, y of the upper left corner, width, height; in pixels of the upright photo."""
    photo_size: tuple[int, int]
    """Height and width of the upright photo, in pixels."""
    segmentation: list | dict | None = field(repr=False)
    """Polygons or run lengths, in COCO's form, unchecked; None if the file has no outline."""
    file: Path = field(repr=False, compare=False)
    """The annotation file it comes from."""
    orientation: int = field(default=1, repr=False)
    """How the outline has to be turned: an EXIF orientation, 1 to 8; `bbox` is turned already."""

    def mask(self) -> np.ndarray:
        """The object's pixels in the upright photo: bool [height, width].

        Raises TutorialError without an outline, and for one that is not in COCO's form.
        """
        if not self.segmentation:
            raise TutorialError(
                f"This {self.category} has no outline: its annotation file gives only boxes; "
                "use `bbox` instead."
            )
        draw = runs_mask if isinstance(self.segmentation, dict) else polygons_mask
        stored_size = self.photo_size if self.orientation < 5 else self.photo_size[::-1]
        try:
            return upright(draw(self.segmentation, stored_size), self.orientation)
        except ValueError as error:
            raise TutorialError(
                f"{display_path(self.file)!r} has a {self.category} in the box {self.bbox} whose "
                f"outline {error}: replace the file by an intact one."
            ) from error


@dataclass(frozen=True)
class ImageDataset:
    """Photos in a stable order: by the ids of annotation files, or else by relative path."""

    name: str
    """As shown to the reader, such as `sample` or `coco-val2017-animals`."""
    slug: str
    """[a-z0-9_]+, different for every dataset; names files and collections made from it."""
    records: tuple[ImageRecord, ...] = field(repr=False)
    skipped: tuple[tuple[Path, str], ...] = ()
    """What is left out, each file or annotation with the reason. What follows a colon in the
    reason belongs to that one; what comes before is counted."""
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
    def ids(self) -> np.ndarray:
        """The photos' ids, in the order of the records: int64 [photos]."""
        return np.array([record.id for record in self.records], np.int64)

    @cached_property
    def labels(self) -> list[frozenset[str]]:
        """The names of every photo's categories, in the order of the records."""
        return [record.labels for record in self.records]

    @cached_property
    def classes(self) -> np.ndarray:
        """One class per photo, str [photos]: the category whose boxes cover most of it.

        The alphabetically first of equal ones; "no label" where a photo has none.
        """
        classes = []
        for record in self.records:
            area = dict.fromkeys(sorted(record.labels), 0.0)
            for annotation in self.objects.get(record.id, ()):
                area[annotation.category] += annotation.bbox[2] * annotation.bbox[3]
            classes.append(max(area, key=area.get, default="no label"))
        return np.array(classes)

    @cached_property
    def photos(self) -> dict[int, Path]:
        """Id → absolute path."""
        return {record.id: record.path for record in self.records}

    @cached_property
    def row_of(self) -> dict[int, int]:
        """Id → the photo's place in the order of the records."""
        return {record.id: row for row, record in enumerate(self.records)}

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
        return dict(sorted(Counter(chain(*self.labels)).items()))

    @cached_property
    def reasons(self) -> dict[str, int]:
        """Why something was left out → how often, the most frequent reason first."""
        return {reason: len(names) for reason, names in by_reason(self.skipped).items()}

    def annotations(self, image_id: int) -> list[Annotation]:
        """The objects outlined in a photo; none in a plain folder. KeyError for an unknown id."""
        return list(self.objects.get(self.by_id[image_id].id, ()))

    def banner(self) -> str:
        """One to three lines for the top of a notebook."""
        lines = [
            f"Dataset {self.name}: {len(self)} photos, {len(self.categories)} categories.",
            self.note,
        ]
        if self.skipped:
            lines.append(f"{len(self.skipped)} left out: {summary(self.skipped)}.")
        return "\n".join(line for line in lines if line)


def summary(skipped: Sequence[tuple[Path, str]]) -> str:
    """What is left out: one name, number and reason, the most frequent reason first."""
    return "; ".join(
        f"{names[0]!r}{', …' if len(names) > 1 else ''} ({len(names)} × {reason})"
        for reason, names in by_reason(skipped).items()
    )


def by_reason(skipped: Sequence[tuple[Path, str]]) -> dict[str, list[str]]:
    """Reason up to its colon → names of what is left out for it, the most frequent reason first."""
    names: dict[str, list[str]] = {}
    for path, reason in skipped:
        names.setdefault(reason.partition(":")[0], []).append(path.name)
    return dict(sorted(names.items(), key=lambda item: -len(item[1])))
