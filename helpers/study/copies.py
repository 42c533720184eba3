"""Same photo or another one? Modified copies, and what a threshold on their distance costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageOps

from helpers.files import scratch
from helpers.images import open_photo


def cropped(photo: Image.Image, share: float = 0.8) -> Image.Image:
    """The middle of a photo: `share` of its width and of its height."""
    width, height = photo.size
    left, top = round(width * (1 - share) / 2), round(height * (1 - share) / 2)
    return photo.crop((left, top, width - left, height - top))


COPIES = {
    "half the size": lambda photo: photo.resize((photo.width // 2 or 1, photo.height // 2 or 1)),
    "JPEG, quality 40": lambda photo: photo,  # as `write_copies` writes it
    "cropped to 80 %": cropped,
    "mirrored": ImageOps.mirror,
    "40 % brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.4),
}
"""What people do to photos, and how: an RGB picture → a changed one."""


def write_copies(paths: Sequence[Path]) -> list[Path]:
    """Files with the copies of each photo, photo by photo in the order of COPIES.

    They live as long as this process. Raises TutorialError for a photo that cannot be read.
    """
    files = []
    for path in paths:
        photo = open_photo(path)
        for kind, change in COPIES.items():
            files.append(scratch(f"copy-{len(files)}.jpg"))
            change(photo).save(files[-1], quality=40 if "JPEG" in kind else 95)
    return files


def threshold_table(same: np.ndarray, different: np.ndarray) -> pd.DataFrame:
    """What each threshold finds, and how much of it is wrong.

    same: distances of copies to their originals, float [copies]; different: of copies to other
    photos, float [pairs]. Returns one row per distance, ascending, to a quarter beyond the farthest
    copy, as a threshold: `distance`; `precision`, the share of copies among the pairs that are not
    farther; `recall`, the share of copies that are not; and `f1`, the harmonic mean of both (van
    Rijsbergen, "Information Retrieval", 1979, chapter 7).
    """
    distance = np.unique(np.concatenate([same, different[different <= 1.25 * same.max()]]))
    right = np.searchsorted(np.sort(same), distance, side="right")  # [thresholds]
    wrong = np.searchsorted(np.sort(different), distance, side="right")
    table = pd.DataFrame({"distance": distance, "precision": right / (right + wrong)})
    table["recall"] = right / len(same)
    table["f1"] = 2 * right / (right + wrong + len(same))
    return table
