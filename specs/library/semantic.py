"""Images changed by motion, light and lenses: the variable is the change, not the pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from robustbench_local.errors import SpecError

from .. import transforms
from ..expressions import Data, Label, Net, Shape, Term, Var, argmax, box
from ..spec import Spec, forall
from .registry import spec

__all__ = ["bias_field", "blur", "geometry", "light"]

_GEOMETRY = ("angle", "factor", "horizontal", "vertical", "right", "down")
_LIGHT: Mapping[str, Callable[[object, object], Term]] = {
    "brightness": transforms.brightness,
    "contrast": transforms.contrast,
    "gamma": transforms.gamma,
    "saturation": transforms.saturation,
    "hue": transforms.hue,
}


@spec("geometry", numbers=(21,), form="N", suits="image classifiers")
def geometry(
    shape: Shape, classes: int, *, parameters: Sequence[str] = ("angle",), border: bool = False
) -> Spec:
    """forall t, low <= t <= high: argmax f(affine(x0, t)) = c, the image rotated, moved, enlarged, sheared.

    parameters: which of angle (degrees), factor, horizontal, vertical (shear), right, down (pixels) t holds,
    in this order. Bind x0 (B, C, H, W), c (B,), and low, high (B, len(parameters)). One resampling by
    bilinear interpolation; outside the image zero, with `border` the nearest edge. Violation: max over j != c
    of f_j - f_c, closed atoms. Source: J. Mohapatra et al., Towards verifying robustness of neural networks
    against a family of semantic perturbations, CVPR 2020, arXiv 1912.09533.
    """
    x0, t = Data("x0", shape), _changes(parameters, _GEOMETRY)
    given = {name: t[i] for i, name in enumerate(parameters)}
    return _keeps_class(transforms.affine(x0, border=border, **given), t, classes)


@spec("light", numbers=(22,), form="N", suits="image classifiers")
def light(shape: Shape, classes: int, *, parameters: Sequence[str] = ("brightness", "contrast")) -> Spec:
    """forall t, low <= t <= high: argmax f(light(x0, t)) = c, the image made brighter, greyer, of another
    hue.

    parameters: which of brightness (added), contrast, gamma, saturation (factors and exponents, 1 changes
    nothing) and hue (degrees) t holds; applied in the order given. Values are not cut at 0 and 1. Bind x0 (B,
    C, H, W), c (B,), and low, high (B, len(parameters)). Violation: max over j != c of f_j - f_c, closed
    atoms. Source: J. Mohapatra et al., Towards verifying robustness of neural networks against a family of
    semantic perturbations, CVPR 2020, arXiv 1912.09533.
    """
    x0, t = Data("x0", shape), _changes(parameters, tuple(_LIGHT))
    image: Term = x0
    for i, name in enumerate(parameters):
        image = _LIGHT[name](image, t[i])
    return _keeps_class(image, t, classes)


@spec("blur", numbers=(23,), form="N", suits="image classifiers")
def blur(shape: Shape, classes: int, *, motion: bool = False, radius: int = 2, border: bool = True) -> Spec:
    """forall t, low <= t <= high: argmax f(blur(x0, t)) = c, for Gaussian blur or blur by horizontal motion.

    t is the standard deviation, > 0, or with `motion` the length of the stroke, both in pixels, cut off at
    `radius`. Bind x0 (B, C, H, W), c (B,), and low, high (B, 1). Violation: max over j != c of f_j - f_c,
    closed atoms. Source: B. Paterson et al., DeepCert: verification of contextually relevant robustness for
    neural network image classifiers, SAFECOMP 2021, arXiv 2103.01629.
    """
    x0, t = Data("x0", shape), _changes(("strength",), ("strength",))
    smooth = transforms.motion_blur if motion else transforms.gaussian_blur
    return _keeps_class(smooth(x0, t[0], radius=radius, border=border), t, classes)


@spec("bias_field", numbers=(23,), form="N", suits="image classifiers, magnetic resonance")
def bias_field(shape: Shape, classes: int, *, degree: int = 1) -> Spec:
    """forall t, low <= t <= high: argmax f(x0 field(t)) = c, brightness that varies smoothly over the image.

    field(t) is a polynomial of the place, t the coefficients of 1, x, y, x^2, xy, y^2, .., on [-1, 1], of all
    terms up to `degree`. Bind x0 (B, C, H, W), c (B,), and low, high (B, n), n = 1, 3, 6, 10, ..; (1, 0, ..)
    changes nothing. Violation: max over j != c of f_j - f_c, closed atoms. Source: P. Henriksen et al., Bias
    field robustness verification of large neural image classifiers, BMVC 2021.
    """
    x0, count = Data("x0", shape), (degree + 1) * (degree + 2) // 2
    t = Var("t", count)
    return _keeps_class(transforms.bias_field(x0, t), t, classes)


def _changes(parameters: Sequence[str], known: Sequence[str]) -> Var:
    """The variable whose elements are the parameters, each once."""
    wrong = [name for name in parameters if name not in known]
    if wrong or not parameters or len(set(parameters)) < len(parameters):
        raise SpecError(
            f"parameters are {list(parameters)}", cure=f"use some of {', '.join(known)}, each once"
        )
    return Var("t", len(parameters), names=parameters)


def _keeps_class(image: Term, t: Var, classes: int) -> Spec:
    c, f = Label("c", classes), Net("f", image.shape, classes)
    low, high = Data("low", t.shape), Data("high", t.shape)
    return forall(t, box(low, high), argmax(f(image)) == c)
