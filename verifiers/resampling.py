"""Bounds of bilinear interpolation of an image that is known by bounds, at places that are known by bounds.

y = sum over pixels of w_i(v) w_j(u) x_ij with weights that are not negative. For any reference image between
the bounds of x, w x is bounded by products as McCormick's (1976); of the interpolated reference image, which
is bilinear on every cell of pixels, a plane in (u, v) stays below exactly if it does at the corners of the
pieces into which the cells cut the rectangle of (u, v).

Axes: Ky, Kx pixels of a window; B samples; R choices of free parameters; C channels; P places.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from .interval import Interval
from .reach import Reach

__all__ = ["Derivative", "Frame", "Side", "Window"]

_Range = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Frame:
    """An image of height x width pixels: how coordinates in [-1, 1] count pixels, and what lies outside.

    With zeros outside, a ring of zeros is part of the frame. Coordinates from one corner pixel's middle to
    the other's (`aligned`), or from one edge of the image to the other.
    """

    height: int
    width: int
    zeros: bool
    aligned: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width with the ring."""
        ring = 2 if self.zeros else 0
        return self.height + ring, self.width + ring

    def axis(self, vertical: bool) -> tuple[float, float]:
        """Scale and shift that turn a coordinate into a pixel coordinate of the frame."""
        length = self.height if vertical else self.width
        less, ring = (1 if self.aligned else 0), (1 if self.zeros else 0)
        return (length - less) / 2, (length - 1) / 2 + ring

    def reach(self, grid: Interval, *, vertical: bool) -> Reach:
        """The reach of the places of a grid (B, h, w, 2), of which the last axis holds x and y."""
        scale, shift = self.axis(vertical)
        low, high = (end[..., int(vertical)].flatten(1) * scale + shift for end in (grid.lower, grid.upper))
        return Reach.of(low, high, self.size[0 if vertical else 1])

    def framed(self, image: Tensor) -> Tensor:
        """An image (..., height, width) with the ring."""
        return pad(image, (1, 1, 1, 1)) if self.zeros else image

    def cropped(self, image: Tensor) -> Tensor:
        """The adjoint of `framed`."""
        return image[..., 1:-1, 1:-1] if self.zeros else image


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Linear bounds from one side: sum of weights x + across g_x + down g_y + offset.

    weights (Ky, Kx, B, R, C, P) of the window's pixels, None where no pixel counts; the others (B, R, C, P).
    """

    weights: Tensor | None
    across: Tensor
    down: Tensor
    offset: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Derivative:
    """Where the derivatives lie: by the window's pixels, (Ky, Kx, B, 1, 1, P), by g_x and g_y, (B, 1, C, P).

    unknown (B, 1, 1, P) is NaN where nothing is known of a place, else zero.
    """

    pixels: Interval
    across: Interval
    down: Interval
    unknown: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Bounds of the pixels around each of P places, and the reach of the places' coordinates.

    low, high (Ky, Kx, B, 1, C, P); the same tensor where the image is known exactly. bottom, top
    (B, 1, C, 1): bounds of all pixels.
    """

    frame: Frame
    rows: Reach
    columns: Reach
    low: Tensor
    high: Tensor
    bottom: Tensor
    top: Tensor

    @staticmethod
    def of(image: Interval, grid: Interval, frame: Frame) -> Window:
        """The windows of an image (B or 1, C, H, W) at the places of a grid (B, h, w, 2); P = h w."""
        rows, columns = (frame.reach(grid, vertical=vertical) for vertical in (True, False))
        index = rows.knots.unsqueeze(1) * frame.size[1] + columns.knots.unsqueeze(0)
        exact = bool((image.lower == image.upper).all())
        low, bottom = _gathered(frame.framed(image.lower), index, least=True)
        high, top = _gathered(frame.framed(image.upper), index, least=False)
        return Window(frame, rows, columns, low, low if exact else high, bottom, top)

    @property
    def exact(self) -> bool:
        """Whether the image is known exactly."""
        return self.low is self.high

    def index(self) -> Tensor:
        """The window's pixels in the flat frame, (Ky, Kx, B, P)."""
        return self.rows.knots.unsqueeze(1) * self.columns.size + self.columns.knots.unsqueeze(0)

    def wide(self) -> Tensor:
        """Places (B, 1, 1, P) that are bounded by all pixels' bounds only."""
        return (self.rows.wide | self.columns.wide).unsqueeze(1).unsqueeze(1)

    def interval(self) -> Interval:
        """Bounds (B, 1, C, P) of the interpolated values: the exact range, but for `wide` places."""
        ends = []
        for sign, image, whole in ((1, self.low, self.bottom), (-1, self.high, self.top)):
            values = self._values(sign * image)
            least = values.amin((0, 1)) - self._rounding(values, *self._slopes(sign * image))
            ends.append(torch.where(self.wide(), whole, sign * least))
        return Interval(*ends)

    def derivative(self) -> Derivative:
        """Bounds of the derivatives; at kinks of all generalised ones if the places reach beyond them."""
        ends = []
        for along, other, (low, high), vertical in (
            (self.columns, self.rows, (self.low.transpose(0, 1), self.high.transpose(0, 1)), False),
            (self.rows, self.columns, (self.low, self.high), True),
        ):
            used = (other.most > 0).unsqueeze(2).unsqueeze(2)
            scale, (least, most) = self.frame.axis(vertical)[0], along.slopes(low, high)
            least, most = (torch.where(used, scale * end, 0) for end in (least, most))
            ends.append(Interval(least.amin(0), most.amax(0)))
        across, down = ends
        least, most = (_outer(*w) for w in ((self.rows.least, self.columns.least),
                                            (self.rows.most, self.columns.most)))  # fmt: skip
        zero = torch.zeros_like(least[0, 0])
        unknown = torch.where(self.wide(), torch.nan, zero)
        return Derivative(Interval(least, most), across, down, unknown)

    def first(self) -> Tensor:
        """First values of the free parameters, (B, 2 sides, 3 shares, C, P).

        The slopes are those between the ends of the intervals, or zero, whichever plane is nearer to the
        function at the centre.
        """
        sides = []
        for sign in (1, -1):
            steep = self.secants(sign)
            image = self._reference(sign, steep[:, 0])
            ranges = self._slopes(image)
            flat = torch.stack([steep[:, 0], *(_share(torch.zeros_like(r[0]), *r) for r in ranges)], 1)
            values = self._values(image)
            heights = [
                self._least(values, *(torch.lerp(*r, s[:, 1 + i]) for i, r in enumerate(ranges)))
                for s in (steep, flat)
            ]
            sides.append(torch.where((heights[0] > heights[1]).unsqueeze(1), steep, flat))
        return torch.stack(sides, 1).squeeze(3)

    def secants(self, sign: int) -> Tensor:
        """Parameters (B, 3, 1, C, P) of one side: the middle image, slopes from one end to the other."""
        half = torch.full_like(self.low[0, 0], 0.5)
        image = self._reference(sign, half)
        across, down = self._slopes(image)
        return torch.stack((
            half,
            _share(self.columns.secant(self.rows.middle(image)), *across),
            _share(self.rows.secant(self.columns.middle(image.transpose(0, 1))), *down),
        ), 1)  # fmt: skip

    def strip(self) -> tuple[Side, Side]:
        """The planes of `side` below and above that are parallel: the middle image, slopes of `secants`."""
        share, one, other = self.secants(1).unbind(1)
        ranges = self._slopes(self._reference(1, share))
        across, down = torch.lerp(*ranges[0], one), torch.lerp(*ranges[1], other)
        return self._plane(1, share, across, down), self._plane(-1, share, -across, -down)

    def side(self, free: Tensor, sign: int) -> Side:
        """The plane below (sign 1) for parameters (B, R, 3, C, P) within [0, 1].

        For sign -1 the plane below minus the value: its negative lies above the value.
        """
        share, one, other = free.unbind(2)
        ranges = self._slopes(self._reference(sign, share))
        return self._plane(sign, share, torch.lerp(*ranges[0], one), torch.lerp(*ranges[1], other))

    def _plane(self, sign: int, share: Tensor, across: Tensor, down: Tensor) -> Side:
        """The plane with slopes per pixel, (B, R, C, P) each."""
        image = self._reference(sign, share)
        values, ranges = self._values(image), self._slopes(image)
        offset = self._least(values, across, down) - self._rounding(values, *ranges)
        weights, constant = self._products(sign, share)
        offset = offset if constant is None else offset - constant
        for slope, reach, vertical in ((across, self.columns, False), (down, self.rows, True)):
            offset = offset - slope * (_central(reach) - self.frame.axis(vertical)[1])
        across, down = across * self.frame.axis(False)[0], down * self.frame.axis(True)[0]
        wide = self.wide()
        zero, least = torch.zeros_like(offset), self.bottom if sign > 0 else -self.top
        return Side(
            None if weights is None else torch.where(wide, 0, weights),
            torch.where(wide, zero, across),
            torch.where(wide, zero, down),
            torch.where(wide, least, offset),
        )

    def _reference(self, sign: int, share: Tensor) -> Tensor:
        """The image, or its negative, whose interpolation the plane follows: (Ky, Kx, B, R, C, P)."""
        start, end = (self.low, self.high) if sign > 0 else (-self.high, -self.low)
        return start if self.exact else torch.lerp(start, end, share)

    def _products(self, sign: int, share: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Coefficients of the pixels, and what they sum to at the bounds, rounded up.

        w x >= w r + (1 - t) w_least (x - low) + t w_most (x - high) with r = low + t (high - low).
        """
        if self.exact:
            return None, None
        start, end = (self.low, self.high) if sign > 0 else (-self.high, -self.low)
        least, most = ((1 - share) * _outer(self.rows.least, self.columns.least),
                       share * _outer(self.rows.most, self.columns.most))  # fmt: skip
        size = (least * start.abs() + most * end.abs()).sum((0, 1))
        constant = (least * start + most * end).sum((0, 1)) + 8 * torch.finfo(size.dtype).eps * size
        return sign * (least + most), constant

    def _values(self, image: Tensor) -> Tensor:
        """An image (Ky, Kx, B, R, C, P) interpolated at the corners of all pieces: (Kx + 2, Ky + 2, ...)."""
        return self.columns.along(self.rows.along(image).transpose(0, 1))

    def _least(self, values: Tensor, across: Tensor, down: Tensor) -> Tensor:
        """The least of value - across (u - centre) - down (v - centre) over the corners, (B, R, C, P)."""
        right, below = (_shifted(reach) for reach in (self.columns, self.rows))
        return (values - across * right.unsqueeze(1) - down * below.unsqueeze(0)).amin((0, 1))

    def _slopes(self, image: Tensor) -> tuple[_Range, _Range]:
        """The range, with zero, of the slopes by u and by v: pairs of (B, R, C, P)."""
        pairs = []
        for along, other, turned in (
            (self.columns, self.rows, image.transpose(0, 1)),
            (self.rows, self.columns, image),
        ):
            low, high = along.slopes(turned)
            used = (other.most > 0).unsqueeze(2).unsqueeze(2)
            pairs.append((torch.where(used, low, 0).amin(0), torch.where(used, high, 0).amax(0)))
        return pairs[0], pairs[1]

    def _rounding(self, values: Tensor, across: _Range, down: _Range) -> Tensor:
        """What rounding of coordinates and of sums may change, (B, R, C, P)."""
        size = values.abs().amax((0, 1))
        shift = (across[1] - across[0]) * self.columns.size + (down[1] - down[0]) * self.rows.size
        return 4 * torch.finfo(size.dtype).eps * (size + shift)


def _gathered(image: Tensor, index: Tensor, *, least: bool) -> tuple[Tensor, Tensor]:
    """Pixels (Ky, Kx, B, 1, C, P) of an image (B or 1, C, H, W) at flat places (Ky, Kx, B, P); an extreme."""
    flat = image.flatten(2)
    whole = flat.amin(2) if least else flat.amax(2)
    batch, channels = index.shape[2], flat.shape[1]
    flat = flat.expand(batch, -1, -1)
    order = index.permute(2, 0, 1, 3).flatten(1).unsqueeze(1).expand(-1, channels, -1)
    found = flat.gather(2, order).unflatten(2, (*index.shape[:2], index.shape[3]))
    return found.permute(2, 3, 0, 1, 4).unsqueeze(3).contiguous(), whole.unsqueeze(1).unsqueeze(3)


def _outer(rows: Tensor, columns: Tensor) -> Tensor:
    """Products of weights (Ky, B, P) and (Kx, B, P): (Ky, Kx, B, 1, 1, P)."""
    return (rows.unsqueeze(1) * columns.unsqueeze(0)).unsqueeze(3).unsqueeze(3)


def _central(reach: Reach) -> Tensor:
    """The intervals' centres, (B, 1, 1, P)."""
    return torch.lerp(reach.low, reach.high, 0.5).unsqueeze(1).unsqueeze(1)


def _shifted(reach: Reach) -> Tensor:
    """Places counted from the centre, (K + 2, B, 1, 1, P)."""
    return (reach.places - torch.lerp(reach.low, reach.high, 0.5)).unsqueeze(2).unsqueeze(2)


def _share(slope: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where in its range a slope lies."""
    return ((slope - low) / (high - low)).nan_to_num(0.0).clamp(0, 1)
