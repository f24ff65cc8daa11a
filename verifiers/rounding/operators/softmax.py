"""Softmax and its logarithm, computed as exp(x - max) / sum, in one pass or in pieces that are rescaled.

With D the range of the inputs, x_i - m is off by 2 u D (D again for a rescaling), which exp turns into a
relative error; exp has 8 u of its own, the sum gamma_n, the quotient and the rescaling 4 u.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...graph import Node
from ...interval import Interval
from ...rule import find_rule
from ..formats import DOUBLE
from ..rule import Rounding, Step, register_rounding, upward

aten = torch.ops.aten

_LOG_ODDS = 4


class Softmax(Rounding):
    """|softmax(x') - softmax(x)|_i <= 2 p_i max |x' - x| along the way, as |d p_i| = p_i |dx_i - p . dx|."""

    def error(self, node: Node, step: Step) -> Tensor:
        axis, kind = _axis(node), step.format
        most = find_rule(node).interval(node, *step.wide()).upper + 2.0**-40
        moved = 2 * step.arriving()[0].amax(axis, keepdim=True)
        return upward(most * (moved + _relative(step, axis)) + node.inputs[0].shape[axis] * 4 * kind.tiny)

    def enclose(self, node: Node, boxes: Sequence[Interval]) -> Interval:
        """From the log-odds, whose slope in p is 1/4 at most."""
        found = find_rule(node).interval(node, *boxes)
        spread = _log_slack(boxes[0], _axis(node)) + 16 * DOUBLE.unit
        return self.within(node, Interval(found.lower - spread, found.upper + spread))

    def range(self, node: Node) -> tuple[float, float]:
        return 0.0, 1.0


class LogSoftmax(Rounding):
    """x_i - log sum exp(x): every x_j counts at most twice."""

    def error(self, node: Node, step: Step) -> Tensor:
        axis, kind = _axis(node), step.format
        values = find_rule(node).interval(node, *step.wide())
        size = torch.maximum(values.lower.abs(), values.upper.abs())
        moved = 2 * step.arriving()[0].amax(axis, keepdim=True)
        largest = step.sizes()[0].amax(axis, keepdim=True)
        own = _relative(step, axis) + 8 * kind.unit * (size + largest) + 4 * kind.tiny
        return upward(moved + own)

    def enclose(self, node: Node, boxes: Sequence[Interval]) -> Interval:
        found = find_rule(node).interval(node, *boxes)
        spread = 4 * _log_slack(boxes[0], _axis(node))
        return self.within(node, Interval(found.lower - spread, found.upper + spread))

    def range(self, node: Node) -> tuple[float, float]:
        return -math.inf, 0.0


def _axis(node: Node) -> int:
    """The axis counted from the back."""
    dim = int(node.argument(1, "dim"))
    return dim if dim < 0 else dim - len(node.shape) - 1


def _relative(step: Step, axis: int) -> Tensor:
    """Relative error of exp(x_i - m) / sum, (B, ..., 1)."""
    box, kind = step.wide()[0], step.format
    width = box.upper.amax(axis, keepdim=True) - box.lower.amin(axis, keepdim=True)
    count = box.lower.shape[axis]
    small = 8 * kind.unit * width  # of both exponentials, and of both again when rescaled
    factor = (1 + kind.gamma(2 * count + 32)) * torch.exp(small) * (1 + kind.gamma(32)) - 1
    beyond = width >= kind.largest / 16
    return torch.where(beyond, torch.inf, upward(factor + 2.0**-40))


def _log_slack(box: Interval, axis: int) -> Tensor:
    """Rounding of float64 log-odds, (B, ..., 1)."""
    size = torch.maximum(box.lower.abs(), box.upper.abs()).amax(axis, keepdim=True)
    return upward(_LOG_ODDS * DOUBLE.gamma(4 * box.lower.shape[axis] + 64) * (1 + size))


register_rounding(aten.softmax.int, aten._softmax.default)(Softmax())
register_rounding(aten.log_softmax.int, aten._log_softmax.default)(LogSoftmax())
