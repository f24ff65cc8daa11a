"""Conditions that another network decides: what the controller does if a stop sign is there."""

from __future__ import annotations

import math

from ..expressions import Data, Label, Net, Param, Shape, Var, argmax, implies
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["if_seen_then"]


@spec("if_seen_then", numbers=(53,), form="R", suits="perception with control")
def if_seen_then(
    shape: Shape,
    seen: int,
    actions: int,
    *,
    p: float = math.inf,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Spec:
    """forall x, |x - x0|_p <= eps, in bounds: argmax g(x) = k implies argmax f(x) = a.

    The network g (shape) -> seen says what is there, a stop sign, and f (shape) -> actions what is done. Bind
    x0 (B, *shape), eps, the class k and the action a. Violation: the smaller of the lead of k and of how far
    a is from leading; closed atoms for f, strict ones for g. Source: X. Xie, K. Kersting, D. Neider,
    Neuro-symbolic verification of deep neural networks, IJCAI 2022, arXiv 2203.00938.
    """
    x0, k, a = Data("x0", shape), Label("k", seen), Label("a", actions)
    x, f, g = Var("x", like=x0), Net("f", shape, actions), Net("g", shape, seen)
    claim = implies(argmax(g(x)) == k, argmax(f(x)) == a)
    return forall(x, around(x0, Param("eps"), p, bounds), claim)
