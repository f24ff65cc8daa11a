"""Detectors and segmentations: overlap of boxes, number of pixels that keep their class."""

from __future__ import annotations

import math

from ..expressions import Data, Net, Param, Shape, Var, at_least, iou
from ..spec import Spec, forall
from .regions import around
from .registry import spec

__all__ = ["detected_box", "segmentation"]


@spec("detected_box", numbers=(41,), form="N", suits="detectors")
def detected_box(
    shape: Shape,
    outputs: int = 4,
    *,
    first: int = 0,
    p: float = math.inf,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: iou(box of f(x), truth) >= tau.

    The box is the four outputs from `first`: left, top, right, bottom. Bind x0 (B, *shape), eps, the true box
    (B, 4) as `truth`, of positive area, and tau. Violation: tau minus the intersection over union, a strict
    atom. Source: N. Cohen et al., Verification for object detection, IBP IoU, arXiv 2403.08788.
    """
    x0, truth = Data("x0", shape), Data("truth", 4)
    x, f = Var("x", like=x0), Net("f", shape, outputs)
    found = f(x)[first : first + 4]
    return forall(x, around(x0, Param("eps"), p, bounds), iou(found, truth) >= Param("tau"))


@spec("segmentation", numbers=(42,), form="L", suits="U-Nets and other segmentations into two classes")
def segmentation(
    shape: Shape,
    outputs: Shape,
    *,
    kept: int,
    p: float = math.inf,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: sign_i f(x)_i > 0 for at least `kept` pixels
    i.

    f gives one logit per pixel, positive for the foreground. Bind x0 (B, *shape), eps and sign (B, *outputs),
    1 for pixels of the foreground, -1 for others. Violation: the (n - kept + 1)-th largest of -sign_i f_i of
    n pixels, closed atoms. Source: the carvana_unet benchmark of VNN-COMP 2022, C. Brix et al., arXiv
    2301.05815.
    """
    x0, sign = Data("x0", shape), Data("sign", outputs)
    x, f = Var("x", like=x0), Net("f", shape, outputs)
    return forall(x, around(x0, Param("eps"), p, bounds), at_least(kept, sign * f(x) > 0))
