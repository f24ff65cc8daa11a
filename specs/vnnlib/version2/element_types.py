"""The element types of tensors: `real`, and those of ONNX; which constants belong to each.

Source: the VNN-LIB standard 2.1, chapters 2 and 3; the names are those of the ONNX specification
(https://onnx.ai/onnx/repo-docs/IR.html#tensor-element-types).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["ELEMENT_TYPES", "REAL", "ElementType"]

_INTEGER = re.compile(r"-?\d{1,40}")
_EXACT = 2**53


@dataclass(frozen=True, slots=True)
class ElementType:
    """One element type.

    Attributes:
        name: canonical.
        arithmetic: whether elements can be compared and added (not strings, truths and complex numbers).
        lowest, highest: the range of an integer type; None for types of real numbers.
    """

    name: str
    arithmetic: bool = True
    lowest: int | None = None
    highest: int | None = None

    @property
    def integer(self) -> bool:
        """Whether its elements are integers."""
        return self.lowest is not None

    def refuses(self, number: str) -> str | None:
        """Why the constant, as written, is no element of the type; None if it is one."""
        if self.lowest is None or self.highest is None:
            return None
        if _INTEGER.fullmatch(number) is None:
            return "it is no integer"
        value = int(number)
        if not self.lowest <= value <= self.highest:
            return f"it is outside {self.lowest} .. {self.highest}"
        return "integers beyond 2^53 are not read exactly" if abs(value) > _EXACT else None

    def __str__(self) -> str:
        return self.name


REAL = ElementType("real")
"""Permission to treat the networks as functions over the real numbers; then every tensor is real."""


def _integers(bits: int) -> list[ElementType]:
    half = 1 << (bits - 1)
    return [
        ElementType(f"int{bits}", True, -half, half - 1),
        ElementType(f"uint{bits}", True, 0, 2 * half - 1),
    ]


def _all_types() -> dict[str, ElementType]:
    floats = (
        "float16 float32 float64 bfloat16 float8e4m3fn float8e4m3fnuz float8e5m2 float8e5m2fnuz float4e2m1"
    )
    types = [REAL, *map(ElementType, floats.split())]
    types += [t for bits in (4, 8, 16, 32, 64) for t in _integers(bits)]
    types += [ElementType(name, arithmetic=False) for name in ("bool", "string", "complex64", "complex128")]
    named = {t.name: t for t in types}
    aliases = {"Real": "real", "float": "float32", "double": "float64"}
    return named | {alias: named[name] for alias, name in aliases.items()}


ELEMENT_TYPES: Mapping[str, ElementType] = MappingProxyType(_all_types())
"""Element types by the names that files use; `Real`, `float` and `double` are read as well."""
