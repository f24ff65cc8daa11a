"""What the fair scores share: a small network that ends in log odds, area under the curve, training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..fitting import minibatch, minimise
from ..row import Fit, Tools

__all__ = ["Linear", "Penalty", "Scores", "area_under_curve", "fit_scores", "linear"]

Penalty = Callable[[nn.Module, Tools, torch.Generator], Callable[[], Tensor]]
"""Sets up what else is to be made small while a score is learned: a scalar, computed anew in every step."""


class Scores(nn.Module):
    """features -> hidden -> hidden -> 1 with ReLU; input (B, features), output (B, 1) log odds."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Log odds (B, 1) of rows x (B, features)."""
        odds: Tensor = self.layers(x)
        return odds


class Linear(nn.Module):
    """A score that is a weighted sum: what one can check by hand, for controls."""

    def __init__(self, weights: Tensor, bias: float) -> None:
        super().__init__()
        self.layer = nn.Linear(len(weights), 1)
        with torch.no_grad():
            self.layer.weight.copy_(weights[None])
            self.layer.bias.fill_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Log odds (B, 1) of rows x (B, features)."""
        odds: Tensor = self.layer(x)
        return odds


def linear(features: int, weights: dict[int, float], bias: float = 0.0) -> nn.Module:
    """`Linear` with the given weights, number of the feature -> weight, and zeros elsewhere."""
    row = torch.zeros(features)
    for feature, weight in weights.items():
        row[feature] = weight
    return Linear(row, bias)


def area_under_curve(scores: Tensor, labels: Tensor) -> float:
    """The share of pairs (positive, negative) that scores (N,) put in order, a tie counting half."""
    gaps = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return float(((gaps > 0).double() + (gaps == 0).double() / 2).mean())


def fit_scores(
    data: Callable[[], tuple[Tensor, Tensor]],
    *,
    steps: int,
    penalty: Penalty | None = None,
    weight_decay: float = 1e-4,
) -> Fit:
    """Logistic loss on data() = rows (N, features) and labels (N,), plus the penalty, in batches of 128."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        rows, labels = data()
        extra = None if penalty is None else penalty(network, tools, generator)

        def loss(step: int) -> Tensor:
            chosen = minibatch(len(rows), 128, generator)
            exact = F.binary_cross_entropy_with_logits(network(rows[chosen])[:, 0], labels[chosen].float())
            return exact if extra is None else exact + extra()

        minimise(network, loss, steps=steps, learning_rate=3e-3, weight_decay=weight_decay)

    return fit
