"""Certified training with interval bounds: cross-entropy at the worst logits an interval pass allows.

Gowal, Dvijotham, Stanforth, Bunel, Qin, Uesato, Arandjelovic, Mann and Kohli, arXiv 1810.12715.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from robustbench_local.verifiers import VERIFIERS, from_torch

from ..schedule import Schedule
from .neighbourhood import check_range, margin_cross_entropy, mixed, queries
from .objective import Minibatch, Objective, Term, loss

__all__ = ["IBP"]


@loss("ibp")
@dataclass(frozen=True, slots=True)
class IBP:
    """kappa * clean + (1 - kappa) * verified cross-entropy, bounded by intervals, radius eps cut to [0, 1].

    `eps` >= 0 ramps up from 0 and `kappa` in [0, 1] comes down from 1 as a rule; `p` is 1, 2 or inf.
    """

    eps: Schedule
    kappa: Schedule
    p: float = math.inf

    def __post_init__(self) -> None:
        check_range(self.eps, 0.0, math.inf, "eps")
        check_range(self.kappa, 0.0, 1.0, "kappa")

    def bind(self, network: nn.Module, example: Tensor, outputs: int) -> Objective:
        """The objective for `network`, whose graph is traced once and reads the live weights.

        Layers that behave differently in training (batch normalisation, dropout) are bounded in their
        evaluation form.
        """
        graph = from_torch(network, example)
        pose = queries(network, example, outputs, self.p)

        def objective(batch: Minibatch, /) -> Term:
            eps, kappa = self.eps(batch.epoch), self.kappa(batch.epoch)
            robust = None
            if eps > 0 and kappa < 1:
                rows = VERIFIERS["ibp"].bound(graph, pose(batch, eps)).rows
                robust = margin_cross_entropy(rows)
            return Term(mixed(network, batch, robust, kappa), {"eps": eps, "kappa": kappa})

        return objective
