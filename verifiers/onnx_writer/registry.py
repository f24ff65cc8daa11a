"""The table of exporters: one function per operator of the graph, entered by `@exporter(OP)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .call import Call

__all__ = ["EXPORTERS", "Exporter", "exporter"]

Exporter = Callable[[Call], str]
EXPORTERS: dict[Callable[..., Any], Exporter] = {}

E = TypeVar("E", bound=Exporter)


def exporter(*operators: Callable[..., Any]) -> Callable[[E], E]:
    """Enters a function as the exporter of these operators.

    The function gets the `Call`, adds ONNX operators by `call.op` and returns the name of the result.
    """

    def enter(function: E) -> E:
        for op in operators:
            EXPORTERS[op] = function
        return function

    return enter
