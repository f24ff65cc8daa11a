"""Operators that change the shape but no number: reshapes, transpositions, repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..layout import along, permute, refuse_mixing, reshape, whole
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten


@converter("Reshape")
def _reshape(op: Operation) -> Value:
    """0 keeps an axis (unless allowzero), -1 takes what is left; the file's batch of one is in the count."""
    value = op.value()
    wanted = [int(s) for s in op.required(1).reshape(-1).tolist()]
    if not op.integer("allowzero", 0):
        wanted = [value.shape[i] if s == 0 else s for i, s in enumerate(wanted)]
    known = math.prod(s for s in wanted if s != -1)
    if -1 in wanted and known > 0:
        wanted[wanted.index(-1)] = math.prod(value.shape) // known
    return reshape(op, value, wanted)


@converter("Flatten")
def _flatten(op: Operation) -> Value:
    value = op.value()
    axis = op.integer("axis", 1)
    axis = axis + len(value.shape) if axis < 0 else axis
    rows = math.prod(value.shape[:axis])
    return reshape(op, value, (rows, math.prod(value.shape) // rows))


@converter("Squeeze")
def _squeeze(op: Operation) -> Value:
    value, axes = op.value(), op.integers("axes", 1)
    rank = len(value.shape)
    dropped = (
        {i for i, s in enumerate(value.shape) if s == 1} if axes is None else {op.axis(a, rank) for a in axes}
    )
    if any(value.shape[a] != 1 for a in dropped):
        raise op.unsupported(f"of axes {sorted(dropped)} of shape {value.shape}", "check the file")
    return reshape(op, value, [s for i, s in enumerate(value.shape) if i not in dropped])


@converter("Unsqueeze")
def _unsqueeze(op: Operation) -> Value:
    value, axes = op.value(), op.integers("axes", 1) or []
    rank = len(value.shape) + len(axes)
    new = {op.axis(a, rank) for a in axes}
    rest = iter(value.shape)
    return reshape(op, value, [1 if i in new else next(rest) for i in range(rank)])


@converter("Transpose")
def _transpose(op: Operation) -> Value:
    value = op.value()
    return permute(op, value, op.integers("perm") or list(reversed(range(len(value.shape)))))


@converter("Expand")
def _expand(op: Operation) -> Value:
    value = op.value()
    return _expanded(op, value, [int(s) for s in op.required(1).reshape(-1).tolist()])


def _expanded(op: Operation, value: Value, target: Sequence[int]) -> Value:
    shape = tuple(np.broadcast_shapes(value.shape, tuple(target)))
    value = reshape(op, value, (1,) * (len(shape) - len(value.shape)) + value.shape)
    if shape == value.shape:
        return value
    if value.leading and shape[0] != 1:
        refuse_mixing(op, value)
        value = whole(op, value)
    sample = shape[1:] if value.leading else shape
    return op.add(aten.expand.default, value, [-1, *sample], leading=value.leading)


@converter("Tile")
def _tile(op: Operation) -> Value:
    value = op.value()
    repeats = [int(r) for r in op.required(1).reshape(-1).tolist()]
    value = along(op, value, [a for a, r in enumerate(repeats) if r != 1])
    if all(r == 1 for r in repeats):
        return value
    counts = repeats if value.leading else [1, *repeats]
    return op.add(aten.repeat.default, value, counts, leading=value.leading)


@converter("DepthToSpace")
def _depth_to_space(op: Operation) -> Value:
    value, block = op.value(), op.integer("blocksize", 1)
    n, c, h, w = value.shape
    depth = c // block**2
    columns_first = op.text("mode", "DCR") == "CRD"
    split = (n, depth, block, block, h, w) if columns_first else (n, block, block, depth, h, w)
    order = [0, 1, 4, 2, 5, 3] if columns_first else [0, 3, 4, 1, 5, 2]
    parts = permute(op, reshape(op, value, split), order)
    return reshape(op, parts, (n, depth, h * block, w * block))


@converter("SpaceToDepth")
def _space_to_depth(op: Operation) -> Value:
    value, block = op.value(), op.integer("blocksize", 1)
    n, c, h, w = value.shape
    parts = reshape(op, value, (n, c, h // block, block, w // block, block))
    columns_first = op.text("mode", "DCR") == "CRD"
    parts = permute(op, parts, [0, 1, 3, 5, 2, 4] if columns_first else [0, 3, 5, 1, 2, 4])
    return reshape(op, parts, (n, c * block**2, h // block, w // block))
