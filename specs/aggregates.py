"""What is said of many problems, or of a quantity: every, rate, chance, measure.

These are built from specs and evaluated by `robustbench_local.aggregates`; a spec alone is about the
worst point of one set.
"""

# ruff: noqa: D102 (the members of a distribution are described once, by `Distribution`)

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from robustbench_local.errors import RadiusError, ShapeError, SpecError

from .bindings import bind
from .expressions.base import Bindings, Formula, Term, term
from .expressions.domains import Domain, box, points_of
from .expressions.leaves import Var
from .expressions.scope import Scope
from .expressions.values import Emitter
from .lowering import wide_values
from .query import Query
from .spec import Networks, Spec, forall

__all__ = [
    "Chance",
    "ChanceClaim",
    "Distribution",
    "Every",
    "Law",
    "Measure",
    "Normal",
    "Rate",
    "RateClaim",
    "Uniform",
    "chance",
    "each",
    "measure",
    "normal",
    "rate",
    "uniform",
]

T = TypeVar("T")

_TAILS = 9.0  # standard deviations: a coordinate lies outside with probability 2.3e-19


@dataclass(frozen=True, eq=False, repr=False)
class Every:
    """All of finitely many specs hold. Made by `each`."""

    specs: tuple[Spec, ...]

    @property
    def text(self) -> str:
        """The texts of the specs, one after the other."""
        return "\n\n".join(spec.text for spec in self.specs)

    @property
    def id(self) -> str:
        """sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Every({len(self.specs)} specs, {self.specs[0]!r}, ..)"


def each(values: Iterable[T], build: Callable[[T], Spec]) -> Every:
    """The property that build(v) holds for every one of finitely many values: a property per class, say."""
    specs = tuple(build(value) for value in values)
    if not specs:
        raise SpecError("each() of no values", cure="give at least one")
    return Every(specs)


@dataclass(frozen=True, eq=False)
class Rate:
    """The share of a spec's problems (rows of a data set) that hold; compare it with >= or <=."""

    spec: Spec

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"rate({self.spec.text})"

    def __ge__(self, threshold: float) -> RateClaim:
        return RateClaim(self, _share(threshold), True)

    def __le__(self, threshold: float) -> RateClaim:
        return RateClaim(self, _share(threshold), False)


@dataclass(frozen=True, eq=False, repr=False)
class RateClaim:
    """rate(spec) >= threshold (`at_least`) or <= threshold."""

    rate: Rate
    threshold: float
    at_least: bool

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"{self.rate.text} {'>=' if self.at_least else '<='} {self.threshold!r}"

    def __repr__(self) -> str:
        return f"RateClaim({self.text.rsplit(chr(10), 1)[-1]})"


def rate(spec: Spec) -> Rate:
    """The share of the problems that a spec's data give which hold: `rate(robust) >= 0.6`."""
    if not isinstance(spec, Spec):
        raise SpecError(f"rate() of {spec!r}", cure="give a spec, made by forall or exists")
    return Rate(spec)


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """Independent coordinates as numbers, `centre` and `scale` (B, n): normal, or uniform in centre -+ scale.

    Uniform coordinates of scale 0 are fixed.
    """

    centre: Tensor
    scale: Tensor
    normal: bool

    def draw(self, index: int, count: int, generator: torch.Generator) -> Tensor:
        """`count` points of problem `index`, (count, n) float64."""
        centre, scale = self.centre[index], self.scale[index]
        shape = (count, len(centre))
        if self.normal:
            return centre + scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        return centre + scale * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)

    def mass(self, index: int, lower: Tensor, upper: Tensor) -> Tensor:
        """Lower bounds of the probability of boxes (k, n) of problem `index`: (k,).

        Products of differences of distribution functions, less their rounding errors.
        """
        low, high = (self._standard(index, face) for face in (lower, upper))
        each_axis = torch.where(self.scale[index] > 0, high - low, 1.0)
        n = each_axis.shape[1]
        return (each_axis.clamp(min=0).prod(1) * (1 - 1e-15 * (4 + 2 * n)) - n * 1e-15).clamp(min=0)

    def _standard(self, index: int, face: Tensor) -> Tensor:
        scaled = (face - self.centre[index]) / self.scale[index]
        if self.normal:
            below: Tensor = torch.special.ndtr(scaled)
            return below
        return ((scaled + 1) / 2).clamp(0, 1)


class Distribution(ABC):
    """How a variable is drawn; its coordinates are independent."""

    @property
    @abstractmethod
    def text(self) -> str:
        """Canonical text."""

    @abstractmethod
    def support(self) -> Domain:
        """A box that holds the variable, but for a probability below 1e-18 per coordinate."""

    @abstractmethod
    def law(self, env: Bindings, shape: tuple[int, ...]) -> Law:
        """The distribution as numbers, each (B, n)."""


@dataclass(frozen=True, eq=False)
class Normal(Distribution):
    """Independent normal coordinates with a mean and a standard deviation > 0 (a number, or one each)."""

    mean: Term
    deviation: Term

    @property
    def text(self) -> str:
        return f"normal({self.mean.text}, {self.deviation.text})"

    def support(self) -> Domain:
        return box(self.mean - _TAILS * self.deviation, self.mean + _TAILS * self.deviation)

    def law(self, env: Bindings, shape: tuple[int, ...]) -> Law:
        mean, deviation = points_of(self.mean, env, shape), points_of(self.deviation, env, shape)
        if not bool((deviation > 0).all()):
            raise RadiusError(f"standard deviation `{self.deviation.text}` is not above 0")
        return Law(mean.reshape(env.batch, -1), deviation.reshape(env.batch, -1), True)


@dataclass(frozen=True, eq=False)
class Uniform(Distribution):
    """Independent coordinates, uniform between two ends."""

    lower: Term
    upper: Term

    @property
    def text(self) -> str:
        return f"uniform({self.lower.text}, {self.upper.text})"

    def support(self) -> Domain:
        return box(self.lower, self.upper)

    def law(self, env: Bindings, shape: tuple[int, ...]) -> Law:
        lower, upper = points_of(self.lower, env, shape), points_of(self.upper, env, shape)
        centre, scale = (lower + upper) / 2, (upper - lower) / 2
        return Law(centre.reshape(env.batch, -1), scale.reshape(env.batch, -1), False)


def normal(mean: object, deviation: object) -> Distribution:
    """Independent normal coordinates: mean and standard deviation, numbers or terms free of variables."""
    return Normal(term(mean), term(deviation))


def uniform(lower: object, upper: object) -> Distribution:
    """Independent coordinates, uniform between two ends: numbers or terms free of variables."""
    return Uniform(term(lower), term(upper))


@dataclass(frozen=True, eq=False)
class Chance:
    """The probability that a formula is true of a random variable; compare it with >= or <=."""

    variable: Var
    distribution: Distribution
    body: Formula

    @property
    def spec(self) -> Spec:
        """The property that the formula is true on the whole support."""
        return forall(self.variable, self.distribution.support(), self.body)

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"chance {self.variable.declaration} ~ {self.distribution.text}: {self.body.text}"

    def law(self, values: Mapping[str, object]) -> Law:
        """The distribution as numbers, for the values that a query of `spec` is bound to."""
        spec = self.spec
        found = bind(spec.slots, values)
        scope = Scope(
            wide_values(found, (spec.domain, spec.body)), {}, {}, {}, torch.zeros(0, dtype=torch.float64)
        )
        emitter = Emitter(found.batch, found.device)
        env = Bindings(found.values, scope, emitter, found.batch, found.device, found.dtype)
        return self.distribution.law(env, self.variable.shape or (1,))

    def __ge__(self, threshold: float) -> ChanceClaim:
        return ChanceClaim(self, _share(threshold), True)

    def __le__(self, threshold: float) -> ChanceClaim:
        return ChanceClaim(self, _share(threshold), False)


@dataclass(frozen=True, eq=False, repr=False)
class ChanceClaim:
    """chance >= threshold (`at_least`) or <= threshold."""

    chance: Chance
    threshold: float
    at_least: bool

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"{self.chance.text} {'>=' if self.at_least else '<='} {self.threshold!r}"

    def __repr__(self) -> str:
        return f"ChanceClaim({self.text})"


def chance(variable: Var, distribution: Distribution, body: Formula) -> Chance:
    """The probability of a formula: `chance(x, normal(x0, 0.1), argmax(f(x)) == c) >= 0.99`."""
    if not isinstance(distribution, Distribution):
        raise SpecError(f"chance() draws from {distribution!r}", cure="use normal(..) or uniform(..)")
    return Chance(variable, distribution, body)


@dataclass(frozen=True, eq=False)
class Measure:
    """The largest value of a quantity over a domain; evaluated to a bracket."""

    quantity: Term
    spec: Spec

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"measure {self.quantity.text} over {self.spec.domain.text}"

    def query(self, network: Networks, /, **values: object) -> Query:
        """The problems whose violation is the quantity."""
        return self.spec.query(network, **values)


def measure(variables: Var | Sequence[Var], domain: Domain | Formula, quantity: object) -> Measure:
    """The largest value of a scalar term over a domain: a local Lipschitz constant, a worst error."""
    found = term(quantity)
    if found.shape:
        raise ShapeError(
            f"`{found.text}` has shape {found.shape}", cure="measure a number: vmax(..), norm(..)"
        )
    return Measure(found, forall(variables, domain, found <= 0))


def _share(threshold: float) -> float:
    if isinstance(threshold, bool) or not 0 <= float(threshold) <= 1:
        raise SpecError(f"a share of {threshold!r}", cure="give a number from 0 to 1")
    return float(threshold)
