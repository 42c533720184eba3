"""JupyterLab on the notebooks; the embedded servers it started stop with it. `make lab`."""

from __future__ import annotations

import subprocess
import sys

from helpers.services import temporary_services
from helpers.settings import ROOT

COMMAND = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1"]
COMMAND += ["--KernelManager.transport_encryption=auto", "notebooks"]
# Nothing is asked of other machines: neither for Jupyter's news nor for its newest version.
COMMAND += ["--LabApp.news_url=None"]
COMMAND += [
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate"
]


def main() -> int:
    with temporary_services():
        lab = subprocess.Popen([*COMMAND, *sys.argv[1:]], cwd=ROOT)
        try:
            return lab.wait()
        except KeyboardInterrupt:  # JupyterLab got the same Ctrl-C and asks its own question
            return lab.wait()
        finally:
            lab.terminate()
            lab.wait()


if __name__ == "__main__":
    sys.exit(main())
