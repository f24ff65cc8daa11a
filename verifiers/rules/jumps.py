"""The derivative of relu, which has no value at its kink: bounds there hold for all that lies between."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.specs import jump

from ..graph import Node
from ..interval import Interval
from ..rule import register
from .hull import Fan
from .piecewise import Step, across_jumps

__all__ = ["Jump"]

_BELOW, _ABOVE = Step(0.0, 0.0, 1.0), Step(0.0, 1.0, 1.0)


class Jump(Step):
    """0 below zero and 1 above; at zero anything between, so also where a box only touches it.

    So a bound holds for every element of Clarke's generalised derivative of relu, not only for derivatives at
    points beside the kink: below it is the step that is 0 at zero, above the one that is 1 there.
    """

    def __init__(self) -> None:
        super().__init__(0.0, torch.nan, 1.0)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        """Of the lower step below, of the upper step above."""
        return Interval(_BELOW.interval(node, *inputs).lower, _ABOVE.interval(node, *inputs).upper)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        """Boxes that hold zero, inside or at an end."""
        return (box.lower <= 0) & (box.upper >= 0) & (box.lower < box.upper)

    def derivative(self, node: Node, box: Interval) -> Interval:
        """0 where the box does not hold zero."""
        return across_jumps(torch.zeros_like(box.lower), (box.lower <= 0) & (box.upper >= 0))

    def _fans(self, node: Node, box: Interval) -> tuple[Fan, Fan]:
        return _BELOW._fans(node, box)[0], _ABOVE._fans(node, box)[1]


# the operator exists since the module that defines `jump` was imported
assert jump is not None
register(torch.ops.robustbench_local.jump.default)(Jump())
