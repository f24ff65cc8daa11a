"""What is said of groups of problems: the shares that hold are alike, by their distance or by their ratio.

Rows of a data set belong to groups (of people, of colours, of classes), and a property holds for a share of
each. Parity asks that no group is served worse than another. The ratio is that of the four-fifths rule of the
Uniform Guidelines on Employee Selection Procedures, 29 CFR 1607.4(D), 1978; shares that are proved and not
only counted, as in J. Buolamwini and T. Gebru, "Gender shades", PMLR 81, 2018, but for whole sets of inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

from torch import Tensor

from robustbench_local.errors import ShapeError, SpecError

from .aggregates import OfOneSpec, comparison_text, share
from .expressions.base import spec_error
from .expressions.constants import number_text
from .expressions.leaves import Data, Label, Param
from .spec import Spec

__all__ = ["Gap", "GroupClaim", "Ratio", "Shares", "gap", "ratio"]

Share = tuple[Fraction, Fraction]
"""The least and the largest share of a group's problems that can hold."""


@dataclass(frozen=True, eq=False)
class Shares(ABC):
    """A number that compares the groups' shares of problems for which a spec holds."""

    spec: Spec
    group: Label

    @property
    @abstractmethod
    def word(self) -> str:
        """Its name in texts."""

    @abstractmethod
    def between(self, shares: Sequence[Share]) -> Share:
        """Numbers that its value lies between, for one share per group.

        The worse one is reached: what is open in one group may go either way whatever happens in another.
        """


@dataclass(frozen=True, eq=False)
class Gap(Shares):
    """The largest distance between the shares of two groups, in [0, 1]; compare it with <=."""

    @property
    def word(self) -> str:
        """Its name in texts."""
        return "gap"

    def __le__(self, tolerance: float) -> GroupClaim:
        return GroupClaim(self, share(tolerance), at_least=False)

    def between(self, shares: Sequence[Share]) -> Share:
        """See `Shares`."""
        pairs = list(permutations(shares, 2))
        low = max(one[0] - other[1] for one, other in pairs)
        return max(low, Fraction(0)), max(one[1] - other[0] for one, other in pairs)


@dataclass(frozen=True, eq=False)
class Ratio(Shares):
    """The smallest share over the largest one, 1 where all are 0; compare it with >=."""

    @property
    def word(self) -> str:
        """Its name in texts."""
        return "ratio"

    def __ge__(self, least: float) -> GroupClaim:
        return GroupClaim(self, share(least), at_least=True)

    def between(self, shares: Sequence[Share]) -> Share:
        """See `Shares`."""
        pairs = list(permutations(shares, 2))
        low = min(_quotient(one[0], other[1]) for one, other in pairs)
        return min(low, Fraction(1)), min(Fraction(1), *(_quotient(one[1], other[0]) for one, other in pairs))


@dataclass(frozen=True, eq=False, repr=False)
class GroupClaim(OfOneSpec):
    """gap(spec, group) <= threshold, or (`at_least`) ratio(spec, group) >= threshold."""

    shares: Shares
    threshold: float
    at_least: bool

    @property
    def spec(self) -> Spec:
        """The property of a single problem."""
        return self.shares.spec

    @property
    def slots(self) -> Mapping[str, Data | Label | Param]:
        """What a call binds by name: the values of the property, and the group of every problem."""
        return {**self.spec.slots, self.shares.group.name: self.shares.group}

    @property
    def declarations(self) -> Mapping[str, str]:
        """Name -> declaration line, of networks, values, constants and the group."""
        return {**super().declarations, self.shares.group.name: self.shares.group.declaration}

    @property
    def claims(self) -> tuple[str, ...]:
        """The claim without its declarations, alone in a tuple."""
        head = f"{self.shares.word}({self.shares.group.name})"
        return (f"{head} {comparison_text(self.at_least, self.threshold)}: {self.spec.claims[0]}",)

    def apart(self, values: Mapping[str, object]) -> tuple[dict[str, object], Tensor]:
        """The values of the property, and the group of every problem, (B,) int64.

        Raises SpecError where no groups are given, and what `Label.bind` raises for those that are none.
        """
        group = self.shares.group
        if values.get(group.name) is None:
            cure = f"pass {group.name}=..., the group of every problem"
            raise spec_error("E-PARAM", f"no value for `{group.name}` ({group.declaration})", cure)
        own = {k: value for k, value in values.items() if k != group.name or k in self.spec.slots}
        return own, group.bind(values[group.name])

    def violation(self, holds: Tensor, open_: Tensor, groups: Tensor) -> tuple[float, float]:
        """The least and the largest violation: how far the number misses the threshold; > 0 is bad.

        holds, open_ (B,) bool: problems that hold, and those of which that is not known. groups (B,). The
        ends are rounded to floats from exact counts, so that their signs are right.

        Raises SpecError for a group without problems, ShapeError where there are not B groups.
        """
        if groups.shape != holds.shape:
            cure = "give one group per problem"
            raise ShapeError(
                f"{len(groups)} groups of {len(holds)} problems", where=self.shares.group.name, cure=cure
            )
        known = [
            self._share(holds[groups == k], open_[groups == k], k) for k in range(self.shares.group.classes)
        ]
        low, high = self.shares.between(known)
        limit = Fraction(number_text(self.threshold))  # 0.15 means 3/20, not the float below it
        ends = (limit - high, limit - low) if self.at_least else (low - limit, high - limit)
        return float(ends[0]), float(ends[1])

    def _share(self, holds: Tensor, open_: Tensor, k: int) -> Share:
        count = len(holds)
        if count == 0:
            group = self.shares.group
            what = f"group {k} of {group.declaration} has no problems"
            raise SpecError(what, where=group.name, cure="give some, or declare fewer classes")
        least = int(holds.sum())
        return Fraction(least, count), Fraction(least + int((open_ & ~holds).sum()), count)

    def __repr__(self) -> str:
        return f"GroupClaim({self.claims[0]})"


def gap(spec: Spec, group: Label) -> Gap:
    """How far apart the groups' shares of problems that hold can be: `gap(robust, Label("g", 2)) <= 0.05`."""
    return Gap(*_checked("gap", spec, group))


def ratio(spec: Spec, group: Label) -> Ratio:
    """The smallest of the groups' shares over the largest: `ratio(robust, Label("g", 2)) >= 0.8`."""
    return Ratio(*_checked("ratio", spec, group))


def _checked(word: str, spec: Spec, group: Label) -> tuple[Spec, Label]:
    if not isinstance(spec, Spec):
        raise SpecError(f"{word}() of {spec!r}", cure="give a spec, made by forall or exists")
    if not isinstance(group, Label) or group.classes < 2:
        what = "one group" if isinstance(group, Label) else repr(group)
        raise SpecError(f"{word}() compares {what}", cure='give a label of two or more: Label("group", 2)')
    known = spec.declarations.get(group.name, group.declaration)
    if known != group.declaration:
        raise spec_error("E-PARAM", f"{group.name!r} is declared twice: {known}, {group.declaration}")
    return spec, group


def _quotient(one: Fraction, other: Fraction) -> Fraction:
    """one / other, 1 where nothing is compared with nothing."""
    return one / other if other else Fraction(1)
