"""ReLU and leaky ReLU: the triangle's chord and an adaptive line through the origin.

Chord: Ehlers 2017 (arXiv 1705.01320). Adaptive slope: the end slope that leaves the smaller area,
Zhang et al. 2018 (CROWN, arXiv 1811.00866).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..bending import bent
from ..graph import Node
from ..interval import Interval
from ..parallel import Parallel
from ..rule import Boxes, Elementwise, Lines, Pulled, PulledWindows, register
from ..windows import WindowRows

__all__ = ["LeakyRelu", "RandomizedRelu", "Relu"]

aten = torch.ops.aten


class LeakyRelu(Elementwise):
    """max(x, slope * x) for slope <= 1, min(x, slope * x) otherwise; relu is slope 0.

    Free: where the line that touches the kink lies between the two ends' slopes, 0 the negative side's.
    """

    parameters = 1

    def slope(self, node: Node) -> float:
        """The slope on the negative side."""
        return float(node.argument(1, "negative_slope", 0.01))

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        box, slope = inputs[0], self.slope(node)
        low, high = node.run(box.lower), node.run(box.upper)
        if slope >= 0:
            return Interval(low, high)
        floor = torch.where(
            (box.lower < 0) & (box.upper > 0), torch.zeros_like(low), torch.minimum(low, high)
        )
        return Interval(floor, torch.maximum(low, high))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return (box.lower < 0) & (box.upper > 0)

    def derivative(self, node: Node, box: Interval) -> Interval:
        slope = self.slope(node)
        right, left = box.lower > 0, box.upper < 0  # elsewhere the kink lies within: all slopes between
        ends = (torch.full_like(box.lower, end) for end in (min(slope, 1.0), max(slope, 1.0)))
        return Interval(*(e.masked_fill(right, 1.0).masked_fill(left, slope) for e in ends))

    def first(self, node: Node, box: Interval) -> tuple[Tensor, ...]:
        return ((box.upper > -box.lower).to(box.lower.dtype),)

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        slope = self.slope(node)
        low, high = box.lower, box.upper
        one = torch.ones_like(low)
        crossing = ~((low >= 0) | (high <= 0))  # NaN bounds count as crossing, and then give NaN lines
        width = torch.where(crossing, high - low, one)
        stable = torch.where(low >= 0, one, slope * one)
        chord = torch.where(crossing, (high - slope * low) / width, stable)
        offset = torch.where(crossing, (slope - 1) * low * high / width, torch.zeros_like(low))
        end = slope + (1 - slope) * free[0] if free else torch.where(high > -low, one, slope * one)
        end = torch.where(crossing, end, stable)
        if slope <= 1:
            return Lines(end, chord, None, offset)
        return Lines(chord, end, offset, None)

    def parallel(self, node: Node, box: Interval) -> Parallel:
        """A strip of the chord's slope: through the kink, and the chord itself."""
        lines, zero = self.lines(node, box), torch.zeros_like(box.lower)
        if lines.upper_offset is not None:
            return Parallel(lines.upper_slope, zero, lines.upper_offset)
        low = zero if lines.lower_offset is None else lines.lower_offset
        return Parallel(lines.lower_slope, low, zero)


class Relu(LeakyRelu):
    """max(x, 0)."""

    def slope(self, node: Node) -> float:
        return 0.0

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(inputs[0].lower.clamp(min=0), inputs[0].upper.clamp(min=0))

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        # slope 0: the stable cases fall out of the chord of the box widened to zero, in half the operations
        low, high = box.lower.clamp(max=0), box.upper.clamp(min=0)
        width = (high - low).clamp(min=torch.finfo(low.dtype).tiny)
        chord = high / width
        if not free:
            return Lines((chord > 0.5).to(low.dtype), chord, None, -low * chord)
        base, gain = self._open(box, chord)
        return Lines(torch.addcmul(base, gain, free[0]), chord, None, -low * chord)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        """As for every function, but with what the box gives computed once for all steps of a tuning."""
        if free is None:
            return super().backward(node, a, boxes)
        base, gain, chord, high = (part.unsqueeze(1) for part in self._pieces(node, boxes))
        slope = torch.addcmul(base, gain, free.squeeze(2))
        pulled, offset = bent(a, slope, chord - slope, None, high)
        return Pulled((pulled,), offset)

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        """As for every function, but with what the box gives computed on the map, not on every window."""
        box = boxes[node.inputs[0]]
        if free is None or free.shape[3:] == box.lower.shape[1:]:
            return super().backward_windows(node, rows, boxes, free)
        base, gain, chord, high = (rows.view(part) for part in self._pieces(node, boxes))
        slope = torch.addcmul(base, gain, free.squeeze(2))
        pulled, offset = bent(rows.a, slope, chord - slope, None, high)
        return PulledWindows((rows.with_coefficients(pulled, clean=True),), offset)

    def _pieces(self, node: Node, boxes: Boxes) -> tuple[Tensor, ...]:
        """Base and gain of the lower slope, and the chord's slope and offset: each (B, *shape)."""
        box = boxes[node.inputs[0]]

        def make() -> tuple[Tensor, ...]:
            lines = self.lines(node, box)
            assert lines.upper_offset is not None  # the chord's
            return (*self._open(box, lines.upper_slope), lines.upper_slope, lines.upper_offset)

        return box.once((node, "pieces"), make)

    def _open(self, box: Interval, chord: Tensor) -> tuple[Tensor, Tensor]:
        """The lower slope as base + gain * parameter: the parameter counts where the kink lies within."""
        gain = ((box.lower < 0) & (box.upper > 0)).to(chord.dtype)
        return chord * (1 - gain), gain


class RandomizedRelu(LeakyRelu):
    """Leaky ReLU with a random slope, which in evaluation is the middle of its range."""

    def check(self, node: Node) -> None:
        if bool(node.argument(3, "training", False)):
            raise UnsupportedOpError(
                "rrelu in training is random", where=f"node {node.name}", cure="use evaluation mode"
            )

    def slope(self, node: Node) -> float:
        return (float(node.argument(1, "lower", 1 / 8)) + float(node.argument(2, "upper", 1 / 3))) / 2


register(aten.relu.default)(Relu())
register(aten.leaky_relu.default)(LeakyRelu())
register(aten.rrelu.default)(RandomizedRelu())
