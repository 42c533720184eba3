"""Real embedded servers, converted models and photos for the tests."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from helpers.conversion import onnx_model
from helpers.models import NETWORKS
from helpers.services import stop_services
from helpers.settings import ROOT, load_settings

# isort: split
from pymilvus.client import grpc_handler

SETTINGS = (
    "DATASET",
    "MODELS",
    "MILVUS_URI",
    "MILVUS_TOKEN",
    "REDIS_URL",
    "COCO_BASE_URL",
    "DATA_DIR",
)
BUILD_DIR = load_settings().build_dir  # before a test changes it: models are converted there once


@pytest.fixture(scope="session", autouse=True)
def quick_looks():
    """pymilvus looks every half second whether an index is built; those of the tests are small."""
    hasty = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(seconds / 50))
    with pytest.MonkeyPatch.context() as client:
        client.setattr(grpc_handler, "time", hasty)
        yield


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """The environment in which `connect_milvus` and `connect_redis` use this session's servers."""
    with pytest.MonkeyPatch.context() as environment:
        for name in SETTINGS:
            environment.delenv(name, raising=False)
        environment.setenv("BUILD_DIR", str(tmp_path_factory.mktemp("build")))
        yield
        stop_services()


@pytest.fixture(scope="session")
def onnx_files():
    """The converted models by name, made once and kept in the build folder."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BUILD_DIR", str(BUILD_DIR))
        return {name: onnx_model(name) for name in NETWORKS}


@pytest.fixture(scope="session")
def photos():
    """Five photos of the bundled sample."""
    return sorted((ROOT / "data/sample/sample").glob("*.jpg"))[:5]
