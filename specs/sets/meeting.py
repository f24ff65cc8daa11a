"""The intersection of two sets, in the form that serves them best."""

from __future__ import annotations

from robustbench_local.errors import EmptySetError, ShapeError

from .ball import Ball
from .box import Box, box_apart
from .choice import Choice
from .common_points import Meet
from .coupled import Coupled
from .coupled_ball import CoupledBall
from .input_set import InputSet
from .intersection import Intersection
from .levels import Levels
from .patch import Patch
from .polytope import Polytope
from .product import Product
from .sparse_ball import SparseBall
from .token_set import TokenSet
from .union import Union
from .weighted_ball import WeightedBall

__all__ = ["meet"]

_CUT_BY_BOXES = Ball | Intersection | Levels | Patch | Polytope | SparseBall | WeightedBall


def meet(left: InputSet, right: InputSet) -> InputSet:
    """The points of both sets, which have one batch and one shape.

    What has no better form becomes a `Meet`. Raises ShapeError or EmptySetError.
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
    for one, other in ((left, right), (right, left)):
        if isinstance(one, TokenSet) and isinstance(other, Box) and _alike(one, other):
            inside = one.within(other)
            if inside is not None:
                return inside
        if isinstance(one, Product | Coupled | CoupledBall) and isinstance(other, Box):
            return _joint(one, other)
    if isinstance(left, Product) and isinstance(right, Product) and left.shapes == right.shapes:
        return Product([meet(*pair) for pair in zip(left.blocks, right.blocks, strict=True)])
    return Meet([part for one in (left, right) for part in (one.sets if isinstance(one, Meet) else [one])])


def _alike(one: InputSet, other: InputSet) -> bool:
    return (one.batch, one.shape) == (other.batch, other.shape)


def _joint(one: Product | Coupled | CoupledBall, box: Box) -> InputSet:
    """A set over several variables cut by a flat box, which each variable takes its part of."""
    if not _alike(one, box):
        raise ShapeError(
            f"cannot intersect {(one.batch, *one.shape)} with a box of shape {(box.batch, *box.shape)}"
        )
    parts = box_apart(box, one.shapes)
    if isinstance(one, Product):
        return Product([meet(block, part) for block, part in zip(one.blocks, parts, strict=True)])
    if isinstance(one, Coupled):
        return Coupled(one.boxes[0] & parts[0], one.boxes[1] & parts[1], *one.gap)
    boxes = one.pairs.boxes
    return CoupledBall(boxes[0] & parts[0], boxes[1] & parts[1], one.radius, one.p)


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
