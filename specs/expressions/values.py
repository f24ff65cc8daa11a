"""What a term is once its parameters are bound: affine in the network's outputs, or max/min of such.

Every value has an elementwise `shape` (without the batch axis) and answers the same operations, so the
nodes of the language do not care which kind they meet. Max and min stay symbolic until a comparison
turns them into OR and AND; sums distribute over them and negative factors swap them.
"""

# ruff: noqa: D102

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from robustbench_local.errors import SpecError

from ..tree import All, Any, Atom, Tree, join

__all__ = ["Affine", "Emitter", "Extremum", "Value", "constant_of", "negative"]

_MOST_LEAVES = 20_000
_DUAL: dict[type[Any] | type[All], type[Any] | type[All]] = {Any: All, All: Any}

IndexItem = int | slice
"""An index along one axis."""


@dataclass(frozen=True, eq=False)
class Affine:
    """coef @ y + const: coef (b, *shape, n_out) or None (constant), const (b, *shape), b in {1, B}."""

    coef: Tensor | None
    const: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.const.shape[1:])

    @property
    def leaves(self) -> int:
        return 1

    def at(self, items: tuple[IndexItem, ...]) -> Affine:
        """The elements at ints and slices, one item per leading axis."""
        key = (slice(None), *items)
        return Affine(None if self.coef is None else self.coef[key], self.const[key])

    def gather(self, axis: int, labels: Tensor) -> Affine:
        """The element labels[b] (b, long) along `axis`, which disappears."""
        return self.take(axis, labels.unsqueeze(1)).at((*[slice(None)] * axis, 0))

    def take(self, axis: int, index: Tensor) -> Affine:
        """The elements index[b, :] (b, k) along `axis`."""
        return Affine(
            None if self.coef is None else _take(self.coef, axis + 1, index),
            _take(self.const, axis + 1, index),
        )

    def plus(self, other: Value) -> Value:
        if isinstance(other, Extremum):
            return other.plus(self)
        left, right = self.spread(other.shape), other.spread(self.shape)
        coef = (
            left.coef if right.coef is None else right.coef if left.coef is None else left.coef + right.coef
        )
        return Affine(coef, left.const + right.const)

    def times(self, factor: Tensor) -> Affine:
        """Elementwise product with constants (b, *shape), or (b,) for one factor per sample."""
        value = self.spread(tuple(factor.shape[1:]))
        factor = factor.reshape(factor.shape[0], *[1] * (value.const.ndim - factor.ndim), *factor.shape[1:])
        coef = None if value.coef is None else value.coef * factor.unsqueeze(-1)
        return Affine(coef, value.const * factor)

    def spread(self, shape: tuple[int, ...]) -> Affine:
        """A scalar repeated to `shape`; anything else unchanged."""
        if self.shape or not shape:
            return self
        ones = [1] * len(shape)
        const = self.const.reshape(-1, *ones).expand(-1, *shape)
        if self.coef is None:
            return Affine(None, const)
        n = self.coef.shape[-1]
        return Affine(self.coef.reshape(-1, *ones, n).expand(-1, *shape, n), const)

    def total(self) -> Value:
        """The sum over all elements."""
        axes = tuple(range(1, self.const.ndim))
        if not axes:
            return self
        return Affine(None if self.coef is None else self.coef.sum(axes), self.const.sum(axes))

    def elements(self) -> list[Value]:
        """The elements in row-major order, as scalars."""
        b = self.const.shape[0]
        consts = self.const.reshape(b, -1).unbind(1)
        if self.coef is None:
            return [Affine(None, c) for c in consts]
        coefs = self.coef.reshape(self.coef.shape[0], len(consts), -1).unbind(1)
        return [Affine(a, c) for a, c in zip(coefs, consts, strict=True)]

    def trees(self, emitter: Emitter, strict: bool) -> list[Tree]:
        """One tree per element for element > 0 (strict) or >= 0."""
        return [Atom(i, strict) for i in emitter.add(self)]


@dataclass(frozen=True, eq=False)
class Extremum:
    """The elementwise max (kind Any: `> 0` is an OR) or min (kind All) of children of one shape."""

    kind: type[Any] | type[All]
    children: tuple[Value, ...]
    leaves: int = field(init=False)

    def __post_init__(self) -> None:
        leaves = sum(child.leaves for child in self.children)
        _check_leaves(leaves)
        object.__setattr__(self, "leaves", leaves)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.children[0].shape

    def _map(self, children: list[Value]) -> Extremum:
        return Extremum(self.kind, tuple(children))

    def at(self, items: tuple[IndexItem, ...]) -> Value:
        return self._map([c.at(items) for c in self.children])

    def gather(self, axis: int, labels: Tensor) -> Value:
        return self._map([c.gather(axis, labels) for c in self.children])

    def take(self, axis: int, index: Tensor) -> Value:
        return self._map([c.take(axis, index) for c in self.children])

    def plus(self, other: Value) -> Value:
        _check_leaves(self.leaves * other.leaves)
        return self._map([c.plus(other) for c in self.children])

    def times(self, factor: Tensor) -> Value:
        up, down = bool((factor >= 0).all()), bool((factor <= 0).all())
        if not (up or down):
            raise SpecError(
                "max, min or abs is scaled by numbers of both signs (over elements or samples)",
                cure="index the elements first, so that each factor has one sign",
            )
        kind = self.kind if up else _DUAL[self.kind]
        return Extremum(kind, tuple(c.times(factor) for c in self.children))

    def spread(self, shape: tuple[int, ...]) -> Value:
        return self._map([c.spread(shape) for c in self.children])

    def total(self) -> Value:
        return reduce(lambda a, b: a.plus(b), self.elements())

    def elements(self) -> list[Value]:
        columns = [c.elements() for c in self.children]
        return [Extremum(self.kind, parts) for parts in zip(*columns, strict=True)]

    def trees(self, emitter: Emitter, strict: bool) -> list[Tree]:
        columns = [c.trees(emitter, strict) for c in self.children]
        return [join(self.kind, list(parts)) for parts in zip(*columns, strict=True)]


Value = Affine | Extremum


def negative(value: Value) -> Value:
    """-value."""
    sample = value
    while isinstance(sample, Extremum):
        sample = sample.children[0]
    return value.times(-torch.ones(1, dtype=torch.float64, device=sample.const.device))


def constant_of(value: Value) -> Tensor:
    """The numbers (b, *shape) of a value that is free of network outputs."""
    if isinstance(value, Affine):
        return value.const
    pick = torch.maximum if value.kind is Any else torch.minimum
    return reduce(pick, (constant_of(child) for child in value.children))


class Emitter:
    """Collects the rows of a query's C and d; each `add` returns the indices of its rows."""

    def __init__(self, batch: int, outputs: int, device: torch.device) -> None:
        self._batch, self._outputs, self._device = batch, outputs, device
        self._coefs: list[Tensor] = []
        self._consts: list[Tensor] = []
        self._count = 0

    def add(self, value: Affine) -> range:
        """Append the elements of `value`, in row-major order, as rows."""
        size = math.prod(value.shape)
        coef = value.coef
        if coef is None:
            coef = torch.zeros(1, size, self._outputs, dtype=torch.float64, device=self._device)
        self._coefs.append(coef.reshape(-1, size, self._outputs))
        self._consts.append(value.const.reshape(-1, size))
        self._count += size
        return range(self._count - size, self._count)

    def rows(self) -> tuple[Tensor, Tensor]:
        """C (B, m, n_out) and d (B, m), float64; a C that all samples share is one expanded block."""
        shared = all(c.shape[0] == 1 for c in self._coefs)
        batch = 1 if shared else self._batch
        C = torch.cat([c.expand(batch, -1, -1) for c in self._coefs], 1).expand(self._batch, -1, -1)
        d = torch.cat([c.expand(self._batch, -1) for c in self._consts], 1)
        return C, d


def _check_leaves(count: int) -> None:
    if count > _MOST_LEAVES:
        error = SpecError(
            f"max, min and abs expand to more than {_MOST_LEAVES} cases",
            cure="compare the terms one by one instead of summing or nesting them",
        )
        error.code = "E-DNF"
        raise error


def _take(x: Tensor, axis: int, index: Tensor) -> Tensor:
    batch = index.shape[0] if x.shape[0] == 1 else x.shape[0]
    view = [batch if a == 0 else index.shape[1] if a == axis else 1 for a in range(x.ndim)]
    shape = [batch if a == 0 else index.shape[1] if a == axis else n for a, n in enumerate(x.shape)]
    full = index.expand(batch, -1).reshape(view).expand(shape)
    return x.expand(batch, *x.shape[1:]).gather(axis, full)
