"""What an exact encoding must do, and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from ...graph import Node
from ...rule import Boxes
from ..program import Builder

__all__ = ["ENCODINGS", "Encoding", "encodes"]


class Encoding(ABC):
    """Rows and integer columns whose solutions are exactly the operator's graph over the inputs' boxes."""

    @abstractmethod
    def encode(self, node: Node, boxes: Boxes, builder: Builder) -> None:
        """Adds the rows of `node`, whose columns and whose inputs' columns the builder has already.

        All inputs' boxes (batch 1, float64) are finite.
        """


ENCODINGS: dict[Callable[..., Any], Encoding] = {}

E = TypeVar("E", bound=Encoding)


def encodes(*operators: Callable[..., Any]) -> Callable[[E], E]:
    """Enters an encoding for these operators: `encodes(aten.relu.default)(...)`."""

    def enter(encoding: E) -> E:
        for op in operators:
            ENCODINGS[op] = encoding
        return encoding

    return enter
