"""Other programs' settings: a `.env`, a proxy, Jupyter's and Matplotlib's, Python's own."""

import ast
import json
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import nbformat
import pytest
import requests
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from helpers import TutorialError, neighbours, services
from helpers.datasets.download import _fetch_error
from helpers.settings import ROOT, load_settings, masked

sys.path.append(str(ROOT / "tools"))
import run_notebooks as runner  # noqa: E402

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PROXIES = [
    case(name)
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy")
    for case in (str.lower, str.upper)
]


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("MILVUS_URI", "MILVUS_TOKEN", "REDIS_URL", "no_grpc_proxy", *PROXIES):
        monkeypatch.delenv(name, raising=False)


def run(*command, cwd=ROOT, **environment):
    """A Python process of its own; stdout and stderr as one text, and its exit status."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout.strip(), done.returncode


# Addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting, value",
    [
        ("MILVUS_URI", "localhost:19530"),
        ("MILVUS_URI", "milvus.example.com"),
        ("MILVUS_URI", "[::1]:1"),
        ("MILVUS_URI", "./milvus.db"),
        ("MILVUS_URI", "S3cret"),
        ("MILVUS_URI", "root:31337"),
        ("MILVUS_URI", "root:S3cret@host:19530"),
        ("MILVUS_URI", "//root:S3cret"),
        ("MILVUS_URI", "http://"),
        ("MILVUS_URI", "http://root:S3cret"),
        ("MILVUS_URI", "http://host:port"),
        ("MILVUS_URI", "http://[::1"),
        ("MILVUS_URI", "ftp://root:S3cret@host"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", ":S3cret@host:6379"),
        ("REDIS_URL", "http://:S3cret@host"),
        ("REDIS_URL", "redis://:S3cret"),
        ("REDIS_URL", "/run/redis.sock"),
    ],
)
def test_what_is_no_address_is_said_in_one_sentence(monkeypatch, setting, value):
    monkeypatch.setenv(setting, value)
    with pytest.raises(TutorialError) as error:
        load_settings()
    said = str(error.value)
    assert said.startswith(f"{setting} is not a valid address such as ")
    assert "with its scheme" in said and "unset it" in said and "\n" not in said
    assert "S3cret" not in said and "31337" not in said


@pytest.mark.parametrize(
    "text, shown",
    [
        ("http://mirror/a@2x/val/1.jpg", "http://***"),
        ("http://mirror:8080/val/1.jpg?S3cret", "http://mirror:8080/val/1.jpg"),
        ("http://me:S3cret@mirror/val", "http://***@mirror/val"),
        ("http://S3cret@mirror/a@2x", "http://***"),
        ("http://me:S3/cret@mirror/val", "http://***"),
        ("http://me:x@S3cret/y@mirror/val", "http://***"),
        ("404 for url: http://me:S3cret@mirror/a?key=S3cret", "404 for url: http://***"),
        ("404 for url: http://me:S3?cret@mirror/a", "404 for url: http://***"),
        ("the server answers 302", "the server answers 302"),
    ],
)
def test_a_web_address_is_shown_without_its_secrets(text, shown):
    assert masked(text) == shown


@pytest.mark.parametrize(
    "setting, value",
    [
        ("MILVUS_URI", "http://127.0.0.1:19530"),
        ("MILVUS_URI", "https://root:S3cret@in03-1.example.com"),
        ("MILVUS_URI", "http://[::1]:19530"),
        ("MILVUS_URI", "tcp://host:19530"),
        ("REDIS_URL", "redis://:S3cret@host:6379/0"),
        ("REDIS_URL", "rediss://host"),
        ("REDIS_URL", "unix:///run/a%20b/redis.sock?db=1"),
        ("REDIS_URL", "redis://host?password=S3cret"),
    ],
)
def test_an_address_is_taken_as_it_is(monkeypatch, setting, value):
    monkeypatch.setenv(setting, value)
    settings = load_settings()
    assert value in (settings.milvus_uri, settings.redis_url)
    assert "S3cret" not in masked(value)


NO_ADDRESS = "root:S3cret@host:19530"


def is_the_sentence(said):
    assert said.startswith("MILVUS_URI is not") and "unset it" in said
    assert "\n" not in said and "S3cret" not in said
    return True


def test_a_command_says_it_before_pymilvus_does():
    said, status = run("-m", "helpers.services", "stop", MILVUS_URI=NO_ADDRESS)
    assert status == 1 and is_the_sentence(said)


@pytest.mark.parametrize("command", ["run_notebooks", "lab"])
def test_the_other_commands_say_it_too(monkeypatch, capsys, command):
    """In this process, where all that they import is imported."""
    monkeypatch.setenv("MILVUS_URI", NO_ADDRESS)
    monkeypatch.setattr(sys, "argv", [command])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / f"tools/{command}.py"), run_name="__main__")
    said = capsys.readouterr().err if ended.value.code == 1 else ended.value.code
    assert is_the_sentence(said.strip())


def test_pymilvus_reads_nothing_when_it_is_imported():
    names = ("MILVUS_URI", "MILVUS_DEFAULT_CONNECTION", "MILVUS_CONN_TIMEOUT")
    code = "import helpers, os, pymilvus.settings as p; print(p.Config.MILVUS_URI or 'nothing', "
    code += f"*(os.environ[name] for name in {names}))"
    values = dict.fromkeys(names, "root:S3cret@host")  # none is an address or a number
    assert run("-c", code, **values) == ("nothing" + 3 * " root:S3cret@host", 0)


# .env ----------------------------------------------------------------------------------------


def test_no_dotenv_is_loaded(tmp_path):
    (tmp_path / ".env").write_text("MILVUS_URI=http://real:19530\nREDIS_PASSWORD=S3cret\n")
    code = (
        "import os, {}pymilvus; print(sorted({{'MILVUS_URI', 'REDIS_PASSWORD'}} & {{*os.environ}}))"
    )
    without = {"PYTHON_DOTENV_DISABLED": ""}  # as in a shell that does not have it
    raw, _ = run("-c", code.format(""), cwd=tmp_path, **without)
    ours, _ = run("-c", code.format("helpers, "), cwd=tmp_path, **without)
    assert ours == "[]"
    if raw == "[]":
        pytest.skip("this pymilvus loads no .env, with or without the helpers")


def test_no_test_reaches_a_server_that_the_shell_or_a_dotenv_names(tmp_path):
    """A test as ours, in a copy of what surrounds them, with a `.env` and a shell full of it."""
    for name in ("conftest.py", "helpers"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".env").write_text("MILVUS_URI=http://real:19530\nREDIS_URL=redis://real\n")
    (tmp_path / "test_it.py").write_text(
        "import pymilvus, os\nfrom helpers.settings import load_settings\n"
        "def test_it():\n    found = load_settings()\n"
        "    assert found.milvus_uri is found.redis_url is found.milvus_token is None\n"
        "    assert 'REDIS_URL' not in os.environ\n"
    )
    (tmp_path / "pytest.ini").touch()
    servers = {"MILVUS_URI": "http://real:1", "MILVUS_TOKEN": "a:b", "REDIS_URL": "redis://real"}
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    plain = {"PYTHON_DOTENV_DISABLED": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    said, status = run(*command, cwd=tmp_path, **plain, **servers)
    assert status == 0, said


def test_every_notebook_imports_the_helpers_first():
    """Else the library reads a `.env`, a MILVUS_URI, a keras.json before we can overrule it."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        code = "\n".join(
            cell.source
            for cell in nbformat.read(path, as_version=4).cells
            if cell.cell_type == "code"
        )
        imported = re.findall(r"^\s*(?:from|import) (\w+)", code, re.MULTILINE)
        for library in {"pymilvus", "onnxruntime", "keras", "tensorflow"} & set(imported):
            assert imported.index("helpers") < imported.index(library), (path.stem, library)


def test_onnxruntime_leaves_no_id_of_this_machine(tmp_path):
    """It writes one into the home folder, to report under; where it cannot, it prints a warning."""
    code = "{}import onnxruntime, onnx.helper as h; "
    code += "value = h.make_tensor_value_info('a', 1, [1]); other = "
    code += "h.make_tensor_value_info('b', 1, [1]); node = h.make_node('Relu', ['a'], ['b']); "
    code += "graph = h.make_graph([node], 'g', [value], [other]); "
    code += "model = h.make_model_gen_version(graph, opset_imports=[h.make_opsetid('', 18)]); "
    code += "onnxruntime.InferenceSession(model.SerializeToString())"
    written = {}
    for first in ("", "import helpers; "):
        home = tmp_path / (first or "raw")
        home.mkdir()
        without = {"HOME": str(home), "XDG_CACHE_HOME": "", "ORT_DISABLE_TELEMETRY": ""}
        assert run("-c", code.format(first), **without) == ("", 0)
        written[first] = list(home.rglob("deviceid"))
    assert written["import helpers; "] == []
    if not written[""]:
        pytest.skip("this onnxruntime writes no id, with or without the helpers")


# Proxies -------------------------------------------------------------------------------------


@pytest.fixture
def dead_proxy(monkeypatch):
    """Every proxy variable names a port of this machine where nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        proxy = f"http://user:S3cret@127.0.0.1:{server.getsockname()[1]}"
        for name in PROXIES:
            if not name.lower().startswith("no_"):
                monkeypatch.setenv(name, proxy)
        yield proxy


@pytest.fixture
def milvus(tmp_path, monkeypatch):
    """The port of a real Milvus that nobody told the helpers of, as Docker Compose's."""
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "theirs"))
    port = services.milvus_uri().rpartition(":")[2]
    yield port
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "theirs"))
    monkeypatch.delenv("MILVUS_URI", raising=False)
    services.stop_services()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_milvus_on_this_machine_is_not_asked_through_a_proxy(
    milvus, dead_proxy, monkeypatch, host
):
    monkeypatch.setenv("MILVUS_URI", f"http://{host}:{milvus}")
    assert services.connect_milvus().list_collections() == []


def test_a_milvus_elsewhere_is_and_the_proxy_is_named(dead_proxy, monkeypatch):
    monkeypatch.setenv("MILVUS_URI", "http://milvus.invalid:19530")
    monkeypatch.setattr(services, "CONNECT_SECONDS", 1)
    with pytest.raises(TutorialError) as error:
        services.connect_milvus()
    said = str(error.value)
    assert "through the proxy in grpc_proxy, which no_proxy=milvus.invalid bypasses" in said
    assert "S3cret" not in said and "\n" not in said


def test_the_tutorials_own_requests_bypass_the_proxy(dead_proxy, monkeypatch):
    with serving() as port:
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/", timeout=5)
        neighbours.overrule()
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=60).text == "hello"
        assert requests.get(f"http://localhost:{port}/", timeout=60).text == "hello"


@contextmanager
def serving():
    """The port of an HTTP server that answers every request with `hello`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(4096)
                    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        threading.Thread(target=answer, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_download_through_a_dead_proxy_names_its_variable(dead_proxy):
    with pytest.raises(requests.exceptions.ProxyError) as error:
        requests.get("http://coco.invalid/a.jpg", timeout=60)
    said = str(_fetch_error("http://coco.invalid/a.jpg", error.value, "nothing is kept"))
    assert "(the proxy in http_proxy does not pass the request on)" in said
    assert "S3cret" not in said


def test_a_proxy_that_no_variable_names_is_not_named():
    """It is in macOS' settings, say."""
    error = requests.exceptions.ProxyError("no")
    said = str(_fetch_error("https://coco.invalid/a.jpg", error, "nothing is kept"))
    assert "(the proxy does not pass the request on)" in said


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, None),
        ({"http_proxy": "http://p"}, "localhost,127.0.0.1,::1"),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "a.b, ::1"}, "a.b,::1,localhost,127.0.0.1"),
        ({"all_proxy": "http://p", "no_proxy": "*"}, "*"),
    ],
)
def test_no_proxy_keeps_what_it_has(monkeypatch, before, after):
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    for name in ("no_proxy", "NO_PROXY"):  # restored by monkeypatch
        monkeypatch.setenv(name, os.environ.get(name, ""))
        if not os.environ[name]:
            del os.environ[name]
    neighbours.overrule()
    neighbours.overrule()
    assert os.environ.get("no_proxy") == os.environ.get("NO_PROXY") == after


# Jupyter -------------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path):
    """Settings of other projects: kernels called python3, start-up files, modules, backends."""
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"}
    kernel = tmp_path / "jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(spec))
    startup = tmp_path / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("started = 'by a start-up file'")
    (tmp_path / "modules/helpers").mkdir(parents=True)
    (tmp_path / "modules/helpers/__init__.py").write_text("raise ImportError('not ours')")
    return {
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "MPLBACKEND": "TkAgg",
        "MATPLOTLIBRC": str(tmp_path / "none"),
        "PYTHONPATH": str(tmp_path / "modules"),
        "PYTHONSTARTUP": str(startup / "00.py"),
        "PYTHONOPTIMIZE": "1",
    }


CELLS = [
    "import sys\nimport helpers\nimport matplotlib.pyplot as plt",
    "print(sys.executable, helpers.__file__, 'started' in globals(), __debug__, sep='\\n')",
    "plt.plot([1, 2])\nplt.show()",
]


def written(path):
    cells = [new_markdown_cell("# 1 · About it"), *map(new_code_cell, CELLS)]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": KERNEL}), path)
    return path


def test_a_notebook_runs_on_this_python_and_shows_its_figures(tmp_path, foreign, monkeypatch):
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")
    notebook = nbformat.read(written(tmp_path / "it.ipynb"), as_version=4)
    assert runner.execute(notebook, tmp_path) is None
    [said], [figure] = notebook.cells[2].outputs, notebook.cells[3].outputs[-1:]
    assert said.text.splitlines() == [
        sys.executable,
        f"{ROOT}/helpers/__init__.py",
        "False",
        "True",
    ]
    assert "image/png" in figure.data


def test_a_matplotlibrc_of_the_readers_changes_no_figure(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.facecolor: black\n")
    code = "{}from matplotlib import rcParams as r; print(r['text.usetex'], r['figure.facecolor'])"
    rc = {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    assert run("-c", code.format(""), **rc) == ("True black", 0)
    assert run("-c", code.format("import helpers.plots; "), **rc) == ("False white", 0)


PRINT_ENVIRONMENT = f"""
import json, pathlib, sys
sys.path.append({str(ROOT / "tools")!r})
from kernels import kernel_environment
print(json.dumps(kernel_environment(pathlib.Path(sys.argv[1]))))
"""


def test_jupyter_finds_this_pythons_kernel_first(foreign, tmp_path):
    own = {**foreign, "PYTHONPATH": str(ROOT)}
    environment = json.loads(run("-c", PRINT_ENVIRONMENT, tmp_path, **own)[0])
    code = "from jupyter_core.paths import jupyter_path; print(jupyter_path('kernels')[0])"
    assert run("-c", code, **environment) == (f"{sys.prefix}/share/jupyter/kernels", 0)
    assert environment["IPYTHONDIR"] == str(tmp_path / "ipython")
    assert not {"MPLBACKEND", "MATPLOTLIBRC", "PYTHONSTARTUP", "PYTHONOPTIMIZE"} & set(environment)


def test_a_kernel_reads_and_writes_utf8_in_any_locale(tmp_path):
    bytecode = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    environment = json.loads(run("-c", PRINT_ENVIRONMENT, tmp_path, PYTHONUTF8="0", **bytecode)[0])
    assert {**bytecode, "PYTHONUTF8": "1"}.items() <= environment.items()
    code = "import sys, locale; print(locale.getpreferredencoding(), sys.flags.utf8_mode)"
    assert run("-c", code, **environment, LC_ALL="en_US.ISO-8859-1") == ("utf-8 1", 0)


def test_text_is_read_and_written_in_no_locales_encoding():
    """`make` runs what is no kernel in the reader's own locale."""
    found = []
    for path in [*ROOT.glob("helpers/**/*.py"), *ROOT.glob("tools/**/*.py")]:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(call, "func", None), "attr", None)
            if name in ("read_text", "write_text") and "utf-8" not in ast.unparse(call):
                found.append(f"{path.name}:{call.lineno}")
    assert found == []


def test_a_home_that_cannot_be_written_is_not_written(tmp_path):
    found = json.loads(run("-c", PRINT_ENVIRONMENT, tmp_path, HOME="/proc/nowhere")[0])
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert found[name].startswith(str(tmp_path))
