"""Maxima and minima of several values: max_pool1d / 2d, and maximum / minimum of two tensors.

y >= x_i for all i and y <= x_i + (U_i - l_i) (1 - z_i) with sum of z = 1, U_i the largest upper bound of the
others (Tjeng et al. 2019, arXiv 1711.07356, section 4.1). Values that cannot win are left out first; where
one is left y equals it and no integer column is needed.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch.nn import functional

from ...graph import Node, Slot
from ...rule import Boxes
from ..program import Array, Block, Builder, Index
from .encoding import Encoding, encodes

aten = torch.ops.aten

__all__ = ["Extremum", "MaxPool"]


class MaxPool(Encoding):
    """Windows of max_pool1d and max_pool2d."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def encode(self, node: Node, boxes: Boxes, builder: Builder) -> None:
        """As `Encoding.encode`."""
        first = builder.columns[node.inputs[0]].start
        places = _windows(node, self.rank)
        _maximum(builder, builder.columns[node], np.where(places >= 0, places + first, -1), 1.0)


class Extremum(Encoding):
    """maximum (sign 1) or minimum (sign -1) of two tensors of the output's shape."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def encode(self, node: Node, boxes: Boxes, builder: Builder) -> None:
        """As `Encoding.encode`."""
        places = [_places(node, value, builder) for value in node.args[:2]]
        _maximum(builder, builder.columns[node], np.stack(places, 1), self.sign)


def _places(node: Node, value: object, builder: Builder) -> Index:
    """The columns of an operand broadcast to the output; a constant gets columns of its own."""
    if isinstance(value, Slot):
        parent = node.inputs[value.index]
        place = builder.columns[parent]
        numbers = torch.arange(place.start, place.stop).reshape(1, *parent.shape)
    else:
        constant = torch.as_tensor(value).detach().to("cpu", torch.float64)
        ends = constant.flatten().numpy()
        place = builder.add_columns(ends, ends)
        numbers = torch.arange(place.start, place.stop).reshape(constant.shape)
    whole: Index = numbers.expand(1, *node.shape).flatten().numpy()
    return whole


def _windows(node: Node, rank: int) -> Index:
    """The input coordinates of every output's window, (outputs, window), -1 on padding."""
    parent = node.inputs[0]
    channels, *space = parent.shape
    numbers = torch.arange(parent.numel, dtype=torch.float64).reshape(
        1, channels, *([1] * (2 - rank)), *space
    )
    sizes = [_sizes(node, i, d, rank) for i, d in ((1, 1), (2, []), (3, 0), (4, 1))]
    kernel, stride, padding, dilation = sizes
    stride = stride or kernel
    if rank == 1:
        kernel, stride, padding, dilation = [1, *kernel], [1, *stride], [0, *padding], [1, *dilation]
    out = ([1] * (2 - rank)) + list(node.shape[1:])
    need = [(out[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in range(2)]
    after = [need[i] - numbers.shape[2 + i] - padding[i] for i in range(2)]  # negative: crops what none reads
    padded = functional.pad(numbers, [padding[1], after[1], padding[0], after[0]], value=-1.0)
    columns = functional.unfold(
        padded.transpose(0, 1), tuple(kernel), dilation=tuple(dilation), stride=tuple(stride)
    )
    places: Index = columns.transpose(1, 2).reshape(node.numel, -1).round().long().numpy()
    return places


def _sizes(node: Node, position: int, default: object, rank: int) -> list[int]:
    names = ("", "kernel_size", "stride", "padding", "dilation")
    value = node.argument(position, names[position], default)
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values


def _maximum(builder: Builder, outputs: slice, places: Index, sign: float) -> None:
    """sign y = max of sign x over the columns `places` (k, w), -1 for none."""
    lower, upper = builder.bounds()
    low, high = (lower, upper) if sign > 0 else (-upper, -lower)
    some = places >= 0
    l = np.where(some, low[places], -np.inf)  # noqa: E741  (the paper's names)
    u = np.where(some, high[places], -np.inf)
    best = l.max(1, keepdims=True)
    # an input that surely wins ties with others: keep it, drop those that cannot exceed it
    keep = some & ((u > best) | (np.arange(places.shape[1]) == l.argmax(1)[:, None]))
    row, slot = np.nonzero(keep)
    alone = keep.sum(1) == 1
    y = outputs.start + np.arange(len(places))
    wins = alone[row]
    _rows(builder, [(y[row[wins]], 1.0), (places[row[wins], slot[wins]], -1.0)], 0.0, 0.0)
    row, slot = row[~wins], slot[~wins]
    if not len(row):
        return
    x = places[row, slot]
    others = np.where(keep, u, -np.inf)
    others[np.arange(len(places)), :] = _largest_other(others)
    room = np.maximum(others[row, slot] - l[row, slot], 0.0)
    z = builder.add_columns(np.zeros(len(row)), np.ones(len(row)), integer=True)
    flags = np.arange(z.start, z.stop)
    _rows(builder, [(y[row], sign), (x, -sign)], 0.0, np.inf)
    _rows(builder, [(y[row], sign), (x, -sign), (flags, room)], -np.inf, room)
    number = np.cumsum(~alone)[row] - 1
    one = sparse.coo_array((np.ones(len(row)), (number, np.arange(len(row)))))
    ends = np.ones(int((~alone).sum()))
    builder.add_rows([Block(one, z.start)], ends, ends)


def _largest_other(values: Array) -> Array:
    """Per row and entry the largest of the row's other entries."""
    order = np.sort(values, 1)
    top = values.argmax(1)
    result = np.repeat(order[:, -1:], values.shape[1], 1)
    result[np.arange(len(values)), top] = order[:, -2] if values.shape[1] > 1 else -np.inf
    return result


def _rows(
    builder: Builder, terms: list[tuple[Index, Array | float]], low: float, high: Array | float
) -> None:
    k = len(terms[0][0])
    if not k:
        return
    blocks = [
        Block(sparse.coo_array((np.broadcast_to(v, k), (np.arange(k), c)), shape=(k, builder.width)), 0)
        for c, v in terms
    ]
    builder.add_rows(blocks, np.full(k, low), np.broadcast_to(high, k).astype(np.float64))


encodes(aten.max_pool1d.default)(MaxPool(1))
encodes(aten.max_pool2d.default)(MaxPool(2))
encodes(aten.maximum.default)(Extremum(1.0))
encodes(aten.minimum.default)(Extremum(-1.0))
