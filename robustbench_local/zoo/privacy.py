"""Whether a network gives away who was in its training data, measured by an attack with a loss threshold.

S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, "Privacy risk in machine learning: analyzing the connection to
overfitting", CSF 2018, arXiv 1709.01604. What is found is a lower end: a better attack may learn more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_local.models import Members, Row, load_model
from robustbench_local.training import INITIALISERS

__all__ = ["advantage", "advantages_of", "overfitted_advantage"]

_STEPS, _HIDDEN = 400, 128


def advantage(trained: Tensor, others: Tensor) -> float:
    """How much better than guessing the attack tells the two apart: true minus false positive rate.

    trained, others: losses (N,) and (M,). Whoever has at most the mean loss of the trained is said to be one
    of them. From -1 to 1; NaN where a loss is.
    """
    threshold = trained.mean()
    found = (trained <= threshold).double().mean() - (others <= threshold).double().mean()
    unknown = torch.isnan(torch.cat((trained, others))).any()
    return float(torch.where(unknown, torch.nan, found))


def advantages_of(row: Row) -> dict[str, float]:
    """Weight set of the row -> the attack's advantage; none for a row without members."""
    if row.members is None:
        return {}
    return {name: _measured(load_model(row.model, weights=name), row.members) for name in row.fits}


def overfitted_advantage(row: Row, seed: int = 0) -> float:
    """The attack's advantage over a network that learned random labels of the row's people by heart.

    The control: there is nothing to learn but who they are. Raises ValueError for a row without members.
    """
    if row.members is None:
        raise ValueError(f"row {row.card.id} has no members")
    members, generator = row.members, torch.Generator().manual_seed(seed)
    inputs, labels = (part.detach() for part in members.trained())
    labels = labels[torch.randperm(len(labels), generator=generator)]
    outputs = row.entry.card.outputs
    width = inputs[0].numel()
    network = nn.Sequential(nn.Flatten(), nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, outputs))
    INITIALISERS["uniform"](network, generator)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(_STEPS):
        optimiser.zero_grad()
        torch.autograd.backward(members.loss(network(inputs), labels).mean())
        optimiser.step()

    def others() -> tuple[Tensor, Tensor]:
        rows, right = members.others()
        return rows, right[torch.randperm(len(right), generator=generator)]

    return _measured(network.eval(), Members(lambda: (inputs, labels), others, members.loss))


@torch.inference_mode()
def _measured(network: nn.Module, members: Members) -> float:
    losses = [members.loss(network(rows), labels) for rows, labels in (members.trained(), members.others())]
    return advantage(losses[0], losses[1])
