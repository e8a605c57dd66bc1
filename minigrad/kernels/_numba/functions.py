"""The functions of one number, lane by lane: activations, exp, log.

Each is made of operations that IEEE 754 rounds correctly, and of moved bits, in the order
written here, which is the order of the compiled core (``ext/vmath.h``, where the formulas
and their errors in ULP stand).  So both engines give the same bits.

    e^x       = (1 + (e^r - 1)) 2^n,        n the integer nearest to x / ln 2, r = x - n ln 2
    sigmoid   = c / (c + c e^-x),           c a small power of two, n a multiple of 1/8
    silu      = x sigmoid(x)
    tanh |x|  = -t / (2 + t),               t = e^(-2|x|) - 1
    ln x      = k ln 2 + 2 atanh(s),        x = m 2^k, f = m - 1, s = f / (2 + f)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.launch import address, compiled, job, run, vector_bytes
from minigrad.kernels._numba.vectors import Value, Vectors, intrinsic, literal, word
from minigrad.kernels.contract import Array, in_one_order

NUMBERS = 16_384  # of one task
_LOG2E = float.fromhex("0x1.71547652b82fep+0")


class Constants(NamedTuple):
    """What differs between float32 and float64."""

    exp: tuple[float, ...]  # (e^r - 1 - r) / r^2
    short: tuple[float, ...]  # the same for |r| <= ln(2)/16
    roots: tuple[float, ...]  # 2^(j/8)
    log: tuple[float, ...]  # (2 atanh(s) / s - 2) / s^2
    ln2: tuple[float, float]
    eighth: tuple[float, float]  # of ln 2
    digits: int
    bias: int
    lowest: float  # below it, e^x rounds to zero
    highest: float  # there, e^x is infinite
    flat: float  # e^flat is nothing beside 1
    least: float  # the smallest normal number
    log_small: int  # of c of the sigmoid, to base 2
    vanishing: float  # there, c e^-x is infinite


def _hex(*numbers: str) -> tuple[float, ...]:
    return tuple(float.fromhex(n) for n in numbers)


_F32 = Constants(
    _hex("0x1p-1", "0x1.5554dcp-3", "0x1.55551ap-5", "0x1.120b76p-7", "0x1.6d111p-10"),
    _hex(
        "0x1.00052p-1", "0x1.55596ep-3",
    ),
    _hex(
        "0x1p0", "0x1.172b84p0", "0x1.306fep0", "0x1.4bfdaep0",
        "0x1.6a09e6p0", "0x1.8ace54p0", "0x1.ae89fap0", "0x1.d5818ep0",
    ),
    _hex("0x1.555556p-1", "0x1.9999ecp-2", "0x1.245c08p-2", "0x1.dddbaap-3"),
    (float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20")),
    (float.fromhex("0x1.62ep-4"), float.fromhex("0x1.0bfbe8p-18")),
    23, 127, -110.0, 90.0, -30.0, 2.0**-126, -32, -110.9,
)  # fmt: skip
_F64 = Constants(
    _hex(
        "0x1.0000000000001p-1", "0x1.5555555555556p-3", "0x1.5555555553d7ep-5",
        "0x1.11111111109bbp-7", "0x1.6c16c17884cf8p-10", "0x1.a01a01a7bfc8fp-13",
        "0x1.a019b9203cd48p-16", "0x1.71de0dba1f5p-19", "0x1.2891761619dcep-22",
        "0x1.af3896df537eep-26",
    ),
    _hex(
        "0x1.000000000002fp-1", "0x1.555555555556ap-3", "0x1.5555554e8f77dp-5",
        "0x1.1111110e0e76dp-7", "0x1.6c1b72a6dd17dp-10", "0x1.a01e2d6166846p-13",
    ),
    _hex(
        "0x1p0", "0x1.172b83c7d517bp0", "0x1.306fe0a31b715p0",
        "0x1.4bfdad5362a27p0", "0x1.6a09e667f3bcdp0", "0x1.8ace5422aa0dbp0",
        "0x1.ae89f995ad3adp0", "0x1.d5818dcfba487p0",
    ),
    _hex(
        "0x1.5555555555555p-1", "0x1.9999999999a3ap-2", "0x1.24924924766bap-2",
        "0x1.c71c720201bf9p-3", "0x1.745cf8bf23ce2p-3", "0x1.3b1c43f226a3p-3",
        "0x1.0fbd1232ee60ap-3", "0x1.0c135903f19f3p-3",
    ),
    (float.fromhex("0x1.62e42fefa2p-1"), float.fromhex("0x1.9ef35793c7673p-41")),
    (float.fromhex("0x1.62e42fefap-4"), float.fromhex("0x1.cf79abc9e3b3ap-43")),
    52, 1023, -754.0, 710.0, -60.0, 2.0**-1022, -64, -754.14,
)  # fmt: skip


class Functions(Vectors):
    """Vectors that know the functions; each method takes and gives a vector."""

    def __init__(self, builder: Any, itemsize: int, lanes: int, tail: Value = None) -> None:
        super().__init__(builder, itemsize, lanes, tail)
        self.c = _F32 if itemsize == 4 else _F64
        self.bits_type = ir.VectorType(ir.IntType(8 * itemsize), lanes)

    # -- the operations that everything is made of

    def number(self, value: float) -> Value:
        return ir.Constant(self.type, [value] * self.lanes)

    def add(self, a: Value, b: Value) -> Value:
        return self.builder.fadd(a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self.builder.fsub(a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self.builder.fmul(a, b)

    def div(self, a: Value, b: Value) -> Value:
        return self.builder.fdiv(a, b)

    def neg(self, a: Value) -> Value:
        return self.builder.fneg(a)

    def less(self, a: Value, b: Value) -> Value:
        return self.builder.fcmp_ordered("<", a, b)

    def where(self, mask: Value, a: Value, b: Value) -> Value:
        return self.builder.select(mask, a, b)

    def max(self, a: Value, b: Value) -> Value:
        """a > b ? a : b, so that the second operand's NaN comes through."""
        return self.where(self.less(b, a), a, b)

    def min(self, a: Value, b: Value) -> Value:
        """a < b ? a : b"""
        return self.where(self.less(a, b), a, b)

    def bits(self, a: Value) -> Value:
        return self.builder.bitcast(a, self.bits_type)

    def pattern(self, value: int) -> Value:
        return ir.Constant(self.bits_type, [value] * self.lanes)

    def floats(self, bits: Value) -> Value:
        return self.builder.bitcast(bits, self.type)

    def _sign_bit(self) -> Value:
        return self.pattern(-(1 << (8 * self.itemsize - 1)))

    def abs(self, a: Value) -> Value:
        kept = self.builder.not_(self._sign_bit())
        return self.floats(self.builder.and_(self.bits(a), kept))

    def with_sign(self, a: Value, of: Value) -> Value:
        sign = self.builder.and_(self.bits(of), self._sign_bit())
        return self.floats(self.builder.or_(self.bits(self.abs(a)), sign))

    # -- exp and its kin

    def _shifter(self) -> Value:
        """1.5 2^digits: added to a small number, it leaves the nearest integer in the last bits."""
        return self.number(1.5 * 2.0**self.c.digits)

    def _polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        y = self.number(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            y = self.fma(y, x, self.number(c))
        return y

    def _scale(self, v: Value, n: Value) -> Value:
        """v 2^n rounded once: the power in two halves, of which the first is exact."""

        def power(shifted: Value) -> Value:
            up = self.builder.shl(self.bits(shifted), self.pattern(self.c.digits))
            return self.floats(self.builder.add(up, self.bits(self.number(1.0))))

        shifter = self._shifter()
        half = self.fma(n, self.number(0.5), shifter)
        rest = self.add(self.sub(n, self.sub(half, shifter)), shifter)
        return self.mul(self.mul(v, power(half)), power(rest))

    def _reduced(self, x: Value) -> tuple[Value, Value]:
        """n, and e^r - 1."""
        shifter = self._shifter()
        n = self.sub(self.fma(x, self.number(_LOG2E), shifter), shifter)
        r = self.fma(n, self.number(-self.c.ln2[0]), x)
        r = self.fma(n, self.number(-self.c.ln2[1]), r)
        return n, self.fma(self.mul(r, r), self._polynomial(r, self.c.exp), r)

    def exp(self, x: Value) -> Value:
        x = self.min(self.number(self.c.highest), self.max(self.number(self.c.lowest), x))
        n, t = self._reduced(x)
        return self._scale(self.add(self.number(1.0), t), n)

    def _root(self, bits: Value) -> Value:
        """2^(j/8), j the last three bits."""
        table = [self.number(root) for root in self.c.roots]
        for bit in (1, 2, 4):
            unset = self.builder.and_(bits, self.pattern(bit))
            unset = self.builder.icmp_unsigned("==", unset, self.pattern(0))
            pairs = zip(table[::2], table[1::2], strict=True)
            table = [self.where(unset, a, b) for a, b in pairs]
        return table[0]

    def sigmoid(self, x: Value) -> Value:
        one, small = self.number(1.0), self.number(2.0**self.c.log_small)
        shifter = self.number(1.5 * 2.0**self.c.digits + 8 * self.c.log_small)
        r = self.max(self.number(-60.0), self.neg(x))
        r = self.min(self.number(-self.c.vanishing), r)
        shifted = self.fma(r, self.number(8 * _LOG2E), shifter)
        n = self.sub(shifted, shifter)
        r = self.fma(n, self.number(-self.c.eighth[0]), r)
        r = self.fma(n, self.number(-self.c.eighth[1]), r)
        whole = self.builder.and_(self.bits(shifted), self.pattern(-8))
        power = self.builder.shl(whole, self.pattern(self.c.digits - 3))
        root = self.bits(self._root(self.bits(shifted)))
        power = self.floats(self.builder.add(root, power))  # c 2^n
        e = self.fma(self.fma(self._polynomial(r, self.c.short), r, one), r, one)
        return self.div(small, self.fma(e, power, small))

    def silu(self, x: Value) -> Value:
        return self.mul(x, self.sigmoid(x))

    def tanh(self, x: Value) -> Value:
        a, one = self.abs(x), self.number(1.0)
        n, t = self._reduced(self.max(self.number(self.c.flat), self.neg(self.add(a, a))))
        power = self._scale(one, n)
        t = self.fma(power, t, self.sub(power, one))
        return self.with_sign(self.div(self.neg(t), self.add(self.number(2.0), t)), x)

    def log(self, x: Value) -> Value:
        b, c = self.builder, self.c
        one, two_digits = self.number(1.0), self.number(2.0**c.digits)
        root = self.bits(self.number(float.fromhex("0x1.6a09e667f3bcdp-1")))
        small = self.less(x, self.number(c.least))
        bits = self.bits(self.where(small, self.mul(x, two_digits), x))
        bits = b.add(bits, b.sub(self.bits(one), root))
        k = self.floats(b.or_(b.lshr(bits, self.pattern(c.digits)), self.bits(two_digits)))
        k = self.sub(k, self.number(2.0**c.digits + c.bias))
        k = self.sub(k, self.where(small, self.number(float(c.digits)), self.zero))
        m = self.floats(b.add(b.and_(bits, self.pattern((1 << c.digits) - 1)), root))
        f = self.sub(m, one)
        s = self.div(f, self.add(self.number(2.0), f))
        z = self.mul(s, s)
        h = self.mul(self.mul(self.number(0.5), f), f)
        tail = self.mul(z, self._polynomial(z, c.log))
        low = self.fma(k, self.number(c.ln2[1]), self.mul(s, self.add(h, tail)))
        y = self.fma(k, self.number(c.ln2[0]), self.sub(f, self.sub(h, low)))
        y = self.where(self.less(x, self.number(math.inf)), y, x)
        y = self.where(b.fcmp_ordered("==", x, self.zero), self.number(-math.inf), y)
        return self.where(self.less(x, self.zero), self.number(math.nan), y)

    # -- the pieces of straight lines

    def relu(self, x: Value) -> Value:
        return self.max(self.zero, x)

    def relu6(self, x: Value) -> Value:
        return self.min(self.number(6.0), self.relu(x))

    def hardsigmoid(self, x: Value) -> Value:
        return self.div(self.relu6(self.add(x, self.number(3.0))), self.number(6.0))

    def hardswish(self, x: Value) -> Value:
        return self.div(self.mul(x, self.relu6(self.add(x, self.number(3.0)))), self.number(6.0))


NAMES = ("relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "exp", "log")


def elementwise(name: str, x: Array) -> Array:
    """y = f(x), in the memory order of x."""
    x, y = in_one_order(x)
    if x.size:
        lanes = vector_bytes() // x.itemsize
        kernel = _kernel(NAMES.index(name), x.itemsize, lanes)
        tasks = -(-x.size // NUMBERS)
        run(kernel, job(address(y), address(x), x.size), tasks)
    return y


@functools.cache
def _kernel(which: int, itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def elementwise(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        y, x, size = word(table, 0), word(table, 1), word(table, 2)
        end = min(last * NUMBERS, size)
        k = first * NUMBERS
        while k + lanes <= end:
            apply(y + k * itemsize, x + k * itemsize, lanes, which, itemsize, lanes, 0)
            k += lanes
        if k < end:
            apply(y + k * itemsize, x + k * itemsize, end - k, which, itemsize, lanes, 1)

    return compiled(elementwise)


@intrinsic
def apply(
    typing: Any, to: Any, fro: Any, tail: Any, which: Any, itemsize: Any, lanes: Any, masked: Any
) -> Any:
    """One vector of y = f(x)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        end = args[2] if literal(masked) else None
        v = Functions(builder, literal(itemsize), literal(lanes), end)
        function: Callable[[Value], Value] = getattr(v, NAMES[literal(which)])
        v.store_tail(function(v.load_tail(args[1])), args[0])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, which, itemsize, lanes, masked), codegen
