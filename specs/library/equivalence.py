"""Two networks agree: pruned, quantised, distilled or translated against the original."""

from __future__ import annotations

import math

from ..expressions import Data, Net, Param, Shape, Var, argmax, conf, implies
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["equivalence", "same_decision"]


@spec("equivalence", numbers=(32,), form="R", suits="quantised, pruned, translated networks")
def equivalence(
    shape: Shape, outputs: Shape, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: |f(x) - g(x)|_inf <= delta.

    Networks f and g. Bind x0 (B, *shape), eps and delta. Violation: the largest difference minus delta,
    strict atoms. Source: B. Paulsen, J. Wang, C. Wang, ReluDiff, ICSE 2020, arXiv 2001.03662.
    """
    x0 = Data("x0", shape)
    x, f, g = Var("x", like=x0), Net("f", shape, outputs), Net("g", shape, outputs)
    return forall(x, around(x0, Param("eps"), p, bounds), abs(f(x) - g(x)) <= Param("delta"))


@spec("same_decision", numbers=(33,), form="RN", suits="pruned, distilled networks")
def same_decision(
    shape: Shape, classes: int, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, in bounds, with conf(f(x)) >= k: argmax f(x) = argmax g(x).

    conf is the largest softmax probability; k = 0 asks for the same decision everywhere. Networks f and g.
    Bind x0 (B, *shape), eps and k. Violation: conf(f(x)) - k, and how far each class is from leading in both;
    closed atoms. Source: S. Teuber, P. Kern, M. Janzen, B. Beckert, Revisiting differential verification:
    equivalence verification with confidence, TACAS 2025, arXiv 2410.20207.
    """
    x0 = Data("x0", shape)
    x, f, g = Var("x", like=x0), Net("f", shape, classes), Net("g", shape, classes)
    agree = implies(conf(f(x)) >= Param("k"), argmax(f(x)) == argmax(g(x)))
    return forall(x, around(x0, Param("eps"), p, bounds), agree)
