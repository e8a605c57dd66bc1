"""A vector as a type of Numba, and the few things that a kernel does with it.

A kernel is ordinary Numba code over registers: ``y = fma(v, w, y)``, ``x * y + 1``.  Each
operation here emits one or two LLVM instructions; nothing else in this package does.  Letters
stand for the type of a result:

    v   the kernel's vector: LANES numbers of SIZE bytes        n   an int64
    w   as many float64 (v itself, if that is float64)          x   what the operands are: one kind
    k   the bits of a v                                             of vectors, or int64
    m   a mask: one bit a lane; of two int64 one boolean        -   nothing
    p   as many int64

A number beside vectors stands in every lane.  fma rounds once, nothing is reassociated, and the
compiler contracts nothing, so the bits are what the source says.  max(a, b) is a > b ? a : b,
and min(a, b) is a < b ? a : b: with a NaN the SECOND operand comes out, and it compares as
false.  load(at, n) and store(at, a, n) touch the first n lanes only, or all if n is larger or not
given; load fills the others with zero.  load_masked does so without a branch, for inner loops.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numba.extending
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.base import BaseContext
from numba.core.datamodel import models
from numba.core.typing import Signature
from numba.core.typing.templates import infer_global, make_intrinsic_template

__all__ = ["BYTES", "LANES", "OPERATORS", "SIZE", "Operation", "Vec", "Vector", "intrinsic_of"]

Value: TypeAlias = ir.Value
Vec: TypeAlias = Any  # what a template returns: a vector as its first argument is
SIZE = LANES = BYTES = 0  # in a kernel, what its vector has: ``Vector.constants``
_I64, _I32, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
_FLOATS = {4: ir.FloatType(), 8: ir.DoubleType()}


class Vector(NamedTuple):
    """What a kernel calls its vector: so many numbers of so many bytes."""

    itemsize: int
    lanes: int

    @property
    def constants(self) -> dict[str, int]:
        """The names that a kernel knows it by."""
        size, lanes = self
        return {"SIZE": size, "LANES": lanes, "BYTES": size * lanes}

    def type(self, letter: str) -> types.Type:
        """The type that a letter stands for."""
        scalars = {"n": types.int64, "-": types.void}
        elements = {
            "v": _FLOATS[self.itemsize], "w": _FLOATS[8], "k": ir.IntType(8 * self.itemsize),
            "p": _I64,
        }  # fmt: skip
        return scalars.get(letter) or _lanes(elements[letter], self.lanes)


class Lanes(types.Type):
    """Numba's type of one register."""

    def __init__(self, element: ir.Type, count: int) -> None:
        super().__init__(f"{count} x {element}")
        self.vector = ir.VectorType(element, count)


@numba.extending.register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: object, lanes: Lanes) -> None:
        super().__init__(manager, lanes, lanes.vector)


_lanes = functools.cache(Lanes)


class Emitter(NamedTuple):
    """Where instructions go, and the LLVM type of the kernel's vector."""

    builder: ir.IRBuilder
    vector: ir.VectorType

    def spread(self, scalar: Value, like: ir.VectorType) -> Value:
        """A scalar in every lane."""
        one = self.builder.insert_element(ir.Constant(like, ir.Undefined), scalar, _I32(0))
        return self.shuffle(one, one, [0] * like.count)

    def alike(self, *operands: Value | int) -> list[Value]:
        """The operands as vectors of one type, if one of them is a vector; else as int64."""
        likes = (o.type for o in operands if isinstance(o, ir.Value))
        like = next((t for t in likes if isinstance(t, ir.VectorType)), _I64)
        return [o if getattr(o, "type", None) == like else self.number(o, like) for o in operands]

    def number(self, number: Value | int, like: ir.Type) -> Value:
        """A number, which is a literal, an int64 or a float64, as a value of some type."""
        if isinstance(number, int):
            return ir.Constant(like, [number] * like.count if _is_vector(like) else number)
        if like.element == _FLOATS[4]:
            number = self.builder.fptrunc(number, like.element)
        return self.spread(number, like)

    def call(self, name: str, result: ir.Type, *arguments: Value, suffix: str = "") -> Value:
        """One of LLVM's own functions, for vectors of the type of the first that is one."""
        like = next(a.type for a in arguments if _is_vector(a.type))
        kind = f"v{like.count}{'i' if like.element == _I64 else 'f'}{8 * _bytes(like)}{suffix}"
        function = ir.FunctionType(result, [a.type for a in arguments])
        callee = cgutils.get_or_insert_function(
            self.builder.module, function, f"llvm.{name}.{kind}"
        )
        return self.builder.call(callee, arguments)

    def load(self, address: Value, pointee: ir.Type) -> Value:
        """What stands at an address, aligned as one number is."""
        loaded = self.builder.load(self.builder.inttoptr(address, pointee.as_pointer()))
        loaded.align = _bytes(pointee)
        return loaded

    def store(self, address: Value, value: Value) -> None:
        """Put a value there."""
        pointer = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, pointer).align = _bytes(value.type)

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes of a, and, counted on, of b."""
        places = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, places)


def _is_vector(of: ir.Type) -> bool:
    return isinstance(of, ir.VectorType)


def _bytes(of: ir.Type) -> int:
    element = getattr(of, "element", of)
    return 4 if element in (_FLOATS[4], _I32) else 8


class Operation:
    """An operation by the letter of its result and by what emits it, given an Emitter.

    Operands known when a kernel is compiled are Python's integers there.  A kernel's source
    calls an operation by its name; outside a kernel it cannot be called.
    """

    def __init__(self, result: str, emit: Callable[..., Any]) -> None:
        self.result, self.emit = result, emit
        self.on = functools.cache(self._on)

    def __call__(self, *arguments: object) -> Any:
        raise TypeError("an operation on vectors has a meaning inside a kernel only")

    def _on(self, vector: Vector, count: int) -> Callable[..., object]:
        """Numba's intrinsic of so many arguments, for a kernel whose vector is this one."""

        def typing(*given: types.Type) -> tuple[Signature, Callable[..., Value]] | None:
            result = self._type(vector, given)
            if result is None:
                return None
            literals = [getattr(a, "literal_value", None) for a in given]

            def codegen(
                context: BaseContext, builder: ir.IRBuilder, _: Signature, values: list[Value]
            ) -> Value:
                emitter = Emitter(builder, vector.type("v").vector)
                operands = (
                    v if known is None else known for v, known in zip(values, literals, strict=True)
                )
                value = self.emit(emitter, *operands)
                return context.get_dummy_value() if self.result == "-" else value

            return result(*given), codegen

        return intrinsic_of(typing, count)

    def _type(self, vector: Vector, given: Sequence[types.Type]) -> types.Type | None:
        """The type of the result, or None where vectors are not of one kind."""
        if self.result not in "xm":
            return vector.type(self.result)
        lanes = [a for a in given if isinstance(a, Lanes)]
        like = lanes[-1] if lanes else None
        if any(a != like for a in lanes if a.vector.element != _BIT):
            return None
        if self.result == "x":
            return like or types.int64
        return _lanes(_BIT, like.vector.count) if like else types.boolean


def intrinsic_of(typing: Callable[..., object], count: int) -> Callable[..., object]:
    """Numba's intrinsic of so many arguments, given their types; literals are handed over."""
    names = ", ".join(f"a{i}" for i in range(count))
    function: Callable[..., object] = eval(
        f"lambda context{', ' if names else ''}{names}: typing({names})", {"typing": typing}
    )
    template = make_intrinsic_template(function, function, "operation", prefer_literal=True)
    infer_global(function, _Remembering(template))
    return function


class _Remembering(types.Function):
    """The type of an intrinsic: a call with the same types is typed once, not hundreds of times."""

    def __init__(self, template: type) -> None:
        super().__init__(template)
        self._signatures: dict[tuple[types.Type, ...], Signature] = {}

    def get_call_type(
        self, context: object, args: Sequence[types.Type], kws: dict[str, types.Type]
    ) -> Signature:
        """The signature for these arguments."""
        given = tuple(args)
        if given not in self._signatures:
            self._signatures[given] = super().get_call_type(context, args, kws)
        return self._signatures[given]


numba.extending.register_model(_Remembering)(models.OpaqueModel)


def _arithmetic(integers: str, floats: str) -> Operation:
    """By the names of its instructions."""

    def emit(e: Emitter, *operands: Value | int) -> Value:
        first, *others = e.alike(*operands)
        instruction = getattr(e.builder, floats if _is_float(first) else integers)
        return functools.reduce(instruction, others, first) if others else instruction(first)

    return Operation("x", emit)


def _is_float(value: Value) -> bool:
    return getattr(value.type, "element", None) in _FLOATS.values()


def _compared(e: Emitter, sign: str, a: Value, b: Value) -> Value:
    return (e.builder.fcmp_ordered if _is_float(a) else e.builder.icmp_signed)(sign, a, b)


def _comparison(sign: str) -> Operation:
    return Operation("m", lambda e, a, b: _compared(e, sign, *e.alike(a, b)))


def _either(sign: str) -> Operation:
    def emit(e: Emitter, *operands: Value | int) -> Value:
        a, b = e.alike(*operands)
        return e.builder.select(_compared(e, sign, a, b), a, b)

    return Operation("x", emit)


def _fma(e: Emitter, *operands: Value | int) -> Value:
    values = e.alike(*operands)
    return e.call("fma", values[0].type, *values)


def _where(e: Emitter, mask: Value, *operands: Value | int) -> Value:
    return e.builder.select(mask, *e.alike(*operands))


def _step(e: Emitter, p: Value, n: Value | int) -> Value:
    """p + n, computed there and then: else an address is prepared for every access of a tile."""
    at = e.builder.add(*e.alike(p, n))
    return e.builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", [at], False)


def _first(e: Emitter, n: Value, like: ir.VectorType) -> Value:
    """The mask whose first n lanes are set."""
    element = ir.IntType(8 * _bytes(like))
    lanes = ir.Constant(ir.VectorType(element, like.count), list(range(like.count)))
    count = n if element == _I64 else e.builder.trunc(n, element)
    return e.builder.icmp_signed("<", lanes, e.spread(count, lanes.type))


def _load(e: Emitter, address: Value, n: Value | int | None = None) -> Value:
    builder, like = e.builder, e.vector
    if n is None or n == like.count:
        return e.load(address, like)
    (n,) = e.alike(n)
    with builder.if_else(builder.icmp_signed(">=", n, _I64(like.count))) as (whole, part):
        with whole:
            all_lanes, from_whole = e.load(address, like), builder.block
        with part:
            lanes, from_part = _load_masked(e, address, n), builder.block
    result = builder.phi(like)
    result.add_incoming(all_lanes, from_whole)
    result.add_incoming(lanes, from_part)
    return result


def _load_masked(e: Emitter, address: Value, n: Value | int) -> Value:
    like = e.vector
    if n == like.count:
        return e.load(address, like)
    (n,) = e.alike(n)
    pointer = e.builder.inttoptr(address, like.as_pointer())
    rest = _I32(_bytes(like)), _first(e, n, like), e.number(0, like)
    return e.call("masked.load", like, pointer, *rest, suffix=".p0")


def _store(e: Emitter, address: Value, value: Value, n: Value | int | None = None) -> None:
    builder, like = e.builder, value.type
    if n is None or n == like.count:
        e.store(address, value)
        return
    (n,) = e.alike(n)
    with builder.if_else(builder.icmp_signed(">=", n, _I64(like.count))) as (whole, part):
        with whole:
            e.store(address, value)
        with part:
            pointer = builder.inttoptr(address, like.as_pointer())
            rest = (_I32(_bytes(like)), _first(e, n, like))
            e.call("masked.store", ir.VoidType(), value, pointer, *rest, suffix=".p0")


def _wide(e: Emitter) -> ir.VectorType:
    return ir.VectorType(_FLOATS[8], e.vector.count)


def _exchange(e: Emitter, a: Value, b: Value, s: int, high: int) -> Value:
    n = a.type.count
    lanes = [i - i % (2 * s) + i % s + (s if high else 0) + (n if i & s else 0) for i in range(n)]
    return e.shuffle(a, b, lanes)


def _down(e: Emitter, a: Value, n: int) -> Value:
    return e.shuffle(a, a, [(i + n) % a.type.count for i in range(a.type.count)])


def _bits(e: Emitter, a: Value) -> Value:
    return e.builder.bitcast(a, ir.VectorType(ir.IntType(8 * _bytes(a.type)), a.type.count))


def _word(e: Emitter, address: Value, offset: int = 0) -> Value:
    return e.load(e.builder.add(address, _I64(offset)), _I64)


def _stack(e: Emitter, words: int) -> Value:
    return e.builder.ptrtoint(cgutils.alloca_once(e.builder, ir.ArrayType(_I64, words)), _I64)


def _take(e: Emitter, address: Value) -> Value:
    pointer = e.builder.inttoptr(address, _I64.as_pointer())
    return e.builder.atomic_rmw("add", pointer, _I64(1), "monotonic")


def _call(e: Emitter, kernel: Value, *arguments: Value | int) -> None:
    function = ir.FunctionType(ir.VoidType(), [_I64] * len(arguments))
    e.builder.call(e.builder.inttoptr(kernel, function.as_pointer()), e.alike(*arguments))


# -- memory; addresses are in bytes
load = Operation("v", _load)
load_masked = Operation("v", _load_masked)
store = Operation("-", _store)
load_wide = Operation("w", lambda e, at: e.load(at, _wide(e)))
broadcast = Operation("v", lambda e, at: e.spread(e.load(at, e.vector.element), e.vector))
word = Operation("n", _word)
put = Operation("-", lambda e, at, value: e.store(at, value))
take = Operation("n", _take)
step = Operation("n", _step)
stack = Operation("n", _stack)
call = Operation("-", _call)
# -- numbers
splat = Operation("v", lambda e, number: e.number(number, e.vector))
fma = Operation("x", _fma)
where = Operation("x", _where)
# -- float64 beside the numbers
widen = Operation("w", lambda e, a: a if a.type == _wide(e) else e.builder.fpext(a, _wide(e)))
narrow = Operation("v", lambda e, a: a if a.type == e.vector else e.builder.fptrunc(a, e.vector))
wide = Operation("w", lambda e, n: e.spread(e.builder.sitofp(n, _FLOATS[8]), _wide(e)))
# -- bits
bits = Operation("k", _bits)
numbers = Operation("v", lambda e, a: e.builder.bitcast(a, e.vector))
# -- lanes
places = Operation("p", lambda e, n: e.spread(*e.alike(n), ir.VectorType(_I64, e.vector.count)))
down = Operation("x", _down)
exchange = Operation("x", _exchange)
# What Python's operators and names mean in a kernel, for vectors and int64 alike.
OPERATORS = {
    ast.Add: _arithmetic("add", "fadd"), ast.Sub: _arithmetic("sub", "fsub"),
    ast.Mult: _arithmetic("mul", "fmul"), ast.Div: _arithmetic("sdiv", "fdiv"),
    ast.USub: _arithmetic("neg", "fneg"), ast.Invert: _arithmetic("not_", "not_"),
    ast.BitAnd: _arithmetic("and_", "and_"), ast.BitOr: _arithmetic("or_", "or_"),
    ast.LShift: _arithmetic("shl", "shl"), ast.RShift: _arithmetic("lshr", "lshr"),
    ast.Lt: _comparison("<"), ast.LtE: _comparison("<="), ast.Gt: _comparison(">"),
    ast.GtE: _comparison(">="), ast.Eq: _comparison("=="), "min": _either("<"), "max": _either(">"),
    "minimum": _either("<"), "maximum": _either(">"), "where": where,
    ast.Attribute: word,
}  # fmt: skip
