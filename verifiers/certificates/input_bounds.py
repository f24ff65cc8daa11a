"""Bounds of the atoms on parts of input boxes, as the checker finds them; which way to them pays is tried.

Where a part's excess over the truth falls with the power p of its width, an excess g asks for g^(d/p) parts,
with d inputs that vary: the way goes on that promises the least work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_local.checker import Bounds, Network, Rejected

from .claim import Claim
from .enclosure import checker_network, enclosed, refined_nodes
from .joint import best_weights
from .trees import Way

__all__ = ["Found", "InputBounds"]

_SYMBOLS = (0, 8, 32)
_TRIED, _FEW, _TOO_SLOW = 16, 2, 8.0
_PART = 0.1  # of the time left that one trial may take
_FALL = 5.0  # the power with which a part's excess falls
_AGAIN = 32  # batches until all ways are tried again

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What is known of clauses on L parts by f weighted sums of each one's negated atoms.

    lower (L, c, f): bounds; weights (L, c, f, w); a (L, c, f, n): slopes of linear functions below the sums.
    """

    lower: Array
    weights: Array
    a: Array

    @property
    def best(self) -> Array:
        """The best bounds (L, c)."""
        return np.asarray(self.lower.max(2))


class InputBounds:
    """Bounds parts of the boxes of one claim until the deadline, when they raise the checker's `Rejected`.

    seconds, parts: what the bounds took so far.
    """

    def __init__(self, claim: Claim, deadline: float) -> None:
        self.claim, self.network, self.deadline = claim, checker_network(claim), deadline
        refined = refined_nodes(claim)
        cheap = tuple(Way(s, ()) for s in _SYMBOLS)
        self.ways = (*cheap, Way(-1, refined)) if refined else (Way(-1, ()), cheap[0])
        self.now, self.calls, self.seconds, self.parts = 0, 0, 0.0, 0
        self.lost = [0] * len(self.ways)  # trials in a row that a way was far too slow in
        self.pause = [0] * len(self.ways)  # trials that it sits out
        self.varying = max(1, int((claim.lower < claim.upper).sum(1).max()))
        width = max(len(clause) for clause in claim.clauses)
        atoms = [[atom for atom, _ in clause] for clause in claim.clauses]
        self.index = np.array([one + one[:1] * (width - len(one)) for one in atoms])  # (c, w)
        self.known = np.array([[k < len(one) for k in range(width)] for one in atoms])

    def bound(self, problem: Array, lower: Array, upper: Array, truth: Array) -> Found:
        """Bounds on boxes (L, n) of problems (L,); truth (L,): what the worst clause's bound can reach."""
        self.calls += 1
        if self.calls in (1, 2, 4, 8, 16) or self.calls % _AGAIN == 0:
            self._compare(problem, lower, upper, truth)
        start = time.perf_counter()
        found = self._by(self.ways[self.now], problem, lower, upper, self.deadline)
        self.seconds, self.parts = self.seconds + time.perf_counter() - start, self.parts + len(problem)
        return found

    def _compare(self, problem: Array, lower: Array, upper: Array, truth: Array) -> None:
        """Tries the ways on some parts, and goes on with the one that promises the least work."""
        some, few = slice(-_TRIED, None), slice(-_FEW, None)
        tried = [k for k in range(len(self.ways)) if self.pause[k] == 0 or k == self.now]
        self.pause = [max(0, n - 1) for n in self.pause]
        seconds = {k: self._timed(k, problem[few], lower[few], upper[few])[1] for k in tried}
        work = [np.inf] * len(self.ways)
        for k in tried:
            slow = not seconds[k] <= _TOO_SLOW * min(seconds.values())
            self.lost[k] = self.lost[k] + 1 if slow else 0
            self.pause[k] = 2 ** min(self.lost[k], 16) - 1
            if not slow:
                found, taken = self._timed(k, problem[some], lower[some], upper[some])
                if found is None:
                    continue
                worst = found.best.min(1)
                excess = np.where(worst > 0, 0.0, np.maximum(truth[some] - worst, 0.0))
                work[k] = taken * (1e-30 + float(np.mean(excess ** (self.varying / _FALL))))
        self.now = int(np.argmin(work))

    def _timed(self, k: int, problem: Array, lower: Array, upper: Array) -> tuple[Found | None, float]:
        """What a way finds and how long it takes; infinitely where that is a large part of the time left."""
        start, now = time.thread_time(), time.monotonic()
        until = now + _PART * (self.deadline - now)
        try:
            return self._by(self.ways[k], problem, lower, upper, until), time.thread_time() - start
        except Rejected:
            return None, np.inf

    def _by(self, way: Way, problem: Array, lower: Array, upper: Array, until: float) -> Found:
        network: Network = self.network
        bounds = enclosed(network, lower, upper, way, until)
        C, d = self.claim.C[problem], self.claim.d[problem]
        last, usual = len(network.sizes) - 1, np.array([[-1]])
        a, constant, error = bounds.pull({last: -C}, usual, -d, 0.0)
        value, constant = bounds.minimum(lower, upper, a, constant, error), constant - error
        width = self.index.shape[1]
        single = np.broadcast_to(np.eye(width)[None, None], (len(problem), len(self.index), width, width))
        own = Found(value[:, self.index], single, a[:, self.index])
        return own if width == 1 else self._joined(own, bounds, (problem, lower, upper), constant)

    def _joined(self, own: Found, bounds: Bounds, box: tuple[Array, Array, Array], constant: Array) -> Found:
        """The functions of single atoms, and that of the best weights; `constant`: of the former (L, m)."""
        problem, lower, upper = box
        middle, radius = 0.5 * (lower + upper), 0.5 * (upper - lower)
        heights = constant[:, self.index] + np.einsum("lcwn,ln->lcw", own.a, middle)
        weights = np.zeros((*heights.shape[:2], 1, heights.shape[2]))
        for c, known in enumerate(self.known):
            scaled = own.a[:, c, known] * radius[:, None]
            weights[:, c, 0, known] = best_weights(scaled, heights[:, c, known])
        rows = np.einsum("lcw,lcwo->lco", weights[:, :, 0], self.claim.C[problem][:, self.index])
        shift = np.einsum("lcw,lcw->lc", weights[:, :, 0], self.claim.d[problem][:, self.index])
        # the checker allows for the rounding of these sums: the search stays clear of zero by more
        a, height, error = bounds.pull({len(self.network.sizes) - 1: -rows}, np.array([[-1]]), -shift, 0.0)
        value = bounds.minimum(lower, upper, a, height, error)
        return Found(
            np.concatenate((own.lower, value[:, :, None]), 2),
            np.concatenate((own.weights, weights), 2),
            np.concatenate((own.a, a[:, :, None]), 2),
        )
