"""Sound bounds of every node over boxes, and lower bounds of linear functions by one backward pass."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from .curves import LARGE, TINY, Array, Rejected, Relu, Sigmoid, finite
from .network import Affine, Network


class Bounds:
    """Of every node arrays (L, n) for L boxes: lower, upper, and of affine ones reach >= |W| |x| + |bias|.

    stored: the proof's slopes; `sets` (L,) says which of them a pass takes, -1 for the usual ones. forms: of
    every node, if wanted, middle (L, n), factors (L, s, n), rest (L, n): at each point of a box there is one
    u in [-1, 1]^s such that all values are middle + u @ factors, give or take rest; and what no part exceeds.
    until: when to give up.
    """

    until: float = np.inf

    def __init__(self, network: Network, stored: Mapping[str, Array], *parts: list[Array]) -> None:
        self.network, self.stored, (self.lower, self.upper, self.reach) = network, stored, parts
        self.slack = network.slack
        self.lines: dict[tuple[int, bytes], tuple[Array, ...]] = {}
        self.forms: list[tuple[Array, Array, Array, Array]] = []

    def take(self, index: Array) -> "Bounds":
        """Copies of the bounds for some of the boxes, repetitions allowed."""
        return Bounds(
            self.network, self.stored, *([a[index] for a in p] for p in (self.lower, self.upper, self.reach))
        )

    def size(self, node: int) -> Array:
        """The largest absolute value of every coordinate."""
        return np.maximum(np.abs(self.lower[node]), np.abs(self.upper[node]))

    def add(self, node: int, symbols: int = 0) -> None:
        """Bounds of the next node from those of its parents, by intervals and forms (see `_form`)."""
        parents, operator, slack = self.network.parents[node], self.network.operators[node], self.slack
        lower, upper = (np.sum([part[p] for p in parents], 0) for part in (self.lower, self.upper))
        size = np.sum([self.size(p) for p in parents], 0)
        if isinstance(operator, Affine):
            middle = 0.5 * (lower + upper)
            radius = np.nextafter(np.maximum(upper - middle, middle - lower), np.inf)
            size, bias = np.nextafter(np.abs(middle) + radius, np.inf), np.abs(operator.bias)
            spread = (operator.absolute(radius + slack * size) + slack * bias) * (1 + slack) + TINY
            lower = upper = operator.apply(middle) + operator.bias
            size = (operator.absolute(size) + bias) * (1 + slack) + TINY
        elif operator is None:
            spread = slack * size
        else:
            (lower, upper), spread = operator.interval(lower, upper), np.zeros_like(size)
        lower, upper = np.nextafter(lower - spread, -np.inf), np.nextafter(upper + spread, np.inf)
        if self.forms:
            middle, factors, rest = self._form(node, symbols)
            spread = np.abs(factors).sum(1) + rest
            self.forms.append((middle, factors, rest, np.abs(middle) + spread))
            radius = (spread + slack * np.abs(middle)) * (1 + slack)
            lower, upper = np.maximum(lower, middle - radius), np.minimum(upper, middle + radius)
        self.lower.append(finite(lower, f"node {node}"))
        self.upper.append(finite(upper, f"node {node}"))
        self.reach.append(size)

    def _form(self, node: int, symbols: int) -> tuple[Array, Array, Array]:
        """The form of the next node; that of a function has up to `symbols` factors more, the largest rests.

        Symbols are numbered as they come: the same number means the same symbol in every form.
        """
        operator, slack, parents = self.network.operators[node], self.slack, self.network.parents[node]
        middle, rest, size = (np.sum([self.forms[p][k] for p in parents], 0) for k in (0, 2, 3))
        used, own = max(f.shape[1] for _, f, _, _ in self.forms), [self.forms[p][1] for p in parents]
        factors = np.sum([np.pad(f, ((0, 0), (0, used - f.shape[1]), (0, 0))) for f in own], 0)
        if operator is None:
            return middle, factors, (rest + slack * size) * (1 + slack) + TINY
        if isinstance(operator, Affine):
            rest = (operator.absolute(rest + slack * size) + slack * np.abs(operator.bias)) * (1 + slack)
            factors = operator.apply(factors.reshape(-1, factors.shape[2])).reshape(*factors.shape[:2], -1)
            return operator.apply(middle) + operator.bias, factors, rest + TINY
        ends = self.lower[parents[0]], self.upper[parents[0]]
        slope = operator.chord(*ends)
        least, most = (operator.offset(slope, side, *ends) for side in (-1, 1))
        rest = np.abs(slope) * (rest + slack * size) + 0.5 * (most - least) + slack * np.abs(most + least)
        new, rest = _named(rest * (1 + slack) + TINY, min(symbols, rest.shape[1]))
        return slope * middle + 0.5 * (most + least), np.concatenate((factors * slope[:, None], new), 1), rest

    def refine(self, node: int, sets: Array) -> None:
        """Tightens by backward passes what is undecided in some box: the sign for relu, all for sigmoid."""
        lower, upper, network = self.lower[node], self.upper[node], self.network
        wanted = ((lower < 0) & (upper > 0)) | (node in network.smooth)
        open_ = np.flatnonzero(wanted.any(0))
        step = max(1, 2**17 // (len(lower) * max(network.sizes)))  # so that a block stays in a cache
        for part in (open_[i : i + step] for i in range(0, len(open_), step)):
            if time.monotonic() > self.until:
                raise Rejected("out of time")
            rows, place = np.zeros((len(lower), 2 * len(part), lower.shape[1])), np.arange(len(part))
            rows[:, place, part], rows[:, len(part) + place, part] = 1.0, -1.0
            found = np.where(np.tile(wanted[:, part], 2), self.least({node: rows}, sets), -LARGE)
            lower[:, part] = np.maximum(lower[:, part], found[:, : len(part)])
            upper[:, part] = np.minimum(upper[:, part], -found[:, len(part) :])

    def least(self, start: Mapping[int, Array], sets: Array) -> Array:
        """Lower bounds (L, K) of the sum of <a, node> over rows a (L, K, n) in `start`."""
        return self.minimum(self.lower[0], self.upper[0], *self.pull(start, sets, 0.0, 0.0))

    def minimum(self, lower: Array, upper: Array, a: Array, constant: Array, error: Array) -> Array:
        """The least values (L, K) of <a, x> + constant - error over parts of the boxes, a (L, K, n)."""
        least = _dot(np.maximum(a, 0), lower) + _dot(np.minimum(a, 0), upper)
        error = error + self.slack * (_dot(np.abs(a), self.size(0)) + np.abs(constant)) + TINY
        return finite(np.nextafter(constant + least - error * (1 + self.slack), -np.inf), "a bound")

    def pull(self, start: Mapping[int, Array], sets: Array, constant: Any, error: Any) -> tuple[Array, ...]:
        """Rows a (L, K, n) of the input, constant and error (L, K): <a, x> + constant - error is not above
        constant - error + sum of <a, node> over rows a (L, K, n) in `start`.

        At every moment the sum over the waiting rows + constant - error, exactly, stays below that quantity.
        """
        network, slack, waiting = self.network, self.slack, dict(start)
        for node in range(max(start), 0, -1):
            if node not in waiting:
                continue
            a, operator = waiting.pop(node), network.operators[node]
            if isinstance(operator, Affine):
                error = error + slack * _dot(np.abs(a), self.reach[node])
                constant = constant + a @ operator.bias
                a = operator.pull(a.reshape(-1, a.shape[2])).reshape(*a.shape[:2], -1)
            elif operator is not None:
                below, above, under, over, size = self._lines(node, sets)
                error = error + slack * _dot(np.abs(a), size)
                positive = np.maximum(a, 0)
                negative = a - positive
                a = positive * below[:, None] + negative * above[:, None]
                constant = constant + _dot(positive, under) + _dot(negative, over)
            error = error + slack * np.abs(constant) + TINY
            for parent in network.parents[node]:
                if parent in waiting:
                    waiting[parent] = waiting[parent] + a
                    error = error + slack * _dot(np.abs(waiting[parent]), self.size(parent))
                else:
                    waiting[parent] = a
        return waiting[0], np.asarray(constant), np.asarray(error)

    def _lines(self, node: int, sets: Array) -> tuple[Array, ...]:
        """Slopes below and above, their offsets, and what no line's terms exceed, each (L, n)."""
        if (node, sets.tobytes()) not in self.lines:
            parent, curve = self.network.parents[node][0], self.network.operators[node]
            lower, upper, key = self.lower[parent], self.upper[parent], f"proof/{node}"
            assert isinstance(curve, Relu | Sigmoid)
            slopes = curve.slopes(lower, upper)
            each = np.broadcast_to(sets, len(lower))
            some = np.flatnonzero(each >= 0)
            for side, slope in zip(("below", "above"), slopes, strict=True):
                if f"{key}.{side}" in self.stored and len(some):
                    ids, given = self.stored[f"{key}.ids"], self.stored[f"{key}.{side}"][each[some]]
                    if not bool(np.all(np.abs(given) <= 1e6) and np.all(ids >= 0)):
                        raise Rejected("a slope or its place is out of range")
                    slope[some[:, None], ids[None]] = given
            offsets = [curve.offset(s, side, lower, upper) for s, side in zip(slopes, (-1, 1), strict=True)]
            steep, high = (np.maximum(*(np.abs(v) for v in pair)) for pair in (slopes, offsets))
            self.lines[node, sets.tobytes()] = (*slopes, *offsets, steep * self.size(parent) + high)
        return self.lines[node, sets.tobytes()]


def bounds_over(
    network: Network, stored: Mapping[str, Array], box: tuple[Array, Array], forms: bool, until: float
) -> Bounds:
    """Bounds of the input alone, for boxes with corners (L, n), with forms if wanted."""
    lower, upper = box
    bounds = Bounds(network, stored, [lower], [upper], [np.zeros_like(lower)])
    bounds.until = until
    if forms:
        middle, varying = 0.5 * (lower + upper), np.union1d([0], np.flatnonzero((lower < upper).any(0)))
        radius = np.nextafter(np.maximum(upper - middle, middle - lower), np.inf)
        factors = np.zeros((len(lower), len(varying), lower.shape[1]))
        factors[:, np.arange(len(varying)), varying] = radius[:, varying]
        bounds.forms = [(middle, factors, bounds.slack * bounds.size(0) + TINY, np.abs(middle) + radius)]
    return bounds


def _named(rest: Array, count: int) -> tuple[Array, Array]:
    """Factors (L, count, n) that are the largest of the rests (L, n), and the other rests."""
    place = np.argpartition(-rest, max(count - 1, 0), 1)[:, :count]
    factors = np.zeros((*place.shape, rest.shape[1]))
    np.put_along_axis(factors, place[:, :, None], np.take_along_axis(rest, place, 1)[:, :, None], 2)
    np.put_along_axis(rest, place, 0.0, 1)
    return factors, rest


def _dot(a: Array, v: Array) -> Array:
    """<a_k, v> per box and row: (L, K, n), (L, n) -> (L, K)."""
    return np.asarray(np.matmul(a, v[:, :, None])[..., 0])
