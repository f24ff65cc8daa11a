"""Roots of many increasing functions at once: the multipliers of projections and dual bounds.

Illinois variant of regula falsi: M. Dowell, P. Jarratt, BIT 11 (1971), pages 168-174. Where it stalls, on
functions with plateaus, every fourth step is one of bisection unless the bracket has halved without.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["monotone_root"]

_PATIENCE = 8  # steps before the bracket is watched: smooth functions are done by then


def monotone_root(
    excess: Callable[[Tensor], Tensor],
    ends: tuple[Tensor, Tensor],
    *,
    tolerance: Tensor,
    guess: Tensor | None = None,
    iterations: int = 64,
) -> Tensor:
    """Points s in [0, 1] with -tolerance <= excess(s) <= 0, elementwise; never on the positive side.

    `excess` maps and returns tensors of the ends' shape and is increasing in each element; `ends` are
    its values at 0 and at 1. Where excess(1) <= 0 the result is 1; where excess(0) > 0 it is 0; where
    the iterations run out it is the best point known with excess <= 0. `guess` is the first trial.
    """
    # aiming at the middle of the accepted band makes the accepted points lie on the safe side
    f_low, f_high = ends[0] + 0.5 * tolerance, ends[1] + 0.5 * tolerance
    low, high = torch.zeros_like(f_low), torch.ones_like(f_low)
    result = torch.where(ends[1] <= 0, high, low)
    done = (ends[1] <= 0) | (ends[0] >= -tolerance)
    was_low = was_high = torch.zeros_like(done)
    limit = 1 - torch.finfo(low.dtype).eps
    before = high - low
    for k in range(iterations):
        if bool(done.all()):
            break
        s = low - f_low * (high - low) / (f_high - f_low)
        if guess is not None and k == 0:
            s = guess
        # a step that stays in the bracket, and does not stall, else bisection
        usable = (s > low) & (s < high)
        if k >= _PATIENCE and k % 4 == 3:
            usable, before = usable & (high - low < 0.5 * before), high - low
        s = torch.where(usable, s, 0.5 * (low + high)).clamp(max=limit)
        f = excess(s) + 0.5 * tolerance
        is_low = f <= 0
        result = torch.where(~done & (f <= 0.5 * tolerance), torch.maximum(result, s), result)
        done = done | (f.abs() <= 0.5 * tolerance)
        f_high = torch.where(is_low, torch.where(was_low, 0.5 * f_high, f_high), f)
        f_low = torch.where(is_low, f, torch.where(was_high, 0.5 * f_low, f_low))
        low, high = torch.where(is_low, s, low), torch.where(is_low, high, s)
        was_low, was_high = is_low, ~is_low
    return result
