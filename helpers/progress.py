"""A progress bar that leaves nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

listener: Callable[[int, int], None] | None = None
"""Told as well how far a bar is: what is done, and in all. For a program that shows its own."""


def track(
    iterable: Iterable[T],
    *,
    total: int,
    unit: str,
    label: str,
    enabled: bool = True,
    size: Callable[[T], int] = lambda item: 1,
) -> Iterator[T]:
    """Yield the items of `iterable`, with a bar if that takes longer than half a second.

    `size` says for how many of `total` an item stands, such as a batch for its photos.

    The bar shows in a terminal (on stderr) and in a notebook that someone is sitting at, and goes
    away at the end. Where nobody watches – nbconvert, nbclient, nbval, a pipe – there is none, so
    that an executed notebook holds only its own outputs.
    """
    stream = watched_stream() if enabled else None
    with tqdm(
        total=total,
        unit=f" {unit}",
        desc=label,
        leave=False,
        delay=0.5,
        file=stream,
        disable=stream is None,
    ) as bar:
        done = 0
        for item in iterable:
            yield item
            done += size(item)
            bar.update(size(item))
            if listener:
                listener(done, total)


def say(text: str) -> None:
    """Print a line about long work, where someone watches."""
    if stream := watched_stream():
        print(text, file=stream, flush=True)


def watched_stream() -> TextIO | None:
    """Where to show progress: a terminal, a notebook someone sits at, or nowhere."""
    if sys.stderr.isatty():
        return sys.stderr
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    # A front end says with every request whether someone could answer an `input()`:
    # JupyterLab and VS Code can, nbclient and nbval cannot.
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return sys.stdout if request.get("content", {}).get("allow_stdin") else None
