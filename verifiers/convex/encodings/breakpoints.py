"""Continuous piecewise linear functions of one coordinate: relu, leaky relu, abs, clamp and their kin.

The incremental form (Markowitz and Manne 1957; Vielma 2015, SIAM Review 57, section 5): with breakpoints
t_0 = l < t_1 < ... < t_m = u of the box and f linear between them,

    x = t_0 + sum of d_k,   y = f(t_0) + sum of slope_k d_k,   0 <= d_k <= t_k - t_(k-1),
    d_k >= (t_k - t_(k-1)) z_k,   d_(k+1) <= (t_(k+1) - t_k) z_k,   z_k in {0, 1}.

Without the integrality of z this is the convex hull of the graph, so for ReLU the triangle. A coordinate with
no breakpoint inside its box is one equality; only the others cost integer columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import sparse

from ...graph import Node
from ...rule import Boxes
from ..program import Array, Block, Builder, Index
from .encoding import Encoding, encodes

aten = torch.ops.aten

__all__ = ["PiecewiseLinear"]


class PiecewiseLinear(Encoding):
    """A coordinatewise function that is linear between `breakpoints(node)`, which are the same everywhere."""

    def __init__(self, breakpoints: Callable[[Node], Sequence[float]]) -> None:
        self.breakpoints = breakpoints

    def encode(self, node: Node, boxes: Boxes, builder: Builder) -> None:
        """As `Encoding.encode`."""
        box = boxes[node.inputs[0]]
        low, high = box.lower.flatten().numpy(), box.upper.flatten().numpy()
        # knots (p + 2, n): the breakpoints moved into the box; pieces outside it have length zero
        knots = np.stack([low, *(np.clip(t, low, high) for t in sorted(self.breakpoints(node))), high])
        values = np.stack([_value(node, row) for row in knots])
        x, y = builder.columns[node.inputs[0]], builder.columns[node]
        lengths = np.diff(knots, axis=0)
        pieces = (lengths > 0).sum(0)
        for count in np.unique(pieces):
            chosen = np.flatnonzero(pieces == count).astype(np.int64)
            if count <= 1:
                _one_piece(builder, (x.start, y.start), chosen, (knots, values))
                continue
            order = np.argsort(lengths[:, chosen] <= 0, axis=0, kind="stable")[:count]  # pieces that exist
            length = np.take_along_axis(lengths[:, chosen], order, 0)
            rise = np.take_along_axis(np.diff(values, axis=0)[:, chosen], order, 0)
            _pieces(
                builder, (x.start, y.start), chosen, _Pieces(low[chosen], values[0, chosen], length, rise)
            )


class _Pieces:
    """Start (n,), value there (n,), lengths > 0 (m, n) and rises (m, n) of the pieces of n coordinates."""

    def __init__(self, start: Array, value: Array, length: Array, rise: Array) -> None:
        self.start, self.value, self.length, self.rise = start, value, length, rise


def _value(node: Node, at: Array) -> Array:
    x = torch.from_numpy(at).reshape(1, *node.inputs[0].shape)
    result: Array = node.run(x).flatten().numpy()
    return result


def _pick(chosen: Index, values: Array | float = 1.0) -> Block:
    """`values` times the chosen coordinates, from column 0 on: shift with `_at`."""
    k = len(chosen)
    matrix = sparse.coo_array(
        (np.broadcast_to(values, k), (np.arange(k), chosen)), shape=(k, int(chosen.max()) + 1)
    )
    return Block(matrix, 0)


def _at(block: Block, first: int) -> Block:
    return Block(block.matrix, first)


def _one_piece(builder: Builder, first: tuple[int, int], chosen: Index, curve: tuple[Array, Array]) -> None:
    """y = f(l) + slope (x - l); a constant where the box is a point."""
    knots, values = (t[:, chosen] for t in curve)
    width = knots[-1] - knots[0]
    slope = np.where(width > 0, (values[-1] - values[0]) / np.where(width > 0, width, 1.0), 0.0)
    blocks = [_at(_pick(chosen), first[1]), _at(_pick(chosen, -slope), first[0])]
    offset = values[0] - slope * knots[0]
    builder.add_rows(blocks, offset, offset)


def _pieces(builder: Builder, first: tuple[int, int], chosen: Index, curve: _Pieces) -> None:
    m, n = curve.length.shape
    everyone = np.arange(n, dtype=np.int64)
    steps = [builder.add_columns(np.zeros(n), curve.length[k]) for k in range(m)]
    full = [builder.add_columns(np.zeros(n), np.ones(n), integer=True) for _ in range(m - 1)]
    minus = [_at(_pick(everyone, -1.0), s.start) for s in steps]
    builder.add_rows([_at(_pick(chosen), first[0]), *minus], curve.start, curve.start)
    slopes = curve.rise / curve.length
    scaled = [_at(_pick(everyone, -slopes[k]), s.start) for k, s in enumerate(steps)]
    builder.add_rows([_at(_pick(chosen), first[1]), *scaled], curve.value, curve.value)
    zero, nothing = np.zeros(n), np.full(n, np.inf)
    for k, z in enumerate(full):
        before = [_at(_pick(everyone), steps[k].start), _at(_pick(everyone, -curve.length[k]), z.start)]
        after = [
            _at(_pick(everyone), steps[k + 1].start),
            _at(_pick(everyone, -curve.length[k + 1]), z.start),
        ]
        builder.add_rows(before, zero, nothing)
        builder.add_rows(after, -nothing, zero)


def _zero(node: Node) -> tuple[float, ...]:
    return (0.0,)


def _limits(node: Node) -> tuple[float, ...]:
    """The bounds of clamp that are given."""
    ends = (node.argument(1, "min"), node.argument(2, "max"))
    return tuple(float(t) for t in ends if t is not None)


def _hard_limits(node: Node) -> tuple[float, ...]:
    return float(node.argument(1, "min_val", -1.0)), float(node.argument(2, "max_val", 1.0))


encodes(aten.relu.default, aten.leaky_relu.default, aten.abs.default, aten.prelu.default)(
    PiecewiseLinear(_zero)
)
encodes(aten.relu6.default)(PiecewiseLinear(lambda node: (0.0, 6.0)))
encodes(aten.hardsigmoid.default)(PiecewiseLinear(lambda node: (-3.0, 3.0)))
encodes(aten.clamp.default)(PiecewiseLinear(_limits))
encodes(aten.hardtanh.default)(PiecewiseLinear(_hard_limits))
encodes(aten.clamp_min.default, aten.clamp_max.default)(PiecewiseLinear(lambda node: (float(node.args[1]),)))
