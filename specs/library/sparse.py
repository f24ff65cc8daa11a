"""A classifier keeps its answer although a few pixels, a window, or chosen features take any values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robustbench_local.errors import LabelError

from ..expressions import Data, Label, Net, Param, Shape, Term, Var, argmax, ball, box, patch, reshape
from ..spec import Spec, forall
from .registry import spec

__all__ = ["few_pixels", "irrelevant_features", "patch_robustness"]


@spec("few_pixels", numbers=(3,), form="LF", suits="image classifiers")
def few_pixels(
    shape: Shape,
    classes: int,
    *,
    grouped: int | tuple[int, ...] = (),
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Spec:
    """forall x in bounds that differ from x0 in at most k elements: argmax f(x) = c.

    grouped=0 counts the pixels of an image (channels, height, width) instead of its elements. Bind x0 (B,
    *shape), c (B,) and k, a whole number. Violation: max over j != c of f_j - f_c, closed atoms. Source: J.
    Su, D. Vargas, K. Sakurai, One pixel attack for fooling deep neural networks, IEEE TEVC 2019, arXiv
    1710.08864; bounds by the largest gains: F. Croce, M. Hein, Sparse and imperceivable adversarial attacks,
    ICCV 2019, arXiv 1909.05040.
    """
    x0, c = Data("x0", shape), Label("c", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, ball(x0, Param("k"), p=0, grouped=grouped) & box(*bounds), argmax(f(x)) == c)


@spec("patch_robustness", numbers=(4,), form="LF", suits="image classifiers")
def patch_robustness(
    shape: Shape,
    classes: int,
    *,
    size: tuple[int, int] = (5, 5),
    stride: int = 1,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Spec:
    """forall x in bounds that differ from x0 in one window of `size` pixels only: argmax f(x) = c.

    The window may lie anywhere, its upper left pixel at multiples of `stride`. Bind x0 (B, channels, H, W)
    and c (B,). Violation: max over j != c of f_j - f_c, closed atoms. Source: P. Chiang et al., Certified
    defenses for adversarial patches, ICLR 2020, arXiv 2003.06693.
    """
    x0, c = Data("x0", shape), Label("c", classes)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    return forall(x, patch(x0, size=size, stride=stride) & box(*bounds), argmax(f(x)) == c)


@spec("irrelevant_features", numbers=(54,), form="L", suits="classifiers with features that must not matter")
def irrelevant_features(shape: Shape, classes: int, *, free: Sequence[int]) -> Spec:
    """forall x, low <= x <= high and |x_i - x0_i| <= eps for every i that is not free: argmax f(x) = c.

    free: places, in row-major order, of the features that should be irrelevant: they take any value between
    low and high. Bind x0 (B, *shape), c (B,), eps, 0 if the others stay as they are, and low, high, numbers
    or (B, *shape), the whole domain of each feature. Violation: max over j != c of f_j - f_c, closed atoms.
    Source: the spurious features of M. Arjovsky et al., Invariant risk minimization, 2019, arXiv 1907.02893.
    """
    x0, c, eps = Data("x0", shape), Label("c", classes), Param("eps")
    low, high = Data("low", shape), Data("high", shape)
    x, f = Var("x", like=x0), Net("f", shape, classes)
    any_value, kept = _masks(x0, free)
    # factors of 0 and 1 round nothing: a feature that is free has the ends of its domain exactly
    region = box(kept * (x0 - eps) + any_value * low, kept * (x0 + eps) + any_value * high)
    return forall(x, region & box(low, high), argmax(f(x)) == c)


def _masks(of: Term, places: Sequence[int]) -> tuple[Term, Term]:
    """1 at these places of the term's elements and 0 elsewhere; and the other way round."""
    size = math.prod(of.shape)
    wrong = [place for place in places if not 0 <= place < size]
    if wrong or not places:
        raise LabelError(
            f"free names element {wrong[0]} of {size}" if wrong else "no feature is free",
            cure=f"give places from 0 to {size - 1}, in row-major order",
        )
    chosen = [float(i in set(places)) for i in range(size)]
    rest = [1 - value for value in chosen]
    return reshape(chosen, of.shape), reshape(rest, of.shape)
