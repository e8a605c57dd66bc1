"""Kernels as templates: Python functions whose small loops become registers.

``@template`` marks a function of Numba's Python in which, before it is compiled,

    M, LANES   are numbers: its keyword arguments, which are constants, and the vector's
    unroll     ``for m in unroll(range(M)):`` is written out, m a number in each copy
    static     ``if static(K == 3):`` keeps one branch, and so does ``a if static(K == 3) else b``
    y[m, v]    is a variable of its own, y_0_1, if ``y = registers()``
    job.out    is a word of a table, if ``job: Gather`` is a NamedTuple of words
    tile[M, V] is another template with these constants; ``exp(x)`` one without any
    branch     ``tile[branch(n < LANES, 1, V)](...)`` is an if with a call for each of the two

It is the syntax tree that changes, so every line keeps its place in its file.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core.base import BaseContext
from numba.core.codegen import CodeLibrary
from numba.core.compiler import CompilerBase, Flags
from numba.core.compiler_machinery import PassManager
from numba.core.funcdesc import FunctionDescriptor
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
)
from numba.core.typing import Signature
from numba.core.untyped_passes import FixupArgs, IRProcessing, TranslateByteCode

from minigrad.kernels.numba._vectors import (  # isort: skip
    Operation, Vector, difference_of, intrinsic_of, least, most, product_of, sum_of, word,
)  # fmt: skip

__all__ = ["Compiler", "Template", "branch", "entry", "registers", "static", "template", "unroll"]

Item = TypeVar("Item")
Node = TypeVar("Node", bound=ast.AST)
Words = TypeVar("Words", bound=tuple[Any, ...])


class Compiler(CompilerBase):
    """Numba's passes without those for what no kernel has: twice as fast."""

    def define_pipelines(self) -> list[PassManager]:
        """The one list of passes."""
        manager = PassManager("kernel")
        for one in (
            TranslateByteCode, FixupArgs, IRProcessing, NopythonTypeInference, IRLegalization,
            NativeLowering, NoPythonBackend,
        ):  # fmt: skip
            manager.add_pass(one, one.__name__)
        manager.finalize()
        return [manager]


# Of two integers; Numba's own take long to compile.
_INTEGERS = {"min": least, "max": most}
_ARITHMETIC = {ast.Add: sum_of, ast.Sub: difference_of, ast.Mult: product_of}
_LETTERS = {"Vec": "v", "Wide": "w", "Bits": "k"}  # the results that a template declares


def unroll(items: Iterable[Item]) -> Iterable[Item]:
    """Items known when a template is expanded: the loop over them is written out."""
    return items


def static(condition: object) -> bool:
    """A condition known when a template is expanded."""
    return bool(condition)


def branch(condition: bool, then: Item, otherwise: Item) -> Item:
    """A constant of a template that the condition decides when the kernel runs."""
    raise TypeError("a branch is inside a kernel only")


def registers(names: int = 1) -> Any:
    """So many names for variables ``y[m, v]``, each of them one of its own."""
    raise TypeError("registers are inside a kernel only")


def entry(words: type[Words], table: int, index: int) -> Words:
    """Line ``index`` of a table whose lines are ``words``, inside a template."""
    raise TypeError("a table of words has a meaning inside a kernel only")


class Template:
    """A function of the kernels' language; its keyword arguments are constants.

    ``fixed`` are constants that it was given before, which makes it one without any.
    """

    def __init__(self, function: Callable[..., object], fixed: tuple[Hashable, ...] = ()) -> None:
        functools.update_wrapper(self, function)
        code = function.__code__
        first = code.co_argcount
        self.names = code.co_varnames[first : first + code.co_kwonlyargcount]
        self.function, self.fixed = function, fixed
        _text(inspect.getfile(function))
        self.compiled = functools.cache(self._compiled)

    def __repr__(self) -> str:
        return f"{self.function.__name__}{self.fixed}"

    def of(self, *constants: Hashable) -> Template:
        """The same function with its constants given."""
        return Template(self.function, constants)

    def __eq__(self, other: object) -> bool:
        mine = self.function, self.fixed
        return isinstance(other, Template) and (other.function, other.fixed) == mine

    def __hash__(self) -> int:
        return hash((self.function, self.fixed))

    def __call__(self, *arguments: object) -> Any:
        raise TypeError(f"{self.function.__name__} has a meaning inside a kernel only")

    def __getitem__(self, constants: object) -> Callable[..., None]:
        raise TypeError(f"{self.function.__name__} has a meaning inside a kernel only")

    def _compiled(self, vector: Vector, constants: tuple[Hashable, ...]) -> Callable[..., object]:
        """The function as an intrinsic, which puts it into the module of its caller."""
        definition = _definition(self.function)
        result, count = getattr(definition.returns, "id", ""), len(definition.args.args)
        homes: weakref.WeakKeyDictionary[CodeLibrary, FunctionDescriptor] = (
            weakref.WeakKeyDictionary()
        )

        def typing(*arguments: types.Type) -> tuple[Signature, Callable[..., ir.Value]]:
            returned = arguments[0] if result == "Like" else vector.type(_LETTERS.get(result, "-"))
            signature = returned(*arguments)

            def codegen(
                context: BaseContext,
                builder: ir.IRBuilder,
                signature: Signature,
                values: list[ir.Value],
            ) -> ir.Value:
                home = context.active_code_library
                if home not in homes:
                    function, inline = self.expand(vector, constants), bool(result)
                    context.typing_context.refresh()  # what the function calls is new there
                    homes[home] = _compile_into(home, context, function, signature, inline)
                return context.call_internal(builder, homes[home], signature, values)

            return signature, codegen

        return intrinsic_of(typing, count)

    def expand(self, vector: Vector, constants: tuple[Hashable, ...]) -> Callable[..., object]:
        """The function for one vector and one set of constants."""
        fixed = vector.constants | dict(zip(self.names, self.fixed + constants, strict=True))
        scope = self.function.__globals__ | fixed
        expanded = _Expansion(scope, set(fixed), vector).visit(_definition(self.function))
        file = self.function.__code__.co_filename
        exec(compile(ast.fix_missing_locations(ast.Module([expanded], [])), file, "exec"), scope)
        function: Callable[..., object] = scope[self.function.__name__]
        return function


def _compile_into(
    library: CodeLibrary,
    context: BaseContext,
    function: Callable[..., object],
    signature: Signature,
    inline: bool,
) -> FunctionDescriptor:
    """Compile a function into a library that is not complete; its descriptor."""
    flags = Flags()
    flags.error_model = "numpy"
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.forceinline = inline
    arguments, result = signature.args, signature.return_type
    compiler = Compiler(context.typing_context, context, library, arguments, result, flags, {})
    return compiler.compile_extra(function).fndesc


template = Template  # as a decorator


@functools.cache
def _text(file: str) -> str:
    """A file as it was when the first of its templates was made."""
    return Path(file).read_text(encoding="utf-8")


@functools.cache
def _module(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(_text(file))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _definition(function: Callable[..., object]) -> ast.FunctionDef:
    return _module(inspect.getfile(function))[function.__name__]


class _Expansion(ast.NodeVisitor):
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
        if isinstance(meaning, Template):
            return self.global_(node, f"{node.id}_", meaning.compiled(self.vector, ()))
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
