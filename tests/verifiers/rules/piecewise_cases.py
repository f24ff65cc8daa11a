"""Cases of piecewise linear functions, steps, choices, extremes and pooling."""

from __future__ import annotations

from functools import partial

import torch
from robustbench_local.verifiers.graph import Piece
from torch import nn
from torch.nn import functional as F

from robustbench_local.specs import jump

from .cases import case, layer

aten = torch.ops.aten

ABS, PRELU, CLAMP = aten.abs.default, aten.prelu.default, aten.clamp.default
case("abs", ABS, (4,), lambda x: x.abs())
case("abs on images", ABS, (2, 3, 3), lambda x, m: m(x).abs(), partial(nn.Conv2d, 2, 3, 2))
case("prelu", PRELU, (4,), lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)))
case("prelu concave", PRELU, (4,), lambda x: F.prelu(x, torch.tensor([1.5], dtype=x.dtype)))
case("prelu falling", PRELU, (4,), lambda x: F.prelu(x, torch.tensor([-0.5], dtype=x.dtype)))
layer("prelu learned", PRELU, (3,), nn.PReLU)
layer("prelu per channel", PRELU, (3, 2, 2), nn.PReLU, 3)
case("prelu on images", PRELU, (2, 4, 4), lambda x, m, w: F.prelu(m(x), w), partial(nn.Conv2d, 2, 3, 2), (3,))
case("rrelu", aten.rrelu.default, (4,), F.rrelu)
case("relu6", aten.relu6.default, (4,), lambda x: F.relu6(4 * x))
case("relu6 plain", aten.relu6.default, (4,), F.relu6)
case("hardtanh", aten.hardtanh.default, (4,), lambda x: F.hardtanh(x))
case("hardtanh uneven", aten.hardtanh.default, (4,), lambda x: F.hardtanh(x, -0.25, 2.0))
case("hardsigmoid", aten.hardsigmoid.default, (4,), lambda x: F.hardsigmoid(4 * x))
case("hardswish", aten.hardswish.default, (4,), lambda x: F.hardswish(4 * x))
case("hardswish plain", aten.hardswish.default, (4,), F.hardswish)
case("clamp", CLAMP, (4,), lambda x: x.clamp(-0.4, 0.7))
case("clamp low", CLAMP, (4,), lambda x: x.clamp(min=0.1))
case("clamp high", CLAMP, (4,), lambda x: x.clamp(max=0.1))
case("clamp crossed", CLAMP, (4,), lambda x: x.clamp(0.5, 0.2))
case("clamp in place", CLAMP, (4,), lambda x: (2 * x).clamp_(-1, 1))
case("clip", aten.clip.default, (4,), lambda x: x.clip(0.0, 1.0))
case("clamp_min", aten.clamp_min.default, (4,), lambda x: x.clamp_min(0.2))
case("clamp_max", aten.clamp_max.default, (4,), lambda x: x.clamp_max(0.2))
case("clamp.Tensor", aten.clamp.Tensor, (4,), lambda x: x.clamp(torch.tensor(-0.3), torch.tensor(0.6)))
case("clamp by tensors", aten.clamp.Tensor, (2, 3), lambda x, a, b: x.clamp(a, b), (3,), (2, 1))
case("clip.Tensor", aten.clip.Tensor, (4,), lambda x: x.clip(torch.tensor(-0.3)))
case("clamp_min.Tensor", aten.clamp_min.Tensor, (4,), lambda x: x.clamp_min(torch.tensor(0.1)))
case("clamp by perturbed", aten.maximum.default, (4,), lambda x: x.clamp(x.flip(1) - 1, torch.tensor(0.5)))
case("clamp_min by perturbed", aten.maximum.default, (4,), lambda x: x.clamp_min(-x))
case("clamp_max by perturbed", aten.minimum.default, (4,), lambda x: x.clamp_max(-x))
case("clamp_max.Tensor", aten.clamp_max.Tensor, (4,), lambda x: x.clamp_max(torch.tensor(0.1)))
case(
    "clamp images by tensors",
    aten.clamp.Tensor,
    (2, 4, 4),
    lambda x, m, a: m(x).clamp(a, a + 0.5),
    partial(nn.Conv2d, 2, 3, 2),
    (3, 3, 3),
)
case("softshrink", aten.softshrink.default, (4,), lambda x: F.softshrink(x, 0.3))
case("hardshrink", aten.hardshrink.default, (4,), lambda x: F.hardshrink(x, 0.3))
case("threshold", aten.threshold.default, (4,), lambda x: F.threshold(x, 0.2, -0.5))
case("threshold above", aten.threshold.default, (4,), lambda x: F.threshold(x, 0.2, 1.5))

case("sign", aten.sign.default, (4,), torch.sign)
case("sgn", aten.sgn.default, (4,), torch.sgn)
case(
    "heaviside", aten.heaviside.default, (4,), lambda x: torch.heaviside(x, torch.tensor(0.5, dtype=x.dtype))
)
# at zero itself it has no value, and no sampled point lies there
case("jump", torch.ops.robustbench_local.jump.default, (4,), lambda x: jump(x - 0.123))
case("floor", aten.floor.default, (4,), lambda x: (2 * x).floor())
case("floor plain", aten.floor.default, (4,), torch.floor)
case("ceil", aten.ceil.default, (4,), lambda x: (2 * x).ceil())
case("round", aten.round.default, (4,), lambda x: (2 * x).round())
case("round plain", aten.round.default, (4,), torch.round)
case("trunc", aten.trunc.default, (4,), lambda x: (2 * x).trunc())
case("fix", aten.fix.default, (4,), lambda x: torch.fix(2 * x))
case("frac", aten.frac.default, (4,), lambda x: (2 * x).frac())
COMPARE = {
    "gt": (aten.gt.Scalar, aten.gt.Tensor, torch.gt),
    "ge": (aten.ge.Scalar, aten.ge.Tensor, torch.ge),
    "lt": (aten.lt.Scalar, aten.lt.Tensor, torch.lt),
    "le": (aten.le.Scalar, aten.le.Tensor, torch.le),
    "eq": (aten.eq.Scalar, aten.eq.Tensor, torch.eq),
    "ne": (aten.ne.Scalar, aten.ne.Tensor, torch.ne),
}
for _name, (_number, _tensor, _compare) in COMPARE.items():
    case(_name, _number, (4,), lambda x, f=_compare: f(x, 0.1).type_as(x))
    case(f"{_name} tensor", _tensor, (4,), lambda x, b, f=_compare: f(x, b).type_as(x), (4,))
case("gt both", aten.gt.Tensor, (4,), lambda x: (x > x.flip(1)).to(x.dtype))
case("eq both", aten.eq.Tensor, (4,), lambda x: (x == x.flip(1)).to(x.dtype))
case("gt broadcast", aten.gt.Tensor, (2, 3), lambda x: (x[:, :1] > 2 * x).type_as(x))

WHERE = aten.where.self
case("where", WHERE, (4,), lambda x: torch.where(x > 0, x, -2 * x))
case("where of constants", WHERE, (4,), lambda x, b: torch.where(x > 0.1, b, x), (4,))
case("where mask", WHERE, (4,), lambda x, b: torch.where(b > 0, x, x.flip(1)), (4,))
case("where mask and constant", WHERE, (2, 3), lambda x, b: torch.where(b > 0, b, x[:, :1]), (2, 3))
case("where number", aten.where.ScalarOther, (4,), lambda x, b: torch.where(b > 0, x, 0.5), (4,))
case("where number first", aten.where.ScalarSelf, (4,), lambda x: torch.where(x > x.flip(1), 0.5, x))
case("where numbers", aten.gt.Scalar, (4,), lambda x: torch.where(x > 0.2, 2.0, -1.0).type_as(x))
case("masked_fill", aten.masked_fill.Scalar, (4,), lambda x, b: x.masked_fill(b > 0, -1.5), (4,))
case("masked_fill perturbed", aten.masked_fill.Scalar, (4,), lambda x: x.masked_fill(x > 0.2, -1.5))
case("masked_fill.Tensor", aten.masked_fill.Tensor, (4,), lambda x, b: x.masked_fill(b > 0, b[0]), (4,))
for _name, _op in (
    ("logical_and", aten.logical_and.default),
    ("logical_or", aten.logical_or.default),
    ("bitwise_and", aten.bitwise_and.Tensor),
    ("bitwise_or", aten.bitwise_or.Tensor),
    ("__and__", aten.__and__.Tensor),
    ("__or__", aten.__or__.Tensor),
):
    case(_name, _op, (4,), lambda x, f=_op: f(x > 0, x.flip(1) < 0.5).type_as(x))
for _name, _op in (("logical_not", aten.logical_not.default), ("bitwise_not", aten.bitwise_not.default)):
    case(_name, _op, (4,), lambda x, f=_op: f(x > 0).type_as(x))

for _name, _op in (
    ("maximum", aten.maximum.default),
    ("minimum", aten.minimum.default),
    ("max.other", aten.max.other),
    ("min.other", aten.min.other),
    ("fmax", aten.fmax.default),
    ("fmin", aten.fmin.default),
):
    case(_name, _op, (4,), lambda x, f=_op: f(x, x.flip(1) * 0.5))
case("maximum with constant", aten.maximum.default, (2, 3), lambda x, b: torch.maximum(x, b), (3,))
case("minimum broadcast", aten.minimum.default, (2, 3), lambda x: torch.minimum(x[:, :1], x))
case("maximum of itself", aten.maximum.default, (3,), lambda x: torch.maximum(x, x))
case("amax", aten.amax.default, (2, 3), lambda x: x.amax(1))
case("amax axes", aten.amax.default, (2, 3, 2), lambda x: x.amax((-1, 1)))
case("amax kept", aten.amax.default, (2, 3), lambda x: x.amax(2, keepdim=True))
case("amax of many", aten.amax.default, (40,), lambda x: x.amax(1))
case("amin", aten.amin.default, (2, 3), lambda x: x.amin(-1))
for _name, _op, _axes in (
    ("any", aten.any.dim, 1),
    ("any axes", aten.any.dims, [1]),
    ("all", aten.all.dim, 1),
    ("all axes", aten.all.dims, [1]),
):
    case(_name, _op, (4,), lambda x, f=_op, axes=_axes: f(x > -0.2, axes).type_as(x))
case("argmax", aten.argmax.default, (3, 2), lambda x: x.argmax(1).type_as(x))
case("argmin", aten.argmin.default, (4,), lambda x: x.argmin(-1, keepdim=True).to(x.dtype))
case("max.dim", Piece(aten.max.dim, 0), (2, 3), lambda x: x.max(1).values)
case("min.dim", Piece(aten.min.dim, 0), (2, 3), lambda x: x.min(-1, keepdim=True)[0])
case("aminmax", Piece(aten.aminmax.default, 0), (2, 3), lambda x: torch.aminmax(x, dim=1)[0])
case("aminmax above", Piece(aten.aminmax.default, 1), (2, 3), lambda x: torch.aminmax(x, dim=-1)[1])

MP2, MP3 = aten.max_pool2d.default, aten.max_pool3d.default
layer("max 2d wide", MP2, (2, 5, 5), nn.MaxPool2d, 3, stride=2, padding=1)
layer("max 2d leaves a rest", MP2, (1, 5, 7), nn.MaxPool2d, 2, stride=(2, 3), padding=(1, 0))
case(
    "max 2d between convolutions",
    MP2,
    (1, 9, 7),
    lambda x, m, n: n(F.max_pool2d(m(x), (3, 2), (2, 1), (1, 1), ceil_mode=True)),
    partial(nn.Conv2d, 1, 2, 2),
    partial(nn.Conv2d, 2, 1, 2, padding=1),
)
case("max 2d of images", MP2, (2, 5, 5), lambda x, m: F.max_pool2d(m(x), 2), partial(nn.Conv2d, 2, 3, 2))
layer("max 3d", MP3, (1, 3, 4, 3), nn.MaxPool3d, 2, stride=1)
layer("max 3d uneven", MP3, (2, 3, 4, 4), nn.MaxPool3d, (1, 2, 3), padding=(0, 1, 1), ceil_mode=True)
_VALUES = (aten.max_pool1d_with_indices, aten.max_pool2d_with_indices, aten.max_pool3d_with_indices)
for _rank, (_pool, _values) in enumerate(
    zip((F.max_pool1d, F.max_pool2d, F.max_pool3d), _VALUES, strict=True)
):
    case(
        f"max {_rank + 1}d values",
        Piece(_values.default, 0),
        (1, *(4, 2, 2)[: _rank + 1]),
        lambda x, f=_pool: f(x, 2, return_indices=True)[0],
    )
_ADAPTIVE = (aten.adaptive_max_pool1d, aten.adaptive_max_pool2d, aten.adaptive_max_pool3d)
_KINDS = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
layer("adaptive max 1d", Piece(_ADAPTIVE[0].default, 0), (2, 5), _KINDS[0], 3)
layer("adaptive max 2d", Piece(_ADAPTIVE[1].default, 0), (2, 5, 4), _KINDS[1], (2, 3))
layer("adaptive max 3d", Piece(_ADAPTIVE[2].default, 0), (1, 3, 4, 2), _KINDS[2], 2)
AP2 = aten.avg_pool2d.default
case(
    "average 2d of images",
    AP2,
    (2, 6, 6),
    lambda x, m: F.avg_pool2d(m(x), 3, 2, 1),
    partial(nn.Conv2d, 2, 3, 2),
)
layer(
    "average 2d on windows",
    AP2,
    (2, 6, 7),
    nn.AvgPool2d,
    3,
    2,
    padding=1,
    ceil_mode=True,
    count_include_pad=False,
)
layer("average 2d by a divisor", AP2, (1, 5, 5), nn.AvgPool2d, 2, 1, padding=1, divisor_override=3)
layer("average 3d", aten.avg_pool3d.default, (2, 3, 4, 2), nn.AvgPool3d, 2, stride=1, padding=1)
layer("adaptive 3d", aten.adaptive_avg_pool3d.default, (1, 3, 4, 2), nn.AdaptiveAvgPool3d, (2, 3, 1))

TOPK, SORT = Piece(aten.topk.default, 0), Piece(aten.sort.default, 0)
case("topk", TOPK, (5,), lambda x: x.topk(2).values)
case("topk smallest", TOPK, (2, 4), lambda x: x.topk(3, dim=1 + 1, largest=False)[0])
case("topk of axis", TOPK, (4, 2), lambda x: x.topk(2, 1)[0])
case("sum of the two largest", TOPK, (5,), lambda x: x.topk(2).values.sum(1))
case("sort", SORT, (4,), lambda x: x.sort().values)
case("sort falling", SORT, (3, 2), lambda x: x.sort(1, descending=True)[0])
case("sort stable", Piece(aten.sort.stable, 0), (4,), lambda x: x.sort(stable=True, dim=1)[0])
case("kthvalue", Piece(aten.kthvalue.default, 0), (5,), lambda x: x.kthvalue(2).values)
case("kthvalue kept", Piece(aten.kthvalue.default, 0), (3, 2), lambda x: x.kthvalue(3, 1, True)[0])
case("median", Piece(aten.median.dim, 0), (4,), lambda x: x.median(1).values)
