"""Attention: products, and softmax over the keys that a constant mask leaves.

A mask of minus infinities is no bound anybody can compute with: queries that see the same keys are grouped,
and each group's softmax runs over those keys only. Vaswani et al. 2017, arXiv 1706.03762.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Computed, Node, Slot
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.scaled_dot_product_attention.default)
def _attention(build: Build, query: Any, key: Any, value: Any, *options: Any, **named: Any) -> Any:
    """softmax(scale Q K^T + mask) V, with queries (B, ..., T, E) and keys (B, ..., S, E)."""
    given = dict(zip(("attn_mask", "dropout_p", "is_causal"), options, strict=False)) | named
    attn_mask, scale = given.get("attn_mask"), given.get("scale")
    if given.get("dropout_p") or given.get("enable_gqa") or isinstance(attn_mask, Node):
        raise UnsupportedOpError(
            "attention with dropout, grouped queries, or a mask that depends on the input",
            where=f"node {build.name}",
            cure="use evaluation mode and constant masks; repeat keys and values by hand",
        )
    factor = 1 / math.sqrt(build.shape(query)[-1]) if scale is None else scale
    scaled = build.call(aten.mul.Tensor, query, factor)
    scores = build.call(aten.matmul.default, scaled, build.call(aten.transpose.int, key, -2, -1))
    rows, columns = build.shape(scores)[-2:]
    if given.get("is_causal"):
        attn_mask = torch.ones(rows, columns, dtype=torch.bool).tril()
    if attn_mask is None:
        weights = build.call(aten.softmax.int, scores, -1)
    elif build.dtype(attn_mask) == torch.bool:
        weights = _visible_softmax(build, scores, _value(attn_mask))
    else:
        weights = build.call(aten.softmax.int, build.call(aten.add.Tensor, scores, attn_mask), -1)
    return build.call(aten.matmul.default, weights, value)


@expansion(aten.softmax.int, aten._softmax.default)
def _softmax(build: Build, x: Any, dim: int, *rest: Any) -> Any:
    """Over the entries that are not minus infinity, where a constant puts some; else left to its rule."""
    rank = len(build.shape(x))
    masked = _masked(build, x)
    if masked is None:
        return None
    scores, visible = masked
    if dim % rank != rank - 1:
        raise UnsupportedOpError(
            "a masked softmax along an axis other than the last",
            where=f"node {build.name}",
            cure="move that axis to the end before the mask",
        )
    return _visible_softmax(build, scores, visible)


def _masked(build: Build, x: Node) -> tuple[Any, Tensor] | None:
    """What a mask of minus infinities is laid over, and which entries stay; None where there is none."""
    if x.op is aten.add.Tensor and len(x.inputs) == 1:
        constant = x.args[1] if isinstance(x.args[0], Slot) else x.args[0]
        hidden = _hidden(constant)
        if hidden is None:
            return None
        finite = build.call(aten.masked_fill.Scalar, constant, hidden, 0.0)
        return build.call(aten.add.Tensor, x.inputs[0], finite), ~hidden
    if x.op is aten.masked_fill.Scalar and _is_hidden(x.args[2]):
        return x.inputs[0], ~_value(x.args[1])
    if x.op is aten.masked_fill.Tensor and _is_hidden(_number(x.args[2])):
        return x.inputs[0], ~_value(x.args[1])
    if (
        x.op in (aten.where.ScalarOther, aten.where.self)
        and len(x.inputs) == 1
        and isinstance(x.args[1], Slot)
    ):
        hides = not isinstance(x.args[2], Slot) and _is_hidden(_number(x.args[2]))
        return (x.inputs[0], _value(x.args[0])) if hides and not isinstance(x.args[0], Slot) else None
    return None


def _visible_softmax(build: Build, scores: Any, visible: Tensor) -> Any:
    """softmax over the last axis of (B, ..., T, S) where `visible`, which broadcasts to it."""
    shape = build.shape(scores)
    full = visible.expand(1, *shape[1:]) if visible.dim() == len(shape) else visible.expand(shape[1:])
    table = full.reshape(-1, *shape[1:][-2:]) if len(shape) > 2 else full.reshape(1, 1, -1)
    if not bool((table == table[:1]).all()):
        raise UnsupportedOpError(
            "attention masks that differ between heads", where=f"node {build.name}", cure="use one for all"
        )
    if not bool(table.any(-1).all()):
        raise UnsupportedOpError(
            "a softmax whose entries are all hidden is NaN",
            where=f"node {build.name}",
            cure="change the mask",
        )
    if bool(table.all()):
        return build.call(aten.softmax.int, scores, len(shape) - 1)
    patterns, group = torch.unique(table[0], dim=0, return_inverse=True)
    if len(shape) == 2:
        return _over_visible(build, scores, patterns[0], 1)
    axis, pieces, order = len(shape) - 2, [], []
    for index, pattern in enumerate(patterns):
        rows = (group == index).nonzero().flatten()
        part = scores if len(patterns) == 1 else build.call(aten.index_select.default, scores, axis, rows)
        pieces.append(_over_visible(build, part, pattern, axis + 1))
        order.append(rows)
    if len(pieces) == 1:
        return pieces[0]
    back = torch.argsort(torch.cat(order))
    joined = build.call(aten.cat.default, pieces, axis)
    if bool((back == torch.arange(back.shape[0])).all()):
        return joined
    return build.call(aten.index_select.default, joined, axis, back)


def _over_visible(build: Build, scores: Any, pattern: Tensor, axis: int) -> Any:
    """softmax over the entries of the last axis where the pattern (S,) holds; zero elsewhere."""
    if bool(pattern.all()):
        return build.call(aten.softmax.int, scores, axis)
    keys = pattern.nonzero().flatten()
    weights = build.call(aten.softmax.int, build.call(aten.index_select.default, scores, axis, keys), axis)
    if bool((keys == torch.arange(keys.shape[0])).all()):
        return build.call(aten.constant_pad_nd.default, weights, [0, pattern.shape[0] - keys.shape[0]], 0.0)
    place = torch.zeros(pattern.shape[0], keys.shape[0], dtype=build.dtype(scores))
    place[keys, torch.arange(keys.shape[0])] = 1
    return build.call(aten.linear.default, weights, place)


def _value(constant: Any) -> Tensor:
    found = constant.value() if isinstance(constant, Computed) else constant
    return torch.as_tensor(found).detach()


def _number(constant: Any) -> Any:
    """A constant of one element as a number."""
    if not isinstance(constant, (Tensor, Computed)):
        return constant
    found = _value(constant)
    return float(found) if found.numel() == 1 else None


def _hidden(constant: Any) -> Tensor | None:
    """Where a constant is minus infinity; None where it is nowhere."""
    if not isinstance(constant, (Tensor, Computed)):
        return None
    hidden = _value(constant) == -math.inf
    return hidden if bool(hidden.any()) else None


def _is_hidden(number: Any) -> bool:
    return isinstance(number, (int, float)) and number == -math.inf
