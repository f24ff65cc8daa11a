"""The intersection of two sets, in the form that serves them best."""

from __future__ import annotations

from robustbench_local.errors import SpecError

from .ball import Ball
from .box import Box
from .input_set import InputSet
from .intersection import Intersection
from .polytope import Polytope

__all__ = ["meet"]


def meet(left: InputSet, right: InputSet) -> InputSet:
    """The points of both sets, which have one batch and one shape.

    Raises ShapeError, EmptySetError, or SpecError where no set can hold the intersection.
    """
    left, right = _plain(left), _plain(right)
    if isinstance(left, Box) and isinstance(right, Box):
        return left & right
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Ball | Intersection | Polytope) and isinstance(other, Box):
            return one & other
    if isinstance(left, Polytope) and isinstance(right, Polytope):
        return left & right
    raise SpecError(
        f"the intersection of {left!r} and {right!r} is not supported", cure="use one ball and boxes"
    )


def _plain(one: InputSet) -> InputSet:
    """A linf ball as the box that it is."""
    return one.box() if isinstance(one, Ball) and isinstance(one.body, Box) else one
