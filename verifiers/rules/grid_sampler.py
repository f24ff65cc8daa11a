"""Bilinear resampling of an image at places that depend on the input: rotations, shifts, scalings.

The interval is the exact range of the interpolated bounds over the cells of pixels that a place can reach.
The linear bounds are planes in the place's two coordinates and the pixels: see `resampling.py`. Bounds of
rotated images by linear functions: Balunovic et al. 2019 (DeepG, NeurIPS), who find them in the angle by
optimisation; Mohapatra et al. 2020 (Semantify-NN, arXiv 1912.09533), by layers in front of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..batched import Batched
from ..forms import Form, added_terms
from ..graph import Node, Slot
from ..interval import Interval
from ..resampling import Derivative, Frame, Side, Window
from ..rule import Boxes, Pulled, Rule, register
from .monotone import Monotone

__all__ = ["GRID_SAMPLER", "GridSampler"]

aten = torch.ops.aten

#: grid_sample where the image or the places are constant: torch wants operands of one batch size.
GRID_SAMPLER = Batched(aten.grid_sampler.default, (0, 1))

_Sides = tuple[Side, Side]


class GridSampler(Rule):
    """grid_sample, bilinear, zeros or the border outside; with constant places it is affine.

    Free, (B, 2, 3, C, places): of the planes below and above the share of the pixels' upper bounds in the
    image that they follow, and their slopes by both coordinates. Places that may lie in more than 8 rows or
    columns of pixels get constant bounds.
    """

    settled = True
    _fixed = Monotone()

    def at(self, node: Node) -> Rule:
        return self if isinstance(node.args[1], Slot) else self._fixed

    def check(self, node: Node) -> None:
        mode, padding = (int(node.argument(*a)) for a in ((2, "interpolation_mode", 0), _PADDING))
        if mode != 0 or padding not in (0, 1) or len(node.shape) != 3:
            raise UnsupportedOpError(
                "grid_sample other than bilinear on images, with zeros or the border outside",
                where=f"node {node.name}",
                cure='use mode="bilinear" and padding_mode="zeros" or "border" on images (B, C, H, W)',
            )

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        found = Window.of(_image(node, inputs), inputs[-1], _frame(node)).interval()
        unknown = _unknown(inputs[-1])
        lower, upper = ((end + unknown).squeeze(1) for end in (found.lower, found.upper))
        return Interval(lower.unflatten(2, node.shape[1:]), upper.unflatten(2, node.shape[1:]))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        return self._kept(node, boxes)[1]

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        window, _, plain = self._kept(node, boxes)
        below, above = plain if free is None else _sides(window, free)
        rows = a.flatten(3)
        positive, negative = rows.clamp(min=0), rows.clamp(max=0).neg()  # negative: the multiple of -y
        across = (positive * below.across + negative * above.across).sum(2)
        down = (positive * below.down + negative * above.down).sum(2)
        unknown = _unknown(boxes[node.inputs[-1]])
        offset = positive * (below.offset + unknown) + negative * (above.offset + unknown)
        grid = torch.stack((across, down), 3).unflatten(2, node.shape[1:])
        if len(node.inputs) == 1:
            return Pulled((grid,), offset.flatten(2).sum(2))
        shape = node.inputs[0].shape
        if below.weights is None or above.weights is None:  # what is known exactly counts in the offset
            image = a.new_zeros(()).expand(*grid.shape[:2], *shape)
        else:
            flat = _scattered(window, (positive, below.weights), (negative, above.weights))
            image = window.frame.cropped(flat.unflatten(3, window.frame.size))
        return Pulled((image, grid), offset.flatten(2).sum(2))

    def image(self, node: Node, forms: Sequence[Form], boxes: Boxes) -> Form:
        """Between two parallel planes."""
        inputs = [boxes[p] for p in node.inputs]
        window = Window.of(_image(node, inputs), inputs[-1], _frame(node))
        below, above = window.strip()
        grid, shape = forms[-1], node.shape[1:]
        slopes = torch.stack((below.across, below.down), 4)  # (B, 1, C, P, 2)
        flat = [t.flatten(1, 2).unsqueeze(1).unsqueeze(1) for t in (grid.rest.lower, grid.rest.upper)]
        part = Interval(*flat).times(Interval(slopes, slopes))
        low, high = part.lower.sum(4) + below.offset, part.upper.sum(4) - above.offset
        terms = None if grid.terms is None else (grid.terms.flatten(2, 3).unsqueeze(2) * slopes).sum(4)
        if below.weights is not None:
            pixels = forms[0]
            low = low + _weighted(window, below.weights, pixels.rest.lower.unsqueeze(1))
            high = high + _weighted(window, below.weights, pixels.rest.upper.unsqueeze(1))
            if pixels.terms is not None:
                own = _weighted(window, below.weights, pixels.terms)
                terms = own if terms is None else added_terms(terms, own)
        ends = (end.squeeze(1).unflatten(2, shape) for end in (low, high))
        return Form(None if terms is None else terms.unflatten(3, shape), Interval(*ends))

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        window, slopes = _derivative(node, boxes)
        grid = Interval(*(t.flatten(2, 3).unsqueeze(2) for t in (tangents[-1].lower, tangents[-1].upper)))
        total = Interval(slopes.unknown, slopes.unknown)
        for axis, slope in enumerate((slopes.across, slopes.down)):
            total = total.plus(Interval(grid.lower[..., axis], grid.upper[..., axis]).times(slope))
        if len(node.inputs) == 2:
            ends = (window.frame.framed(t).flatten(3) for t in (tangents[0].lower, tangents[0].upper))
            low, high = (t.expand(window.low.shape[2], -1, -1, -1) for t in ends)
            for places, weights in _pixels(window, slopes.pixels):
                index = places.expand(-1, *low.shape[1:3], -1)
                total = total.plus(Interval(low.gather(3, index), high.gather(3, index)).times(weights))
        return Interval(*(t.unflatten(3, node.shape[1:]) for t in (total.lower, total.upper)))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        window, slopes = _derivative(node, boxes)
        flat = Interval(rows.lower.flatten(3), rows.upper.flatten(3))
        parts = [flat.times(slope) for slope in (slopes.across, slopes.down)]
        grid = Interval(*(
            (torch.stack([getattr(p, end).sum(2) for p in parts], 3) + slopes.unknown.squeeze(2).unsqueeze(3))
            .unflatten(2, node.shape[1:]) for end in ("lower", "upper")
        ))  # fmt: skip
        if len(node.inputs) == 1:
            return (grid,)
        batch, (height, width) = window.low.shape[2], window.frame.size
        shape = (batch, *flat.lower.shape[1:3], height * width)
        total = [slopes.unknown.sum(3, keepdim=True).expand(shape).clone() for _ in range(2)]
        for places, weights in _pixels(window, slopes.pixels):
            part = flat.times(weights)
            for k, end in enumerate((part.lower, part.upper)):
                total[k].scatter_add_(3, places.expand(-1, *shape[1:3], -1), end.expand(batch, -1, -1, -1))
        image = (window.frame.cropped(t.unflatten(3, window.frame.size)) for t in total)
        return Interval(*image), grid

    def _kept(self, node: Node, boxes: Boxes) -> tuple[Window, Tensor, _Sides]:
        """The windows, the free parameters' first values and the planes with these; kept with the boxes."""
        inputs = [boxes[p] for p in node.inputs]

        def make() -> tuple[Window, Tensor, _Sides]:
            window = Window.of(_image(node, inputs), inputs[-1], _frame(node))
            with torch.no_grad():
                first = window.first()
            return window, first, _sides(window, first.unsqueeze(1))

        found: tuple[Window, Tensor, _Sides] = inputs[-1].once((node, inputs[0]), make)
        return found


_PADDING = (3, "padding_mode", 0)


def _frame(node: Node) -> Frame:
    image = node.args[0]
    height, width = (node.inputs[image.index].shape if isinstance(image, Slot) else image.shape)[-2:]
    return Frame(height, width, not int(node.argument(*_PADDING)), bool(node.argument(4, "align_corners")))


def _image(node: Node, inputs: Sequence[Interval]) -> Interval:
    """Bounds of the image, (B or 1, C, H, W)."""
    constant = node.args[0]
    if isinstance(constant, Slot):
        return inputs[constant.index]
    constant = constant.to(inputs[0].lower)
    return Interval(constant, constant)


def _unknown(grid: Interval) -> Tensor:
    """Zero, NaN where a bound of a place is NaN or infinite: (B, 1, 1, P)."""
    return (0 * (grid.lower + grid.upper)).sum(3).flatten(1).unsqueeze(1).unsqueeze(1)


def _sides(window: Window, free: Tensor) -> _Sides:
    """The planes below and above for parameters (B, R, 2, 3, C, P)."""
    below, above = free.unbind(2)
    return window.side(below, 1), window.side(above, -1)


def _scattered(window: Window, *parts: tuple[Tensor, Tensor]) -> Tensor:
    """Coefficients (B, K, C, pixels) of the framed image, from rows (B, K, C, P) and the windows' weights."""
    rows = parts[0][0]
    batch = window.low.shape[2]
    height, width = window.frame.size
    total = rows.new_zeros(batch, *rows.shape[1:3], height * width)
    for y, line in enumerate(window.index()):
        for x, places in enumerate(line):
            share = parts[0][0] * parts[0][1][y, x] + parts[1][0] * parts[1][1][y, x]
            index = places.unsqueeze(1).unsqueeze(1).expand_as(share)
            total = total.scatter_add(3, index, share)
    return total


def _derivative(node: Node, boxes: Boxes) -> tuple[Window, Derivative]:
    """Where the derivatives lie, on windows that reach a little further, beyond kinks at a place's bounds."""
    inputs = [boxes[p] for p in node.inputs]
    grid = inputs[-1]
    more = 8 * torch.finfo(grid.lower.dtype).eps * (1 + grid.lower.abs() + grid.upper.abs())
    wider = Interval(grid.lower - more, grid.upper + more)
    window = Window.of(_image(node, inputs), wider, _frame(node))
    return window, window.derivative()


def _pixels(window: Window, weights: Interval) -> Iterator[tuple[Tensor, Interval]]:
    """The pixels of all windows, one of each at a time: places (B, 1, 1, P), and bounds of their weights."""
    for y, line in enumerate(window.index()):
        for x, places in enumerate(line):
            yield places.unsqueeze(1).unsqueeze(1), Interval(weights.lower[y, x], weights.upper[y, x])


def _weighted(window: Window, weights: Tensor, image: Tensor) -> Tensor:
    """Means (B, S, C, P) of images (B or 1, S, C, H, W) with weights (Ky, Kx, B, 1, C, P) of the windows."""
    pixels = window.frame.framed(image).flatten(3).expand(weights.shape[2], -1, -1, -1)
    total = torch.zeros_like(weights[0, 0])
    for y, line in enumerate(window.index()):
        for x, places in enumerate(line):
            index = places.unsqueeze(1).unsqueeze(1).expand(-1, *pixels.shape[1:3], -1)
            total = total + weights[y, x] * pixels.gather(3, index)
    return total


register(aten.grid_sampler.default, GRID_SAMPLER)(GridSampler())
