"""Boxes cut by linear conditions: what comparisons of the variable's own coordinates make of a domain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import DeviceError, DtypeError, ShapeError

from .box import Box
from .halfspaces import Halfspaces
from .input_set import InputSet, as_numbers, check_points, check_rows
from .polytope_bounds import affordable, bounds, hull_faces
from .polytope_points import deepest, nearest
from .rounding import round_up
from .settling import Settling
from .union import Union

__all__ = ["Polytope"]


class Polytope:
    """The points x of a box with A x <= b, x flattened row-major; in rows marked strict A x < b.

    A (B or 1, m, n), b (B, m), box of batch B with n coordinates, strict (m,) bool. Two opposite rows make
    an equation. Strict rows count in membership; bounds are those of the closure. Raises ShapeError,
    DtypeError, NonFiniteError, DeviceError, or EmptySetError (naming the sample) where there is no point
    or none that floats can hit.
    """

    __slots__ = ("_box", "_centre", "_hull", "_rows")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(self, A: Tensor, b: Tensor, box: Box, *, strict: Tensor | None = None) -> None:
        n = math.prod(box.shape)
        if A.ndim != 3 or A.shape[0] not in (1, box.batch) or A.shape[1] < 1 or A.shape[2] != n:
            raise ShapeError(f"A has shape {tuple(A.shape)}, expected ({box.batch} or 1, m, {n})")
        if tuple(b.shape) != (box.batch, A.shape[1]):
            raise ShapeError(f"b has shape {tuple(b.shape)}, expected {(box.batch, A.shape[1])}")
        marks = torch.zeros(A.shape[1], dtype=torch.bool, device=b.device) if strict is None else strict
        if tuple(marks.shape) != (A.shape[1],) or marks.dtype != torch.bool:
            raise DtypeError(f"strict is {marks.dtype} of shape {tuple(marks.shape)}", cure="give (m,) bool")
        if not A.device == b.device == marks.device == box.device:
            raise DeviceError(f"A lives on {A.device}, b on {b.device}, the box on {box.device}")
        self._box, self._rows = box, Halfspaces(as_numbers("A", A), as_numbers("b", b), marks.clone())
        self._hull: Box | None = None
        self._centre = self._find_centre()

    @property
    def rows(self) -> Halfspaces:
        """The conditions: A (B or 1, m, n), b (B, m), strict (m,)."""
        return self._rows

    @property
    def limits(self) -> Box:
        """The box that the conditions cut (not the hull: that is `box()`)."""
        return self._box

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._box.batch

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self._box.shape

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the box was given."""
        return self._box.dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._box.device

    def __repr__(self) -> str:
        count = self._rows.b.shape[1]
        return f"Polytope(batch={self.batch}, shape={self.shape}, rows={count}, dtype={self.dtype})"

    @torch.inference_mode(False)
    def box(self) -> Box:
        """The bounded hull, rounded outward; exact up to 1e-11 of the box where programs are affordable."""
        if self._hull is None:
            ends = hull_faces(self._rows, (self._box.lower.flatten(1), self._box.upper.flatten(1)))
            lower, upper = (end.reshape(self.batch, *self.shape) for end in ends)
            self._hull = Box(lower, upper, dtype=self.dtype)
        return self._hull

    def centre(self) -> Tensor:
        """Points far inside all conditions, (B, *shape) float64."""
        return self._centre

    def support(self, a: Tensor) -> Tensor:
        """Upper bounds of <a_k, x>: a (B or 1, K, *shape) -> (B, K); the gradient in a is the maximiser.

        Dual bounds of linear programs, rounded upward: exact up to 1e-11 of the set's size. Where K is so
        large that the programs would cost too much (see `affordable`) they are stopped early, and in the
        end the hull alone is used: still bounds, only looser.
        """
        check_rows(a, self.batch, self.shape)
        plain, hull = self.box().support(a), self.box()
        faces = hull.lower.flatten(1), hull.upper.flatten(1)
        iterations = affordable(self._rows, faces, a.shape[1])
        if not iterations:
            return plain
        wide = a.detach().flatten(2).to(torch.float64).expand(self.batch, -1, -1)
        bound, best = bounds(wide, self._rows, faces, iterations)
        bound = round_up(bound, a.dtype)
        # the envelope theorem: the bound's value, and the maximiser as its gradient
        change = ((a - a.detach()).flatten(2) * best.to(a.dtype)).sum(2)
        return torch.where(bound <= plain.detach(), bound + change, plain)

    def steepest(self, g: Tensor) -> Tensor:
        """The hull's steepest displacement, (B, *shape)."""
        return self.box().steepest(g)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point in x's dtype, up to its rounding; (B, *shape), exactly inside."""
        check_points(x, self.batch, self.shape)
        lower, upper = self._box.inner(x.dtype)
        y = x.clamp(lower, upper).flatten(1)  # if this satisfies the conditions it is the answer
        wide = x.flatten(1).to(torch.float64)
        outside = ~self._rows.contains(y.to(torch.float64)) & wide.isfinite().all(1)
        rows = outside.nonzero().flatten()
        if rows.numel():
            settling = self._settling(rows, x.dtype)
            y[rows] = settling.settle(nearest(wide[rows], settling.shrunk(), settling.faces))
        return y.reshape(x.shape)

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A point of the set from uniform (B, *shape), radial (B,) in [0, 1); exactly inside.

        The hull's uniform point where it lies inside. Elsewhere the ray from the centre towards it gives
        the point, with the n-th root of `radial` as its share of the way to the boundary.
        """
        check_points(uniform, self.batch, self.shape)
        lower, upper = self._box.inner(uniform.dtype)
        y = self.box().sample(uniform.to(torch.float64), radial).to(uniform.dtype)
        y = y.clamp(lower, upper).flatten(1)
        rows = (~self._rows.contains(y.to(torch.float64))).nonzero().flatten()
        if rows.numel():
            settling = self._settling(rows, y.dtype)
            along = y[rows].to(torch.float64) - settling.anchors
            slack = (-settling.rows.values(settling.anchors)).clamp(min=0)
            growth = (settling.rows.A * along.unsqueeze(1)).sum(2)
            reach = torch.where(growth > 0, slack / growth, 1.0).amin(1).clamp(max=1.0)
            share = reach * radial[rows].to(torch.float64) ** (1 / along.shape[1])
            y[rows] = settling.settle(settling.anchors + share.unsqueeze(1) * along)
        return y.reshape(uniform.shape)

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies inside, (B,) bool: exact, and NaN is outside."""
        inside = self._box.contains(x)
        rows = inside.nonzero().flatten()
        if rows.numel():
            part = self._rows if rows.numel() == self.batch else self._rows.select(rows)
            inside[rows] = part.contains(x[rows].flatten(1).to(torch.float64))
        return inside

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Polytope:
        """The sets at a long or bool index (b,)."""
        part = Polytope.__new__(Polytope)
        part._box, part._rows, part._centre = (
            self._box.select(index),
            self._rows.select(index),
            self._centre[index],
        )
        part._hull = None if self._hull is None else self._hull.select(index)
        return part

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def __and__(self, other: Box | Polytope) -> Polytope:
        """The intersection with a box or a polytope of the same shape."""
        if not isinstance(other, Box | Polytope):
            return NotImplemented
        rows = self._rows.beside(other._rows) if isinstance(other, Polytope) else self._rows
        box = self._box & (other._box if isinstance(other, Polytope) else other)
        return Polytope(rows.A, rows.b, box, strict=rows.strict)

    __rand__ = __and__

    def _find_centre(self) -> Tensor:
        lower, upper = self._box.inner(torch.float64)
        points, _ = deepest(self._rows, (lower.flatten(1), upper.flatten(1)))
        return self._settling(None, torch.float64, points).settle(points).reshape(lower.shape)

    def _settling(self, rows: Tensor | None, dtype: torch.dtype, anchors: Tensor | None = None) -> Settling:
        """Where points of a dtype are to be found, for some rows of the batch or all of them."""
        faces = [face.flatten(1).to(torch.float64) for face in self._box.inner(dtype)]
        anchors = self._centre.flatten(1) if anchors is None else anchors
        samples = torch.arange(self.batch, device=self.device)
        if rows is None:
            return Settling(self._rows, (faces[0], faces[1]), anchors, samples, dtype)
        some = self._rows.select(rows)
        return Settling(some, (faces[0][rows], faces[1][rows]), anchors[rows], samples[rows], dtype)
