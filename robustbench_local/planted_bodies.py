"""The hidden layers of networks with a planted bump: one function per family, in one registry.

A family's function takes a `Secret` and returns a module in float64 and the shape of one sample; it leaves in
the secret how many features its last layer has, and which of them is the bump.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_local.errors import SpecError

__all__ = ["BODIES", "Secret"]

_PLAIN = 12  # neurons of a hidden layer that have nothing to do with the bump


@dataclass(slots=True, eq=False)
class Secret:
    """The point (n,) in float64, the bump's width, and where all random numbers come from.

    features, place: length of the body's output, and the coordinate of it that is the bump.
    """

    point: Tensor
    width: float
    generator: torch.Generator
    features: int = 0
    place: int = 0

    def normal(self, *shape: int) -> Tensor:
        """Weights (out, in, ...) of standard deviation 1 / sqrt(in)."""
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return noise / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else noise / 2

    def rotation(self, size: int) -> Tensor:
        """A random orthogonal matrix."""
        noise = torch.randn(size, size, generator=self.generator, dtype=torch.float64)
        factors: tuple[Tensor, Tensor] = torch.linalg.qr(noise)
        return factors[0]

    def order(self, size: int) -> Tensor:
        """A random permutation."""
        return torch.randperm(size, generator=self.generator)

    def sizes(self, size: int) -> Tensor:
        """Positive numbers from 1/4 to 4, by which the neurons of a layer are rescaled."""
        return torch.exp2(4 * torch.rand(size, generator=self.generator, dtype=torch.float64) - 2)

    def axes(self) -> tuple[Tensor, Tensor]:
        """Rows (n, n) and offsets (n,) of t, the rotated distance to the point in units of the width."""
        rows = self.rotation(len(self.point)) / self.width
        return rows, -(rows @ self.point)


Body = Callable[[Secret], tuple[nn.Module, tuple[int, ...]]]

BODIES: dict[str, Body] = {}
"""Name of a family -> the function that builds its hidden layers."""


def _family(name: str) -> Callable[[Body], Body]:
    def enter(body: Body) -> Body:
        BODIES[name] = body
        return body

    return enter


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


def _beside(first: Tensor, second: Tensor) -> Tensor:
    """Rows of two layers that look at different neurons."""
    rows: Tensor = torch.block_diag(first, second)
    return rows


def _shuffled(secret: Secret, before: nn.Linear, after: nn.Linear) -> None:
    """Reorders and rescales the ReLU neurons between two layers; what the two compute stays."""
    order, size = secret.order(before.out_features), secret.sizes(before.out_features)
    with torch.no_grad():
        before.weight.copy_((before.weight * size[:, None])[order])
        before.bias.copy_((before.bias * size)[order])
        after.weight.copy_((after.weight / size)[:, order])


def _ended(secret: Secret, last: nn.Linear) -> None:
    """Reorders and rescales the ReLU features of the last layer, the bump being the last row so far."""
    order, size = secret.order(last.out_features), secret.sizes(last.out_features)
    with torch.no_grad():
        last.weight.copy_((last.weight * size[:, None])[order])
        last.bias.copy_((last.bias * size)[order])
    secret.features = last.out_features
    secret.place = int((order == last.out_features - 1).nonzero())


def _cone(secret: Secret, rows: Tensor, offsets: Tensor, plain: Tensor) -> tuple[nn.Linear, nn.Linear]:
    """Layers with ReLU after each: beside `plain` rows, relu(1 - sum |t_i|) of t = rows @ z + offsets."""
    n = len(rows)
    first = _linear(
        torch.cat((plain, rows, -rows)), torch.cat((secret.normal(len(plain)), offsets, -offsets))
    )
    inner = _beside(secret.normal(_PLAIN, len(plain)), -torch.ones(1, 2 * n, dtype=torch.float64))
    second = _linear(inner, torch.cat((secret.normal(_PLAIN), torch.ones(1, dtype=torch.float64))))
    _shuffled(secret, first, second)
    _ended(secret, second)
    return first, second


@_family("dense")
def _dense(secret: Secret) -> tuple[nn.Module, tuple[int, ...]]:
    rows, offsets = secret.axes()
    first, second = _cone(secret, rows, offsets, secret.normal(_PLAIN, len(rows)))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), (len(rows),)


@_family("conv")
def _conv(secret: Secret) -> tuple[nn.Module, tuple[int, ...]]:
    """Among the channels is one that carries the image through, in other units: there the bump looks."""
    n, side = len(secret.point), math.isqrt(len(secret.point))
    if side * side != n:
        raise SpecError(f"an image of {n} pixels is no square", cure="give a square number as the size")
    channels, factor = 3, float(secret.sizes(1)) * (-1.0 if int(secret.order(2)[0]) else 1.0)
    conv = nn.Conv2d(1, channels + 1, 3, padding=1, dtype=torch.float64)
    carrier, shift = int(secret.order(channels + 1)[0]), abs(factor) + 0.25
    with torch.no_grad():
        bias = secret.normal(channels + 1)
        bias[carrier] = shift  # positive everywhere: the ReLU after it changes nothing
        conv.weight.copy_(secret.normal(channels + 1, 1, 3, 3))
        conv.weight[carrier].zero_()[0, 1, 1] = factor
        conv.bias = nn.Parameter(bias)
    rows, offsets = secret.axes()
    wide = torch.zeros(n, channels + 1, n, dtype=torch.float64)
    wide[:, carrier] = rows / factor
    offsets = offsets - shift * wide[:, carrier].sum(1)
    first, second = _cone(secret, wide.flatten(1), offsets, secret.normal(_PLAIN, n * (channels + 1)))
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), first, nn.ReLU(), second, nn.ReLU()), (1, side, side)


class _Block(nn.Module):
    """x + after(relu(before(x)))."""

    def __init__(self, before: nn.Linear, after: nn.Linear) -> None:
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.after(torch.relu(self.before(x)))
        return result


@_family("residual")
def _residual(secret: Secret) -> tuple[nn.Module, tuple[int, ...]]:
    """A rotated stream: the input, plain features, a sum of distances, and the bump."""
    n, plain = len(secret.point), 6
    width, total, bump = n + plain + 2, n + plain, n + plain + 1
    turn = secret.rotation(width)  # stream = turn @ (x, plain, sum, bump)
    rows, offsets = secret.axes()
    seen = torch.zeros(_PLAIN + 2 * n, width, dtype=torch.float64)
    seen[:_PLAIN, : n + plain] = secret.normal(_PLAIN, n + plain)
    seen[_PLAIN:, :n] = torch.cat((rows, -rows))
    written = torch.zeros(width, _PLAIN + 2 * n, dtype=torch.float64)
    written[n:total, :_PLAIN] = secret.normal(plain, _PLAIN)
    written[total, _PLAIN:] = -1.0
    one = torch.zeros(width, dtype=torch.float64)
    one[total] = 1.0
    before = _linear(seen @ turn.T, torch.cat((secret.normal(_PLAIN), offsets, -offsets)))
    first = _Block(before, _linear(turn @ written, turn @ one))
    _shuffled(secret, first.before, first.after)
    seen, written = torch.zeros(2, width, _PLAIN + 1, dtype=torch.float64).unbind()
    seen[: n + plain, :_PLAIN] = secret.normal(_PLAIN, n + plain).T
    seen[total, _PLAIN] = 1.0
    written[n:total, :_PLAIN] = secret.normal(plain, _PLAIN)
    written[bump, _PLAIN] = 1.0
    before = _linear(seen.T @ turn.T, torch.cat((secret.normal(_PLAIN), one.new_zeros(1))))
    second = _Block(before, _linear(turn @ written, one.new_zeros(width)))
    _shuffled(secret, second.before, second.after)
    embed = _linear(turn[:, :n], one.new_zeros(width))
    kept = [*range(n, total), bump]
    last = _linear(turn.T[kept], one.new_zeros(plain + 1))
    _ended(secret, last)
    return nn.Sequential(embed, first, second, last), (n,)


class _Grouped(nn.Module):
    """The largest of every `size` neighbours, (B, n * size) to (B, n)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(size)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.pool(x.unsqueeze(1)).squeeze(1)
        return result


@_family("pooling")
def _pooling(secret: Secret) -> tuple[nn.Module, tuple[int, ...]]:
    """relu(1 - max |t_i|), the maximum over one of several pools."""
    n, groups = len(secret.point), 4
    rows, offsets = secret.axes()
    shuffle, chosen = secret.order(2 * n), int(secret.order(groups)[0])
    weight, bias = secret.normal(groups * 2 * n, n), secret.normal(groups * 2 * n)
    own = slice(2 * n * chosen, 2 * n * (chosen + 1))
    weight[own], bias[own] = torch.cat((rows, -rows))[shuffle], torch.cat((offsets, -offsets))[shuffle]
    inner, offset = secret.normal(_PLAIN + 1, groups), secret.normal(_PLAIN + 1)
    inner[:_PLAIN, chosen] = 0.0
    inner[_PLAIN].zero_()[chosen] = -1.0
    offset[_PLAIN] = 1.0
    second = _linear(inner, offset)
    _ended(secret, second)
    return nn.Sequential(_linear(weight, bias), _Grouped(2 * n), second, nn.ReLU()), (n,)


@_family("sigmoid")
def _sigmoid(secret: Secret) -> tuple[nn.Module, tuple[int, ...]]:
    """A bump along every axis from two steps, and a last step where all of them are there at once."""
    n, steep, sharp = len(secret.point), 8.0, 20.0
    rows, offsets = secret.axes()
    steps = torch.cat((steep * (offsets + 1), steep * (offsets - 1)))
    plain = secret.normal(_PLAIN, n)
    first = _linear(torch.cat((plain, steep * rows, steep * rows)), torch.cat((secret.normal(_PLAIN), steps)))
    signs = torch.cat((torch.ones(n), -torch.ones(n))).double().unsqueeze(0)
    inner = _beside(2 * secret.normal(_PLAIN, _PLAIN), sharp * signs)
    second = _linear(inner, torch.cat((secret.normal(_PLAIN), signs.new_tensor([-sharp * (n - 0.5)]))))
    order, last = secret.order(first.out_features), secret.order(second.out_features)
    with torch.no_grad():
        first.weight.copy_(first.weight[order])
        first.bias.copy_(first.bias[order])
        second.weight.copy_(second.weight[:, order][last])
        second.bias.copy_(second.bias[last])
    secret.features, secret.place = second.out_features, int((last == second.out_features - 1).nonzero())
    return nn.Sequential(first, nn.Sigmoid(), second, nn.Sigmoid()), (n,)
