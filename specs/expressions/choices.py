"""`choice`: the variable, or a part of it, is one of finitely many values; `segment`: a line of points."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import math
import operator as python_operator
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from robustbench_local.errors import RadiusError, ShapeError, SpecError, UnboundedSetError

from ..sets import Box, Choice, InputSet, Levels, Segment, meet
from ..vocabulary import function
from .base import Bindings, Expr, Formula, Term, term
from .domains import Domain, Placed, constant_term, points_of
from .indexing import Element
from .leaves import Label, Var

__all__ = ["ChoiceDomain", "ElementChoice", "SegmentDomain", "choice", "segment"]


@dataclass(frozen=True, eq=False, repr=False)
class ChoiceDomain(Domain):
    """x is one of the points (N, *shape), the first `count` of them if given."""

    points: Term
    count: Term | None

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.points,) if self.count is None else (self.points, self.count)

    @property
    def text(self) -> str:
        count = "" if self.count is None else f", count={self.count.text}"
        return f"choice({self.points.text}{count})"

    def within(self, env: Bindings, shape: tuple[int, ...], limits: Box | None) -> InputSet:
        points = _values(self.points, shape, env)
        found = Choice(points, _mask(self.count, points, env), dtype=env.dtype)
        return found if limits is None else meet(found, limits)

    def claim(self, variable: Term) -> Formula:
        return super().claim(variable) if self.count is not None else _one_of(variable, self.points)


@dataclass(frozen=True, eq=False, repr=False)
class ElementChoice(Domain):
    """The part `element` of the variable is one of the values (N, *element.shape)."""

    element: Element
    values: Term
    bounded = False

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.element, self.values

    @property
    def text(self) -> str:
        return f"choice({self.element.text}, {self.values.text})"

    def within(self, env: Bindings, shape: tuple[int, ...], limits: Box | None) -> InputSet:
        if limits is None:
            raise UnboundedSetError(
                f"`{self.text}` leaves the other coordinates free", cure=f"write {self.text} & box(0, 1)"
            )
        every = torch.arange(math.prod(shape)).reshape(self.element.of.shape or (1,))
        index = every[tuple(item for item in self.element.items if not isinstance(item, Label))].reshape(-1)
        values = _values(self.values, self.element.shape or (1,), env).flatten(2)
        return Levels(limits, [(index, Choice(values, dtype=env.dtype))])

    def text_on(self, variable: Var) -> str:
        return self.text  # which names the variable

    def spelled(self, variable: Var, several: bool) -> Formula | None:
        # a union of cells, each of which may be coupled to other variables
        return self.claim(variable) if several else None

    def claim(self, variable: Term) -> Formula:
        return _one_of(self.element, self.values)


@dataclass(frozen=True, eq=False, repr=False)
class SegmentDomain(Domain):
    """x = first + t (second - first) for a real t in [0, 1]."""

    first: Term
    second: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.first, self.second

    @property
    def text(self) -> str:
        return f"segment({self.first.text}, {self.second.text})"

    def build(self, env: Bindings, shape: tuple[int, ...]) -> Segment:
        first, second = points_of(self.first, env, shape), points_of(self.second, env, shape)
        return Segment(first, second, dtype=env.dtype)

    def at(self, t: Term) -> Term:
        """The point at the number t: what stands for x where t is the variable instead, over box(0, 1)."""
        return self.first + t * (self.second - self.first)


@function("choice")
def choice(values: object, among: object = None, *, count: object = None) -> Domain | Placed:
    """choice(points): the variable is one of the points, a term (N, *shape); (N,) for a number.

    choice(x[3], values) or choice(x[3:6], rows): that part of the variable is one of the values, the rest
    is free, so join a box by `&`. count: with points, how many of the first ones belong to each problem.
    """
    if among is None:
        points = constant_term("the points", values)
        size = None if count is None else constant_term("count", count)
        _check_several(points)
        return ChoiceDomain(points, size)
    if count is not None:
        raise SpecError("count= with the values of an element", cure="list the values that are possible")
    element, found = term(values), constant_term("the values", among)
    if isinstance(element, Var):
        return ChoiceDomain(found, None)(element)
    if not isinstance(element, Element) or not isinstance(element.of, Var):
        raise SpecError(
            f"`{element.text}` is no element of a variable",
            cure="write choice(x[3], values) or choice(points)",
        )
    if any(isinstance(item, Label) for item in element.items):
        raise SpecError(f"`{element.text}` is indexed by a label", cure="use integers and slices")
    _check_several(found)
    if found.shape[1:] != element.shape:
        raise ShapeError(
            f"`{element.text}` has shape {element.shape}, the values `{found.text}` {found.shape}",
            cure="give the values along the first axis",
        )
    return ElementChoice(element, found)(element.of)


@function("segment")
def segment(first: object, second: object) -> SegmentDomain:
    """The points first + t (second - first), 0 <= t <= 1, of the real line between two constant points.

    Few floats lie on it: see `Segment`. To search along it, quantify over t: `segment(a, b).at(t)`.
    """
    ends = constant_term("first", first), constant_term("second", second)
    if ends[0].shape != ends[1].shape:
        raise ShapeError(f"`{ends[0].text}` has shape {ends[0].shape}, `{ends[1].text}` {ends[1].shape}")
    return SegmentDomain(*ends)


def _check_several(points: Term) -> None:
    if not points.shape:
        raise ShapeError(f"`{points.text}` is one number", cure="give a list of points or of numbers")


def _one_of(variable: Term, points: Term) -> Formula:
    claims: list[Formula] = [variable == points[i] for i in range(points.shape[0])]
    return reduce(python_operator.or_, claims)


def _values(points: Term, shape: tuple[int, ...], env: Bindings) -> Tensor:
    """The points (B, N, *shape); numbers (N,) serve a shape of one element."""
    rows = points.shape[1:]
    if rows != shape and not (not rows and math.prod(shape) == 1):
        raise ShapeError(
            f"`{points.text}` has shape {points.shape}, the points need {shape} after the first axis"
        )
    numbers = env.scope.of(points).to(torch.float64)
    return numbers.reshape(-1, points.shape[0], *shape).expand(env.batch, *[-1] * (len(shape) + 1))


def _mask(count: Term | None, points: Tensor, env: Bindings) -> Tensor | None:
    if count is None:
        return None
    number = env.scope.of(count).to(torch.float64).expand(env.batch)
    bad = ~((number >= 1) & (number <= points.shape[1]) & (number == number.floor()))
    if bool(bad.any()):
        raise RadiusError(
            f"count is {float(number[bad][0])}", cure=f"give a whole number from 1 to {points.shape[1]}"
        )
    return torch.arange(points.shape[1], device=points.device) < number.unsqueeze(1)
