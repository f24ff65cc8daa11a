"""The training loop that rows share, for whatever is minimised by gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from robustbench_local.errors import NonFiniteError

__all__ = ["minibatch", "minimise"]


def minimise(
    network: nn.Module,
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    learning_rate: float = 2e-3,
    weight_decay: float = 0.0,
    clip_norm: float = 10.0,
) -> None:
    """Adam (Kingma and Ba, arXiv 1412.6980) for `steps` steps; the rate falls to zero along half a cosine.

    `loss(step)` is the scalar to be made small; gradients are scaled down to the l2 norm `clip_norm`. The
    network is in training mode meanwhile. Raises NonFiniteError when the loss stops being finite.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    network.train()
    for step in range(steps):
        optimizer.zero_grad()
        value = loss(step)
        if not bool(torch.isfinite(value)):
            raise NonFiniteError(
                f"the loss is {float(value)} at step {step}",
                where=type(network).__name__,
                cure="train slower",
            )
        value.backward()
        nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        schedule.step()
    network.eval()


def minibatch(rows: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` row numbers in [0, rows), drawn with replacement."""
    return torch.randint(rows, (size,), generator=generator)
