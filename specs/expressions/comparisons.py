"""<= < >= > == != between terms, and argmax against a class: the atoms of a property.

A comparison of tensors means all elements; `any_` says otherwise. What becomes of a relation in the
violation: `<=` a strict atom, `<` a closed one, `==` two strict ones (either), `!=` two closed ones (both).
"""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.errors import LabelError, ShapeError, SpecError

from ..tree import All, Any, Tree, join
from .base import Bindings, Expr, Formula, Term, broadcast, describe, formula, operator, term
from .leaves import Label
from .values import negative

__all__ = ["ArgMax", "ArgMaxIs", "Compare", "all_", "any_", "argmax", "between"]


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

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        text = f"{self.left.text_in(0)} {self.relation} {self.right.text_in(0)}"
        return f"any_({text})" if self.any_element else text

    def text_in(self, precedence: int) -> str:
        return self.text if self.any_element else super().text_in(precedence)

    def tree(self, env: Bindings, negated: bool) -> Tree:
        relation = _RELATIONS[_RELATIONS[self.relation].negation if negated else self.relation]
        shape = broadcast(self.left, self.right, self.relation)
        left, right = self.left.value(env).spread(shape), self.right.value(env).spread(shape)
        gap = left.plus(negative(right))
        if len(relation.claims) == 2 and not relation.either:
            env.equalities.append(self.text)
        columns = [
            (gap if sign > 0 else negative(gap)).trees(env.emitter, relation.strict)
            for sign in relation.claims
        ]
        inner: type[Any] | type[All] = Any if relation.either else All
        outer: type[Any] | type[All] = Any if self.any_element != negated else All
        return join(outer, [join(inner, list(column)) for column in zip(*columns, strict=True)])


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
        return ArgMaxIs(self, _class(self, other), True)

    def __ne__(self, other: object) -> Formula:  # type: ignore[override]
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
        y = self.argmax.of.value(env)
        label = env.values[self.label.name] if isinstance(self.label, Label) else _single(self.label, env)
        # rows y_c - y_j for the K - 1 other classes j, in order of j
        lead = y.gather(0, label).spread((self.argmax.of.shape[0] - 1,))
        others = torch.arange(self.argmax.of.shape[0] - 1, device=env.device)
        rest = y.take(0, others + (others >= label.unsqueeze(1)))
        wins = self.equal != negated  # the claim is about c leading; else about c being beaten
        gap = lead.plus(negative(rest)) if wins else rest.plus(negative(lead))
        trees = gap.trees(env.emitter, strict=not negated)
        return join(All if wins else Any, trees)


def argmax(of: object) -> ArgMax:
    """The class of the largest element of a vector term, to be compared with a class: argmax(f(x)) == c."""
    return ArgMax(term(of))


def between(low: object, middle: object, high: object) -> Formula:
    """low <= middle <= high, for all elements."""
    inner = term(middle)
    return (term(low) <= inner) & (inner <= term(high))


def any_(claim: Formula) -> Formula:
    """At least one element satisfies the comparison (a plain comparison of tensors means all)."""
    if not isinstance(claim, Compare):
        raise SpecError(f"any_ takes a comparison of terms, got {describe(claim)}", cure="join others by |")
    return Compare(claim.left, claim.relation, claim.right, True)


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


def _single(label: int, env: Bindings) -> Tensor:
    return torch.tensor([label], device=env.device)
