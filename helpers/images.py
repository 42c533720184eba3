"""One photo file → upright RGB pixels."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pi_heif
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from helpers.settings import TutorialError, display_path

RESIZE = {
    name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "bicubic", "lanczos")
}

pi_heif.register_heif_opener(thumbnails=False, decode_threads=1)  # photos have threads already

# What is read, whatever a file is called. Pillow knows more, and runs Ghostscript for PostScript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "PPM", "TIFF", "AVIF", "HEIF")

SCALED_DECODE = 2  # how much larger than needed a JPEG is decoded before an antialiased resize

# Pillow warns above 89 megapixels and refuses above twice that. Large panoramas are fine here, so
# only the refusal stays. It also warns of metadata that it cannot read, which nobody asked for.
# Set once: `warnings.catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.|helpers\.images")
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # 178 million
GREY_BITS = (8, 10, 12, 14, 16)  # what cameras and scanners put into 16

# First bytes of most of these.
PHOTO_START = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*|RIFF.{4}WEBP|.{4}ftyp(hei|hev|mif1|avi[fs])",
    re.DOTALL,
)
# First bytes of what is not read → what it is, and the way out.
OTHERS = {
    rb"\s*<(!doctype\s+)?html": ("an HTML page", "download the photo itself"),
    rb"version https://git-lfs|.?/annex/objects": (
        "a placeholder of Git LFS or git-annex",
        "fetch the photo with git lfs pull or git annex get",
    ),
    rb"\xff\x0a|....JXL ": ("a JPEG XL image", "djxl turns it into JPEG or PNG"),
    rb"....jP  |\xff\x4f\xff\x51": ("a JPEG 2000 image", "save it as JPEG or PNG"),
    rb"8BPS|gimp xcf|%PDF|\0\0\x01\0": ("made for another program", "save it as JPEG or PNG"),
    rb"FUJIFILMCCD-RAW|II\x2a\0.{4}CR|....ftypcrx|II(RO|U\0)": ("a RAW photo", "export it as JPEG"),
    rb"....ftyp(qt|isom|mp4|M4V|3gp|avc1)|RIFF....AVI ": ("a video", "take pictures out of it"),
}


class UnusablePhoto(TutorialError):
    """A file that cannot be read as a photo."""

    def __init__(self, path: Path, reason: str, way_out: str):
        name = display_path(path)
        super().__init__(
            f"{name!r} cannot be used as a photo: {reason}; {way_out}, or remove the file."
        )
        self.kind = re.sub("^it (is|has) |( \\(|:).*", "", reason)
        """What is wrong in few words, such as `empty` or `damaged`."""


class _UnknownRange(ValueError):
    """Pixels that cannot be told black from white."""


def open_photo(path: Path) -> Image.Image:
    """Decode a photo completely: mode RGB, turned upright as its EXIF orientation says.

    Transparency is composited on white, grey of 10 to 16 bits scaled to 8, of an animation the
    first frame taken. The pixels of an ordinary RGB photo are those of Keras' `load_img`. Damaged
    metadata is left out, and a JPEG may lack its end marker.

    Raises UnusablePhoto, naming the file, if the pixels cannot be read completely.
    """
    return decode(path)[0]


def decode(path: Path, at_least: int | None = None) -> tuple[Image.Image, int]:
    """The photo that `open_photo` gives, and the EXIF orientation (1 to 8) that made it upright.

    With `at_least`, a JPEG may come out at 1/2, 1/4 or 1/8 of its size, neither side shorter than
    that many pixels: the decoder then averages blocks of pixels and is several times faster.
    """
    path = Path(path)
    # A decoder fed damaged bytes raises nearly anything: OSError, SyntaxError, struct.error, …
    try:
        # From an open file: those it opens by path Pillow may map, and scrambles turned grey TIFFs.
        with path.open("rb") as file:
            try:
                return _decode(file, at_least)
            except Exception:
                from helpers.mending import mended  # few photos need it

                content = mended(path.read_bytes())
                if content is None:
                    raise
        return _decode(io.BytesIO(content), at_least)
    except Exception as error:
        raise UnusablePhoto(path, *_why_unusable(path, error)) from error


def _decode(source: BinaryIO, at_least: int | None) -> tuple[Image.Image, int]:
    with Image.open(source, formats=FORMATS) as photo:
        if at_least:
            photo.draft(None, (at_least, at_least))
        # TIFF and HEIC come out of the decoder upright, and then say that they are.
        before = _orientation(photo) if photo.format == "TIFF" else 1
        before = photo.info.get("original_orientation") or before
        photo.load()
        orientation = _orientation(photo)
        photo = _to_rgb(photo)
    if orientation > 1:
        photo = Image.fromarray(np.ascontiguousarray(upright(np.asarray(photo), orientation)))
    return photo, max(orientation, before)


def _orientation(photo: Image.Image) -> int:
    """What the metadata say, if it is an EXIF orientation; damaged ones say 1."""
    try:
        orientation = photo.getexif().get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in FLIPS else 1
    except Exception:  # as of any decoder
        return 1


def thumbnail(path: Path, size: tuple[int, int], crop: bool = True) -> Image.Image:
    """A photo made small: cropped to `size` (width, height), or whole within it.

    Raises UnusablePhoto as `open_photo` does.
    """
    photo = open_photo(path)
    if crop:
        return ImageOps.fit(photo, size)
    photo.thumbnail(size, Image.Resampling.LANCZOS)
    return photo


# EXIF orientation → whether to flip the rows and the columns; from 5 on the two are swapped then.
# CIPA DC-008 (Exif 2.32), tag Orientation.
FLIPS = dict(enumerate([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0), (1, 0), (1, 1), (0, 1)], start=1))


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [height, width, …] as stored → as they are shown."""
    rows, columns = FLIPS[orientation]
    pixels = pixels[:: -1 if rows else 1, :: -1 if columns else 1]
    return pixels if orientation < 5 else pixels.swapaxes(0, 1)


def upright_box(
    box: tuple[float, float, float, float], stored_size: tuple[int, int], orientation: int
) -> tuple[float, float, float, float]:
    """A box (x, y, width, height) on a stored photo (height, width) → on the one that is shown."""
    (x, y, width, height), (rows, columns) = box, FLIPS[orientation]
    x = stored_size[1] - x - width if columns else x
    y = stored_size[0] - y - height if rows else y
    return (x, y, width, height) if orientation < 5 else (y, x, height, width)


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
    photo, _ = decode(path, None if resize == "nearest" else SCALED_DECODE * shorter_side)
    if crop:
        edge = (1 - size / shorter_side) / 2  # of the shorter side, cut off at both ends
        photo = ImageOps.fit(photo, (size, size), RESIZE[resize], bleed=edge)
    else:
        photo = photo.resize((size, size), RESIZE[resize])
    return np.array(photo)


def _to_rgb(photo: Image.Image) -> Image.Image:
    if photo.mode == "F":
        raise _UnknownRange("its pixels are floating-point numbers, whose range is not known")
    if photo.mode.startswith("I"):
        grey = np.asarray(photo).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise _UnknownRange("its grey values do not fit 16 bits")
        bits = next(bits for bits in GREY_BITS if grey.max() < 2**bits)
        most = 2**bits - 1
        return Image.fromarray(((grey * 255 + most // 2) // most).astype(np.uint8)).convert("RGB")
    if photo.has_transparency_data:
        rgba = photo.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return photo.convert("RGB")


def _why_unusable(path: Path, error: Exception) -> tuple[str, str]:
    """What is wrong with a file that cannot be read as a photo, and the way out."""
    if not path.is_file():
        return "there is no such file", "correct its path"
    if isinstance(error, Image.DecompressionBombError):
        return "it has more than 178 megapixels", "put a smaller copy in its place"
    if isinstance(error, PermissionError):
        return "it may not be read", "change its permissions"
    if isinstance(error, _UnknownRange):
        return str(error), "save it with 8 or 16 bits"
    if path.stat().st_size == 0:
        return "it is empty", "copy it again from where it comes from"
    if not isinstance(error, UnidentifiedImageError):
        what = " ".join(str(error).split()) or type(error).__name__
        return f"it is damaged: {what}", "put an intact copy in its place"
    with path.open("rb") as file:
        head = file.read(512)
    for first_bytes, (kind, way_out) in OTHERS.items():
        if re.match(first_bytes, head, re.DOTALL | re.IGNORECASE):
            return f"it is {kind}", way_out
    if PHOTO_START.match(head):
        kind = "it is damaged, or of a kind that is not read here"
        return kind, "put an intact copy or a JPEG in its place"
    formats = ", ".join(FORMATS)
    return f"it is not an image in a format read here ({formats})", "save it in one of them"
