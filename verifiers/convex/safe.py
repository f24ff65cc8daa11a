"""Rigorous bounds from approximate dual values: no number of a solver is trusted.

Neumaier and Shcherbina 2004, "Safe bounds in linear and mixed-integer linear programming", Mathematical
Programming 99: for ANY row multipliers w, every x of the program has

    <c, x>  =  <c - A' w, x> + <w, A x>  >=  min over the box of <r, x>  +  sum of min(w_i lo_i, w_i hi_i)

with r = c - A' w. Here lo and hi are the row bounds moved outward by the rows' slack, and where the input
lies in a set smaller than its box the set's support function takes the place of the input's part of the box.
All sums are float64 with a-priori error terms (Higham 2002, Accuracy and Stability of Numerical Algorithms,
section 3.1): a sum of n products is off by at most 2 (n + 4) u times the sum of the magnitudes, where the
factor 2 covers the rounding of the magnitudes and of 1/(1 - n u), for n below 1e14. Interval arithmetic is
not needed.
"""

from __future__ import annotations

import numpy as np
import torch

from robustbench_local.specs import InputSet

from .program import UNIT, Array, Index, Program

__all__ = ["error_term", "safe_minimum"]

_TINY = 1e-290  # more than what underflow can lose in all sums together


def error_term(count: int | Array | Index, size: float | Array) -> Array:
    """Largest rounding error of a sum of `count` products whose magnitudes sum to (a rounded) `size`."""
    return np.asarray(2.0 * (np.asarray(count) + 4.0) * UNIT * np.asarray(size) + _TINY)


def safe_minimum(program: Program, cost: Array, multipliers: Array) -> float:
    """A lower bound of <cost, x> over the program that holds for any `multipliers` (r,); -inf where there is
    none.

    cost (n,). Integrality is not used.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        w = _usable(program, multipliers)
        low, high = program.row_lower - program.slack, program.row_upper + program.slack
        # one more unit outward for the rounding of the difference
        ends = np.where(w > 0, low - 2 * UNIT * np.abs(low), high + 2 * UNIT * np.abs(high))
        rows = np.where(w == 0, 0.0, w * ends)
        residual = cost - program.matrix.T @ w
        size = np.abs(cost) + abs(program.matrix).T @ np.abs(w)
        counts = np.bincount(program.matrix.indices, minlength=program.width) + 1
        error = np.where(size == 0, 0.0, error_term(counts, size))
        columns = np.where(residual > 0, residual * program.lower, residual * program.upper)
        columns = np.where(residual == 0, 0.0, columns)
        reach = np.maximum(np.abs(program.lower), np.abs(program.upper))
        doubt = np.where(error == 0, 0.0, error * reach)
        count = len(rows) + len(columns)
        total = np.sum(rows) + np.sum(columns)
        loss = np.sum(doubt) + error_term(
            count, np.sum(np.abs(rows)) + np.sum(np.abs(columns)) + np.sum(doubt)
        )
        gain = 0.0 if program.inputs is None else _gain(program.inputs, residual, columns)
        bound = float(np.nextafter(total + gain - loss, -np.inf))
    return bound if np.isfinite(bound) else -np.inf


def _usable(program: Program, multipliers: Array) -> Array:
    """Multipliers that do not ask for an infinite row bound; others are zero."""
    w = np.where(np.isfinite(multipliers), multipliers, 0.0)
    usable = np.isfinite(program.slack) & np.isfinite(np.where(w > 0, program.row_lower, program.row_upper))
    return np.where(usable, w, 0.0)


def _gain(inputs: InputSet, residual: Array, columns: Array) -> float:
    """By how much the minimum of <r, x> over the input set is surely above the box's; 0 where it is not."""
    width = int(torch.Size(inputs.shape).numel())
    r = residual[:width]
    rows = torch.from_numpy(-r).reshape(1, 1, *inputs.shape)
    least = -float(inputs.support(rows))
    box = inputs.box()
    reach = np.maximum(np.abs(box.lower.numpy().ravel()), np.abs(box.upper.numpy().ravel()))
    doubt = float(error_term(4 * width, 2 * np.sum(np.abs(r) * reach) + np.sum(np.abs(columns[:width]))))
    return max(0.0, least - float(np.sum(columns[:width])) - doubt)
