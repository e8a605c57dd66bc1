"""Kernels as templates: Python functions whose small loops become registers.

``@template`` marks a function of Numba's Python in which, before it is compiled,

    M, LANES   are numbers: its keyword arguments, which are constants, and the vector's
    M + 1      and what is made of constants alone is one too; ``if M == 3:`` keeps one branch
    unroll     ``for m in unroll(range(M)):`` is written out, m a number in each copy
    y[m, v]    is a variable of its own, y_0_1, if ``y = registers()``
    job.out    is a word of a table, if ``job: Gather`` is a NamedTuple of words
    tile[M, V] is another template with these constants; ``exp(x)`` any function, one without
    branch     ``tile[branch(n < LANES, 1, V)](...)`` is an if with a call for each of the two

It is the syntax tree that changes, so every line keeps its place in its file.
"""

from __future__ import annotations

import ast
import functools
import inspect
import weakref
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core.base import BaseContext
from numba.core.codegen import CodeLibrary
from numba.core.funcdesc import FunctionDescriptor
from numba.core.typing import Signature

from minigrad.kernels.numba._compiler import compile_into
from minigrad.kernels.numba._expansion import Expansion
from minigrad.kernels.numba._vectors import Vector, intrinsic_of

__all__ = ["Template", "branch", "entry", "registers", "template", "unroll"]

Item = TypeVar("Item")
Words = TypeVar("Words", bound=tuple[Any, ...])


def unroll(items: Iterable[Item]) -> Iterable[Item]:
    """Items known when a template is expanded: the loop over them is written out."""
    return items


def branch(condition: bool, then: Item, otherwise: Item) -> Item:
    """A constant of a template that the condition decides when the kernel runs."""
    raise TypeError("a branch is inside a kernel only")


def registers(names: int = 1) -> Any:
    """So many names for variables ``y[m, v]``, each of them one of its own."""
    raise TypeError("registers are inside a kernel only")


def entry(words: type[Words], table: int, index: int) -> Words:
    """Line ``index`` of a table whose lines are ``words``, inside a template."""
    raise TypeError("a table of words has a meaning inside a kernel only")


@dataclass(frozen=True, repr=False)
class Template:
    """A function of the kernels' language; its keyword arguments are constants.

    ``fixed`` are constants that it was given before, which makes it one without any.
    """

    function: Callable[..., object]
    fixed: tuple[Hashable, ...] = ()

    def __post_init__(self) -> None:
        _text(inspect.getfile(self.function))

    def __repr__(self) -> str:
        return f"{self.function.__name__}{self.fixed}"

    def of(self, *constants: Hashable) -> Template:
        """The same function with its constants given."""
        return Template(self.function, constants)

    def __call__(self, *arguments: object) -> Any:
        raise TypeError(f"{self.function.__name__} has a meaning inside a kernel only")

    __getitem__ = __call__

    @functools.cache  # noqa: B019  a template is there as long as its module
    def compiled(self, vector: Vector, constants: tuple[Hashable, ...]) -> Callable[..., object]:
        """The function as an intrinsic, which puts it into the module of its caller."""
        definition = _definition(self.function)
        inline, count = isinstance(definition.returns, ast.Name), len(definition.args.args)
        homes: weakref.WeakKeyDictionary[CodeLibrary, FunctionDescriptor] = (
            weakref.WeakKeyDictionary()
        )

        def typing(*arguments: types.Type) -> tuple[Signature, Callable[..., ir.Value]]:
            signature = (arguments[0] if inline else types.void)(*arguments)

            def codegen(
                context: BaseContext,
                builder: ir.IRBuilder,
                signature: Signature,
                values: list[ir.Value],
            ) -> ir.Value:
                home = context.active_code_library
                if home not in homes:
                    function = self.expand(vector, constants)
                    context.typing_context.refresh()  # what the function calls is new there
                    homes[home] = compile_into(home, context, function, signature, inline)
                return context.call_internal(builder, homes[home], signature, values)

            return signature, codegen

        return intrinsic_of(typing, count)

    def expand(self, vector: Vector, constants: tuple[Hashable, ...]) -> Callable[..., object]:
        """The function for one vector and one set of constants."""
        code = self.function.__code__
        names = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
        fixed = vector.constants | dict(zip(names, self.fixed + constants, strict=True))
        scope = self.function.__globals__ | fixed
        scope |= {k: Template(f) for k, f in scope.items() if inspect.isfunction(f)}
        definition = _definition(self.function)
        expanded = Expansion(definition, scope, vector).visit(definition)
        file = self.function.__code__.co_filename
        exec(compile(ast.fix_missing_locations(ast.Module([expanded], [])), file, "exec"), scope)
        function: Callable[..., object] = scope[self.function.__name__]
        return function


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
