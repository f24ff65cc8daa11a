"""Outputs stay within limits: constants, a reference, a linear band, a table."""

from __future__ import annotations

import math

from ..expressions import Data, Net, Param, Shape, Var, between, box
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["index_error", "linear_band", "output_bounds", "regression"]


@spec("output_bounds", numbers=(7,), form="L")
def output_bounds(
    shape: Shape, outputs: Shape, *, p: float = math.inf, bounds: tuple[float, float] | None = None
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: low <= f(x) <= high, elementwise.

    Bind x0 (B, *shape), eps, and low, high (B, *outputs), (*outputs) or numbers. Violation: the largest
    amount by which an output leaves its interval, strict atoms. Source: the reachability properties of W.
    Xiang et al., Output reachable set estimation for multilayer neural networks, TNNLS 2018.
    """
    x0, low, high = Data("x0", shape), Data("low", outputs), Data("high", outputs)
    x, f = Var("x", like=x0), Net("f", shape, outputs)
    return forall(x, around(x0, Param("eps"), p, bounds), between(low, f(x), high))


@spec("regression", numbers=(8,), form="L", suits="regressors, GAN critics")
def regression(
    shape: Shape, outputs: Shape = 1, *, p: float = math.inf, bounds: tuple[float, float] | None = None
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: |f(x) - f(x0)| <= delta, elementwise.

    Bind x0 (B, *shape), eps and delta; f(x0) is the network's own prediction. Violation: the largest |f(x) -
    f(x0)| minus delta, strict atoms. Source: the collins_rul_cnn benchmark of VNN-COMP 2022, remaining useful
    life: C. Brix et al., arXiv 2301.05815.
    """
    x0, delta = Data("x0", shape), Param("delta")
    x, f = Var("x", like=x0), Net("f", shape, outputs)
    return forall(x, around(x0, Param("eps"), p, bounds), abs(f(x) - f(x0)) <= delta)


@spec("linear_band", numbers=(10,), form="L", suits="controllers, linearised models")
def linear_band(inputs: int, outputs: int) -> Spec:
    """forall x, low <= x <= high: under <= f(x) - (A x + b) <= over, elementwise.

    Bind low, high (B, inputs), A (B, outputs, inputs), b (B, outputs), and under, over (B, outputs); each
    also without B. Violation: the largest amount by which f leaves the band around the affine map, strict
    atoms. Source: the linearizenn benchmark of VNN-COMP 2024, arXiv 2412.19985.
    """
    low, high = Data("low", inputs), Data("high", inputs)
    A, b = Data("A", (outputs, inputs)), Data("b", outputs)
    under, over = Data("under", outputs), Data("over", outputs)
    x, f = Var("x", inputs), Net("f", inputs, outputs)
    return forall(x, box(low, high), between(under, f(x) - (A @ x + b), over))


@spec("index_error", numbers=(12,), form="L", suits="learned indexes, cardinality estimators")
def index_error(inputs: Shape = 1) -> Spec:
    """forall keys k, low <= k <= high: |f(k) - position| <= error.

    Bind low, high (B, *inputs), position and error, numbers or (B,): one problem for each interval of keys
    that share a position, the whole table as one batch. Violation: the error of the predicted position minus
    the bound, strict atoms. Source: H. He et al., Characterizing neural network verification for systems with
    NN4SysBench, WFVML 2022; the learned index is T. Kraska et al., SIGMOD 2018.
    """
    low, high = Data("low", inputs), Data("high", inputs)
    k, f = Var("k", like=low), Net("f", inputs, 1)
    return forall(k, box(low, high), abs(f(k)[0] - Param("position")) <= Param("error"))
