"""Reads the declaration of one tensor: its name, element type and shape.

(declare-input NAME TYPE SHAPE [initialized])         SHAPE := [] | [n,..]
(declare-hidden NAME TYPE SHAPE "node output of the ONNX file")
(declare-output NAME TYPE SHAPE)
"""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from typing import NoReturn

from ..stream import CLOSE, ELEMENT, STRING, WORD, Stream, Token, brief, offset_of
from .declarations import Tensor
from .element_types import ELEMENT_TYPES, REAL, ElementType
from .tokens import NAME, bracket, opens_bracket

__all__ = ["TensorReader"]

_RESERVED = ("and", "or", "initialized")
_DIMENSION = re.compile(r"[0-9]{1,12}")
_MOST_ELEMENTS = 1 << 40
_ESCAPES = {"\\n": "\n", "\\t": "\t"}


class TensorReader:
    """Reads from a stream; names are unique over all that it has read, positions go on."""

    def __init__(self, stream: Stream, version: str) -> None:
        self.stream = stream
        self._version = version
        self._size = 0
        self._names: set[str] = set()
        self._real: bool | None = None  # whether tensors are real: all or none

    def read(self, head: str, offset: int) -> Tensor:
        """The rest of `(head NAME TYPE SHAPE ...)`."""
        name = self.new_name("a name for the tensor", offset)
        kind, shape = self._type_and_shape(head, offset)
        tensor = Tensor(name, kind, shape, self._size)
        self._size += tensor.size
        if head == "declare-hidden":
            tensor = replace(tensor, node=self._node(offset))
        token = self.stream.take(head, offset)
        if head == "declare-input" and token[0].lastindex == WORD and token[0][WORD] == "initialized":
            if self._version == "2.0":
                cure = "write `(vnnlib-version <2.1>)`"
                raise self.stream.source.error("`initialized` belongs to VNN-LIB 2.1", offset_of(token), cure)
            tensor = replace(tensor, initialized=True)
            token = self.stream.take(head, offset)
        if token[0].lastindex != CLOSE:
            self._fail(token, f"`)` to end `({head}`")
        return tensor

    def new_name(self, expected: str, opened: int) -> str:
        """The next word as a name that has not been taken; an error where it is none."""
        name, at = self.stream.word(expected, opened)
        if not NAME.fullmatch(name) or name in _RESERVED:
            cure = "names are a letter, then letters, digits and `_`"
            raise self.stream.source.error(f"`{brief(name)}` is no name", at, cure)
        if name in self._names:
            cure = "names of networks and tensors are unique in a file"
            raise self.stream.source.error(f"`{name}` is declared twice", at, cure)
        self._names.add(name)
        return name

    def _type_and_shape(self, head: str, offset: int) -> tuple[ElementType, tuple[int, ...]]:
        token = self.stream.take(head, offset)
        if token[0].lastindex == ELEMENT:  # without a blank in between
            name, index = token[0][ELEMENT][:-1].split("[")
            return self._type(name, offset_of(token)), self._dimensions(index.split(","), offset_of(token))
        if token[0].lastindex != WORD:
            self._fail(token, "an element type such as real or float32")
        kind = self._type(token[0][WORD], offset_of(token))
        token = self.stream.take(head, offset)
        if not opens_bracket(token):
            self._fail(token, "a shape such as [1,10], or [] for a scalar")
        return kind, self._dimensions(bracket(self.stream, head, offset), offset_of(token))

    def _type(self, name: str, at: int) -> ElementType:
        kind = ELEMENT_TYPES.get(name)
        if kind is None:
            near = get_close_matches(name, ELEMENT_TYPES, n=2)
            cure = (
                f"did you mean {' or '.join(near)}?"
                if near
                else "types are real and those of ONNX, e.g. float32"
            )
            raise self.stream.source.error(f"`{brief(name)}` is no element type", at, cure, code="E-DTYPE")
        if self._real is None:
            self._real = kind is REAL
        if self._real != (kind is REAL):
            cure = "use real for every tensor, or for none"
            raise self.stream.source.error("real and ONNX types are mixed", at, cure, code="E-DTYPE")
        return kind

    def _dimensions(self, words: list[str], at: int) -> tuple[int, ...]:
        if words in ([], [""]):
            return ()
        for word in words:
            if not _DIMENSION.fullmatch(word) or int(word) < 1:
                cure = "dimensions are whole numbers from 1 on; dynamic ones must be given a size"
                raise self.stream.source.error(f"`{brief(word)}` is no dimension", at, cure, code="E-SHAPE")
        shape = tuple(map(int, words))
        if self._size + Tensor("", REAL, shape).size > _MOST_ELEMENTS:
            cure = "declare the shapes of the ONNX file"
            raise self.stream.source.error("the tensor has too many elements", at, cure, code="E-SHAPE")
        return shape

    def _node(self, offset: int) -> str:
        token = self.stream.take("declare-hidden", offset)
        if token[0].lastindex != STRING:
            self._fail(token, 'the name of a node output of the ONNX file, in quotes: "relu_3"')
        text = token[0][STRING][1:-1].encode("latin-1").decode("utf-8", "replace")
        return re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0][1]), text)

    def _fail(self, token: Token, expected: str) -> NoReturn:
        raise self.stream.unexpected(token, expected)
