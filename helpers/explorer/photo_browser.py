"""Photos that are buttons, as one anywidget: `photo_browser.js`.

No widget of ipywidgets is both a picture and a button: `Image` and `HTML` send no clicks, `Button`
holds no picture, `FileUpload` takes no dropped files.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import anywidget
import traitlets

from helpers.datasets import ImageRecord
from helpers.images import thumbnail

SIZES = {"small": 86, "medium": 160, "large": 260}
"""Of a photo in a row, in CSS pixels."""
THUMBNAIL = 160

Line = tuple[str, str]
"""What stands under a photo, and what its tooltip says; either may be empty."""


class PhotoBrowser(anywidget.AnyWidget):
    """A strip of queries, the query and the trail to it, rows of results; each part may be empty.

    It sends a dict with `kind`: what the reader did (`photo`, `why`, `enlarge`, `vote`, `random`,
    `back`, `forward`, `file`), and of which photo.
    """

    _esm = Path(__file__).with_name("photo_browser.js")
    _css = Path(__file__).with_name("photo_browser.css")
    strip = traitlets.List().tag(sync=True)
    note = traitlets.Unicode().tag(sync=True)
    query = traitlets.Dict().tag(sync=True)
    trail = traitlets.List().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    explanation = traitlets.Dict().tag(sync=True)
    enlarged = traitlets.Dict().tag(sync=True)
    weight = traitlets.Float(0.5).tag(sync=True)
    ends = traitlets.List(["", ""]).tag(sync=True)
    size = traitlets.Int(SIZES["small"]).tag(sync=True)

    def on_action(self, act: Callable[[dict, list], None]) -> None:
        """Call `act` with each message and its buffers, and tell the browser when it is done."""

        def answer(_widget: object, message: dict, buffers: list) -> None:
            try:
                act(message, buffers)
            finally:
                self.send("done")

        self.on_msg(answer)


def photo_entry(
    record: ImageRecord, lines: Iterable[Line] = (), size: int = THUMBNAIL, **more: object
) -> dict:
    """A thumbnail as the browser takes it; JavaScript would round a long id that is a number."""
    return {
        "id": str(record.id),
        "src": thumbnail_uri(record.path, size),
        "alt": alt_text(record.labels),
        "lines": [line for line in lines if line[0]],
        **more,
    }


def alt_text(labels: frozenset[str]) -> str:
    """What a screen reader says of a photo."""
    return ", ".join(sorted(labels)) or "photo without label"


def photo_uri(path: Path, size: int) -> str:
    """A whole photo, at most `size` pixels wide and high, as the text of a JPEG data URI.

    Raises TutorialError if the photo cannot be read.
    """
    content = io.BytesIO()
    thumbnail(path, (size, size), crop=False).save(content, "JPEG", quality=82)
    return data_uri(content.getvalue(), "jpeg")


thumbnail_uri = lru_cache(maxsize=4096)(photo_uri)


def data_uri(content: bytes, kind: str) -> str:
    """A picture as text, `kind` being `png` or `jpeg`."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
