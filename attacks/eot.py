"""Expectation over transformation: attacks on networks that draw random numbers.

A. Athalye, L. Engstrom, A. Ilyas, K. Kwok, "Synthesizing robust adversarial examples", ICML 2018, arXiv
1707.07397; A. Athalye, N. Carlini, D. Wagner, ICML 2018, arXiv 1802.00420. What a bad point of a random
network is has to be said: here one at which the property is false of the *mean* output, by a one-sided test
at draws that the search has not seen.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from statistics import NormalDist

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .apgd import apgd
from .attack import Attack, AttackResult, attack
from .ensemble import merged
from .frozen_noise import MeanNetwork, drawn
from .random_numbers import Ids, derive_seed, sample_ids

__all__ = ["eot", "expected"]

_ROUNDS = 3
_ERROR = 0.001  # chance, per sample, that the test calls a point bad whose mean output is not


def expected(inner: Attack, *, draws: int = 20, replays: int = 200) -> Attack:
    """The attack `inner` on the mean of `draws` outputs, its points tested at `replays` fresh draws.

    `violated` is then the answer of the test: with confidence 99.9 % (one-sided, normal approximation, over
    all atoms together) the property is false of the mean output. `violation` is that of the mean over the
    fresh draws. Points that fail are attacked again, with other draws and a margin for their spread. Draws
    are functions of the seed (`MeanNetwork`). A network that draws nothing is attacked as by `inner` alone.
    Raises `RobustBenchError` for draws < 1 or replays < 2.
    """
    if draws < 1 or replays < 2:
        raise RobustBenchError(
            f"draws is {draws}, replays {replays}", where="expected", cure="give at least 1 and 2"
        )

    def run(
        query: Query,
        *,
        start: Tensor | None = None,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float | None = None,
    ) -> AttackResult:
        test, numbers = _Test(seed, draws, replays), sample_ids(ids, query.batch, query.inputs.device)
        mean = MeanNetwork(query.network, draws, derive_seed(seed, "search", 0))
        claim = inner(query.with_network(mean), start=start, seed=seed, ids=numbers, deadline=deadline)
        if not mean.random:
            return claim
        result, slack = test(query, claim)
        left = (claim.violated & ~result.violated).nonzero().flatten()
        slack = slack[left]
        for turn in range(1, _ROUNDS):
            if left.numel() == 0 or (deadline is not None and time.monotonic() >= deadline):
                break
            part = query.select(left)
            mean = MeanNetwork(query.network, draws, derive_seed(seed, "search", turn))
            harder = replace(part, d=part.d - slack).with_network(mean)
            start, again = result.points[left], derive_seed(seed, turn)
            claim = inner(harder, start=start, seed=again, ids=numbers[left], deadline=deadline)
            found, slack = test(part, claim)
            result = merged(result, left, found)
            open_ = claim.violated & ~found.violated
            left, slack = left[open_], slack[open_]
        return result

    return run


class _Test:
    """Whether the mean output at points breaks the property, by draws that no search uses."""

    def __init__(self, seed: int, draws: int, replays: int) -> None:
        self._seed, self._draws, self._replays = derive_seed(seed, "test"), draws, replays

    @torch.no_grad()
    def __call__(self, query: Query, claim: AttackResult) -> tuple[AttackResult, Tensor]:
        """The claim with its points tested and its draws paid for, and by how much (B, m) atoms must do
        better in the next search for the test to be passed.
        """
        values = torch.stack([self._atoms(query, claim.points, k) for k in range(self._replays)])
        mean, spread = values.mean(0), values.std(0)
        deviations = NormalDist().inv_cdf(1 - _ERROR / mean.shape[1])
        low = mean - deviations * spread / self._replays**0.5
        violation = query.combine(mean)
        finite = violation.isfinite() & values.isfinite().all(2).all(0)
        inside = query.inputs.contains(claim.points)
        result = replace(
            claim,
            violation=torch.where(finite & inside, violation, torch.nan),
            violated=(query.combine(low) > 0) & finite & inside,
            forwards=claim.forwards * self._draws + self._replays,
            backwards=claim.backwards * self._draws,
            finite=claim.finite & finite,
        )
        return result, spread * (deviations / self._replays**0.5 + 1 / self._draws**0.5)

    def _atoms(self, query: Query, points: Tensor, number: int) -> Tensor:
        return query.atoms(drawn(query.network, points, self._seed, number)[0].double())


@attack("eot")
def eot(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    draws: int = 20,
    replays: int = 200,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """`apgd` on the mean of `draws` outputs of a random network; what counts is as in `expected`."""
    inner = expected(partial(apgd, steps=steps), draws=draws, replays=replays)
    return inner(query, start=start, seed=seed, ids=ids, deadline=deadline)
