"""Linear conditions A x <= b on flat points: exact membership, slacks, and bounds that rounding cannot break.

Rounding. A float64 sum of n products is off by at most (n + 2) u times the sum of their absolute values,
u = 2^-53 (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1). Twice
that is the margin here; what it leaves open is decided in integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .rounding import sign_of_dot

__all__ = ["Halfspaces"]

_U = torch.finfo(torch.float64).eps
_TINY = 1e-300  # far above what products may lose by underflow

_Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Halfspaces:
    """The points x (B, n) with A x <= b, or < b in strict rows: A (B or 1, m, n), b (B, m), strict (m,).

    A and b are finite float64 numbers.
    """

    A: Tensor
    b: Tensor
    strict: Tensor

    def select(self, index: Tensor) -> Halfspaces:
        """The conditions at an index of the batch."""
        A = self.A if self.A.shape[0] == 1 and self.b.shape[0] != 1 else self.A[index]
        return Halfspaces(A, self.b[index], self.strict)

    def beside(self, other: Halfspaces) -> Halfspaces:
        """Both conditions."""
        batch = self.b.shape[0]
        same = self.A.shape[0] == other.A.shape[0]
        pair = (self.A, other.A) if same else tuple(A.expand(batch, -1, -1) for A in (self.A, other.A))
        return Halfspaces(
            torch.cat(pair, 1), torch.cat([self.b, other.b], 1), torch.cat([self.strict, other.strict])
        )

    def values(self, x: Tensor) -> Tensor:
        """A x - b, (B, m); each sample's numbers do not depend on the others'."""
        return (self.A * x.unsqueeze(1)).sum(2) - self.b

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x (B, n) float64 satisfies all conditions, (B,) bool: exact, and NaN does not."""
        value, size = self.values(x), (self.A.abs() * x.abs().unsqueeze(1)).sum(2) + self.b.abs()
        doubt = (x.shape[1] + 4) * _U * size + _TINY
        inside = value + doubt <= 0  # the doubt is positive, so strict rows are strictly inside
        open_ = ~inside & ~(value - doubt > 0)  # overflow to NaN is open
        possible = (inside | open_).all(1) & x.isfinite().all(1)
        result = inside.all(1) & possible
        for row in (possible & ~result).nonzero().flatten().tolist():
            result[row] = all(self._exactly(x, row, i) for i in open_[row].nonzero().flatten().tolist())
        return result

    def _exactly(self, x: Tensor, row: int, i: int) -> bool:
        A = self.A[row if self.A.shape[0] > 1 else 0, i]
        sign = sign_of_dot([*A.tolist(), -float(self.b[row, i])], [*x[row].tolist(), 1.0])
        return sign < 0 or (sign == 0 and not bool(self.strict[i]))

    def margin(self, faces: _Pair, dtype: torch.dtype) -> Tensor:
        """How much A x (B, m) may change when x of the box `faces` (B, n) is rounded to `dtype`."""
        reach = torch.maximum(faces[0].abs(), faces[1].abs())
        share = 2 * (reach.shape[1] + 4) * _U  # more than the doubt of `contains`
        share += torch.finfo(dtype).eps if dtype != torch.float64 else 0.0
        return share * ((self.A.abs() * reach.unsqueeze(1)).sum(2) + self.b.abs())

    def dual_bound(self, a: Tensor, multipliers: Tensor, faces: _Pair) -> Tensor:
        """Upper bounds of <a_k, x> over the conditions and the box: a (B, K, n), multipliers (B, K, m) >= 0.

        lambda b + max over the box of <a - A^T lambda, x>, plus what rounding may have taken away. Valid
        for all multipliers; NaN and infinite ones give +inf.
        """
        low, high = faces[0].unsqueeze(1), faces[1].unsqueeze(1)
        rest = a - multipliers @ self.A
        bound = (multipliers * self.b.unsqueeze(1)).sum(2) + torch.maximum(rest * low, rest * high).sum(2)
        size = (a.abs() + multipliers @ self.A.abs()) * torch.maximum(low.abs(), high.abs())
        terms = size.sum(2) + (multipliers * self.b.abs().unsqueeze(1)).sum(2)
        bound = bound + (a.shape[2] + self.b.shape[1] + 8) * _U * terms
        return bound.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=torch.inf)

    def tighten(self, faces: _Pair) -> _Pair:
        """A box (B, n), rounded outward, that holds all points of the box `faces` with A x <= b.

        One sweep: each row bounds each coordinate by what the other coordinates leave at least.
        """
        low, high = faces
        size = (self.A.abs() * torch.maximum(low.abs(), high.abs()).unsqueeze(1)).sum(2) + self.b.abs()
        doubt = 4 * (low.shape[1] + 4) * _U * size + _TINY
        least = torch.minimum(self.A * low.unsqueeze(1), self.A * high.unsqueeze(1))  # (B, m, n)
        limit = ((self.b + doubt).unsqueeze(2) - (least.sum(2, keepdim=True) - least)) / self.A
        wide = 4 * _U * limit.abs() + _TINY
        upper = torch.where(self.A > 0, limit + wide, torch.inf).nan_to_num(torch.inf, torch.inf, torch.inf)
        lower = torch.where(self.A < 0, limit - wide, -torch.inf)
        lower = lower.nan_to_num(-torch.inf, -torch.inf, -torch.inf)
        return torch.maximum(low, lower.amax(1)), torch.minimum(high, upper.amin(1))
