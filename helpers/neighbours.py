"""What other programs' settings would do to us through the environment, and its undoing.

`helpers/__init__` calls `overrule` before anything else is imported, so that no library reads
another project's settings first; `quiet_tf` adds what concerns Keras. Child processes inherit it.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import getproxies_environment, proxy_bypass_environment

INLINE = "module://matplotlib_inline.backend_inline"
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def overrule() -> None:
    """Keep out what concerns all of Python: `.env`, telemetry, figure windows, proxies …"""
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"  # `import pymilvus` loads a .env
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime keeps an id of this machine in ~/.cache
    os.environ["GRPC_VERBOSITY"] = "NONE"  # else gRPC prints what our errors say
    if "MPLBACKEND" in os.environ and "matplotlib" not in sys.modules:
        os.environ["MPLBACKEND"] = INLINE if "ipykernel" in sys.modules else "agg"
    # Where kernels and nbconvert's templates are looked for; JUPYTER_PATH comes before all else.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    ours = str(Path(sys.prefix) / "share" / "jupyter")
    places = os.environ.get("JUPYTER_PATH", "").split(os.pathsep)
    if places[0] != ours:
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [ours, *places]))
    if getproxies_environment():
        _let_this_machine_bypass_the_proxy()
    if any(name.startswith("MILVUS_") for name in os.environ):
        # pymilvus reads these when it is imported, and quotes a password in its traceback.
        with hidden("MILVUS_"):
            import pymilvus  # noqa: F401


def _let_this_machine_bypass_the_proxy() -> None:
    """gRPC reads the lower-case name only; where both are set, requests reads only that one too."""
    both = f"{os.environ.get('no_proxy', '')},{os.environ.get('NO_PROXY', '')}".split(",")
    hosts = dict.fromkeys(host.strip() for host in (*both, *THIS_MACHINE) if host.strip())
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "*" if "*" in hosts else ",".join(hosts)


@contextmanager
def hidden(*prefixes: str) -> Iterator[None]:
    """Inside the block the environment has no variable that begins with one of `prefixes`."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(prefixes)}
    try:
        yield
    finally:
        os.environ.update(taken)


def on_this_machine(host: str) -> bool:
    """Whether a host name or address is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def proxy_variable(host: str, *names: str) -> str | None:
    """The first of these variables that sends traffic to `host` through a proxy; None if none."""
    if on_this_machine(host) or proxy_bypass_environment(host):
        return None
    return next((name for name in names if os.environ.get(name)), None)
