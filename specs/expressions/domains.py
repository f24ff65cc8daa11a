"""Where variables range: sets around terms, placed on a variable by a call, and joined by `&` and `|`."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError, SpecError

from ..sets import Ball, Box, InputSet, meet
from ..tree import Tree
from ..vocabulary import function
from .base import Bindings, Expr, Formula, Term, describe, spec_error, term
from .leaves import Var

__all__ = [
    "BallDomain",
    "BoxDomain",
    "Conjunction",
    "Domain",
    "Either",
    "Placed",
    "box",
    "constant_term",
    "points_of",
]


class Domain(Expr):
    """A symbolic input set of one variable: `D(x)` places it, `&` intersects, `|` unites.

    Conditions on the variable may be joined by `&`: `box(0, 1) & (x[0] <= x[1])`.
    """

    __slots__ = ()
    is_domain = True
    bounded = True  # False: needs the limits that `within` gets

    def build(self, env: Bindings, shape: tuple[int, ...]) -> InputSet:
        """The set of B problems over points of `shape`."""
        raise spec_error("E-UNBOUND", f"`{self.text}` has no bounds of its own", "intersect it with box(..)")

    def within(self, env: Bindings, shape: tuple[int, ...], limits: Box | None) -> InputSet:
        """The part of the set inside the limits, which all boxes of the domain make together."""
        built = self.build(env, shape)
        return built if limits is None else meet(built, limits)

    def spelled(self, variable: Var, several: bool) -> Formula | None:
        """The affine conditions that stand for the domain where it is placed on one of (several) variables.

        None where it builds a set.
        """
        return None

    def text_on(self, variable: Var) -> str:
        """The text of the domain placed on a variable."""
        return f"{self.text_in(8)}({variable.text})"

    def claim(self, variable: Term) -> Formula:
        """The statement that a term lies inside, as a formula."""
        raise spec_error(
            "E-NONLIN",
            f"`{self.text}` cannot be a condition inside a formula",
            "use it in the domain, joined by `&`",
        )

    def __call__(self, variable: Var) -> Placed:
        if not isinstance(variable, Var):
            raise SpecError(f"`{self.text}` is placed on {describe(variable)}", cure="place it on a Var")
        return Placed(self, variable)

    def __and__(self, other: object) -> Domain:  # type: ignore[override]
        return Conjunction(self, _condition(other))

    def __rand__(self, other: object) -> Domain:  # type: ignore[override]
        return Conjunction(_condition(other), self)

    def __or__(self, other: object) -> Domain:  # type: ignore[override]
        if not isinstance(other, Domain):
            raise SpecError(f"{describe(other)} is no domain", cure="`|` unites domains")
        return Either(self, other)

    def __sub__(self, other: object) -> Domain:
        """The points outside of a closed set; the boundary of that set is left out with it."""
        if not isinstance(other, Domain):
            raise SpecError(f"{describe(other)} is no domain", cure="`-` takes one domain out of another")
        return Conjunction(self, Outside(other))


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
        return Box(points_of(self.lower, env, shape), points_of(self.upper, env, shape), dtype=env.dtype)

    def claim(self, variable: Term) -> Formula:
        return (self.lower <= variable) & (variable <= self.upper)


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

    def build(self, env: Bindings, shape: tuple[int, ...]) -> InputSet:
        radius = env.scope.of(self.radius).to(torch.float64).expand(env.batch)
        return Ball(points_of(self.center, env, shape), radius, self.p, dtype=env.dtype)

    def claim(self, variable: Term) -> Formula:
        from .norms import norm  # norms compare with balls nowhere else

        return norm(variable - self.center, self.p) <= self.radius


@dataclass(frozen=True, eq=False, repr=False)
class Conjunction(Domain):
    """Two domains or conditions at once."""

    left: Domain | Formula
    right: Domain | Formula
    precedence = 3

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        if isinstance(self.right, Outside):
            return f"{self.left.text_in(4)} - {self.right.of.text_in(5)}"
        return f"{self.left.text_in(2)} & {self.right.text_in(3)}"

    @property
    def precedence_of_text(self) -> int:
        return 5 if isinstance(self.right, Outside) else 3

    def text_in(self, precedence: int) -> str:
        return self.text if self.precedence_of_text > precedence else f"({self.text})"

    def claim(self, variable: Term) -> Formula:
        parts = [p.claim(variable) if isinstance(p, Domain) else p for p in (self.left, self.right)]
        return parts[0] & parts[1]


@dataclass(frozen=True, eq=False, repr=False)
class Either(Domain):
    """The union of two domains."""

    left: Domain
    right: Domain
    precedence = 1

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(0)} | {self.right.text_in(1)}"

    def claim(self, variable: Term) -> Formula:
        return self.left.claim(variable) | self.right.claim(variable)


@dataclass(frozen=True, eq=False, repr=False)
class Outside(Domain):
    """The points that do not lie in a domain; only together with a bounded one."""

    of: Domain

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"~{self.of.text_in(7)}"

    def claim(self, variable: Term) -> Formula:
        return ~self.of.claim(variable)


@dataclass(frozen=True, eq=False, repr=False)
class Placed(Formula):
    """A domain placed on a variable: `box(0, 1)(x)`; a formula that says that x lies inside."""

    domain: Domain
    variable: Var

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.domain, self.variable

    @property
    def text(self) -> str:
        return self.domain.text_on(self.variable)

    def tree(self, env: Bindings, negated: bool) -> Tree:
        return self.domain.claim(self.variable).tree(env, negated)


@function("box")
def box(lower: object, upper: object) -> Domain:
    """The points with lower <= x <= upper: numbers, constants of x's shape, Data, Param or sums of them."""
    return BoxDomain(constant_term("lower", lower), constant_term("upper", upper))


def points_of(bound: Term, env: Bindings, shape: tuple[int, ...]) -> Tensor:
    """A constant term as points (B, *shape) in float64, scalars repeated; ShapeError for another shape."""
    if bound.shape not in ((), shape):
        raise ShapeError(f"`{bound.text}` has shape {bound.shape}, the variable {shape}")
    number = env.scope.of(bound).to(torch.float64)
    if not bound.shape:
        number = number.reshape(-1, *[1] * len(shape))
    return number.expand(env.batch, *shape)


def constant_term(name: str, value: object) -> Term:
    """A term that is free of variables, else SpecError."""
    bound = term(value)
    if not bound.constant:
        raise SpecError(f"{name} `{bound.text}` depends on the variable", cure="use numbers, Data and Param")
    return bound


def _condition(value: object) -> Domain | Formula:
    if isinstance(value, (Domain, Formula)):
        return value
    raise SpecError(
        f"{describe(value)} is no domain",
        cure="join domains and conditions on the variables: box(0, 1) & (x[0] <= x[1])",
    )
