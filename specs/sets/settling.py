"""From points that satisfy conditions up to rounding to points that satisfy them exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError

from .halfspaces import Halfspaces
from .lattice import opposite_rows, points_on

__all__ = ["Settling"]

_PULLS = (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 0.1, 0.5, 1.0)

Equation = tuple[list[float], float]
"""a and b of the equation <a, x> = b."""

_Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Settling:
    """Sets {x : A x <= b, low <= x <= high} in which points of `dtype` are wanted.

    faces (B, n) float64 are numbers of `dtype`; samples (B,) names the sets in messages; anchors (B, n)
    float64 lie inside the sets where these have an interior.
    """

    rows: Halfspaces
    faces: _Pair
    anchors: Tensor
    samples: Tensor
    dtype: torch.dtype

    def settle(self, points: Tensor) -> Tensor:
        """Points of `dtype` exactly inside and near to `points` (B, n) float64.

        Rounded, then drawn towards the anchors, further and further; where equations make the set flat,
        moved to a grid on which they have solutions. Raises EmptySetError where nothing is found.
        """
        result = self._round(points)
        left = self._outside(result)
        for row, equations in self._equations(left):
            found = self._select(torch.tensor([row], device=left.device))._on_grid(points[row], equations)
            result[row] = result[row] if found is None else found
        left = self._outside(result)
        for pull in _PULLS:
            if left.numel() == 0:
                return result
            part = self._select(left)
            result[left] = part._round(points[left] + pull * (part.anchors - points[left]))
            left = left[part._outside(result[left])]
        if left.numel():
            self._refuse(int(left[0]))
        return result

    def shrunk(self) -> Halfspaces:
        """The conditions tightened by what rounding to `dtype` may cost, where the anchors leave room."""
        room = (-self.rows.values(self.anchors)).clamp(min=0)
        margin = torch.minimum(self.rows.margin(self.faces, self.dtype), 0.5 * room)
        return Halfspaces(self.rows.A, self.rows.b - margin, self.rows.strict)

    def _round(self, points: Tensor) -> Tensor:
        return points.clamp(*self.faces).to(self.dtype)

    def _select(self, index: Tensor) -> Settling:
        faces = self.faces[0][index], self.faces[1][index]
        return Settling(self.rows.select(index), faces, self.anchors[index], self.samples[index], self.dtype)

    def _outside(self, points: Tensor) -> Tensor:
        """Indices of points (B, n) that do not satisfy all conditions."""
        return (~self.rows.contains(points.to(torch.float64))).nonzero().flatten()

    def _equations(self, rows: Tensor) -> Iterator[tuple[int, list[Equation]]]:
        """Of those sets at `rows` that have equations: their places and equations."""
        for row in rows.tolist():
            A = self.rows.A[row if self.rows.A.shape[0] > 1 else 0].tolist()
            b = self.rows.b[row].tolist()
            equations = [(A[i], b[i]) for i in opposite_rows(A, b)]
            if equations:
                yield row, equations

    def _on_grid(self, point: Tensor, equations: list[Equation]) -> Tensor | None:
        """The first point (n,) that grids offer for a batch of one set, near a point or the anchor."""
        faces = self.faces[0][0].tolist(), self.faces[1][0].tolist()
        digits = 1 - round(math.log2(torch.finfo(self.dtype).eps))
        for near in (point, self.anchors[0]):
            for numbers in points_on(equations, near.tolist(), faces, digits):
                found = torch.tensor([numbers], dtype=torch.float64, device=point.device)
                within = torch.equal(found, found.clamp(*self.faces))
                same = torch.equal(found, found.to(self.dtype).to(torch.float64))
                if within and same and bool(self.rows.contains(found)):
                    return found[0].to(self.dtype)
        return None

    def _refuse(self, row: int) -> NoReturn:
        worst, which = self.rows.values(self.anchors)[row].max(0)
        noise = float(1e6 * self.rows.margin(self.faces, torch.float64)[row, which])
        missed = f"the best one misses condition {int(which)} by {float(worst):.3g}"
        flat = "they leave a flat set, or one narrower than the spacing of the floats"
        raise EmptySetError(
            f"no point of {self.dtype} was found that satisfies all conditions of sample "
            f"{int(self.samples[row])}: {missed if float(worst) > noise else flat}",
            cure="loosen the conditions, or leave the sample out",
        )
