"""Ray Data against the single process: the same rows in Milvus, the same paths in Redis.

Ray is optional, so the test runs it in a virtual environment of its own, on top of this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

from helpers import path_store, search
from helpers.datasets import open_dataset
from helpers.services import connect_milvus, connect_redis
from helpers.settings import ROOT

ENVIRONMENT = ROOT / "build/ray-venv"
SCRIPT = """
import json
from helpers import scale_out, services
from helpers.datasets import open_dataset
print(json.dumps(scale_out.store_with_ray(
    open_dataset(), "vgg16", milvus=services.connect_milvus(), redis=services.connect_redis())))
"""


@pytest.fixture(scope="module")
def python_with_ray():
    python = ENVIRONMENT / "bin/python"
    try:
        if subprocess.run([python, "-c", "import ray.data"], capture_output=True).returncode == 0:
            return python
    except FileNotFoundError:
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
    below = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (ENVIRONMENT / packages / "tutorial.pth").write_text(below)
    install = [python, "-m", "pip", "install", "-q", "-r", ROOT / "requirements-scale.txt"]
    ended = subprocess.run(
        [*install, "-c", ROOT / "constraints.txt"], capture_output=True, text=True
    )
    if ended.returncode:
        pytest.skip(f"Ray cannot be installed: {ended.stderr.strip().splitlines()[-1]}")
    return python


def test_ray_stores_what_the_single_process_stores(real_servers, python_with_ray, tmp_path):
    made = ROOT / "build/test"
    if not (made / "models").is_dir():
        pytest.skip("build/test has no converted models: run `make test` first")
    build = tmp_path / "build"
    build.mkdir(exist_ok=True)
    (build / "models").symlink_to(made / "models")
    real_servers.setenv("DATASET", "sample")
    dataset, milvus, redis = open_dataset(), connect_milvus(), connect_redis()
    ended = subprocess.run(
        [python_with_ray, "-c", SCRIPT], capture_output=True, text=True, env=dict(os.environ)
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    collection, count = json.loads(ended.stdout.splitlines()[-1])
    assert count == len(dataset)
    ids = [record.id for record in dataset]
    rows = stored_rows(milvus, collection, ids)
    key = path_store.paths_key(dataset.slug, "vgg16", "article", "fp32")
    paths = path_store.load_paths(redis, key, ids)
    stored = search.store_dataset(dataset, "vgg16", milvus=milvus, redis=redis)
    assert stored.collection == collection
    again = stored_rows(milvus, collection, ids)
    np.testing.assert_allclose(
        [rows[id_]["vector"] for id_ in ids], [again[id_]["vector"] for id_ in ids], atol=1e-5
    )
    for field in ("path", "labels"):
        assert [rows[id_][field] for id_ in ids] == [again[id_][field] for id_ in ids]
    assert path_store.load_paths(redis, stored.paths_key, ids) == paths


def stored_rows(milvus, collection: str, ids: list[int]) -> dict[int, dict]:
    fields = ["vector", "path", "labels"]
    return {row["id"]: row for row in milvus.get(collection, ids=ids, output_fields=fields)}
