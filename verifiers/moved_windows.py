"""Rows on windows pulled through operators that enlarge an image: resampling and transposed convolutions.

Going down through a convolution of stride s a window's place is multiplied by s: all windows keep one form.
Going down through an enlargement it is divided, and where the window begins within a pixel of the smaller map
differs from row to row. So every row gets a place of its own there, and is shifted, or weighted, as its place
demands; there are only as many different cases as start positions along each axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .windows import WindowRows

__all__ = ["Enlargement", "pulled_enlargement", "resampled"]


def resampled(rows: WindowRows, matrices: tuple[Tensor, Tensor], shape: tuple[int, int, int]) -> WindowRows:
    """The rows pulled through y = V x H^T, channel by channel, from a map of `shape`.

    matrices: V (height of y, height of x) and H (width of y, width of x).
    """
    tables, starts = [], []
    for axis, matrix in enumerate(matrices):
        table, start = _bands(matrix.to(rows.a), _first(rows, axis), rows.size[axis])
        tables.append(table[rows.position[..., axis]])  # (B or 1, K, h, h')
        starts.append(start)
    (h, w), channels = rows.size, rows.shape[0]
    across = rows.a.reshape(*rows.a.shape[:2], channels * h, w) @ tables[1]
    by_row = across.unflatten(2, (channels, h)).transpose(2, 3).flatten(3)  # (B, K, h, C w')
    pulled = tables[0].mT @ by_row
    pulled = pulled.unflatten(3, (channels, -1)).transpose(2, 3)
    return _placed(rows, pulled, starts, shape, clean=True)


@dataclass(frozen=True, slots=True)
class Enlargement:
    """A transposed convolution's numbers per axis, and its groups."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def pulled_enlargement(
    rows: WindowRows, weight: Tensor, numbers: Enlargement, shape: tuple[int, int, int]
) -> WindowRows:
    """The rows pulled through a transposed convolution from a map of `shape`: a convolution of the rows."""
    starts, a = [], rows.cleaned().a
    for axis in range(2):
        stride, padding = numbers.stride[axis], numbers.padding[axis]
        reach = numbers.dilation[axis] * (weight.shape[2 + axis] - 1)
        first = _first(rows, axis)
        start = -torch.div(
            reach - first - padding, stride, rounding_mode="floor"
        )  # the first that reaches it
        last = torch.div(first + rows.size[axis] - 1 + padding, stride, rounding_mode="floor")
        count = max(1, int((last - start).max()) + 1)
        length = (count - 1) * stride + reach + 1
        shift = (start * stride - padding - first)[rows.position[..., axis]]
        a = _framed(a, shift, length, 3 + axis)
        starts.append(start)
    flat = functional.conv2d(
        a.flatten(0, 1), weight, None, numbers.stride, 0, numbers.dilation, numbers.groups
    )
    return _placed(rows, flat.unflatten(0, a.shape[:2]), starts, shape, clean=False)


def _first(rows: WindowRows, axis: int) -> Tensor:
    """Where the window of each start position begins on the present map."""
    return torch.arange(rows.steps[axis], device=rows.a.device) * rows.stride[axis] - rows.pad[axis]


def _bands(matrix: Tensor, first: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The rows `first` ... `first + size - 1` of the matrix without columns of zeros on both sides.

    Result: (n, size, width) for n places, zero for rows outside, and the first column (n,) of each.
    """
    places = first.unsqueeze(1) + torch.arange(size, device=first.device)
    inside = (places >= 0) & (places < matrix.shape[0])
    block = matrix[places.clamp(0, matrix.shape[0] - 1)] * inside.unsqueeze(2)
    used = (block != 0).any(1)
    columns = torch.arange(matrix.shape[1], device=first.device)
    begin = torch.where(used, columns, matrix.shape[1]).amin(1).clamp(max=matrix.shape[1] - 1)
    end = torch.where(used, columns, -1).amax(1)
    width = max(1, int((end - begin).max()) + 1)
    taken = begin.unsqueeze(1) + torch.arange(width, device=first.device)
    held = taken < matrix.shape[1]
    index = taken.clamp(max=matrix.shape[1] - 1).unsqueeze(1).expand(-1, size, -1)
    return block.gather(2, index) * held.unsqueeze(1), begin


def _framed(a: Tensor, shift: Tensor, length: int, axis: int) -> Tensor:
    """Entry j of the result along `axis` is entry j + shift of a, zero outside; shift (B or 1, K)."""
    size = a.shape[axis]
    pads = [0, 0] * (a.dim() - 1 - axis) + [0, 1]
    source = shift.unsqueeze(2) + torch.arange(length, device=a.device)
    source = torch.where((source >= 0) & (source < size), source, size)  # the spare entry is zero
    shape = [*source.shape[:2], *(1 for _ in a.shape[2:])]
    shape[axis] = length
    batch = max(a.shape[0], source.shape[0])
    full = [batch, *a.shape[1:]]
    full[axis] = length
    padded = functional.pad(a, pads).expand(batch, *(-1 for _ in a.shape[1:]))
    return padded.gather(axis, source.reshape(shape).expand(full))


def _placed(
    rows: WindowRows, a: Tensor, starts: list[Tensor], shape: tuple[int, int, int], *, clean: bool
) -> WindowRows:
    """Rows with a place of their own on a map of `shape`: that of their start position, per axis."""
    pad = tuple(max(0, -int(start.min())) for start in starts)
    places: Any = [start + p for start, p in zip(starts, pad, strict=True)]
    position = torch.stack([place[rows.position[..., i]] for i, place in enumerate(places)], -1)
    steps = tuple(int(place.max()) + 1 for place in places)
    return WindowRows(a, position, (steps[0], steps[1]), (1, 1), (pad[0], pad[1]), shape, clean)
