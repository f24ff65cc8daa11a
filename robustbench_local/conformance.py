"""Small networks of which it is known which samples can be broken: a test of attacks, ours and others'.

For each sample it is known in closed form whether a bad point exists in its ball, so an attack can be wrong
in two ways: it misses one, or it claims one that is none. The cases are those in which attacks were found to
fail: walks that pass through bad points and end elsewhere, bad points at the very edge, NaN, saturated
scores, few classes, inputs that are no images, other domains than [0, 1], steps, and random networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

from robustbench_local.specs import Query, robustness

__all__ = ["Case", "Recorder", "conformance_cases"]

_CLEAR = 0.02  # samples whose worst margin is nearer to zero, relative to the largest one, are left out


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A network, samples with labels, a linf ball within bounds, and the truth about each sample.

    network: (B, *shape) -> logits (B, K), float32. inputs: (B, *shape). labels: (B,). breakable: (B,) bool,
    whether the ball holds a point that is classified otherwise; of a random network by its mean output.
    steps, random: what in the network asks for another attack.
    """

    name: str
    network: nn.Module
    inputs: Tensor
    labels: Tensor
    eps: float
    breakable: Tensor
    bounds: tuple[float, float] = (0.0, 1.0)
    steps: bool = False
    random: bool = False

    def select(self, index: Tensor) -> Case:
        """The case with some of its samples."""
        return Case(
            self.name,
            self.network,
            self.inputs[index],
            self.labels[index],
            self.eps,
            self.breakable[index],
            self.bounds,
            self.steps,
            self.random,
        )

    def query(self, network: nn.Module | None = None) -> Query:
        """The property that the labels stay, of the case's network or another one in its place."""
        with torch.no_grad():
            classes = self.network(self.inputs[:1]).shape[1]
        spec = robustness(tuple(self.inputs.shape[1:]), classes, bounds=self.bounds)
        return spec.query(network or self.network, x0=self.inputs, c=self.labels, eps=self.eps)

    def bad(self, points: Tensor, *, draws: int = 400) -> Tensor:
        """Whether points (B, *shape) lie in their balls, up to rounding, and are classified otherwise, (B,).

        Outputs that are not finite prove nothing. Of a random network it is the mean of `draws` outputs.
        """
        with torch.no_grad(), torch.random.fork_rng():
            torch.default_generator.manual_seed(0)
            y = torch.stack([self.network(points) for _ in range(draws if self.random else 1)]).mean(0)
        other = y.scatter(1, self.labels.unsqueeze(1), -torch.inf).amax(1)
        own = y.gather(1, self.labels.unsqueeze(1)).squeeze(1)
        low, high = self.bounds
        gap = (points - self.inputs).flatten(1).abs().amax(1)
        inside = (gap <= self.eps * (1 + 1e-5) + 1e-6) & ((points >= low) & (points <= high)).flatten(1).all(
            1
        )
        return inside & (other > own) & y.isfinite().all(1)


class Recorder(nn.Module):
    """A network that remembers the points it saw, all of them of the single problem of `query`."""

    def __init__(self, query: Query) -> None:
        super().__init__()
        self._inner, self._query = query.network, query
        self._points: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """The network's output (B, *out)."""
        self._points.append(x.detach().clone().reshape(-1, *self._query.inputs.shape))
        return self._inner(x)

    @property
    def seen(self) -> bool:
        """Whether one of them was a bad point of the set beyond doubt of rounding."""
        if not self._points:
            return False
        with torch.no_grad():
            points = torch.cat(self._points)
            many = self._query.select(torch.zeros(len(points), dtype=torch.int64))
            y = self._inner(points)
            clear = many.combine(many.atoms(y)) > 1e-4 * (1 + y.abs().amax(1))
            return bool((many.violated_by(y) & many.inputs.contains(points) & clear).any())


def conformance_cases(samples: int = 8) -> Iterator[Case]:
    """All cases, with up to `samples` samples each, of both kinds where both can be."""
    image, wide = (1, 4, 4), (16,)
    yield _linear("linear", image, 10, samples)
    yield _linear("two classes", image, 2, samples)
    yield _linear("three classes", image, 3, samples)
    yield _linear("no image", wide, 10, samples)
    yield _linear("domain [-1, 1]", image, 10, samples, bounds=(-1.0, 1.0))
    yield _linear("saturated", image, 10, samples, after=lambda y: 1e4 * y)
    yield _linear("probabilities", image, 10, samples, after=lambda y: (3 * y).softmax(1))
    yield _linear("rounded inputs", image, 10, samples, step=lambda x: (x * 8).round() / 8)
    yield _linear("random", image, 10, samples, noise=0.3)
    yield _two_neurons(samples)
    yield from _of_the_mean(samples)


class _Linear(nn.Module):
    """y = after(W step(x)) + noise, with a step that is the same and monotone in each coordinate."""

    def __init__(
        self,
        weight: Tensor,
        step: Callable[[Tensor], Tensor] | None,
        after: Callable[[Tensor], Tensor] | None,
        noise: float,
    ) -> None:
        super().__init__()
        self.weight, self.noise = nn.Parameter(weight, requires_grad=False), noise
        self._step, self._after = step or torch.clone, after or torch.clone

    def scores(self, x: Tensor) -> Tensor:
        """W step(x), (B, K)."""
        return self._step(x.flatten(1)) @ self.weight.T

    def forward(self, x: Tensor) -> Tensor:
        y = self._after(self.scores(x))
        return y + self.noise * torch.randn_like(y) if self.noise else y

    def worst(self, low: Tensor, high: Tensor, labels: Tensor) -> Tensor:
        """The largest margin of a wrong class over boxes low, high (B, n), (B,): ends of each coordinate."""
        rows = self.weight.unsqueeze(0) - self.weight[labels].unsqueeze(1)  # (B, K, n)
        ends = (rows * self._step(edge).unsqueeze(1) for edge in (low, high))
        margins = torch.maximum(*ends).sum(2)
        return margins.scatter(1, labels.unsqueeze(1), -torch.inf).amax(1)


def _linear(
    name: str,
    shape: tuple[int, ...],
    classes: int,
    samples: int,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    step: Callable[[Tensor], Tensor] | None = None,
    after: Callable[[Tensor], Tensor] | None = None,
    noise: float = 0.0,
) -> Case:
    source = torch.Generator().manual_seed(classes)
    size = torch.Size(shape).numel()
    weight = torch.randn(classes, size, generator=source)
    network = _Linear(weight, step, after, noise).eval()
    x = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(40 * samples, *shape, generator=source)
    labels, eps = network.scores(x).argmax(1), 0.1
    low, high = ((x + side * eps).clamp(*bounds).flatten(1) for side in (-1, 1))
    worst = network.worst(low, high, labels)
    clear = worst.abs() > max(_CLEAR * float(worst.abs().max()), noise)
    rows = torch.cat([(clear & kind).nonzero().flatten()[: samples // 2] for kind in (worst > 0, worst < 0)])
    return Case(
        name,
        network,
        x[rows],
        labels[rows],
        eps,
        (worst > 0)[rows],
        bounds,
        steps=step is not None,
        random=noise > 0,
    )


class _Margin(nn.Module):
    """Logits (0, margin(x), -4, ..., -4): class 0 is left where the margin is above zero."""

    def __init__(self, margin: Callable[[Tensor], Tensor], classes: int = 10) -> None:
        super().__init__()
        self._margin, self._classes = margin, classes

    def forward(self, x: Tensor) -> Tensor:
        value = self._margin(x.flatten(1)).unsqueeze(1)
        rest = (0 * value - 4).expand(-1, self._classes - 2)
        return torch.cat([0 * value, value, rest], 1)


def _two_neurons(samples: int) -> Case:
    """relu(a x) + relu(b x) - t is convex: it is largest at one of the corners of a box."""
    source = torch.Generator().manual_seed(1)
    weight = torch.randn(2, 4, generator=source)

    def margin(x: Tensor) -> Tensor:
        return (x @ weight.T - 0.3).relu().sum(1) - 0.5

    x, eps = torch.rand(40 * samples, 1, 2, 2, generator=source), 0.15
    low, high = ((x + side * eps).clamp(0, 1).flatten(1) for side in (-1, 1))
    corners = [torch.where(torch.tensor(ends), high, low) for ends in product([False, True], repeat=4)]
    worst = torch.stack([margin(corner) for corner in corners]).amax(0)
    right = (margin(x.flatten(1)) < -_CLEAR) & (worst.abs() > _CLEAR)
    rows = torch.cat([(right & kind).nonzero().flatten()[: samples // 2] for kind in (worst > 0, worst < 0)])
    labels = torch.zeros(len(rows), dtype=torch.int64)
    return Case("two neurons", _Margin(margin).eval(), x[rows], labels, eps, (worst > 0)[rows])


def _of_the_mean(samples: int) -> Iterator[Case]:
    """Functions of the mean m of four pixels, which reaches m0 - eps to m0 + eps; m0 = 0.3, eps = 0.25."""
    source, eps = torch.Generator().manual_seed(2), 0.25
    noise = torch.rand(samples, 1, 2, 2, generator=source)
    x = 0.3 + 0.02 * (noise - noise.mean((1, 2, 3), keepdim=True))
    labels = torch.zeros(samples, dtype=torch.int64)
    every, none = torch.ones(samples, dtype=torch.bool), torch.zeros(samples, dtype=torch.bool)
    functions: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
        # rises everywhere, bad from 0.36 to 0.48 only: a walk goes straight through
        "walk-through": (lambda m: torch.where((m >= 0.36) & (m <= 0.48), 1.0, -2.0) + m, every),
        # bad in the last fiftieth of the ball
        "thin shell": (lambda m: m - (0.3 + 0.98 * eps), every),
        # bad just outside the ball
        "just outside": (lambda m: m - (0.3 + 1.02 * eps), none),
        # no number where it would be bad
        "nan": (lambda m: torch.where(m > 0.4, torch.nan, m - 0.42), none),
        "infinite": (lambda m: torch.where(m > 0.4, torch.inf, m - 0.42), none),
    }
    for name, (function, truth) in functions.items():
        network = _Margin(partial(_at_mean, function)).eval()
        yield Case(name, network, x, labels, eps, truth)


def _at_mean(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The function (B,) of the mean of x (B, n)."""
    return function(x.mean(1))
