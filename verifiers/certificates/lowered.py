"""The network of a certificate while it is put together: entries of the header, arrays by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Lowered", "narrow"]

Arrays = dict[str, NDArray[Any]]


@dataclass
class Lowered:
    """The network of a certificate: entries of the header, arrays by name; the output is last.

    numbers: of the nodes that compute the nodes of the graph it was made of, by their index there.
    """

    nodes: list[dict[str, Any]] = field(default_factory=list)
    arrays: Arrays = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def add(
        self, op: str, inputs: list[int], outputs: int, arrays: Arrays | None = None, **about: Any
    ) -> int:
        """Enters a node of `outputs` numbers, and returns its number."""
        self.nodes.append({"op": op, "inputs": inputs, **about})
        self.sizes.append(outputs)
        number = len(self.nodes) - 1
        for name, value in (arrays or {}).items():
            self.arrays[f"network/{number}.{name}"] = value
        return number

    def pick(self, parent: int, index: NDArray[Any], weight: Any = 1.0, bias: Any = 0.0) -> int:
        """y_i = weight_i * x at index_i + bias_i; the parent itself where that changes nothing."""
        size = self.sizes[parent]
        weight, bias = (np.broadcast_to(narrow(v), index.shape) for v in (weight, bias))
        same = len(index) == size and bool(np.all(index == np.arange(size)))
        if same and bool(np.all(weight == 1)) and not bool(np.any(bias)):
            return parent
        parts = {"index": index.astype(np.int32), "weight": weight, "bias": bias}
        return self.add("pick", [parent], len(index), parts, size=size)

    def scale(self, parent: int, weight: Any = 1.0, bias: Any = 0.0) -> int:
        """y = weight * x + bias, coordinate by coordinate."""
        return self.pick(parent, np.arange(self.sizes[parent]), weight, bias)


def narrow(value: Any) -> NDArray[Any]:
    """As float32 where that is exact, else as float64."""
    wide = np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value, np.float64)
    short = wide.astype(np.float32)
    return short if bool(np.all(short.astype(np.float64) == wide)) else wide
