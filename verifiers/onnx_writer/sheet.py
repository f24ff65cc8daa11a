"""An ONNX graph under construction: operators and constants, each under a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import DtypeError

__all__ = ["ELEMENT_TYPES", "Sheet"]

#: ONNX's number of each dtype that a graph may hold.
ELEMENT_TYPES = {
    torch.float32: 1,
    torch.uint8: 2,
    torch.int8: 3,
    torch.int16: 5,
    torch.int32: 6,
    torch.int64: 7,
    torch.bool: 9,
    torch.float64: 11,
}

Operand = str | Tensor | None


class Sheet:
    """Operators in order, and constants; an equal constant is written once."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self._taken: Counter[str] = Counter()
        self._by_tensor: dict[int, str] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._alive: list[Tensor] = []  # so that no other tensor takes the identity of one

    def add(
        self, kind: str, inputs: Sequence[Operand], *, name: str, outputs: int = 1, **settings: Any
    ) -> str:
        """An operator; the name of its last output (of others NAME.0, ...). None leaves an input out."""
        from onnx import helper

        names = [self.constant(i) if isinstance(i, Tensor) else i or "" for i in inputs]
        while names and not names[-1]:
            names.pop()
        result = self.fresh(name)
        ends = [*(f"{result}.{k}" for k in range(outputs - 1)), result]
        kept = {key: value for key, value in settings.items() if value is not None}
        self.nodes.append(helper.make_node(kind, names, ends, name=f"{kind} {result}", **kept))
        return result

    def constant(self, value: Tensor) -> str:
        """The name of a constant; the same for the same tensor, and for equal small ones."""
        if id(value) in self._by_tensor:
            return self._by_tensor[id(value)]
        if value.dtype not in ELEMENT_TYPES:
            raise DtypeError(f"a constant of {value.dtype}", cure="export the network in float32 or float64")
        array = np.ascontiguousarray(value.detach().cpu().numpy()).reshape(tuple(value.shape))
        if array.size <= 64:
            key = (str(array.dtype), array.shape, array.tobytes())
            name = self._small[key] if key in self._small else self._small.setdefault(key, self._next())
        else:
            name = self._next()
        self.constants.setdefault(name, array)
        self._by_tensor[id(value)] = name
        self._alive.append(value)
        return name

    def integers(self, values: Sequence[int]) -> str:
        """A list of whole numbers, as shapes and axes are given."""
        return self.constant(torch.tensor(list(values), dtype=torch.int64))

    def fresh(self, name: str) -> str:
        """The name, with a number where it is taken."""
        self._taken[name] += 1
        count = self._taken[name]
        return name if count == 1 else self.fresh(f"{name}.{count}")

    def _next(self) -> str:
        return self.fresh("constant")
