"""and, or, not, implies: pushed down to the comparisons when a property is lowered."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

from ..tree import All, Any, Tree, join
from ..vocabulary import function
from .base import Bindings, Expr, Formula, formula, operator

__all__ = ["And", "Not", "Or", "implies"]


@operator("&")
@dataclass(frozen=True, eq=False, repr=False)
class And(Formula):
    """Both hold."""

    left: Formula
    right: Formula
    precedence = 3

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(2)} & {self.right.text_in(3)}"

    def tree(self, env: Bindings, negated: bool) -> Tree:
        return join(Any if negated else All, [self.left.tree(env, negated), self.right.tree(env, negated)])


@operator("|")
@dataclass(frozen=True, eq=False, repr=False)
class Or(Formula):
    """At least one holds."""

    left: Formula
    right: Formula
    precedence = 1

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text_in(0)} | {self.right.text_in(1)}"

    def tree(self, env: Bindings, negated: bool) -> Tree:
        return join(All if negated else Any, [self.left.tree(env, negated), self.right.tree(env, negated)])


@operator("~")
@dataclass(frozen=True, eq=False, repr=False)
class Not(Formula):
    """The claim does not hold."""

    of: Formula
    precedence = 7

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"~{self.of.text_in(7)}"

    def tree(self, env: Bindings, negated: bool) -> Tree:
        return self.of.tree(env, not negated)


@function("implies")
def implies(condition: Formula, claim: Formula) -> Formula:
    """Whenever the condition holds, so does the claim: ~condition | claim."""
    return Not(formula(condition)) | formula(claim)
