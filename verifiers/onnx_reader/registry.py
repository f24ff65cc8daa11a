"""The table of converters: one function per ONNX operator, entered by `@converter("Gemm")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .folding import Array
from .operation import Operation
from .value import Value

__all__ = ["CONVERTERS", "Converter", "converter"]

Converter = Callable[[Operation], "Value | Array | list[Value] | list[Value | Array]"]
CONVERTERS: dict[str, Converter] = {}

C = TypeVar("C", bound=Converter)


def converter(*kinds: str) -> Callable[[C], C]:
    """Enters a function as the converter of these ONNX operators.

    The function gets the `Operation` and returns the value of the first output, or a list, one for each
    output; arrays where a result is constant nevertheless. It is called only where some input depends on the
    network's input; the rest is folded.
    """

    def enter(function: C) -> C:
        for kind in kinds:
            CONVERTERS[kind] = function
        return function

    return enter
