"""torch's many spellings of one thing, and how the graph spells it."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from .graph import Node, concatenate
from .rules.stack import stacked

__all__ = [
    "PERMUTATIONS",
    "RESHAPES",
    "SPLITS",
    "extent",
    "fill_of",
    "functional",
    "is_identity",
    "is_in_place",
    "normalise",
    "order_of",
]

aten = torch.ops.aten


RESHAPES = (  # squeezing by torch's own rules would also drop a batch axis of length one
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
)
PERMUTATIONS = (
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    aten.numpy_T.default,
    aten.mT.default,
    aten.movedim.int,
    aten.movedim.intlist,
    aten.swapaxes.default,
    aten.swapdims.default,
)
SPLITS = (
    aten.chunk.default,
    aten.split.Tensor,
    aten.split.sizes,
    aten.split_with_sizes.default,
    aten.tensor_split.sections,
    aten.tensor_split.indices,
    aten.unbind.int,
)
_FILLS = {
    aten.zeros_like.default: 0.0,
    aten.new_zeros.default: 0.0,
    aten.ones_like.default: 1.0,
    aten.new_ones.default: 1.0,
}
_CASTS = (  # identities where they change no dtype
    aten.to.dtype,
    aten.to.dtype_layout,
    aten.to.device,
    aten.to.other,
    aten.type_as.default,
)
_IDENTITIES = (
    aten.dropout.default,
    aten.dropout_.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.detach_.default,
    aten.lift_fresh_copy.default,
    aten.feature_dropout.default,
)


def is_in_place(target: Any) -> bool:
    """Whether the operator overwrites one of its arguments."""
    schema = target._schema
    return any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)


def functional(target: Any) -> Any:
    """The operator without overwriting: relu for relu_."""
    if not is_in_place(target):
        return target
    name = target._schema.name.removeprefix("aten::").rstrip("_")
    return getattr(getattr(aten, name), target._overloadname)


def is_identity(node: fx.Node) -> bool:
    """Whether the operator changes nothing (outside of training)."""
    first: Any = node.args[0] if node.args else None
    if node.target in _CASTS:
        return bool(node.meta["val"].dtype == first.meta["val"].dtype)
    return node.target in _IDENTITIES or (node.target is aten.slice.Tensor and _whole_batch(node))


def normalise(node: fx.Node, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The operator on tensors with the batch axis in front, without batch-size and in-place spellings."""
    target: Any = node.target
    if target is aten.cat.default and not all(isinstance(part, Node) for part in args[0]):
        return concatenate, args
    if target is aten.stack.default and not all(isinstance(part, Node) for part in args[0]):
        return stacked, args
    if target in PERMUTATIONS and target is not aten.transpose.int:
        return aten.permute.default, (args[0], order_of(node))
    if target is aten.expand.default or target is aten.expand_as.default:
        shape = [int(s) for s in node.meta["val"].shape[1:]]
        return aten.expand.default, (args[0], [-1, *shape])
    return functional(target), args


def fill_of(node: fx.Node) -> float | None:
    """The number that a tensor "like" another is filled with; None for other operators."""
    target: Any = node.target
    args: Any = node.args
    if target in _FILLS:
        return _FILLS[target]
    position = {aten.full_like.default: 1, aten.new_full.default: 2}.get(target)
    return None if position is None else float(args[position])


def order_of(node: fx.Node) -> list[int]:
    """The order in which a permutation puts the axes."""
    target: Any = node.target
    source: Any = node.args[0]
    sizes = [2 + axis for axis in range(len(source.meta["val"].shape))]
    result = target(torch.empty(sizes, device="meta"), *node.args[1:], **node.kwargs)
    return [size - 2 for size in result.shape]


def _whole_batch(node: fx.Node) -> bool:
    """Whether a slice takes the batch axis whole: x[:]."""
    args: Any = node.args
    shape, source = node.meta["val"].shape, args[0].meta["val"].shape
    axis = int(args[1]) if len(args) > 1 else 0
    return axis % len(shape) == 0 and str(shape) == str(source)


def extent(source: fx.Node, index: int) -> tuple[int, int, int]:
    """Start, stop and axis of piece number `index` of a chunk, split or unbind."""
    pieces = source.meta["val"]
    args: Any = source.args
    named: Any = source.kwargs
    position = 1 if source.target is aten.unbind.int else 2
    dim = int(args[position] if len(args) > position else named.get("dim", 0))
    dim %= len(args[0].meta["val"].shape)
    if source.target is aten.unbind.int:
        return index, index + 1, dim
    start = sum(int(p.shape[dim]) for p in pieces[:index])
    return start, start + int(pieces[index].shape[dim]), dim
