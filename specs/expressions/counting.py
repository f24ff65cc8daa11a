"""At least so many of several claims, or of the elements of a comparison, hold."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

from robustbench_local.errors import SpecError

from ..tree import AtLeast, Tree
from ..vocabulary import function
from .base import Bindings, Expr, Formula, describe, formula
from .comparisons import Compare

__all__ = ["Counted", "at_least"]


@dataclass(frozen=True, eq=False, repr=False)
class Counted(Formula):
    """At least `count` of the claims hold; of a single comparison of tensors, of its elements."""

    count: int
    claims: tuple[Formula, ...]

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.claims

    @property
    def text(self) -> str:
        return f"at_least({self.count}, {', '.join(claim.text for claim in self.claims)})"

    def tree(self, env: Bindings, negated: bool) -> Tree:
        counted = _counted(self.claims)
        if counted is None:
            trees = [claim.tree(env, negated) for claim in self.claims]
        else:
            trees = counted.elements(env, negated)
        # "fewer than k of n hold" is "at least n - k + 1 do not"
        return AtLeast(len(trees) - self.count + 1 if negated else self.count, tuple(trees))


@function("at_least")
def at_least(count: int, *claims: Formula) -> Formula:
    """At least `count` of the claims hold; at_least(5, f(x) > 0) counts the elements of one comparison.

    Raises SpecError unless 1 <= count <= the number of claims.
    """
    found = tuple(formula(claim) for claim in claims)
    counted = _counted(found)
    number = len(found) if counted is None else counted.size
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= number:
        raise SpecError(
            f"at_least asks for {describe(count)} of {number} claims",
            cure=f"use a whole number from 1 to {number}",
        )
    return Counted(count, found)


def _counted(claims: tuple[Formula, ...]) -> Compare | None:
    """The single comparison whose elements are counted, if it is one."""
    claim = claims[0] if len(claims) == 1 else None
    return claim if isinstance(claim, Compare) and not claim.any_element else None
