"""Best, nearest and closest pairs (x, x') of two boxes with a bound on |x' - x|_p, p = 1 or 2.

By the Lagrangian dual in that one condition; all in float64, and only the bounds are safe by themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .differences import Gains, Penalty, bracket
from .polygons import Polygons

__all__ = ["closest_pairs", "nearest_pairs", "pair_bounds"]

_EPS = torch.finfo(torch.float64).eps
_SMALLEST = 1e-16  # share of the way to no price: larger prices change nothing
_ELEMENTS = 1 << 22

_Pair = tuple[Tensor, Tensor]


def closest_pairs(first: _Pair, second: _Pair) -> _Pair:
    """The pairs (B, n) of smallest distance in faces (B, n), in the middle of where there are several."""
    together = torch.maximum(first[0], second[0]), torch.minimum(first[1], second[1])
    x = 0.5 * together[0] + 0.5 * together[1]  # between the two intervals where they are apart
    return x.clamp(*first), x.clamp(*second)


def nearest_pairs(points: _Pair, faces: tuple[_Pair, _Pair], radius: Tensor, penalty: Penalty) -> Tensor:
    """The pairs (B, 2n) nearest to points (B, n) each, a little closer than radius (B,) if that is possible.

    The faces are of the dtype in which the result is wanted: rounding to it keeps the radius.
    """
    wide = tuple((low.to(torch.float64), high.to(torch.float64)) for low, high in faces)
    size = torch.stack([end.abs() for pair in wide for end in pair]).amax(0)
    band = 2 * torch.finfo(faces[0][0].dtype).eps * (radius + penalty.length(size))
    target = (radius - band).clamp(min=0)
    scale = (points[1] - points[0]).abs().amax(1) + size.amax(1)

    def pair(s: Tensor) -> _Pair:
        return penalty.pairs(points, (wide[0], wide[1]), _price(s, scale).unsqueeze(1))

    def excess(s: Tensor) -> Tensor:
        x, other = pair(s)
        return penalty.length(other - x) - target

    return torch.cat(pair(bracket(excess, target, 0.0)[0]), 1)


def pair_bounds(a: Tensor, polygons: Polygons, radius: Tensor, penalty: Penalty) -> _Pair:
    """Upper bounds (B, K) of <a_k, (x, x')>, a (B or 1, K, 2n), and nearly best pairs (B, K, 2n); float64."""
    found = []
    for part in a.split(max(1, _ELEMENTS // max(len(radius) * a.shape[2], 1)), 1):
        p, q = part.to(torch.float64).expand(len(radius), -1, -1).chunk(2, 2)
        found.append(_bounds(p, q, polygons, radius.unsqueeze(1), penalty))
    return torch.cat([bound for bound, _ in found], 1), torch.cat([best for _, best in found], 1)


def _bounds(p: Tensor, q: Tensor, polygons: Polygons, radius: Tensor, penalty: Penalty) -> _Pair:
    gains = _gains(p, q, polygons)
    scale = penalty.scale(gains, radius).clamp(min=1e-300)

    def difference(s: Tensor) -> Tensor:
        return penalty.best(gains, _price(s, scale).unsqueeze(2))

    def excess(s: Tensor) -> Tensor:
        return penalty.length(difference(s)) - radius

    near, beyond = bracket(excess, scale, 1e-12)
    price, d, over = _price(near, scale), difference(near), difference(beyond)
    x = _first(p + q, d, polygons)
    bound = ((p + q) * x + q * d).sum(2) - penalty.cost(d, price, radius)
    reach = torch.stack([end.abs() for end in (*polygons.first, *polygons.second)]).amax(0).unsqueeze(1)
    size = ((p.abs() + q.abs()) * reach + q.abs() * d.abs()).sum(2)
    size = size + penalty.cost(d, price, 0 * radius) - penalty.cost(0 * d, price, radius)
    doubt = (p.shape[2] + 32) * _EPS * size
    # where p = 1 the best difference jumps at the right price: the maximiser lies in between
    room, jump = radius - penalty.length(d), penalty.length(over) - penalty.length(d)
    share = torch.where(jump > 0, room / jump, 0.0).clamp(0, 1).unsqueeze(2)
    d = d + share * (over - d)
    x = _first(p + q, d, polygons)
    return (bound + doubt).nan_to_num(torch.inf, torch.inf, torch.inf), torch.cat([x, x + d], 2)


def _gains(p: Tensor, q: Tensor, polygons: Polygons) -> Gains:
    """max over x of p x + q (x + d), less a constant, as a function of d."""
    (l1, u1), (l2, u2), (low, high) = polygons.first, polygons.second, polygons.gap
    up = p + q >= 0
    bend = torch.where(up, (u2 - u1).unsqueeze(1), (l2 - l1).unsqueeze(1))
    least, most = torch.maximum(low, l2 - u1), torch.minimum(high, u2 - l1)
    left, right = torch.where(up, q, -p), torch.where(up, -p, q)
    return Gains(left, right, bend, least.unsqueeze(1), most.unsqueeze(1))


def _first(s: Tensor, d: Tensor, polygons: Polygons) -> Tensor:
    """The x (B, K, n) of largest s x beside x' = x + d."""
    (l1, u1), (l2, u2) = polygons.first, polygons.second
    most = torch.minimum(u1.unsqueeze(1), u2.unsqueeze(1) - d)
    return torch.where(s >= 0, most, torch.maximum(l1.unsqueeze(1), l2.unsqueeze(1) - d))


def _price(s: Tensor, scale: Tensor) -> Tensor:
    """Falling from a huge multiple of `scale` at s = 0 to nothing at s = 1."""
    return scale * (1 - s) / s.clamp(min=_SMALLEST)
