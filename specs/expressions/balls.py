"""Balls of every norm: `ball` picks the node for l0, for radii per coordinate, and for the usual ones."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from robustbench_local.errors import ShapeError, SpecError, UnboundedSetError

from ..sets import Box, InputSet, SparseBall, axis_groups, ball_around, meet
from ..vocabulary import function
from .base import Bindings, Expr, Formula, Term, term
from .domains import BallDomain, Domain, constant_term, points_of
from .leaves import Var

__all__ = ["SparseBallDomain", "WeightedBallDomain", "ball"]

_NORMS = (0, 1, 2, math.inf)


@dataclass(frozen=True, eq=False, repr=False)
class SparseBallDomain(Domain):
    """x differs from the centre in at most `count` coordinates, or groups along the axes `grouped`."""

    center: Term
    count: Term
    grouped: tuple[int, ...]
    bounded = False

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.center, self.count

    @property
    def text(self) -> str:
        axes = self.grouped[0] if len(self.grouped) == 1 else self.grouped
        groups = f", grouped={axes}" if self.grouped else ""
        return f"ball({self.center.text}, {self.count.text}, p=0{groups})"

    def within(self, env: Bindings, shape: tuple[int, ...], limits: Box | None) -> InputSet:
        if limits is None:
            raise UnboundedSetError(
                f"`{self.text}` lets coordinates take any value", cure=f"write {self.text} & box(0, 1)"
            )
        groups = axis_groups(shape, self.grouped) if self.grouped else None
        count = env.scope.of(self.count).to(torch.float64).expand(env.batch)
        return SparseBall(points_of(self.center, env, shape), count, limits, groups=groups, dtype=env.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class WeightedBallDomain(Domain):
    """|(x - center) / radius|_p <= 1 with a radius for each coordinate; 0 fixes it at the centre."""

    center: Term
    radius: Term
    p: float

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.center, self.radius

    @property
    def text(self) -> str:
        return f"ball({self.center.text}, {self.radius.text}, p={self.p:g})"

    def within(self, env: Bindings, shape: tuple[int, ...], limits: Box | None) -> InputSet:
        if self.radius.shape != shape:
            raise ShapeError(f"`{self.radius.text}` has shape {self.radius.shape}, the variable {shape}")
        radius = points_of(self.radius, env, shape)
        built = ball_around(points_of(self.center, env, shape), radius, self.p, dtype=env.dtype)
        return built if limits is None else meet(built, limits)

    def spelled(self, variable: Var, several: bool) -> Formula | None:
        return self.claim(variable) if isinstance(self.center, Var) else None

    def claim(self, variable: Term) -> Formula:
        if not math.isinf(self.p):
            return super().claim(variable)  # refuses: a radius may be 0, where the quotient has no value
        return (variable - self.center <= self.radius) & (self.center - variable <= self.radius)


@function("ball")
def ball(
    center: object, radius: object, *, p: float = math.inf, grouped: int | tuple[int, ...] = ()
) -> Domain:
    """The points with |x - center|_p <= radius, p one of 0, 1, 2, math.inf.

    radius: a scalar term, or one of x's shape: then |(x - center) / radius|_p <= 1, where a coordinate of
    radius 0 is fixed. p = 0: at most `radius` coordinates differ from the centre; the others may take any
    value, so join a box by `&`. With `grouped`, coordinates that differ along these axes only count as
    one: of an image (C, H, W), grouped=0 counts pixels. The centre is free of variables, or, unless p is
    0, one variable itself: `ball(x, 0.1)(y)` couples y to x.
    """
    axes = (grouped,) if isinstance(grouped, int) else tuple(grouped)
    if axes and p != 0:
        raise SpecError(f"a ball of norm p = {p:g} has no groups", cure="use grouped= with p=0")
    if p == 0:
        count = constant_term("the number of coordinates", radius)
        if count.shape:
            raise ShapeError(f"`{count.text}` has shape {count.shape}", cure="give how many may change")
        return SparseBallDomain(constant_term("center", center), count, axes)
    if p not in _NORMS:
        raise SpecError(f"no ball of norm p = {p!r}", cure="supported: 0, 1, 2, inf")
    around, size = term(center), constant_term("radius", radius)
    if not (around.constant or isinstance(around, Var)):
        raise SpecError(
            f"center `{around.text}` depends on a variable", cure="use numbers, Data, or a Var itself"
        )
    if not size.shape:
        return BallDomain(around, size, float(p))
    if around.shape not in ((), size.shape):
        raise ShapeError(
            f"radius `{size.text}` has shape {size.shape}, center `{around.text}` {around.shape}",
            cure="give one number, or a radius for each coordinate",
        )
    if isinstance(around, Var) and not math.isinf(p):
        raise SpecError(
            f"a ball of norm p = {p:g} around the variable `{around.text}` has a radius per coordinate",
            cure="give one number, or use p = inf",
        )
    return WeightedBallDomain(around, size, float(p))
