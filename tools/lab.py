"""JupyterLab on the reader's copies of the notebooks. `make lab`.

The copies lie in `BUILD_DIR/lab/`, made where there are none and never overwritten: the notebooks
in git stay clean, and a reader's edits stay theirs. Notebook 0 is opened first. The embedded
servers stop with their last user.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
from jupyterlab_server.workspaces_handler import slugify
from kernels import kernel_environment

from helpers.files import writing, written_whole
from helpers.services import temporary_services
from helpers.settings import ROOT, display_path, exit_status, load_settings

COMMAND = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1"]
COMMAND += ["--KernelManager.transport_encryption=auto"]
# One of the reader's own, such as conda's, may be missing here and calls other kernels python3.
COMMAND += ["--ServerApp.kernel_spec_manager_class=jupyter_client.kernelspec.KernelSpecManager"]
# What comes later on the command line wins, so a reader may open something else first.
COMMAND += ["--LabApp.default_url=/lab/tree/00_quick_start.ipynb"]
COMMAND += ["--ContentsManager.pre_save_hook=tools.saving.without_live_views"]
# Defaults, which a reader's own settings win over: nothing is asked of other machines, and the
# reader is not asked about Jupyter's news either.
CONFIGURATION = ROOT / "tools/jupyter"
FILE_PANEL = 0.28
"""Its share of the window: as wide as the notebooks' names."""


@exit_status
def main() -> int:
    build = load_settings().build_dir
    with temporary_services():
        folder, workspaces = copied_notebooks(build / "lab"), build / "lab-workspaces"
        make_workspace(workspaces)
        paths = filter(None, [str(CONFIGURATION), os.environ.get("JUPYTER_CONFIG_PATH")])
        environment = kernel_environment(build)
        environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
        places = [f"--LabApp.workspaces_dir={workspaces}", str(folder)]
        lab = subprocess.Popen([*COMMAND, *places, *sys.argv[1:]], cwd=ROOT, env=environment)
        try:
            return lab.wait()
        except KeyboardInterrupt:  # JupyterLab got the same Ctrl-C and asks its own question
            return lab.wait()
        finally:
            kernels = [] if lab.poll() is not None else psutil.Process(lab.pid).children()
            lab.terminate()
            lab.wait()
            psutil.wait_procs(kernels, timeout=60)  # while they end they still use the servers


def copied_notebooks(folder: Path) -> Path:
    """The folder with a copy of each notebook and its pictures; what is there already stays."""
    older = []
    with writing(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
        for source in sorted((ROOT / "notebooks").glob("[!.]*.*")):
            copy = folder / source.name
            if not copy.exists():
                shutil.copyfile(source, copy)
                shutil.copystat(source, copy)
            elif source.stat().st_mtime > copy.stat().st_mtime:
                older.append(display_path(copy))
    if older:
        print(
            f"Your copies are older than the notebooks here: {', '.join(older)}. Delete or rename "
            "one to get the newer."
        )
    return folder


def make_workspace(folder: Path) -> None:
    """JupyterLab's arrangement at the first start: a file panel wide enough for the names."""
    path = folder / f"{slugify('default')}.jupyterlab-workspace"
    if path.exists():
        return
    left = {"visible": True, "collapsed": False, "current": "filebrowser"}
    layout = {"left": left, "relativeSizes": [FILE_PANEL, 1 - FILE_PANEL, 0]}
    content = {"data": {"layout-restorer:data": layout}, "metadata": {"id": "default"}}
    with written_whole(path) as part:
        part.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
