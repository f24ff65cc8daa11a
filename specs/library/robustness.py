"""A classifier keeps its answer around a point."""

from __future__ import annotations

import math

from ..expressions import Data, Label, Net, Param, Shape, Var, argmax, rank
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["robustness", "targeted", "topk"]


@spec("robustness", numbers=(1, 2), form="L", suits="classifiers")
def robustness(
    shape: Shape, classes: int, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: argmax f(x) = c, ties broken against us.

    Bind x0 (B, *shape), c (B,) and eps, a number or (B,). bounds=None leaves the ball uncut. Violation: max
    over j != c of f_j - f_c, with closed atoms. Source: C. Szegedy et al., Intriguing properties of neural
    networks, ICLR 2014; as a property: G. Katz et al., Reluplex, CAV 2017.
    """
    x0, c = Data("x0", shape), Label("c", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, around(x0, Param("eps"), p, bounds), argmax(f(x)) == c)


@spec("targeted", numbers=(5,), form="L", suits="classifiers")
def targeted(
    shape: Shape, classes: int, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: the target t never reaches the first place.

    Bind x0 (B, *shape), the target t (B,) and eps. Violation: min over j != t of f_t - f_j >= 0, closed as in
    VNN-COMP's targeted instances. Source: N. Carlini, D. Wagner, Towards evaluating the robustness of neural
    networks, S&P 2017.
    """
    x0, t = Data("x0", shape), Label("t", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, around(x0, Param("eps"), p, bounds), argmax(f(x)) != t)


@spec("topk", numbers=(6,), form="L", suits="classifiers, rankers")
def topk(
    shape: Shape,
    classes: int,
    *,
    k: int = 5,
    p: float = math.inf,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: c is among the k first classes of f(x).

    Bind x0 (B, *shape), c (B,) and eps; 1 <= k < classes. Violation: the k-th largest of f_j - f_c over j !=
    c, closed atoms: ties count against c. Source: J. Jia et al., Certified robustness for top-k predictions
    against adversarial perturbations via randomized smoothing, ICLR 2020, arXiv 1912.09899.
    """
    x0, c = Data("x0", shape), Label("c", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, around(x0, Param("eps"), p, bounds), rank(f(x), c) <= k)
