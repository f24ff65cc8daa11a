"""What linear functions below the open clauses cut off a box, coordinate by coordinate.

On a box, a function F of the inputs below the sum that refutes a clause leaves out every point where it is
positive; what no open clause needs goes (as in Clip-and-Verify, Zhou et al. 2025, arXiv 2512.11087).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cut", "cuts_of"]

_ROUNDS = 2
_LEAST = 0.05  # of a box's width that a cut takes away: each is a leaf of the proof
_WORTH = 0.8  # what is left of the volume at most, where cuts are made at all

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """x[axis] <= point is kept (side 1), or x[axis] >= point (side -1); `by` (c,): which functions say so."""

    axis: int
    side: int
    point: float
    by: Array


def cuts_of(
    box: tuple[Array, Array], a: Array, least: Array, enough: Array, open_: Array
) -> tuple[list[list[Cut]], Array]:
    """The cuts of L boxes, in order; and the least values (L, c, f) of the functions on what is left.

    box: corners (L, n); a (L, c, f, n): slopes of the functions; least (L, c, f): their least values on the
    boxes; enough (L, c): what one of them must reach; open_ (L, c): the clauses that matter.
    """
    lower, upper = box[0].copy(), box[1].copy()
    least, enough = least.copy(), enough[:, :, None]
    cuts: list[list[Cut]] = [[] for _ in lower]
    axes = np.flatnonzero((lower < upper).any(0)).tolist()
    kept = np.ones(len(lower))
    for axis in axes * _ROUNDS:
        slope = a[..., axis]
        for side in (1, -1):
            width = upper[:, axis] - lower[:, axis]
            with np.errstate(all="ignore"):
                reach = np.maximum(enough - least, 0.0) / (side * slope)
            reach = np.where(side * slope > 0, reach, np.inf)  # from the end where the function is least
            by = reach.argmin(2)
            need = np.where(open_ & (least <= enough).all(2), reach.min(2), 0.0).max(1)
            some = (need > 0) & (need < (1 - _LEAST) * width)
            if not bool(some.any()):
                continue
            end, other = (lower, upper) if side > 0 else (upper, lower)
            point = np.where(some, end[:, axis] + side * need, other[:, axis])
            away = np.abs(other[:, axis] - point)
            least += np.maximum(-side * slope, 0.0) * away[:, None, None]
            other[:, axis] = point
            kept *= np.where(some, 1 - away / np.maximum(width, 1e-300), 1.0)
            for k in np.flatnonzero(some).tolist():
                cuts[k].append(Cut(axis, side, float(point[k]), by[k]))
    few = kept > _WORTH
    return [[] if few[k] else found for k, found in enumerate(cuts)], least
