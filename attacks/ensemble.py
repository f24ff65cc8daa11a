"""Attacks made of attacks: the worst case per sample over several of them."""

from __future__ import annotations

import time

from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import Attack, AttackResult
from .random_numbers import Ids, derive_seed, sample_ids

__all__ = ["merged", "worst_of"]


def worst_of(*attacks: Attack) -> Attack:
    """The attack that runs the given ones in turn and keeps the point of largest violation of each sample.

    Each attack sees only the samples that those before it left unbroken. Forwards and backwards add up,
    and all share one deadline, after which none begins. Raises `RobustBenchError` without any attack.
    """
    if not attacks:
        raise RobustBenchError("the worst of no attacks", where="worst_of", cure="name at least one attack")

    def run(
        query: Query,
        *,
        start: Tensor | None = None,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float | None = None,
    ) -> AttackResult:
        numbers = sample_ids(ids, query.batch, query.inputs.device)
        result = attacks[0](query, start=start, seed=seed, ids=numbers, deadline=deadline)
        for place, member in enumerate(attacks[1:], 1):
            left = (~result.violated).nonzero().flatten()
            if left.numel() == 0:
                break
            if deadline is not None and time.monotonic() >= deadline:
                result.complete[left] = False
                break
            found = member(
                query.select(left),
                start=None if start is None else start[left],
                seed=derive_seed(seed, place),  # members of one name must not draw the same random numbers
                ids=numbers[left],
                deadline=deadline,
            )
            result = merged(result, left, found)
        return result

    return run


def merged(result: AttackResult, left: Tensor, found: AttackResult) -> AttackResult:
    """`result` with what another attack `found` for its rows `left` (b,), where that is worse."""
    old = result.violation[left]
    better = found.violated | (found.violation > old) | (old.isnan() & ~found.violation.isnan())
    rows = left[better]
    return AttackResult(
        points=result.points.index_copy(0, rows, found.points[better]),
        violation=result.violation.index_copy(0, rows, found.violation[better]),
        violated=result.violated.index_copy(0, rows, found.violated[better]),
        forwards=result.forwards.index_add(0, left, found.forwards),
        backwards=result.backwards.index_add(0, left, found.backwards),
        finite=result.finite.index_copy(0, left, result.finite[left] & found.finite),
        blind=result.blind.index_copy(0, left, _blind(result, left, found)),
        complete=result.complete.index_copy(0, left, result.complete[left] & found.complete),
    )


def _blind(result: AttackResult, left: Tensor, found: AttackResult) -> Tensor:
    """Whether of both attacks' gradients at rows `left` (b,) none led anywhere, and there were some."""
    led = (result.backwards[left] > 0) & ~result.blind[left] | (found.backwards > 0) & ~found.blind
    return (result.blind[left] | found.blind) & ~led
