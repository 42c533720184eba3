"""JupyterLab on the notebooks; the embedded servers stop with their last user. `make lab`."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
from kernels import kernel_environment

from helpers.services import temporary_services
from helpers.settings import ROOT, TutorialError, load_settings

COMMAND = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1"]
COMMAND += ["--KernelManager.transport_encryption=auto"]
# One of the reader's own, such as conda's, may be missing here and calls other kernels python3.
COMMAND += [
    "--ServerApp.kernel_spec_manager_class=jupyter_client.kernelspec.KernelSpecManager",
    "notebooks",
]
# Defaults, which a reader's own settings win over: nothing is asked of other machines, and the
# reader is not asked about Jupyter's news either.
CONFIGURATION = ROOT / "tools/jupyter"


def main() -> int:
    with temporary_services():
        paths = filter(None, [str(CONFIGURATION), os.environ.get("JUPYTER_CONFIG_PATH")])
        environment = kernel_environment(load_settings().build_dir)
        environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
        lab = subprocess.Popen([*COMMAND, *sys.argv[1:]], cwd=ROOT, env=environment)
        try:
            return lab.wait()
        except KeyboardInterrupt:  # JupyterLab got the same Ctrl-C and asks its own question
            return lab.wait()
        finally:
            kernels = [] if lab.poll() is not None else psutil.Process(lab.pid).children()
            lab.terminate()
            lab.wait()
            psutil.wait_procs(kernels, timeout=60)  # while they end they still use the servers


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TutorialError as error:
        sys.exit(str(error))
