"""The source's figures and the comparison of commits: their own logic, on planted examples."""

from __future__ import annotations

import ast
import importlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad

sys.path.append(str(Path(__file__).parents[1]))  # after the installed minigrad
compare, house = (importlib.import_module(f"benchmarks.{name}") for name in ("compare", "house"))

ROOT = Path(minigrad.__file__).parents[1]


def parsed(**files):
    return {f"{name}.py": ast.parse(text) for name, text in files.items()}


def test_a_circle_for_the_type_checker_alone_counts():
    modules = parsed(
        a="if TYPE_CHECKING:\n    import b", b="def f():\n    from a import x", c="import a"
    )
    assert house.circles(house.imports(modules)) == [["a", "b"]]


def test_any_is_counted_in_annotations_alone():
    text = "x: dict[Any, Any] = {}\ndef f(a: Any, b: int) -> list[Any]:\n    return Any"
    assert house.any_count(parsed(a=text)) == 4


def test_parameters_count_without_self():
    ((_, method),) = house.functions(parsed(a="class A:\n    def f(self, a, /, b, *, c=1): ..."))
    assert house.parameters(method) == 3


def test_six_shared_lines_are_a_pair_and_five_are_none():
    lines = [f"x{k} = f({k})" for k in range(6)]
    spaced = "\n\n# why\n".join(lines)
    assert house.repeated_pairs({"a.py": "\n".join(lines), "b.py": spaced}) == ["a.py ~ b.py"]
    assert house.repeated_pairs({"a.py": "\n".join(lines[:5]), "b.py": spaced}) == []


def test_the_figures_are_taken_from_this_source():
    texts = house.sources(Path(house.__file__).parents[1])
    assert "minigrad/errors.py" in texts
    assert any(path.endswith(".tp") for path in texts)
    assert len(house.touched(texts)) > 3


def test_a_row_says_how_many_times_as_fast_the_new_commit_is():
    rows = [compare.Row("layers", "a", 20.0, 10.0), compare.Row("layers", "b", 5.0, 10.0)]
    out = io.StringIO()
    compare.report(rows, out)
    assert [row.ratio for row in rows] == [2.0, 0.5]
    assert out.getvalue().splitlines()[-1] == "layers: geometric mean 1.000, worst 0.500"


@pytest.mark.parametrize(
    ("group", "name"),
    [("layers", "dense 3x1 32->32@28"), ("gradients", "dense 3x1 32->32@28, weight")],
)
def test_a_side_answers_with_the_times_of_its_calls(group, name):
    with compare.Side(ROOT) as side:
        times = side.times(group, name, 0.001)
    assert times
    assert all(us > 0 for us in times)


def test_a_side_that_ends_is_told(tmp_path):
    with compare.Side(tmp_path) as side, pytest.raises(SystemExit, match="ended"):
        side.times("layers", "no such layer", 0.001)


def test_a_commit_is_installed_from_what_git_has(tmp_path, monkeypatch):
    calls = []

    def run(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=b"")

    monkeypatch.setattr(compare.subprocess, "run", run)
    target = compare.install("HEAD~1", tmp_path / "old")
    assert calls[0] == ["git", "archive", "HEAD~1"]
    assert calls[-1][-2:] == [str(target), str(tmp_path / "old" / "source")]


def test_every_case_of_the_child_is_known_by_group_and_name():
    child = importlib.import_module("benchmarks.compare_child")
    assert set(child.CASES) == {"networks", "layers", "gradients"}
    assert json.dumps([[g, n] for g in child.CASES for n in child.CASES[g]])
