"""Tuning of domains; those that their last split has not helped are tuned for longer.

A few steps leave a domain of many splits at values that all must change together: its children inherit them,
and trees grow below for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..slopes import Slopes
from ..tuning import Tuning, best_lower_bounds
from .bounding import DomainRows

__all__ = ["LONG", "free", "tuned"]

LONG = Tuning(steps=100, step_size=0.1, decay=0.97)
"""Of domains that are worth more work."""

_STUCK = 0.02  # share of a bound that a split should take away at least


def tuned(
    rows: DomainRows, start: Mapping[object, Tensor], tuning: Tuning, deadline: float
) -> tuple[Tensor, dict[object, Tensor]]:
    """The best bounds (D,) of domains, and the values that gave them."""
    values = Slopes(values={key: v.clone().requires_grad_() for key, v in start.items()})
    lower, found, _ = best_lower_bounds(rows, tuning, slopes=values, deadline=deadline, keep=True)
    return lower.squeeze(1), {key: value.detach() for key, value in found.values.items()}


def free(
    rows: DomainRows, known: tuple[Tensor, dict[object, Tensor]], before: Tensor, deadline: float
) -> None:
    """Tunes domains for longer whose bounds are hardly better than `before` (D,), -inf: not these.

    known: bounds (D,) and values, which are changed.
    """
    lower, found = known
    stuck = (lower <= 0) & before.isfinite() & (lower - before <= _STUCK * before.abs())
    index = stuck.nonzero().squeeze(1)
    if index.shape[0] == 0:
        return
    some = rows.take(index, index.new_zeros(index.shape[0], 1))
    better, values = tuned(some, {key: v[index] for key, v in found.items()}, LONG, deadline)
    lower[index] = torch.fmax(lower[index], better)
    for key, value in values.items():
        found[key] = found[key].index_copy(0, index, value)
