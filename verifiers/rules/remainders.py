"""Remainders of a division by constants: saw teeth of slope one that jump at every multiple of the divisor.

A multiple is not a float in general, so that the computed place of a jump is off by rounding. The corners
are moved outward by more than that: a corner below the function, or above it, only gets lower, or higher,
where its tooth begins too early or ends too late.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..rule import register
from .arithmetic import sample_constant
from .hull import Corner
from .piecewise import PiecewiseLinear

__all__ = ["Fmod", "Remainder"]

aten = torch.ops.aten

_Ends = tuple[Tensor, Tensor]


class _Saw(PiecewiseLinear):
    jumps = True
    rise = 1.0

    def check(self, node: Node) -> None:
        divisor = sample_constant(node, node.args[1], torch.empty(0, dtype=torch.float64))
        if node.shape != node.inputs[0].shape or bool((divisor == 0).any()):
            raise UnsupportedOpError(
                f"{node.op} by zero, or by a divisor with more axes than the dividend",
                where=f"node {node.name}",
                cure="divide by numbers other than zero; expand the dividend first",
            )

    def divisor(self, node: Node, like: Tensor) -> Tensor:
        """The divisor, to broadcast over one sample."""
        return sample_constant(node, node.args[1], like)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        ends = self.ends(node, box)
        corners = [*self.below(node, box, ends), *self.above(node, box, ends)]
        found = torch.zeros_like(box.lower, dtype=torch.bool)
        for corner in corners:
            found |= (corner.value != ends[0]) | (corner.position != box.lower)
        return found & (box.lower < box.upper)


class Remainder(_Saw):
    """x - d floor(x / d) for a constant d, of its sign."""

    def _jumps(self, node: Node, box: Interval) -> tuple[Tensor, Tensor, Tensor]:
        d = self.divisor(node, box.lower)
        (some, first, last), (other, one, two) = (_teeth(b, d.abs()) for b in (box, _mirrored(box)))
        right = d > 0
        return (
            torch.where(right, some, other),
            torch.where(right, first, -two),
            torch.where(right, last, -one),
        )

    def below(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        return _corners(box, ends, self._jumps(node, box), self.divisor(node, box.lower).clamp(max=0))

    def above(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        return _corners(box, ends, self._jumps(node, box), self.divisor(node, box.lower).clamp(min=0))


class Fmod(_Saw):
    """x - d trunc(x / d) for a constant d, of the sign of x."""

    def _both(
        self, node: Node, box: Interval, ends: _Ends, clamp: Callable[[Tensor], Tensor]
    ) -> list[Corner]:
        d = self.divisor(node, box.lower).abs()
        right = Interval(box.lower.clamp(min=0), box.upper.clamp(min=0))
        left = Interval((-box.upper).clamp(min=0), (-box.lower).clamp(min=0))
        some, first, last = _teeth(right, d)
        other, one, two = _teeth(left, d)
        return [
            *_corners(box, ends, (other, -two, -one), clamp(-d)),
            *_corners(box, ends, (some, first, last), clamp(d)),
        ]

    def below(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        return self._both(node, box, ends, lambda value: value.clamp(max=0))

    def above(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        return self._both(node, box, ends, lambda value: value.clamp(min=0))


def _mirrored(box: Interval) -> Interval:
    return Interval(-box.upper, -box.lower)


def _teeth(box: Interval, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether x mod d jumps in the box, for d > 0; and at most the first and at least the last place."""
    low, high = box.lower, box.upper
    at_low, at_high = torch.remainder(low, d), torch.remainder(high, d)
    eps = 8 * torch.finfo(low.dtype).eps
    # also where the box is not known; a point has its value, whatever it rounds to
    some = ~((at_low + (high - low) < d * (1 - eps)) | (low == high))
    margin = eps * (low.abs() + high.abs() + d)
    places = (low - at_low + d - margin, high - at_high + margin)
    first, last = (torch.minimum(torch.maximum(p, low), high) for p in places)
    return some, first, last


def _corners(box: Interval, ends: _Ends, jumps: tuple[Tensor, Tensor, Tensor], value: Tensor) -> list[Corner]:
    some, first, last = jumps
    return [
        Corner(torch.where(some, place, box.lower), torch.where(some, value, ends[0]))
        for place in (first, last)
    ]


register(aten.remainder.Scalar, aten.remainder.Tensor)(Remainder())
register(aten.fmod.Scalar, aten.fmod.Tensor)(Fmod())
