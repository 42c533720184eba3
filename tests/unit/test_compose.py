"""docker-compose.yml is pinned, checked and local; `make audit` asks the specification."""

import ipaddress
import re

import pytest
import yaml

from helpers.settings import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
each_service = pytest.mark.parametrize("name", COMPOSE["services"])


@each_service
def test_versions_are_pinned(name):
    assert re.search(r":(v?\d+\.\d+\.\d+|RELEASE\.[0-9TZ-]+)$", COMPOSE["services"][name]["image"])


@each_service
def test_health_is_checked_and_waited_for(name):
    service = COMPOSE["services"][name]
    kind, *command = service["healthcheck"]["test"]
    assert kind in ("CMD", "CMD-SHELL") and all(isinstance(word, str) for word in command)
    for other, dependency in service.get("depends_on", {}).items():
        assert other in COMPOSE["services"]
        assert dependency == {"condition": "service_healthy"}


@each_service
def test_ports_are_published_on_this_machine_only(name):
    service = COMPOSE["services"][name]
    for port in service.get("ports", []):
        address, _published, _inner = port.split(":")
        assert ipaddress.ip_address(address).is_loopback
    assert service.get("network_mode") is None and not service.get("privileged")


@each_service
def test_data_lie_in_named_volumes(name):
    for volume in COMPOSE["services"][name]["volumes"]:
        assert volume.partition(":")[0] in COMPOSE["volumes"]


def test_redis_wants_the_password_of_the_env_file():
    redis = COMPOSE["services"]["redis"]
    (password,) = redis["command"][redis["command"].index("--requirepass") + 1 :]
    assert password.startswith("${REDIS_PASSWORD:?")  # compose refuses to start without one
    assert redis["environment"]["REDISCLI_AUTH"] == password  # else its health check fails


def test_the_example_environment_names_what_compose_needs():
    needed = set(re.findall(r"\$\{(\w+)", TEXT))
    given = re.findall(r"^(\w+)=\S{8,}$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(given) == needed == {"REDIS_PASSWORD", "MINIO_PASSWORD"}
    assert ".env" in (ROOT / ".gitignore").read_text().split()
