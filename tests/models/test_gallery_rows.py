"""The gallery that `make run` writes has a row for every model of MODELS."""

import json
import shutil
import sys

import nbformat
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import conversion
from helpers.models import embedding_model
from helpers.settings import ROOT

sys.path.append(str(ROOT / "tools"))
import run_notebooks as runner  # noqa: E402


def test_models_that_no_notebook_has_converted_are_in_the_gallery(
    tmp_path, onnx_files, photos, monkeypatch, capsys
):
    for place in ("photos", "brought"):
        (tmp_path / place).mkdir()
    for photo in photos:
        shutil.copy(photo, tmp_path / "photos")
    shutil.copy(onnx_files["vgg16"], tmp_path / "brought/mine.onnx")
    (tmp_path / "brought/preprocessor_config.json").write_text(json.dumps({"size": 64}))
    monkeypatch.setenv("DATASET", str(tmp_path / "photos"))
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setenv("MODELS", f"efficientnet_lite0,{tmp_path / 'brought/mine.onnx'}")
    monkeypatch.setattr(runner, "ARTICLE", ())
    notebook = new_notebook(cells=[new_markdown_cell("# 2 · Extract"), new_code_cell("6 * 7")])
    nbformat.write(notebook, tmp_path / f"{runner.GALLERY_AFTER}.ipynb")
    for first_run in (True, False):
        assert runner.run([tmp_path / f"{runner.GALLERY_AFTER}.ipynb"], False, gallery=True) == 0
        assert ("\nmore models " in capsys.readouterr().out) == first_run
        page = BeautifulSoup((tmp_path / "build/html/gallery.html").read_text(), "html.parser")
        rows = [row.text for row in page.select(".query")[0].select("h3")]
        assert rows == ["① EfficientNet-Lite0", "② mine (recommended)"]
        assert len(page.select(".query")) == 5 and len(page.select("li img")) == 2 * 5 * 4
    model = embedding_model("efficientnet_lite0")
    assert conversion.is_current(conversion.onnx_path(model), model)
