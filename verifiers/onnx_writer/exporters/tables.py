"""Operators that take coordinates from fixed places, or are a fixed matrix: read off from themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...graph import Slot, mapped
from ...rules.indexing import GATHER, PUTS
from ..call import Call, Ref
from ..registry import exporter

__all__ = ["by_matrix", "by_table"]

aten = torch.ops.aten

_LARGEST = 2**26  # entries of a matrix


@exporter(
    aten.index.Tensor,
    GATHER,
    *PUTS.values(),
    aten.repeat_interleave.self_int,
    aten.diagonal.default,
    aten.diag_embed.default,
    aten.unfold.default,
    aten.rot90.default,
    aten.fliplr.default,
    aten.roll.default,
    aten.pixel_unshuffle.default,
    aten.channel_shuffle.default,
    aten.im2col.default,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.upsample_nearest3d.vec,
    aten._upsample_nearest_exact1d.vec,
    aten._upsample_nearest_exact2d.vec,
    aten._upsample_nearest_exact3d.vec,
)
def by_table(call: Call) -> str:
    """Every coordinate of the result from one of the operands' coordinates, or a constant.

    The operator on the numbers 1, 2, 3, ... less the operator on zeros gives the table. Where that is none
    (sums of several coordinates) the matrix is written.
    """
    refs = _refs(call)
    sizes = [ref.numel for ref in refs]
    starts = [sum(sizes[:k]) for k in range(len(refs))]
    codes = [
        torch.arange(start + 1, start + ref.numel + 1, dtype=torch.float64).reshape(1, *ref.shape)
        for start, ref in zip(starts, refs, strict=True)
    ]
    constant = _run(call, [torch.zeros_like(c) for c in codes])
    table = _run(call, codes) - constant
    places = table.round().long()
    twice = _run(call, [2 * c for c in codes]) - constant
    if not torch.equal(twice, 2 * table) or not _is_table(call, codes, constant, places):
        return by_matrix(call)
    flat = [call.reshaped(call.real(ref), (ref.numel,)) for ref in refs]
    source = flat[0] if len(flat) == 1 else call.op("Concat", *flat, axis=1)
    index = (places - 1).clamp(min=0).reshape(-1)
    if len(refs) > 1 or not torch.equal(index, torch.arange(sizes[0])):
        source = call.op("Gather", source, index, axis=1)
    taken = (places > 0).reshape(1, -1)
    if not bool(taken.all()):
        source = call.op("Where", taken, source, constant.reshape(1, -1).to(call.dtype))
    elif bool(constant.any()):
        source = call.op("Add", source, constant.reshape(1, -1).to(call.dtype))
    return call.reshaped(source, call.shape)


def _is_table(call: Call, codes: Sequence[Tensor], constant: Tensor, places: Tensor) -> bool:
    """Whether random numbers come out where the table says."""
    generator = torch.Generator().manual_seed(0)
    numbers = [torch.rand(c.shape, generator=generator, dtype=torch.float64) for c in codes]
    flat = torch.cat([torch.zeros(1, dtype=torch.float64), *(n.reshape(-1) for n in numbers)])
    if int(places.min()) < 0 or int(places.max()) >= len(flat):
        return False
    return torch.equal(flat[places] + constant, _run(call, numbers))


@exporter(aten.col2im.default)
def by_matrix(call: Call) -> str:
    """An affine operator as the product with its matrix, which it gives on unit vectors."""
    refs = _refs(call)
    total, width = sum(ref.numel for ref in refs), math.prod(call.shape)
    if total * width > _LARGEST:
        raise call.unsupported(f"of {total} to {width} coordinates: its matrix would be too large")
    zeros = [torch.zeros(1, *ref.shape, dtype=torch.float64) for ref in refs]
    constant = _run(call, zeros)
    rows = []
    for k, ref in enumerate(refs):
        units = torch.eye(ref.numel, dtype=torch.float64).reshape(ref.numel, *ref.shape)
        held = [units if i == k else z.expand(ref.numel, *z.shape[1:]) for i, z in enumerate(zeros)]
        rows.append((_run(call, held) - constant).reshape(ref.numel, width))
    flat = [call.reshaped(call.real(ref), (ref.numel,)) for ref in refs]
    source = flat[0] if len(flat) == 1 else call.op("Concat", *flat, axis=1)
    bias = constant.reshape(-1).to(call.dtype) if bool(constant.any()) else None
    product = call.op("Gemm", source, torch.cat(rows).to(call.dtype), bias)
    return call.reshaped(product, call.shape)


@exporter(
    aten.upsample_linear1d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_trilinear3d.vec,
    aten._upsample_bilinear2d_aa.vec,
    aten.upsample_bicubic2d.vec,
    aten._upsample_bicubic2d_aa.vec,
)
def _upsample(call: Call) -> str:
    """A matrix along each axis: rows of each sum to one, so the others may be constant."""
    x, space = call.x.name, list(call.x.shape[1:])
    for k, length in enumerate(space):
        units = torch.eye(length, dtype=torch.float64)
        units = units.reshape(length, 1, *(length if i == k else 1 for i in range(len(space))))
        wide = units.expand(length, 1, *(length if i == k else n for i, n in enumerate(space)))
        full = _run(call, [wide])
        place: tuple[Any, ...] = tuple(slice(None) if i == k else 0 for i in range(len(space)))
        place = (slice(None), 0, *place)
        matrix = full[place]
        if not torch.equal(matrix, torch.eye(length, dtype=torch.float64)):
            x = mixed(call, x, k + 2, matrix.to(call.dtype))
    return x


def mixed(call: Call, x: str, axis: int, matrix: Tensor) -> str:
    """The product with a matrix (old length, new length) along one axis; x has the first operand's rank."""
    last = call.x.rank - 1
    order = [a for a in range(last + 1) if a != axis] + [axis]
    moved = x if axis == last else call.op("Transpose", x, perm=order)
    product = call.op("MatMul", moved, matrix)
    if axis == last:
        return product
    return call.op("Transpose", product, perm=[order.index(a) for a in range(last + 1)])


def _refs(call: Call) -> list[Ref]:
    """The operands that depend on the network's input, each once for every slot."""
    found: list[Ref] = []
    mapped((call.args, call.kwargs), lambda v: found.append(v) if isinstance(v, Ref) else None)
    return found


def _run(call: Call, values: Sequence[Tensor]) -> Tensor:
    """The operator in double precision with values in the operands' places."""
    node = call.node

    def double(value: object) -> object:
        if isinstance(value, Slot):
            return values[value.index]
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    assert node.op is not None
    with torch.no_grad():
        result: Tensor = node.op(*mapped(node.args, double), **mapped(node.kwargs, double))
    return result.double()
