"""A proof by splits of the input box, for problems of which few inputs vary.

Every part gets bounds of its hidden nodes of its own, by the checker's own code: what is refuted here is
refuted there. A box is halved along the input that changes an open atom most by its derivative at the centre,
as in ReluVal (Wang et al. 2018, arXiv 1804.10829). Clauses of a problem share their boxes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .claim import Claim
from .enclosure import checker_network, enclosed, refined_nodes
from .rebuilt import rebuilt
from .trees import Branch, Proof, Refuted, Tree

__all__ = ["InputSearch"]

_AT_ONCE = 64  # boxes bounded together
_SPREAD = 0.02  # share of the widths in the score, beside the effect


@dataclass(slots=True, eq=False)
class _Root:
    """Holds the tree of one clause."""

    tree: Tree = None


@dataclass(slots=True, eq=False)
class _Part:
    """A box (n,) of a problem; `open`: for each clause that is not refuted, where its tree hangs."""

    problem: int
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    open: dict[int, tuple[object, str]]


class InputSearch:
    """The search for one claim; `run` gives the proof, complete or not."""

    def __init__(self, claim: Claim, deadline: float, *, cushion: float = 1e-7) -> None:
        self.claim, self.deadline = claim, deadline
        self.graph, _ = rebuilt(claim.network)
        self.network, self.refined = checker_network(claim), refined_nodes(claim)
        centre = torch.from_numpy((claim.lower + claim.upper) / 2)
        outputs = self.graph.run(centre).abs().numpy()
        sizes = np.einsum("bmo,bo->bm", np.abs(claim.C), outputs) + np.abs(claim.d)
        self.enough = cushion * np.maximum(sizes, 1e-3)  # (B, m)
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
        while parts and time.monotonic() < self.deadline:
            batch, parts = parts[-_AT_ONCE:], parts[:-_AT_ONCE]
            parts += self._halves(self._left(batch))
        return Proof([root.tree for root in self.roots], self.refined)

    def _left(self, parts: list[_Part]) -> list[tuple[_Part, int]]:
        """Refutes what the parts' bounds refute; the other parts, each with an atom that is open."""
        problem = [part.problem for part in parts]
        lower, upper = np.stack([p.lower for p in parts]), np.stack([p.upper for p in parts])
        bounds = enclosed(self.network, lower, upper, self.refined)
        start = {len(self.network.sizes) - 1: -self.claim.C[problem]}
        found = bounds.least(start, np.array([-1]), -self.claim.d[problem], 0.0) - self.enough[problem]
        left: list[tuple[_Part, int]] = []
        for part, values in zip(parts, found, strict=True):
            worst, atom = np.inf, -1
            for clause, (holder, side) in list(part.open.items()):
                atoms = [a for a, _ in self.claim.clauses[clause]]
                best = int(values[atoms].argmax())
                if values[atoms[best]] > 0:
                    setattr(holder, side, Refuted(np.eye(len(atoms))[best]))
                    del part.open[clause]
                elif not values[atoms[best]] >= worst:
                    worst, atom = values[atoms[best]], atoms[best]
            if part.open:
                left.append((part, atom))
        return left

    def _halves(self, left: list[tuple[_Part, int]]) -> list[_Part]:
        """Both halves of every part along the input that matters most; none of parts too small to cut."""
        if not left:
            return []
        lower = np.stack([part.lower for part, _ in left])
        upper = np.stack([part.upper for part, _ in left])
        rows = torch.from_numpy(np.stack([self.claim.C[part.problem, atom] for part, atom in left]))
        effect = np.abs(self._gradient(torch.from_numpy((lower + upper) / 2), rows)) * (upper - lower)
        whole = np.stack([self.claim.upper[p.problem] - self.claim.lower[p.problem] for p, _ in left])
        share = effect / np.maximum(effect.sum(1, keepdims=True), 1e-300)
        score = share + _SPREAD * (upper - lower) / np.maximum(whole, 1e-300)
        halves: list[_Part] = []
        for (part, _), axis in zip(left, score.argmax(1).tolist(), strict=True):
            point = float(0.5 * (part.lower[axis] + part.upper[axis]))
            if not part.lower[axis] < point < part.upper[axis]:
                continue
            low, high = part.upper.copy(), part.lower.copy()
            low[axis] = high[axis] = point
            branches = {clause: Branch(0, axis, point, None, None) for clause in part.open}
            for clause, (holder, side) in part.open.items():
                setattr(holder, side, branches[clause])
            sides = {side: {c: (branch, side) for c, branch in branches.items()} for side in ("low", "high")}
            halves.append(_Part(part.problem, part.lower, low, dict(sides["low"])))
            halves.append(_Part(part.problem, high, part.upper, dict(sides["high"])))
        return halves

    def _gradient(self, x: Tensor, rows: Tensor) -> NDArray[np.float64]:
        """The derivatives (L, n) of the rows (L, out) of the outputs at x (L, n)."""
        with torch.enable_grad():
            x = x.requires_grad_()
            total = (self.graph.run(x) * rows).sum()
            found: NDArray[np.float64] = torch.autograd.grad(total, x)[0].numpy()
        return found
