"""l1 and l2 balls with a radius for each coordinate, alone or cut by a box: weighted norms, ellipsoids."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, RadiusError, ShapeError, SpecError

from .ball import Ball
from .box import Box, box_around, box_beside
from .input_set import InputSet, as_numbers, check_points, check_rows
from .norms import NORMS
from .union import Union
from .weighted_body import WeightedBody

__all__ = ["WeightedBall", "ball_around"]


class WeightedBall:
    """The points x with |(x - center) / radius|_p <= 1, and inside of the box `limits` if given.

    center and radius are (B, *shape), radius >= 0; where it is 0 the coordinate is fixed. p is 1 or 2
    (for inf the set is a Box: `ball_around`). `dtype` is what the property of that name reports, by
    default that of the centre. Raises SpecError, RadiusError, ShapeError, DtypeError, NonFiniteError,
    UnboundedSetError, or EmptySetError where the limits miss the ball.
    """

    __slots__ = ("_body", "_dtype", "_hull", "_limits", "_near", "_shape")

    @torch.inference_mode(False)
    def __init__(
        self,
        center: Tensor,
        radius: Tensor,
        p: float,
        *,
        limits: Box | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if p not in NORMS:
            raise SpecError(f"no weighted ball of norm p = {p!r}", cure="use 1 or 2; for inf, a Box")
        numbers = as_numbers("center", center)
        radii = _radii(radius, numbers).flatten(1)
        flat = None if limits is None else box_beside([limits], limits.dtype)
        self._body = WeightedBody(numbers.flatten(1), radii, NORMS[p], flat)
        self._shape, self._dtype, self._limits = tuple(center.shape[1:]), dtype or center.dtype, limits
        self._hull: Box | None = None
        self._near = numbers
        if limits is None:
            return
        if (limits.batch, *limits.shape) != tuple(numbers.shape):
            raise ShapeError(
                f"cannot intersect a ball of shape {tuple(numbers.shape)} with a box of shape "
                f"{(limits.batch, *limits.shape)}"
            )
        self._near = limits.project(numbers)  # nearest in each coordinate, so for every weight
        missed = ~self.contains(self._near)
        if bool(missed.any()):
            b = int(missed.nonzero()[0])
            raise EmptySetError(f"the weighted l{p:g} ball of sample {b} misses its box")

    @property
    def center(self) -> Tensor:
        """Centres, (B, *shape) float64."""
        return self._body.center.reshape(-1, *self._shape)

    @property
    def radius(self) -> Tensor:
        """Radii, (B, *shape) float64."""
        return self._body.radius.reshape(-1, *self._shape)

    @property
    def limits(self) -> Box | None:
        """The box that cuts the ball (not the hull: that is `box()`)."""
        return self._limits

    @property
    def p(self) -> float:
        """The norm: 1.0 or 2.0."""
        return float(self._body.norm.power)

    @property
    def batch(self) -> int:
        """B, the number of balls."""
        return self._near.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self._shape

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the centres were given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._near.device

    def __repr__(self) -> str:
        cut = "" if self._limits is None else f" & {self._limits!r}"
        return f"WeightedBall(batch={self.batch}, shape={self.shape}, p={self.p:g}, dtype={self._dtype}){cut}"

    def box(self) -> Box:
        """center -+ radius, faces rounded outward, within the limits."""
        if self._hull is None:
            around = box_around(self.center, self.radius, self._dtype)
            self._hull = around if self._limits is None else around & self._limits
        return self._hull

    def centre(self) -> Tensor:
        """The points of the limits nearest to the centres, (B, *shape) float64."""
        return self._near

    def support(self, a: Tensor) -> Tensor:
        """<a_k, center> + dual norm of a_k * radius: a (B or 1, K, *shape) -> (B, K); differentiable.

        Cut by a box it is the Lagrangian dual in the ball's one constraint, as for `Intersection`.
        """
        check_rows(a, self.batch, self.shape)
        return self._body.support(a.flatten(2))

    def steepest(self, g: Tensor) -> Tensor:
        """The displacement of weighted norm 1 along which g (B, *shape) grows fastest; see `norms`."""
        check_points(g, self.batch, self.shape)
        radius = self._body.radius.to(g.dtype)
        return (radius * self._body.norm.steepest(radius * g.flatten(1))).reshape(g.shape)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point, in x's dtype; (B, *shape), exactly inside."""
        check_points(x, self.batch, self.shape)
        return self._body.project(x.flatten(1)).reshape(x.shape)

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A uniform point of the ball from uniform (B, *shape) and radial (B,) in [0, 1); then cut."""
        check_points(uniform, self.batch, self.shape)
        flat = uniform.flatten(1)
        length = radial.to(torch.float64) ** (1.0 / max(flat.shape[1], 1))
        unit = length.unsqueeze(1) * self._body.norm.direction(flat).to(torch.float64)
        point = self._body.center + self._body.radius * unit
        return self.project(point.to(uniform.dtype).reshape(uniform.shape))

    @torch.no_grad()
    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies inside, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        return self._body.contains(x.flatten(1))

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> WeightedBall:
        """The balls at a long or bool index (b,)."""
        part = WeightedBall.__new__(WeightedBall)
        part._body, part._near = self._body.select(index), self._near[index]
        part._limits = None if self._limits is None else self._limits.select(index)
        part._shape, part._dtype, part._hull = self._shape, self._dtype, None
        return part

    def __and__(self, other: Box | Ball) -> WeightedBall:
        """The intersection with a further box or linf ball."""
        theirs = other.body if isinstance(other, Ball) else other
        if not isinstance(theirs, Box):
            return NotImplemented
        limits = theirs if self._limits is None else self._limits & theirs
        return WeightedBall(self.center, self.radius, self.p, limits=limits, dtype=self._dtype)

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)


def ball_around(
    center: Tensor, radius: Tensor, p: float = math.inf, *, dtype: torch.dtype | None = None
) -> Box | WeightedBall:
    """|(x - center) / radius|_p <= 1 with radii (B, *shape): a Box for p = inf, else a WeightedBall."""
    if not math.isinf(p):
        return WeightedBall(center, radius, p, dtype=dtype)
    numbers = as_numbers("center", center)
    return box_around(numbers, _radii(radius, numbers), dtype or center.dtype)


def _radii(radius: Tensor, center: Tensor) -> Tensor:
    radii = torch.as_tensor(radius, dtype=torch.float64, device=center.device).detach()
    if center.ndim < 2 or radii.shape != center.shape:
        raise ShapeError(
            f"radius has shape {tuple(radii.shape)}, center {tuple(center.shape)}",
            cure="give both as (B, *shape)",
        )
    bad = ~(radii >= 0) | torch.isinf(radii)  # NaN fails the comparison
    if bool(bad.any()):
        raise RadiusError(f"radius is {float(radii[bad][0])}", cure="give finite numbers >= 0")
    return radii.clone()
