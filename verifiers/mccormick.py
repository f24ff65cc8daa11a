"""Products of two bounded quantities: exact intervals and McCormick's planes.

For x in [lx, ux] and y in [ly, uy] two planes lie below x y and two above (McCormick 1976,
doi:10.1007/BF01580665); they are the convex hull (Al-Khayyal and Falk 1983, doi:10.1287/moor.8.2.273). Any
mixture of two planes on the same side is valid, which leaves one free share in [0, 1] per side:

    below:  (1 - t) (ly x + lx y - lx ly) + t (uy x + ux y - ux uy)
    above:  (1 - s) (uy x + lx y - lx uy) + s (ly x + ux y - ux ly)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .interval import Interval

__all__ = ["Planes", "balanced_shares", "crossing_share", "matrix_interval", "product_planes"]

_ENTRIES = 2**22  # entries of the three-dimensional product that exist at once


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """A plane below and one above a function of x and y: slopes by x and by y, and constants."""

    lower: tuple[Tensor, Tensor, Tensor]
    upper: tuple[Tensor, Tensor, Tensor]


def product_planes(x: Interval, y: Interval, below: Tensor, above: Tensor) -> Planes:
    """McCormick's planes of x y with shares `below` and `above`; everything broadcasts. Exact at points."""
    lower = (
        torch.lerp(y.lower, y.upper, below),
        torch.lerp(x.lower, x.upper, below),
        -torch.lerp(x.lower * y.lower, x.upper * y.upper, below),
    )
    upper = (
        torch.lerp(y.upper, y.lower, above),
        torch.lerp(x.lower, x.upper, above),
        -torch.lerp(x.lower * y.upper, x.upper * y.lower, above),
    )
    return Planes(lower, upper)


@torch.no_grad()
def crossing_share(box: Interval) -> Tensor:
    """Where zero lies between the two ends, 0 for the lower and 1 for the upper; clamped to [0, 1].

    A share between those of x and y makes the minimum of the plane over the box equal to that of x y: the
    plane then loses nothing against intervals.
    """
    width = box.upper - box.lower
    share = (-box.lower / width).clamp(0, 1)
    return torch.where(width == 0, torch.full_like(share, 0.5), share)


def balanced_shares(x: Interval, y: Interval) -> tuple[Tensor, Tensor]:
    """Shares (below, above) whose planes lose nothing against intervals, as near to 1/2 as that allows.

    At 1/2 the plane has the gradient of x y at the box's centre.
    """
    one, other = torch.broadcast_tensors(crossing_share(x), crossing_share(y))
    half = torch.full_like(one, 0.5)
    below = half.clamp(torch.minimum(one, other), torch.maximum(one, other))
    mirrored = 1 - other
    above = half.clamp(torch.minimum(one, mirrored), torch.maximum(one, mirrored))
    return below, above


def matrix_interval(x: Interval, y: Interval) -> Interval:
    """Bounds of x @ y, (..., m, k) and (..., k, n): the sum of the exact bounds of every product.

    Where one factor's sign is known the bounds are plain matrix products. Only where both may vanish the
    smaller of two products counts, entry by entry; these are summed in pieces. NaN stays NaN.
    """
    crossing_x, crossing_y = _crossing(x), _crossing(y)
    some_x, some_y = bool(crossing_x.any()), bool(crossing_y.any())
    if not some_x:
        return _signed_left(x, y)
    if not some_y:
        return _signed_right(x, y)
    found = _crossing_product(_masked(x, crossing_x), _masked(y, crossing_y))
    if not bool(crossing_y.all()):
        found = found.plus(_signed_right(_masked(x, crossing_x), _masked(y, ~crossing_y)))
    if not bool(crossing_x.all()):
        found = found.plus(_signed_left(_masked(x, ~crossing_x), y))
    return found


def _crossing(box: Interval) -> Tensor:
    """Mask of entries that may have either sign, NaN among them."""
    return ~((box.lower >= 0) | (box.upper <= 0))


def _masked(box: Interval, mask: Tensor) -> Interval:
    zero = torch.zeros_like(box.lower)
    return Interval(torch.where(mask, box.lower, zero), torch.where(mask, box.upper, zero))


def _signed_left(x: Interval, y: Interval) -> Interval:
    """x @ y where every entry of x has one sign."""
    positive = Interval(x.lower.clamp(min=0), x.upper.clamp(min=0))
    found = _positive_left(positive, y)
    if bool((x.lower < 0).any()):
        mirrored = _positive_left(Interval((-x.upper).clamp(min=0), (-x.lower).clamp(min=0)), y)
        found = Interval(found.lower - mirrored.upper, found.upper - mirrored.lower)
    return found


def _positive_left(x: Interval, y: Interval) -> Interval:
    lower = x.lower @ y.lower.clamp(min=0) + x.upper @ y.lower.clamp(max=0)
    return Interval(lower, x.upper @ y.upper.clamp(min=0) + x.lower @ y.upper.clamp(max=0))


def _signed_right(x: Interval, y: Interval) -> Interval:
    turned = _signed_left(Interval(y.lower.mT, y.upper.mT), Interval(x.lower.mT, x.upper.mT))
    return Interval(turned.lower.mT, turned.upper.mT)


def _crossing_product(x: Interval, y: Interval) -> Interval:
    """x @ y where every interval holds zero: the sum over k of the smaller of two products."""
    lead = torch.broadcast_shapes(x.lower.shape[:-2], y.lower.shape[:-2])
    rows, inner, columns = *x.lower.shape[-2:], y.lower.shape[-1]
    step = max(1, _ENTRIES // max(1, torch.Size(lead).numel() * rows * columns))
    lower: Tensor | None = None
    upper: Tensor | None = None
    for start in range(0, inner, step):
        part = slice(start, start + step)
        lx, ux = (t[..., :, part].unsqueeze(-1) for t in (x.lower, x.upper))
        ly, uy = (t[..., part, :].unsqueeze(-3) for t in (y.lower, y.upper))
        least = torch.minimum(lx * uy, ux * ly).sum(-2)
        most = torch.maximum(lx * ly, ux * uy).sum(-2)
        lower = least if lower is None else lower + least
        upper = most if upper is None else upper + most
    if lower is None or upper is None:  # nothing is summed
        zero = x.lower.new_zeros(*lead, rows, columns)
        return Interval(zero, zero)
    return Interval(lower, upper)
