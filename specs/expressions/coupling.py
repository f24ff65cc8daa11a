"""Conditions that tie variables to each other, as plain formulas for the domain."""

from __future__ import annotations

from collections.abc import Iterable

from robustbench_local.errors import LabelError, ShapeError, SpecError

from ..vocabulary import function
from .base import Formula, term
from .picking import pick

__all__ = ["close"]


@function("close")
def close(left: object, right: object, radius: object, *, except_: Iterable[int] = ()) -> Formula:
    """|right - left| <= radius, elementwise, but for the elements of the first axis in `except_`.

    In a domain this couples two variables exactly. radius: a number or a term. Raises ShapeError,
    LabelError for an element that is none, SpecError where none is left.
    """
    a, b, free = term(left), term(right), set(except_)
    if a.shape != b.shape:
        raise ShapeError(f"`{a.text}` has shape {a.shape}, `{b.text}` {b.shape}", where="close")
    if free:
        length = a.shape[0] if a.shape else 0
        wrong = sorted(i for i in free if not 0 <= i < length)
        if wrong:
            raise LabelError(f"except_ names element {wrong[0]}, `{a.text}` has {length}")
        kept = [i for i in range(length) if i not in free]
        if not kept:
            raise SpecError(f"close leaves no element of `{a.text}` to compare", cure="shorten except_")
        a, b = pick(a, kept), pick(b, kept)
    return abs(b - a) <= radius
