"""Rows over the output's box in rational numbers, where only the price of rounding keeps them above zero.

`relu(x) >= 0` has the bound 0 exactly, whatever is rounded; a bound that pays for its own sums is a little
above that. Such rows, and only such, are summed exactly.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from ..interval import Interval

__all__ = ["settled"]

_NOTHING = 1e-100  # what is charged for underflow is less
_NEAR = 1e-6  # of the largest number in a row: rounding in float64 is less


def settled(rows: Tensor, C: Tensor, d: Tensor, box: Interval) -> Tensor:
    """Upper bounds (B, m) of C y + d over a box of y, those a little above zero exact where that is less.

    C (B, m, n), d (B, m), box (B, *shape) in float64. A sum that is not zero is rounded up.
    """
    low, high = (end.reshape(end.shape[0], -1) for end in (box.lower, box.upper))
    size = (C.abs() @ torch.maximum(low.abs(), high.abs()).unsqueeze(2)).squeeze(2) + d.abs()
    places = ((rows > 0) & (rows < _NEAR * size + _NOTHING)).nonzero().tolist()
    if not places:
        return rows
    found = rows.clone()
    for b, k in places:
        row, one = C[b, k], min(b, low.shape[0] - 1)
        used = row.nonzero().flatten().tolist()
        ends = [float((high if float(row[j]) > 0 else low)[one, j]) for j in used]
        if all(abs(end) < float("inf") for end in ends):
            total = Fraction(float(d[b, k]))
            for j, end in zip(used, ends, strict=True):
                total += Fraction(float(row[j])) * Fraction(end)
            found[b, k] = torch.minimum(found[b, k], found.new_tensor(_above(total)))
    return found


def _above(value: Fraction) -> float:
    """A float64 number that is not below the value; zero for zero."""
    near = float(value)
    return (
        near
        if Fraction(near) >= value
        else float(torch.nextafter(torch.tensor(near).double(), torch.tensor(torch.inf).double()))
    )
