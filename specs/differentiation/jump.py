"""The derivative of relu as an operator of its own: it has no value at the kink."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["jump", "slope_of_relu"]

_SHARPNESS = 10.0


@torch.library.custom_op("robustbench_local::jump", mutates_args=())
def _jump(x: Tensor) -> Tensor:
    return torch.where(x == 0, torch.nan, (x > 0).to(x.dtype))


@_jump.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def jump(x: Tensor) -> Tensor:
    """0 below zero, 1 above, NaN at zero, where relu has no derivative; elementwise, of x's dtype.

    An operator of its own, so that verifiers see it as a whole: their bounds hold, at zero, for every number
    between 0 and 1, all of Clarke's generalised derivatives of relu. A point that lies on a kink itself is
    NaN, so it never counts as a counterexample.
    """
    value: Tensor = _jump(x)
    return value


def slope_of_relu(x: Tensor) -> Tensor:
    """`jump` of x, with the gradient of a sigmoid where gradients are asked for.

    The true gradient is zero wherever there is one, and leads no attack anywhere; the derivative of softplus,
    a smooth relu, is the usual stand-in. The values are those of `jump`, bit for bit.
    """
    value: Tensor = jump(x.detach())
    if not x.requires_grad or torch.compiler.is_exporting():
        return value
    smooth = torch.sigmoid(_SHARPNESS * x)
    return value + (smooth - smooth.detach())
