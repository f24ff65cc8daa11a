"""The transformations as terms of the language: images and parameters are terms or numbers.

`rotate(x0, t.angle)` is a feature: verifiers bound it by operator rules, attacks differentiate through it.
"""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from ..expressions.base import Expr, Term, term
from ..expressions.scope import Scope
from ..vocabulary import function
from . import blur, colour, geometry, intensity

__all__ = [
    "Transformed",
    "affine",
    "bias_field",
    "brightness",
    "contrast",
    "gamma",
    "gaussian_blur",
    "hue",
    "motion_blur",
    "rotate",
    "saturation",
    "scale",
    "shear",
    "translate",
]


@dataclass(frozen=True, eq=False, repr=False)
class Transformed(Term):
    """function(image, parameters by name): an image of the same shape.

    options: settings that are no terms, as they stand in the text.
    """

    function: Callable[..., Tensor]
    name: str
    image: Term
    parameters: tuple[tuple[str, Term], ...]
    options: str = ""

    def __post_init__(self) -> None:
        if len(self.image.shape) != 3:
            raise ShapeError(
                f"`{self.image.text}` has shape {self.image.shape}",
                where=self.name,
                cure="give an image of shape (channels, height, width)",
            )
        given = {name: torch.ones(1, *parameter.shape) for name, parameter in self.parameters}
        self.function(torch.ones(1, *self.image.shape), **given)  # raises ShapeError where these do not fit

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.image, *(parameter for _, parameter in self.parameters))

    @property
    def text(self) -> str:
        parts = [self.image.text, *(f"{name}={parameter.text}" for name, parameter in self.parameters)]
        return f"{self.name}({', '.join([*parts, self.options] if self.options else parts)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def run(self, scope: Scope) -> Tensor:
        given = {name: scope.of(parameter) for name, parameter in self.parameters}
        return self.function(scope.of(self.image), **given)


@function("affine")
def affine(
    image: object,
    *,
    angle: object = None,
    factor: object = None,
    horizontal: object = None,
    vertical: object = None,
    right: object = None,
    down: object = None,
    border: bool = False,
) -> Term:
    """The image translated by (right, down) pixels, sheared, enlarged by factor, rotated by angle: at once.

    One interpolation, which is tighter and sharper than several in a row; parameters may be left out. The
    single ones are explained at `rotate`, `translate`, `scale` and `shear`. Outside the image everything is
    zero, with `border` as at the nearest edge. Raises ShapeError.
    """
    given = {
        "angle": angle,
        "factor": factor,
        "horizontal": horizontal,
        "vertical": vertical,
        "right": right,
        "down": down,
    }
    return _geometric(geometry.affine, "affine", image, border, **given)


@function("rotate")
def rotate(image: object, angle: object, *, border: bool = False) -> Term:
    """The image rotated about its centre by `angle` degrees, counter-clockwise; see `affine`."""
    return _geometric(geometry.rotate, "rotate", image, border, angle=angle)


@function("translate")
def translate(image: object, right: object, down: object, *, border: bool = False) -> Term:
    """The image moved by numbers of pixels, which need not be whole; see `affine`."""
    return _geometric(geometry.translate, "translate", image, border, right=right, down=down)


@function("scale")
def scale(image: object, factor: object, *, border: bool = False) -> Term:
    """The image enlarged about its centre by factor > 0; see `affine`."""
    return _geometric(geometry.scale, "scale", image, border, factor=factor)


@function("shear")
def shear(image: object, horizontal: object, *, border: bool = False) -> Term:
    """The image whose rows move right by `horizontal` times their depth below the centre; see `affine`."""
    return _geometric(geometry.shear, "shear", image, border, horizontal=horizontal)


@function("brightness")
def brightness(image: object, shift: object) -> Term:
    """image + shift."""
    return _made(intensity.brightness, "brightness", image, shift=shift)


@function("contrast")
def contrast(image: object, factor: object, *, pivot: float = 0.5) -> Term:
    """pivot + factor (image - pivot)."""
    function = partial(intensity.contrast, pivot=float(pivot))
    return _made(function, "contrast", image, f"pivot={float(pivot)!r}", factor=factor)


@function("gamma")
def gamma(image: object, exponent: object, *, toe: float = 1 / 256) -> Term:
    """image ** exponent, for an image in [0, 1] and exponent > 0; a straight line below `toe`."""
    function = partial(intensity.gamma, toe=float(toe))
    return _made(function, "gamma", image, f"toe={float(toe)!r}", exponent=exponent)


@function("bias_field")
def bias_field(image: object, coefficients: object) -> Term:
    """The image times a polynomial of the place: coefficients of 1, x, y, x^2, xy, y^2, ... on [-1, 1].

    coefficients: a vector of 1, 3, 6, 10, ... numbers; (1, 0, 0, ...) changes nothing.
    """
    return _made(intensity.bias_field, "bias_field", image, coefficients=coefficients)


@function("saturation")
def saturation(image: object, factor: object) -> Term:
    """grey + factor (image - grey), of red, green and blue; grey is the luma of ITU-R BT.601."""
    return _made(colour.saturation, "saturation", image, factor=factor)


@function("hue")
def hue(image: object, degrees: object) -> Term:
    """The image of red, green and blue with all hues turned by degrees within [-180, 180]."""
    return _made(colour.hue, "hue", image, degrees=degrees)


@function("gaussian_blur")
def gaussian_blur(image: object, sigma: object, *, radius: int = 2, border: bool = False) -> Term:
    """The image smoothed by a Gaussian of standard deviation sigma > 0, in pixels, cut off at `radius`."""
    function = partial(blur.gaussian_blur, radius=int(radius), border=border)
    return _made(function, "gaussian_blur", image, f"radius={int(radius)}, border={border}", sigma=sigma)


@function("motion_blur")
def motion_blur(
    image: object,
    length: object,
    *,
    direction: Sequence[int] = (0, 1),
    radius: int = 2,
    border: bool = False,
) -> Term:
    """The image averaged along strokes of `length` steps in [1, 2 radius + 1]; direction: (down, right)."""
    down, right = direction
    function = partial(blur.motion_blur, direction=(down, right), radius=int(radius), border=border)
    options = f"direction=[{down}, {right}], radius={int(radius)}, border={border}"
    return _made(function, "motion_blur", image, options, length=length)


def _geometric(
    function: Callable[..., Tensor], name: str, image: object, border: bool, **parameters: object
) -> Term:
    options = "border=True" if border else ""
    return _made(partial(function, border=border), name, image, options, **parameters)


def _made(
    function: Callable[..., Tensor], name: str, image: object, options: str = "", **parameters: object
) -> Term:
    given = tuple((key, term(value)) for key, value in parameters.items() if value is not None)
    return Transformed(function, name, term(image), given, options)
