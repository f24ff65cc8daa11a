"""What a term is once its parameters are bound: affine in the features, or max/min of such.

Every value has an elementwise `shape` (without the batch axis) and answers the same operations, so the
nodes of the language do not care which kind they meet. Max and min stay symbolic until a comparison
turns them into OR and AND; sums distribute over them and negative factors swap them.
"""

# ruff: noqa: D102

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Protocol

import torch
from torch import Tensor

from ..tree import All, Any, Atom, Tree, join

__all__ = ["Affine", "Emitter", "Extremum", "Feature", "TooManyCases", "Value", "constant_of", "negative"]

_MOST_LEAVES = 1024
_DUAL: dict[type[Any] | type[All], type[Any] | type[All]] = {Any: All, All: Any}

IndexItem = int | slice
"""An index along one axis."""


class Feature(Protocol):
    """A term as the emitter sees it."""

    @property
    def text(self) -> str:
        """Canonical text, equal for equal terms."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's value."""
        ...


class TooManyCases(Exception):
    """A value that would expand to too many cases, or that has no max/min form: make it a feature instead."""


@dataclass(frozen=True, eq=False)
class Affine:
    """sum over k of coefs[k] @ feature k, plus const.

    coefs[k] is (b, *shape, n_k), const (b, *shape), each b 1 or B.
    A feature is a vector that the composed network computes (outputs, inputs, nonlinear terms); without any
    the value is constant.
    """

    coefs: Mapping[int, Tensor]
    const: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.const.shape[1:])

    @property
    def leaves(self) -> int:
        return 1

    def _mapped(self, coef: Callable[[Tensor], Tensor], const: Tensor) -> Affine:
        return Affine({k: coef(c) for k, c in self.coefs.items()}, const)

    def at(self, items: tuple[IndexItem, ...]) -> Affine:
        """The elements at ints and slices, one item per leading axis."""
        key = (slice(None), *items)
        return self._mapped(lambda c: c[key], self.const[key])

    def gather(self, axis: int, labels: Tensor) -> Affine:
        """The element labels[b] (b, long) along `axis`, which disappears."""
        return self.take(axis, labels.unsqueeze(1)).at((*[slice(None)] * axis, 0))

    def take(self, axis: int, index: Tensor) -> Affine:
        """The elements index[b, :] (b, k) along `axis`."""
        return self._mapped(lambda c: _take(c, axis + 1, index), _take(self.const, axis + 1, index))

    def plus(self, other: Value) -> Value:
        if isinstance(other, Extremum):
            return other.plus(self)
        left, right = self.spread(other.shape), other.spread(self.shape)
        coefs = dict(left.coefs)
        for k, coef in right.coefs.items():
            coefs[k] = coefs[k] + coef if k in coefs else coef
        return Affine(coefs, left.const + right.const)

    def times(self, factor: Tensor) -> Affine:
        """Elementwise product with constants (b, *shape), or (b,) for one factor per sample."""
        value = self.spread(tuple(factor.shape[1:]))
        factor = factor.reshape(factor.shape[0], *[1] * (value.const.ndim - factor.ndim), *factor.shape[1:])
        return value._mapped(lambda c: c * factor.unsqueeze(-1), value.const * factor)

    def spread(self, shape: tuple[int, ...]) -> Affine:
        """A scalar repeated to `shape`; anything else unchanged."""
        if self.shape or not shape:
            return self
        ones = [1] * len(shape)
        const = self.const.reshape(-1, *ones).expand(-1, *shape)
        return self._mapped(
            lambda c: c.reshape(c.shape[0], *ones, c.shape[-1]).expand(-1, *shape, c.shape[-1]), const
        )

    def total(self) -> Value:
        """The sum over all elements."""
        axes = tuple(range(1, self.const.ndim))
        return self._mapped(lambda c: c.sum(axes), self.const.sum(axes)) if axes else self

    def reshaped(self, shape: tuple[int, ...]) -> Affine:
        """The same elements in row-major order."""
        return self._mapped(
            lambda c: c.reshape(c.shape[0], *shape, c.shape[-1]),
            self.const.reshape(self.const.shape[0], *shape),
        )

    def elements(self) -> list[Value]:
        """The elements in row-major order, as scalars."""
        flat = self.reshaped((math.prod(self.shape),))
        columns = {k: c.unbind(1) for k, c in flat.coefs.items()}
        return [
            Affine({k: c[i] for k, c in columns.items()}, const)
            for i, const in enumerate(flat.const.unbind(1))
        ]

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
            raise TooManyCases("max, min or abs is scaled by numbers of both signs")
        kind = self.kind if up else _DUAL[self.kind]
        return Extremum(kind, tuple(c.times(factor) for c in self.children))

    def spread(self, shape: tuple[int, ...]) -> Value:
        return self._map([c.spread(shape) for c in self.children])

    def total(self) -> Value:
        return reduce(lambda a, b: a.plus(b), self.elements())

    def reshaped(self, shape: tuple[int, ...]) -> Value:
        return self._map([c.reshaped(shape) for c in self.children])

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
    """Collects features and the rows over them; each `add` returns the indices of its rows.

    A feature is any object with a `text`, equal for equal terms, and a `shape`; asking for it again gives
    the same number.
    """

    def __init__(self, batch: int, device: torch.device) -> None:
        self._batch, self._device = batch, device
        self._rows: list[Affine] = []
        self._count = 0
        self._numbers: dict[str, int] = {}
        self.features: list[Feature] = []
        self.named: dict[str, Value] = {}  # what a name of the property stands for, once it was asked for

    def feature(self, term: Feature) -> Affine:
        """The elements of the feature as a value of the term's shape."""
        number = self._numbers.setdefault(term.text, len(self.features))
        if number == len(self.features):
            self.features.append(term)
        n = math.prod(term.shape)
        eye = torch.eye(n, dtype=torch.float64, device=self._device).reshape(1, *term.shape, n)
        return Affine({number: eye}, torch.zeros(1, *term.shape, dtype=torch.float64, device=self._device))

    def add(self, value: Affine) -> range:
        """Append the elements of `value`, in row-major order, as rows."""
        size = math.prod(value.shape)
        self._rows.append(value.reshaped((size,)))
        self._count += size
        return range(self._count - size, self._count)

    def rows(self) -> tuple[Tensor, Tensor]:
        """C (B, m, n) and d (B, m), float64, over the concatenated features; a C that all samples share is
        one expanded block.
        """
        shared = all(c.shape[0] == 1 for row in self._rows for c in row.coefs.values())
        batch = 1 if shared else self._batch
        columns = []
        for number, term in enumerate(self.features):
            n = math.prod(term.shape)
            blocks = [
                row.coefs[number].expand(batch, -1, -1)
                if number in row.coefs
                else torch.zeros(batch, row.const.shape[1], n, dtype=torch.float64, device=self._device)
                for row in self._rows
            ]
            columns.append(torch.cat(blocks, 1))
        C = torch.cat(columns, 2).expand(self._batch, -1, -1)
        d = torch.cat([row.const.expand(self._batch, -1) for row in self._rows], 1)
        return C, d


def _check_leaves(count: int) -> None:
    if count > _MOST_LEAVES:
        raise TooManyCases(f"max, min and abs expand to more than {_MOST_LEAVES} cases")


def _take(x: Tensor, axis: int, index: Tensor) -> Tensor:
    batch = index.shape[0] if x.shape[0] == 1 else x.shape[0]
    view = [batch if a == 0 else index.shape[1] if a == axis else 1 for a in range(x.ndim)]
    shape = [batch if a == 0 else index.shape[1] if a == axis else n for a, n in enumerate(x.shape)]
    full = index.expand(batch, -1).reshape(view).expand(shape)
    return x.expand(batch, *x.shape[1:]).gather(axis, full)
