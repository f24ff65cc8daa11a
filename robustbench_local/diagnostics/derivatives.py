"""Gradients of losses at points, and what is wrong where there are none."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.attacks import Loss
from robustbench_local.specs import Query

__all__ = ["Slope", "slope_at"]


class Slope(NamedTuple):
    """A loss and its gradient at points (b, *in)."""

    value: Tensor  # (b,)
    gradient: Tensor | None  # (b, *in); None where the network passes none on
    fault: str  # why there is none, "" otherwise


def slope_at(query: Query, x: Tensor, loss: Loss) -> Slope:
    """The loss at x (b, *in) and its gradient there, as torch gives them: zero, NaN and infinity included."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        value = loss(query, query.atoms(query.network(leaf)))
        if not value.requires_grad:
            return Slope(value.detach(), None, "the output does not depend on the input for autograd")
        try:
            (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
        except RuntimeError as error:  # what autograd raises is the finding
            return Slope(value.detach(), None, f"autograd raises: {' '.join(str(error).split())[:200]}")
    if gradient is None:
        return Slope(value.detach(), None, "the output does not depend on the input for autograd")
    return Slope(value.detach(), gradient, "")
