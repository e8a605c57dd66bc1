"""The state of the source as figures: ``python -m benchmarks.house``.

Read from the files with ``ast`` and as text, nothing is imported: circles of imports (those
for the type checker counted), long functions, long parameter lists, how often an annotation
says ``Any``, places that repeat each other, and what one activation touches.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

__all__ = ["circles", "figures", "main", "repeated_pairs"]

ROOT = Path(__file__).parents[1]
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
SHARED = 6  # lines that make two places a pair
COMMON = 8  # places beyond which a run of lines is a habit of the language, not a repetition
ACTIVATION = "hardsigmoid"  # the one whose files are counted


def sources(root: Path) -> dict[str, str]:
    """{path below root: text} of the package and of the templates."""
    files = [*(root / "minigrad").rglob("*.py"), *(root / "ext").iterdir()]
    return {str(f.relative_to(root)): f.read_text("utf-8") for f in sorted(files) if f.is_file()}


def trees(texts: Mapping[str, str]) -> dict[str, ast.Module]:
    return {path: ast.parse(text) for path, text in texts.items() if path.endswith(".py")}


def module_name(path: str) -> str:
    parts = Path(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(modules: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """{module: modules of the package that it imports}, inside functions and for types too."""
    names = {module_name(path): tree for path, tree in modules.items()}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for name, tree in names.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                full = (f"{node.module}.{alias.name}" for alias in node.names)
                graph[name] |= {f if f in names else node.module for f in full}
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
        graph[name] = {target for target in graph[name] if target in names} - {name}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other by imports."""
    reach = {module: _reached(graph, module) for module in graph}
    groups = {
        frozenset({module, *(t for t in reach[module] if module in reach[t])})
        for module in graph
        if module in reach[module]
    }
    return sorted(sorted(group) for group in groups)


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    stack = list(graph[start])
    while stack:
        module = stack.pop()
        if module not in seen:
            seen.add(module)
            stack.extend(graph[module])
    return seen


def functions(modules: Mapping[str, ast.Module]) -> Iterator[tuple[str, Function]]:
    """(path:line name, definition) of every function."""
    for path, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{path}:{node.lineno} {node.name}", node


def length(function: Function) -> int:
    """Lines from ``def`` to the end, the docstring aside."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1 if told else 0)


def parameters(function: Function) -> int:
    """Parameters, self aside."""
    args = function.args
    names = [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def any_count(modules: Mapping[str, ast.Module]) -> int:
    """How often annotations of parameters, results and variables say ``Any``."""
    count = 0
    for tree in modules.values():
        for node in ast.walk(tree):
            notes: list[ast.expr | None] = []
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                notes = [node.returns]
            elif isinstance(node, (ast.arg, ast.AnnAssign)):
                notes = [node.annotation]
            count += sum(_says_any(note) for note in notes if note is not None)
    return count


def _says_any(note: ast.expr) -> int:
    return sum(isinstance(n, ast.Name) and n.id == "Any" for n in ast.walk(note))


def repeated_pairs(texts: Mapping[str, str]) -> list[str]:
    """Pairs of places with the same SHARED lines or more; blanks and what is read by people
    alone (comments, docstrings, imports) aside.
    """
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for path, text in texts.items():
        lines = list(_telling_lines(without_docstrings(text) if path.endswith(".py") else text))
        for k in range(len(lines) - SHARED + 1):
            run = lines[k : k + SHARED]
            places[tuple(line for _, line in run)].append((path, k))
    hits = {
        (a, b)
        for found in places.values()
        if 1 < len(found) <= COMMON
        for a, b in combinations(found, 2)
    }
    starts = {(a, b) for a, b in hits if ((a[0], a[1] - 1), (b[0], b[1] - 1)) not in hits}
    return sorted(f"{a[0]} ~ {b[0]}" for a, b in starts)


def without_docstrings(text: str) -> str:
    """The source with docstrings and imports blanked: files of a kind have some of a kind."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            aside = first if told else None
        else:
            aside = node if isinstance(node, (ast.Import, ast.ImportFrom)) else None
        if aside is not None:
            end = aside.end_lineno or aside.lineno
            lines[aside.lineno - 1 : end] = [""] * (end - aside.lineno + 1)
    return "\n".join(lines)


def _telling_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        bare = " ".join(line.split())
        if re.search(r"\w", bare) and not re.match(r"#|from |import |//", bare):
            yield number, bare


def numba_lines(texts: Mapping[str, str]) -> int:
    """Lines of the Numba backend."""
    return sum(text.count("\n") for path, text in texts.items() if "numba" in path)


def touched(texts: Mapping[str, str], name: str = ACTIVATION) -> list[str]:
    """The files that say the name of an activation."""
    return [path for path, text in texts.items() if re.search(rf"{name}(?!\w)", text, re.I)]


def figures(root: Path = ROOT) -> dict[str, object]:
    """{what: how many, with the worst example}."""
    texts = sources(root)
    modules = trees(texts)
    every = list(functions(modules))
    plain = [f for f in every if not f[1].name.startswith("__")]

    def worst(measure: Callable[[Function], int], among: list[tuple[str, Function]]) -> str:
        place, function = max(among, key=lambda f: measure(f[1]))
        return f"{measure(function)} ({place})"

    return {
        "circles of imports": circles(imports(modules)) or 0,
        "functions over 60 lines": sum(length(f) > 60 for _, f in every),
        "longest function": worst(length, every),
        "most parameters": worst(parameters, plain),
        "Any in annotations": any_count(modules),
        f"pairs that share {SHARED} lines": len(repeated_pairs(texts)),
        "lines of the Numba backend": numba_lines(texts),
        f"files that name {ACTIVATION}": len(touched(texts)),
        "files over 400 lines": [p for p, t in texts.items() if t.count("\n") > 400] or 0,
    }


def main() -> None:
    """Print the figures, and with ``-v`` the pairs and files behind them."""
    for name, value in figures().items():
        print(f"{name:32} {value}")
    if "-v" in sys.argv[1:]:
        texts = sources(ROOT)
        print("", *repeated_pairs(texts), "", *touched(texts), sep="\n")


if __name__ == "__main__":
    main()
