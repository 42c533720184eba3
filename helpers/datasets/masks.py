"""Outlines as COCO writes them → pixels."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import numpy as np
from pycocotools import mask as coco_mask

OUTLINE_PIXELS = 2 * 2**20  # pycocotools takes 100 bytes for each, and crashes where it gets none


def polygons_mask(polygons: object, photo_size: tuple[int, int]) -> np.ndarray:
    """Polygons [x, y, x, y, …] as pycocotools draws them: bool [height, width].

    It does not check what it is given, and what is too large ends the process. Corners further out
    than the photo's longer side are therefore moved in to there: still where no pixel is.

    Raises ValueError, saying what is wrong.
    """
    side, length, outlines = max(photo_size), 0.0, []
    for corners in _corners(polygons):
        corners = corners.clip(-side, 2 * side)
        length += np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum()
        outlines.append(corners.ravel().tolist())
    if length > OUTLINE_PIXELS:
        raise ValueError(f"is more than {OUTLINE_PIXELS} pixels long")
    mask = coco_mask.merge(coco_mask.frPyObjects(outlines, *photo_size))
    return coco_mask.decode(mask).astype(bool)


def outline_box(
    outline: object, photo_size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """x, y, width, height of what an outline encloses; None if it encloses nothing usable."""
    try:
        if isinstance(outline, dict):
            rows, columns = np.nonzero(runs_mask(outline, photo_size))
            corners = np.stack([columns, rows], axis=1)  # [pixels, 2]
            size = corners.max(axis=0) + 1 - corners.min(axis=0)
        else:
            corners = np.concatenate(list(_corners(outline)))
            size = corners.max(axis=0) - corners.min(axis=0)
    except ValueError:
        return None
    box = (*corners.min(axis=0).tolist(), *size.tolist())
    return box if size.min() > 0 else None


def _corners(polygons: object) -> Iterator[np.ndarray]:
    """Of each polygon float64 [corners, 2]. Raises ValueError, saying what is wrong."""
    for polygon in polygons if isinstance(polygons, list) else [polygons]:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("is no list of polygons with three or more corners")
        if not all(map(is_finite, polygon)):
            raise ValueError("has a corner that is no pair of finite numbers")
        yield np.array(polygon, float).reshape(-1, 2)


def runs_mask(runs: dict, photo_size: tuple[int, int]) -> np.ndarray:
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


def is_finite(value: object) -> bool:
    """Whether a value out of JSON is a number that fits a float."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max
