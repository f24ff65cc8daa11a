"""What a classifier's probabilities say: doubt far from the data, meaning of labels, expected digits."""

from __future__ import annotations

import math
from functools import reduce
from operator import add, and_

from ..expressions import Data, Label, Net, Param, Shape, Var, conf, dot, softmax
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["digit_sum", "doubt", "label_distance"]


@spec("doubt", numbers=(27, 28), form="N", suits="classifiers, Bayesian networks")
def doubt(
    shape: Shape, classes: int, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: max_i softmax(f(x))_i <= tau.

    The points x0 (B, *shape) lie far from the training data. Bind them, eps (a large eps covers the whole
    range of inputs) and tau. Violation: the largest probability minus tau, strict atoms. Source: J.
    Bitterwolf, A. Meinke, M. Hein, Certifiably adversarially robust detection of out-of-distribution data,
    NeurIPS 2020, arXiv 2007.08473.
    """
    x0 = Data("x0", shape)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, around(x0, Param("eps"), p, bounds), conf(f(x)) <= Param("tau"))


@spec("label_distance", numbers=(30,), form="N", suits="classifiers with a hierarchy of labels")
def label_distance(
    shape: Shape, classes: int, *, p: float = math.inf, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: sum_j softmax(f(x))_j distance[c, j] <= tau.

    Bind x0 (B, *shape), c (B,), eps, tau and distance (classes, classes), how far apart two labels are in
    meaning. Violation: the expected distance minus tau, a strict atom. Source: C. Qin et al., Verification of
    non-linear specifications for neural networks, ICLR 2019, arXiv 1902.09592.
    """
    x0, c, distance = Data("x0", shape), Label("c", classes), Data("distance", (classes, classes))
    x, f = Var("x", like=x0), Net("f", shape, classes)
    expected = dot(softmax(f(x)), distance[c])
    return forall(x, around(x0, Param("eps"), p, bounds), expected <= Param("tau"))


@spec("digit_sum", numbers=(31,), form="NR", suits="classifiers of digits, composed")
def digit_sum(
    shape: Shape, classes: int = 10, *, images: int = 2, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Spec:
    """forall x1, .., xn, |x_i - a_i|_inf <= eps, in bounds: |sum_i E[digit(x_i)] - total| <= delta.

    E[digit(x)] = sum_k k softmax(f(x))_k. Bind a1, .., an (B, *shape), eps, total and delta. Violation: the
    error of the expected sum minus delta, strict atoms. Source: C. Qin et al., Verification of non-linear
    specifications for neural networks, ICLR 2019, arXiv 1902.09592.
    """
    f, digits = Net("f", shape, classes), [float(k) for k in range(classes)]
    xs = [Var(f"x{i + 1}", shape) for i in range(images)]
    regions = [around(Data(f"a{i + 1}", shape), Param("eps"), math.inf, bounds)(x) for i, x in enumerate(xs)]
    expected = reduce(add, (dot(softmax(f(x)), digits) for x in xs))
    return forall(xs, reduce(and_, regions), abs(expected - Param("total")) <= Param("delta"))
