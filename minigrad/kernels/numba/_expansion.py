"""A template written out: a syntax tree in which loops, branches and constants are gone.

``_template`` says what each construct means.  New nodes take the places of old ones, so every
line keeps its place in its file.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any, TypeVar

from minigrad.kernels.numba._vectors import (  # isort: skip
    Operation, Vector, difference_of, least, most, product_of, sum_of, word,
)  # fmt: skip

__all__ = ["Expansion"]

Node = TypeVar("Node", bound=ast.AST)
# Of two integers; Numba's own take long to compile.
_INTEGERS = {"min": least, "max": most}
_ARITHMETIC = {ast.Add: sum_of, ast.Sub: difference_of, ast.Mult: product_of}


class Expansion(ast.NodeVisitor):
    """Writes a template out: new nodes for old ones.

    ``scope`` is what names mean; ``fixed`` are the names of constants.
    """

    def __init__(self, scope: dict[str, Any], fixed: set[str], vector: Vector) -> None:
        self.scope, self.fixed, self.vector = scope, fixed, vector
        self.globals = scope  # of the expanded function; ``scope`` grows inside a loop
        self.words: dict[str, Any] = {}  # the variables that are tables, and of what
        self.registers: set[str] = set()
        self.beginning: dict[str, ast.Assign] = {}  # of the expanded function

    def value(self, node: ast.expr) -> Any:
        """What an expression of constants is."""
        return eval(compile(ast.Expression(node), "<template>", "eval"), self.scope)

    def generic_visit(self, node: Node) -> Node:
        """The same node, its parts written out."""
        parts = {name: self.part(value) for name, value in ast.iter_fields(node)}
        return ast.copy_location(type(node)(**parts), node)

    def part(self, value: object) -> Any:
        """A part of a node: a node, a list of them, or something else."""
        if isinstance(value, list):
            parts = [self.part(one) for one in value]
            return [p for one in parts for p in (one if isinstance(one, list) else [one])]
        return self.visit(value) if isinstance(value, ast.AST) else value

    # -- statements

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        for argument in node.args.args:
            self.note(argument.arg, argument.annotation)
        plain = [ast.arg(a.arg) for a in node.args.args]
        body = self.part(node.body)
        parts = dict(ast.iter_fields(node)) | {
            "args": ast.arguments([], plain, None, [], [], None, []),
            "body": [*(_at(node, set_) for set_ in self.beginning.values()), *body],
            "decorator_list": [],
            "returns": None,
        }
        return ast.copy_location(ast.FunctionDef(**parts), node)

    def note(self, name: str, annotation: ast.expr | None) -> None:
        """Remember a table of words."""
        words = self.scope.get(getattr(annotation, "id", ""))
        if hasattr(words, "_fields"):
            self.words[name] = words

    def visit_For(self, node: ast.For) -> ast.For | list[ast.stmt]:
        if not (isinstance(node.iter, ast.Call) and _called(node.iter) == "unroll"):
            return self.generic_visit(node)
        result: list[ast.stmt] = []
        for item in self.value(node.iter.args[0]):
            result += self.body(node.body, self.bound(node.target, item))
        return result

    def body(self, statements: list[ast.stmt], names: dict[str, object]) -> list[ast.stmt]:
        """A copy of statements in which these names are constants."""
        before = self.scope, self.fixed
        self.scope, self.fixed = self.scope | names, self.fixed | set(names)
        result: list[ast.stmt] = self.part(statements)
        self.scope, self.fixed = before
        return result

    def bound(self, target: ast.expr, item: Any) -> dict[str, object]:
        """The names of a loop's target, for one item."""
        if isinstance(target, ast.Name):
            return {target.id: item}
        assert isinstance(target, ast.Tuple)
        pairs = zip(target.elts, item, strict=True)
        return {k: v for part, one in pairs for k, v in self.bound(part, one).items()}

    def visit_If(self, node: ast.If) -> ast.If | list[ast.stmt]:
        if isinstance(node.test, ast.Call) and _called(node.test) == "static":
            return self.body(node.body if self.value(node.test.args[0]) else node.orelse, {})
        return self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        if isinstance(node.test, ast.Call) and _called(node.test) == "static":
            chosen = node.body if self.value(node.test.args[0]) else node.orelse
            written: ast.expr = self.visit(chosen)
            return written
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.Assign | list[ast.stmt]:
        if isinstance(node.value, ast.Call) and _called(node.value) == "registers":
            names = (part.id for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name))
            self.registers.update(names)
            return []
        if isinstance(node.value, ast.Call) and _called(node.value) == "entry":
            assert isinstance(node.targets[0], ast.Name)
            self.note(node.targets[0].id, node.value.args[0])
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | list[ast.stmt]:
        calls = (part for part in ast.walk(node) if isinstance(part, ast.Call))
        choice = next((call for call in calls if _called(call) == "branch"), None)
        if choice is None:
            return self.generic_visit(node)
        condition, *constants = choice.args
        if self.value(constants[0]) == self.value(constants[1]):
            del constants[1]
        # A copy of the call in which the constant stands in place of the branch.
        ways = [self.part([copy.deepcopy(node, {id(choice): one})]) for one in constants]
        return [_at(node, ast.If(self.visit(condition), *ways))] if len(ways) == 2 else ways[0]

    # -- expressions

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        """Of the two booleans Numba knows no literal types."""
        return _at(node, ast.Constant(int(node.value))) if isinstance(node.value, bool) else node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        meaning = self.scope.get(node.id, _INTEGERS.get(node.id))
        if isinstance(node.ctx, ast.Store):
            return node
        if node.id in self.fixed and isinstance(meaning, int):
            return self.visit_Constant(_at(node, ast.Constant(meaning)))
        if isinstance(meaning, Operation) and not meaning.addressed:
            return self.global_(node, f"{node.id}_", meaning.on(self.vector))
        if compiled := getattr(meaning, "compiled", None):  # a template's
            return self.global_(node, f"{node.id}_", compiled(self.vector, ()))
        return node

    def global_(self, node: ast.expr, name: str, meaning: object) -> ast.expr:
        """A variable of the expanded function that is set at its beginning.

        For Numba a use of a variable is one step less than a use of a global name.
        """
        self.globals[f"{name}_"] = meaning
        self.beginning[name] = ast.Assign(
            [ast.Name(name, ast.Store())], ast.Name(f"{name}_", ast.Load())
        )
        return _at(node, ast.Name(name, ast.Load()))

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        assert isinstance(node.value, ast.Name)
        name, constants = node.value.id, self.value(node.slice)
        constants = constants if isinstance(constants, tuple) else (constants,)
        if name in self.registers:
            return _at(node, ast.Name("_".join([name, *map(str, constants)]), node.ctx))
        meaning = self.value(node.value)
        function = meaning.compiled(self.vector, constants)
        return self.global_(node, f"{name}_{len(self.globals)}", function)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if _called(node) in ("splat", "pattern"):  # of a number known now
            number = _at(node.args[0], ast.Constant(self.value(node.args[0])))
            return _at(node, ast.Call(self.visit(node.func), [number], []))
        operation = self.scope.get(_called(node))
        if isinstance(operation, Operation) and operation.addressed:
            return self.addressed(node, operation)
        if _called(node) == "len":
            return _at(node, ast.Constant(self.value(node)))
        if _called(node) == "entry":
            words = self.value(node.args[0])
            line = ast.BinOp(node.args[2], ast.Mult(), ast.Constant(8 * len(words._fields)))
            place: ast.expr = self.visit(_at(node, ast.BinOp(node.args[1], ast.Add(), line)))
            return place
        return self.generic_visit(node)

    def addressed(self, node: ast.Call, operation: Operation) -> ast.expr:
        """An access to memory: the terms of its address are the operation's to add."""
        first, *others = node.args
        terms = [t for t in self.part(list(_terms(first))) if getattr(t, "value", 1) != 0]
        name, arguments = f"{_called(node)}{len(terms)}", [*terms, *self.part(others)]
        function = self.global_(node.func, name, operation.on(self.vector, len(terms)))
        return _at(node.func, ast.Call(function, arguments, []))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        words = self.words.get(getattr(node.value, "id", ""))
        if words is None:
            return self.visit_Constant(_at(node, ast.Constant(self.value(node))))
        read = self.global_(node, "word2", word.on(self.vector, 2))
        place = ast.Constant(8 * words._fields.index(node.attr))
        return _at(node, ast.Call(read, [node.value, place], []))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        node = self.generic_visit(node)
        if not all(isinstance(one, ast.Constant) for one in (node.left, *node.comparators)):
            return node
        return self.visit_Constant(_at(node, ast.Constant(self.value(node))))

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Arithmetic on constants is done here, which saves Numba half of its work."""
        node = self.generic_visit(node)
        left, right = node.left, node.right
        if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            return _at(node, ast.Constant(self.value(ast.fix_missing_locations(node))))
        if isinstance(right, ast.Constant) and right.value == 0 and isinstance(node.op, ast.Add):
            return left
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            return node
        function = self.global_(node, type(node.op).__name__, operation.on(self.vector))
        return _at(node, ast.Call(function, [left, right], []))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign | list[ast.stmt]:
        assert isinstance(node.target, ast.Name)
        before = _at(node, ast.Name(node.target.id, ast.Load()))
        value = _at(node, ast.BinOp(before, node.op, node.value))
        return self.visit_Assign(_at(node, ast.Assign([node.target], value)))


def _terms(node: ast.expr) -> Iterator[ast.expr]:
    """The terms of a sum."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield node


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", "")


def _at(node: ast.AST, new: Node) -> Node:
    return ast.copy_location(new, node)
