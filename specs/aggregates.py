"""What is said of many problems, or of a quantity: every, rate, chance, measure.

These are built from specs and evaluated by `robustbench_local.aggregates`; a spec alone is about the
worst point of one set.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from robustbench_local.errors import ShapeError, SpecError

from .bindings import bind
from .distributions import Distribution, Law
from .expressions.base import Bindings, Formula, Term, spec_error, term
from .expressions.constants import Constant, number_text
from .expressions.domains import Domain
from .expressions.leaves import Var
from .expressions.scope import Scope
from .expressions.values import Emitter
from .lowering import wide_values
from .printing import canonical_text
from .query import Query
from .spec import Networks, Spec, forall

__all__ = [
    "Chance",
    "ChanceClaim",
    "Every",
    "Measure",
    "OfOneSpec",
    "Rate",
    "RateClaim",
    "chance",
    "comparison_text",
    "each",
    "measure",
    "rate",
    "share",
]

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Every:
    """All of finitely many specs hold. Made by `each`."""

    specs: tuple[Spec, ...]

    @property
    def text(self) -> str:
        """Canonical text, which `parse_spec` reads."""
        return canonical_text({"": self})

    @property
    def id(self) -> str:
        """sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def declarations(self) -> Mapping[str, str]:
        """Name -> declaration line; E-PARAM where specs declare one name in two ways."""
        lines: dict[str, str] = {}
        for spec in self.specs:
            for name, line in spec.declarations.items():
                if lines.setdefault(name, line) != line:
                    raise spec_error("E-PARAM", f"{name!r} is declared twice: {lines[name]}, {line}")
        return lines

    @property
    def claims(self) -> tuple[str, ...]:
        """The properties without their declarations."""
        return tuple(claim for spec in self.specs for claim in spec.claims)

    @property
    def family(self) -> bool:
        """True: several properties under one name."""
        return True

    @property
    def constants(self) -> Mapping[str, Constant]:
        """The constants that have declarations, by name."""
        return {name: constant for spec in self.specs for name, constant in spec.constants.items()}

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

    def __ge__(self, threshold: float) -> RateClaim:
        return RateClaim(self, share(threshold), True)

    def __le__(self, threshold: float) -> RateClaim:
        return RateClaim(self, share(threshold), False)


class OfOneSpec(ABC):
    """A claim whose declarations are those of one spec."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """The property that the claim is about."""

    @property
    @abstractmethod
    def claims(self) -> tuple[str, ...]:
        """The claim without its declarations, alone in a tuple."""

    @property
    def text(self) -> str:
        """Canonical text, which `parse_spec` reads."""
        return canonical_text({"": self})

    @property
    def id(self) -> str:
        """sha256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def declarations(self) -> Mapping[str, str]:
        """Name -> declaration line, of networks, values and constants."""
        return self.spec.declarations

    @property
    def family(self) -> bool:
        """False: one claim."""
        return False

    @property
    def constants(self) -> Mapping[str, Constant]:
        """The constants that have declarations, by name."""
        return self.spec.constants


@dataclass(frozen=True, eq=False, repr=False)
class RateClaim(OfOneSpec):
    """rate(spec) >= threshold (`at_least`) or <= threshold."""

    rate: Rate
    threshold: float
    at_least: bool

    @property
    def spec(self) -> Spec:
        """The property that the claim is about."""
        return self.rate.spec

    @property
    def claims(self) -> tuple[str, ...]:
        """The claim without its declarations, alone in a tuple."""
        return (f"rate {comparison_text(self.at_least, self.threshold)}: {self.spec.claims[0]}",)

    def __repr__(self) -> str:
        return f"RateClaim({self.claims[0]})"


def rate(spec: Spec) -> Rate:
    """The share of the problems that a spec's data give which hold: `rate(robust) >= 0.6`."""
    if not isinstance(spec, Spec):
        raise SpecError(f"rate() of {spec!r}", cure="give a spec, made by forall or exists")
    return Rate(spec)


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
        return ChanceClaim(self, share(threshold), True)

    def __le__(self, threshold: float) -> ChanceClaim:
        return ChanceClaim(self, share(threshold), False)


@dataclass(frozen=True, eq=False, repr=False)
class ChanceClaim(OfOneSpec):
    """chance >= threshold (`at_least`) or <= threshold."""

    chance: Chance
    threshold: float
    at_least: bool

    @property
    def spec(self) -> Spec:
        """The property that the claim is about."""
        return self.chance.spec

    @property
    def claims(self) -> tuple[str, ...]:
        """The claim without its declarations, alone in a tuple."""
        drawn = f"{self.chance.variable.declaration} ~ {self.chance.distribution.text}"
        return (f"chance {comparison_text(self.at_least, self.threshold)} {drawn}: {self.chance.body.text}",)

    def __repr__(self) -> str:
        return f"ChanceClaim({self.claims[0]})"


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


def comparison_text(at_least: bool, threshold: float) -> str:
    """A sign and a number as texts write them: ">= 0.6"."""
    return f"{'>=' if at_least else '<='} {number_text(threshold)}"


def share(threshold: float) -> float:
    """The threshold, a number in [0, 1]; SpecError for others."""
    if isinstance(threshold, bool) or not 0 <= float(threshold) <= 1:
        raise SpecError(f"a share of {threshold!r}", cure="give a number from 0 to 1")
    return float(threshold)
