"""Vector norms of order 1, 2 and infinity along axes.

All are convex and grow with every |x_j|. Order 2: tangent planes below; above chords of the squares and a
tangent of the square root. Orders 1 and infinity: lines of the absolute values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..rule import Boxes, register
from .gathered import Plane, ReductionRule

__all__ = [
    "LinalgNorm",
    "VectorNorm",
    "absolute",
    "absolute_chords",
    "absolute_slopes",
    "euclidean_above",
    "euclidean_below",
    "euclidean_gradient",
    "largest",
    "steeper",
]

aten = torch.ops.aten

_LEAST_SHARE = 1e-6  # of the largest sum of squares: the square root's tangents stay finite


class VectorNorm(ReductionRule):
    """Free, (B, *other axes, n + 1): order 2, the point of tangency in the box below, and where between the
    extreme sums of squares the plane above is highest; else the slopes of |x_j| from below, 0 for -1.
    """

    places = (2, 3)

    def order(self, node: Node) -> float:
        """The norm's order; NaN for those of matrices that have names."""
        order = node.argument(1, "ord", 2)
        return 2.0 if order is None else math.nan if isinstance(order, str) else float(order)

    def check(self, node: Node) -> None:
        super().check(node)
        if self.order(node) not in (1.0, 2.0, math.inf) or "dtype" in node.kwargs:
            raise UnsupportedOpError(
                f"a norm of order {node.argument(1, 'ord', 2)}, or one in another dtype",
                where=f"node {node.name}",
                cure="use order 1, 2 or inf",
            )

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        size = absolute(inputs[0])
        return Interval(node.run(size.lower), node.run(size.upper))

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        box = boxes[node.inputs[0]]
        box = Interval(self.gathered(node, box.lower), self.gathered(node, box.upper))
        shares = torch.full_like(box.lower, 0.5) if self.order(node) == 2 else steeper(box)
        return torch.cat((shares, torch.full_like(shares[..., :1], 0.5)), -1)

    def planes(self, node: Node, box: Interval, share: Tensor | None) -> tuple[Plane, Plane]:
        order = self.order(node)
        if order == 2:
            half = torch.full_like(box.lower, 0.5)
            chosen = (half, half[..., :1]) if share is None else (share[..., :-1], share[..., -1:])
            return euclidean_below(box, chosen[0]), euclidean_above(box, chosen[1])
        slopes = absolute_slopes(box, steeper(box) if share is None else share[..., :-1])
        chord, constant = absolute_chords(box)
        if order == 1:
            return (slopes, torch.zeros_like(slopes[..., :1])), (chord, constant.sum(-1, keepdim=True))
        return largest(box, slopes, chord, constant)

    def gradient(self, node: Node, box: Interval) -> Interval:
        order = self.order(node)
        if order == 2:
            return euclidean_gradient(box)
        low, high = ((t > 0).to(t) - (t < 0).to(t) + 0 * t for t in (box.lower, box.upper))
        low, high = torch.where(box.lower == 0, -1.0, low), torch.where(box.upper == 0, 1.0, high)
        return Interval(low, high) if order == 1 else Interval(low.clamp(max=0), high.clamp(min=0))


def absolute(box: Interval) -> Interval:
    """Bounds of |x|."""
    one, other = box.lower.abs(), box.upper.abs()
    crossing = (box.lower < 0) & (box.upper > 0)
    return Interval(
        torch.where(crossing, torch.zeros_like(one), torch.minimum(one, other)), torch.maximum(one, other)
    )


def steeper(box: Interval) -> Tensor:
    """The share, 0 or 1, at which the line below |x| follows the longer side."""
    return (box.upper > -box.lower).to(box.lower.dtype)


def absolute_slopes(box: Interval, share: Tensor) -> Tensor:
    """Slopes of lines through zero below |x|: the sign where it is known, else between -1 and 1."""
    free = 2 * share - 1
    return torch.where(box.lower >= 0, 1.0, torch.where(box.upper <= 0, -1.0, free)) + 0 * box.lower


def absolute_chords(box: Interval) -> Plane:
    """Slopes and constants, per coordinate, of the chords of |x|."""
    low, high = box.lower.clamp(max=0), box.upper.clamp(min=0)
    crossing = (box.lower < 0) & (box.upper > 0)
    width = torch.where(crossing, high - low, torch.ones_like(low))
    slope = torch.where(crossing, (high + low) / width, torch.where(box.lower >= 0, 1.0, -1.0))
    return slope + 0 * (box.lower + box.upper), torch.where(crossing, -2 * low * high / width, 0.0)


def euclidean_below(box: Interval, share: Tensor) -> Plane:
    """The tangent plane at `share` of the way through the box, through the origin; zero at the origin."""
    point = torch.lerp(box.lower, box.upper, share)
    scale = point.abs().amax(-1, keepdim=True)
    unit = point / torch.where(scale == 0, torch.ones_like(scale), scale)
    size = unit.square().sum(-1, keepdim=True)
    slope = unit * torch.where(size == 0, torch.ones_like(size), size).rsqrt()
    return slope, torch.zeros_like(scale)


def euclidean_above(box: Interval, share: Tensor) -> Plane:
    """sqrt(q) <= (q0 + q) / (2 sqrt(q0)) with the chords' sum for q; q0 between the extreme sums."""
    size = absolute(box)
    least, most = (t.square().sum(-1, keepdim=True) for t in (size.lower, size.upper))
    middle = torch.maximum(torch.lerp(least, most, share), _LEAST_SHARE * most)
    tiny = torch.finfo(middle.dtype).tiny
    root = middle.clamp(min=tiny).sqrt()
    constant = (middle - (box.lower * box.upper).sum(-1, keepdim=True)) / (2 * root)
    return (box.lower + box.upper) / (2 * root), constant


def largest(box: Interval, slopes: Tensor, chord: Tensor, constant: Tensor) -> tuple[Plane, Plane]:
    """Order infinity: one coordinate's lines where it is surely the largest, else a constant above."""
    size = absolute(box)
    first = size.lower + 1e-3 * size.upper  # the coordinate that is surely large, or may be
    place = first.argmax(-1, keepdim=True)
    chosen = torch.zeros_like(box.lower).scatter(-1, place, 1.0)
    most = size.upper.amax(-1, keepdim=True)
    others = size.upper.masked_fill(chosen > 0, 0.0).amax(-1, keepdim=True)
    surely = size.lower.gather(-1, place) >= others
    below = (slopes * chosen, torch.zeros_like(most))
    own = (constant * chosen).sum(-1, keepdim=True)
    return below, (torch.where(surely, chord * chosen, 0.0), torch.where(surely, own, most))


def euclidean_gradient(box: Interval) -> Interval:
    """Bounds of x_j / |x|: growing in x_j, nearer to zero the larger the others; [-1, 1] at the origin."""
    size = absolute(box)
    low, high = size.lower.square(), size.upper.square()
    least, most = ((t.sum(-1, keepdim=True) - t).clamp(min=0) for t in (low, high))
    ends = []
    for x, sign in ((box.lower, 1), (box.upper, -1)):
        rest = torch.where(sign * x > 0, most, least)
        norm = (x.square() + rest).sqrt()
        ratio = x / torch.where(norm == 0, torch.ones_like(norm), norm)
        ends.append(torch.where(norm == 0, -sign * torch.ones_like(x), ratio))
    return Interval(ends[0], ends[1])


class LinalgNorm(VectorNorm):
    """torch.linalg.norm where it is a vector's: along one axis."""

    def check(self, node: Node) -> None:
        super().check(node)
        if len(self.axes(node)) != 1:
            raise UnsupportedOpError(
                "a matrix norm",
                where=f"node {node.name}",
                cure="use torch.linalg.vector_norm, which flattens the axes",
            )


register(aten.linalg_vector_norm.default)(VectorNorm())
register(aten.linalg_norm.default)(LinalgNorm())
