"""Adversarial training: cross-entropy at the points that projected gradient ascent finds.

Madry, Makelov, Schmidt, Tsipras and Vladu, arXiv 1706.06083.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustbench_local.attacks import cross_entropy_loss, pgd
from robustbench_local.errors import DataError

from ..schedule import Schedule
from .neighbourhood import check_range, mixed, queries
from .objective import Minibatch, Objective, Term, loss

__all__ = ["PGD"]


@loss("pgd")
@dataclass(frozen=True, slots=True)
class PGD:
    """kappa * clean + (1 - kappa) * adversarial cross-entropy in lp balls of radius eps cut to [0, 1].

    `eps` >= 0 and `kappa` in [0, 1] are schedules; `steps` >= 1 steps of `step_size` (a fraction of the
    radius) from one random start per sample and training step, or from the sample itself without
    `random_start`: with a single step that overfits. `p` is 1, 2 or inf.
    """

    eps: Schedule
    kappa: Schedule
    steps: int = 7
    step_size: float = 0.25
    p: float = math.inf
    random_start: bool = True

    def __post_init__(self) -> None:
        check_range(self.eps, 0.0, math.inf, "eps")
        check_range(self.kappa, 0.0, 1.0, "kappa")
        if self.steps < 1 or not self.step_size > 0:
            raise DataError(f"settings out of range: {self.steps} steps of {self.step_size}")

    def bind(self, network: nn.Module, example: Tensor, outputs: int) -> Objective:
        """The objective for `network`; the attack sees the weights as they are at each step."""
        pose = queries(network, example, outputs, self.p)

        def objective(batch: Minibatch, /) -> Term:
            eps, kappa = self.eps(batch.epoch), self.kappa(batch.epoch)
            robust = None
            if eps > 0:
                worst = pgd(
                    pose(batch, eps),
                    start=batch.inputs,
                    random_start=self.random_start,
                    steps=self.steps,
                    step_size=self.step_size,
                    early_stop=False,
                    loss=cross_entropy_loss,
                    seed=batch.seed,
                    ids=batch.ids,
                )
                robust = cross_entropy(network(worst.points.detach()), batch.labels)
            return Term(mixed(network, batch, robust, kappa), {"eps": eps, "kappa": kappa})

        return objective
