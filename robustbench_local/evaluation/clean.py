"""The forward pass on the unperturbed inputs, as an attack that does not search: clean accuracy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_local.attacks import AttackResult, Ids
from robustbench_local.specs import Query

__all__ = ["clean"]


def clean(
    query: Query,
    *,
    start: Tensor | None = None,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The unperturbed inputs `start` (B, *in), or the sets' centres, and the violation there: one forward
    pass.

    Results tables and reports know these rows by the method name `clean`.
    """
    del seed, ids, deadline
    points = query.inputs.project((query.inputs.centre() if start is None else start).to(_dtype(query)))
    with torch.inference_mode():
        violation = query.violation(points)
        violated = query.violated(points)
    ones = torch.ones(query.batch, dtype=torch.int64, device=points.device)
    return AttackResult(
        points=points,
        violation=violation,
        violated=violated,
        forwards=ones,
        backwards=torch.zeros_like(ones),
        finite=violation.isfinite(),
        blind=torch.zeros_like(ones).bool(),
        complete=ones.bool(),
    )


def _dtype(query: Query) -> torch.dtype:
    """The dtype of the network's weights, else of the user's numbers."""
    network = query.network
    weights = [*network.parameters(), *network.buffers()] if isinstance(network, nn.Module) else []
    return next((w.dtype for w in weights if w.is_floating_point()), query.inputs.dtype)
