"""Cases of operators that take, put, repeat, move or interpolate coordinates."""

from __future__ import annotations

from functools import partial

import torch
from robustbench_local.verifiers.rules.filled import filled
from robustbench_local.verifiers.rules.indexing import GATHER, PUTS
from torch import Tensor, nn
from torch.nn import functional as F

from .cases import case

aten = torch.ops.aten


def _index(*values: object, like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device)


INDEX = aten.index.Tensor
case("index", INDEX, (4,), lambda x: x[:, [2, 0, 2]])
case("index two axes", INDEX, (3, 2), lambda x: x[:, [0, 2, 2], [1, 0, 1]])
case("index last axis", INDEX, (3, 2), lambda x: x[:, :, _index(1, 1, like=x)])
case("index by a table", INDEX, (4,), lambda x: x[:, _index([0, 1], [3, 2], like=x)])
case("gather", GATHER, (4,), lambda x: x.gather(1, _index([3, 0, 3], like=x).expand(x.shape[0], 3)))
case(
    "scatter",
    PUTS[aten.scatter.src],
    (2,),
    lambda x: torch.zeros(x.shape[0], 4, dtype=x.dtype).scatter(
        1, _index([3, 0], like=x).expand(x.shape[0], 2), x
    ),
)
case(
    "scatter number",
    PUTS[aten.scatter.value],
    (3,),
    lambda x: x.scatter(1, _index([2], like=x).expand(x.shape[0], 1), 0.5),
)
case(
    "scatter_add",
    PUTS[aten.scatter_add.default],
    (3,),
    lambda x: x.scatter_add(1, _index([1, 1, 0], like=x).expand(x.shape[0], 3), 2 * x),
)
case(
    "index_add",
    PUTS[aten.index_add.default],
    (3,),
    lambda x: torch.ones(x.shape[0], 4, dtype=x.dtype).index_add(1, _index(0, 2, 2, like=x), x, alpha=0.5),
)
case(
    "index_copy",
    PUTS[aten.index_copy.default],
    (3,),
    lambda x: x.index_copy(1, _index(2, 0, like=x), -x[:, :2]),
)
case("index_fill", PUTS[aten.index_fill.int_Scalar], (3,), lambda x: x.index_fill(1, _index(1, like=x), 2.0))
case("slice_scatter", PUTS[aten.slice_scatter.default], (4,), lambda x: x.slice_scatter(-x[:, :2], 1, 1, 3))
case(
    "slice_scatter of zeros",
    PUTS[aten.slice_scatter.default],
    (2,),
    lambda x: torch.zeros(x.shape[0], 4, dtype=x.dtype).slice_scatter(x, 1, 0, 4, 2),
)
case("select_scatter", PUTS[aten.select_scatter.default], (3, 2), lambda x: x.select_scatter(-x[:, 0], 1, 2))
case(
    "diagonal_scatter",
    PUTS[aten.diagonal_scatter.default],
    (2, 2),
    lambda x: x.diagonal_scatter(-x[:, 0], 0, 1, 2),
)

case("repeat", aten.repeat.default, (2, 2), lambda x: x.repeat(1, 2, 3))
case("tile", aten.tile.default, (3,), lambda x: x.tile(1, 2))
case("repeat_interleave", aten.repeat_interleave.self_int, (3,), lambda x: x.repeat_interleave(2, 1))
case("expand_as", aten.expand.default, (3,), lambda x: x[:, :1].expand_as(x))
case("diagonal", aten.diagonal.default, (3, 3), lambda x: x.diagonal(1, 1, 2))
case("trace of a matrix", aten.diagonal.default, (3, 3), lambda x: x.diagonal(0, 1, 2).sum(1))
case("diag_embed", aten.diag_embed.default, (3,), lambda x: torch.diag_embed(x, 1))
case("unfold", aten.unfold.default, (6,), lambda x: x.unfold(1, 3, 2))
case("rot90", aten.rot90.default, (2, 3), lambda x: x.rot90(1, (1, 2)))
case("fliplr", aten.fliplr.default, (3,), lambda x: x.fliplr())
case("pixel_shuffle", aten.pixel_shuffle.default, (4, 2, 3), lambda x: F.pixel_shuffle(x, 2))
case("pixel_unshuffle", aten.pixel_unshuffle.default, (1, 2, 4), lambda x: F.pixel_unshuffle(x, 2))
case("channel_shuffle", aten.channel_shuffle.default, (4, 2, 1), lambda x: F.channel_shuffle(x, 2))
case("narrow_copy", aten.narrow_copy.default, (4,), lambda x: x.narrow_copy(1, 1, 2))
case("tril", aten.tril.default, (3, 3), lambda x: x.tril(-1))
case("triu", aten.triu.default, (2, 3), lambda x: x.triu())
case("cumsum", aten.cumsum.default, (2, 3), lambda x: x.cumsum(-1))
case("diff", aten.slice.Tensor, (4,), lambda x: x.diff(dim=1))
case("diff twice", aten.slice.Tensor, (4,), lambda x, b: x.diff(2, 1, b.expand(x.shape[0], 2)), (1, 2))
case("im2col", aten.im2col.default, (2, 3, 4), lambda x: F.unfold(x, 2, padding=1, stride=2))
case("col2im", aten.col2im.default, (4, 4), lambda x: F.fold(x, (3, 3), 2))

case("hstack", aten.cat.default, (3,), lambda x: torch.hstack([x, -x]))
case("zeros_like", filled, (3,), lambda x: torch.cat([x, torch.zeros_like(x), torch.ones_like(x)], 1))
case("full_like", filled, (3,), lambda x: x * torch.full_like(x, 2.0)[:, :1])
case("new_zeros", filled, (3,), lambda x: torch.cat([x, x.new_zeros(x.shape[0], 2)], 1))
case("new_ones", filled, (3,), lambda x: torch.cat([x, x.new_ones((x.shape[0], 2))], 1))
case("new_full", filled, (3,), lambda x: x + x.new_full((x.shape[0], 1), 0.5))

_IMAGES = {1: (2, 4), 2: (2, 3, 4), 3: (1, 2, 3, 2)}
_NEAREST = {1: aten.upsample_nearest1d, 2: aten.upsample_nearest2d, 3: aten.upsample_nearest3d}
_EXACT = {
    1: aten._upsample_nearest_exact1d,
    2: aten._upsample_nearest_exact2d,
    3: aten._upsample_nearest_exact3d,
}
_LINEAR = {1: aten.upsample_linear1d, 2: aten.upsample_bilinear2d, 3: aten.upsample_trilinear3d}
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
for _rank, _shape in _IMAGES.items():
    case(
        f"nearest {_rank}d",
        _NEAREST[_rank].vec,
        _shape,
        lambda x: F.interpolate(x, scale_factor=2),
    )
    case(
        f"nearest exact {_rank}d",
        _EXACT[_rank].vec,
        _shape,
        lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"),
    )
    for _aligned in (False, True):
        case(
            f"{_MODES[_rank]} {_aligned}",
            _LINEAR[_rank].vec,
            _shape,
            lambda x, mode=_MODES[_rank], aligned=_aligned: F.interpolate(
                x, scale_factor=2, mode=mode, align_corners=aligned
            ),
        )
_PLANE = (1, 4, 3)
_CUBIC, _CUBIC_AA, _LINEAR_AA = (
    aten.upsample_bicubic2d,
    aten._upsample_bicubic2d_aa,
    aten._upsample_bilinear2d_aa,
)
case("bicubic", _CUBIC.vec, _PLANE, lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"))
case(
    "bicubic aligned",
    _CUBIC.vec,
    _PLANE,
    lambda x: F.interpolate(x, size=(6, 5), mode="bicubic", align_corners=True),
)
case(
    "bicubic smoothed",
    _CUBIC_AA.vec,
    _PLANE,
    lambda x: F.interpolate(x, size=(3, 2), mode="bicubic", antialias=True),
)
case(
    "bilinear smoothed",
    _LINEAR_AA.vec,
    _PLANE,
    lambda x: F.interpolate(x, size=(3, 2), mode="bilinear", antialias=True),
)

_TALL = (1, 5, 4)
_CONVS = partial(nn.Conv2d, 1, 2, 3, padding=1), partial(nn.Conv2d, 2, 2, 3, stride=2, padding=1)
for _mode in ("nearest", "nearest-exact", "bilinear", "bicubic"):
    _op = {
        "nearest": _NEAREST[2],
        "nearest-exact": _EXACT[2],
        "bilinear": _LINEAR[2],
        "bicubic": _CUBIC,
    }[_mode]
    for _scale in (2, 2.5):
        case(
            f"{_mode} between convolutions, {_scale}",
            _op.vec,
            _TALL,
            lambda x, a, b, mode=_mode, scale=_scale: b(F.interpolate(a(x), scale_factor=scale, mode=mode)),
            *_CONVS,
        )
case(
    "enlarged, and added to its convolution",
    _LINEAR[2].vec,
    _TALL,
    lambda x, a: (h := F.interpolate(x, size=(9, 11), mode="bilinear", align_corners=True)) + a(h),
    partial(nn.Conv2d, 1, 1, 3, padding=1),
)
case(
    "enlarged in two ways, and added",
    _NEAREST[2].vec,
    _TALL,
    lambda x: F.interpolate(x, scale_factor=2) + F.interpolate(x, scale_factor=2, mode="bilinear"),
)
case(
    "enlarged, and reduced on the way",
    _NEAREST[2].vec,
    (1, 6, 8),
    lambda x, a, b: b(x) + a(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)),
    partial(nn.Conv2d, 1, 2, 3, padding=1),
    partial(nn.Conv2d, 1, 2, 1),
)
