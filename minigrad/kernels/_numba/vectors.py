"""Vector instructions for Numba: what the tiles are made of.

Numba has no vector type, and plain loops reach 10 to 40 % of what the machine can do,
because LLVM will not keep a tile of accumulators in registers by itself.  So the inner
loops are emitted here as LLVM instructions, and Numba compiles the loops around them.

``Vectors`` emits; the functions under ``@intrinsic`` (in the files of the kernels) are
what jitted code can call.  Every product is one ``llvm.fma``: rounded once, never
reassociated, so the bits depend on the order of the calls alone.  Addresses are int64,
strides are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba.extending
from llvmlite import ir
from numba import types
from numba.core import cgutils

I64 = ir.IntType(64)
I32 = ir.IntType(32)
BIT = ir.IntType(1)
SCALARS = {4: ir.FloatType(), 8: ir.DoubleType()}
Value = Any  # llvmlite has no types of its own


def intrinsic(function: Callable[..., Any]) -> Any:
    """Numba's ``@intrinsic``, which hands literal integers over as such."""
    return numba.extending.intrinsic(prefer_literal=True)(function)


def int64(value: int) -> Value:
    """A constant."""
    return ir.Constant(I64, value)


def literal(argument: types.Type) -> int:
    """The value of an intrinsic's argument that is known when it is compiled."""
    return int(argument.literal_value)


class Vectors:
    """Emits instructions on vectors of ``lanes`` floats of ``itemsize`` bytes.

    Parameters
    ----------
    tail : Value, optional
        How many lanes of a load or store are meant; without it all are.
    """

    def __init__(self, builder: Any, itemsize: int, lanes: int, tail: Value = None) -> None:
        self.builder = builder
        self.itemsize = itemsize
        self.scalar = SCALARS[itemsize]
        self.type = ir.VectorType(self.scalar, lanes)
        self.lanes = lanes
        self.bytes = itemsize * lanes
        self.zero = ir.Constant(self.type, [0.0] * lanes)
        self.mask = None if tail is None else self._first(tail)

    def _name(self, operation: str) -> str:
        return f"llvm.{operation}.v{self.lanes}f{8 * self.itemsize}"

    def _call(
        self, operation: str, arguments: Sequence[Value], result: Any, suffix: str = ""
    ) -> Value:
        function = ir.FunctionType(result, [a.type for a in arguments])
        callee = cgutils.get_or_insert_function(
            self.builder.module, function, self._name(operation) + suffix
        )
        return self.builder.call(callee, arguments)

    def _first(self, count: Value) -> Value:
        """The mask whose first ``count`` lanes are set."""
        lanes = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.everywhere(count))

    def everywhere(self, number: Value) -> Value:
        """The int64 ``number`` in every lane."""
        wide = ir.VectorType(I64, self.lanes)
        one = self.builder.insert_element(ir.Constant(wide, ir.Undefined), number, I32(0))
        return self._spread(one, wide)

    def _spread(self, vector: Value, type_: Any) -> Value:
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(vector, ir.Constant(type_, ir.Undefined), zeros)

    def _pointer(self, address: Value, pointee: Any) -> Value:
        return self.builder.inttoptr(address, pointee.as_pointer())

    def load(self, address: Value) -> Value:
        """The vector at ``address``, without a test of the tail."""
        loaded = self.builder.load(self._pointer(address, self.type))
        loaded.align = self.itemsize
        return loaded

    def load_tail(self, address: Value) -> Value:
        """The lanes that are meant, zero in the others, which are not touched."""
        if self.mask is None:
            return self.load(address)
        pointer = self._pointer(address, self.type)
        arguments = [pointer, I32(self.itemsize), self.mask, self.zero]
        return self._call("masked.load", arguments, self.type, ".p0")

    def store(self, value: Value, address: Value) -> None:
        """Store every lane, without a test of the tail."""
        self.builder.store(value, self._pointer(address, self.type)).align = self.itemsize

    def store_tail(self, value: Value, address: Value) -> None:
        """Store the lanes that are meant."""
        if self.mask is None:
            self.store(value, address)
            return
        pointer = self._pointer(address, self.type)
        arguments = [value, pointer, I32(self.itemsize), self.mask]
        self._call("masked.store", arguments, ir.VoidType(), ".p0")

    def store_scalar(self, value: Value, address: Value) -> None:
        """Store one float."""
        self.builder.store(value, self._pointer(address, self.scalar)).align = self.itemsize

    def broadcast(self, address: Value) -> Value:
        """The float at ``address`` in every lane."""
        loaded = self.builder.load(self._pointer(address, self.scalar))
        loaded.align = self.itemsize
        one = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), loaded, I32(0))
        return self._spread(one, self.type)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a b + c, rounded once."""
        return self._call("fma", [a, b, c], self.type)

    def exchange(self, a: Value, b: Value, s: int) -> tuple[Value, Value]:
        """Lanes i + s of ``a`` against lanes i of ``b``, for each i without the bit s."""

        def pick(first: int) -> Value:
            lanes = [
                i - i % (2 * s) + i % s + first + (self.lanes if i & s else 0)
                for i in range(self.lanes)
            ]
            return self.builder.shuffle_vector(
                a, b, ir.Constant(ir.VectorType(I32, self.lanes), lanes)
            )

        return pick(0), pick(s)

    def at(self, address: Value, stride: Value, times: int) -> Value:
        """``address`` + ``times`` * ``stride``."""
        return self.builder.add(address, self.builder.mul(stride, int64(times)))

    def word(self, address: Value, index: int) -> Value:
        """The int64 number ``index`` of the table at ``address``."""
        place = self.builder.add(address, int64(8 * index))
        return self.builder.load(self._pointer(place, I64))


def fold(
    builder: Any,
    count: Value,
    state: Sequence[Value],
    body: Callable[[Value, list[Value]], list[Value]],
) -> list[Value]:
    """``for k in range(count): state = body(k, state)``, the state kept in registers."""
    before = builder.block
    head = builder.append_basic_block("fold")
    inside = builder.append_basic_block("fold.body")
    after = builder.append_basic_block("fold.end")
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(I64)
    carried = [builder.phi(value.type) for value in state]
    builder.cbranch(builder.icmp_signed("<", k, count), inside, after)
    builder.position_at_end(inside)
    result = body(k, list(carried))
    for phi, first, later in zip([k, *carried], [int64(0), *state], [None, *result], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(builder.add(k, int64(1)) if later is None else later, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return carried


@intrinsic
def word(typing: Any, address: Any, index: Any) -> Any:
    """``word(address, i)``: the int64 number i of the table at ``address``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        place = builder.add(args[0], builder.mul(args[1], int64(8)))
        return builder.load(builder.inttoptr(place, I64.as_pointer()))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def put(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """``put(address, i, value)``: set the int64 number i of the table at ``address``."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        place = builder.add(args[0], builder.mul(args[1], int64(8)))
        builder.store(args[2], builder.inttoptr(place, I64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def array(typing: Any, length: Any) -> Any:
    """The address of a table of ``length`` int64 on the stack, made once a call."""
    words = literal(length)

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        return builder.ptrtoint(cgutils.alloca_once(builder, ir.ArrayType(I64, words)), I64)

    return types.int64(length), codegen
