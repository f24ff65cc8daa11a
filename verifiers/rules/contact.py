"""Where a line below or above a smooth curve may touch it between the ends of a box.

A line below a curve touches it on a convex stretch, a line above on a concave one. Of the stretch's
points those count whose tangent stays on its side up to both ends of the box; each limit depends on one
end only: it is the point of contact of the tangent through that end, tabulated once per function.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

__all__ = [
    "Between",
    "Contact",
    "Ends",
    "Everywhere",
    "Function",
    "Left",
    "Moving",
    "Nowhere",
    "Right",
    "Side",
    "Slope",
    "Tails",
    "Tangent",
    "concave_then_convex",
    "convex_then_concave",
    "pick",
]

Function = Callable[[Tensor], Tensor]
Slope = Callable[[Tensor, Tensor], Tensor]
"""f'(x) from x and f(x)."""

_CELLS = 4096  # of a table: its points of contact are right to about 1e-6
_HALVINGS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """A box's ends, the function's values and slopes there, and the slope of the chord."""

    low: Tensor
    high: Tensor
    f_low: Tensor
    f_high: Tensor
    s_low: Tensor
    s_high: Tensor
    chord: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Tangent:
    """A point, the value and the slope of the function there."""

    point: Tensor
    value: Tensor
    slope: Tensor

    def misses(self, x: Tensor, y: Tensor, *, below: bool) -> Tensor:
        """Whether the tangent does not pass below (above) the point (x, y), or touches there."""
        away = x - self.point
        height = torch.addcmul(self.value, self.slope, away)
        here = away.abs() <= 8 * torch.finfo(x.dtype).eps * x.abs()
        return ((height >= y) if below else (height <= y)) | here


def pick(mask: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """torch.where, but faster on a CPU where the mask is irregular; NaN where either is not finite."""
    return torch.lerp(other, one, mask.to(other.dtype))


class Side(ABC):
    """Where a line below (above) the curve may touch it: its convex (concave) stretch."""

    chord_only: bool = False

    @abstractmethod
    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """First and last point of [low, high] whose tangent stays on its side up to both ends.

        Any points of the stretch would be sound. Where no tangent is, any points of the box.
        """

    def chord(self, ends: Ends, below: bool, tangent: Tangent) -> Tensor | None:
        """Where the chord certainly stays on its side and no tangent does better; None: nowhere."""
        return None


class Everywhere(Side):
    """A convex curve, seen from below."""

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low, high


class Nowhere(Side):
    """A concave curve, seen from below: the chord."""

    chord_only = True

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low, high


@dataclass(frozen=True, slots=True, eq=False)
class Left(Side):
    """The line touches on x <= bend. far(u): where the tangent through the curve at u > bend touches."""

    bend: float
    far: Function

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return low, torch.maximum(low, torch.minimum(high, self.far(high)))

    def chord(self, ends: Ends, below: bool, tangent: Tangent) -> Tensor | None:
        return ends.s_low >= ends.chord if below else ends.s_low <= ends.chord


@dataclass(frozen=True, slots=True, eq=False)
class Right(Side):
    """The line touches on x >= bend. far(l): where the tangent through the curve at l < bend touches."""

    bend: float
    far: Function

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return torch.minimum(high, torch.maximum(low, self.far(low))), high

    def chord(self, ends: Ends, below: bool, tangent: Tangent) -> Tensor | None:
        return ends.s_high <= ends.chord if below else ends.s_high >= ends.chord


@dataclass(frozen=True, slots=True, eq=False)
class Between(Side):
    """The line touches on a stretch with a bend at either end.

    from_left(l), from_right(u): where the tangent through the curve at an end beyond the stretch touches.
    """

    from_left: Function
    from_right: Function

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        first = torch.minimum(high, torch.maximum(low, self.from_left(low)))
        last = torch.maximum(low, torch.minimum(high, self.from_right(high)))
        # the wrong way round where no tangent stays on its side: a point between tells so most clearly
        middle = torch.lerp(first, last, 0.5)
        return torch.minimum(first, middle), torch.maximum(last, middle)

    def chord(self, ends: Ends, below: bool, tangent: Tangent) -> Tensor | None:
        left = tangent.misses(ends.low, ends.f_low, below=below)
        return left & tangent.misses(ends.high, ends.f_high, below=below)


@dataclass(frozen=True, slots=True, eq=False)
class Tails(Side):
    """The line touches on one of two outer stretches: the left one where u < split, else the right one.

    Sound where the tangents of one stretch reach no tangent of equal slope on the other, and the left one
    has none that stays on its side up to u >= split.
    """

    left: Left
    right: Right
    split: float = 0.0

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        use, left, right = high < self.split, self.left.span(low, high), self.right.span(low, high)
        return pick(use, left[0], right[0]), pick(use, left[1], right[1])

    def chord(self, ends: Ends, below: bool, tangent: Tangent) -> Tensor | None:
        steeper = pick(ends.high < self.split, ends.s_low - ends.chord, ends.chord - ends.s_high)
        return steeper >= 0 if below else steeper <= 0


@dataclass(frozen=True, slots=True, eq=False)
class Moving(Side):
    """A side of one period of a periodic function: the one around the centre nearest to the box."""

    side: Side
    centre: float
    period: float

    def span(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        shift = self._shift(low, high)
        first, last = self.side.span(low - shift, high - shift)
        return first + shift, last + shift

    def chord(self, ends: Ends, below: bool, tangent: Tangent) -> Tensor | None:
        return self.side.chord(ends, below, tangent)

    def _shift(self, low: Tensor, high: Tensor) -> Tensor:
        turns = (torch.lerp(low, high, 0.5) - self.centre) / self.period
        return self.centre + self.period * turns.round()


def convex_then_concave(
    value: Function, slope: Slope, bend: float = 0, reach: float = math.inf
) -> tuple[Side, Side]:
    """The sides below and above a function that is convex on x <= bend and concave on x >= bend."""
    below = Left(bend, Contact(value, slope, bend, leftward=True, convex=True, reach=reach))
    return below, Right(bend, Contact(value, slope, bend, leftward=False, convex=False, reach=reach))


def concave_then_convex(
    value: Function, slope: Slope, bend: float = 0, reach: float = math.inf
) -> tuple[Side, Side]:
    """The sides below and above a function that is concave on x <= bend and convex on x >= bend."""
    below = Right(bend, Contact(value, slope, bend, leftward=False, convex=True, reach=reach))
    return below, Left(bend, Contact(value, slope, bend, leftward=True, convex=False, reach=reach))


@dataclass(frozen=True, slots=True, eq=False)
class Contact:
    """Where the tangent through (x, f(x)) touches f on the other side of `bend`, from a table.

    The stretch of contact reaches `reach` from `bend`, to the left or to the right of it; it is convex
    or concave. Exact at the table's points, up to 10^7 from `bend`, and linear between them.
    """

    value: Function
    slope: Slope
    bend: float
    leftward: bool
    convex: bool
    reach: float = math.inf

    def __call__(self, x: Tensor) -> Tensor:
        """Points of contact, beyond the stretch where there is none; `bend` on the stretch's own side."""
        table, steps = _table(self, x.dtype, x.device)
        root = (x - self.bend if self.leftward else self.bend - x).clamp(min=0).sqrt()
        place = _CELLS - _CELLS / (1 + root)
        cell = place.int().clamp_(0, _CELLS - 1)  # whatever comes of NaN stays within the table
        flat, part = cell.flatten(), place - cell
        start, step = (t.index_select(0, flat).reshape(cell.shape) for t in (table, steps))
        distance = torch.addcmul(start, part, step)
        return self.bend - distance if self.leftward else self.bend + distance

    def distances(self) -> Tensor:
        """From `bend` to the point of contact, for x at distances (i / (4096 - i))^2 from it (float64)."""
        share = torch.arange(_CELLS, dtype=torch.float64)
        sign = 1 if self.leftward else -1
        x = self.bend + sign * (share / (_CELLS - share)) ** 2
        target = self.value(x)
        near, far = torch.zeros_like(x), torch.ones_like(x)
        for _ in range(_HALVINGS):
            middle = (near + far) / 2
            point = self.bend - sign * self._spread(middle)
            value = self.value(point)
            height = value + self.slope(point, value) * (x - point)
            safe = height <= target if self.convex else height >= target
            near, far = torch.where(safe, near, middle), torch.where(safe, middle, far)
        found = self._spread(far)
        found[0] = 0
        beyond = 2 * found[-1:].clamp(min=1e9) if self.reach == math.inf else found[-1:]
        return torch.cat((found, beyond))

    def _spread(self, share: Tensor) -> Tensor:
        """Shares of the stretch as distances from its bend."""
        return share / (1 - share + 1e-16) if self.reach == math.inf else share * self.reach


@lru_cache(maxsize=256)
def _table(contact: Contact, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """A contact's distances at the cells' left ends, and their growth over the cell."""
    with torch.inference_mode(False), torch.no_grad():
        distance = contact.distances()
        return distance[:-1].to(device, dtype), distance.diff().to(device, dtype)
