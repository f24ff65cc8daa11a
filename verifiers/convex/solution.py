"""What the convex verifiers know beyond the bounds: where the maxima lie, and which are exact."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..verifier import Bounds

__all__ = ["Solution"]


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Bounds with the points behind them.

    bounds: as a verifier returns them, float64. points (B, m, *in) float64: the input where the relaxation of
    row m is largest, moved into the set: a start for attacks, and for MILP a candidate witness; NaN where
    there is none. exact (B, m) bool: the bound is the row's maximum up to the solver's tolerances (MILP
    only).
    """

    bounds: Bounds
    points: Tensor
    exact: Tensor
