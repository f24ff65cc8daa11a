"""A smooth network that learned to answer as the attacked one does, from its outputs alone.

N. Papernot et al., "Practical black-box attacks against machine learning", AsiaCCS 2017, arXiv 1602.02697:
what deceives the substitute often deceives the network, whose own gradient may be hidden.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from robustbench_local.specs import Query

from .random_points import points_of

__all__ = ["surrogate_of"]

_MOST = 8192  # points that are learned from: more cost more than they teach
_HIDDEN, _EPOCHS, _BATCH, _RATE = 128, 30, 128, 3e-3


class _Scaled(nn.Module):
    """A perceptron in units of what it was trained on; its outputs have the shape of the network's."""

    def __init__(self, inner: nn.Module, x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.inner, self.x, self.y = inner, x, y

    def forward(self, x: Tensor) -> Tensor:
        """The outputs (B, *out) at x (B, *in)."""
        (from_x, unit_x), (from_y, unit_y) = self.x, self.y
        flat = (x.flatten(1).to(from_x) - from_x) / unit_x
        found: Tensor = self.inner(flat)
        return found.reshape(len(x), *from_y.shape) * unit_y + from_y


def surrogate_of(query: Query, keys: Tensor, points: int) -> nn.Module | None:
    """A perceptron with two layers of tanh, trained on the outputs at `points` random points of each set
    (at most 8,192 in all).

    keys: (b,) of the points' random numbers. Its first weights are drawn from torch's generator. None where
    the network gives no finite outputs, or the same ones everywhere.
    """
    each = max(1, min(points, _MOST // query.batch))
    many = [points_of(query, keys + k, out=bool(k % 2)) for k in range(each)]
    x = torch.cat([query.inputs.centre().to(many[0]), *many])
    with torch.no_grad():
        y = torch.cat([query.network(part.clone()).float() for part in x.split(query.batch)])
    finite = y.flatten(1).isfinite().all(1)
    x, y = x[finite].float(), y[finite]
    if len(y) < 2 or not bool((y != y[0]).any()):
        return None
    flat = x.flatten(1)
    inputs = flat.mean(0), flat.std(0).clamp(min=1e-6)
    outputs = y.mean(0), y.std().clamp(min=1e-12)
    size = math.prod(y.shape[1:])
    inner = nn.Sequential(
        nn.Linear(flat.shape[1], _HIDDEN),
        nn.Tanh(),
        nn.Linear(_HIDDEN, _HIDDEN),
        nn.Tanh(),
        nn.Linear(_HIDDEN, size),
    ).to(flat.device)
    with torch.enable_grad():
        _fit(inner, (flat - inputs[0]) / inputs[1], ((y - outputs[0]) / outputs[1]).flatten(1))
    return _Scaled(inner.requires_grad_(False).eval(), inputs, outputs)


def _fit(network: nn.Module, x: Tensor, y: Tensor) -> None:
    """Adam on the squared error, at a rate that falls to zero."""
    steps = _EPOCHS * -(-len(x) // _BATCH)
    rate = torch.optim.Adam(network.parameters(), lr=_RATE)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(rate, steps)
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(x), device=x.device).split(_BATCH):
            rate.zero_grad()
            (network(x[rows]) - y[rows]).square().mean().backward()
            rate.step()
            fall.step()
