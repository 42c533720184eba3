"""Photos whose pixels are whole though what surrounds them is damaged → bytes that Pillow reads."""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")  # all that decides the pixels
JPEG_DROPPED = (0xE0, *range(0xE2, 0xEE), 0xEF, 0xFE)  # all APPn but Exif and Adobe; comments
FRAMES, SCAN, END = (0xC0, 0xC1, 0xC2), 0xDA, 0xD9
BARE = (0x01, *range(0xD0, 0xDA))  # markers without a length
NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # after the data of a scan
# What may follow data that end too early: the blocks that are missing then come out different.
NOISE = random.Random(0).randbytes(2**14).replace(b"\xff", b"")


def mended(content: bytes) -> bytes | None:
    """A photo without its secondary data, and with an end where only that is missing.

    None for what is neither PNG nor JPEG, and for a JPEG whose pixels are not all there.
    """
    content = content.lstrip(b"\r\n")
    if content.startswith(PNG):
        return PNG + b"".join(_png_chunks(content))
    if not content.startswith(JPEG):
        return None
    segments = [part for part in _jpeg_segments(content) if part[0] not in JPEG_DROPPED]
    slim = JPEG + b"".join(part for _, part in segments)
    if segments[-1:] and segments[-1][0] == END:
        return slim
    ends = [slim.rstrip(b"\xff") + more + bytes([0xFF, END]) for more in (b"", NOISE)]
    return ends[0] if _has_all_scans(segments) and _decoded(ends[0]) == _decoded(ends[1]) else None


def _png_chunks(content: bytes) -> Iterator[bytes]:
    """The chunks that decide the pixels; secondary ones only with a right checksum.

    W3C, Portable Network Graphics (third edition), section 5.
    """
    at = len(PNG)
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        chunk = content[at : at + 12 + length]
        intact = chunk[-4:] == zlib.crc32(chunk[4:-4]).to_bytes(4)
        if name in PNG_KEPT and (intact or name.isupper()):
            yield chunk
        at += len(chunk)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and bytes of every segment; that of a scan holds its data. ITU-T T.81, annex B."""
    at = len(JPEG)
    while at + 2 <= len(content) and content[at] == 0xFF:
        marker, end = content[at + 1], at + 2
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        if marker not in BARE:
            end += int.from_bytes(content[end : end + 2])
        if marker == SCAN:
            after = NEXT_MARKER.search(content, end)
            end = after.start() if after else len(content)
        yield marker, content[at:end]
        if marker == END:
            return
        at = end


def _has_all_scans(segments: list[tuple[int, bytes]]) -> bool:
    """Whether every coefficient of every component has a scan with its last bit (T.81, B.2.3)."""
    missing: set[tuple[int, int]] = set()
    for marker, part in segments:
        if marker in FRAMES:  # FF Cn, length, precision, height, width, components, 3 bytes each
            missing |= {(id_, k) for id_ in part[10::3] for k in range(64)}
        elif marker == SCAN:  # FF DA, length, components, 2 bytes each, first, last, bits
            ids = part[5 : 5 + 2 * part[4] : 2]
            first, last, bits = part[5 + 2 * part[4] :][:3]
            if bits & 15 == 0:
                missing -= {(id_, k) for id_ in ids for k in range(first, last + 1)}
    return not missing


def _decoded(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as photo:
        return photo.tobytes()
