"""Putting terms together and apart: stacks, joins and reshapes; affine like their parts."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError, SpecError

from ..vocabulary import function
from .base import Bindings, Expr, Term, size, term
from .names import Shape, shape_of
from .scope import Scope
from .values import Affine, TooManyCases, Value

__all__ = ["Joined", "Reshaped", "concat", "reshape", "stack"]


@dataclass(frozen=True, eq=False, repr=False)
class Joined(Term):
    """Terms side by side along the first axis."""

    parts: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise SpecError("concat() needs at least one term")
        tails = {part.shape[1:] for part in self.parts}
        if len(tails) > 1 or not all(part.shape for part in self.parts):
            shapes = ", ".join(f"`{part.text}` {part.shape}" for part in self.parts)
            raise ShapeError(
                f"cannot concatenate {shapes}", cure="give terms that agree in all axes but the first"
            )

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.parts

    @property
    def text(self) -> str:
        return f"concat({', '.join(part.text for part in self.parts)})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def unit(self) -> str | None:
        units = {part.unit for part in self.parts}
        return next(iter(units)) if len(units) == 1 else None

    def lower(self, env: Bindings) -> Value:
        values = [part.value(env) for part in self.parts]
        affine = [value for value in values if isinstance(value, Affine)]
        if len(affine) < len(values):
            raise TooManyCases("max or min among joined terms")
        return joined(affine, [part.shape[0] for part in self.parts])

    def run(self, scope: Scope) -> Tensor:
        parts = [scope.of(part) for part in self.parts]
        # what all samples share is repeated; while a network is traced, sizes of other parts are symbols
        shared = [isinstance(part.shape[0], int) and part.shape[0] == 1 for part in parts]
        if any(shared) and not all(shared):
            batch = parts[shared.index(False)].shape[0]
            parts = [p.expand(batch, *p.shape[1:]) if s else p for p, s in zip(parts, shared, strict=True)]
        return torch.cat(parts, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Reshaped(Term):
    """The elements of a term in row-major order, in another shape."""

    of: Term
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        if size(self.dims) != size(self.of.shape):
            raise ShapeError(f"cannot reshape `{self.of.text}` of shape {self.of.shape} to {self.dims}")

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"reshape({self.of.text}, [{', '.join(map(str, self.dims))}])"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dims

    @property
    def unit(self) -> str | None:
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        return self.of.value(env).reshaped(self.dims)

    def run(self, scope: Scope) -> Tensor:
        return scope.of(self.of).reshape(-1, *self.dims)


@function("concat")
def concat(*parts: object) -> Term:
    """Terms side by side along the first axis."""
    return Joined(tuple(term(part) for part in parts))


@function("stack")
def stack(*parts: object) -> Term:
    """Terms of one shape along a new first axis: a vector of numbers, a matrix of vectors."""
    terms = [term(part) for part in parts]
    return Joined(tuple(Reshaped(part, (1, *part.shape)) for part in terms))


@function("reshape")
def reshape(of: object, shape: Shape) -> Term:
    """The elements of a term in row-major order, in another shape of as many elements; () for a number."""
    return Reshaped(term(of), () if shape == () else shape_of(shape))


def joined(values: list[Affine], lengths: list[int]) -> Affine:
    """Affine values side by side along the first axis."""
    batch = max(value.const.shape[0] for value in values)
    numbers = sorted({k for value in values for k in value.coefs})
    coefs: dict[int, Tensor] = {}
    for k in numbers:
        n = next(value.coefs[k].shape[-1] for value in values if k in value.coefs)
        width = max(value.coefs[k].shape[0] for value in values if k in value.coefs)
        blocks = [
            value.coefs[k].expand(width, *value.coefs[k].shape[1:])
            if k in value.coefs
            else value.const.new_zeros(width, length, *value.shape[1:], n)
            for value, length in zip(values, lengths, strict=True)
        ]
        coefs[k] = torch.cat(blocks, 1)
    return Affine(coefs, torch.cat([value.const.expand(batch, *value.shape) for value in values], 1))
