"""Nearest points and bounds of an intersection, from what its members can do by themselves.

In the dual every member after the first gets a price vector, and every row of a polytope a price. The
nearest point to x is the first member's nearest point to x minus all prices: accelerated proximal gradient
steps (A. Beck, M. Teboulle, SIAM Journal on Imaging Sciences 2, 2009) with restarts (B. O'Donoghue,
E. Candes, Foundations of Computational Mathematics 15, 2015). And <a, x> is at most the sum of the supports
of prices that add up to a.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .box import Box
from .halfspaces import Halfspaces
from .input_set import InputSet
from .polytope import Polytope
from .polytope_bounds import affordable
from .polytope_points import maximiser

__all__ = ["common_bounds", "nearest_common"]

_STEPS = 500
_CHECK = 10  # steps between looks whether all samples are done
_FAR, _FAR_STEPS = 30.0, 200  # widths of the hull, and steps, for the projection that finds prices
_ELEMENTS = 1 << 19  # of the coefficients for which that is done
_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The members that are no polytopes, at least one, and the rows of those that are."""

    members: list[InputSet]
    rows: Halfspaces | None

    @classmethod
    def of(cls, sets: Sequence[InputSet]) -> _Parts:
        polytopes = [member for member in sets if isinstance(member, Polytope)]
        members = [member for member in sets if not isinstance(member, Polytope)]
        for polytope in polytopes:
            if not any(_covers(polytope.limits, member.box()) for member in members):
                members.append(polytope.limits)
        rows: Halfspaces | None = None
        for polytope in polytopes:
            rows = polytope.rows if rows is None else rows.beside(polytope.rows)
        return cls(members, rows)

    @property
    def single(self) -> bool:
        """Whether there is nothing to couple."""
        return self.rows is None and len(self.members) == 1


@torch.no_grad()
def nearest_common(x: Tensor, sets: Sequence[InputSet]) -> Tensor:
    """Near to the nearest common points of x, (B, *shape) float64: up to the accuracy of the steps."""
    parts = _Parts.of(sets)
    if parts.single:
        return parts.members[0].project(x)
    splitting = _Splitting(parts, x)
    return splitting.point(_ascended(splitting, _STEPS))


def _ascended(splitting: _Splitting, steps: int) -> Tensor:
    """The prices (B, M) after accelerated steps."""
    x = splitting.x
    prices = ahead = splitting.start()
    momentum, done = x.new_ones(len(x)), x.new_zeros(len(x), dtype=torch.bool)
    for k in range(steps):
        new = splitting.ascend(ahead)
        moved = (new - ahead).abs().amax(1)
        done = done | (moved <= 1e-14 * (1 + new.abs().amax(1)))
        if k % _CHECK == 0 and bool(done.all()):
            break
        away = ((new - ahead) * (new - prices)).sum(1) < 0  # the momentum leads away from the optimum
        start = torch.where(away, 1.0, momentum)
        momentum = torch.where(away, 1.0, (1 + torch.sqrt(1 + 4 * start.square())) / 2)
        share = torch.where(away, 0.0, (start - 1) / momentum).unsqueeze(1)
        # a finished sample stops, so that its result does not depend on the rest of the batch
        ahead = torch.where(done.unsqueeze(1), ahead, new + share * (new - prices))
        prices = torch.where(done.unsqueeze(1), prices, new)
    return prices


class _Splitting:
    """The dual of one projection; prices are flat, (B, M): a vector per further member, then one per row."""

    def __init__(self, parts: _Parts, x: Tensor) -> None:
        self.first, self.others, self.x = parts.members[0], parts.members[1:], x
        n = x[0].numel()
        size = x.new_full((len(x),), float(len(self.others)))
        self.unit = self.bound = None
        if parts.rows is not None:
            norms = torch.linalg.vector_norm(parts.rows.A, dim=2)
            self.norms = torch.where(norms > 0, norms, 1.0)
            self.unit, self.bound = parts.rows.A / self.norms.unsqueeze(2), parts.rows.b / self.norms
            size = size + torch.linalg.matrix_norm(self.unit, ord=2).square()
        self.step = (1 / size).unsqueeze(1)
        self.n, self.count = n, len(self.others)

    def start(self) -> Tensor:
        """No prices."""
        rows = 0 if self.bound is None else self.bound.shape[1]
        return self.x.new_zeros(len(self.x), self.count * self.n + rows)

    def point(self, prices: Tensor) -> Tensor:
        """The first member's point (B, *shape) at the prices."""
        away = prices[:, : self.count * self.n].unflatten(1, (self.count, self.n)).sum(1)
        if self.unit is not None:
            away = away + (prices[:, self.count * self.n :].unsqueeze(2) * self.unit).sum(1)
        return self.first.project(self.x - away.reshape(self.x.shape))

    def unscaled(self, prices: Tensor) -> Tensor:
        """The prices for rows as they were given."""
        split = self.count * self.n
        if self.unit is None:
            return prices
        return torch.cat([prices[:, :split], prices[:, split:] / self.norms], 1)

    def ascend(self, prices: Tensor) -> Tensor:
        """The prices after a proximal gradient step."""
        y, new = self.point(prices), []
        for i, member in enumerate(self.others):
            u = prices[:, i * self.n : (i + 1) * self.n] + self.step * y.flatten(1)
            inside = member.project((u / self.step).reshape(self.x.shape)).flatten(1)
            new.append(u - self.step * inside)
        if self.unit is not None and self.bound is not None:
            excess = (self.unit * y.flatten(1).unsqueeze(1)).sum(2) - self.bound
            new.append((prices[:, self.count * self.n :] + self.step * excess).clamp(min=0))
        return torch.cat(new, 1)


@torch.no_grad()
def common_bounds(a: Tensor, sets: Sequence[InputSet], hull: Box) -> tuple[Tensor, Tensor] | None:
    """Upper bounds (B, K) of <a_k, x> for a (B or 1, K, *shape), and nearly best points (B, K, *shape).

    In float64, safe whatever the accuracy of the steps. None where there are too many rows, or one member.
    """
    parts = _Parts.of(sets)
    if parts.single or hull.batch * a[0].numel() * len(parts.members) > _ELEMENTS:
        return None
    wide = a.to(torch.float64).expand(hull.batch, *a.shape[1:])
    return _Prices(wide, parts, hull).best()


class _Prices:
    """The dual of one support; prices are flat, (B, K, M), as in `_Splitting`."""

    def __init__(self, a: Tensor, parts: _Parts, hull: Box) -> None:
        self.a, self.members, self.rows = a, parts.members, parts.rows
        self.n, self.count = a[0, 0].numel(), len(parts.members) - 1
        self.faces = hull.lower.flatten(1), hull.upper.flatten(1)
        self.reach = torch.maximum(self.faces[0].abs(), self.faces[1].abs()).unsqueeze(1)

    def value(self, prices: Tensor) -> Tensor:
        """The bound (B, K), with what rounding may have taken away."""
        rest = self.a.flatten(2)
        size, total, terms = rest.abs(), torch.zeros_like(rest[:, :, 0]), torch.zeros_like(rest[:, :, 0])
        for i, member in enumerate(self.members[1:]):
            price = prices[:, :, i * self.n : (i + 1) * self.n]
            total = total + member.support(price.reshape(self.a.shape))
            rest, size = rest - price, size + price.abs()
        if self.rows is not None:
            paid = prices[:, :, self.count * self.n :]
            total = total + (paid * self.rows.b.unsqueeze(1)).sum(2)
            terms = (paid * self.rows.b.abs().unsqueeze(1)).sum(2)
            rest, size = rest - paid @ self.rows.A, size + paid @ self.rows.A.abs()
        total = total + self.members[0].support(rest.reshape(self.a.shape))
        doubt = (prices.shape[2] + self.n + 16) * _EPS * ((size * self.reach).sum(2) + terms)
        return (total + doubt).nan_to_num(torch.inf, torch.inf, torch.inf)

    def best(self) -> tuple[Tensor, Tensor]:
        """The best bound (B, K), and where it is nearly attained, (B, K, *shape)."""
        far, points = self.far()
        return torch.stack([self.value(prices) for prices in (far, *self.linear())]).amin(0), points

    def linear(self) -> list[Tensor]:
        """The multipliers of the linear programs over the hull, the first member's prices beside them."""
        flat = self.a.flatten(2)
        iterations = 0 if self.rows is None else affordable(self.rows, self.faces, flat.shape[1])
        if self.rows is None or not iterations:
            return []
        paid = maximiser(flat, self.rows, self.faces, iterations)[1]
        return [torch.cat([flat.new_zeros(*flat.shape[:2], self.count * self.n), paid], 2)]

    def far(self) -> tuple[Tensor, Tensor]:
        """The prices at which a point far along a is projected, and the projections.

        The nearest point to c + t a is the best one for a as soon as t is large enough, for sets with
        corners; for all others the gap falls with 1 / t.
        """
        batch, count = self.a.shape[:2]
        owner = torch.arange(batch, device=self.a.device).repeat_interleave(count)
        members = [member.select(owner) for member in self.members]
        rows = None if self.rows is None else self.rows.select(owner)
        size = self.a.flatten(2).norm(dim=2).flatten().clamp(min=1e-300)
        far = _FAR * ((self.faces[1] - self.faces[0]).norm(dim=1)[owner] / size).unsqueeze(1)
        middle = (0.5 * self.faces[0] + 0.5 * self.faces[1])[owner]
        start = (middle + far * self.a.flatten(2).flatten(0, 1)).reshape(-1, *self.a.shape[2:])
        splitting = _Splitting(_Parts(members, rows), start)
        prices = _ascended(splitting, _FAR_STEPS)
        points = splitting.point(prices)
        prices = splitting.unscaled(prices) / far.clamp(min=1e-300)
        return prices.unflatten(0, (batch, count)), points.unflatten(0, (batch, count))


def _covers(outer: Box, inner: Box) -> bool:
    return bool((outer.lower <= inner.lower).all() and (outer.upper >= inner.upper).all())
