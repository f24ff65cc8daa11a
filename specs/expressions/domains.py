"""Where the variable ranges: boxes and balls around terms, joined by `&`; each builds an input set."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError, SpecError

from ..sets import Ball, Box, Intersection, check_norm
from .base import Bindings, Expr, Term, describe, term
from .values import constant_of

__all__ = ["BallDomain", "BoxDomain", "Domain", "Meet", "ball", "box"]


BuiltSet = Box | Ball | Intersection
"""The sets that the language can build so far."""


class Domain(Expr):
    """A symbolic input set; `&` intersects two."""

    __slots__ = ()

    @abstractmethod
    def build(self, env: Bindings, shape: tuple[int, ...]) -> BuiltSet:
        """The set of B problems over points of `shape`."""

    def __and__(self, other: object) -> Domain:  # type: ignore[override]
        if not isinstance(other, Domain):
            raise SpecError(
                f"{describe(other)} is no domain",
                cure="supported: box(lo, hi), ball(center, radius, p=) and their `&`; "
                "conditions on outputs go into the body with implies",
            )
        return Meet(self, other)


@dataclass(frozen=True, eq=False, repr=False)
class BoxDomain(Domain):
    """lower <= x <= upper."""

    lower: Term
    upper: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.lower, self.upper

    @property
    def text(self) -> str:
        return f"box({self.lower.text}, {self.upper.text})"

    def build(self, env: Bindings, shape: tuple[int, ...]) -> Box:
        return Box(_points(self.lower, env, shape), _points(self.upper, env, shape), dtype=env.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class BallDomain(Domain):
    """|x - center|_p <= radius."""

    center: Term
    radius: Term
    p: float

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.center, self.radius

    @property
    def text(self) -> str:
        return f"ball({self.center.text}, {self.radius.text}, p={self.p:g})"

    def build(self, env: Bindings, shape: tuple[int, ...]) -> Ball:
        radius = constant_of(self.radius.value(env)).expand(env.batch)
        return Ball(_points(self.center, env, shape), radius, self.p, dtype=env.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Meet(Domain):
    """The intersection of two domains."""

    left: Domain
    right: Domain
    precedence = 3

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(2)} & {self.right.text_in(3)}"

    def build(self, env: Bindings, shape: tuple[int, ...]) -> BuiltSet:
        return _meet(self.left.build(env, shape), self.right.build(env, shape))


def box(lower: object, upper: object) -> Domain:
    """The points with lower <= x <= upper: numbers, constants of x's shape, Data, Param or sums of them."""
    return BoxDomain(_constant("lower", lower), _constant("upper", upper))


def ball(center: object, radius: object, *, p: float = math.inf) -> Domain:
    """The points with |x - center|_p <= radius, p one of 1, 2, math.inf; radius a scalar term."""
    check_norm(p)
    size = _constant("radius", radius)
    if size.shape:
        raise ShapeError(f"radius `{size.text}` has shape {size.shape}", cure="give a scalar")
    return BallDomain(_constant("center", center), size, float(p))


def _constant(name: str, value: object) -> Term:
    bound = term(value)
    if not bound.constant:
        raise SpecError(f"{name} `{bound.text}` depends on the variable", cure="use numbers, Data and Param")
    return bound


def _points(bound: Term, env: Bindings, shape: tuple[int, ...]) -> Tensor:
    if bound.shape not in ((), shape):
        raise ShapeError(f"`{bound.text}` has shape {bound.shape}, the variable {shape}")
    number = constant_of(bound.value(env)).to(torch.float64)
    if not bound.shape:
        number = number.reshape(-1, *[1] * len(shape))
    return number.expand(env.batch, *shape)


def _meet(left: BuiltSet, right: BuiltSet) -> Box | Intersection:
    if isinstance(right, Intersection):
        left, right = right, left
    if isinstance(right, Intersection):
        raise SpecError(
            f"the intersection of {left!r} and {right!r} is not supported", cure="use one ball and boxes"
        )
    return right & left if isinstance(left, Box) else left & right
