"""A vector as a type of Numba, and the few things that a kernel does with it.

A kernel is ordinary Numba code over registers: ``y = fma(v, w, y)``.  Each operation here
emits one or two LLVM instructions; nothing else in this package does.  Letters stand for
the types of an operation, as ``result=arguments``:

    v   the kernel's vector: LANES numbers of SIZE bytes        n   an int64
    w   as many float64 (v itself, if that is float64)          f   a float64
    k   the bits of a v                                         c   an int known when it is compiled
    m   a mask: one bit a lane                                  x   any of the vectors, all the same
    p   as many int64                                           -   nothing

fma rounds once, nothing is reassociated, and the compiler contracts nothing, so the bits are
what the source says.  maximum(a, b) is a > b ? a : b, and minimum(a, b) is a < b ? a : b:
with a NaN the SECOND operand comes out.  load_n(at, n, PARTIAL) and store_n touch the
first n lanes only, and load_n fills the others with zero; where PARTIAL is False all lanes
are there, and nothing is masked.
"""

from __future__ import annotations

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

__all__ = ["BYTES", "LANES", "SIZE", "Operation", "Vector", "intrinsic_of"]

Value: TypeAlias = ir.Value
# What a template returns: v, w, k, or what its first argument is.
Vec: TypeAlias = Any
Wide: TypeAlias = Any
Bits: TypeAlias = Any
Like: TypeAlias = Any
SIZE = LANES = BYTES = 0  # in a kernel, what its vector has: ``Vector.constants``
_I64, _I32 = ir.IntType(64), ir.IntType(32)
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
        if letter in _SCALARS:
            return _SCALARS[letter]
        element = {
            "v": _FLOATS[self.itemsize], "w": _FLOATS[8], "k": ir.IntType(8 * self.itemsize),
            "m": ir.IntType(1), "p": _I64,
        }[letter]  # fmt: skip
        return _lanes(str(element), self.lanes)


_SCALARS = {"n": types.int64, "f": types.float64, "-": types.void}
_NUMBERS = {"n": types.Integer, "f": types.Number, "c": types.Literal}
_ELEMENTS = {str(t): t for t in (*_FLOATS.values(), _I64, _I32, ir.IntType(1))}


class Lanes(types.Type):
    """Numba's type of one register."""

    def __init__(self, element: str, count: int) -> None:
        super().__init__(f"{count} x {element}")
        self.vector = ir.VectorType(_ELEMENTS[element], count)


@numba.extending.register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: object, lanes: Lanes) -> None:
        super().__init__(manager, lanes, lanes.vector)


_lanes = functools.cache(Lanes)


class Emitter(NamedTuple):
    """Where instructions go, and the LLVM type of the kernel's vector and of the operands."""

    builder: ir.IRBuilder
    vector: ir.VectorType
    operand: ir.VectorType

    def constant(self, value: float, like: ir.VectorType) -> Value:
        """The number in every lane."""
        return ir.Constant(like, [value] * like.count)

    def spread(self, scalar: Value, like: ir.VectorType) -> Value:
        """A scalar in every lane."""
        one = self.builder.insert_element(ir.Constant(like, ir.Undefined), scalar, _I32(0))
        zeros = ir.Constant(ir.VectorType(_I32, like.count), [0] * like.count)
        return self.builder.shuffle_vector(one, ir.Constant(like, ir.Undefined), zeros)

    def call(self, name: str, result: ir.Type, *arguments: Value, suffix: str = "") -> Value:
        """One of LLVM's own functions, for vectors of the operand's type."""
        like = self.operand
        kind = f"v{like.count}{'i' if like.element == _I64 else 'f'}{8 * _bytes(like)}{suffix}"
        function = ir.FunctionType(result, [a.type for a in arguments])
        callee = cgutils.get_or_insert_function(
            self.builder.module, function, f"llvm.{name}.{kind}"
        )
        return self.builder.call(callee, arguments)

    def pointer(self, address: Value, pointee: ir.Type) -> Value:
        """The address as a pointer."""
        return self.builder.inttoptr(address, pointee.as_pointer())

    def load(self, address: Value, pointee: ir.Type) -> Value:
        """What stands at an address, aligned as one number is."""
        loaded = self.builder.load(self.pointer(address, pointee))
        loaded.align = _bytes(pointee)
        return loaded

    def store(self, address: Value, value: Value) -> None:
        """Put a value there."""
        pointer = self.pointer(address, value.type)
        self.builder.store(value, pointer).align = _bytes(value.type)

    def first(self, n: Value, like: ir.VectorType) -> Value:
        """The mask whose first n lanes are set."""
        word = ir.IntType(8 * _bytes(like))
        lanes = ir.Constant(ir.VectorType(word, like.count), list(range(like.count)))
        count = n if word == _I64 else self.builder.trunc(n, word)
        return self.builder.icmp_signed("<", lanes, self.spread(count, lanes.type))

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes of a, and, counted on, of b."""
        places = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, places)


def _bytes(of: ir.Type) -> int:
    element = getattr(of, "element", of)
    return 4 if element in (_FLOATS[4], _I32) else 8


class Operation:
    """An operation by its types and by what emits it; ``on`` gives Numba's intrinsic.

    A kernel's source calls it by its name, but outside a kernel it cannot be called.  One
    whose first argument is an address (``a``) takes the terms of a sum for it.
    """

    def __init__(self, types_: str, emit: Callable[..., Value]) -> None:
        self.result, self.arguments = types_.split("=")
        self.addressed = self.arguments.startswith("a")
        self.emit = emit
        self.on = functools.cache(self._on)

    def __call__(self, *arguments: object) -> Any:
        raise TypeError("an operation on vectors has a meaning inside a kernel only")

    def _on(self, vector: Vector, terms: int = 1) -> Callable[..., object]:
        """The intrinsic for a kernel whose vector is this one."""
        letters = "n" * terms + self.arguments[1:] if self.addressed else self.arguments

        def typing(*given: types.Type) -> tuple[Signature, Callable[..., Value]] | None:
            if not all(
                isinstance(a, _NUMBERS.get(t, Lanes)) for a, t in zip(given, letters, strict=True)
            ):
                return None
            shared = [a for a, t in zip(given, letters, strict=True) if t == "x"]

            def of(letter: str, argument: types.Type | None = None) -> types.Type:
                if letter in "xc":
                    return shared[0] if letter == "x" else argument
                return vector.type(letter)

            like = (shared[0] if shared else vector.type("v")).vector
            literals = [a.literal_value for a, t in zip(given, letters, strict=True) if t == "c"]

            def codegen(
                context: BaseContext,
                builder: ir.IRBuilder,
                signature: Signature,
                values: list[Value],
            ) -> Value:
                emitter = Emitter(builder, vector.type("v").vector, like)
                live = [v for v, t in zip(values, letters, strict=True) if t != "c"]
                if self.addressed:
                    live = [functools.reduce(builder.add, live[:terms]), *live[terms:]]
                result = self.emit(emitter, *live, *literals)
                return context.get_dummy_value() if self.result == "-" else result

            wanted = [of(t, a) for a, t in zip(given, letters, strict=True)]
            return of(self.result)(*wanted), codegen

        return intrinsic_of(typing, len(letters))


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


def _binary(name: str) -> Operation:
    return Operation("x=xx", lambda e, a, b: getattr(e.builder, name)(a, b))


def _compare(kind: str, sign: str) -> Operation:
    return Operation("m=xx", lambda e, a, b: getattr(e.builder, f"fcmp_{kind}")(sign, a, b))


def _either(sign: str) -> Operation:
    def emit(e: Emitter, a: Value, b: Value) -> Value:
        return e.builder.select(e.builder.fcmp_ordered(sign, a, b), a, b)

    return Operation("x=xx", emit)


def _chosen(e: Emitter, sign: str, a: Value, b: Value) -> Value:
    return e.builder.select(e.builder.icmp_signed(sign, a, b), a, b)


def _there(e: Emitter, p: Value) -> Value:
    """p, computed there and then: else an address is prepared for every access of a tile."""
    return e.builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", [p], False)


def _load_n(e: Emitter, address: Value, n: Value, partial: int) -> Value:
    if not partial:
        return e.load(address, e.vector)
    pointer, zero = e.pointer(address, e.vector), e.constant(0.0, e.vector)
    align = _I32(_bytes(e.vector))
    return e.call("masked.load", e.vector, pointer, align, e.first(n, e.vector), zero, suffix=".p0")


def _store_n(e: Emitter, address: Value, value: Value, n: Value, partial: int) -> None:
    if not partial:
        return e.store(address, value)
    pointer, align = e.pointer(address, value.type), _I32(_bytes(value.type))
    mask = e.first(n, value.type)
    e.call("masked.store", ir.VoidType(), value, pointer, align, mask, suffix=".p0")
    return None


def _wide(e: Emitter) -> ir.VectorType:
    return ir.VectorType(_FLOATS[8], e.vector.count)


def _widen(e: Emitter, a: Value) -> Value:
    return a if a.type == _wide(e) else e.builder.fpext(a, _wide(e))


def _splat(e: Emitter, number: Value) -> Value:
    narrow = e.vector.element == _FLOATS[4]
    return e.spread(e.builder.fptrunc(number, _FLOATS[4]) if narrow else number, e.vector)


def _exchange(e: Emitter, a: Value, b: Value, s: int, high: int) -> Value:
    n = a.type.count
    lanes = [i - i % (2 * s) + i % s + (s if high else 0) + (n if i & s else 0) for i in range(n)]
    return e.shuffle(a, b, lanes)


def _whole(e: Emitter, n: Value) -> Value:
    like = ir.VectorType(ir.IntType(8 * _bytes(e.vector)), e.vector.count)
    return e.spread(n if like.element == _I64 else e.builder.trunc(n, like.element), like)


def _bits(e: Emitter, a: Value) -> Value:
    return e.builder.bitcast(a, ir.VectorType(ir.IntType(8 * _bytes(a.type)), a.type.count))


def _stack(e: Emitter, words: int) -> Value:
    return e.builder.ptrtoint(cgutils.alloca_once(e.builder, ir.ArrayType(_I64, words)), _I64)


def _take(e: Emitter, address: Value) -> Value:
    return e.builder.atomic_rmw("add", e.pointer(address, _I64), _I64(1), "monotonic")


def _call(e: Emitter, kernel: Value, *arguments: Value) -> None:
    function = ir.FunctionType(ir.VoidType(), [_I64] * len(arguments))
    e.builder.call(e.pointer(kernel, function), arguments)


# -- memory; addresses are in bytes
load = Operation("v=a", lambda e, at: e.load(at, e.vector))
load_n = Operation("v=anc", _load_n)
store = Operation("-=ax", lambda e, at, a: e.store(at, a))
store_n = Operation("-=axnc", _store_n)
load_wide = Operation("w=a", lambda e, at: e.load(at, _wide(e)))
broadcast = Operation("v=a", lambda e, at: e.spread(e.load(at, e.vector.element), e.vector))
word = Operation("n=a", lambda e, at: e.load(at, _I64))
put = Operation("-=an", lambda e, at, value: e.store(at, value))
take = Operation("n=n", _take)
step = Operation("n=nn", lambda e, p, n: _there(e, e.builder.add(p, n)))
sum_of = Operation("n=nn", lambda e, a, b: e.builder.add(a, b))
difference_of = Operation("n=nn", lambda e, a, b: e.builder.sub(a, b))
product_of = Operation("n=nn", lambda e, a, b: e.builder.mul(a, b))
least = Operation("n=nn", lambda e, a, b: _chosen(e, "<", a, b))
most = Operation("n=nn", lambda e, a, b: _chosen(e, ">", a, b))
stack = Operation("n=c", _stack)
call = Operation("-=nnnn", _call)
# -- numbers
zero = Operation("v=", lambda e: e.constant(0.0, e.vector))
splat = Operation("v=f", _splat)
add = _binary("fadd")
sub = _binary("fsub")
mul = _binary("fmul")
div = _binary("fdiv")
neg = Operation("x=x", lambda e, a: e.builder.fneg(a))
fma = Operation("x=xxx", lambda e, a, b, c: e.call("fma", a.type, a, b, c))
maximum = _either(">")
minimum = _either("<")
# -- comparisons
less = _compare("ordered", "<")
at_most = _compare("ordered", "<=")
at_least = _compare("ordered", ">=")
equal = _compare("ordered", "==")
not_at_most = _compare("unordered", ">")
both = Operation("m=mm", lambda e, a, b: e.builder.and_(a, b))
either = Operation("m=mm", lambda e, a, b: e.builder.or_(a, b))
where = Operation("x=mxx", lambda e, m, a, b: e.builder.select(m, a, b))
# -- float64 beside the numbers
widen = Operation("w=v", _widen)
narrow = Operation("v=w", lambda e, a: a if a.type == e.vector else e.builder.fptrunc(a, e.vector))
wide = Operation("w=n", lambda e, n: e.spread(e.builder.sitofp(n, _FLOATS[8]), _wide(e)))
# -- bits
bits = Operation("k=v", _bits)
numbers = Operation("v=k", lambda e, a: e.builder.bitcast(a, e.vector))
pattern = Operation("k=n", _whole)
plus = _binary("add")
minus = _binary("sub")
bit_and = _binary("and_")
bit_or = _binary("or_")
shift_left = _binary("shl")
shift_right = _binary("lshr")
no_bits = Operation("m=k", lambda e, a: e.builder.icmp_signed("==", a, e.constant(0, a.type)))
# -- lanes
places = Operation("p=n", lambda e, n: e.spread(n, ir.VectorType(_I64, e.vector.count)))
down = Operation(
    "x=xc", lambda e, a, n: e.shuffle(a, a, [(i + n) % a.type.count for i in range(a.type.count)])
)
exchange = Operation("x=xxcc", _exchange)
