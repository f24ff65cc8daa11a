"""Names and shapes as the language writes them."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Sequence

from robustbench_local.errors import ShapeError

from .base import spec_error

__all__ = ["Shape", "checked_name", "dims_text", "shape_of", "type_text"]

Shape = int | Sequence[int]

_RESERVED = frozenset({"inf"})  # `norm(y, inf)` would otherwise have two meanings


def checked_name(name: str) -> str:
    """The name as Python compares identifiers (in Unicode's form NFKC); E-PARAM for what is no name."""
    plain = unicodedata.normalize("NFKC", name)
    if not plain.isidentifier() or keyword.iskeyword(plain) or plain in _RESERVED:
        why = "use letters, digits and _" if not plain.isidentifier() else "it has a meaning of its own"
        raise spec_error("E-PARAM", f"{name!r} is no name", why)
    return plain


def shape_of(shape: Shape) -> tuple[int, ...]:
    """The axes of a shape; ShapeError for one shorter than 1."""
    dims = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if any(n < 1 for n in dims):
        raise ShapeError(f"shape {dims} has an axis shorter than 1")
    return dims


def dims_text(shape: tuple[int, ...]) -> str:
    """A shape as canonical text, e.g. [3,32,32]."""
    return f"[{','.join(map(str, shape))}]"


def type_text(shape: tuple[int, ...]) -> str:
    """The type of a tensor as declarations write it: real[3,32,32], or real for a number."""
    return f"real{dims_text(shape)}" if shape else "real"
