"""Maxima and minima: of two tensors, along axes, over windows.

For entries x_1 ... x_n in boxes [l_j, u_j] (minima by negation):

Lower planes: sum_j w_j x_j with weights w on the simplex, which are free.
Upper planes: for any slopes s_j in [0, 1]

    max_j x_j <= sum_j s_j (x_j - l_j) + max_j (u_j - s_j (u_j - l_j)),

since max is convex, so that its distance to a plane is largest at a corner of the box, where one entry is
at its upper end and the others at their lower ends. For a level m >= max_j l_j the smallest slopes whose
constant is m are s_j = max(0, u_j - m) / (u_j - l_j): one free number m per maximum, from max l (where an
entry that surely wins gets slope 1, and the plane is exact) to max u (the constant). The plane's value at
the centre falls with m while three or more of the u_j exceed m, is constant between the third and the second
largest of them, and rises above. Without free parameters m is the second largest u_j (or max l): among the
best planes at the centre the one with the smallest slopes. For two entries, m between max l and the second
largest u_j gives the convex combinations of the two planes of the concave envelope.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..graph import Node, Piece, Slot
from ..interval import Interval
from ..rule import Boxes, Pulled, Rule, contract_rows, register
from .arithmetic import sample_constant, unbroadcast
from .shape import sample_axis

__all__ = [
    "Extreme",
    "OfTwo",
    "Place",
    "Reduction",
    "UpperPlane",
    "contested",
    "first_level",
    "upper_plane",
    "weights_below",
]

aten = torch.ops.aten

_FEW = 32  # entries that are compared one after the other


@dataclass(frozen=True, slots=True, eq=False)
class UpperPlane:
    """max_j x_j <= sum_j slopes_j x_j + offset: slopes with an axis for the entries, offset without it."""

    slopes: Tensor
    offset: Tensor


def upper_plane(
    box: Interval, axis: int, free: Tensor | None = None, among: Tensor | None = None
) -> UpperPlane:
    """A plane above the maximum along `axis` of entries within `box`.

    free: within [0, 1], with length one along `axis`: the level between the largest lower and the largest
    upper bound. among: the entries that take part, all by default.
    """
    lower, upper = box.lower, box.upper
    floor = _largest(lower, axis, among)
    if among is not None:  # the others stand still below the level: slope zero
        lower, upper = torch.where(among, lower, floor), torch.where(among, upper, floor)
    first, second = _two_largest(upper, axis)
    if free is None:
        level = torch.maximum(floor, second)
    else:  # an entry that surely wins leaves nothing to choose
        level = floor + free * torch.where(second > floor, first - floor, torch.zeros_like(floor))
    width = upper - lower
    slopes = (upper - level).clamp(min=0) / torch.where(width > 0, width, torch.ones_like(width))
    slopes = slopes.clamp(max=1)
    reach = (upper - slopes * width).amax(axis)
    return UpperPlane(slopes, reach - (slopes * lower).sum(axis))


def first_level(box: Interval, axis: int, among: Tensor | None = None) -> Tensor:
    """The value of `free` that gives the plane `upper_plane` takes without it; length one along `axis`."""
    floor = _largest(box.lower, axis, among)
    upper = box.upper if among is None else torch.where(among, box.upper, floor)
    first, second = _two_largest(upper, axis)
    span = first - floor
    return ((second - floor) / torch.where(span > 0, span, torch.ones_like(span))).clamp(0, 1)


def weights_below(
    box: Interval, axis: int, free: Tensor | None = None, among: Tensor | None = None
) -> Tensor:
    """Weights of a plane below the maximum along `axis`: the entry with the highest centre gets all.

    free: within [0, 1], one per entry; those of entries that may win are divided by their sum where it
    exceeds one, else the entry with the highest centre gets what is missing.
    """
    centre = torch.lerp(box.lower, box.upper, 0.5)
    if among is not None:
        centre = torch.where(among, centre, torch.full_like(centre, -torch.inf))
    best = torch.zeros_like(centre).scatter(axis, centre.argmax(axis, keepdim=True), 1.0)
    if free is None:
        return best
    free = free * (box.upper >= _largest(box.lower, axis, among))
    if among is not None:
        free = free * among
    total = free.sum(axis, keepdim=True)
    return free / total.clamp(min=1) + (1 - total).clamp(min=0) * best


def contested(box: Interval, axis: int, among: Tensor | None = None) -> Tensor:
    """The entries that may be the maximum, where no entry surely is."""
    floor = _largest(box.lower, axis, among)
    rivals = box.upper > floor if among is None else (box.upper > floor) & among
    # decided: one entry at most reaches above, and that is the one whose lower bound is the floor
    decided = (rivals.sum(axis, keepdim=True) <= 1) & ~(rivals & (box.lower < floor)).any(axis, keepdim=True)
    return rivals & ~decided


class Extreme(Rule):
    """A maximum (sign 1) or minimum (sign -1) of entries that a subclass lists.

    Free: the lower plane's weights, and the upper plane's level (the other way round for a minimum).
    """

    def __init__(self, sign: int) -> None:
        self.sign = sign

    @abstractmethod
    def entries(self, node: Node, values: Sequence[Tensor]) -> Tensor:
        """The numbers compared, (N, n, *node.shape), from one tensor (N, *shape) per input."""

    @abstractmethod
    def spread(self, node: Node, a: Tensor) -> Pulled:
        """The adjoint of `entries` on coefficients (B, K, n, *node.shape)."""

    def among(self, node: Node, like: Tensor) -> Tensor | None:
        """Which entries count, (1, n, *node.shape); None for all."""
        return None

    def _signed(self, node: Node, boxes: Sequence[Interval]) -> Interval:
        """The entries' bounds, negated for a minimum, so that a maximum remains."""
        lower, upper = (self.entries(node, v) for v in ([b.lower for b in boxes], [b.upper for b in boxes]))
        return Interval(lower, upper) if self.sign > 0 else Interval(-upper, -lower)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        box = self._signed(node, inputs)
        among = self.among(node, box.lower)
        low, high = (_largest(t, 1, among).squeeze(1) for t in (box.lower, box.upper))
        return Interval(low, high) if self.sign > 0 else Interval(-high, -low)

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        box = self._signed(node, [boxes[p] for p in node.inputs])
        among = self.among(node, box.lower)
        return torch.cat((weights_below(box, 1, None, among), first_level(box, 1, among)), 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        box = self._signed(node, [boxes[p] for p in node.inputs]).unsqueeze(1)
        among = self.among(node, box.lower)
        among = None if among is None else among.unsqueeze(1)
        weights = weights_below(box, 2, None if free is None else free[:, :, :-1], among)
        plane = upper_plane(box, 2, None if free is None else free[:, :, -1:], among)
        # of -max(-x): the plane above -x becomes one below x
        below, above = (weights, plane.slopes) if self.sign > 0 else (plane.slopes, weights)
        negative = a.clamp(max=0)
        positive = a - negative
        coefficients = torch.addcmul(positive.unsqueeze(2) * below, negative.unsqueeze(2), above)
        shift = (
            contract_rows(negative, plane.offset) if self.sign > 0 else -contract_rows(positive, plane.offset)
        )
        pulled = self.spread(node, coefficients)
        return Pulled(pulled.coefficients, shift if pulled.offset is None else shift + pulled.offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """Between the smallest and the largest of the tangents of the entries that may win."""
        ends = []
        may = self._may_win(node, boxes).unsqueeze(1)
        many = torch.broadcast_shapes(*(t.lower.shape[:2] for t in tangents))
        for sign, side in ((-1, [t.lower for t in tangents]), (1, [t.upper for t in tangents])):
            flat = [v.expand(*many, *v.shape[2:]).flatten(0, 1) for v in side]
            moving = self.entries(node, flat) - self.entries(node, [torch.zeros_like(v) for v in flat])
            moving = sign * moving.unflatten(0, many)
            moving = torch.where(may, moving, torch.full_like(moving, -torch.inf))
            ends.append(sign * moving.amax(2))
        return Interval(*ends)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        """All of a row to an entry that surely wins; between none and all to each that may win."""
        may = self._may_win(node, boxes).unsqueeze(1)
        surely = may & (may.sum(2, keepdim=True) == 1)
        ends = []
        for sign, row in ((-1, rows.lower), (1, rows.upper)):
            a = sign * row.unsqueeze(2)
            part = torch.where(surely, a, torch.where(may, a.clamp(min=0), torch.zeros_like(a)))
            ends.append([sign * c for c in self.spread(node, part).coefficients])
        return tuple(Interval(low, high) for low, high in zip(*ends, strict=True))

    def _may_win(self, node: Node, boxes: Boxes) -> Tensor:
        """The entries that are the extreme somewhere in the box; those with NaN may always be."""
        box = self._signed(node, [boxes[p] for p in node.inputs])
        among = self.among(node, box.lower)
        may = ~(box.upper < _largest(box.lower, 1, among))
        return may if among is None else may & among


class OfTwo(Extreme):
    """maximum and minimum of two tensors, one of which may be a constant."""

    coordinatewise = True

    def entries(self, node: Node, values: Sequence[Tensor]) -> Tensor:
        parts = []
        for operand in node.args[:2]:
            if isinstance(operand, Slot):
                part = values[operand.index]
                part = part.reshape(
                    part.shape[0], *(1,) * (len(node.shape) + 1 - part.dim()), *part.shape[1:]
                )
            else:
                part = sample_constant(node, operand, values[0])
            parts.append(part.expand(values[0].shape[0], *node.shape))
        return torch.stack(parts, 1)

    def spread(self, node: Node, a: Tensor) -> Pulled:
        coefficients: list[Tensor] = [a] * len(node.inputs)
        offset: Tensor | None = None
        for operand, part in zip(node.args[:2], a.unbind(2), strict=True):
            if isinstance(operand, Slot):
                coefficients[operand.index] = unbroadcast(part, node.inputs[operand.index].shape)
            else:
                constant = sample_constant(node, operand, a).expand(node.shape)
                offset = contract_rows(part, constant.unsqueeze(0).unsqueeze(0))
        return Pulled(tuple(coefficients), offset)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        if len(node.inputs) > 1 or box.lower.shape[1:] != node.shape:
            return box.lower < box.upper  # the other operand's bounds are not known here
        return contested(self._signed(node, (box,)), 1).any(1)


class Reduction(Extreme):
    """amax, amin and the values of max.dim and min.dim: along sample axes."""

    def _axes(self, node: Node) -> list[int]:
        rank = len(node.inputs[0].shape) + 1
        dims: Any = node.argument(1, "dim", [])
        dims = [dims] if isinstance(dims, int) else list(dims or range(rank))
        return sorted(sample_axis(node, d, rank) for d in dims)

    def check(self, node: Node) -> None:
        self._axes(node)

    def entries(self, node: Node, values: Sequence[Tensor]) -> Tensor:
        axes = self._axes(node)
        moved = values[0].movedim(axes, tuple(range(1, 1 + len(axes))))
        return moved.flatten(1, len(axes)).reshape(moved.shape[0], -1, *node.shape)

    def spread(self, node: Node, a: Tensor) -> Pulled:
        axes, source = self._axes(node), node.inputs[0].shape
        rest = [s for i, s in enumerate(source) if i + 1 not in axes]
        wide = a.reshape(*a.shape[:2], *(source[i - 1] for i in axes), *rest)
        return Pulled((wide.movedim(tuple(range(2, 2 + len(axes))), tuple(i + 1 for i in axes)),))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        wanted = contested(self._signed(node, (box,)), 1)
        (mask,) = self.spread(node, wanted.unsqueeze(1)).coefficients
        return mask.squeeze(1)


class Place(Reduction):
    """argmax and argmin along one axis: between the first and the last entry that may win; no slopes."""

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        box = self._signed(node, inputs)
        may = ~(box.upper < _largest(box.lower, 1, None))
        count = may.shape[1]
        numbers = torch.arange(count, device=may.device).to(box.lower).reshape(-1, *(1,) * (may.dim() - 2))
        bad = 0 * (box.lower + box.upper).sum(1)
        first = torch.where(may, numbers, numbers.new_tensor(float(count))).amin(1)
        return Interval(first + bad, torch.where(may, numbers, numbers.new_tensor(-1.0)).amax(1) + bad)

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        return None

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        source = node.inputs[0]
        ends = self.interval(node, boxes[source])
        nothing = a.new_zeros(1, 1, *source.shape).expand(*a.shape[:2], *source.shape)
        low, high = ends.lower.unsqueeze(1), ends.upper.unsqueeze(1)
        return Pulled((nothing,), contract_rows(a.clamp(min=0), low) + contract_rows(a.clamp(max=0), high))

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """Zero where one entry surely wins, any number elsewhere."""
        jumps = self._jumps(node, boxes)
        jumps = jumps.expand(jumps.shape[0], tangents[0].lower.shape[1], *node.shape)
        return Interval(-jumps, jumps)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        source, axis = node.inputs[0], self._axes(node)[0]
        jumps = self._jumps(node, boxes) * torch.where((rows.lower == 0) & (rows.upper == 0), 0.0, 1.0)
        wide = jumps.unsqueeze(axis + 1) if len(node.shape) < len(source.shape) else jumps
        wide = wide.expand(*wide.shape[:2], *source.shape)
        return (Interval(-wide, wide),)

    def _jumps(self, node: Node, boxes: Boxes) -> Tensor:
        """(B, 1, *shape): infinite where another entry may win, else zero."""
        ends = self.interval(node, boxes[node.inputs[0]])
        return torch.where(ends.lower == ends.upper, 0.0, torch.inf).to(ends.lower).unsqueeze(1)


def _largest(x: Tensor, axis: int, among: Tensor | None) -> Tensor:
    if among is not None:
        x = torch.where(among, x, torch.full_like(x, -torch.inf))
    return x.amax(axis, keepdim=True)


def _two_largest(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The two largest along an axis, -inf where there is one only; length one along `axis`."""
    if x.shape[axis] > _FEW:
        first, second = x.topk(2, axis).values.split(1, axis)
        return first, second
    first = second = torch.full_like(x.narrow(axis, 0, 1), -torch.inf)
    for value in x.split(1, axis):
        second = torch.maximum(second, torch.minimum(first, value))
        first = torch.maximum(first, value)
    return first, second


register(aten.maximum.default, aten.max.other, aten.fmax.default)(OfTwo(1))
register(aten.minimum.default, aten.min.other, aten.fmin.default)(OfTwo(-1))
register(aten.amax.default, Piece(aten.max.dim, 0), Piece(aten.aminmax.default, 1))(Reduction(1))
register(aten.amin.default, Piece(aten.min.dim, 0), Piece(aten.aminmax.default, 0))(Reduction(-1))
register(aten.any.dim, aten.any.dims)(Reduction(1))  # of truth values, the numbers 0 and 1
register(aten.all.dim, aten.all.dims)(Reduction(-1))
register(aten.argmax.default)(Place(1))
register(aten.argmin.default)(Place(-1))
