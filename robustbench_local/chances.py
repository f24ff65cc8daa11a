"""The probability that a property is true of a random input: proved bounds, and a statistical interval.

Proved: the support is split into boxes; a verifier shows of a box that the property is true everywhere
in it, or false everywhere. The boxes' probabilities add up to bounds of the whole. Statistical: exact
binomial intervals (C. Clopper, E. Pearson, The use of confidence or fiducial limits, Biometrika 1934);
wrong with a probability of at most 1 - confidence, and therefore never HOLDS.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.errors import NonFiniteError
from robustbench_local.evaluation import Subject
from robustbench_local.specs import Box, Law, Query
from robustbench_local.verifiers import VERIFIERS, Budget, Graph, Verifier

__all__ = ["ChanceBracket", "chance_of"]

_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class ChanceBracket:
    """lower <= probability <= upper, proved; and the interval of `samples` draws at the given confidence.

    `boxes` were bounded. `sampled` is (0, 1) where nothing was drawn.
    """

    lower: float
    upper: float
    sampled: tuple[float, float]
    confidence: float
    samples: int
    boxes: int


def chance_of(
    query: Query,
    law: Law,
    subject: Subject,
    *,
    verifier: Verifier | None = None,
    samples: int = 10_000,
    confidence: float = 0.99,
    timeout: float = 60.0,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> list[ChanceBracket]:
    """The brackets of all problems of a chance, one after the other, each with its share of the time.

    Splitting ends when the proved bounds are within `tolerance`. It needs few random coordinates (about 10);
    with more, the proved bounds stay wide and the statistical interval is what is known.
    """
    if not 0 < confidence < 1:
        raise NonFiniteError(f"confidence {confidence!r}", cure="give a number between 0 and 1")
    bound_by = VERIFIERS["crown"] if verifier is None else verifier
    found = []
    deadline = time.monotonic() + timeout
    for b in range(query.batch):
        share = (deadline - time.monotonic()) / (query.batch - b)
        one = query.select(torch.tensor([b], device=query.d.device))
        hits = _hits(one, law, b, samples, seed, subject.dtype)
        network, graph = subject.exact()  # bounds near zero are not to be decided by rounding
        decider = _Decider(one.with_network(network), graph, bound_by)
        lower, upper, boxes = _split(decider, law, b, share, tolerance)
        interval = _clopper_pearson(hits, samples, 1 - confidence) if samples else (0.0, 1.0)
        found.append(ChanceBracket(lower, upper, interval, confidence, samples, boxes))
    return found


@torch.inference_mode()
def _hits(query: Query, law: Law, index: int, samples: int, seed: int, dtype: torch.dtype) -> int:
    """How many of `samples` draws satisfy the property. A draw whose outputs are not finite does not."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    hits, negated = 0, query.negated()
    for start in range(0, samples, 4096):
        count = min(4096, samples - start)
        points = _joint(query, law.draw(index, count, generator)).to(dtype)
        same = negated.select(torch.zeros(count, dtype=torch.int64, device=query.d.device))
        hits += int(same.violated(points.to(query.d.device)).sum())
    return hits


def _joint(query: Query, draws: Tensor) -> Tensor:
    """Points (k, *in) of draws (k, n) of the variable; what else is in the input is fixed."""
    whole = query.inputs.centre().cpu().expand(len(draws), *query.inputs.shape).flatten(1).clone()
    whole[:, : draws.shape[1]] = draws  # the variable comes first in the layout
    return whole.reshape(len(draws), *query.inputs.shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Decider:
    """What a verifier says of boxes of one problem."""

    query: Query
    graph: Graph
    verifier: Verifier

    @torch.inference_mode()
    def __call__(self, low: Tensor, high: Tensor, deadline: float) -> tuple[Tensor, Tensor]:
        """Of boxes (k, N): where the property is true everywhere, and where false everywhere, (k,) bool."""
        query = self.query
        shape, device, k = query.inputs.shape, query.d.device, len(low)
        faces = (face.reshape(k, *shape).to(device) for face in (low, high))
        inputs = Box(*faces, dtype=query.inputs.dtype)
        many = replace(query, inputs=inputs, C=query.C.expand(k, -1, -1), d=query.d.expand(k, -1))
        budget = Budget(seconds=max(1e-3, deadline - time.monotonic()))
        sides = (many, many.negated())
        found = [side.holds(self.verifier.bound(self.graph, side, budget).upper).cpu() for side in sides]
        return found[0], found[1]


def _split(
    decider: _Decider, law: Law, index: int, seconds: float, tolerance: float
) -> tuple[float, float, int]:
    """Proved bounds of the probability, and the number of boxes bounded; the likeliest box first."""
    deadline = time.monotonic() + seconds
    box = decider.query.inputs.box()
    lower, upper = box.lower.cpu().flatten(1), box.upper.cpu().flatten(1)
    n = law.centre.shape[1]
    true = false = 0.0
    boxes, ties = 0, itertools.count()
    heap = [(-1.0, next(ties), lower, upper)]
    while heap and time.monotonic() < deadline and 1 - true - false > tolerance:
        batch = [heapq.heappop(heap) for _ in range(min(_AT_ONCE, len(heap)))]
        low, high = torch.cat([item[2] for item in batch]), torch.cat([item[3] for item in batch])
        mass = law.mass(index, low[:, :n], high[:, :n])
        holds, fails = decider(low, high, deadline)
        boxes += len(batch)
        true, false = true + float(mass[holds].sum()), false + float(mass[fails & ~holds].sum())
        for k in (~(holds | fails)).nonzero().flatten().tolist():
            for part in _halves(low[k : k + 1], high[k : k + 1], law, index):
                likely = float(law.mass(index, part[0][:, :n], part[1][:, :n]))
                if likely > 0:
                    heapq.heappush(heap, (-likely, next(ties), *part))
    slack = 1e-15 + 3e-16 * boxes  # of the sums
    return max(0.0, true - slack), min(1.0, 1 - false + slack), boxes


def _halves(low: Tensor, high: Tensor, law: Law, index: int) -> list[tuple[Tensor, Tensor]]:
    """The box cut across the axis along which it is widest in units of the distribution's scale."""
    n = law.centre.shape[1]
    scale = law.scale[index]
    width = torch.where(scale > 0, (high - low)[0, :n] / scale, 0.0)
    axis = int(width.argmax())
    middle = float((low[0, axis] + high[0, axis]) / 2)
    if not float(low[0, axis]) < middle < float(high[0, axis]):
        return []
    left, right = high.clone(), low.clone()
    left[0, axis] = right[0, axis] = middle
    return [(low, left), (right, high)]


def _clopper_pearson(hits: int, trials: int, alpha: float) -> tuple[float, float]:
    from scipy.stats import beta

    lower = 0.0 if hits == 0 else float(beta.ppf(alpha / 2, hits, trials - hits + 1))
    upper = 1.0 if hits == trials else float(beta.ppf(1 - alpha / 2, hits + 1, trials - hits))
    return lower, upper
