"""Every file has its place in the reading order, with a line that says what it is.

A package lists its files in its docstring, as lines ``name, name    what they are``, and ends
it with what may be changed in them, and the tests that hold the rest.  The files of the
compiled core stand in the README, since ``ext/`` is no package.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PACKAGES = sorted(path.parent for path in (ROOT / "minigrad").rglob("__init__.py"))
ENTRY = re.compile(r" *((?:[\w/]+, )*[\w/]+) {2,}(\S.*)")


def contents(package):
    """{name: what it is} of the lines of a package's docstring that list files or functions."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    entries = filter(None, map(ENTRY.fullmatch, text.splitlines()))
    return {name: entry[2] for entry in entries for name in entry[1].split(", ")}


def files(package):
    """The modules and packages in a package."""
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    return modules | {path.parent.name for path in package.glob("*/__init__.py")}


def names(package):
    """The functions and classes that a package has of its own or imports by name."""
    tree = ast.parse((package / "__init__.py").read_text("utf-8"))
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in imports for alias in node.names}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_lists_its_files(package):
    assert files(package) - set(contents(package)) == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_package_lists_is_there(package):
    listed = {name for name in contents(package) if not name.isdigit()}
    paths = {name for name in listed if "/" in name}
    assert listed - paths - files(package) - names(package) == set()
    for path in paths:
        assert (package / path).is_dir() or (package / path).with_suffix(".py").is_file()


def told_changes(text):
    """What a text says after "What may be changed", up to the next blank line."""
    _, _, after = text.partition("What may be changed")
    return after.partition("\n\n")[0]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_ends_with_what_may_be_changed_in_its_files(package):
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or ""
    said = told_changes(text)
    assert text.endswith(said)
    tests = re.findall(r"tests/[\w/.]*\w", said)
    assert tests, "no test is named that holds the rest"
    assert [name for name in tests if not (ROOT / name).exists()] == []
    files_named = set(re.findall(r"``(\w+)``", said))
    assert files_named <= files(package)


def test_the_readme_says_what_may_be_changed_in_the_core():
    links = re.findall(r"\]\((.+?)\)", told_changes(README.split("\n## Read it\n")[1]))
    assert "tests/test_bits.py" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def reading_order():
    """[(link, what it is)] of the README's list, files of the compiled core included."""
    section = README.split("\n## Read it\n")[1].split("\n## ")[0]
    lines = re.findall(r"^ *(?:\d+\.|\*) (\[.*\)): (.+)$", section, flags=re.MULTILINE)
    return [(link, text) for links, text in lines for link in re.findall(r"\]\((.+?)\)", links)]


def test_the_readme_tells_the_compiled_core_one_file_at_a_time():
    linked = {link for link, _ in reading_order()}
    core = {f"ext/{path.name}" for path in (ROOT / "ext").iterdir() if path.is_file()}
    assert core - linked == set()


def test_the_readme_and_the_package_have_one_order():
    links = [link for link, _ in reading_order() if link.startswith("minigrad/")]
    shown = [re.sub(r"^minigrad/|/__init__\.py$|\.py$", "", link) for link in links]
    assert shown == list(contents(ROOT / "minigrad"))[: len(shown)]
