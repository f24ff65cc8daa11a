"""Float64 with every rounding error accounted for, and lines below and above relu and sigmoid.

A sum of n products, in any order, errs by at most n u / (1 - n u) times the sum of their sizes, u = 2^-53
(Higham 2002, section 3.1). `TINY` covers all underflow as long as no number exceeds `LARGE`.
"""

from collections import namedtuple
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
U, TINY, LARGE = 2.0**-53, 1e-100, 1e100
# ln 2 to 42 bits, so that k * _HIGH is exact for |k| < 2^11, and the rest of ln 2
_HIGH, _LOW = float.fromhex("0x1.62e42fefa3800p-1"), float.fromhex("0x1.ef35793c76730p-45")
MAX = "max"  # the operator that is the largest of its inputs


class Rejected(Exception):
    """The certificate does not prove its claim; the message says why."""


def finite(x: Array, what: str) -> Array:
    """x itself; Rejected where an entry is NaN or larger than `LARGE`."""
    if not bool(np.all(np.abs(x) <= LARGE)):
        raise Rejected(f"{what}: a number is NaN, infinite or beyond {LARGE:g}")
    return x


def sigmoid(z: Array) -> tuple[Array, Array]:
    """lower <= 1 / (1 + exp(-z)) <= upper, without trust in a library's exp.

    exp(-|z|) = 2^k exp(r) with |r| < 0.35 and 16 Taylor terms: the relative error stays below 16 u, that of
    the quotient below 24 u; 128 u are allowed for. Beyond 700 the value is closer to its limit.
    """
    x = -np.minimum(np.abs(z), 700.0)
    k = np.rint(x / (_HIGH + _LOW))
    r = (x - k * _HIGH) - k * _LOW
    power = np.ones_like(r)
    for n in range(16, 0, -1):
        power = 1.0 + power * r / n
    small = np.ldexp(power, k.astype(np.int64))
    value = np.where(z < 0, small, 1.0) / (1.0 + small)
    lower, upper = value * (1 - 128 * U), np.minimum(value * (1 + 128 * U), 1.0)
    return np.where(z < -700.0, 0.0, lower), np.where(z > 700.0, 1.0, upper)


class Relu(namedtuple("Relu", "slope")):
    """max(z, slope * z), 0 <= slope <= 1. Extremes of f(z) - s z on [l, u] lie at the ends or the kink."""

    def chord(self, lower: Array, upper: Array) -> Array:
        """About the slope between the ends."""
        low, high = np.minimum(lower, 0.0), np.maximum(upper, 0.0)
        return np.asarray(self.slope + (1 - self.slope) * high / np.maximum(high - low, TINY))

    def slopes(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Usual slopes of a line below and of one above; any others would do."""
        steep = np.maximum(upper, 0.0) > -np.minimum(lower, 0.0)
        return np.where(steep, 1.0, self.slope), self.chord(lower, upper)

    def offset(self, slope: Array, side: int, lower: Array, upper: Array) -> Array:
        """What makes a line of ANY slope valid: least (side -1) or greatest (1) value of f(z) - slope * z."""
        z = np.stack((lower, upper, np.clip(0.0, lower, upper)))
        value, part = np.maximum(z, self.slope * z), slope * z
        spare = 8 * U * (np.abs(value) + np.abs(part)) + TINY
        return side * np.asarray(np.max(side * (value - part) + spare, 0))


class Sigmoid:
    """1 / (1 + exp(-z)): convex below zero, concave above, and 1 - f(-z) = f(z). Methods as of `Relu`."""

    def chord(self, lower: Array, upper: Array) -> Array:
        """About the slope between the ends."""
        return np.asarray((sigmoid(upper)[0] - sigmoid(lower)[0]) / np.maximum(upper - lower, 1e-6))

    def slopes(self, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Of the tangent that touches nearest to the middle and stays on its side; of the chord if none does.

        `offset` makes a line of any slope valid: nothing here needs to be exact.
        """
        return self._below(lower, upper), self._below(-upper, -lower)

    def _below(self, lower: Array, upper: Array) -> Array:
        first, last = lower, np.minimum(upper, 0.0)  # the last point whose tangent is below the upper end
        for _ in range(24):
            t = 0.5 * (first + last)
            value = np.tanh(0.5 * t)  # 2 f(t) - 1
            stays = value + 0.5 * (1 - value * value) * (upper - t) <= np.tanh(0.5 * upper)
            first, last = np.where(stays, t, first), np.where(stays, last, t)
        value = np.tanh(0.5 * np.minimum(0.5 * (lower + upper), first))
        tangent = 0.25 * (1 - value * value)
        return np.asarray(np.where((upper <= 0) | (first > lower), tangent, self.chord(lower, upper)))

    def offset(self, slope: Array, side: int, lower: Array, upper: Array) -> Array:
        """On the convex part by its ends; on the concave part f(z) <= f(t) + f'(t) (z - t) for any t."""
        if side < 0:
            return np.nextafter(1.0 - self.offset(slope, 1, -upper, -lower), -np.inf)
        ends = [sigmoid(z)[1] - slope * z + 8 * U * (1 + np.abs(slope * z)) for z in (lower, upper)]
        convex = np.where(upper <= 0, np.maximum(*ends), np.where(lower < 0, ends[0], -np.inf))
        first, last = np.maximum(lower, 0.0), np.maximum(upper, 0.0)
        root = np.sqrt(1 - 4 * np.clip(slope, 1e-15, 0.25))  # the t with f'(t) = slope loses nothing
        t = np.clip(np.log((1 + root) / np.maximum(1 - root, 1e-15)), first, last)
        (low, high), spare = sigmoid(t), 8 * U * (1 + np.abs(slope))
        least, most = low * (1 - high) - slope - spare, high * (1 - low) - slope + spare  # of f'(t) - slope
        gain = np.maximum(np.maximum(least * (first - t), most * (last - t)), 0.0)
        concave = high - slope * t + gain + 16 * U * (1 + np.abs(slope * t) + gain)
        return np.where(upper > 0, np.maximum(concave, convex), convex)
