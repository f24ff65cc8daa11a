"""Cases of smooth functions of one input. Inputs reach from -11 to 11: some are moved into the domain."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .cases import case

aten = torch.ops.aten


def plain(function: Callable[[Tensor], Tensor], *operators: Callable[..., Any]) -> None:
    """A function of the network's own input, with another name where there is one."""
    for op, spelled in zip(operators, (function, *_SPELLED.get(function, ())), strict=True):
        case(str(op).removeprefix("aten.").removesuffix(".default"), op, (4,), spelled)


def within(
    op: Callable[..., Any], function: Callable[[Tensor], Tensor], inner: Callable[[Tensor], Tensor]
) -> None:
    """A function after one that maps into its domain."""
    name = str(op).removeprefix("aten.").removesuffix(".default")
    case(name, op, (4,), lambda x: function(inner(x)))


def positive(x: Tensor) -> Tensor:
    return 0.06 * x + 0.7


def near_zero(x: Tensor) -> Tensor:
    return 0.08 * x


_SPELLED: dict[Callable[[Tensor], Tensor], tuple[Callable[[Tensor], Tensor], ...]] = {
    torch.erf: (torch.special.erf,),
    torch.atan: (torch.arctan,),
    torch.asinh: (torch.arcsinh,),
    torch.exp2: (torch.special.exp2,),
    torch.expm1: (torch.special.expm1,),
}
plain(torch.erf, aten.erf.default, aten.special_erf.default)
plain(torch.special.expit, aten.special_expit.default)
plain(torch.special.ndtr, aten.special_ndtr.default)
plain(torch.atan, aten.atan.default, aten.arctan.default)
plain(torch.asinh, aten.asinh.default, aten.arcsinh.default)
plain(torch.exp, aten.exp.default)
plain(torch.exp2, aten.exp2.default, aten.special_exp2.default)
plain(torch.expm1, aten.expm1.default, aten.special_expm1.default)
plain(torch.cosh, aten.cosh.default)
plain(torch.sinh, aten.sinh.default)
plain(F.logsigmoid, aten.log_sigmoid.default)
plain(F.softplus, aten.softplus.default)
case("softplus steep", aten.softplus.default, (4,), lambda x: F.softplus(x, 3.0, 5.0))
case("softplus that jumps", aten.softplus.default, (4,), lambda x: F.softplus(x, 0.5, 0.25))
case("exp of a base", aten.pow.Scalar, (4,), lambda x: 1.5**x)
case("exp of a base below one", aten.pow.Scalar, (4,), lambda x: 0.25**x)
case("exp on images", aten.exp.default, (2, 3, 3), lambda x, m: m(x).exp(), partial(nn.Conv2d, 2, 3, 2))

GELU = aten.gelu.default
plain(F.gelu, GELU)
case("gelu tanh", GELU, (4,), lambda x: F.gelu(3 * x - 1, approximate="tanh"))
case("gelu on images", GELU, (2, 3, 3), lambda x, m: F.gelu(m(x)), partial(nn.Conv2d, 2, 3, 2))
plain(F.silu, aten.silu.default)
case("silu in place", aten.silu.default, (4,), lambda x: F.silu(x - x.flip(1), inplace=True))
plain(F.mish, aten.mish.default)
ELU = aten.elu.default
plain(F.elu, ELU)
case("elu shallow", ELU, (4,), lambda x: F.elu(x, 0.3))
case("elu deep", ELU, (4,), lambda x: F.elu(x, 2.5))
case("elu scaled", ELU, (4,), lambda x: aten.elu(x, 0.7, 1.5, 2.0))
plain(F.selu, aten.selu.default)
plain(F.celu, aten.celu.default)
case("celu deep", aten.celu.default, (4,), lambda x: F.celu(x, 2.0))

for _op, _function in {
    aten.log.default: torch.log,
    aten.log2.default: torch.log2,
    aten.log10.default: torch.log10,
    aten.log1p.default: torch.log1p,
    aten.special_log1p.default: torch.special.log1p,
    aten.rsqrt.default: torch.rsqrt,
}.items():
    within(_op, _function, positive)
within(aten.sqrt.default, torch.sqrt, positive)
within(aten.reciprocal.default, torch.reciprocal, positive)
case("reciprocal of a negative", aten.reciprocal.default, (4,), lambda x: 2 / -positive(x))
plain(torch.square, aten.square.default)
POWER = aten.pow.Tensor_Scalar
for _exponent in (0, 1, 2, 3, 4, 5):
    case(f"power {_exponent}", POWER, (4,), partial(torch.pow, exponent=_exponent))
for _exponent in (-1, -2, -0.5, 0.5, 1.5):
    case(f"power {_exponent}", POWER, (4,), lambda x, e=_exponent: positive(x) ** e)
case("power -2 of a negative", POWER, (4,), lambda x: (-positive(x)) ** -2)
case("power of a tensor", aten.pow.Tensor_Tensor, (4,), lambda x: torch.pow(x, torch.tensor(3.0)))

plain(torch.sin, aten.sin.default)
plain(torch.cos, aten.cos.default)
case("sin fast", aten.sin.default, (4,), lambda x: torch.sin(5 * x + 20))
within(aten.logit.default, torch.logit, lambda x: 0.04 * x + 0.5)
within(aten.special_logit.default, torch.special.logit, lambda x: 0.04 * x + 0.5)
within(aten.tan.default, torch.tan, near_zero)
for _op, _function in {
    aten.asin.default: torch.asin,
    aten.arcsin.default: torch.arcsin,
    aten.acos.default: torch.acos,
    aten.arccos.default: torch.arccos,
    aten.atanh.default: torch.atanh,
    aten.arctanh.default: torch.arctanh,
    aten.erfinv.default: torch.erfinv,
    aten.special_erfinv.default: torch.special.erfinv,
}.items():
    within(_op, _function, near_zero)
