"""Ray Data against the single process: the same rows in Milvus, the same paths in Redis.

Ray is optional, so the test runs it in a virtual environment of its own, on top of this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from faults import build_fixture  # noqa: F401 (a fixture)
from real_servers import IN_NAMESPACE, CannotRun, milvus_program  # tools/, through conftest.py

from helpers.settings import ROOT

ENVIRONMENT = ROOT / "build/ray-venv"
SCRIPT = """
import json, os, subprocess, sys
sys.path.append("tools")
from real_servers import loopback_up
from helpers import path_store, search, services
from helpers.study import scale_out
from helpers.datasets import open_dataset
from helpers.models import embedding_model

vgg16 = embedding_model("vgg16")
loopback_up()
with services.temporary_services():
    dataset, ids = open_dataset(), [record.id for record in open_dataset()]
    milvus, redis = services.connect_milvus(), services.connect_redis()
    if sys.argv[1] == "cluster":  # its workers are told of Milvus by the environment, as elsewhere
        os.environ.update(MILVUS_URI=services.milvus_uri(), RAY_ADDRESS="127.0.0.1:6379",
                          RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--port=6379",
               "--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats",
               "--temp-dir", sys.argv[2]]
        subprocess.run(ray, check=True, stdout=sys.stderr)
        start = [sys.executable, "-c", "from helpers.study import scale_out; scale_out.start_ray()"]
        without = {**os.environ, "RAY_AUTH_MODE": "disabled"}
        refused = subprocess.run(start, env=without, capture_output=True, text=True)
        assert "TutorialError: The Ray cluster at RAY_ADDRESS=127" in refused.stderr, refused.stderr
        assert "RAY_AUTH_MODE=token" in refused.stderr
    print(scale_out.start_ray(), file=sys.stderr)

    def rows(collection):
        found = milvus.get(collection, ids=ids, output_fields=["vector", "path", "labels"])
        by_id = {row["id"]: row for row in found}
        return [{**by_id[id_], "vector": list(map(float, by_id[id_]["vector"]))} for id_ in ids]

    collection, count = scale_out.store_with_ray(dataset, vgg16, milvus=milvus, redis=redis)
    key = path_store.paths_key(dataset.slug, vgg16)
    by_ray = {"rows": rows(collection), "paths": path_store.load_paths(redis, key, ids)}
    stored = search.store_dataset(dataset, vgg16, milvus=milvus, redis=redis)
    alone = {"rows": rows(stored.collection),
             "paths": path_store.load_paths(redis, stored.paths_key, ids)}
    import ray
    address = ray.get_runtime_context().gcs_address
    same = collection == stored.collection
    print(json.dumps([address, len(dataset), count, same, by_ray, alone]))
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
        [*install, "-c", ROOT / "constraints.txt"],
        capture_output=True,
        text=True,
        env=os.environ | {"PIP_USER": "0"},  # pip.conf's `user = true` is refused here
    )
    if ended.returncode:
        pytest.skip(f"Ray cannot be installed: {ended.stderr.strip().splitlines()[-1]}")
    return python


@pytest.mark.parametrize("where", ["local", "cluster"])
def test_ray_stores_what_the_single_process_stores(build, clean_settings, python_with_ray, where):
    """Ray listens on every interface, so all of this runs in a network namespace of its own."""
    try:
        milvus_program()
    except CannotRun as error:
        pytest.skip(str(error))
    if not list((build / "models").glob("vgg16-article-fp32.onnx")):
        pytest.skip("BUILD_DIR has no converted VGG16: run `make test` first")
    clean_settings.setenv("DATASET", "sample")
    # Processes of its own as well, so that a cluster ends with the script.
    isolated = [*IN_NAMESPACE[:-1], "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    with TemporaryDirectory(prefix="ray") as folder:  # sockets want a short path
        ended = subprocess.run(
            [*isolated, python_with_ray, "-c", SCRIPT, where, folder],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    address, photos, count, same_collection, by_ray, alone = told
    assert (address == "127.0.0.1:6379") is (where == "cluster")
    assert count == photos and same_collection
    assert by_ray["paths"] == alone["paths"]
    vectors = [[row.pop("vector") for row in one["rows"]] for one in (by_ray, alone)]
    np.testing.assert_allclose(*vectors, atol=1e-5)
    assert by_ray["rows"] == alone["rows"]
