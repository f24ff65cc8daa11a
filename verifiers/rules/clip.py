"""Clamps: ReLU6, hard tanh, hard sigmoid, clamp with numbers or tensors; and the hard swish.

The lower line turns on the first kink, the upper line on the second: both slopes are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node, Slot
from ..interval import Interval
from ..rule import Boxes, Elementwise, Lines, PulledWindows, register
from ..windows import WindowRows
from .arithmetic import sample_constant
from .hull import Corner, Fan, fan_below
from .piecewise import Kinked

__all__ = ["Clamp", "ClampTensor", "HardSwish", "Ramp"]

aten = torch.ops.aten


class Ramp(Kinked):
    """Constant, then rising, then constant; `low` and `high` are the kinks, `slope` what lies between."""

    def __init__(self, low: float, high: float, slope: float = 1.0) -> None:
        self.low, self.high, self.slope = low, high, slope

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(*(self.function(node, x) for x in (inputs[0].lower, inputs[0].upper)))

    def limits(self, node: Node, like: Tensor) -> tuple[Any, Any]:
        """Both kinks, None for one that is missing."""
        return self.low, self.high

    def kinks(self, node: Node, like: Tensor) -> tuple[Sequence[Any], Sequence[Any]]:
        low, high = self.limits(node, like)
        first = [] if low is None else [(low, 0.0)]
        last = [] if high is None else [(high, 0.0)]
        return [p for p, _ in first + last], [*(s for _, s in first), self.slope, *(s for _, s in last)]


class Clamp(Ramp):
    """clamp with numbers at the arguments `low` and `high` of these names; None or missing is unbounded."""

    def __init__(self, low: tuple[int, str, Any] | None, high: tuple[int, str, Any] | None) -> None:
        super().__init__(0.0, 0.0)
        self.arguments = low, high
        self.parameters = 1 if low is None or high is None else 2

    def limits(self, node: Node, like: Tensor) -> tuple[Any, Any]:
        ends = [None if a is None else node.argument(*a) for a in self.arguments]
        return ends[0], ends[1]


class ClampTensor(Clamp):
    """clamp with constant tensors, which broadcast over one sample."""

    def check(self, node: Node) -> None:
        if len(node.inputs) != 1 or not isinstance(node.args[0], Slot):
            raise UnsupportedOpError(
                f"{node.op} with bounds that depend on the input has no rule",
                where=f"node {node.name}",
                cure="use torch.maximum and torch.minimum",
            )

    def limits(self, node: Node, like: Tensor) -> tuple[Any, Any]:
        low, high = super().limits(node, like)
        return tuple(None if e is None else sample_constant(node, e, like) for e in (low, high))  # type: ignore[return-value]

    def function(self, node: Node, x: Tensor) -> Tensor:
        low, high = self.limits(node, x)
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        if free is not None and free.shape[3:] != node.shape:  # the lines are made on the rows' windows
            args = [self._viewed(node, rows, a) if isinstance(a, Tensor) else a for a in node.args]
            kwargs = {k: self._viewed(node, rows, v) for k, v in node.kwargs.items() if v is not None}
            node = replace(node, args=tuple(args), kwargs=kwargs)
        return super().backward_windows(node, rows, boxes, free)

    @staticmethod
    def _viewed(node: Node, rows: WindowRows, constant: Tensor) -> Tensor:
        return rows.view(sample_constant(node, constant, rows.a).expand(1, *node.shape))


class HardSwish(Elementwise):
    """x * clamp(x + 3, 0, 6) / 6 (Howard et al. 2019, arXiv 1905.02244): a parabola between two lines.

    The parabola is convex and meets both lines in concave kinks. Lower line: a tangent of the parabola, free
    between the tangents through the box's ends, or the chord where no tangent stays below. Upper line: the
    hull of both ends and both kinks, free where it has a corner.
    """

    parameters = 2

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        low, high = inputs[0].lower, inputs[0].upper
        ends = node.run(low), node.run(high)
        bottom = node.run(torch.minimum(torch.maximum(torch.full_like(low, -1.5), low), high))
        slack = torch.finfo(low.dtype).eps  # the rounded parabola is not monotone by an ulp
        return Interval(
            torch.minimum(torch.minimum(*ends), bottom) - slack * bottom.abs(), torch.maximum(*ends)
        )

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return (box.upper > -3) & (box.lower < 3) & (box.lower < box.upper)

    def derivative(self, node: Node, box: Interval) -> Interval:
        low, high = box.lower, box.upper
        first, last = ((2 * x.clamp(-3, 3) + 3) / 6 for x in (low, high))  # on the parabola
        pieces = ((low <= -3, 0.0, 0.0), ((high >= -3) & (low <= 3), first, last), (high >= 3, 1.0, 1.0))
        least, most = torch.full_like(low, torch.inf), torch.full_like(low, -torch.inf)
        for meets, smallest, largest in pieces:
            least = torch.where(meets, least.clamp(max=smallest), least)
            most = torch.where(meets, most.clamp(min=largest), most)
        return Interval(least, most)

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        least, most = self._tangents(node, box)
        slope = least + (free[0] if free else self._share(box, least, most)) * (most - least)
        mirrored, shift = self._upper(node, box).line(free[1] if free else None)
        return Lines(slope, -mirrored, self._offset(node, box, slope), -shift)

    def first(self, node: Node, box: Interval) -> tuple[Tensor, ...]:
        return self._share(box, *self._tangents(node, box)), self._upper(node, box).share()

    def _tangents(self, node: Node, box: Interval) -> tuple[Tensor, Tensor]:
        """The slopes of the lower hull's first and last line."""
        low, high = box.lower, box.upper
        # tangents to (x^2 + 3 x) / 6 through (l, 0), l < -3, and through (u, u), u > 3
        left, right = low.clamp(max=-3), high.clamp(min=3)
        first = torch.where(low < -3, left + (left * (left + 3)).clamp(min=0).sqrt(), low)
        last = torch.where(high > 3, right - (right * (right - 3)).clamp(min=0).sqrt(), high)
        width = high - low
        wide = width > 1e-6 * (1 + low.abs())
        chord = (node.run(high) - node.run(low)) / torch.where(wide, width, torch.ones_like(width))
        flat = torch.where(
            high <= -3, torch.zeros_like(low), torch.where(low >= 3, torch.ones_like(low), (2 * low + 3) / 6)
        )
        chord = torch.where(wide, chord, flat)
        straight = ~(first < last) | (high <= -3) | (low >= 3)
        return tuple(torch.where(straight, chord, (2 * t + 3) / 6) for t in (first, last))  # type: ignore[return-value]

    def _share(self, box: Interval, least: Tensor, most: Tensor) -> Tensor:
        """Where between these slopes the line lies that is highest at the box's middle."""
        middle = (2 * torch.lerp(box.lower, box.upper, 0.5) + 3) / 6
        width = most - least
        return ((middle - least) / torch.where(width > 0, width, torch.ones_like(width))).clamp(0, 1)

    def _offset(self, node: Node, box: Interval, slope: Tensor) -> Tensor:
        """The largest offset of a line of this slope: at an end, a kink, or parallel to the parabola."""
        low, high = box.lower, box.upper
        touch = torch.minimum(torch.maximum(3 * slope - 1.5, low.clamp(-3, 3)), high.clamp(-3, 3))
        touch = torch.minimum(torch.maximum(touch, low), high)
        places = (
            low,
            high,
            touch,
            *(torch.minimum(torch.maximum(torch.full_like(low, k), low), high) for k in (-3.0, 3.0)),
        )
        return reduce(torch.minimum, (node.run(x) - slope * x for x in places))

    def _upper(self, node: Node, box: Interval) -> Fan:
        low, high = box.lower, box.upper
        kinks = (torch.minimum(torch.maximum(torch.full_like(low, k), low), high) for k in (-3.0, 3.0))
        corners = [Corner(x, -node.run(x)) for x in (low, *kinks, high)]
        return fan_below(box, corners, jumps=False)


register(aten.relu6.default)(Ramp(0.0, 6.0))
register(aten.hardsigmoid.default)(Ramp(-3.0, 3.0, 1 / 6))
register(aten.hardtanh.default)(Clamp((1, "min_val", -1), (2, "max_val", 1)))
register(aten.clamp.default, aten.clip.default)(Clamp((1, "min", None), (2, "max", None)))
register(aten.clamp_min.default)(Clamp((1, "min", None), None))
register(aten.clamp_max.default)(Clamp(None, (1, "max", None)))
register(aten.clamp.Tensor, aten.clip.Tensor)(ClampTensor((1, "min", None), (2, "max", None)))
register(aten.clamp_min.Tensor)(ClampTensor((1, "min", None), None))
register(aten.clamp_max.Tensor)(ClampTensor(None, (1, "max", None)))
register(aten.hardswish.default)(HardSwish())
