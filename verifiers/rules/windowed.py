"""Maximum pooling over windows, fixed or adaptive, in one to three dimensions."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..graph import Node, Piece
from ..interval import Interval
from ..rule import Boxes, Pulled, PulledWindows, register
from ..windows import WindowRows
from .extremes import Extreme, contested, upper_plane, weights_below
from .pooling import check_axes, sizes

__all__ = ["AdaptiveMaxPool", "MaxPool"]

aten = torch.ops.aten

_Places = list[list[list[int]]]
"""Per axis and output position: the input positions of its window."""


class _WindowMaximum(Extreme):
    """The largest entry of every window; windows are products of ranges along `rank` axes."""

    def __init__(self, rank: int) -> None:
        super().__init__(1)
        self.rank = rank

    @abstractmethod
    def places(self, node: Node) -> _Places:
        """The windows; -1 for positions outside the map."""

    def check(self, node: Node) -> None:
        check_axes(node, self.rank)

    def table(self, node: Node, device: torch.device) -> Tensor:
        """Flat input positions of every window (n, *output space), the last axis fastest; -1 for none."""
        space, out = node.inputs[0].shape[1:], node.shape[1:]
        flat = torch.zeros((1, *(1,) * self.rank), dtype=torch.long, device=device)
        inside = torch.ones_like(flat, dtype=torch.bool)
        for axis, windows in enumerate(self.places(node)):
            longest = max(len(w) for w in windows)
            padded = torch.tensor([w + [-1] * (longest - len(w)) for w in windows], device=device)
            shape = [1] * self.rank
            shape[axis] = out[axis]
            step = padded.mT.reshape(1, longest, *shape)
            flat = (flat.unsqueeze(1) * space[axis] + step).flatten(0, 1)
            inside = (inside.unsqueeze(1) & (step >= 0)).flatten(0, 1)
        return flat.masked_fill(~inside, -1)

    def entries(self, node: Node, values: Sequence[Tensor]) -> Tensor:
        table = self.table(node, values[0].device)
        picked = values[0].flatten(2).index_select(2, table.clamp(min=0).flatten())
        windows: Tensor = picked.unflatten(2, table.shape).movedim(2, 1)
        return windows

    def among(self, node: Node, like: Tensor) -> Tensor | None:
        table = self.table(node, like.device)
        return (table >= 0).unsqueeze(0).unsqueeze(2) if bool((table < 0).any()) else None

    def spread(self, node: Node, a: Tensor) -> Pulled:
        """Every input position adds up the windows that hold it."""
        table = self.table(node, a.device).flatten()
        size = math.prod(node.inputs[0].shape[1:])
        order = torch.argsort(torch.where(table < 0, size, table), stable=True)
        count = torch.bincount(table[table >= 0], minlength=size)
        start = torch.cumsum(count, 0) - count
        which = torch.arange(int(count.max()), device=a.device).unsqueeze(1)
        used = which < count
        slot = torch.where(used, order[(start + which).clamp(max=order.shape[0] - 1)], 0)  # (m, size)
        flat = a.movedim(2, 3).flatten(3)  # (B, K, C, n * windows)
        pulled = flat.index_select(3, slot.flatten()).unflatten(3, slot.shape)
        if not bool(used.all()):
            pulled = pulled * used
        return Pulled((pulled.sum(3).unflatten(3, node.inputs[0].shape[1:]),))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        entries = Interval(self.entries(node, [box.lower]), self.entries(node, [box.upper]))
        wanted = contested(entries, 1, self.among(node, box.lower))
        (mask,) = self.spread(node, wanted.unsqueeze(1).to(box.lower.dtype)).coefficients
        return (mask.squeeze(1) > 0) & (box.lower < box.upper)


class MaxPool(_WindowMaximum):
    """max_pool1d, 2d, 3d: windows of one size at equal steps."""

    tunes_windows = True

    def _numbers(self, node: Node) -> tuple[list[int], list[int], list[int], list[int]]:
        """Kernel, stride, padding, dilation per axis."""
        kernel = sizes(node, 1, "kernel_size", 1, self.rank)
        return (
            kernel,
            sizes(node, 2, "stride", [], self.rank) or kernel,
            sizes(node, 3, "padding", 0, self.rank),
            sizes(node, 4, "dilation", 1, self.rank),
        )

    def places(self, node: Node) -> _Places:
        return [
            [
                [p if 0 <= p < length else -1 for p in (o * step - pad + i * gap for i in range(reach))]
                for o in range(out)
            ]
            for reach, step, pad, gap, length, out in zip(
                *self._numbers(node), node.inputs[0].shape[1:], node.shape[1:], strict=True
            )
        ]

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        """Each row's window grows by the pool's."""
        if self.rank != 2:
            return None
        kernel, stride, padding, dilation = self._numbers(node)
        below, above, shift = self._planes(node, rows, boxes[node.inputs[0]], free)
        negative = rows.a.clamp(max=0)
        positive = rows.a - negative
        (h, w), (sh, sw) = rows.size, stride
        size = [(rows.size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
        pulled = positive.new_zeros(max(len(positive), len(shift)), *positive.shape[1:3], size[0], size[1])
        taps = itertools.product(range(kernel[0]), range(kernel[1]))
        for tap, (i, j) in enumerate(taps):
            top, left = i * dilation[0], j * dilation[1]
            part = torch.addcmul(positive * below(tap), negative, above(tap))
            pulled[..., top : top + (h - 1) * sh + 1 : sh, left : left + (w - 1) * sw + 1 : sw] += part
        offset = (negative * shift).flatten(2).sum(2)
        moved = WindowRows(
            pulled,
            rows.position,
            rows.steps,
            (rows.stride[0] * sh, rows.stride[1] * sw),
            (rows.pad[0] * sh + padding[0], rows.pad[1] * sw + padding[1]),
            tuple(node.inputs[0].shape),  # type: ignore[arg-type]
            True,
        )
        return PulledWindows((moved,), offset)

    def _planes(
        self, node: Node, rows: WindowRows, box: Interval, free: Tensor | None
    ) -> tuple[Callable[[int], Tensor], Callable[[int], Tensor], Tensor]:
        """Slopes of the planes below and above for each tap, and the constant above, on the rows' windows.

        Zero outside the map. One choice for all rows is made on the map; else each row has its own.
        """
        entries = Interval(*(self._framed(node, t) for t in (box.lower, box.upper)))
        among = self._framed(node, torch.ones_like(box.lower[:1])) > 0
        if free is None or free.shape[3:] == node.shape:
            shares, level = (None, None) if free is None else (free[:, 0, :-1], free[:, 0, -1:])
            weights, plane = weights_below(entries, 1, shares, among), upper_plane(entries, 1, level, among)
            return (
                lambda tap: rows.view(weights[:, tap]),
                lambda tap: rows.view(plane.slopes[:, tap]),
                rows.view(plane.offset),
            )

        def seen(t: Tensor) -> Tensor:
            windows: Tensor = rows.view(t.flatten(1, 2)).unflatten(2, t.shape[1:3])
            return windows  # (B, K, taps, C, h, w)

        inside = rows.view(box.lower.new_ones(1, 1, *node.shape[1:]))
        held = (seen(among.to(box.lower)) > 0) | (inside == 0).unsqueeze(2)  # outside all entries are zero
        entries = Interval(seen(entries.lower), seen(entries.upper))
        weights = weights_below(entries, 2, free[:, :, :-1], held)
        plane = upper_plane(entries, 2, free[:, :, -1:], held)
        return (
            lambda tap: weights[:, :, tap] * inside,
            lambda tap: plane.slopes[:, :, tap] * inside,
            plane.offset * inside,
        )

    def _framed(self, node: Node, x: Tensor) -> Tensor:
        """The full windows (B, kernel, C, *output), zero where they leave the map, in the taps' order."""
        kernel, stride, padding, dilation = self._numbers(node)
        out = node.shape[1:]
        need = [(out[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
        after = [max(0, need[i] - x.shape[2 + i] - padding[i]) for i in range(2)]
        padded = torch.nn.functional.pad(x, (padding[1], after[1], padding[0], after[0]))
        views = []
        for i, j in itertools.product(range(kernel[0]), range(kernel[1])):
            top, left = i * dilation[0], j * dilation[1]
            bottom, right = top + (out[0] - 1) * stride[0] + 1, left + (out[1] - 1) * stride[1] + 1
            views.append(padded[..., top : bottom : stride[0], left : right : stride[1]])
        return torch.stack(views, 1)


class AdaptiveMaxPool(_WindowMaximum):
    """The values of adaptive_max_pool1d, 2d, 3d: window o goes from floor(o n / m) to ceil((o + 1) n / m)."""

    def places(self, node: Node) -> _Places:
        return [
            [list(range(o * length // out, -(-(o + 1) * length // out))) for o in range(out)]
            for length, out in zip(node.inputs[0].shape[1:], node.shape[1:], strict=True)
        ]


register(aten.max_pool1d.default, Piece(aten.max_pool1d_with_indices.default, 0))(MaxPool(1))
register(aten.max_pool2d.default, Piece(aten.max_pool2d_with_indices.default, 0))(MaxPool(2))
register(aten.max_pool3d.default, Piece(aten.max_pool3d_with_indices.default, 0))(MaxPool(3))
register(Piece(aten.adaptive_max_pool1d.default, 0))(AdaptiveMaxPool(1))
register(Piece(aten.adaptive_max_pool2d.default, 0))(AdaptiveMaxPool(2))
register(Piece(aten.adaptive_max_pool3d.default, 0))(AdaptiveMaxPool(3))
