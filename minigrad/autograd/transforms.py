"""Derivatives of functions: vjp, jvp, grad, hvp.

``vjp`` is one walk over the graph; ``jvp`` is the vjp of the vjp (a linear map transposed
twice); ``hvp`` is the gradient of <grad f, v>.

Source: for the double vjp, J. Townsend, "A new trick for calculating Jacobian vector
products" (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np

from minigrad.arguments import integer, quoted
from minigrad.autograd.walk import ancestors, gradients, is_among, vector
from minigrad.errors import ArgumentError, GraphError
from minigrad.tensor import Array, Tensor, enable_grad, primitive, source, wrap

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["grad", "hvp", "jvp", "value_and_grad", "variable", "vjp"]

Function = Callable[..., Tensor]
Point: TypeAlias = "npt.ArrayLike | Tensor"


@primitive(view=True)
def _alias(x: Array) -> Array:
    """y = x: a place of its own in the graph."""
    y: Array = x.view()
    return y


@_alias.vjp("x", "x̄ = ȳ")
def _alias_x(g: Tensor) -> Tensor:
    return g


def variable(x: Point) -> Tensor:
    """x as the point to differentiate at, apart from everything else made from x.

    A recorded Tensor stays joined to its graph, so that calls nest; but what was computed
    from it before does not count as depending on the variable.
    """
    if isinstance(x, Tensor) and x.requires_grad:
        with enable_grad():
            aliased: Tensor = _alias(x)
        return aliased
    return Tensor(x, requires_grad=True)


def _function(name: str, f: object) -> None:
    if not callable(f):
        hint = "; of a Tensor: mg.gradients(y, [x])" if isinstance(f, Tensor) else ""
        raise ArgumentError(f"{name} takes a function of Tensors, not {quoted(f)}{hint}")


def _variables(xs: Sequence[Point]) -> tuple[Tensor, ...]:
    return tuple(variable(x) for x in xs)


def _settled(result: Tensor, variables: Sequence[Tensor]) -> Tensor:
    """result, without its graph where that leads to nothing but this call's own variables.

    Else w = w - grad(f)(w) would drag along the graphs of all steps before.
    """
    root = source(result)
    own = [v for v in variables if v.is_leaf]
    if root is None:
        return result
    sources = (s for node in ancestors(root) for s in node.sources)
    outside = any(isinstance(s, Tensor) and not is_among(s, own) for s in (root, *sources))
    return result if outside else result.detach()


def _called(f: Function, xs: Sequence[Point]) -> Tensor:
    y = f(*xs)
    if not isinstance(y, Tensor):
        raise GraphError(f"the function must return a Tensor, not {type(y).__name__}")
    return y


def vjp(f: Function, *xs: Point) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
    """y = f(x_1, ..., x_n) and the map g -> ((dy/dx_1)^T g, ..., (dy/dx_n)^T g).

    Parameters
    ----------
    f : callable
        Tensors to one Tensor.
    *xs : array_like
        Where to differentiate.

    Returns
    -------
    y : Tensor
    pull : callable
        From a cotangent of y's shape (1 for a scalar y) to one cotangent for each input.
        It may be called again.

    Raises
    ------
    GraphError
        If f does not return a Tensor.
    ArgumentError
        If f is no function, or an input no array of numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> y, pull = mg.vjp(lambda x: x * x, [1.0, 2.0])
    >>> pull(np.array([1, 10], np.float32))[0].numpy()
    array([ 2., 40.], dtype=float32)
    """
    _function("vjp", f)
    variables = _variables(xs)
    with enable_grad():
        y = _called(f, variables)

    def pull(cotangent: Tensor | Array | None = None) -> tuple[Tensor, ...]:
        pulled = gradients(y, variables, cotangent, create_graph=True)
        return tuple(_settled(x, variables) for x in pulled)

    return _settled(y, variables), pull


def jvp(f: Function, xs: Sequence[Point], tangents: Sequence[Point]) -> tuple[Tensor, Tensor]:
    """y = f(x_1, ..., x_n) and J t = sum_i (dy/dx_i) t_i.

    g -> J^T g is linear in g, so its own transpose, at any g, is t -> J t.

    Parameters
    ----------
    f : callable
        Tensors to one Tensor.
    xs : sequence of array_like
        Where to differentiate.
    tangents : sequence of array_like
        The direction, one for each input, of its shape and dtype.

    Returns
    -------
    y : Tensor
    moved : Tensor
        J t, of y's shape.

    Raises
    ------
    ShapeError, DtypeError
        If a tangent does not fit its input.
    GraphError
        If f does not return a Tensor.
    ArgumentError
        If f is no function, or there are not as many tangents as inputs.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.jvp(lambda x: x * x, ([3.0],), ([1.0],))[1].numpy()
    array([6.], dtype=float32)
    """
    _function("jvp", f)
    for name, several in (("xs", xs), ("tangents", tangents)):
        stacked = isinstance(several, np.ndarray) and several.ndim
        if not isinstance(several, (list, tuple)) and not stacked:
            raise ArgumentError(f"jvp: {name} must be a list or tuple, not {quoted(several)}")
    if len(xs) != len(tangents):
        raise ArgumentError(f"jvp: {len(xs)} inputs have {len(tangents)} tangents")
    variables = _variables(xs)
    vectors = [vector(t, x, "tangent") for t, x in zip(tangents, variables, strict=True)]
    with enable_grad():
        y = _called(f, variables)
        g = Tensor(np.zeros(y.shape, y.dtype), requires_grad=True)
        pulled = gradients(y, variables, g, create_graph=True)
        moved = wrap(np.zeros(y.shape, y.dtype))
        for p, t in zip(pulled, vectors, strict=True):
            moved = moved + gradients(p, [g], t, create_graph=True)[0]
    return _settled(y, variables), _settled(moved, [*variables, g])


Slopes = tuple[Tensor, ...]


@overload
def value_and_grad(f: Function, argnums: int = 0) -> Callable[..., tuple[Tensor, Tensor]]: ...
@overload
def value_and_grad(f: Function, argnums: Sequence[int]) -> Callable[..., tuple[Tensor, Slopes]]: ...
def value_and_grad(
    f: Function, argnums: int | Sequence[int] = 0
) -> Callable[..., tuple[Tensor, Tensor | Slopes]]:
    """The function that returns f(x) and its gradient.

    Parameters
    ----------
    f : callable
        Tensors to one scalar Tensor.
    argnums : int or sequence of int
        Which arguments to differentiate with respect to.

    Returns
    -------
    callable
        From the arguments of f to (value, gradient); for several ``argnums`` the gradient
        is a tuple of Tensors.

    Raises
    ------
    ArgumentError
        If f is no function, or argnums are no integers; when called, if there is no such
        argument.
    GraphError
        When called, if f does not return a scalar Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> value, slope = mg.value_and_grad(lambda x: x * x)(3.0)
    >>> value.item(), slope.item()
    (9.0, 6.0)
    """
    _function("value_and_grad", f)
    one = hasattr(argnums, "__index__")
    several = [argnums] if one else argnums
    if not isinstance(several, (list, tuple, range)):
        raise ArgumentError(f"argnums must be an integer or a list of them, not {quoted(argnums)}")
    chosen = [integer("value_and_grad", "argnums", i) for i in several]

    def both(*xs: Point) -> tuple[Tensor, Tensor | Slopes]:
        if any(not -len(xs) <= i < len(xs) for i in chosen):
            raise ArgumentError(f"argnums={argnums} names an argument that is not among {len(xs)}")
        variables = _variables([xs[i] for i in chosen])
        given: list[Point] = list(xs)
        for i, x in zip(chosen, variables, strict=True):
            given[i] = x
        with enable_grad():
            y = _called(f, given)
            pulled = gradients(y, variables, create_graph=True)
        slopes = tuple(_settled(slope, variables) for slope in pulled)
        return _settled(y, variables), slopes[0] if one else slopes

    return both


@overload
def grad(f: Function, argnums: int = 0) -> Callable[..., Tensor]: ...
@overload
def grad(f: Function, argnums: Sequence[int]) -> Callable[..., Slopes]: ...
def grad(f: Function, argnums: int | Sequence[int] = 0) -> Callable[..., Tensor | Slopes]:
    """The function x -> df/dx of a scalar f; nest it for higher orders.

    Parameters
    ----------
    f, argnums
        As for ``value_and_grad``.

    Returns
    -------
    callable
        From the arguments of f to the gradient; for several ``argnums`` a tuple of them.

    Raises
    ------
    ArgumentError, GraphError
        As ``value_and_grad`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.grad(mg.grad(lambda x: x * x * x))(2.0).item()
    12.0
    """
    _function("grad", f)
    both = value_and_grad(f, argnums)

    def slope(*xs: Point) -> Tensor | Slopes:
        return both(*xs)[1]

    return slope


def hvp(f: Function, x: Point, v: Point) -> Tensor:
    """The product of the Hessian of a scalar f at x with v: grad <grad f(x), v>.

    Parameters
    ----------
    f : callable
        A Tensor to one scalar Tensor.
    x : array_like
        Where to differentiate.
    v : array_like
        The vector, of x's shape and dtype.

    Returns
    -------
    Tensor
        Of x's shape.

    Raises
    ------
    ShapeError, DtypeError
        If v does not fit x.
    ArgumentError, GraphError
        As ``value_and_grad`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.hvp(lambda x: (x * x * x).sum(), [1.0, 2.0], [1.0, 0.0])
    Tensor([6., 0.], dtype=float32)
    """
    _function("hvp", f)

    def slope_along(z: Tensor) -> Tensor:
        along: Tensor = (grad(f)(z) * vector(v, z, "tangent")).sum()
        return along

    result: Tensor = grad(slope_along)(x)
    return result
