"""The intersection of two sets, in the form that serves them best."""

from __future__ import annotations

from robustbench_local.errors import SpecError

from .ball import Ball
from .box import Box
from .input_set import InputSet
from .intersection import Intersection

__all__ = ["meet"]


def meet(left: InputSet, right: InputSet) -> InputSet:
    """The points of both sets, which have one batch and one shape.

    Raises ShapeError, EmptySetError, or SpecError where no set can hold the intersection.
    """
    if isinstance(left, Box) and isinstance(right, Box):
        return left & right
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Ball) and isinstance(other, (Box, Ball)) and (_is_box(one) or _is_box(other)):
            return one & other
        if isinstance(one, Intersection) and isinstance(other, (Box, Ball)) and _is_box(other):
            return one & other
    raise SpecError(
        f"the intersection of {left!r} and {right!r} is not supported", cure="use one ball and boxes"
    )


def _is_box(one: Box | Ball) -> bool:
    return isinstance(one, Box) or isinstance(one.body, Box)
