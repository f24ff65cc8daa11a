"""Planes that enclose a nonlinear operator on its inputs' boxes, read off its rule.

A backward step of a row of the identity IS a plane below that output, a step of its negative a plane above;
every value of the rule's free parameters gives another pair. Taken at 0, 1/2 and 1 this is the triangle for
ReLU (Ehlers 2017, arXiv 1705.01320), McCormick's envelope for products, tangents at three points for smooth
curves: any operator with a rule can enter a linear program, and no operator is named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Boxes, Elementwise, Rule, find_rule
from .program import Array

__all__ = ["Plane", "affine_plane", "planes"]

_VALUES = (0.0, 1.0, 0.5)
_CHUNK = 512  # rows of the identity in one backward step


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """`y >= sum of coefficients @ inputs + offset` for all outputs y (k,) of a node; `<=` where not `below`.

    coefficients: one sparse matrix (k, n) per input of the node. Entries that are NaN or infinite say
    nothing.
    """

    below: bool
    coefficients: tuple[Any, ...]
    offset: Array


def affine_plane(node: Node) -> Plane:
    """The matrices and the offset of an affine node, exactly as its rule has them."""
    return _pulled(node, find_rule(node), {}, None, sign=1.0)


def planes(node: Node, boxes: Boxes) -> list[Plane]:
    """Valid planes below and above a nonlinear node; boxes of batch 1 for each of its inputs."""
    rule = find_rule(node)
    found: dict[bool, list[tuple[float | None, Plane]]] = {True: [], False: []}
    for value in (None, *_VALUES):
        pair = list(_pair(node, rule, boxes, value))
        if not pair:
            break  # the rule leaves nothing free
        for plane in pair:
            found[plane.below].append((value, plane))
    return [plane for side in found.values() for plane in _distinct(side)]


def _pair(node: Node, rule: Rule, boxes: Boxes, value: float | None) -> Iterator[Plane]:
    """The planes below and above for one value of all free parameters; None: the rule's own choice."""
    if isinstance(rule, Elementwise):
        if value is not None and not rule.parameters:
            return
        yield from _lines(node, rule, boxes[node.inputs[0]], value)
        return
    free = None
    if value is not None:
        start = rule.start(node, boxes)
        if start is None:
            return
        free = torch.full_like(start, value).unsqueeze(1)
    known = all(
        bool((b.lower.isfinite() & b.upper.isfinite()).all()) for b in map(boxes.__getitem__, node.inputs)
    )
    if not known:
        return  # a rule may give anything there
    for sign in (1.0, -1.0):
        yield _pulled(node, rule, boxes, free, sign=sign)


def _lines(node: Node, rule: Elementwise, box: Interval, value: float | None) -> Iterator[Plane]:
    free = () if value is None else (torch.full_like(box.lower, value),) * rule.parameters
    lines = rule.lines(node, box, free)
    known = box.lower.isfinite() & box.upper.isfinite()
    sides = (
        (True, lines.lower_slope, lines.lower_offset),
        (False, lines.upper_slope, lines.upper_offset),
    )
    for below, slope, offset in sides:
        shape = box.lower.shape
        flat = torch.where(known, slope.expand(shape), torch.nan).flatten().numpy()
        shift = np.zeros(flat.shape) if offset is None else offset.expand(shape).flatten().numpy()
        yield Plane(below, (sparse.diags_array(flat, format="csr"),), shift)


def _pulled(node: Node, rule: Rule, boxes: Boxes, free: Tensor | None, *, sign: float) -> Plane:
    """The plane of every output from backward steps of `sign` times the identity, some rows at a time."""
    matrices: list[list[Any]] = [[] for _ in node.inputs]
    offsets: list[Array] = []
    for part in torch.arange(node.numel).split(_CHUNK):
        rows = torch.zeros(len(part), node.numel, dtype=torch.float64)
        rows[torch.arange(len(part)), part] = sign
        pulled = rule.backward(node, rows.reshape(1, len(part), *node.shape), boxes, free)
        for found, parent, coefficients in zip(matrices, node.inputs, pulled.coefficients, strict=True):
            dense = coefficients.expand(1, len(part), *parent.shape).reshape(len(part), parent.numel)
            found.append(sparse.csr_array(sign * dense.detach().numpy()))
        zero = np.zeros(len(part))
        offsets.append(
            zero if pulled.offset is None else sign * pulled.offset.detach().expand(1, len(part))[0].numpy()
        )
    return Plane(sign > 0, tuple(sparse.vstack(m, format="csr") for m in matrices), np.concatenate(offsets))


def _distinct(side: list[tuple[float | None, Plane]]) -> list[Plane]:
    """The planes without repetitions, and without that of 1/2 where it is the mean of its neighbours."""
    chosen: list[Plane] = []
    by_value = dict(side)
    ends = [by_value[v] for v in (0.0, 1.0) if v in by_value]
    for value, plane in reversed(side):  # the rule's own choice last: it is often one of the others
        if value == 0.5 and len(ends) == 2 and _is_mean(plane, *ends):
            continue
        if not any(_equal(plane, other) for other in chosen):
            chosen.append(plane)
    return chosen


def _is_mean(plane: Plane, one: Plane, other: Plane) -> bool:
    """Whether the plane follows from two others, up to rounding: dropping it loses nothing that counts."""
    pairs = zip(plane.coefficients, one.coefficients, other.coefficients, strict=True)
    return all(_size(m - (a + b) / 2) < 1e-12 for m, a, b in pairs) and bool(
        np.all(np.abs(plane.offset - (one.offset + other.offset) / 2) <= 1e-12 * (1 + np.abs(plane.offset)))
    )


def _equal(one: Plane, other: Plane) -> bool:
    same = all(_size(a - b) == 0 for a, b in zip(one.coefficients, other.coefficients, strict=True))
    return same and bool(np.array_equal(one.offset, other.offset))


def _size(matrix: Any) -> float:
    return float(np.max(np.abs(matrix.data), initial=0.0))
