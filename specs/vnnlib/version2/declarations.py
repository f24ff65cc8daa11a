"""What a file of VNN-LIB 2 declares: networks, and the tensors that go in, come out, or lie inside."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .element_types import ElementType

__all__ = ["Declarations", "Network", "Tensor"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A declared tensor.

    Attributes:
        name: unique in the file.
        type: of its elements.
        shape: as declared, batch axis included; () for a scalar.
        start: position of its first element when the elements of all tensors are numbered in the order
            of declaration, each tensor in row-major order.
        node: for hidden tensors, the name of the node output in the ONNX file.
        initialized: whether an input may take the default value that the ONNX file gives it.
    """

    name: str
    type: ElementType
    shape: tuple[int, ...]
    start: int = 0
    node: str | None = None
    initialized: bool = False

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def position(self, index: tuple[int, ...]) -> int:
        """The position of an element; the index must have one item per axis and lie inside."""
        flat = 0
        for i, n in zip(index, self.shape, strict=True):
            flat = flat * n + i
        return self.start + flat

    def index(self, position: int) -> tuple[int, ...]:
        """The index of the element at a position."""
        flat, items = position - self.start, []
        for n in reversed(self.shape):
            flat, i = divmod(flat, n)
            items.append(i)
        return tuple(reversed(items))

    def label(self, position: int) -> str:
        """The element as files write it: X[0,1], or Y for a scalar."""
        return f"{self.name}[{','.join(map(str, self.index(position)))}]" if self.shape else self.name


@dataclass(frozen=True, slots=True)
class Network:
    """A declared network. At most one of `equal_to` (same file) and `isomorphic_to` (same graph) is set."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    hidden: tuple[Tensor, ...] = ()
    equal_to: str | None = None
    isomorphic_to: str | None = None

    @property
    def tensors(self) -> Iterator[Tensor]:
        """Inputs, hidden ones and outputs, in the order of declaration."""
        yield from self.inputs
        yield from self.hidden
        yield from self.outputs


class Declarations:
    """Networks by name, and all their elements by position."""

    __slots__ = ("_starts", "networks", "size", "tensors")

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks = {network.name: network for network in networks}
        self.tensors = {t.name: t for network in self.networks.values() for t in network.tensors}
        ordered = list(self.tensors.values())
        self._starts = [t.start for t in ordered]
        self.size = ordered[-1].start + ordered[-1].size if ordered else 0

    def at(self, position: int) -> Tensor:
        """The tensor that holds the element at a position."""
        return list(self.tensors.values())[bisect_right(self._starts, position) - 1]

    def labels(self) -> list[str]:
        """Every element as files write it, by position."""
        return [t.label(p) for t in self.tensors.values() for p in range(t.start, t.start + t.size)]
