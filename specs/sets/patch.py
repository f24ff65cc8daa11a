"""Adversarial patches: one window of an image, at one of several places, takes any values of a box.

Not convex. Its support is that of its convex hull and exact: the window of largest gain, by sums over
windows. The threat model: T. Brown et al., Adversarial patch, 2017, arXiv 1712.09665; bounds place by
place: P. Chiang et al., Certified defenses for adversarial patches, ICLR 2020, arXiv 2003.06693.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError

from .ball import Ball
from .box import Box
from .canvas import Canvas
from .input_set import InputSet, check_points, check_rows, kept, one_of
from .union import Union
from .windows import Place, Windows

__all__ = ["Patch"]


class Patch:
    """The points of the box `limits` that differ from `center` in one window only.

    center (B, *channels, H, W); size: the window's height and width, within H and W. places: the
    upper left pixels (row, column) that the window may have; None: all whose row and column are
    multiples of `stride`. Pixels of the centre outside of the limits must lie in the window. `dtype` is
    what the property of that name reports, by default that of the centre. Raises ShapeError, DtypeError,
    NonFiniteError, or EmptySetError where no window covers what leaves the limits.
    """

    __slots__ = ("_canvas", "_dtype", "_hull", "_valid", "_windows")

    @torch.inference_mode(False)
    def __init__(
        self,
        center: Tensor,
        size: tuple[int, int],
        limits: Box,
        *,
        places: Sequence[Place] | None = None,
        stride: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        if center.ndim < 3:
            raise ShapeError(
                f"center has shape {tuple(center.shape)}", cure="give it as (B, *channels, H, W)"
            )
        self._canvas, self._dtype = Canvas(center, limits), dtype or center.dtype
        self._windows = Windows(self.shape, size, places, stride, self.device)
        self._hull: Box | None = None
        self._valid = self._covering(self._canvas.stray, "lies outside the limits")

    @property
    def center(self) -> Tensor:
        """The images, (B, *channels, H, W) float64."""
        return self._canvas.center

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self._windows.size

    @property
    def limits(self) -> Box:
        """The box that all points lie in (not the hull: that is `box()`)."""
        return self._canvas.limits

    @property
    def places(self) -> Tensor:
        """The upper left pixels (L, 2) int64 that the window may have, in row-major order."""
        return self._windows.allowed.nonzero()

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
        """The floating type in which the images were given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self.center.device

    def __repr__(self) -> str:
        places = f"size={self.size}, places={len(self.places)}"
        return f"Patch(batch={self.batch}, shape={self.shape}, {places}, dtype={self._dtype})"

    def box(self) -> Box:
        """The limits wherever a window reaches, else the image."""
        if self._hull is None:
            self._hull = self._canvas.box(self._windows.reached(self._valid))
        return self._hull

    def centre(self) -> Tensor:
        """The images, with pixels outside of the limits moved into them: (B, *shape) float64."""
        return self._canvas.centre()

    def support(self, a: Tensor) -> Tensor:
        """<a_k, center> plus the largest gain of a window: a (B or 1, K, *shape) -> (B, K); exact."""
        check_rows(a, self.batch, self.shape)

        def pick(gains: Tensor, rows: slice) -> Tensor:
            windows = self._windows.sums(gains)  # (b, K, rows, columns of places)
            barred = ~self._valid[rows].unsqueeze(1)
            return windows.masked_fill(barred, -torch.inf).flatten(2).amax(2)

        return self._canvas.support(a, pick)

    def steepest(self, g: Tensor) -> Tensor:
        """Half width times the sign of g in the window of largest gain, (B, *shape)."""
        check_points(g, self.batch, self.shape)
        free = self._best(self._canvas.gains(g), self._valid)
        return torch.where(free, self.limits.steepest(g), 0.0)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point, in x's dtype: the window that gains most goes to the limits' nearest values.

        (B, *shape); exact. Raises EmptySetError where no window covers the pixels of the image that are
        no numbers of that dtype.
        """
        check_points(x, self.batch, self.shape)
        valid = self._valid_in(x.dtype)
        free, benefit = self._canvas.benefit(x)
        window = self._best(benefit.flatten(1), valid)
        y = self._canvas.blend(window, free)
        return kept(self.contains(x), x, y)

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A window at a uniform place by radial (B,), values by uniform (B, *shape), both in [0, 1)."""
        check_points(uniform, self.batch, self.shape)
        free = self._windows.at(one_of(self._valid_in(uniform.dtype).flatten(1), radial))
        return self._canvas.blend(free, self._canvas.spread(uniform))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies inside, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        return self.limits.contains(x) & self._windows.covering(self._canvas.changed(x)).flatten(1).any(1)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Patch:
        """The sets at a long or bool index (b,)."""
        part = Patch.__new__(Patch)
        part._canvas, part._valid = self._canvas.select(index), self._valid[index]
        part._dtype, part._windows, part._hull = self._dtype, self._windows, None
        return part

    def parts(self, *, most: int = 4096) -> tuple[Box, Tensor] | None:
        """One box for each place of the window, and the problem (B',) that it belongs to.

        None where there are more than `most` of them in all.
        """
        owner, place = self._valid.flatten(1).nonzero().unbind(1)
        if len(owner) > most:
            return None
        return self._canvas.box(self._windows.at(place), owner), owner

    def __and__(self, other: Box | Ball) -> Patch:
        """The intersection with a further box or linf ball."""
        theirs = other.body if isinstance(other, Ball) else other
        if not isinstance(theirs, Box):
            return NotImplemented
        places = [(int(row), int(column)) for row, column in self.places.tolist()]
        return Patch(self.center, self.size, self.limits & theirs, places=places, dtype=self._dtype)

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def _covering(self, free: Tensor, why: str) -> Tensor:
        """The places (B, R, C) whose window covers a mask (B, *shape); EmptySetError where there is none."""
        valid = self._windows.covering(free)
        missed = ~valid.flatten(1).any(1)
        if bool(missed.any()):
            b = int(missed.nonzero()[0])
            raise EmptySetError(
                f"no window of size {self.size} covers the {int(free[b].sum())} coordinates in which the "
                f"image of sample {b} {why}",
                cure="clip the image to the box, in the type of the points",
            )
        return valid

    def _valid_in(self, dtype: torch.dtype) -> Tensor:
        """The places whose window covers all that a point of `dtype` must have free."""
        return self._covering(self._canvas.forced(dtype), f"lies outside the limits or is no {dtype}")

    def _best(self, scores: Tensor, valid: Tensor) -> Tensor:
        """The coordinates (B, *shape) of the valid window with the largest sum of scores (B, n)."""
        sums = self._windows.sums(scores.unsqueeze(1))[:, 0]
        return self._windows.at(sums.masked_fill(~valid, -torch.inf).flatten(1).argmax(1))
