"""A proof by splits of the input box, for problems of which few inputs vary.

Every part gets bounds of its hidden nodes of its own, by the checker's own code: what is refuted here is
refuted there. A box is split along the input that changes the open clauses most by the linear functions below
them, as in alpha-beta-CROWN (Wang et al. 2021, arXiv 2103.06624); first, what those functions refute is cut
off. Clauses of a problem share their boxes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.checker import Rejected

from .claim import Claim
from .cuts import Cut, cuts_of
from .input_bounds import Found, InputBounds
from .rebuilt import rebuilt
from .trees import Branch, Proof, Refuted, Tree

__all__ = ["InputSearch"]

_AT_ONCE = 64  # boxes bounded together
_SPREAD, _EXCESS = 0.1, 0.02  # shares of the effects, and of the excess, in the score of every width
_SMALL = 0.3  # what is left by cuts is bounded again before it is split, if it is less than this

Array = NDArray[Any]


@dataclass(slots=True, eq=False)
class _Root:
    """Holds the tree of one clause."""

    tree: Tree = None


@dataclass(slots=True, eq=False)
class _Part:
    """A box (n,) of a problem; `open`: for each clause that is not refuted, where its tree hangs.

    kept: the share of a box with bounds of its own that cuts left.
    """

    problem: int
    lower: Array
    upper: Array
    open: dict[int, tuple[object, str]]
    kept: float = 1.0


class InputSearch:
    """The search for one claim; `run` gives the proof, complete or not."""

    def __init__(self, claim: Claim, deadline: float, *, cushion: float = 1e-7) -> None:
        self.claim, self.deadline = claim, deadline
        self.graph, _ = rebuilt(claim.network)
        self.bounds = InputBounds(claim, deadline)
        outputs = np.abs(self._run((claim.lower + claim.upper) / 2))
        sizes = np.einsum("bmo,bo->bm", np.abs(claim.C), outputs) + np.abs(claim.d)
        enough = cushion * np.maximum(sizes, 1e-3)  # (B, m)
        self.enough = enough[:, self.bounds.index].max(2)  # (B, c)
        self.roots = [_Root() for _ in range(claim.batch * len(claim.clauses))]

    def run(self) -> Proof:
        """The proof as far as time allows."""
        count = len(self.claim.clauses)
        parts = [
            _Part(
                b,
                self.claim.lower[b],
                self.claim.upper[b],
                {c: (self.roots[b * count + c], "tree") for c in range(count)},
            )
            for b in range(self.claim.batch)
        ]
        leaves = 0
        while parts and time.monotonic() + leaves * self._each() < self.deadline:
            batch, parts = parts[-_AT_ONCE:], parts[:-_AT_ONCE]
            try:
                halves = self._halves(batch)
            except Rejected:  # out of time, or numbers beyond all bounds
                break
            leaves += len(batch) - len(halves) // 2
            parts += halves
        return Proof([root.tree for root in self.roots], self.bounds.ways)

    def _each(self) -> float:
        """Seconds that the check of one part takes."""
        return self.bounds.seconds / max(1, self.bounds.parts)

    def _run(self, x: Array) -> Array:
        found: Array = self.graph.run(torch.from_numpy(x)).numpy()
        return found

    def _halves(self, parts: list[_Part]) -> list[_Part]:
        """Refutes what the parts' bounds refute; both sides of the split of every other part."""
        problem = np.array([part.problem for part in parts])
        lower, upper = np.stack([p.lower for p in parts]), np.stack([p.upper for p in parts])
        truth = self._truth(problem, 0.5 * (lower + upper))
        found = self.bounds.bound(problem, lower, upper, truth)
        refuted = found.best > self.enough[problem]
        by = found.lower.argmax(2)
        for k, part in enumerate(parts):
            for clause in [c for c in part.open if refuted[k, c]]:
                holder, side = part.open.pop(clause)
                setattr(holder, side, self._leaf(found, k, clause, int(by[k, clause])))
        open_ = np.array([[c in part.open for c in range(refuted.shape[1])] for part in parts])
        enough = 2 * self.enough[problem]
        cuts, least = cuts_of((lower, upper), found.a, found.lower, enough, open_)
        left: list[tuple[int, _Part]] = []
        for k, part in enumerate(parts):
            if part.open:
                rest = self._trimmed(part, cuts[k], found, (k, least[k] > enough[k, :, None]))
                left += [(k, rest)] if rest.open else []
        return self._split(left, found, open_, truth) if left else []

    def _leaf(self, found: Found, k: int, clause: int, by: int, up: int = 0) -> Refuted:
        """What refutes a clause on (a piece of) part k."""
        weights = found.weights[k, clause, by, : len(self.claim.clauses[clause])]
        return Refuted(weights, way=self.bounds.now, up=up)

    def _trimmed(self, part: _Part, cuts: list[Cut], found: Found, done: tuple[int, Array]) -> _Part:
        """What cuts leave of a part: what they take is refuted by functions on the part's bounds.

        done: the part's number, and which functions (c, f) refute clauses on what is left.
        """
        lower, upper, kept, (k, refuted) = part.lower.copy(), part.upper.copy(), 1.0, done
        places = dict(part.open)
        for count, cut in enumerate(cuts, 1):
            for clause, (holder, side) in places.items():
                gone = self._leaf(found, k, clause, int(cut.by[clause]), count)
                branch = Branch(0, cut.axis, cut.point, *((None, gone) if cut.side > 0 else (gone, None)))
                setattr(holder, side, branch)
                places[clause] = (branch, "low" if cut.side > 0 else "high")
            before = upper[cut.axis] - lower[cut.axis]
            (upper if cut.side > 0 else lower)[cut.axis] = cut.point
            kept *= float((upper[cut.axis] - lower[cut.axis]) / before)
        for clause in [c for c in places if cuts and bool(refuted[c].any())]:
            holder, side = places.pop(clause)
            setattr(holder, side, self._leaf(found, k, clause, int(refuted[clause].argmax()), len(cuts)))
        return _Part(part.problem, lower, upper, places, kept)

    def _split(self, left: list[tuple[int, _Part]], found: Found, open_: Array, truth: Array) -> list[_Part]:
        """Both sides of every part that is left, or once more what is left by cuts if that is little."""
        index = np.array([k for k, _ in left])
        lower, upper = np.stack([p.lower for _, p in left]), np.stack([p.upper for _, p in left])
        width = upper - lower
        problem = np.array([part.problem for _, part in left])
        whole = np.maximum((self.claim.upper - self.claim.lower)[problem], 1e-300)
        slopes = np.abs(found.a[index][:, :, : self.bounds.index.shape[1]])  # those of single atoms
        undecided = (found.lower[index][:, :, : slopes.shape[2]] < 0) & open_[index, :, None]
        effect = (slopes * undecided[..., None]).sum((1, 2)) * width
        total = effect.sum(1)
        gap = np.where(open_[index], truth[index, None] - found.best[index], 0.0).max(1) - 0.5 * total
        share = width / whole / np.maximum((width / whole).sum(1, keepdims=True), 1e-300)
        score = effect + np.maximum(_EXCESS * np.maximum(gap, 0.0), _SPREAD * total)[:, None] * share
        halves: list[_Part] = []
        for (_, part), j in zip(left, score.argmax(1).tolist(), strict=True):
            point = float(0.5 * (part.lower[j] + part.upper[j]))
            if part.kept < _SMALL:
                halves.append(replace(part, kept=1.0))
            elif part.lower[j] < point < part.upper[j]:
                halves += _cut(part, j, point)
        return halves

    def _truth(self, problem: Array, x: Array) -> Array:
        """What no bound (L,) of the least certain clause on parts around points x (L, n) can exceed."""
        C, d = self.claim.C[problem], self.claim.d[problem]
        atoms = np.einsum("lmo,lo->lm", C, self._run(x)) + d
        return np.asarray((-atoms[:, self.bounds.index]).max(2).min(1))


def _cut(part: _Part, axis: int, point: float) -> list[_Part]:
    """Both sides of a part, and the branches of its clauses' trees."""
    low, high = part.upper.copy(), part.lower.copy()
    low[axis] = high[axis] = point
    branches = {clause: Branch(0, axis, point, None, None) for clause in part.open}
    for clause, (holder, side) in part.open.items():
        setattr(holder, side, branches[clause])
    sides = {side: {c: (branch, side) for c, branch in branches.items()} for side in ("low", "high")}
    return [
        _Part(part.problem, part.lower, low, dict(sides["low"])),
        _Part(part.problem, high, part.upper, dict(sides["high"])),
    ]
