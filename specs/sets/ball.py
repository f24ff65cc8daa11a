"""Norm balls for p = 1, 2, inf, and what a round ball (p = 1, 2) can do together with a box.

A linf ball is a box and does everything as one. For the others membership is decided by a float64
test with a proven margin, and by exact integer arithmetic for the rows that the margin leaves open.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import RadiusError, ShapeError, SpecError

from .box import Box, box_around
from .input_set import InputSet, as_numbers, check_points, check_rows
from .intersection import Intersection
from .norms import NORMS
from .round_ball import RoundBall
from .union import Union

__all__ = ["Ball"]


class Ball:
    """The points x with |x - center|_p <= radius; center (B, *shape), radius (B,) or one number >= 0.

    p is 1, 2 or math.inf. The sum |x_i - center_i|^p runs over all coordinates of a sample. `dtype` is
    what the property of that name reports, by default that of the centre. `body` does the work: a Box
    for p = inf, else a RoundBall. Raises SpecError for another p, RadiusError, ShapeError, DtypeError,
    NonFiniteError or UnboundedSetError.
    """

    __slots__ = ("_center", "_dtype", "_hull", "_p", "_radius", "body")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(
        self, center: Tensor, radius: Tensor | float, p: float = math.inf, *, dtype: torch.dtype | None = None
    ) -> None:
        check_norm(p)
        if center.ndim < 2:
            raise ShapeError(f"center has shape {tuple(center.shape)}", cure="give it as (B, *shape)")
        self._center, self._dtype, self._p = as_numbers("center", center), dtype or center.dtype, float(p)
        self._radius = check_radii(radius, self._center)
        self._hull: Box | None = None
        self.body: Box | RoundBall = (
            self._around() if math.isinf(p) else RoundBall(self._center.flatten(1), self._radius, NORMS[p])
        )

    @property
    def center(self) -> Tensor:
        """Centres, (B, *shape) float64."""
        return self._center

    @property
    def radius(self) -> Tensor:
        """Radii, (B,) float64."""
        return self._radius

    @property
    def p(self) -> float:
        """The norm: 1.0, 2.0 or math.inf."""
        return self._p

    @property
    def batch(self) -> int:
        """B, the number of balls."""
        return self._center.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return tuple(self._center.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the centres were given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._center.device

    def __repr__(self) -> str:
        return f"Ball(batch={self.batch}, shape={self.shape}, p={self._p:g}, dtype={self._dtype})"

    def box(self) -> Box:
        """center -+ radius, faces rounded outward; the same box for every p."""
        if self._hull is None:
            self._hull = self.body if isinstance(self.body, Box) else self._around()
        return self._hull

    def centre(self) -> Tensor:
        """The centres, (B, *shape) float64."""
        return self._center

    def support(self, a: Tensor) -> Tensor:
        """<a_k, center> + radius * dual norm of a_k: a (B or 1, K, *shape) -> (B, K); differentiable."""
        check_rows(a, self.batch, self.shape)
        return self.body.support(a if isinstance(self.body, Box) else a.flatten(2))

    def steepest(self, g: Tensor) -> Tensor:
        """radius times the steepest direction of the norm, (B, *shape); see `norms`."""
        check_points(g, self.batch, self.shape)
        if isinstance(self.body, Box):
            return self.body.steepest(g)
        return self.body.steepest(g.flatten(1)).reshape(g.shape)

    def project(self, x: Tensor) -> Tensor:
        """The nearest point of the ball, in x's dtype; (B, *shape), exactly inside."""
        check_points(x, self.batch, self.shape)
        if isinstance(self.body, Box):
            return self.body.project(x)
        return self.body.project(x.flatten(1), None).reshape(x.shape)

    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A uniform point of the ball from uniform (B, *shape) and radial (B,) in [0, 1); exactly inside."""
        check_points(uniform, self.batch, self.shape)
        if isinstance(self.body, Box):
            return self.body.sample(uniform, radial)
        return self.project(self.body.draw(uniform.flatten(1), radial).reshape(uniform.shape))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies inside, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        return self.body.contains(x if isinstance(self.body, Box) else x.flatten(1))

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Ball:
        """The balls at a long or bool index (b,)."""
        ball = Ball.__new__(Ball)
        ball._center, ball._radius = self._center[index], self._radius[index]
        ball._hull = None
        ball._dtype, ball._p, ball.body = self._dtype, self._p, self.body.select(index)
        return ball

    def __and__(self, other: Box | Ball) -> Box | Intersection:
        """The intersection with a box or a linf ball: a Box if both are boxes, else an Intersection."""
        theirs = other.body if isinstance(other, Ball) else other
        if isinstance(theirs, Box):
            return self.body & theirs if isinstance(self.body, Box) else Intersection(self, theirs)
        if isinstance(theirs, RoundBall):
            return self._meet_round(other)
        return NotImplemented  # an Intersection joins boxes and linf balls itself

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def _meet_round(self, other: Box | Ball) -> Intersection:
        if isinstance(self.body, Box) and isinstance(other, Ball):
            return Intersection(other, self.body)
        raise SpecError(
            f"the intersection of {self!r} and {other!r} is not supported",
            cure="intersect boxes with boxes, or one l1 or l2 ball with boxes",
        )

    def _around(self) -> Box:
        return box_around(self._center, self._radius.reshape(-1, *[1] * len(self.shape)), self._dtype)


def check_norm(p: float) -> None:
    """Raise SpecError unless p is a norm that balls know."""
    if p not in (*NORMS, math.inf):
        known = ", ".join(f"{q:g}" for q in (*NORMS, math.inf))
        raise SpecError(f"no ball of norm p = {p!r}", cure=f"supported: {known}")


def check_radii(radius: Tensor | float, center: Tensor) -> Tensor:
    """Radii (B,) float64 for centres (B, *shape), from one number or (B,); ShapeError or RadiusError."""
    radii = torch.as_tensor(radius, dtype=torch.float64, device=center.device).detach()
    batch = center.shape[0]
    if radii.ndim > 1 or (radii.ndim == 1 and radii.shape[0] != batch):
        raise ShapeError(f"radius has shape {tuple(radii.shape)}, center {tuple(center.shape)}")
    bad = ~(radii >= 0) | torch.isinf(radii)  # NaN fails the comparison
    if bool(bad.any()):
        raise RadiusError(f"radius is {float(radii[bad][0])}", cure="give a finite number >= 0")
    return radii.expand(batch)
