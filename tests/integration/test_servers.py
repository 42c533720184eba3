"""The store, the search, the fusion and the notebooks on a real Milvus 2.3.5 and a real Redis."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers import path_store, results, search, vector_store
from helpers.datasets import open_dataset
from helpers.models import embedding_model
from helpers.services import connect_milvus, connect_redis
from helpers.settings import ROOT, TutorialError, load_settings
from helpers.study import fusion

sys.path.append(str(ROOT / "tests/unit"))
import test_hybrid  # noqa: E402
from faults import BUILD_DIR, SETTINGS, photos_fixture  # noqa: E402, F401 (a fixture)
from test_stores import *  # noqa: E402, F403

MODELS = ("resnet50", "vgg16")
FUSION = "06_combine_models"
COMPARED = ("03_store_vectors", "04_search_compare", FUSION)  # they record numbers
# `make test` runs the others on the embedded servers, their outputs compared.
STEMS = {"embedded": COMPARED, "real": (*COMPARED, "09_scale_out", "10_explore")}
TOO_OLD = "This server is older than Milvus 2.4"


@pytest.fixture(scope="session")
def services(milvus_server, redis_server, tmp_path_factory):
    """What `tests/unit/test_stores.py` asks for: here its tests run on the real servers."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MILVUS_URI", milvus_server.uri)
        environment.setenv("REDIS_URL", redis_server.uri)
        environment.setenv("BUILD_DIR", str(tmp_path_factory.mktemp("build")))
        yield


@pytest.fixture(scope="module", autouse=True)
def idle_client(tmp_path_factory):
    """A process that idles for a minute with an open connection, while other tests run."""
    script = (
        "import time; from helpers import services\n"
        "with services.temporary_services():\n"
        "    milvus = services.connect_milvus(); time.sleep(60); print(milvus.list_collections())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment["BUILD_DIR"] = str(tmp_path_factory.mktemp("idle"))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.terminate()  # where the test did not run
    process.communicate()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A build folder that holds `BUILD_DIR`'s models and vectors, where there are any.

    Other tests may be writing there: what is not whole yet, and their locks, stay behind.
    """
    folder = tmp_path_factory.mktemp("made")
    (folder / "models").mkdir()
    for file in (BUILD_DIR / "models").glob("*.onnx"):
        shutil.copy(file, folder / "models")
    for cache in (BUILD_DIR / "vectors").glob("*-article-*"):
        (folder / "vectors" / cache.name).mkdir(parents=True)
        for name in ("keys", "vectors"):  # a vector is written before its key
            shutil.copy(cache / name, folder / "vectors" / cache.name)
    return folder


@pytest.fixture
def clients(clean_settings, milvus_server, redis_server, made):
    """Clients of the embedded servers and of the real ones."""
    clean_settings.setenv("DATASET", "sample")
    for name in ("models", "vectors"):
        if (made / name).is_dir():
            (load_settings().build_dir / name).parent.mkdir(exist_ok=True)
            (load_settings().build_dir / name).symlink_to(made / name)
    pairs = {"embedded": {"milvus": connect_milvus(), "redis": connect_redis()}}
    clean_settings.setenv("MILVUS_URI", milvus_server.uri)
    clean_settings.setenv("REDIS_URL", redis_server.uri)
    return pairs | {"real": {"milvus": connect_milvus(), "redis": connect_redis()}}


@pytest.mark.parametrize("model", MODELS)
def test_both_servers_find_the_same_photos(clients, model):
    dataset = open_dataset()
    ids = [record.id for record in dataset]
    found = {}
    for servers, both in clients.items():
        stored = search.store_dataset(dataset, embedding_model(model), **both)
        assert path_store.count_paths(both["redis"], stored.paths_key) == len(dataset)
        assert vector_store.count(both["milvus"], stored.collection) == len(dataset)
        index = both["milvus"].describe_index(stored.collection, "vector")
        assert vector_store.index_of(both["milvus"], stored.collection) == "FLAT"
        assert index["index_type"] == ("FLAT" if servers == "real" else "IVF_FLAT")
        assert vector_store.check_self_first(
            both["milvus"], stored.collection, ids, stored.vectors
        ) == len(dataset)
        found[servers] = search.search_stored(stored, stored.vectors, 10, exclude=ids)
    for embedded, real in zip(found["embedded"], found["real"], strict=True):
        assert [hit.id for hit in real] == [hit.id for hit in embedded]
        assert [hit.path for hit in real] == [hit.path for hit in embedded]
        assert [hit.labels for hit in real] == [hit.labels for hit in embedded]
        assert [hit.distance for hit in real] == pytest.approx(
            [hit.distance for hit in embedded], abs=1e-5
        )


def test_a_collection_moves_from_the_embedded_server_to_the_real_one(clients):
    """As notebook 09 says it: rows are copied, nothing is extracted."""
    old, new = clients["embedded"], clients["real"]["milvus"]
    stored = search.store_dataset(open_dataset(), embedding_model("vgg16"), **old)
    moved = f"moved_{stored.collection}"
    assert vector_store.copy(stored.milvus, stored.collection, new, moved) == len(stored.vectors)
    there = [
        vector_store.search(client, name, stored.vectors, 10)
        for client, name in ((stored.milvus, stored.collection), (new, moved))
    ]
    for before, after in zip(*there, strict=True):
        assert [(hit.id, hit.path, hit.labels) for hit in after] == [
            (hit.id, hit.path, hit.labels) for hit in before
        ]


def test_the_real_server_is_too_old_for_two_vectors_a_row(clients):
    assert not vector_store.holds_several_vectors(clients["real"]["milvus"])
    assert vector_store.holds_several_vectors(clients["embedded"]["milvus"])


@pytest.mark.parametrize("ranker", ["rrf", "weighted"])
def test_lists_of_the_old_server_fused_in_python_equal_hybrid_search(clients, ranker):
    """The way notebook 06 takes on an old server, against Milvus Lite's own hybrid search."""
    rows = test_hybrid.IDS.tolist()
    found = []
    for model, vectors in test_hybrid.VECTORS.items():
        name, old = f"fused_{model}", clients["real"]["milvus"]
        vector_store.ensure_collection(old, name, vectors.shape[1], description={"model": model})
        vector_store.store(old, name, rows, vectors, ["a"] * len(rows), [set()] * len(rows))
        found.append(vector_store.search(old, name, vectors, test_hybrid.PHOTOS))
    ids = [np.array([[hit.id for hit in hits] for hits in lists]) for lists in found]
    if ranker == "rrf":
        fused, scores = fusion.reciprocal_rank_fusion(ids, test_hybrid.K)
    else:
        distances = [np.array([[hit.distance for hit in hits] for hits in one]) for one in found]
        fused, scores = fusion.weighted_fusion(ids, distances, (0.3, 0.7), test_hybrid.K)
    lite = test_hybrid.filled(clients["embedded"]["milvus"])
    lite_ids, lite_scores = test_hybrid.hybrid(lite, ranker, test_hybrid.PHOTOS)
    np.testing.assert_allclose(scores, lite_scores, atol=1e-6)
    np.testing.assert_array_equal(fused, lite_ids)


@pytest.fixture(scope="module")
def execute():
    """`tools/run_notebooks.py`'s way to run a notebook: the error's last line, or None."""
    spec = importlib.util.spec_from_file_location("runner", ROOT / "tools/run_notebooks.py")
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    return lambda notebook: runner.execute(notebook, ROOT / "notebooks")


def printed(notebook) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_the_notebooks_give_the_same_numbers_on_both(
    clients, execute, clean_settings, redis_server, photos
):
    """And none of them shows the password of the real Redis."""
    clean_settings.setenv("DATASET", str(photos))
    real = {name: os.environ[name] for name in ("MILVUS_URI", "REDIS_URL")}
    written, said = {}, {}
    for servers in clients:
        for name, uri in real.items():
            clean_settings.setenv(name, uri if servers == "real" else "")
        for stem in STEMS[servers]:
            notebook = nbformat.read(ROOT / f"notebooks/{stem}.ipynb", as_version=4)
            assert execute(notebook) is None, (servers, stem)
            said[servers, stem] = printed(notebook)
            assert redis_server.password not in nbformat.writes(notebook)
        assert redis_server.password not in results.results_path().read_text()
        written[servers] = results.load_results()
        results.results_path().unlink()
    assert TOO_OLD in said["real", FUSION]
    assert TOO_OLD not in said["embedded", FUSION]
    for section in ("store", "search", "fusion"):
        embedded, real_ones = (pd.json_normalize(written[servers][section]) for servers in clients)
        # Two photos that are equally near but for rounding may change places: 2e-5 of an overlap.
        pd.testing.assert_frame_equal(embedded, real_ones, rtol=1e-4)


def test_an_idle_client_is_left_alone(idle_client):
    """Milvus Lite sent those away that pinged it for 40 s, and gRPC wrote so to the terminal."""
    said = idle_client.communicate()
    assert (idle_client.returncode, *said) == (0, "[]\n", "")


def test_a_token_opens_a_server_that_wants_one(new_milvus, clean_settings):
    clean_settings.setenv("MILVUS_URI", new_milvus(authorization_enabled=True).uri)
    for token in ("", "root:wrong-password"):
        clean_settings.setenv("MILVUS_TOKEN", token)
        with pytest.raises(TutorialError) as refused:
            connect_milvus()
        assert "wrong-password" not in str(refused.value)
    clean_settings.setenv("MILVUS_TOKEN", "root:Milvus")
    assert connect_milvus().list_collections() == []


def test_https_encrypts_the_way_to_milvus(new_milvus, clean_settings, tmp_path):
    """A certificate of one's own, which gRPC is told to trust, on a server that speaks TLS only."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    request += " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [*request.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    server = new_milvus(tls_mode=1, server_key_path=str(key), server_pem_path=str(certificate))
    secure = server.uri.replace("http:", "https:")
    script = (
        "from helpers.services import connect_milvus; print(connect_milvus().list_collections())"
    )
    clients = []
    for uri, trusted, works in [
        (secure, certificate, True),
        (secure, None, False),
        (server.uri, certificate, False),
    ]:
        environment = os.environ | {"MILVUS_URI": uri}
        if trusted:
            environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(trusted)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", script]
        clients.append((subprocess.Popen(command, env=environment, **pipes), works))
    for client, works in clients:  # those refused wait until their time is up
        output, errors = client.communicate()
        assert (client.returncode == 0) is works, errors
        if works:
            assert output == "[]\n"
        else:
            assert "No Milvus answers at MILVUS_URI" in errors
