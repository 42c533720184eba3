"""Every kind of photo file against the pixels it must give."""

import io
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps, features

from helpers import TutorialError
from helpers.images import RESIZE, decode, load_pixels, open_photo, thumbnail

rng = np.random.default_rng(0)
RGB = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def pixels(path):
    photo = open_photo(path)
    assert photo.mode == "RGB"
    return np.asarray(photo)


def save(image, path, **options):
    image.save(path, **options)
    return path


def test_plain_jpeg_is_what_keras_reads(tmp_path):
    path = save(Image.fromarray(RGB), tmp_path / "a.jpg", quality=90)
    with Image.open(path) as photo:
        np.testing.assert_array_equal(pixels(path), np.asarray(photo.convert("RGB")))
        # What keras.utils.load_img(path, target_size=(224, 224)) calls:
        keras = photo.convert("RGB").resize((224, 224), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(load_pixels(path, 224), np.asarray(keras))


@pytest.mark.parametrize("suffix", ["png", "bmp", "dib", "ppm", "tif", "webp"])
def test_lossless_formats_keep_the_pixels(tmp_path, suffix):
    path = save(Image.fromarray(RGB), tmp_path / f"a.{suffix}", lossless=True)
    np.testing.assert_array_equal(pixels(path), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.tif", "grey.tif"])
def test_exif_orientation_is_applied(tmp_path, orientation, name):
    stored = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB),
        7: RGB[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(RGB, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored[orientation]))
    image, upright = (image, RGB) if name[0] == "a" else (image.getchannel(0), GREY[..., None])
    path = save(image, tmp_path / name, exif=exif)
    np.testing.assert_array_equal(pixels(path), np.broadcast_to(upright, RGB.shape))
    assert decode(path)[1] == orientation


def test_grey_and_black_and_white(tmp_path):
    grey = save(Image.fromarray(GREY), tmp_path / "grey.png")
    np.testing.assert_array_equal(pixels(grey), np.stack([GREY] * 3, axis=-1))
    bits = GREY > 127
    black_and_white = save(Image.fromarray(bits), tmp_path / "bits.png")
    np.testing.assert_array_equal(pixels(black_and_white)[..., 1], bits * np.uint8(255))


def test_transparency_is_composited_on_white(tmp_path):
    alpha = rng.integers(0, 256, GREY.shape, dtype=np.uint8)
    weight = alpha[..., None] / 255
    expected = RGB * weight + 255 * (1 - weight)
    rgba = save(Image.fromarray(np.dstack([RGB, alpha])), tmp_path / "rgba.png")
    np.testing.assert_allclose(pixels(rgba), expected, atol=1)
    la = save(Image.fromarray(np.dstack([GREY, alpha]), mode="LA"), tmp_path / "la.png")
    np.testing.assert_allclose(pixels(la)[..., 0], GREY * weight[..., 0] + 255 - alpha, atol=1)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_and_without_transparency(tmp_path, suffix):
    index = GREY % 3
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    image = Image.fromarray(index)
    image.putpalette(colours.tobytes())
    opaque = save(image, tmp_path / f"opaque.{suffix}")
    np.testing.assert_array_equal(pixels(opaque), colours[index])
    clear = save(image, tmp_path / f"clear.{suffix}", transparency=1)
    expected = np.where((index == 1)[..., None], np.uint8(255), colours[index])
    np.testing.assert_array_equal(pixels(clear), expected)


def test_one_transparent_colour_in_rgb(tmp_path):
    colour = tuple(int(v) for v in RGB[5, 7])
    path = save(Image.fromarray(RGB), tmp_path / "a.png", transparency=colour)
    expected = RGB.copy()
    expected[5, 7] = 255
    assert np.unique(RGB.reshape(-1, 3), axis=0).shape[0] == GREY.size  # it occurs only there
    np.testing.assert_array_equal(pixels(path), expected)


def test_cmyk(tmp_path):
    cmyk = np.dstack([RGB, np.zeros_like(GREY)])
    path = save(Image.fromarray(cmyk, mode="CMYK"), tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels(path), 255 - RGB)
    flat = Image.new("CMYK", (16, 16), (255, 0, 0, 0))  # pure cyan, as Photoshop's JPEG stores it
    jpeg = save(flat, tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(pixels(jpeg), np.full((16, 16, 3), (0, 255, 255)), atol=2)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    grey = np.linspace(0, 65535, 48 * 64).astype(np.uint16).reshape(48, 64)
    path = save(Image.fromarray(grey), tmp_path / f"a.{suffix}")
    expected = np.round(grey / 65535 * 255)
    np.testing.assert_array_equal(pixels(path)[..., 2], expected)


def test_thirty_two_bit_grey(tmp_path):
    grey = np.linspace(0, 65535, 48 * 64).astype(np.int32).reshape(48, 64)
    path = save(Image.fromarray(grey), tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels(path)[..., 0], np.round(grey / 65535 * 255))
    with pytest.raises(TutorialError, match=r"b\.tif.*16 bits"):
        open_photo(save(Image.fromarray(grey * 2), tmp_path / "b.tif"))


def test_floating_point_grey_is_refused(tmp_path):
    path = save(Image.fromarray(GREY.astype(np.float32)), tmp_path / "a.tif")
    with pytest.raises(TutorialError, match=r"a\.tif.*floating-point"):
        open_photo(path)


def test_an_animation_gives_its_first_frame(tmp_path):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    path = save(first, tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(pixels(path), np.asarray(first))


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp"])
def test_truncated_photo_is_refused(tmp_path, suffix):
    path = save(Image.fromarray(RGB), tmp_path / f"half.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TutorialError, match=rf"half\.{suffix}' cannot be used.*intact"):
        open_photo(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html><body>404", "it is an HTML page"),
        (b"just some text", "not an image in a format"),
        (b"\xff\xd8\xff\xe0", "."),
    ],
)
def test_other_content_is_refused(tmp_path, content, reason):
    path = tmp_path / "a b's.jpg"
    path.write_bytes(content)
    with pytest.raises(TutorialError, match=reason) as caught:
        open_photo(path)
    assert "a b's.jpg" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_postscript_program_is_not_run(tmp_path, monkeypatch):
    """Pillow goes by what is in a file, and would hand this one to Ghostscript."""
    reached = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *what, **how: reached.append(what))
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, format="EPS")
    with pytest.raises(TutorialError, match=r"a\.jpg.*not an image in a format read here"):
        open_photo(path)
    assert reached == []


@pytest.mark.parametrize(("kind", "name"), [("MPO", "a.jpg"), ("AVIF", "a.avif")])
def test_phones_photos_are_read(tmp_path, kind, name):
    """MPO is a JPEG with more pictures behind it."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    more = {"append_images": [Image.fromarray(255 - RGB)]} if kind == "MPO" else {}
    Image.fromarray(RGB).save(tmp_path / name, format=kind, save_all=True, **more)
    with Image.open(tmp_path / name) as photo:
        assert photo.format == kind
        np.testing.assert_array_equal(pixels(tmp_path / name), np.asarray(photo.convert("RGB")))


def test_heic_is_read_whatever_its_name_says(tmp_path):
    """`gradient.heic` is the picture below, encoded by pillow-heif, stored turned by 90 degrees."""
    y, x = np.mgrid[:48, :64]
    gradient = np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], axis=-1)
    for name in ("a.heic", "b.HEIF", "c.jpg"):
        shutil.copy(Path(__file__).with_name("gradient.heic"), tmp_path / name)
        np.testing.assert_allclose(pixels(tmp_path / name), np.rot90(gradient, -1), atol=8)
        assert decode(tmp_path / name)[1] == 6
    (tmp_path / "half.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:-300])
    with pytest.raises(TutorialError, match=r"half\.heic.*damaged"):
        open_photo(tmp_path / "half.heic")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "it is a JPEG XL image; djxl"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "it is a JPEG 2000 image; save it as JPEG"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "it is a RAW photo; export it"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "it is a video; take pictures"),
        (b"version https://git-lfs.github.com/spec/v1\n", "placeholder of Git LFS.*git lfs pull"),
        (b"/annex/objects/SHA256E-s9--1f.jpg\n", "placeholder of Git LFS.*git annex get"),
    ],
)
def test_what_is_not_read_is_named_with_what_would_read_it(tmp_path, head, reason):
    (tmp_path / "a.jpg").write_bytes(head)
    with pytest.raises(TutorialError, match=reason):
        open_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_fewer_bits_in_sixteen_is_scaled_by_its_range(tmp_path, bits, suffix):
    grey = np.linspace(0, 2**bits - 1, 48 * 64).astype(np.uint16).reshape(48, 64)
    path = save(Image.fromarray(grey), tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(pixels(path)[..., 1], grey / (2**bits - 1) * 255, atol=0.5)


# Damaged metadata


def png_with(chunk, data, *, right_checksum):
    """A PNG whose second chunk is this one."""
    plain = io.BytesIO()
    Image.fromarray(RGB).save(plain, "PNG")
    checksum = zlib.crc32(chunk + data) ^ (not right_checksum)
    extra = struct.pack(">I", len(data)) + chunk + data + struct.pack(">I", checksum)
    return plain.getvalue()[:33] + extra + plain.getvalue()[33:]


BOMB = zlib.compress(bytes(70_000_000))
CHUNKS = {
    "text": (b"zTXt", b"workflow\0\0" + BOMB, True),
    "international text": (b"iTXt", b"prompt\0\1\0\0\0" + BOMB, True),
    "profile": (b"iCCP", b"x\0\0" + BOMB, True),
    "no profile": (b"iCCP", b"x\0\0nothing", True),
    "checksum of text": (b"tEXt", b"Comment\0hello", False),
    "checksum of EXIF": (b"eXIf", b"MM\0*", False),
    "animation": (b"acTL", b"\0", True),
}


@pytest.mark.parametrize(("chunk", "data", "right"), CHUNKS.values(), ids=CHUNKS)
def test_damaged_or_huge_metadata_of_a_png_do_not_cost_its_pixels(tmp_path, chunk, data, right):
    path = tmp_path / "a.png"
    path.write_bytes(png_with(chunk, data, right_checksum=right))
    np.testing.assert_array_equal(pixels(path), RGB)


def test_an_animated_png_with_a_wrong_checksum_keeps_its_first_frame(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(255 - RGB)])
    content = path.read_bytes()
    at = content.index(b"fcTL") + 30  # its checksum
    path.write_bytes(content[:at] + b"\0\1\2\3" + content[at + 4 :])
    np.testing.assert_array_equal(pixels(path), RGB)


def test_a_png_with_damaged_pixels_is_refused(tmp_path):
    content = bytearray(png_with(b"tEXt", b"a\0b", right_checksum=False))
    content[content.index(b"IDAT") + 40] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(TutorialError, match="it is damaged"):
        open_photo(tmp_path / "a.png")


EXIF = {
    "a number out of range": (0x9204, 10, struct.pack(">ii", -(2**31), -1)),
    "text that is numbers": (0x010E, 3, struct.pack(">HH", 7, 7)),
    "an orientation that is text": (0x0112, 2, b"6\0\0\0"),
    "two orientations": (0x0112, 3, struct.pack(">HH", 6, 6)),
    "an orientation that is none": (0x0112, 3, struct.pack(">HH", 99, 0)),
    "nothing": (0, 0, b""),
}


def test_broken_exif_costs_neither_the_pixels_nor_a_warning(tmp_path):
    for name, (tag, kind, value) in EXIF.items():
        count = 2 if name.startswith("two") else max(len(value) // 4, 1)
        entry = struct.pack(">HHII", tag, kind, count, 26) + bytes(4) + value
        exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry
        save(Image.fromarray(RGB), tmp_path / f"{name}.jpg", exif=exif[:-2], quality=95)
    code = "import sys; from helpers.images import open_photo\n"
    code += "for path in sys.argv[1:]: print(open_photo(path).size)"
    run = subprocess.run(
        [sys.executable, "-c", code, *tmp_path.iterdir()], capture_output=True, text=True
    )
    assert (run.stdout, run.stderr) == ("(64, 48)\n" * len(EXIF), "")


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
}


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_read(tmp_path, mode, options, missing):
    path = save(Image.fromarray(RGB).convert(mode), tmp_path / "a.jpg", **options)
    whole, content = pixels(path), path.read_bytes()
    path.write_bytes(content[:-missing])
    np.testing.assert_array_equal(pixels(path), whole)


@pytest.mark.parametrize("missing", [6, 20, 200])
@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_a_jpeg_that_lacks_pixels_is_refused(tmp_path, options, missing):
    path = save(Image.fromarray(RGB), tmp_path / "a.jpg", **options)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(TutorialError, match="it is damaged: image file is truncated"):
        open_photo(path)


def test_a_progressive_jpeg_that_lacks_whole_scans_is_refused(tmp_path):
    path = save(Image.fromarray(RGB), tmp_path / "a.jpg", progressive=True)
    path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(b"\xff\xda")])
    with pytest.raises(TutorialError, match="it is damaged: image file is truncated"):
        open_photo(path)


def test_a_jpeg_is_read_without_segments_that_no_decoder_needs(tmp_path):
    path = save(Image.fromarray(RGB), tmp_path / "a.jpg")
    whole, content = pixels(path), path.read_bytes()
    short = b"\xff\xe0\0\7JFIF\0"
    for before, after in ((b"", short), (b"\n", b"")):
        path.write_bytes(before + content[:2] + after + content[2:])
        np.testing.assert_array_equal(pixels(path), whole)


# Odd sizes


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000), (2, 3)])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_photos_of_any_shape_become_squares_and_thumbnails(tmp_path, size, suffix):
    path = save(Image.new("RGB", size, (200, 100, 50)), tmp_path / f"a.{suffix}", quality=95)
    for resize in RESIZE:
        for crop in (False, True):
            square = load_pixels(path, 224, resize, crop)
            np.testing.assert_allclose(
                square[[0, 112, 223], [0, 112, 223]], [(200, 100, 50)] * 3, atol=4
            )
    assert thumbnail(path, (160, 120)).size == (160, 120)
    small = thumbnail(path, (160, 160), crop=False).size
    assert min(small) >= 1 and max(small) <= 160


def test_missing_file_and_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(TutorialError, match="there is no such file"):
            open_photo(path)


def test_above_the_limit_is_refused(tmp_path):
    path = save(Image.new("L", (1, 1)), tmp_path / "bomb.png")
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 14000, 14000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(TutorialError, match=r"bomb\.png.*178 megapixels"):
        open_photo(path)


def test_hundred_megapixels_are_read_without_a_warning(tmp_path):
    path = save(Image.new("1", (10_000, 10_000), 1), tmp_path / "large.png")
    code = "import sys; from helpers.images import open_photo; print(open_photo(sys.argv[1]).size)"
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("(10000, 10000)\n", "")


def test_squash_and_crop(tmp_path):
    """Left third red, middle green, right third blue; three times as wide as high."""
    image = np.zeros((30, 90, 3), np.uint8)
    for third in range(3):
        image[:, third * 30 : third * 30 + 30, third] = 255
    path = save(Image.fromarray(image), tmp_path / "a.png")
    squashed = load_pixels(path, 30)
    assert squashed.shape == (30, 30, 3)
    assert squashed.dtype == np.uint8
    np.testing.assert_array_equal(squashed[0, [2, 15, 28]], np.eye(3) * 255)
    cropped = load_pixels(path, 30, crop=True)
    np.testing.assert_array_equal(cropped, image[:, 30:60])
    np.testing.assert_array_equal(load_pixels(path, 10, "bilinear", crop=True)[0, 5], [0, 255, 0])


def test_nearest_picks_and_the_others_average(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    path = save(Image.fromarray(stripes), tmp_path / "a.png")
    assert set(np.unique(load_pixels(path, 8))) <= {0, 255}
    for resize in ("bilinear", "bicubic", "lanczos"):
        np.testing.assert_allclose(load_pixels(path, 8, resize)[1:-1, 1:-1], 127.5, atol=6)


def test_unknown_resize_is_refused(tmp_path):
    with pytest.raises(TutorialError, match="resize='cubic'.*nearest, bilinear, bicubic, lanczos"):
        load_pixels(tmp_path / "a.png", 8, "cubic")


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("crop", [False, True])
def test_scaled_decoding_keeps_the_pixels(tmp_path, photos, orientation, resize, crop):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number, source in enumerate(photos[:1]):
        with Image.open(source) as photo:
            large = photo.resize((2560, 1920), Image.Resampling.BICUBIC)
        path = save(large, tmp_path / f"{number}.jpg", quality=92, exif=exif)
        assert min(decode(path, 2 * 224)[0].size) == 480, "decoded at a quarter"
        whole = open_photo(path)
        fitted = ImageOps.fit if crop else Image.Image.resize
        exact = np.asarray(fitted(whole, (224, 224), RESIZE[resize]), np.int16)
        difference = np.abs(load_pixels(path, 224, resize, crop) - exact)
        assert difference.mean() < 1 and np.percentile(difference, 99) <= 8


def test_nearest_is_never_decoded_at_a_fraction(tmp_path):
    noise = rng.integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    path = save(Image.fromarray(noise), tmp_path / "a.jpg")
    exact = open_photo(path).resize((224, 224), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(load_pixels(path, 224, "nearest"), np.asarray(exact))
