"""The environment in which Jupyter and its kernels run the notebooks."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from helpers.settings import ROOT

NOT_OURS = re.compile(r"PYTHON(?!DONTWRITEBYTECODE$|PYCACHEPREFIX$)|MPLBACKEND$|MATPLOTLIBRC$")
"""Variables that change what a kernel computes or shows; where bytecode goes does not."""


def kernel_environment(folder: Path) -> dict[str, str]:
    """The environment for Jupyter and its kernels: this Python, its packages, no start-up files.

    Left out are Python's own variables, except where bytecode goes, and Matplotlib's. Files are
    UTF-8 in any locale. `PYTHONPATH` leads to these helpers, where it may have led to a package of
    the same name. IPython's profile, which may hold start-up files, is an empty one in `folder`
    (absolute; made when needed), and so are Jupyter's files where the home folder cannot be
    written. `python3` is the kernel of this Python, see `neighbours.overrule`.
    """
    from jupyter_core.paths import jupyter_data_dir  # not before the helpers overrule its settings

    kept = {name: value for name, value in os.environ.items() if not NOT_OURS.match(name)}
    kept |= {
        "PYTHON_DOTENV_DISABLED": "1",
        "PYTHONUTF8": "1",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    with suppress(OSError):  # IPython wants its folder's parent to exist
        folder.mkdir(parents=True, exist_ok=True)
    if not _writable(Path(jupyter_data_dir())):
        for name in ("CONFIG", "DATA", "RUNTIME"):
            kept[f"JUPYTER_{name}_DIR"] = str(folder / "jupyter" / name.lower())
    return kept


def _writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, or where `folder` would be made."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
