"""Verification with its eyes shut: no attack finds anything, so that only bounds can decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import ATTACKS, AttackResult, Ids
from robustbench_local.specs import Query


def looks_away(
    query: Query,
    *,
    start: Tensor | None = None,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """An attack that looks at nothing but the centre, and reports nothing."""
    like = next(query.network.parameters()) if isinstance(query.network, nn.Module) else torch.zeros(())
    points = query.inputs.project(query.inputs.centre().to(like.dtype))
    count = torch.zeros(query.batch, dtype=torch.long)
    no, yes = count > 0, count == 0
    return AttackResult(
        points, torch.full((query.batch,), -torch.inf).double(), no, count, count, yes, yes, no
    )


@contextmanager
def attacks_off() -> Iterator[None]:
    """Every registered attack looks away."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ATTACKS:
            patch.setitem(ATTACKS, name, looks_away)
        yield
