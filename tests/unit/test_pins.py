"""What is imported is pinned, and every pin installs on every Python promised."""

import ast
import json
import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from helpers.settings import ROOT

PYTHONS = ("3.11.0", "3.11.2", "3.12.0", "3.13.0")
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
SAME = {"tensorflow": "tensorflow-cpu"}  # one release under two names, for two kinds of machine


def lines(name):
    """The requirements of a file."""
    texts = [line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(text) for text in texts if text]


def applies(requirement, python, platform, extras=("",)):
    """Whether a requirement counts on this Python and platform."""
    system, machine = platform
    environment = default_environment() | {
        "python_full_version": python,
        "python_version": re.match(r"\d+\.\d+", python)[0],
        "sys_platform": system,
        "platform_machine": machine,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
    }
    return requirement.marker is None or any(
        requirement.marker.evaluate(environment | {"extra": extra}) for extra in extras
    )


def pins(python, platform):
    """Package → the only version allowed, on this Python and platform."""
    every = [*lines("requirements.txt"), *lines("constraints.txt")]
    pinned = {}
    for requirement in every:
        if applies(requirement, python, platform):
            [exactly] = requirement.specifier
            assert exactly.operator == "==", requirement
            name = canonicalize_name(requirement.name)
            assert pinned.setdefault(name, exactly.version) == exactly.version, requirement
    return pinned


@cache
def word(name):
    """A package's own word: version, Requires-Python, requirements; None if it is not installed."""
    try:
        package = distribution(SAME.get(name, name))
    except PackageNotFoundError:
        return None
    python = SpecifierSet(package.metadata.get("Requires-Python", ""))
    return package.version, python, [Requirement(text) for text in package.requires or []]


@cache
def walk(python, platform):
    """What requirements.txt brings along by the packages' own word: names reached, and faults."""
    pinned = pins(python, platform)
    wanted = [(each, "requirements.txt") for each in lines("requirements.txt")]
    wanted = [(each, by) for each, by in wanted if applies(each, python, platform)]
    reached, faults = set(), set()
    while wanted:
        requirement, by = wanted.pop()
        name, extras = canonicalize_name(requirement.name), ("", *sorted(requirement.extras))
        if name not in pinned:
            faults.add(f"{name}, which {by} brings along, is not pinned")
        elif not requirement.specifier.contains(pinned[name], prereleases=True):
            faults.add(f"{by} wants {requirement}; the pin is {pinned[name]}")
        if (name, extras) in reached:
            continue
        reached.add((name, extras))
        if word(name) is None:
            continue
        installed, needed, brings = word(name)
        if installed != pinned.get(name):
            faults.add(f"{name} {installed} is installed, {pinned.get(name)} pinned: make ready")
        if not needed.contains(python):
            faults.add(f"{name} {installed} wants Python {needed}")
        wanted += [(each, name) for each in brings if applies(each, python, platform, extras)]
    return {name for name, _ in reached}, faults


@pytest.mark.parametrize("platform", PLATFORMS, ids="-".join)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_pins_resolve(python, platform):
    reached, faults = walk(python, platform)
    assert not faults, "\n".join(sorted(faults))
    # Only what this very machine has no use for may be missing here, and so be without a word.
    here = default_environment()
    local, _ = walk(here["python_full_version"], (here["sys_platform"], here["platform_machine"]))
    silent = {name for name in reached if word(name) is None}
    assert not silent & local, "not installed: make ready"
    assert len(silent) < 5 and len(reached) > 150, silent


def code():
    """Everything we wrote in Python, notebooks included, parsed."""
    folders = ("helpers", "tools", "tests")
    for path in [file for folder in folders for file in (ROOT / folder).rglob("*.py")]:
        yield ast.parse(path.read_text(encoding="utf-8"))
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            lines = "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else []
            yield ast.parse("\n".join(line for line in lines if re.match("(import|from) ", line)))


def imported():
    """The names of the top-level modules that are imported anywhere."""
    for tree in code():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module.partition(".")[0]


ELSEWHERE = {"ray", "atheris", "milvus", "bpy", "bmesh", "mathutils", "OpenEXR"}
"""From requirements-scale.txt, or into an environment of their own by what uses them."""


def test_what_is_imported_is_listed():
    ours = {path.stem for folder in ("tools", "tests") for path in (ROOT / folder).rglob("*.py")}
    foreign = set(imported()) - sys.stdlib_module_names - ours - {"helpers"} - ELSEWHERE
    distributions = packages_distributions()
    listed = {canonicalize_name(each.name) for each in lines("requirements.txt")}
    missing = {
        module
        for module in foreign
        if not listed & {canonicalize_name(name) for name in distributions.get(module, [])}
    }
    assert not missing
