"""The l1 and l2 norms: what a ball needs to know of its norm, one object each.

The linf norm is missing on purpose: a linf ball is a box and is handled as one. To add a norm,
write one class with these methods and enter it in `NORMS`.

l1 projection: C. Michelot, A finite algorithm for finding the projection of a point onto the
canonical simplex of R^n, JOTA 50 (1986): Newton's method on the level of the soft threshold. It gives
the same level as sorting (Duchi et al., ICML 2008), without the sort.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from .roots import monotone_root

__all__ = ["L1", "L2", "NORMS", "Norm"]

_EPS = torch.finfo(torch.float64).eps
_MOST_NEWTON_STEPS = 50  # 5 to 10 are usual; the caller rescales, so stopping early is safe


class Norm(Protocol):
    """A norm on flattened points; n is their number of coordinates."""

    @property
    def power(self) -> int:
        """The exponent p of sum |d_i|^p."""
        ...

    def length(self, d: Tensor) -> Tensor:
        """Norms (..., n) -> (...), accumulated in float64 and returned so: fit for proofs."""
        ...

    def quick(self, d: Tensor) -> Tensor:
        """Norms (..., n) -> (...) in d's own precision, returned in float64: fit for searches."""
        ...

    def dual(self, a: Tensor) -> Tensor:
        """Dual norms (..., n) -> (...), in a's dtype; differentiable."""
        ...

    def steepest(self, g: Tensor) -> Tensor:
        """A direction of norm 1 (or 0 where g = 0) along which g (B, n) grows fastest."""
        ...

    def direction(self, uniform: Tensor) -> Tensor:
        """Directions of norm 1, evenly spread, from uniform (B, n) in [0, 1)."""
        ...

    def shrink(self, d: Tensor, s: Tensor) -> Tensor:
        """Nearest vectors to d (B, n) for a multiplier s (B,): s = 0 gives 0, s = 1 gives d."""
        ...

    def multiplier(self, d: Tensor, radius: Tensor) -> Tensor:
        """The s (B,) float64 for which shrink(d, s) is the nearest vector of norm radius (B,)."""
        ...

    def soften(self, d: Tensor, s: Tensor, weights: Tensor) -> Tensor:
        """Nearest vectors to d (B, n) of some length |weights * y|, which grows with s (B, 1).

        s = 0 gives 0 or nearly so, s = 1 gives d. They minimise |y - d|^2 / 2 + t h(weights * y) with
        h = |.|_1 for l1, |.|_2^2 / 2 for l2, and the t that belongs to s.
        """
        ...

    def box_support(self, a: Tensor, reach: tuple[Tensor, Tensor], radius: Tensor) -> Tensor:
        """Upper bounds of max <a, z> over low <= z <= high, |z| <= radius; differentiable in a.

        a (B, K, n); reach = (low, high), each (B, 1, n), relative to the ball's centre; radius (B, 1).
        Every value is a dual bound, so it is sound however well the multiplier was found.
        """
        ...


class L2:
    """The Euclidean norm; its own dual."""

    power = 2

    def __repr__(self) -> str:
        return "l2"

    def length(self, d: Tensor) -> Tensor:
        """sqrt(sum d^2)."""
        return _l2(d.to(torch.float64))  # faster than its dtype argument

    def quick(self, d: Tensor) -> Tensor:
        """sqrt(sum d^2)."""
        return _l2(d).to(torch.float64)

    def dual(self, a: Tensor) -> Tensor:
        """sqrt(sum a^2)."""
        return _l2(a)

    def steepest(self, g: Tensor) -> Tensor:
        """g / |g|; scaled by its largest entry first, so that tiny gradients do not underflow."""
        scaled = g / _at_least_tiny(g.abs().amax(-1, keepdim=True))
        return scaled / _at_least_tiny(_l2(scaled)).unsqueeze(-1)

    def direction(self, uniform: Tensor) -> Tensor:
        """Normal variates, by the inverse error function, over their norm."""
        edge = torch.finfo(uniform.dtype).eps
        return self.steepest(torch.erfinv((2 * uniform - 1).clamp(-1 + edge, 1 - edge)))

    def shrink(self, d: Tensor, s: Tensor) -> Tensor:
        """s * d."""
        return d * s.to(d.dtype).unsqueeze(-1)

    def multiplier(self, d: Tensor, radius: Tensor) -> Tensor:
        """radius / |d|."""
        return (radius / _at_least_tiny(self.quick(d))).clamp(max=1.0)

    def soften(self, d: Tensor, s: Tensor, weights: Tensor) -> Tensor:
        """d / (1 + t weights^2) with t = |d / weights| (1 - s) / s: of length < 1 up to s = 1/2."""
        most = torch.finfo(d.dtype).max
        scale = _l2((d / _at_least_tiny(weights)).clamp(-most, most)).clamp(max=most).unsqueeze(-1)
        t = (scale * (1 - s) / _at_least_tiny(s)).clamp(max=most)
        return d / (1 + t * weights * weights)

    def box_support(self, a: Tensor, reach: tuple[Tensor, Tensor], radius: Tensor) -> Tensor:
        """Lagrangian dual: max over the box of <a, z> - (|z|^2 - radius^2) / (2 mu), mu by root finding.

        z(mu) = mu a clamped to the box is the maximiser, so its gradient in a is z (Danskin).
        """
        low, high = reach
        with torch.no_grad():
            wide, most = radius.to(torch.float64), torch.finfo(a.dtype).max
            # (B, K): the ball's own multiplier; finite, so that rows of zeros stay zero
            unit = (wide / _at_least_tiny(self.dual(a).to(torch.float64))).clamp(max=most)

            def point(mu: Tensor) -> Tensor:
                return (mu.clamp(max=most).to(a.dtype).unsqueeze(-1) * a).clamp(low, high)

            def excess(s: Tensor) -> Tensor:
                return self.quick(point(unit * s / (1 - s))) - wide

            near = torch.zeros(1, dtype=a.dtype, device=a.device).clamp(low, high)
            ends = (self.quick(near) - wide).expand_as(unit), self.quick(point(unit + most)) - wide
            # the bound is flat in its multiplier at the optimum, so a rough root is enough
            rough = 10 * torch.finfo(a.dtype).eps ** 0.5 * wide.expand_as(unit)
            s = monotone_root(excess, ends, tolerance=rough, guess=0.5 + torch.zeros_like(unit))
            s = s.clamp(min=1e-4)  # 0 gives no bound, and is the root where ball and box only touch
            mu = (unit * s / (1 - s).clamp(min=_EPS)).clamp(max=most).to(a.dtype)
            z = point(mu)
            penalty = (_l2(z).square() - radius.square()) / (2 * mu)
            penalty = torch.where(mu > 0, penalty, -math.inf)  # no multiplier, no bound
        return (a * z).sum(-1) - penalty


class L1:
    """The sum of absolute values; its dual is the largest absolute value."""

    power = 1

    def __repr__(self) -> str:
        return "l1"

    def length(self, d: Tensor) -> Tensor:
        """sum |d|."""
        return _l1(d.to(torch.float64))

    def quick(self, d: Tensor) -> Tensor:
        """sum |d|."""
        return _l1(d).to(torch.float64)

    def dual(self, a: Tensor) -> Tensor:
        """max |a|."""
        return a.abs().amax(-1)

    def steepest(self, g: Tensor) -> Tensor:
        """Signs of the largest 1 % of the entries (at least one), with equal shares.

        One entry alone is the steepest, but moves one pixel a step; the share of 1 % is that of
        F. Tramer, D. Boneh, Adversarial training and robustness for multiple perturbations, 2019.
        """
        count = -(-g.shape[-1] // 100)
        _, top = g.abs().topk(count, dim=-1)
        share = torch.zeros_like(g).scatter(-1, top, 1.0) * g.sign()
        return share / share.abs().sum(-1, keepdim=True).clamp(min=1.0)

    def direction(self, uniform: Tensor) -> Tensor:
        """Laplace variates, by the inverse distribution function, over their norm."""
        centred = 2 * uniform - 1
        size = -torch.log1p(-centred.abs().clamp(max=1 - torch.finfo(uniform.dtype).eps))
        return centred.sign() * size / _at_least_tiny(size.sum(-1, keepdim=True))

    def shrink(self, d: Tensor, s: Tensor) -> Tensor:
        """Soft thresholding at the level (1 - s) max |d|: d minus its part within the level."""
        level = ((1 - s) * d.abs().amax(-1)).to(d.dtype).unsqueeze(-1)
        return d - d.clamp(-level, level)

    def multiplier(self, d: Tensor, radius: Tensor) -> Tensor:
        """The level at which sum (|d| - level)+ = radius, by Newton's method, which is finite here."""
        size = d.abs()
        level = ((self.quick(d) - radius) / d.shape[-1]).clamp(min=0)
        done = torch.zeros_like(level, dtype=torch.bool)
        for _ in range(_MOST_NEWTON_STEPS):
            above = (size - level.to(d.dtype).unsqueeze(-1)).clamp_(min=0)
            step = (self.quick(above) - radius) / above.sign().sum(-1).clamp(min=1)
            # a finished row stops, so that its result does not depend on the rest of the batch
            level = torch.where(done, level, (level + step).clamp(min=0))
            done = done | (step <= 32 * torch.finfo(d.dtype).eps * level)
            if bool(done.all()):
                break
        return (1 - level / _at_least_tiny(size.amax(-1).to(torch.float64))).clamp(0.0, 1.0)

    def soften(self, d: Tensor, s: Tensor, weights: Tensor) -> Tensor:
        """Soft thresholding at the levels t weights, with t = (1 - s) max |d / weights|."""
        size = d.abs()
        scaled = (size / _at_least_tiny(weights)).clamp(max=torch.finfo(d.dtype).max)
        most = scaled.amax(-1, keepdim=True)
        # |d| - t weights, written so that little cancels where t is close to its largest value
        left = (s * most - (most - scaled)).clamp(min=0) * weights
        return d.sign() * torch.where(s < 1, torch.minimum(left, size), size)

    def box_support(self, a: Tensor, reach: tuple[Tensor, Tensor], radius: Tensor) -> Tensor:
        """Lagrangian dual: max over the box of <a, z> - t (|z|_1 - radius) at the exact level t.

        z is the point of the box nearest to 0 where |a| <= t, else the end of the box in a's
        direction: coordinates are served in order of |a| until the radius is spent.
        """
        low, high = reach
        with torch.no_grad():
            near = torch.zeros(1, dtype=a.dtype, device=a.device).clamp(low, high)
            ends = (a * torch.finfo(a.dtype).max).clamp(low, high)  # far faster than torch.where on signs
            gain = ends.abs() - near.abs()  # what the radius pays for this coordinate; never negative
            sizes, order = a.abs().sort(dim=-1, descending=True)
            spent = gain.gather(-1, order).cumsum(-1)
            room = (radius - near.abs().sum(-1)).unsqueeze(-1)
            last = (spent <= room).sum(-1, keepdim=True).clamp(max=a.shape[-1] - 1)
            level = sizes.gather(-1, last)  # (B, K, 1)
            z = (ends - near).mul_(a.abs() > level).add_(near)
            # the coordinate at the level takes what is left: then z is the maximiser, and so the gradient
            rest = (radius - z.abs().sum(-1)).unsqueeze(-1).clamp(min=0)
            place = order.gather(-1, last)
            z.scatter_add_(
                -1, place, (ends - near).sign().gather(-1, place) * rest.minimum(gain.gather(-1, place))
            )
            penalty = level.squeeze(-1) * (z.abs().sum(-1) - radius)
        return (a * z).sum(-1) - penalty


NORMS: dict[float, Norm] = {1: L1(), 2: L2()}


def _at_least_tiny(x: Tensor) -> Tensor:
    return x.clamp(min=torch.finfo(x.dtype).tiny)


def _l2(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return norms


def _l1(x: Tensor) -> Tensor:
    return x.abs().sum(-1)  # several times faster than vector_norm(ord=1)
