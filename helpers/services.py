"""Clients of the embedded Milvus and Redis, or of those the environment names, and their errors.

`python -m helpers.services status|stop|release` shows which embedded servers run, stops them, or
stops them unless a living process uses them.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import grpc
import redis
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException
from redis.backoff import NoBackoff
from redis.retry import Retry

from helpers.embedded import (
    SETTINGS,
    embedded_uri,
    log_path,
    record_path,
    recorded,
    running_services,
    stop_services,
    temporary_services,
)
from helpers.neighbours import on_this_machine, proxy_variable
from helpers.settings import (
    MISREAD,
    TutorialError,
    display_path,
    exit_status,
    invalid_address,
    load_settings,
    masked,
)

CONNECT_SECONDS = 10  # until a server that is not there is given up, if the system does not say so
ANSWER_SECONDS = 60  # ends a hang and nothing else: ten times what a step takes
GRPC_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")  # in its order; in lower case only


def milvus_uri() -> str:
    """`MILVUS_URI` where it is set, else the embedded Milvus Lite's, started when needed."""
    return load_settings().milvus_uri or embedded_uri("milvus")


def redis_url() -> str:
    """`REDIS_URL` where it is set, else the embedded Redis', started when needed."""
    return load_settings().redis_url or embedded_uri("redis")


def connect_milvus() -> MilvusClient:
    """A client of the Milvus in use, which has just answered.

    Raises TutorialError where it cannot be reached, within about 10 s, and where it can but does
    not answer for a minute.
    """
    settings, uri = load_settings(), milvus_uri()
    # Without its own pool, gRPC refuses for up to two minutes to try a server again that went away.
    options = {"grpc.use_local_subchannel_pool": 1}
    if on_this_machine(urlsplit(uri).hostname or "localhost"):
        options["grpc.enable_http_proxy"] = 0  # else gRPC sends even loopback traffic to a proxy
    options["grpc.http2.ping_timeout_ms"] = 1000 * ANSWER_SECONDS  # the default, but ours to set
    if not settings.milvus_uri:
        # Milvus Lite takes the pings of an idle client for an attack and hangs up, and gRPC prints
        # that. Pings during a call remain: they end one that a frozen server does not answer.
        options["grpc.keepalive_permit_without_calls"] = 0
    with quiet_pymilvus():
        try:
            client = MilvusClient(
                uri,
                token=settings.milvus_token or "",
                # the embedded one was there just now: at most it is busy
                timeout=CONNECT_SECONDS if settings.milvus_uri else ANSWER_SECONDS,
                grpc_options=options,
            )
            client.list_collections(timeout=ANSWER_SECONDS)
        except (MilvusException, grpc.RpcError, ValueError) as error:
            raise _no_answer("milvus", error) from None
    return client


def connect_redis() -> redis.Redis:
    """A client of the Redis in use, which has just answered.

    It decodes replies to `str`. Raises TutorialError where it cannot be reached, within about
    20 s, and where it can but does not answer for a minute, twice.
    """
    url = redis_url()
    try:
        client = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        client.ping()
    except (redis.RedisError, ValueError) as error:
        raise _no_answer("redis", error) from None
    return client


@contextmanager
def answering(name: str) -> Iterator[None]:
    """Decorator for what talks to `milvus` or `redis`: their errors become one TutorialError.

    Raises TutorialError, naming the server without its password, where it went away, refused a
    request or took too long.
    """
    try:
        with quiet_pymilvus():
            yield
    except (MilvusException, grpc.RpcError, redis.RedisError) as error:
        uri, reason = _address(name), _first_line(name, error)
        if uri:
            server = f"{name.capitalize()} at {SETTINGS[name]}={masked(uri)}"
            way_out = "see to that server, then run the notebook again from its first cell"
        elif record_path(name).exists() and not recorded(name):
            raise _ended(name) from None
        else:
            server, log = f"The embedded {name}", display_path(log_path(name))
            first = "make room for BUILD_DIR, then " if "No space left" in reason else ""
            way_out = f"{first}run the notebook again from its first cell (its log is {log})"
        raise TutorialError(f"{server} failed ({reason}): {way_out}.") from None


def _ended(name: str) -> TutorialError:
    """What to say of an embedded server that is gone although nobody stopped it."""
    way_out = f"set {SETTINGS[name]} to a {name.capitalize()} of your own"
    if name == "milvus":
        way_out += ', or give store_dataset another index (index_type="IVF_SQ8")'
    return TutorialError(
        f"The embedded {name} has ended, as the system ends a program when memory runs out: "
        f"run the notebook again from its first cell, which starts it again with all that it held; "
        f"if it ends again, close other programs, {way_out}."
    )


@contextmanager
def quiet_pymilvus() -> Iterator[None]:
    """Keep pymilvus from logging what the caller handles or what needs no attention."""
    logger = logging.getLogger("pymilvus")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _no_answer(name: str, error: Exception) -> TutorialError:
    """What to say where there is no server, or none that takes what the settings say."""
    setting, uri, reason = SETTINGS[name], _address(name), _first_line(name, error)
    if uri is None:
        return TutorialError(
            f"The embedded {name} does not answer ({reason}): run `make stop` and try again; its "
            f"log is {display_path(log_path(name))}."
        )
    if isinstance(error, ValueError) or MISREAD.search(uri):  # it may quote a part of the password
        return invalid_address(setting)
    host = urlsplit(uri).hostname or "localhost"
    if name == "milvus" and (proxy := proxy_variable(host, *GRPC_PROXIES)):
        reason += f"; asked through the proxy in {proxy}, which no_proxy={host} bypasses"
    return TutorialError(
        f"No {name.capitalize()} answers at {setting}={masked(uri)} ({reason}): "
        f"start that server, correct {setting}, or unset it to use the embedded one."
    )


def _address(name: str) -> str | None:
    """What the environment says; None for the embedded server."""
    settings = load_settings()
    return settings.milvus_uri if name == "milvus" else settings.redis_url


def _first_line(name: str, error: Exception) -> str:
    """The first line of a server's or client's error, without address, password and token."""
    settings, uri = load_settings(), _address(name)
    text = error.details() if isinstance(error, grpc.Call) else getattr(error, "message", "")
    # A real Milvus puts its stack traces and former attempts before what happened.
    text = re.sub(r"(?s).*stack trace: .*(\n\S+ [^\n:]+: |attempt #\d+: )", "", text or str(error))
    reason = (text or type(error).__name__).strip().partition("\n")[0].rstrip(".")
    if uri:
        reason = reason.replace(uri, masked(uri))
    for secret in _secrets(uri, settings.milvus_token):
        reason = reason.replace(secret, "***")
    return reason.replace(f"{settings.build_dir}/", "")


def _secrets(uri: str | None, token: str | None) -> list[str]:
    """What must not be shown: the passwords of a URI, and a token, whole and after `user:`."""
    passwords = re.findall(r"//[^:/@]*:(.*)@|[?&]password=([^&]*)", uri or "")
    texts = [text for pair in passwords for text in pair]
    texts += [token or "", (token or "").partition(":")[2]]
    return [secret for text in texts if text for secret in (text, unquote(text))]


@exit_status
def main() -> int:
    """Show or stop the embedded Milvus and Redis; `release` stops what no living process uses."""
    parser = argparse.ArgumentParser(prog="python -m helpers.services", description=main.__doc__)
    parser.add_argument("action", choices=("status", "stop", "release"))
    action = parser.parse_args().action
    if action == "status":
        running = running_services()
        for service in running:
            print(f"{service.name}: {service.uri} (pid {service.pid})")
        if not running:
            print("nothing is running")
    elif action == "stop":
        print("stopped:", ", ".join(stop_services()) or "nothing was running")
    else:
        with temporary_services():
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
