"""Linear operators as products with a matrix: Einsum, GridSample by a constant grid, Col2Im, DFT, CumSum."""

from __future__ import annotations

import math
from string import ascii_letters

import torch
from torch import Tensor
from torch.nn import functional

from ..layout import along, permute, refuse_mixing, reshape, whole
from ..operation import Operation
from ..registry import converter
from ..value import Value
from .conv import by_image, paddings, spatial
from .tables import mix

__all__: list[str] = []

aten = torch.ops.aten


@converter("Einsum")
def _einsum(op: Operation) -> Value:
    """torch's, with one more label for the graph's batch axis, which constants do not have."""
    equation = op.text("equation", "").replace(" ", "")
    terms, arrow, result = equation.partition("->")
    labels = terms.split(",")
    operands = [op.operand(i) for i in range(len(op.inputs))]
    if not arrow:
        result = "".join(sorted(c for c in set(terms) if c.isalpha() and terms.count(c) == 1))
        result = ("..." if "..." in terms else "") + result
    free = next((c for c in ascii_letters if c not in equation), None)
    if free is None or len(labels) != len(operands):
        raise op.unsupported(f"{equation!r} of {len(operands)} tensors", "use fewer labels")
    firsts = {labels[k][:1] for k, operand in enumerate(operands) if isinstance(operand, Value)}
    ready: list[Value | Tensor] = []
    for k, operand in enumerate(operands):
        if not isinstance(operand, Value):
            ready.append(operand)
            continue
        if firsts != {result[:1]}:
            refuse_mixing(op, operand)
        ready.append(whole(op, operand))
        labels[k] = free + labels[k]
    return op.add(aten.einsum.default, f"{','.join(labels)}->{free}{result}", ready, leading=False)


@converter("GridSample")
def _grid_sample(op: Operation) -> Value:
    """Interpolation at places; where these are constant, the same linear map of every channel."""
    image_, grid = op.operand(0), op.operand(1)
    modes = {"linear": 0, "bilinear": 0, "nearest": 1, "cubic": 2, "bicubic": 2}
    mode, border = op.text("mode", "linear"), op.text("padding_mode", "zeros")
    if mode not in modes or border not in _BORDERS:
        raise op.unsupported(f"in the mode {mode!r} with {border!r}", "use linear, nearest or cubic")
    if isinstance(grid, Tensor) and isinstance(image_, Value) and image_.leading and grid.shape[0] == 1:
        return _sampled(op, image_, grid, (modes[mode], border))
    parts = (image_, grid)
    if not all(p.leading if isinstance(p, Value) else p.shape[0] == 1 for p in parts):
        raise op.unsupported("of a batch of several", "export the network with a batch size of 1")
    rest = (modes[mode], _BORDERS.index(border), bool(op.integer("align_corners", 0)))
    return op.add(aten.grid_sampler.default, *parts, *rest, leading=True)


_BORDERS = ("zeros", "border", "reflection")


def _sampled(op: Operation, value: Value, grid: Tensor, how: tuple[int, str]) -> Value:
    """The product of each channel with a matrix."""
    space, count = value.shape[2:], math.prod(value.shape[2:])
    if len(space) not in (2, 3) or count * math.prod(grid.shape[1:-1]) > 2**26:
        raise op.unsupported("of large images", "its matrix would be too large")
    units = torch.eye(count, dtype=torch.float64).reshape(1, count, *space)
    mode = ("bilinear", "nearest", "bicubic")[how[0]]
    aligned = bool(op.integer("align_corners", 0))
    sampled = functional.grid_sample(units, grid.double(), mode, how[1], aligned)
    matrix = sampled.reshape(count, -1).T.to(op.dtype).contiguous()
    flat = reshape(op, value, (*value.shape[:2], count))
    return reshape(op, mix(op, flat, 2, matrix), (*value.shape[:2], *grid.shape[1:-1]))


@converter("Col2Im")
@by_image
def _col2im(op: Operation) -> Value:
    """Sums of blocks of an image."""
    value = op.value()
    size, kernel = op.integers("", 1), op.integers("", 2)
    if size is None or kernel is None or len(size) != 2:
        raise op.unsupported("of other than two axes", "use images")
    stride, dilation = spatial(op, "strides", 2), spatial(op, "dilations", 2)
    pairs = paddings(op, size, kernel, stride, dilation)
    grown = [n + before + after for n, (before, after) in zip(size, pairs, strict=True)]
    result = op.add(aten.col2im.default, value, grown, kernel, dilation, [0, 0], stride, leading=True)
    crops = [-amount for pair in reversed(pairs) for amount in pair]
    return op.add(aten.constant_pad_nd.default, result, crops, 0.0, leading=True) if any(crops) else result


@converter("DFT")
def _dft(op: Operation) -> Value:
    """A matrix for the real and the imaginary part together; the last axis holds the parts."""
    value = op.value()
    rank = len(value.shape)
    given = op.constant(2)
    asked = op.integer("axis", 1 if op.opset < 20 else -2) if given is None else int(given.reshape(-1)[0])
    axis, lengths = op.axis(asked, rank), op.integers("", 1)
    length, parts = value.shape[axis], value.shape[-1]
    count = lengths[0] if lengths else length
    inverse, onesided = bool(op.integer("inverse", 0)), bool(op.integer("onesided", 0))
    if parts not in (1, 2) or axis == rank - 1 or (inverse and onesided) or not 1 <= count <= 2**13:
        raise op.unsupported("of this shape, or one-sided inverse", "use the two-sided transform")
    matrix = _fourier(length, count, parts, inverse=inverse)
    rows = count // 2 + 1 if onesided else count
    matrix = matrix.reshape(count, 2, length * parts)[:rows].reshape(rows * 2, length * parts)
    order = [a for a in range(rank) if a not in (axis, rank - 1)] + [axis, rank - 1]
    moved = permute(op, along(op, value, [axis]), order)
    flat = reshape(op, moved, (*moved.shape[:-2], length * parts))
    mixed = mix(op, flat, rank - 2, matrix.to(op.dtype))
    split = reshape(op, mixed, (*mixed.shape[:-1], rows, 2))
    return permute(op, split, [order.index(a) for a in range(rank)])


def _fourier(length: int, count: int, parts: int, *, inverse: bool) -> Tensor:
    """(count * 2, length * parts): exp(-2 pi i k n / count), of a signal cut or padded to `count`."""
    k, n = torch.arange(count, dtype=torch.float64), torch.arange(length, dtype=torch.float64)
    turns = torch.remainder(k.unsqueeze(1) * n, count) * (2 * math.pi / count)
    cos, sin = turns.cos(), -turns.sin()
    if inverse:
        cos, sin = cos / count, -sin / count
    keep = (n < count).to(torch.float64)
    cos, sin = cos * keep, sin * keep
    columns = [torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)][:parts]
    return torch.stack(columns, -1).reshape(2 * count, length * parts)


@converter("CumProd")
def _cumulative_product(op: Operation) -> Value:
    """Along one axis, from the other end (reverse), or without the place itself (exclusive)."""
    value = op.value()
    axis = op.axis(int(op.required(1).reshape(-1)[0]), len(value.shape))
    value = along(op, value, [axis])
    dim, length = value.dim(axis), value.shape[axis]
    turned = bool(op.integer("reverse", 0))
    if turned:
        value = op.add(aten.flip.default, value, [dim], leading=value.leading)
    if op.integer("exclusive", 0):
        pads = [0, 0] * (len(value.shape) - 1 - axis) + [1, -1]
        value = op.add(aten.constant_pad_nd.default, value, pads, 1.0, leading=value.leading)
    if length > 1:
        value = op.add(aten.cumprod.default, value, dim, leading=value.leading)
    return op.add(aten.flip.default, value, [dim], leading=value.leading) if turned else value


@converter("Det")
def _determinant(op: Operation) -> Value:
    value = along(op, op.value(), range(len(op.value().shape) - 2, len(op.value().shape)))
    if value.leading and len(value.shape) == 2:
        value = whole(op, value)
    result = op.add(aten.linalg_det.default, value, leading=value.leading)
    return reshape(op, result, value.shape[:-2])
