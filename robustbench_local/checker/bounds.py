"""Sound bounds of every node over boxes, and lower bounds of linear functions by one backward pass."""

import time
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from .curves import LARGE, MAX, TINY, Array, Rejected, Relu, Sigmoid, U, finite
from .network import Affine, Network


class Bounds:
    """Of every node arrays (L, n) for L boxes: lower, upper, and of affine ones reach >= |W| |x| + |bias|.

    stored: the proof's slopes; `sets` (L or 1, 1) says which of them a pass takes, -1 for the usual ones.
    forms: of every node, if wanted, middle (L, n), factors (L, s, n), rest (L, n): at each point of a box
    there is one u in [-1, 1]^s such that all values are middle + u @ factors, give or take rest; and what no
    part exceeds.
    until: when to give up. rounds: of clipping, where the bounds before prove nothing.
    """

    rounds = 8

    def __init__(self, network: Network, stored: Any, box: list[Array], forms: bool, until: float) -> None:
        self.network, self.slack, self.stored, self.until = network, network.slack, stored, until
        self.lower, self.upper, self.reach = [box[0]], [box[1]], [np.zeros_like(box[0])]
        self.lines, self.forms = dict[Any, tuple[Array, ...]](), list[tuple[Array, ...]]()
        if forms:
            middle = 0.5 * (box[0] + box[1])
            varying = np.union1d([0], np.flatnonzero((box[0] < box[1]).any(0)))
            radius = np.nextafter(np.maximum(box[1] - middle, middle - box[0]), np.inf)
            factors = radius[:, None] * np.equal.outer(varying, np.arange(middle.shape[1]))
            self.forms += [(middle, factors, self.slack * self.size(0) + TINY, np.abs(middle) + radius)]

    def take(self, index: Array) -> "Bounds":
        """Copies of the bounds for some of the boxes, repetitions allowed; without forms."""
        made = Bounds(self.network, self.stored, [self.lower[0], self.upper[0]], False, self.until)
        for own, part in ((made.lower, self.lower), (made.upper, self.upper), (made.reach, self.reach)):
            own[:] = [array[index] for array in part]
        return made

    def size(self, node: int) -> Array:
        """The largest absolute value of every coordinate."""
        return np.maximum(np.abs(self.lower[node]), np.abs(self.upper[node]))

    def add(self, node: int, symbols: int = 0, below: Any = LARGE, above: Any = LARGE) -> None:
        """Bounds of the next node from those of its parents, by intervals and forms (see `_form`), where
        -below <= node <= above is known already.
        """
        parents, operator, slack = self.network.parents[node], self.network.operators[node], self.slack
        join = np.max if operator == MAX else np.sum
        lower, upper = (join([part[p] for p in parents], 0) for part in (self.lower, self.upper))
        size = np.sum([self.size(p) for p in parents], 0)
        spread = slack * size
        if isinstance(operator, Affine):
            middle = 0.5 * (lower + upper)
            radius = np.nextafter(np.maximum(upper - middle, middle - lower), np.inf)
            size, bias = np.nextafter(np.abs(middle) + radius, np.inf), np.abs(operator.bias)
            spread = (operator.absolute(radius + slack * size) + slack * bias) * (1 + slack) + TINY
            lower = upper = operator.apply(middle) + operator.bias
            size = (operator.absolute(size) + bias) * (1 + slack) + TINY
        elif operator not in (None, MAX):
            lower, upper = (operator.offset(0 * size, side, lower, upper) for side in (-1, 1))
        lower, upper = np.nextafter(lower - spread, -np.inf), np.nextafter(upper + spread, np.inf)
        if self.forms:
            middle, factors, rest = self._form(node, symbols)
            spread = np.abs(factors).sum(1) + rest
            self.forms.append((middle, factors, rest, np.abs(middle) + spread))
            radius = (spread + slack * np.abs(middle)) * (1 + slack)
            lower, upper = np.maximum(lower, middle - radius), np.minimum(upper, middle + radius)
        self.lower.append(np.maximum(finite(lower, f"node {node}"), -below))
        self.upper.append(np.minimum(finite(upper, f"node {node}"), above))
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
        ends = [np.max([part[p] for p in parents], 0) for part in (self.lower, self.upper)]
        slope = np.zeros_like(middle) if operator == MAX else operator.chord(*ends)
        least, most = ends if operator == MAX else (operator.offset(slope, side, *ends) for side in (-1, 1))
        rest = np.abs(slope) * (rest + slack * size) + 0.5 * (most - least) + slack * np.abs(most + least)
        new, rest = _named(rest * (1 + slack) + TINY, min(symbols, rest.shape[1]))
        return slope * middle + 0.5 * (most + least), np.concatenate((factors * slope[:, None], new), 1), rest

    def refine(self, node: int, sets: Array, walls: Any = None, rows: Any = None) -> None:
        """Tightens by backward passes what is undecided in some box: the sign for relu, all for sigmoid.

        rows (R,), where only these are wanted: 2 * coordinate for its lower bound, one more for the upper,
        each with slopes of its own where `sets` is (1, R). walls: see `least`.
        """
        lower, upper = self.lower[node], self.upper[node]
        wanted = ((lower < 0) & (upper > 0)) | (node in self.network.smooth)
        rows = 2 * np.flatnonzero(wanted.any(0))[:, None] + [[0, 1]] if rows is None else rows
        step = max(1, 2**18 // (len(lower) * max(self.network.sizes)))  # so that a block stays in a cache
        for i in range(0, rows.size, step):
            if time.monotonic() > self.until:
                raise Rejected("out of time")
            place, above = rows.ravel()[i : i + step] // 2, rows.ravel()[i : i + step] % 2 == 1
            start = np.zeros((len(lower), len(place), lower.shape[1]))
            start[:, np.arange(len(place)), place] = np.where(above, -1.0, 1.0)
            own = sets[:, i : i + step] if sets.shape[1] > 1 else sets
            found = np.where(wanted[:, place], self.least({node: start}, own, walls), -LARGE)
            lower[:, place[~above]] = np.maximum(lower[:, place[~above]], found[:, ~above])
            upper[:, place[above]] = np.minimum(upper[:, place[above]], -found[:, above])
        self.lines.clear()  # of the bounds before

    def least(self, start: Mapping[int, Array], sets: Array, walls: Any = None) -> Array:
        """Lower bounds (L, K) of the sum of <a, node> over rows a (L, K, n) in `start`.

        walls: S linear functions of the input, as `pull` gives them, not above zero at any point that
        matters: any multiples b >= 0 of them may be added. Steps along the gradient look for good ones.
        """
        ends, (a, constant, error) = (self.lower[0], self.upper[0]), self.pull(start, sets, 0.0, 0.0)
        best = self.minimum(*ends, a, constant, error)
        if walls is None:
            return best
        (w, height, spare), middle, radius = walls, 0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0])
        size, sizes = (_dot(np.abs(v), self.size(0)) + np.abs(c) for v, c in ((a, constant), (w, height)))
        spans = [np.maximum(_dot(np.abs(v), radius), 1e-30) for v in (a, w)]
        unit, b = spans[0][:, :, None] / spans[1][:, None] ** 2, np.zeros((*a.shape[:2], w.shape[1]))
        for step in range(12):
            x = middle[:, None] - radius[:, None] * np.sign(a + b @ w)
            b = np.maximum(b + 0.5 * 0.8**step * unit * (x @ w.transpose(0, 2, 1) + height[:, None]), 0.0)
            more = error + _dot(b, spare) + self.slack * (len(w[0]) + 1) * (size + _dot(b, sizes))
            best = np.maximum(best, self.minimum(*ends, a + b @ w, constant + _dot(b, height), more))
        return best

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
        while (node := max(waiting)) > 0:
            a, operator, turns = waiting.pop(node), network.operators[node], tuple[Array, ...]()
            if isinstance(operator, Affine):
                error = error + slack * _dot(np.abs(a), self.reach[node])
                constant = constant + a @ operator.bias
                a = operator.pull(a.reshape(-1, a.shape[2])).reshape(*a.shape[:2], -1)
            elif operator is not None:
                lines = _largest(self, network.parents[node]) if operator == MAX else self._lines(node, sets)
                (below, above, under, over, size), turns = lines[:5], lines[5:]
                error = error + slack * _dot(np.abs(a), size)
                positive, negative = np.maximum(a, 0), np.minimum(a, 0)
                a = positive * below + negative * above
                constant = constant + _dot(positive, under) + _dot(negative, over)
            error = error + slack * np.abs(constant) + TINY
            for number, parent in enumerate(network.parents[node]):
                more, own = parent in waiting, a * turns[0][:, [number]] if turns else a
                waiting[parent] = waiting[parent] + own if more else own
                error = error + (slack * _dot(np.abs(waiting[parent]), self.size(parent)) if more else 0.0)
        return waiting[0], np.asarray(constant), np.asarray(error)

    def _lines(self, node: int, sets: Array) -> tuple[Array, ...]:
        """Slopes below and above, their offsets, and what no line's terms exceed, (L, 1, n); or (L, K, n)
        where `sets` (1 or L, K) has one for each row.
        """
        if (key := (node, sets.shape, sets.tobytes())) not in self.lines:
            parent, curve = self.network.parents[node][0], cast(Relu | Sigmoid, self.network.operators[node])
            lower, upper, name = self.lower[parent][:, None], self.upper[parent][:, None], f"proof/{node}"
            each = np.broadcast_to(sets, (len(lower), sets.shape[1]))
            usual, some = curve.slopes(lower, upper), each >= 0
            slopes = [np.repeat(s, each.shape[1], 1) for s in usual]
            for side, slope in zip(("below", "above"), slopes, strict=True):
                if f"{name}.{side}" in self.stored and bool(some.any()):
                    ids, given = self.stored[f"{name}.ids"], self.stored[f"{name}.{side}"][each[some]]
                    if not bool(np.all(np.abs(given) <= 1e6) and np.all(ids >= 0)):
                        raise Rejected("a slope or its place is out of range")
                    slope[tuple(np.argwhere(some).T[..., None]) + (ids[None],)] = given  # noqa: RUF005
            bends = ((lower < 0) & (upper > 0)) | isinstance(curve, Sigmoid)  # a relu of known sign is linear
            slopes = [np.where(bends, *pair) for pair in zip(slopes, usual, strict=True)]
            offsets = [curve.offset(s, side, lower, upper) for s, side in zip(slopes, (-1, 1), strict=True)]
            steep, high = (np.maximum(*(np.abs(v) for v in pair)) for pair in (slopes, offsets))
            self.lines[key] = (*slopes, *offsets, steep * self.size(parent)[:, None] + high)
        return self.lines[key]


def _largest(bounds: Bounds, parents: tuple[int, ...]) -> tuple[Array, ...]:
    """Lines of a maximum, as of `_lines`, in the input with the highest upper bound; and which one that is
    (L, inputs, n). The maximum lies between this x and max(x, m), where no other input exceeds m.
    """
    ends = [np.stack([part[p] for p in parents], 1) for part in (bounds.lower, bounds.upper)]
    own = np.arange(ends[0].shape[1])[:, None] == ends[1].argmax(1)[:, None]
    low, high = (np.max(end, 1, keepdims=True, where=own, initial=-LARGE) for end in ends)
    least = np.maximum(low, np.max(ends[1], 1, keepdims=True, where=~own, initial=-LARGE))
    slope = np.clip((high - least) / np.maximum(high - low, TINY), 0, 1)
    scale = np.abs(low) + np.abs(high) + np.abs(least)
    over = np.maximum(least - slope * low, high - slope * high) + 32 * U * scale + TINY
    return np.ones_like(slope), slope, np.zeros_like(slope), over, 4 * scale, own


def _named(rest: Array, count: int) -> tuple[Array, Array]:
    """Factors (L, count, n) that are the largest of the rests (L, n), and the other rests."""
    place = np.argpartition(-rest, max(count - 1, 0), 1)[:, :count]
    factors = rest[:, None] * (place[:, :, None] == np.arange(rest.shape[1]))
    np.put_along_axis(rest, place, 0.0, 1)
    return factors, rest


def _dot(a: Array, v: Array) -> Array:
    """<a_k, v_k> per box and row: (L, K, n) with (L, n), (L, 1, n) or (L, K, n) -> (L, K)."""
    v = v.reshape(len(v), -1, a.shape[2])
    return np.asarray((a @ v.swapaxes(1, 2))[..., 0] if v.shape[1] == 1 else np.einsum("lkn,lkn->lk", a, v))
