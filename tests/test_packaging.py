"""One name and one version everywhere, and an installed package that stands in front."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import benchmarks
from minigrad.version import DISTRIBUTION, __version__

ROOT = Path(__file__).parents[1]
PAGES = ["pyproject.toml", "README.md", "CONTRIBUTING.md", "CONVENTIONS.md", "SECURITY.md"]


def test_the_distribution_has_one_name_and_one_version():
    project = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^name = "([^"]+)"', project, re.MULTILINE)[1] == DISTRIBUTION
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize("page", PAGES + [str(p.relative_to(ROOT)) for p in
                                          sorted((ROOT / "minigrad").rglob("*.py"))])  # fmt: skip
def test_no_page_or_message_tells_to_install_a_strangers_package(page):
    """`minigrad` itself belongs to somebody else on PyPI."""
    text = (ROOT / page).read_text()
    assert not re.search(r"pip install (-\S+ )*['\"]?minigrad(?![-\w])", text)
    assert "minigrad[" not in text


def test_benchmarks_in_a_clone_use_the_installed_package(tmp_path, monkeypatch):
    clone = tmp_path.resolve()
    core = clone / "minigrad" / "kernels" / "cython" / "_ext"
    core.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(clone), "installed"])
    benchmarks.prefer_the_built_package(clone)
    assert sys.path == ["installed", str(clone)]
    monkeypatch.setattr(sys, "path", [str(clone), "installed"])
    (core / "cpu.cpython-313.so").touch()
    benchmarks.prefer_the_built_package(clone)
    assert sys.path == [str(clone), "installed"]
