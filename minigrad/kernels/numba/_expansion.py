"""A template written out: a syntax tree in which loops, branches and constants are gone.

``_template`` says what each construct means.  New nodes take the places of old ones, so every
line keeps its place in its file.
"""

from __future__ import annotations

import ast
import builtins
import copy
from typing import Any, TypeVar

from minigrad.kernels.numba._vectors import OPERATORS, Operation, Vector

__all__ = ["Expansion"]

Node = TypeVar("Node", bound=ast.AST)


class Expansion(ast.NodeVisitor):
    """Writes a template out: new nodes for old ones.

    ``scope`` is what names mean; ``known`` are those whose values stand in the source.
    """

    def __init__(self, function: ast.FunctionDef, scope: dict[str, Any], vector: Vector) -> None:
        self.scope, self.vector = scope, vector
        self.globals = scope  # of the expanded function; ``scope`` grows inside a loop
        names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        variables = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        variables |= {argument.arg for argument in function.args.args}
        values = {name for name, meaning in scope.items() if not callable(meaning)}
        self.known = (values | set(dir(builtins))) - variables
        self.words: dict[str, Any] = {}  # the variables that are tables, and of what
        self.registers: set[str] = set()
        self.beginning: dict[str, ast.Assign] = {}  # of the expanded function

    def value(self, node: ast.expr) -> Any:
        """What an expression of constants is."""
        return eval(compile(ast.Expression(node), "<template>", "eval"), self.scope)

    def visit(self, node: ast.AST) -> Any:
        """The node written out: a number, if it is an expression of constants that has one."""
        if isinstance(node, ast.expr) and not isinstance(node, ast.Constant):
            names = (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
            if all(name in self.known for name in names):
                value = self.value(ast.fix_missing_locations(node))
                if isinstance(value, (int, float)):
                    # Of the two booleans Numba knows no literal types.
                    number = int(value) if isinstance(value, bool) else value
                    return _at(node, ast.Constant(number))
        return super().visit(node)

    def generic_visit(self, node: Node) -> Node:
        """The same node, its parts written out."""
        parts = {name: self.part(value) for name, value in ast.iter_fields(node)}
        return _at(node, type(node)(**parts))

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
        return _at(node, ast.FunctionDef(**parts))

    def note(self, name: str, annotation: ast.expr | None) -> None:
        """Remember a table of words."""
        words = self.scope.get(getattr(annotation, "id", ""))
        if hasattr(words, "_fields"):
            self.words[name] = words

    def visit_For(self, node: ast.For) -> ast.For | list[ast.stmt]:
        if _called(node.iter) != "unroll":
            return self.generic_visit(node)
        assert isinstance(node.iter, ast.Call)
        before, result = (self.scope, self.known), []
        for item in self.value(node.iter.args[0]):
            names = self.bound(node.target, item)
            self.scope, self.known = before[0] | names, before[1] | set(names)
            result += self.part(node.body)
        self.scope, self.known = before
        return result

    def bound(self, target: ast.expr, item: Any) -> dict[str, object]:
        """The names of a loop's target, for one item."""
        if isinstance(target, ast.Name):
            return {target.id: item}
        assert isinstance(target, ast.Tuple)
        pairs = zip(target.elts, item, strict=True)
        return {k: v for part, one in pairs for k, v in self.bound(part, one).items()}

    def visit_If(self, node: Any) -> Any:
        """The branch that is taken, if that is known."""
        test = self.visit(node.test)
        if isinstance(test, ast.Constant):
            return self.part(node.body if test.value else node.orelse)
        return _at(node, type(node)(test, self.part(node.body), self.part(node.orelse)))

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        return self.visit_If(node)

    def visit_Assign(self, node: ast.Assign) -> ast.Assign | list[ast.stmt]:
        if _called(node.value) == "registers":
            names = (part.id for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name))
            self.registers.update(names)
            return []
        if isinstance(node.value, ast.Call) and _called(node.value) == "entry":
            assert isinstance(node.targets[0], ast.Name)
            self.note(node.targets[0].id, node.value.args[0])
        return self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign | list[ast.stmt]:
        target = self.visit(node.target)
        before = copy.copy(target)
        before.ctx = ast.Load()
        value = self.operation(node, type(node.op), before, self.visit(node.value))
        return _at(node, ast.Assign([target], value))

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | list[ast.stmt]:
        calls = (part for part in ast.walk(node) if _called(part) == "branch")
        choice: Any = next(calls, None)
        if choice is None:
            return self.generic_visit(node)
        condition, *constants = choice.args
        if self.value(constants[0]) == self.value(constants[1]):
            del constants[1]
        # A copy of the call in which the constant stands in place of the branch.
        ways = [self.part([copy.deepcopy(node, {id(choice): one})]) for one in constants]
        return [_at(node, ast.If(self.visit(condition), *ways))] if len(ways) == 2 else ways[0]

    # -- expressions

    def visit_Name(self, node: ast.Name) -> ast.expr:
        compiled = getattr(self.scope.get(node.id), "compiled", None)  # a template's
        if compiled:
            return self.global_(node, f"{node.id}_", compiled(self.vector, ()))
        return node

    def global_(self, node: ast.AST, name: str, meaning: object) -> ast.expr:
        """A variable of the expanded function that is set at its beginning.

        For Numba a use of a variable is one step less than a use of a global name.
        """
        self.globals[f"{name}_"] = meaning
        self.beginning[name] = ast.Assign(
            [ast.Name(name, ast.Store())], ast.Name(f"{name}_", ast.Load())
        )
        return _at(node, ast.Name(name, ast.Load()))

    def operation(self, node: ast.AST, sign: str | type, *operands: Any) -> ast.expr:
        """The call of an operation, which a name or an operator stands for."""
        name = sign if isinstance(sign, str) else sign.__name__
        count, meaning = len(operands), OPERATORS.get(sign) or self.scope[name]
        function = self.global_(node, f"{name}_{count}", meaning.on(self.vector, count))
        return _at(node, ast.Call(function, [*operands], []))

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        assert isinstance(node.value, ast.Name)
        name, constants = node.value.id, self.value(node.slice)
        constants = constants if isinstance(node.slice, ast.Tuple) else (constants,)
        if name in self.registers:
            return _at(node, ast.Name("_".join([name, *map(str, constants)]), node.ctx))
        function = self.scope[name].compiled(self.vector, constants)
        return self.global_(node, f"{name}_{len(self.globals)}", function)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = _called(node)
        if name in OPERATORS or isinstance(self.scope.get(name), Operation):
            return self.operation(node, name, *self.part(node.args))
        if name == "entry":
            words, table, index = node.args
            line = ast.BinOp(index, ast.Mult(), ast.Constant(8 * len(self.value(words)._fields)))
            place: ast.expr = self.visit(_at(node, ast.BinOp(table, ast.Add(), line)))
            return place
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        assert isinstance(node.value, ast.Name)
        offset = _at(node, ast.Constant(8 * self.words[node.value.id]._fields.index(node.attr)))
        return self.operation(node, ast.Attribute, node.value, offset)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if type(node.op) not in OPERATORS:
            return self.generic_visit(node)
        operands = self.part(_terms(node))
        if isinstance(node.op, ast.Add):
            operands = [one for one in operands if getattr(one, "value", 1) != 0]
        one: ast.expr = operands[0]
        return self.operation(node, type(node.op), *operands) if len(operands) > 1 else one

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        return self.operation(node, type(node.op), self.visit(node.operand))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        (sign,), (right,) = node.ops, node.comparators
        return self.operation(node, type(sign), self.visit(node.left), self.visit(right))


def _terms(node: ast.BinOp) -> list[ast.expr]:
    """The operands, from left to right; those of a sum of sums are one list."""
    left = [node.left]
    if isinstance(node.op, ast.Add) and isinstance(node.left, ast.BinOp):
        left = _terms(node.left) if isinstance(node.left.op, ast.Add) else left
    return [*left, node.right]


def _called(node: ast.AST) -> str:
    return getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""


def _at(node: ast.AST, new: Node) -> Node:
    return ast.copy_location(new, node)
