"""The chain rule, iteratively.

For y = f(x_1, ..., x_n) and a loss L, write ȳ = dL/dy for the cotangent of y.  Then

    x̄_i = sum over all uses of x_i of  (dy/dx_i)^T ȳ,

and the product (dy/dx_i)^T ȳ is what a primitive's rule computes.  A node is younger
than its inputs, so visiting the nodes from the youngest to the oldest meets every use
of a value before the value itself: no recursion, any depth.

``vjp`` is this; ``jvp`` is the vjp of the vjp (a linear map transposed twice); ``hvp``
is the gradient of <grad f, v>.

Sources: Griewank & Walther, "Evaluating Derivatives" (2008), chapter 3; for the double
vjp, J. Townsend, "A new trick for calculating Jacobian vector products" (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import DtypeError, GraphError, ShapeError
from minigrad.tensor import (
    Array,
    Node,
    Rule,
    Tensor,
    enable_grad,
    from_numpy,
    no_grad,
    primitive,
    source,
)

__all__ = [
    "Step",
    "ancestors",
    "backward",
    "grad",
    "gradients",
    "hvp",
    "jvp",
    "steps",
    "value_and_grad",
    "variable",
    "vjp",
]

Source = Node | Tensor
Function = Callable[..., Tensor]


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

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4., 6.])
    """
    sums: dict[Tensor, Tensor] = {}
    for step in steps(y, cotangent, retain_graph or create_graph, create_graph):
        if isinstance(step.target, Tensor):
            sums[step.target] = step.running
    if isinstance(root := source(y), Tensor):
        sums[root] = _cotangent(y, cotangent)
    for leaf, total in sums.items():
        if leaf.grad is not None:
            leaf.grad = leaf.grad + total
        else:  # a copy, as rules may hand on a view, or one array to several
            leaf.grad = total if create_graph else Tensor(total)


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
        if node not in (wanted or ()):
            del pending[node]
        for index, target in enumerate(node.sources):
            if target is None or not reached.get(target, _is_wanted(target, wanted)):
                continue
            argument, rule = _rule(node, index)
            with enable_grad() if create_graph else no_grad():
                outgoing = _call(rule, node, index, incoming)
                before = pending.get(target)
                running = outgoing if before is None else before + outgoing
            pending[target] = running
            yield Step(node, argument, rule, incoming, outgoing, target, running)
        if not retain_graph:
            node.saved = None


def ancestors(root: Source) -> list[Node]:
    """Every node that ``root`` was computed from, oldest first."""
    seen: set[Node] = set()
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            stack.extend(node.sources)
    return sorted(seen, key=lambda node: node.birth)


def _is_wanted(target: Source, wanted: Sequence[Source] | None) -> bool:
    return isinstance(target, Tensor) if wanted is None else any(target is w for w in wanted)


def _leading_to(nodes: list[Node], wanted: Sequence[Source] | None) -> dict[Source, bool]:
    """For each node, whether some path from it ends in a wanted source."""
    reached: dict[Source, bool] = {}
    for node in nodes:
        inputs = (s for s in node.sources if s is not None)
        reached[node] = _is_wanted(node, wanted) or any(
            reached.get(s, _is_wanted(s, wanted)) for s in inputs
        )
    return reached


def _rule(node: Node, index: int) -> tuple[str, Rule]:
    op = node.primitive
    argument = op.arguments[0] if op.variadic else op.arguments[index]
    if argument not in op.rules:
        raise GraphError(f"{op.name} is not differentiable in its argument {argument!r}")
    return argument, op.rules[argument]


def _call(rule: Rule, node: Node, index: int, g: Tensor) -> Tensor:
    """Call a rule with what its parameters name."""
    if node.saved is None:
        raise GraphError(
            f"the graph at {node!r} was freed by an earlier backward: "
            "pass retain_graph=True to the first one"
        )
    return rule.function(*(_argument(name, node, index, g) for name in rule.needs))


def _argument(name: str, node: Node, index: int, g: Tensor) -> Any:
    if name == "g":
        return g
    if name == "which" and node.primitive.variadic:
        return index
    assert node.saved is not None
    if name not in node.saved:
        return node.params[name]
    value = node.saved[name]
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
        if y.size != 1:
            raise GraphError(
                f"the output has shape {y.shape}: a gradient starts from a scalar, "
                "or from a cotangent of the output's shape, which you must give"
            )
        return from_numpy(np.ones(y.shape, y.dtype))
    return _vector(cotangent, y, "cotangent")


def _vector(value: Any, x: Tensor, name: str) -> Tensor:
    """``value`` as a vector of x's space; numbers and lists take x's dtype, arrays keep theirs."""
    exact = isinstance(value, (Tensor, np.ndarray)) and value.ndim
    v = value if isinstance(value, Tensor) else Tensor(value, dtype=None if exact else x.dtype)
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
    """
    sources = [source(x) for x in inputs]
    if any(s is None for s in sources):
        raise GraphError("gradients: an input does not require grad")
    sums: dict[Any, Tensor] = {}
    if y.requires_grad:
        wanted = [s for s in sources if s is not None]
        sums[source(y)] = _cotangent(y, cotangent)
        for step in steps(y, cotangent, retain_graph or create_graph, create_graph, wanted):
            if _is_wanted(step.target, wanted):
                sums[step.target] = step.running
    zero = (from_numpy(np.zeros(x.shape, x.dtype)) for x in inputs)
    return tuple(sums.get(s, z) for s, z in zip(sources, zero, strict=True))


@primitive(view=True)
def _alias(x: Array) -> Array:
    """y = x: a place of its own in the graph."""
    y: Array = x.view()
    return y


@_alias.vjp("x", "x̄ = ȳ")
def _alias_x(g: Tensor) -> Tensor:
    return g


def variable(x: Any) -> Tensor:
    """x as the point to differentiate at, apart from everything else made from x.

    A recorded Tensor stays joined to its graph, so that calls nest; but what was computed
    from it before does not count as depending on the variable.
    """
    if isinstance(x, Tensor) and x.requires_grad:
        with enable_grad():
            aliased: Tensor = _alias(x)
        return aliased
    return Tensor(x, requires_grad=True)


def _variables(xs: Sequence[Any]) -> tuple[Tensor, ...]:
    return tuple(variable(x) for x in xs)


def _settled(result: Tensor, variables: Sequence[Tensor]) -> Tensor:
    """result, without its graph where that leads to nothing but this call's own variables.

    Else w = w - grad(f)(w) would drag along the graphs of all steps before.
    """
    root = source(result)
    own = [v for v in variables if v.is_leaf]
    if root is None:
        return result
    reached = [root, *(s for node in ancestors(root) for s in node.sources)]
    outside = any(isinstance(s, Tensor) and not _is_wanted(s, own) for s in reached)
    return result if outside else result.detach()


def _called(f: Function, xs: Sequence[Tensor]) -> Tensor:
    y = f(*xs)
    if not isinstance(y, Tensor):
        raise GraphError(f"the function must return a Tensor, not {type(y).__name__}")
    return y


def vjp(f: Function, *xs: Any) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
    """y = f(*xs) and the map g -> ((dy/dx_1)^T g, ...), which may be called again.

    >>> import minigrad as mg
    >>> y, pull = mg.vjp(lambda x: x * x, [1.0, 2.0])
    >>> pull(np.array([1.0, 10.0]))[0].numpy()
    array([ 2., 40.])
    """
    variables = _variables(xs)
    with enable_grad():
        y = _called(f, variables)

    def pull(cotangent: Tensor | Array | None = None) -> tuple[Tensor, ...]:
        pulled = gradients(y, variables, cotangent, create_graph=True)
        return tuple(_settled(x, variables) for x in pulled)

    return _settled(y, variables), pull


def jvp(f: Function, xs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """y = f(*xs) and J t = sum_i (dy/dx_i) t_i.

    g -> J^T g is linear in g, so its own transpose, at any g, is t -> J t.

    >>> import minigrad as mg
    >>> mg.jvp(lambda x: x * x, ([3.0],), ([1.0],))[1].numpy()
    array([6.])
    """
    variables = _variables(xs)
    vectors = [_vector(t, x, "tangent") for t, x in zip(tangents, variables, strict=True)]
    with enable_grad():
        y = _called(f, variables)
        g = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
        pulled = gradients(y, variables, g, create_graph=True)
        moved = from_numpy(np.zeros(y.shape, y.dtype))
        for p, t in zip(pulled, vectors, strict=True):
            moved = moved + gradients(p, [g], t, create_graph=True)[0]
    return _settled(y, variables), _settled(moved, [*variables, g])


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns f(*xs) and its gradient with respect to ``argnums``."""

    def both(*xs: Any) -> Any:
        chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        variables = _variables([xs[i] for i in chosen])
        given = list(xs)
        for i, x in zip(chosen, variables, strict=True):
            given[i] = x
        with enable_grad():
            y = _called(f, given)
            told = gradients(y, variables, create_graph=True)
        slopes = tuple(_settled(slope, variables) for slope in told)
        return _settled(y, variables), slopes[0] if isinstance(argnums, int) else slopes

    return both


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function x -> df/dx of a scalar f; nest it for higher orders.

    >>> import minigrad as mg
    >>> mg.grad(mg.grad(lambda x: x * x * x))(2.0).item()
    12.0
    """

    def slope(*xs: Any) -> Any:
        return value_and_grad(f, argnums)(*xs)[1]

    return slope


def hvp(f: Function, x: Any, v: Any) -> Tensor:
    """The product of the Hessian of a scalar f at x with v: grad <grad f(x), v>."""

    def slope_along(z: Tensor) -> Tensor:
        along: Tensor = (grad(f)(z) * _vector(v, z, "tangent")).sum()
        return along

    result: Tensor = grad(slope_along)(x)
    return result


Tensor.backward = backward  # type: ignore[method-assign, assignment]
