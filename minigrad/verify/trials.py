"""Cases for a judged function: a geometry, a way to draw the values, a seed.

    normal        of either sign, about 1
    integers in ONE   exact in the arithmetic: every partial sum fits its significand, so every
                  correct implementation gives the same bits.  The values of one argument have
                  more bits than any reduced format keeps, those of the others are -1, 0 or 1;
                  where a sum is long they are sparse
    impulse       one argument is 0 but for one 1 a channel, so that single values come through
    mixed scales  over eight powers of ten, so that most of a sum cancels
    small, large  scaled as far as products and sums stay normal numbers
    u8 x s8, s8 x s8      integers of 8 bits over their whole range, a bias of int32
    largest u8 x s8, ...  the ends of that range: sums that 16 bits or a float32 do not hold
    near kinks    on both sides of where a slope jumps, down to a few units in the last place
    far apart     so far that e^x overflows, and e^(x - max) is near 1 or below every number

Everything but integers is rounded to the judged format when it is drawn.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from minigrad.errors import MinigradError
from minigrad.tensor import Array, Shape
from minigrad.verify.arithmetic import Arithmetic
from minigrad.verify.geometries import GEOMETRIES, LETTERS, Geometry, Words
from minigrad.verify.integers import FACTORS
from minigrad.verify.operations import Call

__all__ = ["EXACT", "Trial", "trials"]

EXACT = {
    "absolute", "add", "avg_pool2d", "conv2d", "depthwise_conv2d", "inverted_residual", "linear",
    "matmul", "max_pool2d", "mul", "neg", "relu", "relu6", "squeezenext_block", "sum",
}  # fmt: skip
"""Operations that are exact on integers (an average pool of 2, 4, 8 ... positions is)."""

INTEGERS = ("u8 x s8", "largest u8 x s8", "s8 x s8", "largest s8 x s8")
KINKS = {"relu": (0.0,), "relu6": (0.0, 6.0), "hardsigmoid": (-3.0, 3.0),
         "hardswish": (-3.0, 3.0)}  # fmt: skip
HARD = ("mixed scales", "small", "large")
SUMS = ("batch_norm", "conv2d", "depthwise_conv2d", "linear", "matmul", "mean", "sum")


@dataclass(frozen=True)
class Trial:
    """One named case.

    Attributes
    ----------
    op : str
    geometry : Geometry
    fill : str
        How the values are drawn.
    seed : int
    """

    op: str
    geometry: Geometry
    fill: str
    seed: int = 0

    @property
    def name(self) -> str:
        """Operation, geometry, fill: unique."""
        return f"{self.op}: {self.geometry.name}: {self.fill}"

    @property
    def exact(self) -> bool:
        """Whether the result must have the bits of the correctly rounded exact one."""
        return self.fill.startswith(("integers", "impulse")) or bool(self.integers)

    @property
    def integers(self) -> dict[str, str]:
        """The dtype of every array of a case of integers; {} of other cases."""
        if not self.fill.endswith("s8"):
            return {}
        first, *_ = names = list(LETTERS[self.op])
        found = {name: "int32" if "bias" in name else "int8" for name in names}
        return found | {first: "uint8"} if "u8" in self.fill else found

    @property
    def words(self) -> Words:
        """The keyword arguments of the call."""
        return self.geometry.words

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of every array, images as (N, C, H, W)."""
        sizes = dict(self.geometry.sizes)
        sizes.setdefault("c", sizes.get("i", 1) * self.words.get("groups", 1))
        sizes["cm"] = sizes["c"] * sizes.get("m", 1)
        named = LETTERS[self.op].items()
        return {
            name: tuple(sizes[s] if s in sizes else int(s) for s in letters)
            for name, letters in named
        }

    def smaller(self, **sizes: int) -> Trial:
        """The same with other sizes."""
        return replace(self, geometry=self.geometry._replace(sizes=self.geometry.sizes | sizes))

    def with_words(self, words: Words) -> Trial:
        """The same with other words."""
        return replace(self, geometry=self.geometry._replace(words=words))

    def rng(self, salt: str = "") -> np.random.Generator:
        """A generator that depends on the name and the seed alone."""
        return np.random.default_rng([zlib.crc32(f"{self.name}{salt}".encode()), self.seed])

    def arrays(self, how: Arithmetic) -> dict[str, Array]:
        """The values as float64 arrays of numbers of the judged format."""
        if self.fill.startswith("integers"):
            return self._integers(how)
        rng = self.rng()
        if self.integers:
            return {name: self._whole8(name, shape, rng) for name, shape in self.shapes.items()}
        drawn = {name: self._draw(name, shape, rng, how) for name, shape in self.shapes.items()}
        return {name: how.output.round(a) for name, a in drawn.items()}

    def call(self, arrays: dict[str, Array]) -> Call:
        """The Call on these arrays."""
        return Call(self.op, {**arrays, **self.words}, dict.fromkeys(arrays, "float64"))

    def cotangent(self, shape: Shape, how: Arithmetic) -> Array:
        """The cotangent of a result of that shape."""
        rng = self.rng("cotangent")
        if self.exact:
            return rng.integers(-1, 2, shape).astype(np.float64)
        return how.output.round(rng.normal(size=shape) * _scale(self.fill, how))

    def _draw(self, name: str, shape: Shape, rng: np.random.Generator, how: Arithmetic) -> Array:
        if name == "running_var":
            return rng.uniform(0.5, 2, shape)
        if self.fill == "mixed scales":
            return rng.normal(size=shape) * 10.0 ** rng.integers(-4, 5, shape)
        if self.fill == "far apart":
            return rng.normal(size=shape) + _lost(how) * rng.integers(-1, 2, shape)
        if self.fill == "near kinks":
            return _around(KINKS[self.op], shape, rng, how)
        if self.fill == "impulse":
            return self._impulse(name, shape, rng)
        if self.op in ("relu", "relu6", "hardswish", "hardsigmoid", "max_pool2d"):
            return _distinct(shape, rng)
        return rng.normal(size=shape) * _scale(self.fill, how)

    def _impulse(self, name: str, shape: Shape, rng: np.random.Generator) -> Array:
        """x has a single 1; the rest is of small integers, all different as far as they go."""
        if name == next(iter(LETTERS[self.op])):
            x = np.zeros(shape)
            if x.size:
                x.flat[x.size // 2] = 1
            return x
        return (rng.permutation(math.prod(shape)) % 121 - 60.0).reshape(shape)

    def _integers(self, how: Arithmetic) -> dict[str, Array]:
        """Thinned out until every partial sum, of gradients too, is exact."""
        limit = min(2.0**how.accumulator.precision, how.output.largest / 2)
        bits = min(13, (how.inputs or how.output).precision)
        bits = min(bits, how.accumulator.precision - 2)
        for density in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.004, 0.001):
            rng = self.rng()
            arrays = {
                name: self._whole(name, shape, rng, bits, density)
                for name, shape in self.shapes.items()
            }
            if self._largest(arrays, how) <= limit:
                return arrays
        raise MinigradError(f"{self.name}: no integers are exact in {how}")

    def _whole8(self, name: str, shape: Shape, rng: np.random.Generator) -> Array:
        kind = self.integers[name]
        low, high = (-(2**15), 2**15) if kind == "int32" else _range(kind)
        if self.fill.startswith("largest"):  # mostly of one sign, so that no sum is small
            return rng.choice([low, high], shape, p=[0.1, 0.9]).astype(np.float64)
        return rng.integers(low, high + 1, shape).astype(np.float64)

    def another(self, name: str, array: Array, how: Arithmetic) -> Array:
        """Other values for an argument, none of them the same unless they are 0."""
        if self.integers:
            low, high = _range(self.integers[name])
            return np.asarray(low + high - array)
        return array if name == "running_var" else how.output.round(-2 * array)

    def _whole(
        self, name: str, shape: Shape, rng: np.random.Generator, bits: int, density: float
    ) -> Array:
        signs = rng.choice([-1.0, 1.0], shape)
        kept = rng.random(shape) < density
        if name == self.fill.removeprefix("integers in "):
            return signs * kept * (2 * rng.integers(2 ** (bits - 2), 2 ** (bits - 1), shape) + 1)
        return np.asarray(signs * kept * (rng.random(shape) < 0.8))

    def _largest(self, arrays: dict[str, Array], how: Arithmetic) -> float:
        """The largest sum of absolute values in the result and in every gradient."""
        call = self.call(arrays)
        result = call.evaluate(how)
        sizes = [result.size.max(initial=0)]
        dy = self.cotangent(result.exact.shape, how)
        sizes += [call.evaluate(how, k, dy).size.max(initial=0) for k in call.differentiable]
        return float(max(sizes))


def _scale(fill: str, how: Arithmetic) -> float:
    """A power of 2 far from 1 whose square, times a long sum, is still a normal number."""
    form = how.output
    if fill == "small":
        return 2.0 ** ((form.lowest + form.precision) // 4)
    return 2.0 ** (form.highest // 4 - 2) if fill == "large" else 1.0


def _around(
    kinks: tuple[float, ...], shape: Shape, rng: np.random.Generator, how: Arithmetic
) -> Array:
    """A kink and a power of 2 that is at least 8 units in the last place of the sum."""
    least = min(how.output.precision, how.accumulator.precision) - 5
    steps = 2.0 ** -rng.integers(min(3, least), least + 1, shape)
    return rng.choice(kinks, shape) + rng.choice([-1, 1], shape) * steps


def _lost(how: Arithmetic) -> float:
    """d so large that e^-d is far below the smallest subnormal number, and e^d overflows."""
    return -1.3 * how.accumulator.lowest * math.log(2)


def _distinct(shape: Shape, rng: np.random.Generator) -> Array:
    """About -4 to 8, no two the same, none within 1/32 of an integer, where kinks are."""
    size = math.prod(shape)
    steps = rng.permutation(size) - size // 3
    width = max(size / 12, 1.0)
    values = np.asarray(steps / width + rng.uniform(0.1, 0.4) / width)
    near = np.abs(values - np.rint(values)) < 1 / 32
    return np.where(near, values + 1 / 16, values).reshape(shape)


def _range(dtype: str) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def trials(op: str, seed: int = 0, dtype: str = "float32") -> Iterator[Trial]:
    """All cases of an operation, of integers if the dtype is "int8".

    Raises
    ------
    MinigradError
        If there are none.

    Examples
    --------
    >>> next(trials("conv2d")).name
    'conv2d: one pixel: normal'
    """
    if op not in GEOMETRIES:
        raise MinigradError(f"there are no cases for {str(op)[:40]!r}; there are for "
                            f"{', '.join(GEOMETRIES)}")  # fmt: skip
    if dtype == "int8" and op not in FACTORS:
        raise MinigradError(f"{op} has no sums of products of int8; there are cases for "
                            f"{', '.join(FACTORS)}")  # fmt: skip
    for geometry in GEOMETRIES[op]:
        for fill in INTEGERS if dtype == "int8" else _fills(op, geometry):
            yield Trial(op, geometry, fill, seed)


def _fills(op: str, geometry: Geometry) -> Iterator[str]:
    yield "normal"
    arrays = list(LETTERS[op])
    if op in EXACT and _divides(op, geometry.words):
        yield from (f"integers in {name}" for name in _wide(arrays))
        if len(arrays) > 1 and not op.endswith(("residual", "block")):
            yield "impulse"
    if op in SUMS and "wide" not in geometry.name and geometry.sizes.get("n") != 0:
        yield from HARD
    if op in KINKS:
        yield "near kinks"
    if op in ("softmax", "log_softmax"):
        yield "far apart"


def _wide(arrays: list[str]) -> list[str]:
    """Which arguments are given integers of many bits, one at a time."""
    return [a for a in arrays if not a.endswith("bias")] if len(arrays) < 4 else ["x"]


def _divides(op: str, words: Words) -> bool:
    """Whether the words keep integers integers: an average of 4, an activation of no sixths."""
    if op == "avg_pool2d":
        return words == {"kernel_size": 2} or words.get("stride") == 3
    return "activation" not in words
