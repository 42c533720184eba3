"""COCO's server in small: the official addresses, range requests, and faults on demand."""

from __future__ import annotations

import io
import os
import threading
import time
import zipfile
from collections import Counter, defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

ARCHIVE = "/annotations/annotations_trainval2017.zip"
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"


class CocoServer(ThreadingHTTPServer):
    """Serves a folder in COCO's layout; `url` is what COCO_BASE_URL takes.

    `faults[path]` lists what goes wrong with the next requests of a path: `503`, `404`,
    `truncated`, `html`, `redirect`, `stalled` (half, then nothing until
    `go_on` is set). After `photos_left` photos the server dies in the middle of
    one. `asked` lists the requests as "GET /path", `sent` counts the body bytes by path.
    """

    daemon_threads = True

    def __init__(self, source: Path, photos_left: int | None = None, delay_s: float = 0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.source = source
        self.archive = annotations_zip(source)
        self.photos_left = photos_left
        self.delay_s = delay_s
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.redirect_to = ""
        self.asked: list[str] = []
        self.sent: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.dead = False
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def photos_asked(self) -> list[str]:
        return [path for path in self.asked if path.endswith(".jpg")]

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CocoServer

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append(f"{self.command} {self.path}")
            fault = server.faults[self.path].pop(0) if server.faults[self.path] else None
            if self.path.endswith(".jpg") and server.photos_left is not None:
                server.photos_left -= 1
                server.dead = server.photos_left < 0
        time.sleep(server.delay_s)
        if server.dead:
            fault = "truncated"
            threading.Thread(target=server.shutdown).start()
            server.socket.close()
        body = self.body()
        if fault in {"503", "404"} or body is None:
            self.reply(int(fault or 404), b"no")
        elif fault == "redirect":
            self.reply(302, b"", Location=server.redirect_to)
        elif fault == "html":
            self.reply(200, HTML)
        else:
            self.reply_range(body, cut=fault in {"truncated", "stalled"})
            if fault == "stalled":
                self.server.go_on.wait(3600)

    def body(self) -> bytes | None:
        if self.path == ARCHIVE:
            return self.server.archive
        file = self.server.source / unquote(self.path).lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def reply_range(self, body: bytes, cut: bool):
        wanted = self.headers.get("Range")
        if not wanted:
            self.reply(200, body, cut)
            return
        first, last = wanted.removeprefix("bytes=").split("-")
        start = int(first) if first else max(0, len(body) - int(last))
        stop = int(last) + 1 if first and last else len(body)
        part = body[start:stop]
        content_range = f"bytes {start}-{start + len(part) - 1}/{len(body)}"
        self.reply(206, part, cut, **{"Content-Range": content_range})

    def reply(self, status: int, body: bytes, cut: bool = False, **headers: str):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = body[: len(body) // 2] if cut else body
        self.wfile.write(sent)
        with self.server.lock:
            self.server.sent[self.path] += len(sent)
        self.close_connection = cut


def annotations_zip(source: Path) -> bytes:
    """The official archive's form: the splits' files among others that nobody needs here."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("annotations/captions_train2017.json", os.urandom(2**20))
        for file in sorted(source.glob("annotations/*.json")):
            archive.write(file, f"annotations/{file.name}", zipfile.ZIP_DEFLATED)
        archive.writestr("annotations/person_keypoints_val2017.json", os.urandom(2**20))
    return buffer.getvalue()


@contextmanager
def serve(source: Path, **options):
    """A running `CocoServer` on a free port of 127.0.0.1."""
    server = CocoServer(source, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
