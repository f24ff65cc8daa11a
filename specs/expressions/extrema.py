"""max, min and abs: kept symbolic, then turned into OR and AND by the comparison around them."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce

import torch
from torch import Tensor

from robustbench_local.errors import SpecError

from .. import tree
from ..vocabulary import function
from .base import Bindings, Expr, Term, broadcast, operator, term
from .scope import Scope, spread
from .values import Extremum, Value, negative

__all__ = ["Absolute", "Largest", "Smallest", "vmax", "vmin"]


@dataclass(frozen=True, eq=False, repr=False)
class Largest(Term):
    """The largest element of one term, or the elementwise maximum of several."""

    parts: tuple[Term, ...]

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.parts

    @property
    def text(self) -> str:
        return f"vmax({', '.join(part.text for part in self.parts)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return _shape(self.parts)

    def lower(self, env: Bindings) -> Value:
        return _extremum(tree.Any, self.parts, env)

    def run(self, scope: Scope) -> Tensor:
        if len(self.parts) == 1:
            return (
                scope.of(self.parts[0]).flatten(1).amax(1) if self.parts[0].shape else scope.of(self.parts[0])
            )
        return reduce(torch.maximum, _each(self.parts, scope))


@dataclass(frozen=True, eq=False, repr=False)
class Smallest(Term):
    """The smallest element of one term, or the elementwise minimum of several."""

    parts: tuple[Term, ...]

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.parts

    @property
    def text(self) -> str:
        return f"vmin({', '.join(part.text for part in self.parts)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return _shape(self.parts)

    def lower(self, env: Bindings) -> Value:
        return _extremum(tree.All, self.parts, env)

    def run(self, scope: Scope) -> Tensor:
        if len(self.parts) == 1:
            return (
                scope.of(self.parts[0]).flatten(1).amin(1) if self.parts[0].shape else scope.of(self.parts[0])
            )
        return reduce(torch.minimum, _each(self.parts, scope))


@operator("abs")
@dataclass(frozen=True, eq=False, repr=False)
class Absolute(Term):
    """The absolute value, elementwise."""

    of: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"abs({self.of.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    @property
    def unit(self) -> str | None:
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        value = self.of.value(env)
        return Extremum(tree.Any, (value, negative(value)))

    def run(self, scope: Scope) -> Tensor:
        return scope.of(self.of).abs()


@function("vmax", "max")
def vmax(*parts: object) -> Term:
    """vmax(y): the largest element of y. vmax(a, b, ..): the elementwise maximum; scalars are repeated."""
    return Largest(_parts("vmax", parts))


@function("vmin", "min")
def vmin(*parts: object) -> Term:
    """vmin(y): the smallest element of y. vmin(a, b, ..): the elementwise minimum; scalars are repeated."""
    return Smallest(_parts("vmin", parts))


@function("abs")
def _absolute(of: object) -> Term:
    return Absolute(term(of))


def _parts(name: str, parts: tuple[object, ...]) -> tuple[Term, ...]:
    if not parts:
        raise SpecError(f"{name}() needs at least one term")
    terms = tuple(term(part) for part in parts)
    widest = max(terms, key=lambda t: len(t.shape))
    for part in terms:
        broadcast(widest, part, name)
    return terms


def _each(parts: tuple[Term, ...], scope: Scope) -> list[Tensor]:
    return [spread(scope.of(part), _shape(parts)) for part in parts]


def _shape(parts: tuple[Term, ...]) -> tuple[int, ...]:
    return () if len(parts) == 1 else max((part.shape for part in parts), key=len)


def _extremum(kind: type[tree.Any] | type[tree.All], parts: tuple[Term, ...], env: Bindings) -> Value:
    if len(parts) == 1:
        children = parts[0].value(env).elements()
    else:
        children = [part.value(env).spread(_shape(parts)) for part in parts]
    return children[0] if len(children) == 1 else Extremum(kind, tuple(children))
