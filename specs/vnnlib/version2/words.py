"""The words of VNN-LIB 2: numbers, elements of declared tensors, its relations, and the types of all of them.

All parts of a comparison have one type; constants take that of the elements beside them, so that a
comparison without an element has none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from robustbench_local.errors import SpecError

from ..source import Source
from ..stream import ASSERTED, ELEMENT, LITERALS, WORD, Stream, Token, brief, offset_of
from ..terms import Element, Number
from .declarations import Tensor
from .tokens import ASSERTED_LITERAL, LITERAL, NUMBER, bracket, opens_bracket

__all__ = ["Words"]

_OTHER_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INDEX = re.compile(r"[0-9]{1,12}")


class Words:
    """Elements of the tensors given by name, and how formulas are written."""

    relations: Mapping[str, str] = MappingProxyType({s: s for s in ("<", "<=", ">", ">=", "==", "!=")})
    literals: Mapping[int, re.Pattern[str]] = MappingProxyType(
        {ASSERTED: ASSERTED_LITERAL, LITERALS: LITERAL}
    )

    def __init__(self, stream: Stream, tensors: Mapping[str, Tensor]) -> None:
        self.positions: Mapping[str, int] = _Positions(tensors)
        self.careful = any(t.type.integer or not t.type.arithmetic for t in tensors.values())
        self._stream, self._tensors = stream, tensors
        self._constants: list[tuple[str, int]] = []  # of the comparison that is being read: text, offset
        self._elements: list[tuple[Tensor, int]] = []

    def leaf(self, token: Token) -> Number | Element | None:
        """The number or element; None for a token that is neither a word nor an element."""
        match, _ = token
        at = offset_of(token)
        if match.lastindex == ELEMENT:
            name, index = match[ELEMENT][:-1].split("[")
            return self._element(name, index, at)
        if match.lastindex != WORD:
            return None
        word = match[WORD]
        if NUMBER.fullmatch(word):
            self._constants.append((word, at))
            self._check_finite(word, at)
            return Number(float(word) + 0.0)
        tensor = self._tensors.get(word)
        if tensor is None:
            raise self._unknown(word, at)
        if not tensor.shape:
            return self._element(word, None, at)
        indexed = opens_bracket(next(self._stream.tokens, None))
        return self._element(word, ",".join(bracket(self._stream, word, at)) if indexed else None, at)

    def check(self, element: str, at: int, number: str, at_number: int) -> None:
        """An error for an unknown tensor, a bad index, or a number that is none of its tensor's type."""
        name, bracketed, index = element.partition("[")
        tensor, _ = self._find(name, index[:-1] if bracketed else None, at)
        self._check_constant(tensor, number, at_number)

    def end_comparison(self, offset: int) -> None:
        """Checks the types of what `leaf` has returned since the last comparison."""
        elements, constants = self._elements, self._constants
        self._elements, self._constants = [], []
        if not elements:
            cure = "compare an element of a tensor; a comparison of constants has no type"
            raise self._source.error("a comparison without an element", offset, cure, code="E-DTYPE")
        first, _ = elements[0]
        for tensor, at in elements:
            if tensor.type is not first.type:
                what = f"`{tensor.name}` is of type {tensor.type}, `{first.name}` of type {first.type}"
                cure = "types are not converted: both sides need one type"
                raise self._source.error(what, at, cure, code="E-DTYPE")
        for word, at in constants:
            self._check_constant(first, word, at)

    @property
    def _source(self) -> Source:
        return self._stream.source

    def _element(self, name: str, index: str | None, at: int) -> Element:
        tensor, position = self._find(name, index, at)
        self._elements.append((tensor, at))
        return Element(position)

    def _find(self, name: str, index: str | None, at: int) -> tuple[Tensor, int]:
        """The tensor, and the position of its element at an index as text (None: none is given)."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise self._unknown(name, at)
        if not tensor.type.arithmetic:
            what = f"elements of `{name}`, of type {tensor.type}, cannot be compared"
            cure = "compare tensors of real, float or integer types"
            raise self._source.error(what, at, cure, code="E-DTYPE")
        words = [] if index is None else index.split(",")
        if len(words) != len(tensor.shape):
            shape = ",".join(map(str, tensor.shape))
            what = f"`{name}` has shape [{shape}], the index {len(words)} items"
            written = f"{name}[{','.join('0' * len(tensor.shape))}]" if tensor.shape else name
            cure = f"index every axis, e.g. `{written}`; there are no slices"
            raise self._source.error(what, at, cure, code="E-INDEX")
        for axis, (word, n) in enumerate(zip(words, tensor.shape, strict=True)):
            if not _INDEX.fullmatch(word) or int(word) >= n:
                what = f"index `{brief(word)}` is not in 0 .. {n - 1}, axis {axis} of `{name}`"
                raise self._source.error(what, at, "indices are counted from 0", code="E-INDEX")
        return tensor, tensor.position(tuple(map(int, words)))

    def _unknown(self, word: str, at: int) -> SpecError:
        if _OTHER_NUMBER.fullmatch(word):
            what = f"VNN-LIB 2 writes numbers as -12 or 0.5, not `{brief(word)}`"
            return self._source.error(what, at, "write all digits, without exponent or +")
        what = f"expected a number or a declared tensor, found `{brief(word)}`"
        return self._source.error(what, at, f"declared are {', '.join(list(self._tensors)[:8])}")

    def _check_constant(self, tensor: Tensor, word: str, at: int) -> None:
        self._check_finite(word, at)
        reason = tensor.type.refuses(word)
        if reason is not None:
            what = f"{brief(word)} is no {tensor.type}: {reason}"
            raise self._source.error(what, at, f"constants have the type of `{tensor.name}`", code="E-DTYPE")

    def _check_finite(self, word: str, at: int) -> None:
        if not math.isfinite(float(word)):
            what, cure = f"{brief(word)} is too large for float64", "the largest number is 1.79e308"
            raise self._source.error(what, at, cure)


class _Positions(dict[str, int]):
    """Elements as written -> positions, found at first use; KeyError for what is no element."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._tensors = tensors

    def __missing__(self, element: str) -> int:
        name, bracketed, index = element.partition("[")
        tensor = self._tensors[name]
        words = index[:-1].split(",") if bracketed else []
        if len(words) != len(tensor.shape) or not tensor.type.arithmetic:
            raise KeyError(element)
        if not all(_INDEX.fullmatch(w) and int(w) < n for w, n in zip(words, tensor.shape, strict=True)):
            raise KeyError(element)
        self[element] = position = tensor.position(tuple(map(int, words)))
        return position
