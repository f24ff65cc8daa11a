"""Ready properties by name: one function each, with formula and source; `@spec` enters it in `SPECS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from robustbench_local.errors import SpecError

from .expressions import Data, Domain, Label, Net, Param, Shape, Var, argmax, ball, between, box
from .spec import Spec, forall

__all__ = ["SPECS", "output_bounds", "robustness", "spec", "targeted"]

_Factory = TypeVar("_Factory", bound=Callable[..., Spec])
_SPECS: dict[str, Callable[..., Spec]] = {}

SPECS: Mapping[str, Callable[..., Spec]] = MappingProxyType(_SPECS)
"""Ready specs by name: functions from shapes to a Spec."""


def spec(name: str) -> Callable[[_Factory], _Factory]:
    """Enter a function that returns a Spec into `SPECS` under `name`."""

    if name in _SPECS:
        raise SpecError(f"the spec name {name!r} is taken")

    def register(factory: _Factory) -> _Factory:
        _SPECS[name] = factory
        return factory

    return register


@spec("robustness")
def robustness(
    shape: Shape, classes: int, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: argmax f(x) = c, ties broken against us.

    Bind x0 (B, *shape), c (B,) and eps, a number or (B,). bounds=None leaves the ball uncut. Violation:
    max over j != c of f_j - f_c, with closed atoms. Source: C. Szegedy et al., Intriguing properties of
    neural networks, ICLR 2014; as a property: G. Katz et al., Reluplex, CAV 2017.
    """
    x0, c = Data("x0", shape), Label("c", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, _around(x0, p, bounds), argmax(f(x)) == c)


@spec("targeted")
def targeted(
    shape: Shape, classes: int, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: the target t never reaches the first place.

    Bind x0 (B, *shape), the target t (B,) and eps. Violation: min over j != t of f_t - f_j >= 0, closed
    as in VNN-COMP's targeted instances. Source: N. Carlini, D. Wagner, Towards evaluating the
    robustness of neural networks, S&P 2017.
    """
    x0, t = Data("x0", shape), Label("t", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, _around(x0, p, bounds), argmax(f(x)) != t)


@spec("output_bounds")
def output_bounds(
    shape: Shape, outputs: Shape, *, p: float = math.inf, bounds: tuple[float, float] | None = None
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: low <= f(x) <= high, elementwise.

    Bind x0 (B, *shape), eps, and low, high (B, *outputs), (*outputs) or numbers. Violation: the largest
    amount by which an output leaves its interval, strict atoms. Source: the reachability properties of
    W. Xiang et al., Output reachable set estimation for multilayer neural networks, TNNLS 2018.
    """
    x0, low, high = Data("x0", shape), Data("low", outputs), Data("high", outputs)
    x, f = Var("x", like=x0), Net("f", shape, outputs)
    return forall(x, _around(x0, p, bounds), between(low, f(x), high))


def _around(x0: Data, p: float, bounds: tuple[float, float] | None) -> Domain:
    around = ball(x0, Param("eps"), p=p)
    return around if bounds is None else around & box(*bounds)
