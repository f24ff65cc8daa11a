"""A round ball (l1 or l2) cut by a box: the usual threat model on images with pixel limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError, SpecError

from .box import Box
from .input_set import InputSet, check_points, check_rows
from .round_ball import RoundBall
from .union import Union

if TYPE_CHECKING:
    from .ball import Ball

__all__ = ["Intersection"]


class Intersection:
    """The points of both a ball of p = 1 or 2 and a box, of equal batch and shape.

    Made by `ball & box`. Raises ShapeError, or EmptySetError (naming the sample) where they miss
    each other.
    """

    __slots__ = ("_ball", "_box", "_hull", "_near")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(self, ball: Ball, box: Box) -> None:
        if isinstance(ball.body, Box):
            raise SpecError("a linf ball and a box meet in a Box", cure="write ball & box")
        if (ball.batch, ball.shape) != (box.batch, box.shape):
            sizes = (ball.batch, *ball.shape), (box.batch, *box.shape)
            raise ShapeError(f"cannot intersect a ball of shape {sizes[0]} with a box of shape {sizes[1]}")
        self._ball, self._box = ball, box
        self._hull: Box | None = None
        self._near = box.project(ball.center)  # the box's nearest points to the centres
        missed = ~ball.contains(self._near)
        if bool(missed.any()):
            b = int(missed.nonzero()[0])
            gap = float(self._round.norm.length((self._near[b] - ball.center[b]).flatten()))
            raise EmptySetError(
                f"the l{ball.p:g} ball of sample {b} misses its box: radius {float(ball.radius[b])!r}, "
                f"distance {gap!r}"
            )

    @property
    def ball(self) -> Ball:
        """The ball."""
        return self._ball

    @property
    def limits(self) -> Box:
        """The box that cuts the ball (not the hull: that is `box()`)."""
        return self._box

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._ball.batch

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self._ball.shape

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which ball and box were given."""
        return torch.promote_types(self._ball.dtype, self._box.dtype)

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._ball.device

    def __repr__(self) -> str:
        return f"{self._ball!r} & {self._box!r}"

    def box(self) -> Box:
        """The intersection of the box with the ball's hull; never smaller than the set."""
        if self._hull is None:
            self._hull = self._ball.box() & self._box
        return self._hull

    def centre(self) -> Tensor:
        """The points of the box nearest to the ball's centres, (B, *shape) float64."""
        return self._near

    def support(self, a: Tensor) -> Tensor:
        """Upper bounds of <a_k, x>: a (B or 1, K, *shape) -> (B, K), differentiable.

        The Lagrangian dual in the ball's one constraint, never looser than the ball's or the box's
        own support; exact up to the tolerance of the multiplier (1e-6 of the radius).
        """
        check_rows(a, self.batch, self.shape)
        lower, upper = self._box.cast(a.dtype)
        joint = self._round.box_support(a.flatten(2), (lower.flatten(1), upper.flatten(1)))
        return torch.minimum(joint, torch.minimum(self._ball.support(a), self._box.support(a)))

    def steepest(self, g: Tensor) -> Tensor:
        """The ball's steepest displacement, (B, *shape)."""
        return self._ball.steepest(g)

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the intersection, in x's dtype; (B, *shape), exactly inside."""
        check_points(x, self.batch, self.shape)
        lower, upper = self._box.inner(x.dtype)
        return self._round.project(x.flatten(1), (lower.flatten(1), upper.flatten(1))).reshape(x.shape)

    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A random point of the ball from uniform (B, *shape), radial (B,) in [0, 1), projected into both."""
        check_points(uniform, self.batch, self.shape)
        return self.project(self._round.draw(uniform.flatten(1), radial).reshape(uniform.shape))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies in both, (B,) bool: exact, and NaN is outside."""
        return self._box.contains(x) & self._ball.contains(x)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Intersection:
        """The sets at a long or bool index (b,)."""
        part = Intersection.__new__(Intersection)
        part._ball, part._box = self._ball.select(index), self._box.select(index)
        part._near, part._hull = self._near[index], None
        return part

    def __and__(self, other: Box | Ball) -> Intersection:
        """The intersection with a further box or linf ball."""
        theirs = other if isinstance(other, Box) else other.body
        return Intersection(self._ball, self._box & theirs) if isinstance(theirs, Box) else NotImplemented

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    @property
    def _round(self) -> RoundBall:
        assert isinstance(self._ball.body, RoundBall)  # checked by the constructor
        return self._ball.body
