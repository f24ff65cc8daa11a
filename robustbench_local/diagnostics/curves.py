"""The numbers of the two plots: the violation on a plane around a case, and along the walks."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.attacks import uniform, violation_loss
from robustbench_local.specs import Query

from .derivatives import slope_at
from .examination import Examination
from .finding import Curves

__all__ = ["curves_of"]

_SIDE = 25  # points along one direction of the plane
_REACH = 1.5  # sizes of the set, to either side
_WALKS = 50  # lines of the plot, the first cases


def curves_of(examination: Examination, suspects: Tensor) -> Curves:
    """The plots' numbers; the plane lies around the first case of suspects (b,) bool, else the first case.

    The first direction is the set's steepest along the gradient (random where there is none), the second its
    steepest along random signs.
    """
    if not examination.names:
        return Curves()
    rows = suspects.nonzero().flatten()
    row = int(rows[0]) if len(rows) else 0
    _, seen = examination.walk
    steps = {
        name: tuple(trace) for name, trace in list(zip(examination.names, seen.traces, strict=True))[:_WALKS]
    }
    offsets = torch.linspace(-_REACH, _REACH, _SIDE)
    one = examination.query.select(torch.tensor([row], device=examination.query.inputs.device))
    start = examination.start[row : row + 1]
    surface = _surface(one, start, examination.keys("plane")[row : row + 1], offsets.to(start))
    return Curves(
        case=examination.names[row],
        offsets=tuple(offsets.tolist()),
        surface=tuple(tuple(line) for line in surface.tolist()),
        steps=steps,
    )


def _surface(query: Query, start: Tensor, keys: Tensor, offsets: Tensor) -> Tensor:
    """The violation (k, k) at start (1, *in) plus offsets (k,) along the first and the second direction."""
    random = 2 * uniform(keys, query.inputs.shape, start.dtype) - 1
    gradient = slope_at(query, start, violation_loss).gradient
    if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any()):
        gradient = 2 * uniform(keys, query.inputs.shape, start.dtype, draw=1) - 1
    first = query.inputs.steepest(gradient / gradient.abs().max())
    second = query.inputs.steepest(random)
    shape = (-1, *(1,) * (start.ndim - 1))
    down, along = torch.meshgrid(offsets, offsets, indexing="ij")
    x = start + along.reshape(shape) * first + down.reshape(shape) * second
    many = query.select(torch.zeros(len(x), dtype=torch.int64, device=query.inputs.device))
    with torch.no_grad():
        return many.violation(x).double().cpu().reshape(len(offsets), len(offsets))
