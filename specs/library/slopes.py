"""Derivatives of outputs by inputs: what a network may respond to, and in which direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import and_

import numpy as np

from robustbench_local.errors import LabelError

from ..expressions import Data, Formula, Label, Net, Param, Shape, Var, box
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["monotone_slope", "sensitivity"]


@spec("sensitivity", numbers=(58,), form="N", suits="classifiers, regressors, attention by gradients")
def sensitivity(
    shape: Shape,
    outputs: int,
    *,
    watched: Sequence[int],
    p: float = math.inf,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Spec:
    """forall x, |x - x0|_p <= eps, in bounds: |d f_c / d x_i| <= limit, for every watched input i.

    watched: places of inputs in row-major order: the border of an image, where nothing should be looked at.
    Bind x0 (B, *shape), the output c (B,), eps and limit. At kinks it is a claim about all of Clarke's
    generalised derivatives, and a counterexample lies beside them. Violation: the largest |derivative| minus
    the limit, strict atoms. Source: K. Simonyan, A. Vedaldi, A. Zisserman, Deep inside convolutional
    networks, 2013, arXiv 1312.6034; bounds: H. Zhang et al., RecurJac, AAAI 2019, arXiv 1810.11783.
    """
    x0, c, limit = Data("x0", shape), Label("c", outputs), Param("limit")
    x, f = Var("x", like=x0), Net("f", shape, outputs)
    size = math.prod(x.shape)
    wrong = [place for place in watched if not 0 <= place < size]
    if wrong or not watched:
        raise LabelError(
            f"watched names input {wrong[0]} of {size}" if wrong else "no input is watched",
            cure=f"give places from 0 to {size - 1}, in row-major order",
        )
    axes = [[int(i) for i in np.unravel_index(place, x.shape)] for place in watched]
    claims: list[Formula] = [abs(f.derivative(x, place)[c]) <= limit for place in axes]
    return forall(x, around(x0, Param("eps"), p, bounds), reduce(and_, claims))


@spec("monotone_slope", numbers=(18,), form="N", suits="tabular models, pricing, controllers")
def monotone_slope(inputs: int, outputs: int = 1, *, feature: int = 0, rising: bool = True) -> Spec:
    """forall x, low <= x <= high: d f / d x_feature >= least, elementwise; <= -least if falling.

    Bind low, high (B, inputs) and least, 0 for what only must not fall. Stronger than `monotone` between
    points of the box, and of one evaluation instead of two. Violation: least minus the smallest derivative,
    strict atoms. Source: X. Liu et al., Certified monotonic neural networks, NeurIPS 2020, arXiv 2011.10219.
    """
    x, f, least = Var("x", inputs), Net("f", inputs, outputs), Param("least")
    slope = f.derivative(x, feature)
    claim = slope >= least if rising else slope <= -least
    return forall(x, box(Data("low", inputs), Data("high", inputs)), claim)
