"""l0 balls cut by a box: points in which at most k coordinates, or groups of them, differ from a centre.

Not convex. Its support is that of its convex hull and exact: the k largest gains of a row, as in
F. Croce, M. Hein, Sparse and imperceivable adversarial attacks, ICCV 2019, and K. Xu et al.,
Automatic perturbation analysis for scalable certified robustness and beyond, NeurIPS 2020, section 3.
"""

from __future__ import annotations

import math
from itertools import chain, combinations

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, RadiusError, ShapeError

from .ball import Ball
from .box import Box
from .canvas import Canvas
from .groups import Groups
from .input_set import InputSet, check_points, check_rows, kept
from .union import Union

__all__ = ["SparseBall"]


class SparseBall:
    """The points of the box `limits` that differ from `center` (B, *shape) in at most k groups.

    k: a whole number >= 0, or one for each problem (B,). groups: the group of each coordinate, integers
    of `shape`; None: each coordinate is a group of its own. Where the centre leaves the limits, that
    group has to be among the k. `dtype` is what the property of that name reports, by default that of
    the centre. Raises RadiusError, ShapeError, DtypeError, NonFiniteError, or EmptySetError where more
    than k groups of the centre leave the limits.
    """

    __slots__ = ("_canvas", "_dtype", "_groups", "_hull", "_k", "_most")

    @torch.inference_mode(False)
    def __init__(
        self,
        center: Tensor,
        k: Tensor | float,
        limits: Box,
        *,
        groups: Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._canvas, self._dtype = Canvas(center, limits), dtype or center.dtype
        self._groups = Groups(groups, self.shape, self.device)
        self._k = _counts(k, self._canvas, self._groups.count)
        self._most = int(self._k.max()) if self._k.numel() else 0
        self._hull: Box | None = None
        self._changed(self._canvas.stray, "outside the limits")

    @property
    def center(self) -> Tensor:
        """Centres, (B, *shape) float64."""
        return self._canvas.center

    @property
    def k(self) -> Tensor:
        """How many groups may change, (B,) int64; at most their number."""
        return self._k

    @property
    def limits(self) -> Box:
        """The box that all points lie in (not the hull: that is `box()`)."""
        return self._canvas.limits

    @property
    def groups(self) -> Tensor | None:
        """The group of each coordinate, of `shape`, as it was given."""
        return self._groups.given

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self.center.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return tuple(self.center.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the centres were given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self.center.device

    def __repr__(self) -> str:
        groups = "" if self.groups is None else f", groups={self._groups.count}"
        size = f"batch={self.batch}, shape={self.shape}, k<={self._most}{groups}"
        return f"SparseBall({size}, dtype={self._dtype})"

    def box(self) -> Box:
        """The limits wherever a coordinate may change, else the centre."""
        if self._hull is None:
            stray = self._groups.touched(self._canvas.stray)
            free = stray | (self._k > stray.sum(1)).unsqueeze(1)
            self._hull = self._canvas.box(self._groups.members(free))
        return self._hull

    def centre(self) -> Tensor:
        """The centres, moved into the limits where they leave them: (B, *shape) float64."""
        return self._canvas.centre()

    def support(self, a: Tensor) -> Tensor:
        """<a_k, centre> plus the k largest gains of free groups: a (B or 1, K, *shape) -> (B, K); exact."""
        check_rows(a, self.batch, self.shape)
        stray = self._groups.touched(self._canvas.stray)

        def pick(gains: Tensor, rows: slice) -> Tensor:
            return _best_sum(self._groups.sum(gains), stray[rows], self._k[rows], self._most)

        return self._canvas.support(a, pick)

    def steepest(self, g: Tensor) -> Tensor:
        """Half width times the sign of g in the k groups of largest gain, (B, *shape)."""
        check_points(g, self.batch, self.shape)
        gain = self._groups.sum(self._canvas.gains(g))
        free = self._groups.members(_largest(gain, self._groups.touched(self._canvas.stray), self._k))
        return torch.where(free, self.limits.steepest(g), 0.0)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point, in x's dtype: the k groups that gain most go to the limits' nearest values.

        (B, *shape); exact. Raises EmptySetError where more than k groups of the centre are no numbers of
        that dtype (or leave the limits).
        """
        check_points(x, self.batch, self.shape)
        forced = self._forced(x.dtype)
        free, benefit = self._canvas.benefit(x)
        keep = _largest(self._groups.sum(benefit.flatten(1)), forced, self._k)
        y = self._canvas.blend(self._groups.members(keep), free)
        return kept(self.contains(x), x, y)

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """k random groups at uniform values, from uniform (B, *shape) and radial (B,) in [0, 1)."""
        check_points(uniform, self.batch, self.shape)
        forced = self._forced(uniform.dtype)
        # the order of the groups comes from the low bits of one coordinate each, its value from the high
        order = torch.remainder(uniform.flatten(1) * 4096 + radial.to(uniform.dtype).unsqueeze(1), 1.0)
        order = self._groups.first(order)
        free = self._groups.members(_largest(order, forced, self._k))
        return self._canvas.blend(free, self._canvas.spread(uniform))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies inside, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        return self.limits.contains(x) & (self._groups.touched(self._canvas.changed(x)).sum(1) <= self._k)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> SparseBall:
        """The balls at a long or bool index (b,)."""
        part = SparseBall.__new__(SparseBall)
        part._canvas, part._k = self._canvas.select(index), self._k[index]
        part._dtype, part._groups, part._most, part._hull = self._dtype, self._groups, self._most, None
        return part

    def parts(self, *, most: int = 4096) -> tuple[Box, Tensor] | None:
        """One box for each choice of k groups, and the problem (B',) that it belongs to.

        None where there are more than `most` choices in all.
        """
        stray = self._groups.touched(self._canvas.stray)
        left = (self._k - stray.sum(1)).tolist()
        free = [(~row).nonzero().flatten().tolist() for row in stray]
        found = _choices(free, left, most)
        if found is None:
            return None
        owner, places = (torch.tensor(t, dtype=torch.int64, device=self.device) for t in found)
        changed = stray[owner]
        changed[tuple(places.reshape(-1, 2).T)] = True
        return self._canvas.box(self._groups.members(changed), owner), owner

    def __and__(self, other: Box | Ball) -> SparseBall:
        """The intersection with a further box or linf ball."""
        theirs = other.body if isinstance(other, Ball) else other
        if not isinstance(theirs, Box):
            return NotImplemented
        return SparseBall(self.center, self._k, self.limits & theirs, groups=self.groups, dtype=self._dtype)

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def _changed(self, free: Tensor, why: str) -> Tensor:
        """The groups (B, G) of a mask (B, *shape); EmptySetError where these are more than k."""
        groups = self._groups.touched(free)
        over = groups.sum(1) > self._k
        if bool(over.any()):
            b = int(over.nonzero()[0])
            raise EmptySetError(
                f"{int(groups[b].sum())} {self._groups.noun} of the centre of sample {b} lie {why}, of which "
                f"k = {int(self._k[b])} may change",
                cure="clip the centre to the box, in the type of the points, or allow a larger k",
            )
        return groups

    def _forced(self, dtype: torch.dtype) -> Tensor:
        """The groups (B, G) that any point of `dtype` must change."""
        return self._changed(self._canvas.forced(dtype), f"outside the limits or between the {dtype} numbers")


def _largest(scores: Tensor, forced: Tensor, k: Tensor) -> Tensor:
    """The mask (B, G) of the k (B,) groups of largest finite score, forced ones first."""
    most = int(k.max()) if k.numel() else 0
    _, index = scores.masked_fill(forced, math.inf).topk(most, dim=-1)
    usable = torch.arange(most, device=scores.device) < k.unsqueeze(1)
    return torch.zeros_like(forced).scatter(1, index, usable)


def _best_sum(gains: Tensor, stray: Tensor, k: Tensor, most: int) -> Tensor:
    """The gains (b, K, G) of the stray groups (b, G) and the largest others, k (b,) in all: (b, K)."""
    fixed, left = stray.unsqueeze(1), k - stray.sum(1)
    top = gains.masked_fill(fixed, 0.0).topk(most, dim=-1).values
    usable = torch.arange(most, device=top.device) < left.reshape(-1, 1, 1)
    chosen = torch.where(usable, top.clamp(min=0), 0.0).sum(-1)
    return chosen + torch.where(fixed, gains, 0.0).sum(-1)


def _counts(k: Tensor | float, canvas: Canvas, most: int) -> Tensor:
    counts = torch.as_tensor(k, dtype=torch.float64, device=canvas.center.device).detach()
    batch = canvas.center.shape[0]
    if counts.ndim > 1 or (counts.ndim == 1 and counts.shape[0] != batch):
        raise ShapeError(f"k has shape {tuple(counts.shape)}, center {tuple(canvas.center.shape)}")
    bad = ~(counts >= 0) | torch.isinf(counts) | (counts != counts.floor())
    if bool(bad.any()):
        raise RadiusError(
            f"k is {float(counts[bad][0])}", cure="give how many coordinates may change, a whole number >= 0"
        )
    return counts.clamp(max=most).to(torch.int64).expand(batch)


def _choices(
    ids: list[list[int]], sizes: list[int], most: int
) -> tuple[list[int], list[tuple[int, int]]] | None:
    """All ways to choose sizes[b] of ids[b]: the b of each, and the pairs (way, id). None beyond `most`."""
    sizes = [min(size, len(own)) for size, own in zip(sizes, ids, strict=True)]
    counts = [math.comb(len(own), size) for size, own in zip(sizes, ids, strict=True)]
    if sum(counts) > most:
        return None
    owner = [b for b, count in enumerate(counts) for _ in range(count)]
    ways = chain(*(combinations(own, size) for size, own in zip(sizes, ids, strict=True)))
    return owner, [(way, one) for way, chosen in enumerate(ways) for one in chosen]
