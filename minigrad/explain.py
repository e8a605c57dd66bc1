"""The backward pass told step by step.

First what was computed, each value with a name; then one paragraph for each application
of a rule, in the order in which ``backward`` applies them: the layer, the primitive, the
rule in symbols, the cotangent that came in and the one that went out; and, where a value
is used more than once, the running sum of what has arrived for it.

A diamond: x is used by two products, so what arrives for x is summed.

>>> import minigrad as mg
>>> x = mg.Tensor([1.0, 2.0], requires_grad=True)
>>> y = (x * x + x * 3).sum()
>>> mg.explain(y, names={"x": x})
forward
  t1 = mul(x, x)       (2,)
  t2 = mul(x, const)   (2,)
  t3 = add(t1, t2)     (2,)
  t4 = sum(t3)         ()
backward, from the cotangent of t4 = 1
  1. t4 = sum(t3)
     x̄ = ȳ, repeated over the summed axes
     t4 gives   1
     t3 takes   [1, 1]
  2. t3 = add(t1, t2)
     ā = ȳ
     t3 gives   [1, 1]
     t1 takes   [1, 1]
  3. t3 = add(t1, t2)
     b̄ = ȳ
     t3 gives   [1, 1]
     t2 takes   [1, 1]
  4. t2 = mul(x, const)
     ā = ȳ b
     t2 gives   [1, 1]
     x takes    [3, 3]
  5. t1 = mul(x, x)
     ā = ȳ b
     t1 gives   [1, 1]
     x takes    [1, 2]
     sum so far [4, 5]
  6. t1 = mul(x, x)
     b̄ = ȳ a
     t1 gives   [1, 1]
     x takes    [1, 2]
     sum so far [5, 7]

A 3x3 convolution: the rule for w sums, for each of the nine taps, the products of ȳ with
the pixels that the tap lay on, here with ȳ = 1 at each of the four positions of the window.

>>> x = mg.Tensor(np.arange(16.0).reshape(1, 1, 4, 4))
>>> w = mg.Tensor(np.ones((1, 1, 3, 3)), requires_grad=True)
>>> with mg.scope("edge"):
...     y = mg.conv2d(x, w)
>>> mg.explain(y.sum(), names={"w": w})
forward
  t1 = edge: conv2d(const, w)   (1, 1, 2, 2)
  t2 = sum(t1)                  ()
backward, from the cotangent of t2 = 1
  1. t2 = sum(t1)
     x̄ = ȳ, repeated over the summed axes
     t2 gives   1
     t1 takes   [1, 1, 1, 1] as (1, 1, 2, 2)
  2. t1 = edge: conv2d(const, w)
     w̄[o,i,a,b] = Σ ȳ[n,o,p,q] x[n,c,h,v]
     t1 gives   [1, 1, 1, 1] as (1, 1, 2, 2)
     w takes    [10, 14, 18, 26, 30, 34, 42, 46, 50] as (1, 1, 3, 3)

The first tap lay on x[0,0], x[0,1], x[1,0] and x[1,1]: 0 + 1 + 4 + 5 = 10, as the rule says.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minigrad.arguments import quoted
from minigrad.autograd import Step, ancestors, steps
from minigrad.autograd.walk import Source
from minigrad.errors import ArgumentError, GraphError
from minigrad.tensor import Array, Node, Tensor, expect_tensor, source

__all__ = ["Explanation", "explain"]

SHOWN = 9  # larger arrays are summed up instead of printed


class Explanation(str):
    """A text that a REPL shows as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def explain(
    y: Tensor,
    cotangent: Tensor | Array | None = None,
    names: Mapping[str, Tensor] | None = None,
) -> Explanation:
    """Tell how the gradients of y come about; nothing is changed or freed.

    Parameters
    ----------
    y : Tensor
        A scalar, or give its ``cotangent``.
    cotangent : Tensor or ndarray, optional
        dL/dy, of y's shape and dtype; 1 for a scalar y.
    names : {name: Tensor}, optional
        What to call leaves (``dict(model.named_parameters())``); others are x1, x2, ...

    Returns
    -------
    Explanation
        A string, which a REPL shows without quotes.

    Raises
    ------
    GraphError
        If y requires no gradient, is not a scalar and no cotangent is given, or its graph
        was freed by ``backward``: explain it first, or pass ``retain_graph=True``.
    DtypeError, ArgumentError
        If y is no Tensor, or ``names`` no dictionary of Tensors.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, 2.0], requires_grad=True)
    >>> mg.explain(x.sum())
    forward
      t1 = sum(x1)   ()
    backward, from the cotangent of t1 = 1
      1. t1 = sum(x1)
         x̄ = ȳ, repeated over the summed axes
         t1 gives   1
         x1 takes   [1, 1]
    """
    root, nodes = _recorded(y, cotangent)
    called = _names(nodes, _given_names(names))
    walked = list(steps(y, cotangent, retain_graph=True))
    start = "1" if cotangent is None else _values(np.asarray(cotangent))
    lines = [_line(node, called) for node in nodes]
    width = max(map(len, lines), default=0)
    paragraphs = [_paragraph(k, step, called, walked) for k, step in enumerate(walked, 1)]
    return Explanation(
        "\n".join(
            [
                "forward",
                *(f"  {line:{width}}   {n.shape}" for line, n in zip(lines, nodes, strict=True)),
                f"backward, from the cotangent of {called.get(root, 'y')} = {start}",
                *(line for paragraph in paragraphs for line in paragraph),
            ]
        )
    )


def _recorded(y: Tensor, cotangent: object) -> tuple[Source, list[Node]]:
    """Where y comes from, and every node that it was computed from."""
    root = source(expect_tensor("explain", "y", y))
    if root is None:
        raise GraphError("the output requires no grad: there is no backward pass to explain")
    if y.size != 1 and cotangent is None:
        raise GraphError(
            f"the output has shape {y.shape}: say mg.explain(y.sum()), or give the cotangent"
        )
    nodes = ancestors(root)
    if any(node.saved is None for node in nodes):
        raise GraphError(
            "the graph was freed by an earlier backward: explain it before, compute it anew, or "
            "pass retain_graph=True to backward"
        )
    return root, nodes


def _given_names(names: object) -> Mapping[str, Tensor]:
    if names is None:
        return {}
    if not isinstance(names, Mapping) or not all(isinstance(t, Tensor) for t in names.values()):
        raise ArgumentError(f"explain: names must be a dict of Tensors, not {quoted(names)}")
    return names


def _names(nodes: list[Node], given: Mapping[str, Tensor]) -> dict[Source, str]:
    """t1, t2, ... for what was computed; the given names, or x1, x2, ..., for leaves."""
    called: dict[Source, str] = {tensor: name for name, tensor in given.items()}
    leaves = (s for node in nodes for s in node.sources if isinstance(s, Tensor))
    for leaf in leaves:
        called.setdefault(leaf, f"x{len(called) - len(given) + 1}")
    return called | {node: f"t{k}" for k, node in enumerate(nodes, 1)}


def _line(node: Node, called: Mapping[Source, str]) -> str:
    pairs = zip(node.sources, node.given, strict=True)
    arguments = ", ".join("const" if s is None else called[s] for s, given in pairs if given)
    layer = f"{node.scope}: " if node.scope else ""
    return f"{called[node]} = {layer}{node.primitive.name}({arguments})"


def _paragraph(k: int, step: Step, called: Mapping[Source, str], walked: list[Step]) -> list[str]:
    lines = [
        f"{k:3}. {_line(step.node, called)}",
        f"     {step.rule.formula}",
        f"     {called[step.node] + ' gives':10} {_values(step.incoming.numpy())}",
        f"     {called[step.target] + ' takes':10} {_values(step.outgoing.numpy())}",
    ]
    if any(earlier.target is step.target for earlier in walked[: k - 1]):
        lines.append(f"     sum so far {_values(step.running.numpy())}")
    return lines


def _values(array: Array) -> str:
    """A small array in full, in row-major order; of a large one, shape and range."""
    if array.size > SHOWN:
        low, high = array.min(), array.max()
        return f"{array.shape}, from {low:.4g} to {high:.4g}"
    flat = [f"{v:.4g}" for v in array.ravel()]
    if not array.ndim:
        return flat[0]
    shape = f" as {array.shape}" if array.ndim > 1 else ""
    return f"[{', '.join(flat)}]{shape}"
