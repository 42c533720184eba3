"""How a network wants its photos: from what a reader gives and what Hugging Face's files say.

The fields are those of `preprocessor_config.json` as the image processors of the `transformers`
package write it: `do_resize`, `size`, `crop_pct`, `do_center_crop`, `crop_size`, `resample`,
`do_rescale`, `rescale_factor`, `do_normalize`, `image_mean`, `image_std`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.images import RESIZE
from helpers.models import Recipe
from helpers.settings import TutorialError, display_path


def _pixels(value: object) -> bool:
    """Whether it is a number of pixels, or sides that are."""
    sides = value.values() if isinstance(value, Mapping) else [value]
    return all(type(side) is int and side > 0 for side in sides if side is not None)


VALID: dict[str, Callable[[object], bool]] = {
    "size": _pixels,
    "crop_size": _pixels,
    "crop_pct": lambda value: isinstance(value, int | float) and 0 < value <= 1,
    "rescale_factor": lambda value: isinstance(value, int | float) and 0 < value < np.inf,
    "vision_config": lambda value: isinstance(value, Mapping),
    "id2label": lambda value: isinstance(value, Mapping),
}
"""Fields of configs that would end in an error of Python's where they hold something else."""
RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as configs have them."""
SQUASHED_FROM = 384  # pixels; below that a `crop_pct` crops, from there on the photo is squashed


@dataclass(frozen=True)
class Scaling:
    """From pixels 0–255 to what the network was trained with: ((x · factor) − mean) / std."""

    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: str
    """RGB or BGR: the order the network wants, in which `mean` and `std` are given, too."""

    def shift_and_scale(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 [3] each: (x − shift) · scale, on pixels of 0–255 in the network's order."""
        mean, std = np.array(self.mean, np.float64), np.array(self.std, np.float64)
        return (mean / self.factor).astype(np.float32), (self.factor / std).astype(np.float32)

    def __str__(self) -> str:
        shift, scale = (
            " ".join(f"{number:.6g}" for number in row) for row in self.shift_and_scale()
        )
        return f"{self.channels.lower()}, (x - [{shift}]) * [{scale}]"


def read_config(path: Path) -> dict:
    """A JSON file of settings, without those that are null; empty where there is none.

    Raises TutorialError if it holds no JSON object, or a setting cannot be what it says.
    """
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = {key: value for key, value in config.items() if value is not None}
    except (OSError, ValueError, AttributeError) as error:
        raise TutorialError(
            f"{display_path(path)} is not a JSON object of settings: fetch it again, or delete it "
            "and give input_size, mean and std to from_onnx()."
        ) from error
    for key, valid in VALID.items():
        if key in config and not valid(config[key]):
            raise TutorialError(
                f"{display_path(path)} says {key}={config[key]!r}, which cannot be: correct it "
                "there, or delete it and give input_size, mean and std to from_onnx()."
            )
    return config


def scaling(
    config: Mapping,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    channels: str,
    where: str,
) -> Scaling:
    """The numbers a network wants, given ones first.

    config: of `preprocessor_config.json`. mean, std: three numbers each for channels scaled to
    0–1. channels: RGB or BGR. where: names the model in errors. Raises TutorialError if nobody says
    mean and deviation, or they cannot be.
    """
    if channels not in ("RGB", "BGR"):
        raise TutorialError(f'channels={channels!r} is unknown: give "RGB" or "BGR".')
    rescaled = config.get("do_rescale", True) or mean is not None or std is not None
    factor = config.get("rescale_factor", 1 / 255) if rescaled else 1.0
    if config.get("do_normalize") is False:
        config = {**config, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    mean = config.get("image_mean") if mean is None else mean
    std = config.get("image_std") if std is None else std
    lacking = [name for name, value in (("mean", mean), ("std", std)) if value is None]
    if lacking:
        raise TutorialError(
            f"Nothing says which {' and '.join(lacking)} {where} was trained with, and wrong ones "
            "cost quality without any error: look them up in its description, and give them for "
            "channels scaled to 0–1, as image_mean and image_std in a preprocessor_config.json "
            "beside it or as in from_onnx(path, mean=(0.485, 0.456, 0.406), "
            "std=(0.229, 0.224, 0.225)), which are ImageNet's usual ones."
        )
    mean = _three_numbers("mean", mean, rescaled, where)
    return Scaling(float(factor), mean, _three_numbers("std", std, rescaled, where), channels)


def _three_numbers(name: str, value: Sequence, rescaled: bool, where: str) -> tuple[float, ...]:
    """Mean or deviation, checked. Raises TutorialError."""
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        numbers = ()
    valid = len(numbers) == 3 and np.isfinite(numbers).all()
    if valid and rescaled:  # pixels would not be within a hundred deviations else
        valid = max(np.abs(numbers)) <= 1.5
    if not valid or (name == "std" and min(numbers) <= 0):
        raise TutorialError(
            f"{name}={value!r} of {where} is not three numbers for channels scaled to 0–1"
            f"{', above 0' if name == 'std' else ''}: divide numbers for 0–255 by 255."
        )
    return numbers


def recipe(
    config: Mapping,
    fixed: int | None,
    *,
    input_size: int | None,
    resize: str | None,
    crop: bool | None,
    where: str,
) -> Recipe:
    """How photos are resized for a network, its pooling left open; given values first.

    config: of `preprocessor_config.json`. fixed: height and width in pixels that the network
    insists on, if it does. input_size, resize, crop: as in `models.Recipe`. where: names the model
    in errors. Raises TutorialError if nobody says the size, or the sizes contradict each other.
    """
    if resize not in (None, *RESIZE):
        raise TutorialError(f"resize={resize!r} is unknown: use one of {', '.join(RESIZE)}.")
    if not isinstance(crop, bool | None):
        raise TutorialError(f"crop={crop!r} is unknown: use True or False.")
    size, squashed = _side(config.get("size"), where)
    cut, _ = _side(config.get("crop_size"), where)
    cut = cut if config.get("do_center_crop", "crop_size" in config) else None
    squashed = (squashed or isinstance(config.get("size"), int)) and not cut
    portion = config.get("crop_pct")
    if size and portion and not cut:
        size, cut, squashed = round(size / portion), size, size >= SQUASHED_FROM
    wanted = input_size or cut or size or fixed or config.get("image_size")
    _check_size(wanted, fixed, input_size is not None, where)
    crop = not squashed if crop is None else crop
    shorter = size if crop and size and cut and input_size is None and size > cut else None
    return Recipe(wanted, resize or _resample(config, where), crop, "none", shorter)


def _check_size(wanted: object, fixed: int | None, given: bool, where: str) -> None:
    """Raises TutorialError for pixels of a side that a network cannot have."""
    if not wanted:
        raise TutorialError(
            f"{where} takes photos of any size, and nothing says which it was trained with: give "
            'it in pixels, as "size" in a preprocessor_config.json beside it or as in '
            "from_onnx(path, input_size=224)."
        )
    if not isinstance(wanted, int) or not 8 <= wanted <= 4096:
        raise TutorialError(
            f"input_size={wanted!r} of {where} is no number of pixels from 8 to 4096: give one, as "
            "in from_onnx(path, input_size=224)."
        )
    if fixed and wanted != fixed:
        said = "input_size" if given else "preprocessor_config.json"
        raise TutorialError(
            f"{where} takes photos of {fixed} × {fixed} pixels only, and {said} says {wanted}: "
            f"{'give that' if given else f'give input_size={fixed}'}, or export the "
            "network for the other size."
        )


def _resample(config: Mapping, where: str) -> str:
    """How a config wants photos resized: bicubic where it does not say. Raises TutorialError."""
    number = config.get("resample", 3)
    if number not in tuple(RESAMPLE):
        raise TutorialError(
            f"preprocessor_config.json of {where} wants resample={number!r}, which is none of "
            f'{", ".join(RESIZE)}: give one, as in from_onnx(path, resize="bicubic").'
        )
    return RESAMPLE[number]


def _side(size: object, where: str) -> tuple[int | None, bool]:
    """Pixels of one side, and whether the photo is squashed to that square."""
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return size["shortest_edge"], False
        height, width = size.get("height"), size.get("width")
        if height != width:
            raise TutorialError(
                f"{where} wants photos of {width} × {height} pixels, and only squares are made "
                "here: choose another network."
            )
        return height, True
    return (size if isinstance(size, int) else None), False
