"""One photo file → upright RGB pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from helpers.settings import TutorialError, display_path

RESIZE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# What is read, whatever a file is called. Pillow knows more, and runs Ghostscript for PostScript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "PPM", "TIFF", "AVIF")

SCALED_DECODE = 2  # how much larger than needed a JPEG is decoded before an antialiased resize

# Pillow warns above 89 megapixels and refuses above twice that. Large panoramas are fine here, so
# only the refusal stays. Set once: `warnings.catch_warnings` is not safe in threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # 178 million


def open_photo(path: Path, at_least: int | None = None) -> Image.Image:
    """Decode a photo completely: mode RGB, turned upright as its EXIF orientation says.

    With `at_least`, a JPEG may come out at 1/2, 1/4 or 1/8 of its size, neither side shorter than
    that many pixels: the decoder then averages blocks of pixels and is several times faster.

    Transparency is composited on white, 16-bit grey scaled to 8 bits, of an animation the first
    frame taken. The pixels of an ordinary RGB photo are those of Keras' `load_img`.

    Raises TutorialError, naming the file, if it cannot be read completely.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as photo:
            if at_least:
                photo.draft(None, (at_least, at_least))
            photo.load()
            ImageOps.exif_transpose(photo, in_place=True)
            return _to_rgb(photo)
    # A decoder fed damaged bytes raises nearly anything: OSError, SyntaxError, struct.error, …
    except Exception as error:
        raise TutorialError(
            f"{display_path(path)!r} cannot be used as a photo: {_reason(path, error)}; "
            "remove the file or put an intact or smaller copy in its place."
        ) from error


def load_pixels(
    path: Path,
    size: int,
    resize: str = "nearest",
    crop: bool = False,
    shorter_side: int | None = None,
) -> np.ndarray:
    """Read a photo as a square: uint8 [size, size, 3], RGB.

    `crop=False` squashes the whole photo; `crop=True` keeps its aspect: the shorter side becomes
    `shorter_side` pixels (`size` unless given) and the centre is kept. `resize` is `nearest`,
    `bilinear`, `bicubic` or `lanczos`; all but the first average over all source pixels when they
    shrink (antialiasing).
    `load_pixels(path, 224)` equals Keras' `load_img(path, target_size=(224, 224))`.

    A JPEG at least four times as large as needed on both sides is decoded at a fraction of its
    size, still twice as large as needed or more, before any resize but `nearest`, which is exact:
    pixels differ by 1 of 255 on average at most, vectors by less than 0.001 in cosine.

    Raises TutorialError if the photo cannot be read or `resize` is none of these.
    """
    if resize not in RESIZE:
        raise TutorialError(f"resize={resize!r} is unknown: use one of {', '.join(RESIZE)}.")
    shorter_side = shorter_side or size
    photo = open_photo(path, None if resize == "nearest" else SCALED_DECODE * shorter_side)
    if crop:
        edge = (1 - size / shorter_side) / 2  # of the shorter side, cut off at both ends
        photo = ImageOps.fit(photo, (size, size), RESIZE[resize], bleed=edge)
    else:
        photo = photo.resize((size, size), RESIZE[resize])
    return np.array(photo)


def _to_rgb(photo: Image.Image) -> Image.Image:
    if photo.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is not known")
    if photo.mode.startswith("I"):
        grey = np.asarray(photo).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("its grey values do not fit 16 bits")
        return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if photo.has_transparency_data:
        rgba = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return photo.convert("RGB")


def _reason(path: Path, error: Exception) -> str:
    if not path.is_file():
        return "there is no such file"
    if isinstance(error, Image.DecompressionBombError):
        return "it has more than 178 megapixels"
    if isinstance(error, PermissionError):
        return "it may not be read"
    if isinstance(error, UnidentifiedImageError):
        if path.stat().st_size == 0:
            return "it is empty"
        with path.open("rb") as file:
            head = file.read(512).lstrip().lower()
        if head.startswith((b"<!doctype html", b"<html")):
            return "it is an HTML page"
        return f"it is not an image in a format read here ({', '.join(FORMATS)})"
    return str(error) or type(error).__name__
