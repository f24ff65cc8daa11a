"""The intersection of two sets, in the form that serves them best."""

from __future__ import annotations

from robustbench_local.errors import EmptySetError, SpecError

from .ball import Ball
from .box import Box
from .choice import Choice
from .input_set import InputSet
from .intersection import Intersection
from .levels import Levels
from .patch import Patch
from .polytope import Polytope
from .sparse_ball import SparseBall
from .union import Union
from .weighted_ball import WeightedBall

__all__ = ["meet"]

_CUT_BY_BOXES = Ball | Intersection | Levels | Patch | Polytope | SparseBall | WeightedBall


def meet(left: InputSet, right: InputSet) -> InputSet:
    """The points of both sets, which have one batch and one shape.

    Raises ShapeError, EmptySetError, or SpecError where no set can hold the intersection.
    """
    left, right = _plain(left), _plain(right)
    if isinstance(left, Box) and isinstance(right, Box):
        return left & right
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Union):
            return Union([_part(member, other, i) for i, member in enumerate(one.members)])
        if isinstance(one, Choice):
            return one & other
        if isinstance(one, _CUT_BY_BOXES) and isinstance(other, Box):
            return one & other
    if isinstance(left, Polytope) and isinstance(right, Polytope):
        return left & right
    if isinstance(left, Levels) and isinstance(right, Levels):
        return left & right
    raise SpecError(
        f"the intersection of {left!r} and {right!r} is not supported", cure="use one ball and boxes"
    )


def _part(member: InputSet, other: InputSet, i: int) -> InputSet:
    try:
        return meet(member, other)
    except EmptySetError as error:
        raise EmptySetError(
            f"member {i} of a union has no point in common with {other!r}: {error.what}",
            cure="leave it out of the union",
        ) from error


def _plain(one: InputSet) -> InputSet:
    """A linf ball as the box that it is."""
    return one.box() if isinstance(one, Ball) and isinstance(one.body, Box) else one
