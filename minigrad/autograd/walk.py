"""The chain rule, iteratively.

For y = f(x_1, ..., x_n) and a loss L, write ȳ = dL/dy for the cotangent of y.  Then

    x̄_i = sum over all uses of x_i of  (dy/dx_i)^T ȳ,

and the product (dy/dx_i)^T ȳ is what a primitive's rule computes.  A node is younger
than its inputs, so visiting the nodes from the youngest to the oldest meets every use
of a value before the value itself: no recursion, any depth.

Source: Griewank & Walther, "Evaluating Derivatives" (2008), chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import add
from typing import Any, NamedTuple

import numpy as np

from minigrad.arguments import flag, quoted
from minigrad.errors import ArgumentError, DtypeError, GraphError, ShapeError
from minigrad.forks import Lock
from minigrad.tensor import (
    OPERATIONS,
    Array,
    Node,
    Rule,
    Tensor,
    as_tensor,
    expect_tensor,
    recording,
    source,
    wrap,
)
from minigrad.tensor.primitive import Saved

__all__ = [
    "Source",
    "Step",
    "ancestors",
    "backward",
    "gradients",
    "is_among",
    "steps",
    "vector",
]

Source = Node | Tensor

# Several threads may add to one leaf: `leaf.grad = leaf.grad + total` is a reading and a writing.
_accumulating = Lock()


class Step(NamedTuple):
    """One application of a rule: where a cotangent came from and where it went."""

    node: Node
    argument: str
    rule: Rule
    incoming: Tensor
    outgoing: Tensor
    target: Source
    running: Tensor  # the sum over the uses of the target seen so far


def backward(
    y: Tensor,
    cotangent: Tensor | Array | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add dL/dx to ``x.grad`` for every leaf x that y was computed from.

    Threads may call it at the same time for graphs that share leaves: every gradient arrives.

    Parameters
    ----------
    y : Tensor
    cotangent : Tensor or ndarray, optional
        dL/dy, of y's shape and dtype; 1 for a scalar y.
    retain_graph : bool
        Keep the saved values, so that the graph can be walked again.
    create_graph : bool
        Record the rules themselves, so that ``x.grad`` can be differentiated.

    Raises
    ------
    GraphError
        If y requires no gradient, is not a scalar and no cotangent is given, the graph
        was freed by an earlier call, or a saved value was changed in place.
    ShapeError, DtypeError
        If the cotangent does not fit y.
    ArgumentError
        If an argument has a type that is not taken.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4., 6.], dtype=float32)
    """
    expect_tensor("backward", "y", y)
    retain_graph = flag("backward", "retain_graph", retain_graph)
    create_graph = flag("backward", "create_graph", create_graph)
    sums: dict[Tensor, Tensor] = {}
    for step in steps(y, cotangent, retain_graph or create_graph, create_graph):
        if isinstance(step.target, Tensor):
            sums[step.target] = step.running
    if isinstance(root := source(y), Tensor):
        sums[root] = _cotangent(y, cotangent)
    with _accumulating:
        for leaf, total in sums.items():
            if leaf.grad is not None:
                leaf.grad = recording(create_graph, add, leaf.grad, total)
            else:  # a copy, as rules may hand on a view, or one array to several
                leaf.grad = total if create_graph else wrap(np.array(total.array))


OPERATIONS["backward"] = backward  # type: ignore[assignment]


def steps(
    y: Tensor,
    cotangent: Tensor | Array | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    wanted: Sequence[Source] | None = None,
) -> Iterator[Step]:
    """The backward pass, one rule at a time, from the youngest node to the oldest.

    Only paths that end in a ``wanted`` source are walked (by default, in any leaf).
    """
    root = source(y)
    if root is None:
        raise GraphError("the output requires no grad: nothing it was computed from does")
    pending: dict[Source, Tensor] = {root: _cotangent(y, cotangent)}
    nodes = ancestors(root)
    reached = _leading_to(nodes, wanted)
    for node in reversed(nodes):
        incoming = pending.get(node)
        if incoming is None or not reached[node]:
            continue
        if not wanted or not is_among(node, wanted):
            del pending[node]
        for index, target in enumerate(node.sources):
            if target is None or not _leads(target, reached, wanted):
                continue
            argument, rule = _rule(node, index)
            outgoing = recording(create_graph, _call, rule, node, index, incoming)
            before = pending.get(target)
            running = outgoing if before is None else recording(create_graph, add, before, outgoing)
            pending[target] = running
            yield Step(node, argument, rule, incoming, outgoing, target, running)
        if not retain_graph:
            node.saved = None


def ancestors(root: Source) -> list[Node]:
    """Every node that ``root`` was computed from, oldest first."""
    seen: set[Node] = set()
    stack: list[Source | None] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            stack.extend(node.sources)
    return sorted(seen, key=lambda node: node.birth)


def is_among(target: Source, several: Sequence[Source]) -> bool:
    """Whether ``target`` itself is one of several (== compares the values of tensors)."""
    return any(target is other for other in several)


def _is_wanted(target: Source, wanted: Sequence[Source] | None) -> bool:
    return isinstance(target, Tensor) if wanted is None else is_among(target, wanted)


def _leading_to(nodes: list[Node], wanted: Sequence[Source] | None) -> dict[Node, bool]:
    """For each node, whether some path from it ends in a wanted source."""
    if wanted is None:  # a step is recorded where a leaf behind it is
        return dict.fromkeys(nodes, True)
    reached: dict[Node, bool] = {}
    for node in nodes:
        inputs = (s for s in node.sources if s is not None)
        reached[node] = is_among(node, wanted) or any(_leads(s, reached, wanted) for s in inputs)
    return reached


def _leads(target: Source, reached: dict[Node, bool], wanted: Sequence[Source] | None) -> bool:
    """Whether ``target`` is wanted, or some path from it ends in a wanted source."""
    return reached[target] if isinstance(target, Node) else _is_wanted(target, wanted)


def _rule(node: Node, index: int) -> tuple[str, Rule]:
    op = node.primitive
    argument = op.arguments[0] if op.variadic else op.arguments[index]
    if argument not in op.rules:
        raise GraphError(f"{op.name} is not differentiable in its argument {argument!r}")
    return argument, op.rules[argument]


def _call(rule: Rule, node: Node, index: int, g: Tensor) -> Tensor:
    """Call a rule with what its parameters name."""
    saved = node.saved  # read once: another thread may free it meanwhile
    if saved is None:
        raise GraphError(
            f"the graph at {node!r} was freed by an earlier backward: "
            "pass retain_graph=True to the first one"
        )
    return rule.function(*[_argument(name, node, saved, index, g) for name in rule.needs])


def _argument(name: str, node: Node, saved: Saved, index: int, g: Tensor) -> Any:
    if name == "g":
        return g
    if name == "which" and node.primitive.variadic:
        return index
    if name not in saved:
        return node.params[name]
    value = saved[name]
    if not (type(value) is tuple and value and isinstance(value[0], Tensor)):
        return value
    tensor, version = value
    if tensor.version.count != version:
        raise GraphError(
            f"{node!r}: its value {name!r} is needed for the gradient, "
            "but was changed in place after it was used"
        )
    return _as_output(node, tensor) if name == "y" else tensor


def _as_output(node: Node, y: Tensor) -> Tensor:
    """The saved output, joined to its node again (kept apart, so that nothing is cyclic)."""
    joined = y.detach()
    joined.node, joined.requires_grad = node, True
    return joined


def _cotangent(y: Tensor, cotangent: Tensor | Array | None) -> Tensor:
    if cotangent is None:
        if y.array.size != 1:
            raise GraphError(
                f"the output has shape {y.shape}: a gradient starts from a scalar, "
                "or from a cotangent of the output's shape, which you must give"
            )
        return wrap(np.ones(y.shape, y.dtype))
    return vector(cotangent, y, "cotangent")


def vector(value: object, x: Tensor, name: str) -> Tensor:
    """``value`` as a vector of x's space; numbers and lists take x's dtype, arrays keep theirs."""
    v = as_tensor(value, x.dtype, f"the {name}")
    if v.shape != x.shape:
        raise ShapeError(f"the {name} must have shape {x.shape}, got {v.shape}")
    if v.dtype != x.dtype:
        raise DtypeError(f"the {name} must be {x.dtype}, got {v.dtype}")
    return v


def gradients(
    y: Tensor,
    inputs: Sequence[Tensor],
    cotangent: Tensor | Array | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """(dy/dx)^T cotangent for each x of ``inputs``; ``grad`` attributes are not touched.

    An input that y does not depend on gets zeros.

    Parameters
    ----------
    y : Tensor
    inputs : sequence of Tensor
        Leaves, or tensors in the middle of the graph.
    cotangent : Tensor or ndarray, optional
        dL/dy, of y's shape and dtype; 1 for a scalar y.
    retain_graph : bool
        Keep the saved values, so that the graph can be walked again.
    create_graph : bool
        Record the rules themselves, so that the result can be differentiated.

    Returns
    -------
    tuple of Tensor
        One for each input, of its shape and dtype.

    Raises
    ------
    GraphError
        If an input requires no gradient, or as ``backward`` does.
    ShapeError, DtypeError, ArgumentError
        As ``backward`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, 2.0], requires_grad=True)
    >>> mg.gradients((x * x).sum(), [x])
    (Tensor([2., 4.], dtype=float32),)
    """
    expect_tensor("gradients", "y", y)
    if isinstance(inputs, Tensor) or not isinstance(inputs, Sequence):
        raise ArgumentError(f"gradients takes a list of inputs, not {quoted(inputs)}")
    sources = [source(expect_tensor("gradients", "inputs", x)) for x in inputs]
    retain_graph = flag("gradients", "retain_graph", retain_graph)
    create_graph = flag("gradients", "create_graph", create_graph)
    if any(s is None for s in sources):
        raise GraphError("gradients: an input does not require grad")
    sums: dict[Source | None, Tensor] = {}
    if y.requires_grad:
        wanted = [s for s in sources if s is not None]
        sums[source(y)] = _cotangent(y, cotangent)
        for step in steps(y, cotangent, retain_graph or create_graph, create_graph, wanted):
            if _is_wanted(step.target, wanted):
                sums[step.target] = step.running
    zero = (wrap(np.zeros(x.shape, x.dtype)) for x in inputs)
    return tuple(sums.get(s, z) for s, z in zip(sources, zero, strict=True))
