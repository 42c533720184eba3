"""COCO's JSON: which photos there are, and the objects in them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from helpers.datasets.masks import is_finite
from helpers.datasets.records import Annotation, ImageRecord
from helpers.images import MOST_PIXELS
from helpers.settings import TutorialError, display_path


@dataclass(frozen=True)
class Split:
    """One annotation file, checked: everything in it by image id."""

    folder: Path
    file_names: dict[int, str]
    objects: dict[int, tuple[Annotation, ...]]
    category_names: frozenset[str]

    def record(self, image_id: int) -> ImageRecord:
        labels = frozenset(annotation.category for annotation in self.objects[image_id])
        return ImageRecord(image_id, self.folder / self.file_names[image_id], labels)


def read_split(file: Path) -> Split:
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
        if len(bbox) != 4 or not all(map(is_finite, bbox)):
            raise wrong(f"has an annotation of image {image_id} with the box {bbox}")
        annotation = Annotation(names[category_id], bbox, sizes[image_id], segmentation, file)
        objects[image_id].append(annotation)
    return Split(
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
