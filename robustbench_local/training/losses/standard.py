"""Standard training: cross-entropy on the data as they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .objective import Minibatch, Objective, Term, loss

__all__ = ["Standard"]


@loss("standard")
@dataclass(frozen=True, slots=True)
class Standard:
    """Mean cross-entropy; `smoothing` in [0, 1) is the share of the target spread over all classes."""

    smoothing: float = 0.0

    def bind(self, network: nn.Module, example: Tensor, outputs: int) -> Objective:
        """The objective for `network`; nothing needs to be prepared."""
        del example, outputs

        def objective(batch: Minibatch, /) -> Term:
            value = cross_entropy(network(batch.inputs), batch.labels, label_smoothing=self.smoothing)
            return Term(value, {})

        return objective
