"""What the robust losses share: the query of a minibatch, and cross-entropy over margins."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustbench_local.errors import DataError
from robustbench_local.specs import Query, robustness

from ..schedule import Schedule
from .objective import Minibatch

__all__ = ["check_range", "margin_cross_entropy", "mixed", "queries"]

Pose = Callable[[Minibatch, float], Query]


def queries(network: nn.Module, example: Tensor, outputs: int, p: float) -> Pose:
    """The function (batch, eps) -> the query "no other class in the lp ball of radius eps within [0, 1]"."""
    spec = robustness(tuple(example.shape[1:]), outputs, p=p)

    def pose(batch: Minibatch, eps: float) -> Query:
        return spec.query(network, x0=batch.inputs, c=batch.labels, eps=eps)

    return pose


def margin_cross_entropy(rows: Tensor) -> Tensor:
    """Mean of log(1 + sum_j exp(rows_j)) for rows (B, K) of margins y_j - y_c, or upper bounds on them.

    With exact margins it is the cross-entropy of class c; with bounds it is an upper bound on it over the
    whole set (Wong and Kolter, arXiv 1711.00851, section 3.3).
    """
    return torch.logsumexp(torch.cat([torch.zeros_like(rows[:, :1]), rows], 1), 1).mean()


def mixed(network: nn.Module, batch: Minibatch, robust: Tensor | None, kappa: float) -> Tensor:
    """kappa times the clean cross-entropy plus (1 - kappa) times `robust`; a term of weight 0 is left out."""
    if robust is None or kappa >= 1:
        return cross_entropy(network(batch.inputs), batch.labels)
    if kappa <= 0:
        return robust
    return kappa * cross_entropy(network(batch.inputs), batch.labels) + (1 - kappa) * robust


def check_range(schedule: Schedule, low: float, high: float, field: str) -> None:
    """Raise `DataError` unless `schedule` stays within [low, high]."""
    if not (low <= schedule.smallest and schedule.largest <= high):
        raise DataError(
            f"values from {schedule.smallest} to {schedule.largest}",
            where=f"field {field!r}",
            cure=f"stay within {low} and {high}",
        )
