"""Real embedded servers for the tests, in a folder of their own."""

from __future__ import annotations

import pytest

from helpers.services import stop_services

SETTINGS = ("DATASET", "MILVUS_URI", "MILVUS_TOKEN", "REDIS_URL", "COCO_BASE_URL", "DATA_DIR")


@pytest.fixture(scope="session")
def services(tmp_path_factory):
    """The environment in which `connect_milvus` and `connect_redis` use this session's servers."""
    with pytest.MonkeyPatch.context() as environment:
        for name in SETTINGS:
            environment.delenv(name, raising=False)
        environment.setenv("BUILD_DIR", str(tmp_path_factory.mktemp("build")))
        yield
        stop_services()
