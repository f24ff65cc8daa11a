"""Certified training with CROWN-IBP: linear bounds early in training, interval bounds at its end.

Zhang, Chen, Xiao, Gowal, Stanforth, Li, Boning and Hsieh, ICLR 2020, arXiv 1906.06316.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from robustbench_local.specs import Query
from robustbench_local.verifiers import VERIFIERS, Graph, from_torch

from ..schedule import Schedule
from .neighbourhood import check_range, margin_cross_entropy, mixed, queries
from .objective import Minibatch, Objective, Term, loss

__all__ = ["CROWNIBP"]


@loss("crown-ibp")
@dataclass(frozen=True, slots=True)
class CROWNIBP:
    """kappa * clean + (1 - kappa) * verified cross-entropy with bounds beta * CROWN-IBP + (1 - beta) * IBP.

    `eps` >= 0 ramps up, `beta` in [0, 1] comes down from 1 to 0 as a rule (the linear bound steadies early
    training, the interval bound is what training makes tight), `kappa` in [0, 1]; `p` is 1, 2 or inf.
    """

    eps: Schedule
    beta: Schedule
    kappa: Schedule
    p: float = math.inf

    def __post_init__(self) -> None:
        check_range(self.eps, 0.0, math.inf, "eps")
        check_range(self.beta, 0.0, 1.0, "beta")
        check_range(self.kappa, 0.0, 1.0, "kappa")

    def bind(self, network: nn.Module, example: Tensor, outputs: int) -> Objective:
        """The objective for `network`, whose graph is traced once and reads the live weights.

        Layers that behave differently in training (batch normalisation, dropout) are bounded in their
        evaluation form.
        """
        graph = from_torch(network, example)
        pose = queries(network, example, outputs, self.p)

        def objective(batch: Minibatch, /) -> Term:
            eps, kappa, beta = self.eps(batch.epoch), self.kappa(batch.epoch), self.beta(batch.epoch)
            robust = None
            if eps > 0 and kappa < 1:
                robust = margin_cross_entropy(_rows(graph, pose(batch, eps), beta))
            return Term(mixed(network, batch, robust, kappa), {"eps": eps, "kappa": kappa, "beta": beta})

        return objective


def _rows(graph: Graph, query: Query, beta: float) -> Tensor:
    """The mixed upper bounds (B, K); a bound of weight 0 is not computed."""
    if beta <= 0:
        return VERIFIERS["ibp"].bound(graph, query).rows
    linear = VERIFIERS["crown-ibp"].bound(graph, query).rows
    if beta >= 1:
        return linear
    return beta * linear + (1 - beta) * VERIFIERS["ibp"].bound(graph, query).rows
