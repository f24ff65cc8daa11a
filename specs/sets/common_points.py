"""The intersection of sets of any kind: every condition at once, with bounds that hold for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from robustbench_local.errors import DeviceError, EmptySetError, ShapeError

from .box import Box
from .input_set import InputSet, check_points, check_rows
from .meet_programs import common_bounds, nearest_common
from .polytope import Polytope
from .rounding import round_up
from .union import Union

__all__ = ["Meet"]

_PULLS = (0.0, 1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0)
_ROUNDS = 3  # of projections onto one member after another, to undo rounding


class Meet:
    """The points that lie in all of `sets`, which have one batch, shape and device; at least one set.

    The members should be convex. With others, bounds and membership stay right, but a projection may be far
    from the nearest point. Raises ShapeError, DeviceError, or EmptySetError (naming the sample) where no
    common point was found.
    """

    __slots__ = ("_centre", "_hull", "_sets")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(self, sets: Sequence[InputSet]) -> None:
        if not sets:
            raise ShapeError("an intersection of no sets", cure="give at least one set")
        for i, member in enumerate(sets):
            sizes = (sets[0].batch, *sets[0].shape), (member.batch, *member.shape)
            if sizes[0] != sizes[1]:
                raise ShapeError(f"set {i} has shape {sizes[1]}, set 0 {sizes[0]}")
            if member.device != sets[0].device:
                raise DeviceError(f"set {i} lives on {member.device}, set 0 on {sets[0].device}")
        self._sets = tuple(sets)
        self._hull = reduce(lambda a, b: a & b, (member.box() for member in sets))
        self._centre = self._find_centre()

    @property
    def sets(self) -> tuple[InputSet, ...]:
        """The members."""
        return self._sets

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._sets[0].batch

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self._sets[0].shape

    @property
    def dtype(self) -> torch.dtype:
        """The smallest floating type that holds those of all members."""
        return reduce(torch.promote_types, (member.dtype for member in self._sets))

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._sets[0].device

    def __repr__(self) -> str:
        return f"Meet([{', '.join(map(repr, self._sets))}])"

    def box(self) -> Box:
        """The intersection of the members' hulls; never smaller than the set."""
        return self._hull

    def centre(self) -> Tensor:
        """A common point of each sample's sets, (B, *shape) float64."""
        return self._centre

    def support(self, a: Tensor) -> Tensor:
        """Upper bounds of <a_k, x>: a (B or 1, K, *shape) -> (B, K); differentiable.

        The smallest of the members' and the hull's, and of a dual bound of their coupling where there are
        not too many rows: usually within 1e-4 of the set's size, valid always.
        """
        check_rows(a, self.batch, self.shape)
        plain = reduce(torch.minimum, (member.support(a) for member in (*self._sets, self._hull)))
        coupled = common_bounds(a.detach(), self._sets, self._hull)
        if coupled is None:
            return plain
        bound, best = round_up(coupled[0], a.dtype), coupled[1].to(a.dtype)
        change = ((a - a.detach()) * best).flatten(2).sum(2)
        return torch.where(bound < plain.detach(), bound + change, plain)

    def steepest(self, g: Tensor) -> Tensor:
        """The first member's steepest displacement that is no polytope's, (B, *shape)."""
        plain = [member for member in self._sets if not isinstance(member, Polytope)]
        return (plain or self._sets)[0].steepest(g)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """About the nearest point, in x's dtype; (B, *shape), exactly inside."""
        check_points(x, self.batch, self.shape)
        y = self._sets[0].project(x)  # if this lies in all sets it is the answer
        rows = (~self.contains(y) & x.flatten(1).isfinite().all(1)).nonzero().flatten()
        if rows.numel():
            part = self.select(rows)
            found = nearest_common(x[rows].to(torch.float64), part._sets)
            y[rows] = part._settle(found, x.dtype, part._centre)
        return y

    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A point of the first member from uniform (B, *shape), radial (B,) in [0, 1), projected into all."""
        check_points(uniform, self.batch, self.shape)
        return self.project(self._sets[0].sample(uniform, radial))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies in all sets, (B,) bool: exact, and NaN is outside."""
        return reduce(torch.logical_and, (member.contains(x) for member in self._sets))

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Meet:
        """The sets at a long or bool index (b,)."""
        part = Meet.__new__(Meet)
        part._sets = tuple(member.select(index) for member in self._sets)
        part._hull, part._centre = self._hull.select(index), self._centre[index]
        return part

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def _find_centre(self) -> Tensor:
        """The middle of common points that are nearest to several places, as far as it is exact."""
        starts = [self._hull.centre(), *(member.centre() for member in self._sets)]
        wide = self._hull.upper - self._hull.lower
        signs = torch.arange(wide[0].numel(), device=wide.device).reshape(self.shape) % 2 * 2.0 - 1
        starts += [self._hull.centre() + wide * signs, self._hull.centre() - wide * signs]
        again = torch.arange(self.batch, device=self.device).repeat(len(starts))
        found = nearest_common(torch.cat(starts), [member.select(again) for member in self._sets])
        found = found.unflatten(0, (len(starts), self.batch))
        self._centre = found[0]  # for the selections on the way to an exact one
        return self._settle(found.mean(0), torch.float64, found[0])

    def _settle(self, points: Tensor, dtype: torch.dtype, anchors: Tensor) -> Tensor:
        """Points (B, *shape) of `dtype` exactly inside, drawn towards the anchors as far as is needed."""
        result, left = points.to(dtype), torch.arange(self.batch, device=points.device)
        for pull in _PULLS:
            part = self if left.numel() == self.batch else self.select(left)
            moved = (points[left] + pull * (anchors[left] - points[left])).to(dtype)
            for _ in range(_ROUNDS):
                for member in part._sets:
                    moved = member.project(moved)
            result[left] = moved
            left = left[~part.contains(moved)]
            if left.numel() == 0:
                return result
        b = int(left[0])
        raise EmptySetError(
            f"no common point of {dtype} was found at sample {b} of {len(self._sets)} sets: {self!r}",
            cure="the sets may miss each other, or only touch: make one of them a little larger",
        )
