"""Derivatives of affine operators: what every affine rule answers unless it knows a faster way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from robustbench_local.errors import UnsupportedOpError

from .graph import Node
from .interval import Interval

if TYPE_CHECKING:
    from .rule import Affine, Boxes

__all__ = ["affine_cotangent", "affine_tangent", "broadcast_rows", "monotone_cotangent", "no_derivative"]


def affine_tangent(rule: Affine, node: Node, tangents: Sequence[Interval]) -> Interval:
    """The operator's interval minus its value at zero: tangents (B or 1, K, *shape) per input."""
    many = broadcast_rows(tangents)
    batch = many[0].lower.shape[:2]
    flat = [Interval(t.lower.flatten(0, 1), t.upper.flatten(0, 1)) for t in many]
    zeros = [Interval(z, z) for z in (torch.zeros_like(t.lower[:1]) for t in flat)]
    image, origin = rule.interval(node, *flat), rule.interval(node, *zeros)
    lower, upper = image.lower - origin.upper, image.upper - origin.lower
    return Interval(lower.unflatten(0, batch), upper.unflatten(0, batch))


def affine_cotangent(rule: Affine, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
    """Rows (B or 1, K, *node.shape) times the operator's matrices, by centre and radius."""
    size, like = node.numel, rows.lower
    identity = torch.eye(size, dtype=like.dtype, device=like.device).reshape(1, size, *node.shape)
    mid, radius = (t.reshape(*t.shape[:2], size) for t in rows.mid_radius())
    pulled = []
    for matrix, parent in zip(rule.backward(node, identity, boxes).coefficients, node.inputs, strict=True):
        entries = matrix.reshape(size, -1)
        ends = Interval.around(mid @ entries, radius @ entries.abs())
        shape = (*like.shape[:2], *parent.shape)
        pulled.append(Interval(ends.lower.reshape(shape), ends.upper.reshape(shape)))
    return tuple(pulled)


def monotone_cotangent(rule: Affine, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
    """As `affine_cotangent` for a matrix without negative entries: the adjoint on both ends."""
    low, high = (rule.backward(node, a, boxes).coefficients for a in (rows.lower, rows.upper))
    return tuple(Interval(*ends) for ends in zip(low, high, strict=True))


def broadcast_rows(tangents: Sequence[Interval]) -> tuple[Interval, ...]:
    """The same tangents with one batch axis and one row axis for all: (B, K, *each its shape)."""
    batch = torch.broadcast_shapes(*(t.lower.shape[:2] for t in tangents))
    return tuple(Interval(*(v.expand(*batch, *v.shape[2:]) for v in (t.lower, t.upper))) for t in tangents)


def no_derivative(node: Node) -> UnsupportedOpError:
    """The error of an operator whose rule knows no derivative."""
    return UnsupportedOpError(
        f"no bounds of the derivative of {node.op}",
        where=f"node {node.name}",
        cure="give its rule `derivative` (one input, coordinate by coordinate) or `tangent` and `cotangent`",
    )
