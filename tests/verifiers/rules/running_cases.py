"""Cases of products and extremes along an axis, of remainders, and of what changes nothing on numbers."""

from __future__ import annotations

from functools import partial

import torch
from robustbench_local.verifiers.graph import Piece
from torch import nn

from .cases import case

aten = torch.ops.aten

MUL = aten.mul.Tensor
case("prod of two", MUL, (2,), lambda x: x.prod(1))
case("prod of five", MUL, (5, 2), lambda x: (1 + x / 4).prod(1))
case("prod kept", MUL, (2, 3), lambda x: (x - 1).prod(2, keepdim=True))
case("prod of one", aten.select.int, (1, 2), lambda x: (2 * x).prod(1))
case("cumprod", MUL, (4,), lambda x: (1 + x / 3).cumprod(1))
case("cumprod along rows", MUL, (3, 2), lambda x: (x - 1).cumprod(1))
case("cumprod of seven", MUL, (7,), lambda x: (1 - x.sigmoid()).cumprod(-1))

CUMMAX, CUMMIN = Piece(aten.cummax.default, 0), Piece(aten.cummin.default, 0)
case("cummax", CUMMAX, (4,), lambda x: x.cummax(1).values)
case("cummax along rows", CUMMAX, (3, 2), lambda x: (x - x.flip(1)).cummax(1)[0])
case("cummax of one", CUMMAX, (1, 2), lambda x: x.cummax(1).values)
case("cummin", CUMMIN, (2, 4), lambda x: x.cummin(-1).values)

REMAINDER, FMOD = aten.remainder.Scalar, aten.fmod.Scalar
case("remainder", REMAINDER, (4,), lambda x: x % 0.75)
case("remainder of a third", REMAINDER, (4,), lambda x: torch.remainder(3 * x, 1 / 3))
case("remainder by negative", REMAINDER, (4,), lambda x: torch.remainder(x, -1.25))
case("remainder of images", REMAINDER, (2, 3, 3), lambda x, m: m(x) % 0.4, partial(nn.Conv2d, 2, 3, 2))
case("remainder by tensor", aten.remainder.Tensor, (2, 3), lambda x, d: torch.remainder(x, d), (2, 3))
case("remainder by a tensor", aten.remainder.Tensor, (4,), lambda x: torch.remainder(x, torch.tensor(0.6)))
case("fmod by a tensor", aten.fmod.Tensor, (4,), lambda x: torch.fmod(x, torch.tensor(0.6)))
case("remainder by perturbed", aten.floor.default, (3,), lambda x: x % (1 + x.sigmoid()))
case("remainder of number", aten.floor.default, (3,), lambda x: torch.remainder(2.0, 1 + x.sigmoid()))
case("fmod", FMOD, (4,), lambda x: torch.fmod(x, 0.75))
case("fmod of a third", FMOD, (4,), lambda x: torch.fmod(3 * x, -1 / 3))
case("fmod by tensor", aten.fmod.Tensor, (3,), lambda x, d: torch.fmod(x, d), (3,))
case("fmod by perturbed", aten.trunc.default, (3,), lambda x: torch.fmod(x, 1 + x.sigmoid()))
case("floor_divide", aten.floor.default, (4,), lambda x: x // 0.3)
case(
    "div rounded down",
    aten.floor.default,
    (4,),
    lambda x: torch.div(x, 1 + x.sigmoid(), rounding_mode="floor"),
)
case("div rounded to zero", aten.trunc.default, (4,), lambda x: torch.div(x, 0.3, rounding_mode="trunc"))
case("div not rounded", aten.div.Tensor, (4,), lambda x: torch.div(x, 0.3, rounding_mode=None))

FINITE = aten.nan_to_num.default
case("nan_to_num", FINITE, (3,), lambda x: torch.nan_to_num(x * 2, 0.5, 3.0, -3.0))
case("nan_to_num on images", FINITE, (2, 3, 3), lambda x, m: m(x).nan_to_num(), partial(nn.Conv2d, 2, 3, 2))
