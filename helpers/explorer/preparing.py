"""A model made in a process of its own: the explorer goes on meanwhile, and can cancel it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from helpers import progress, search, services
from helpers.conversion import ensure_onnx
from helpers.datasets import ImageDataset, ImageRecord
from helpers.extraction import extract
from helpers.models import EmbeddingModel, embedding_model
from helpers.settings import ROOT, TutorialError

TELL_SECONDS = 0.3
STEPS = ("converting to ONNX", "computing vectors", "storing in Milvus and Redis")


class Preparation:
    """A running process that converts, extracts and stores a model for a dataset.

    Args:
        show: called from a thread, now and then, with a share done, 0 to 1, and a line of text.
        ended: called from that thread at the end with what went wrong, "" if nothing; not called
            after `cancel`.
    """

    def __init__(
        self,
        dataset: ImageDataset,
        model: EmbeddingModel,
        show: Callable[[float, str], None],
        ended: Callable[[str], None],
    ):
        self.model, self.show, self.ended = model, show, ended
        self.cancelled = False
        self.state = (0, 0, 0)  # step, photos done, photos in all
        self.since = time.monotonic()  # this step began
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", "helpers.explorer.preparing"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, encoding="utf-8", cwd=ROOT,
        )  # fmt: skip
        records = [(one.id, str(one.path), sorted(one.labels)) for one in dataset]
        order = {
            "model": (model.name, model.preset, model.precision),
            "dataset": (dataset.name, dataset.slug),
            "records": records,
        }
        threading.Thread(target=self._follow, args=[json.dumps(order)], daemon=True).start()

    def cancel(self) -> None:
        """End the process and the converter it has started; what it has finished stays."""
        self.cancelled = True
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.process.pid)
            # Later on it may have started a server again that others use, too.
            converter = process.children(recursive=True) if self.state[0] == 0 else []
            for one in (process, *converter):
                one.kill()

    def text(self) -> str:
        """What is going on: “Step 2 of 3, computing vectors: 62 of 208 photos, about 40 s left”."""
        step, done, total = self.state
        so_far = time.monotonic() - self.since
        text = f"{self.model.label} – step {step + 1} of {len(STEPS)}, {STEPS[step]}: "
        if not total:
            return text + f"{so_far:.0f} s so far"
        left = f", about {so_far / done * (total - done):.0f} s left" if done else ""
        return text + f"{done} of {total} photos{left}"

    def _follow(self, order: str) -> None:
        reading = threading.Thread(target=self._read, daemon=True)
        reading.start()
        with suppress(BrokenPipeError):  # what it said before its end tells why
            self.process.stdin.write(order)
            self.process.stdin.close()
        while reading.is_alive():
            step, done, total = self.state
            self.show((step + done / max(total, 1)) / len(STEPS), self.text())
            reading.join(TELL_SECONDS)
        failed = self.process.wait()
        if not self.cancelled:
            self.errors.seek(0)
            [*_, why] = self.errors.read().strip().splitlines() or ["it was ended from outside"]
            self.ended(f"{self.model.label} could not be made: {why}" if failed else "")

    def _read(self) -> None:
        for line in self.process.stdout:
            state = tuple(json.loads(line))
            if state[:2] < self.state[:2] or state[0] != self.state[0]:  # starts from 0 again
                self.since = time.monotonic()
            self.state = state


def main() -> None:
    """Do what stdin asks for, and say on stdout how far it is: [step, photos done, in all]."""
    order, out = json.load(sys.stdin), sys.stdout
    sys.stdout = sys.stderr  # the libraries' own words

    def tell(step: int, done: int = 0, total: int = 0) -> None:
        print(json.dumps([step, done, total]), file=out, flush=True)

    model = embedding_model(*order["model"])
    records = [ImageRecord(id_, Path(path), frozenset(labels))
               for id_, path, labels in order["records"]]  # fmt: skip
    dataset = ImageDataset(*order["dataset"], tuple(records))
    tell(0)
    onnx_path = ensure_onnx(model)
    tell(1)
    progress.listener = lambda done, total: tell(1, done, total)
    extract(onnx_path, dataset.paths)
    progress.listener = lambda done, total: tell(2, done, total)
    tell(2)
    search.store_dataset(
        dataset, model, milvus=services.connect_milvus(), redis=services.connect_redis()
    )


if __name__ == "__main__":
    try:
        main()
    except TutorialError as error:
        sys.exit(str(error))
