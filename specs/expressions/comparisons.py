"""<= < >= > == != between terms, and argmax against a class: the atoms of a property.

A comparison of tensors means all elements; `any_` says otherwise. What becomes of a relation in the
violation: `<=` a strict atom, `<` a closed one, `==` two strict ones (either), `!=` two closed ones (both).
"""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.errors import LabelError, ShapeError, SpecError

from ..tree import All, Any, AtLeast, Tree, join
from ..vocabulary import function
from .arithmetic import Subtract, check_units
from .base import Bindings, Expr, Formula, Term, broadcast, describe, formula, operator, term
from .leading import Leads
from .leaves import Label
from .values import TooManyCases, Value, negative

__all__ = ["ArgMax", "ArgMaxIs", "Compare", "Rank", "all_", "any_", "argmax", "between", "margins", "rank"]


_FEW = 32  # classes; two leaders then compare by K (K - 1) rows each, else by K of a feature


class _Relation(NamedTuple):
    """left REL right as claims `sign * (left - right) > 0` (strict) or `>= 0`; and its negation."""

    claims: tuple[int, ...]  # signs, joined by AND unless `either`
    strict: bool
    either: bool
    negation: str


_RELATIONS = {
    "<=": _Relation((-1,), False, False, ">"),
    "<": _Relation((-1,), True, False, ">="),
    ">=": _Relation((1,), False, False, "<"),
    ">": _Relation((1,), True, False, "<="),
    "==": _Relation((1, -1), False, False, "!="),
    "!=": _Relation((1, -1), True, True, "=="),
}


@operator("compare")
@dataclass(frozen=True, eq=False, repr=False)
class Compare(Formula):
    """left REL right for all elements, or for at least one if `any_element`."""

    left: Term
    relation: str
    right: Term
    any_element: bool = False
    precedence = 0

    def __post_init__(self) -> None:
        broadcast(self.left, self.right, self.relation)
        check_units(self.left, self.right, self.relation)

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        text = f"{self.left.text_in(0)} {self.relation} {self.right.text_in(0)}"
        return f"any_({text})" if self.any_element else text

    def text_in(self, precedence: int) -> str:
        return self.text if self.any_element else super().text_in(precedence)

    @property
    def size(self) -> int:
        """The number of elements compared."""
        return math.prod(broadcast(self.left, self.right, self.relation))

    def tree(self, env: Bindings, negated: bool) -> Tree:
        outer: type[Any] | type[All] = Any if self.any_element != negated else All
        return join(outer, self.elements(env, negated))

    def elements(self, env: Bindings, negated: bool) -> list[Tree]:
        """The comparison, or its negation, of every element, in row-major order."""
        relation = _RELATIONS[_RELATIONS[self.relation].negation if negated else self.relation]
        gap = Subtract(self.left, self.right).value(env)
        if len(relation.claims) == 2 and not relation.either:
            env.equalities.append(self.text)
        columns = [
            (gap if sign > 0 else negative(gap)).trees(env.emitter, relation.strict)
            for sign in relation.claims
        ]
        inner: type[Any] | type[All] = Any if relation.either else All
        return [join(inner, list(column)) for column in zip(*columns, strict=True)]


@dataclass(frozen=True, eq=False, repr=False)
class ArgMax(Expr):
    """The class of the largest element of a vector; compare it to a class with == or !=."""

    of: Term

    def __post_init__(self) -> None:
        if len(self.of.shape) != 1 or self.of.shape[0] < 2:
            raise ShapeError(
                f"argmax needs a vector of at least 2 elements, `{self.of.text}` has {self.of.shape}"
            )

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"argmax({self.of.text})"

    def __eq__(self, other: object) -> Formula:  # type: ignore[override]
        if isinstance(other, ArgMax):
            return SameArgMax(self, other)
        return ArgMaxIs(self, _class(self, other), True)

    def __ne__(self, other: object) -> Formula:  # type: ignore[override]
        if isinstance(other, ArgMax):
            raise SpecError(
                f"`{self.text} != {other.text}` has ties in doubt", cure="write ~(argmax(a) == argmax(b))"
            )
        return ArgMaxIs(self, _class(self, other), False)

    __hash__ = Expr.__hash__


@dataclass(frozen=True, eq=False, repr=False)
class ArgMaxIs(Formula):
    """argmax(y) == c: y_c > y_j for all other j. argmax(y) != c: y_c < y_j for some j.

    Both are false at a tie for the first place that includes c, as in VNN-COMP: the violation's atoms
    are closed. `~(argmax(y) == c)` is the exact negation and true at such a tie.
    """

    argmax: ArgMax
    label: Label | int
    equal: bool
    precedence = 0

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.argmax, self.label) if isinstance(self.label, Label) else (self.argmax,)

    @property
    def text(self) -> str:
        label = self.label.text if isinstance(self.label, Label) else str(self.label)
        return f"{self.argmax.text} {'==' if self.equal else '!='} {label}"

    def tree(self, env: Bindings, negated: bool) -> Tree:
        wins = self.equal != negated  # the claim is about c leading; else about c being beaten
        lead = margins(self.argmax.of, self.label, env)
        trees = (lead if wins else negative(lead)).trees(env.emitter, strict=not negated)
        return join(All if wins else Any, trees)


@dataclass(frozen=True, eq=False, repr=False)
class SameArgMax(Formula):
    """argmax(y) == argmax(z): one class leads both vectors, without a tie in either."""

    left: ArgMax
    right: ArgMax
    precedence = 0

    def __post_init__(self) -> None:
        broadcast(self.left.of, self.right.of, "argmax ==")

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"{self.left.text} == {self.right.text}"

    def tree(self, env: Bindings, negated: bool) -> Tree:
        count = self.left.of.shape[0]
        if count <= _FEW:
            per_class = [
                (ArgMaxIs(self.left, k, True) & ArgMaxIs(self.right, k, True)).tree(env, negated)
                for k in range(count)
            ]
        else:  # a row for every pair of classes would take too much memory
            leads = [Leads(side.of).value(env) for side in (self.left, self.right)]
            trees = [
                (negative(lead) if negated else lead).trees(env.emitter, strict=not negated) for lead in leads
            ]
            inner = Any if negated else All
            per_class = [join(inner, list(pair)) for pair in zip(*trees, strict=True)]
        return join(All if negated else Any, per_class)


@dataclass(frozen=True, eq=False, repr=False)
class RankAtMost(Formula):
    """rank(y, c) <= k: fewer than k other elements reach y_c; ties count against c."""

    of: Term
    label: Label | int
    count: int
    precedence = 0

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of, self.label) if isinstance(self.label, Label) else (self.of,)

    @property
    def text(self) -> str:
        label = self.label.text if isinstance(self.label, Label) else str(self.label)
        return f"rank({self.of.text}, {label}) <= {self.count}"

    def tree(self, env: Bindings, negated: bool) -> Tree:
        wins = margins(self.of, self.label, env).trees(env.emitter, strict=not negated)
        if not negated:
            return AtLeast(len(wins) - self.count + 1, tuple(wins))  # at most k - 1 others reach c
        losses = negative(margins(self.of, self.label, env)).trees(env.emitter, strict=False)
        return AtLeast(self.count, tuple(losses))


@dataclass(frozen=True, eq=False, repr=False)
class Rank:
    """The place of a class among the elements of a vector, 1 for the first; compare it with <= k."""

    of: Term
    label: Label | int

    def __le__(self, count: int) -> Formula:
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count < self.of.shape[0]:
            raise SpecError(
                f"`rank({self.of.text}, ..)` is compared with {describe(count)}",
                cure=f"use a whole number from 1 to {self.of.shape[0] - 1}",
            )
        return RankAtMost(self.of, self.label, count)

    def __lt__(self, count: int) -> Formula:
        return self <= count - 1


@function("rank")
def rank(of: object, label: object) -> Rank:
    """The place of a class among the elements of a vector term: rank(f(x), c) <= 5 is top-5."""
    chosen = ArgMax(term(of))
    return Rank(chosen.of, _class(chosen, label))


@function("argmax")
def argmax(of: object) -> ArgMax:
    """The class of the largest element of a vector term, to be compared with a class: argmax(f(x)) == c."""
    return ArgMax(term(of))


@function("between")
def between(low: object, middle: object, high: object) -> Formula:
    """low <= middle <= high, for all elements."""
    inner = term(middle)
    return (term(low) <= inner) & (inner <= term(high))


@function("any_", "any")
def any_(claim: Formula) -> Formula:
    """At least one element satisfies the comparison (a plain comparison of tensors means all)."""
    if not isinstance(claim, Compare):
        raise SpecError(f"any_ takes a comparison of terms, got {describe(claim)}", cure="join others by |")
    return Compare(claim.left, claim.relation, claim.right, True)


@function("all_", "all")
def all_(claim: Formula) -> Formula:
    """Every element satisfies the comparison: what a comparison means anyway, said aloud."""
    return formula(claim)


def _class(argmax: ArgMax, label: object) -> Label | int:
    count = argmax.of.shape[0]
    if isinstance(label, Label):
        if label.classes != count:
            raise LabelError(
                f"label {label.name!r} has {label.classes} classes, `{argmax.text}` chooses from {count}"
            )
        return label
    if isinstance(label, bool) or not isinstance(label, int):
        raise SpecError(
            f"`{argmax.text}` is compared with {describe(label)}", cure="use a Label or a class number"
        )
    if not 0 <= label < count:
        raise LabelError(f"class {label} is out of range for `{argmax.text}` with {count} classes")
    return label


def margins(of: Term, label: Label | int, env: Bindings) -> Value:
    """y_c - y_j for the K - 1 other classes j of a vector y, in order of j."""
    try:
        return _margins(of.value(env), of, label, env)
    except TooManyCases:
        return _margins(env.emitter.feature(of), of, label, env)


def _margins(y: Value, of: Term, label: Label | int, env: Bindings) -> Value:
    index = env.values[label.name] if isinstance(label, Label) else _single(label, env)
    lead = y.gather(0, index).spread((of.shape[0] - 1,))
    others = torch.arange(of.shape[0] - 1, device=env.device)
    return lead.plus(negative(y.take(0, others + (others >= index.unsqueeze(1)))))


def _single(label: int, env: Bindings) -> Tensor:
    return torch.tensor([label], device=env.device)
