"""Two evaluations of one network: global robustness, Lipschitz constants, monotonicity, equivariance."""

from __future__ import annotations

import math
from collections.abc import Callable

from robustbench_local.errors import SpecError

from ..expressions import (
    Data,
    Net,
    Param,
    Shape,
    Term,
    Var,
    add,
    argmax,
    ball,
    box,
    conf,
    implies,
    norm,
)
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["equivariance", "global_robustness", "lipschitz", "local_lipschitz", "monotone"]


@spec("global_robustness", numbers=(14,), form="RN", suits="classifiers with few inputs")
def global_robustness(shape: Shape, classes: int, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Spec:
    """forall x, y in bounds, |x - y|_inf <= eps and conf(f(x)) >= k: argmax f(x) = argmax f(y).

    conf is the largest softmax probability. Bind eps and the confidence k. Violation: conf(f(x)) - k, and for
    every class that f(x) or f(y) misses its first place by some margin; closed atoms. Source: A. Athavale et
    al., Verifying global two-safety properties in neural networks with confidence, CAV 2024, arXiv
    2405.14400.
    """
    x, y, f = Var("x", shape), Var("y", shape), Net("f", shape, classes)
    domain = box(*bounds)(x) & box(*bounds)(y) & ball(x, Param("eps"))(y)
    return forall([x, y], domain, implies(conf(f(x)) >= Param("k"), argmax(f(x)) == argmax(f(y))))


@spec("lipschitz", numbers=(15,), form="RN", suits="any network with few inputs")
def lipschitz(
    shape: Shape,
    outputs: Shape,
    *,
    p: float = math.inf,
    q: float = math.inf,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Spec:
    """forall x, y in bounds: |f(x) - f(y)|_q <= L |x - y|_p + slack.

    Bind L, and slack if it is not 0. No division, but both sides are 0 at x = y, where bounds prove nothing
    without some slack: `lipschitz` of the verifiers, which bounds Jacobians, does. Violation: the left side
    minus the right one, strict atoms. Source: C. Szegedy et al., Intriguing properties of neural networks,
    ICLR 2014, section 4.3.
    """
    x, y, f = Var("x", shape), Var("y", shape), Net("f", shape, outputs)
    return forall(
        [x, y],
        box(*bounds)(x) & box(*bounds)(y),
        norm(f(x) - f(y), q) <= Param("L") * norm(x - y, p) + Param("slack", 0.0),
    )


@spec("local_lipschitz", numbers=(16,), form="RN")
def local_lipschitz(
    shape: Shape,
    outputs: Shape,
    *,
    p: float = math.inf,
    q: float = math.inf,
    bounds: tuple[float, float] | None = None,
) -> Spec:
    """forall x, y with |x - x0|_inf <= eps and |y - x0|_inf <= eps, in bounds: |f(x) - f(y)|_q <= L |x -
    y|_p.

    Bind x0 (B, *shape), eps, L, and slack if it is not 0. A local Lipschitz constant as a claim about
    pairs; of single derivatives `sensitivity` speaks, and norms of the Jacobian over a set are bounded by
    `local_lipschitz` of the verifiers. Violation: as `lipschitz`. Source: M. Jordan, A. Dimakis, Exactly
    computing the local Lipschitz constant of ReLU networks, NeurIPS 2020, arXiv 2003.01219.
    """
    x0, eps = Data("x0", shape), Param("eps")
    x, y, f = Var("x", like=x0), Var("y", like=x0), Net("f", shape, outputs)
    region = around(x0, eps, math.inf, bounds)
    return forall(
        [x, y],
        region(x) & region(y),
        norm(f(x) - f(y), q) <= Param("L") * norm(x - y, p) + Param("slack", 0.0),
    )


@spec("monotone", numbers=(17,), form="R", suits="tabular models, pricing, controllers")
def monotone(inputs: int, outputs: int = 1, *, feature: int = 0, rising: bool = True) -> Spec:
    """forall x, low <= x <= high, and d, 0 <= d <= rise: f(x + d e_feature) >= f(x), elementwise; <= if
    falling.

    Bind low, high (B, inputs) and rise, the largest step, which may lead beyond high. Violation: the largest
    loss f(x) - f(x + d e), strict atoms. Source: the monotonicity of A. Sivaraman et al.,
    Counterexample-guided learning of monotonic neural networks, NeurIPS 2020, arXiv 2006.08852.
    """
    low, high = Data("low", inputs), Data("high", inputs)
    x, d, f = Var("x", inputs), Var("d"), Net("f", inputs, outputs)
    gain = f(add(x, feature, d)) - f(x)
    return forall([x, d], box(low, high)(x) & box(0, Param("rise"))(d), gain >= 0 if rising else gain <= 0)


@spec("equivariance", numbers=(24,), form="R", suits="segmentation, flows, graph networks")
def equivariance(
    shape: Shape,
    outputs: Shape,
    *,
    of_input: Callable[[Term], Term],
    of_output: Callable[[Term], Term],
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Spec:
    """forall x, |x - x0|_inf <= eps, in bounds: |f(T x) - S f(x)|_inf <= delta.

    T = of_input and S = of_output build terms: `flip`, `pick` for permutations, `A @ x`, a transformation of
    images; S = lambda y: y states invariance. Bind x0 (B, *shape), eps and delta. Violation: the largest
    difference minus delta, strict atoms. Source: T. Cohen, M. Welling, Group equivariant convolutional
    networks, ICML 2016, arXiv 1602.07576.
    """
    x0 = Data("x0", shape)
    x, f = Var("x", like=x0), Net("f", shape, outputs)
    moved, image = f(of_input(x)), of_output(f(x))
    if moved.shape != image.shape:
        raise SpecError(f"of_output makes {image.shape} of {f(x).shape}, f gives {moved.shape}")
    return forall(x, around(x0, Param("eps"), math.inf, bounds), abs(moved - image) <= Param("delta"))
