"""Notebook 11's way from PyTorch, with PyTorch in a folder of its own."""

import os
import subprocess
import sys

import nbformat

from helpers.settings import ROOT, load_settings

NEEDED = ("open_dataset()", "raw = load_settings", "few = dataset", "torch", "caffe =")


def test_vgg16_from_pytorch_has_the_feature_maps_of_keras():
    folder = load_settings().build_dir / "torch"
    if not (folder / "torch").is_dir():
        files = ["-r", "requirements-torch.txt", "-c", "constraints.txt"]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *files]
        subprocess.run(pip, cwd=ROOT, check=True)
    notebook = nbformat.read(ROOT / "notebooks/11_bring_any_model.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    program = "\n".join(cell for cell in cells if any(word in cell for word in NEEDED))
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 1e-4, "of the largest number in the feature maps"
