"""The floors of the house: imports go down, nothing runs in a circle, every op has its row.

Imports are read from the source with `ast`, so that one inside a function counts too, and one
for the type checker: who reads a file must know what it names.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import minigrad

PACKAGE = Path(minigrad.__file__).parent

# A module may import from a floor below its own, or from its own floor further left.
# A name stands for the module or for the whole package.
FLOORS = (
    (
        "version",
        "records",
        "errors",
        "demand",
        "arrays",
        "arguments",
        "forks",
        "geometry",
        "sampling",
        "sizes",
        "resources",
        "threads",
        "columns",
        "docs",
        "interrupts",
    ),
    ("kernels",),
    ("tensor", "shaped", "autograd", "gradcheck", "explain"),
    ("ops",),
    ("formats",),
    ("engine",),
    ("nn", "optim"),
    ("graphs",),
    ("models",),
    ("verify",),
    ("vision", "data", "training", "cli", "__main__"),
)
MAY_NOT = {("verify", "models")}


class Imports(ast.NodeVisitor):
    """The minigrad modules that a module imports, for the type checker alone too."""

    def __init__(self, module: str, is_package: bool, modules: frozenset[str]) -> None:
        self.package = module if is_package else module.rpartition(".")[0]
        self.modules = modules
        self.found: set[str] = set()

    def visit_Import(self, node):
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node):
        base = self.package.rsplit(".", node.level - 1)[0] if node.level else ""
        origin = ".".join(part for part in (base, node.module) if part)
        for alias in node.names:
            full = f"{origin}.{alias.name}"
            self._add(full if full in self.modules else origin)

    def _add(self, name):
        if name == "minigrad" or name.startswith("minigrad."):
            self.found.add(name)


def read_imports(root: Path) -> dict[str, set[str]]:
    """{module: the minigrad modules it imports} of every file below the package root."""
    files = {module_name(root, path): path for path in sorted(root.rglob("*.py"))}
    graph = {}
    for module, path in files.items():
        visitor = Imports(module, path.name == "__init__.py", frozenset(files))
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        graph[module] = visitor.found - {module}
    return graph


def module_name(root: Path, path: Path) -> str:
    parts = ("minigrad", *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place(module: str) -> tuple[int, int]:
    """(floor, position on it) of a module below minigrad."""
    top = module.split(".")[1]
    for floor, names in enumerate(FLOORS):
        if top in names:
            return floor, names.index(top)
    raise LookupError(f"{module} is on no floor: give it one in tests/test_architecture.py")


def arrows_up(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go to a higher floor, or to the right on the same one."""
    return [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in sorted(targets)
        if module != "minigrad" and (target == "minigrad" or goes_up(module, target))
    ]


def goes_up(module: str, target: str) -> bool:
    top, other = module.split(".")[1], target.split(".")[1]
    return top != other and ((top, other) in MAY_NOT or place(target) > place(module))


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """Some circle of imports, or []."""
    done: set[str] = set()
    for start in graph:
        trail: list[str] = []
        stack = [(start, iter(sorted(graph[start])))]
        while stack:
            module, targets = stack[-1]
            if len(trail) < len(stack):
                trail.append(module)
            target = next((t for t in targets if t not in done), None)
            if target is None:
                done.add(module)
                stack.pop()
                trail.pop()
            elif target in trail:
                return [*trail[trail.index(target) :], target]
            else:
                stack.append((target, iter(sorted(graph.get(target, ())))))
    return []


def test_imports_go_down_the_floors():
    assert arrows_up(read_imports(PACKAGE)) == []


def test_imports_run_in_no_circle():
    assert cycle(read_imports(PACKAGE)) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("from minigrad.models import create", "minigrad.ops.conv imports minigrad.models"),
        ("from ..models import create", "minigrad.ops.conv imports minigrad.models"),
        ("def f():\n    import minigrad.nn", "minigrad.ops.conv imports minigrad.nn"),
        ("if True:\n    from minigrad import engine", "minigrad.ops.conv imports minigrad.engine"),
        ("import minigrad", "minigrad.ops.conv imports minigrad"),
    ],
)
def test_a_planted_arrow_up_is_found(tmp_path, line, fault):
    house = plant(tmp_path, {"ops/conv.py": line, "models/__init__.py": "", "engine.py": ""})
    assert arrows_up(read_imports(house)) == [fault]


def test_a_planted_arrow_up_inside_a_floor_is_found(tmp_path):
    house = plant(tmp_path, {"tensor.py": "import minigrad.autograd", "autograd.py": ""})
    assert arrows_up(read_imports(house)) == ["minigrad.tensor imports minigrad.autograd"]


def test_the_judge_may_not_know_the_models(tmp_path):
    house = plant(tmp_path, {"verify/judge.py": "import minigrad.models"})
    assert arrows_up(read_imports(house)) == ["minigrad.verify.judge imports minigrad.models"]


def test_arrows_down_are_no_fault(tmp_path):
    text = "from minigrad.errors import ShapeError\nif TYPE_CHECKING:\n    import minigrad.kernels"
    assert arrows_up(read_imports(plant(tmp_path, {"ops/conv.py": text}))) == []


def test_an_arrow_up_for_the_type_checker_is_found(tmp_path):
    house = plant(tmp_path, {"ops/conv.py": "if TYPE_CHECKING:\n    import minigrad.models"})
    assert arrows_up(read_imports(house)) == ["minigrad.ops.conv imports minigrad.models"]


def test_a_planted_circle_is_found(tmp_path):
    files = {
        "ops/a.py": "from . import b",
        "ops/b.py": "from .c import x",
        "ops/c.py": "from . import a",
    }
    circle = cycle(read_imports(plant(tmp_path, {**files, "ops/__init__.py": ""})))
    assert set(circle) == {"minigrad.ops.a", "minigrad.ops.b", "minigrad.ops.c"}


def test_a_module_on_no_floor_is_found(tmp_path):
    house = plant(tmp_path, {"utils.py": "import minigrad.errors"})
    with pytest.raises(LookupError, match=r"minigrad\.utils is on no floor"):
        arrows_up(read_imports(house))


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_every_primitive_has_a_row_in_the_case_table():
    import minigrad.ops
    from minigrad.tensor import PRIMITIVES
    from minigrad.verify.cases import CASES

    assert minigrad.ops
    assert PRIMITIVES
    assert set(PRIMITIVES) - set(CASES) == set(), "primitives that no test would look at"


def test_import_minigrad_imports_numpy_and_the_standard_library_alone(run_python):
    script = (
        "import sys; import numpy; before = set(sys.modules); import minigrad;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    imported = run_python("-c", script).stdout.split()
    assert "minigrad" in imported
    strangers = set(imported) - sys.stdlib_module_names - {"numpy", "minigrad"}
    assert strangers == set()
    assert not {"dataclasses", "inspect", "pathlib"} & set(imported), "these take milliseconds"


def test_setup_py_can_read_the_tables_before_there_is_a_package():
    tree = ast.parse((PACKAGE / "kernels" / "tables.py").read_text("utf-8"))
    named = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import)
             for name in node.names}  # fmt: skip
    named |= {f"{'.' * node.level}{node.module or ''}" for node in ast.walk(tree)
              if isinstance(node, ast.ImportFrom)}  # fmt: skip
    assert named, "nothing was looked at"
    assert {name.partition(".")[0] for name in named} <= sys.stdlib_module_names
