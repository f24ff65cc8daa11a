"""A classifier keeps its answer although a few pixels, or one window, take any values."""

from __future__ import annotations

from ..expressions import Data, Label, Net, Param, Shape, Var, argmax, ball, box, patch
from ..spec import Spec, forall
from .registry import spec

__all__ = ["few_pixels", "patch_robustness"]


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
