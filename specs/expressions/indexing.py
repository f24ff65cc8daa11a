"""Elements of a term: integers, slices, an ellipsis and one label."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from robustbench_local.errors import LabelError, SpecError

from .base import Bindings, Expr, Term, describe, operator, size
from .leaves import Label, Var
from .scope import Scope
from .values import TooManyCases, Value

__all__ = ["Element"]

_Item = int | slice | Label
_WIDE = 2048  # the rows of a feature of n elements take n * n numbers


@operator("[]")
@dataclass(frozen=True, eq=False, repr=False)
class Element(Term):
    """of[index]: one int, slice, label or `...`, or a tuple of them with at most one label."""

    of: Term
    items: tuple[_Item, ...]

    def __init__(self, of: Term, index: object) -> None:
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "items", _items(of, index))

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of, *(item for item in self.items if isinstance(item, Label)))

    @property
    def text(self) -> str:
        return f"{self.of.text_in(8)}[{', '.join(map(_item_text, self.items)) or '...'}]"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @cached_property
    def _shape(self) -> tuple[int, ...]:
        kept = self.of.shape[len(self.items) :]
        spans = [range(n)[i] for n, i in zip(self.of.shape, self.items, strict=False) if isinstance(i, slice)]
        return (*(len(span) for span in spans), *kept)

    @property
    def unit(self) -> str | None:
        if isinstance(self.of, Var) and self.of.units and isinstance(self.items[0], int):
            return self.of.units[self.items[0]]
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        if type(self.of).lower is Term.lower and size(self.of.shape) > _WIDE:
            raise TooManyCases("an element of a wide feature is a feature of its own")
        value, plain = self.of.value(env), self.items
        for axis, item in enumerate(self.items):
            if isinstance(item, Label):  # its axis goes first, then the plain items do the rest
                value = value.gather(axis, env.values[item.name])
                plain = (*self.items[:axis], *self.items[axis + 1 :])
        return value.at(tuple(item for item in plain if not isinstance(item, Label)))

    def run(self, scope: Scope) -> Tensor:
        value, plain = scope.of(self.of), self.items
        for axis, item in enumerate(self.items):
            if isinstance(item, Label):  # one-hot rows: a label may be an input of the composed network
                value = _picked(value, axis + 1, scope.named(item.name))
                plain = (*self.items[:axis], *self.items[axis + 1 :])
        rest = tuple(item for item in plain if not isinstance(item, Label))
        key = (slice(None), *rest)
        return value[key] if rest else value


def _picked(value: Tensor, axis: int, one_hot: Tensor) -> Tensor:
    """The element along `axis` that the rows (b, n) of 0 and 1 point at."""
    mask = one_hot.to(value.dtype).reshape(
        -1, *[1] * (axis - 1), one_hot.shape[1], *[1] * (value.ndim - axis - 1)
    )
    return (value * mask).sum(axis)


def _items(of: Term, index: object) -> tuple[_Item, ...]:
    raw = index if isinstance(index, tuple) else (index,)
    dots = [k for k, item in enumerate(raw) if item is Ellipsis]
    if len(dots) == 1:
        fill = len(of.shape) - len(raw) + 1
        raw = (*raw[: dots[0]], *[slice(None)] * fill, *raw[dots[0] + 1 :])
    if len(raw) > len(of.shape):
        raise LabelError(f"{len(raw)} indices for `{of.text}` of shape {of.shape}")
    items = tuple(_item(of, item, n) for item, n in zip(raw, of.shape, strict=False))
    if sum(isinstance(item, Label) for item in items) > 1:
        raise SpecError(f"two labels index `{of.text}`", cure="index one axis after the other")
    return items


def _item(of: Term, item: object, length: int) -> _Item:
    if isinstance(item, Label):
        if item.classes != length:
            raise LabelError(
                f"label {item.name!r} has {item.classes} classes, this axis of `{of.text}` {length}"
            )
        return item
    if isinstance(item, slice):
        span = range(length)[item]
        if not span or span.step < 0:
            raise LabelError(
                f"slice {_item_text(item)} of `{of.text}` (length {length}) is empty or reversed"
            )
        return slice(span.start, span.stop, span.step)
    if isinstance(item, bool) or not isinstance(item, int):
        raise SpecError(f"cannot index `{of.text}` with {describe(item)}", cure="use ints, slices or a Label")
    if not -length <= item < length:
        raise LabelError(f"index {item} is out of range for an axis of length {length} of `{of.text}`")
    return item % length


def _item_text(item: _Item) -> str:
    if isinstance(item, slice):
        parts = [item.start, item.stop] + ([item.step] if item.step not in (None, 1) else [])
        return ":".join("" if part is None else str(part) for part in parts)
    return item.text if isinstance(item, Label) else str(item)
