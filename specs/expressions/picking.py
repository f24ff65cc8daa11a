"""Elements of a term in another order, and vectors with one element changed."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import LabelError, ShapeError

from ..vocabulary import function
from .base import Bindings, Expr, Term, term
from .scope import Scope
from .shaping import concat, reshape
from .values import Value

__all__ = ["Picked", "add", "flip", "pick", "put"]


@dataclass(frozen=True, eq=False, repr=False)
class Picked(Term):
    """The elements of one axis at the given places, in their order; places may repeat."""

    of: Term
    order: tuple[int, ...]
    axis: int

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"pick({self.of.text}, [{', '.join(map(str, self.order))}], axis={self.axis})"

    @property
    def shape(self) -> tuple[int, ...]:
        dims = self.of.shape
        return (*dims[: self.axis], len(self.order), *dims[self.axis + 1 :])

    @property
    def unit(self) -> str | None:
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        return self.of.value(env).take(self.axis, torch.tensor([self.order], device=env.device))

    def run(self, scope: Scope) -> Tensor:
        value = scope.of(self.of)
        return value.index_select(self.axis + 1, torch.tensor(self.order, device=value.device))


@function("pick")
def pick(of: object, order: Sequence[int], axis: int = 0) -> Term:
    """The elements along an axis at the places of `order`: a permutation, or a part.

    Raises LabelError or ShapeError.
    """
    found = term(of)
    place = _axis(found, axis)
    length = found.shape[place]
    for index in order:
        if not -length <= index < length:
            raise LabelError(
                f"index {index} is out of range for an axis of length {length} of `{found.text}`"
            )
    if not order:
        raise ShapeError(f"pick leaves no element of `{found.text}`", cure="give at least one place")
    return Picked(found, tuple(index % length for index in order), place)


@function("flip")
def flip(of: object, axis: int = -1) -> Term:
    """The term with one axis reversed; the last, of an image: left and right exchanged."""
    found = term(of)
    return pick(found, range(found.shape[_axis(found, axis)])[::-1], axis)


@function("put")
def put(of: object, index: int, value: object) -> Term:
    """The vector with `value`, a number or a scalar term, in place of one element."""
    vector = term(of)
    place = _element(vector, index)
    parts = [vector[:place]] if place else []
    parts.append(reshape(value, 1))
    parts.extend([vector[place + 1 :]] if place + 1 < vector.shape[0] else [])
    return concat(*parts)


@function("add")
def add(of: object, index: int, amount: object) -> Term:
    """The vector with `amount`, a number or a scalar term, added to one element."""
    vector = term(of)
    place = _element(vector, index)
    return vector + term(amount) * [float(i == place) for i in range(vector.shape[0])]


def _axis(of: Term, axis: int) -> int:
    if not -len(of.shape) <= axis < len(of.shape):
        raise ShapeError(f"`{of.text}` of shape {of.shape} has no axis {axis}")
    return axis % len(of.shape)


def _element(vector: Term, index: int) -> int:
    if len(vector.shape) != 1 or not -vector.shape[0] <= index < vector.shape[0]:
        raise LabelError(f"`{vector.text}` of shape {vector.shape} has no element {index}")
    return index % vector.shape[0]
