"""nan_to_num: over the reals it changes nothing.

It replaces values that are not finite, which no real computation has. So bounds that are not finite, which
the operator itself would make finite, must tell nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, PulledWindows, register
from ..windows import WindowRows

__all__ = ["FiniteIdentity"]

aten = torch.ops.aten


class FiniteIdentity(Affine):
    """The identity on numbers; NaN bounds where those of the input are NaN or infinite."""

    coordinatewise = True

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        unknown = 0 * (inputs[0].lower + inputs[0].upper)
        return Interval(inputs[0].lower + unknown, inputs[0].upper + unknown)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        return Pulled((a,))

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        return PulledWindows((rows,))


register(aten.nan_to_num.default)(FiniteIdentity())
