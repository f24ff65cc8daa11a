"""How a variable may be drawn at random: laws with independent coordinates."""

# ruff: noqa: D102 (the members of a distribution are described once, by `Distribution`)

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import RadiusError

from .expressions.base import Bindings, Term, term
from .expressions.domains import Domain, box, points_of
from .vocabulary import function

__all__ = ["Distribution", "Law", "Normal", "Uniform", "normal", "uniform"]

_TAILS = 9.0  # standard deviations: a coordinate lies outside with probability 2.3e-19


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """Independent coordinates as numbers, `centre` and `scale` (B, n): normal, or uniform in centre -+ scale.

    Uniform coordinates of scale 0 are fixed.
    """

    centre: Tensor
    scale: Tensor
    normal: bool

    def draw(self, index: int, count: int, generator: torch.Generator) -> Tensor:
        """`count` points of problem `index`, (count, n) float64."""
        centre, scale = self.centre[index], self.scale[index]
        shape = (count, len(centre))
        if self.normal:
            return centre + scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        return centre + scale * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1)

    def mass(self, index: int, lower: Tensor, upper: Tensor) -> Tensor:
        """Lower bounds of the probability of boxes (k, n) of problem `index`: (k,).

        Products of differences of distribution functions, less their rounding errors.
        """
        low, high = (self._standard(index, face) for face in (lower, upper))
        each_axis = torch.where(self.scale[index] > 0, high - low, 1.0)
        n = each_axis.shape[1]
        return (each_axis.clamp(min=0).prod(1) * (1 - 1e-15 * (4 + 2 * n)) - n * 1e-15).clamp(min=0)

    def _standard(self, index: int, face: Tensor) -> Tensor:
        scaled = (face - self.centre[index]) / self.scale[index]
        if self.normal:
            below: Tensor = torch.special.ndtr(scaled)
            return below
        return ((scaled + 1) / 2).clamp(0, 1)


class Distribution(ABC):
    """How a variable is drawn; its coordinates are independent."""

    @property
    @abstractmethod
    def text(self) -> str:
        """Canonical text."""

    @abstractmethod
    def support(self) -> Domain:
        """A box that holds the variable, but for a probability below 1e-18 per coordinate."""

    @abstractmethod
    def law(self, env: Bindings, shape: tuple[int, ...]) -> Law:
        """The distribution as numbers, each (B, n)."""


@dataclass(frozen=True, eq=False)
class Normal(Distribution):
    """Independent normal coordinates with a mean and a standard deviation > 0 (a number, or one each)."""

    mean: Term
    deviation: Term

    @property
    def text(self) -> str:
        return f"normal({self.mean.text}, {self.deviation.text})"

    def support(self) -> Domain:
        return box(self.mean - _TAILS * self.deviation, self.mean + _TAILS * self.deviation)

    def law(self, env: Bindings, shape: tuple[int, ...]) -> Law:
        mean, deviation = points_of(self.mean, env, shape), points_of(self.deviation, env, shape)
        if not bool((deviation > 0).all()):
            raise RadiusError(f"standard deviation `{self.deviation.text}` is not above 0")
        return Law(mean.reshape(env.batch, -1), deviation.reshape(env.batch, -1), True)


@dataclass(frozen=True, eq=False)
class Uniform(Distribution):
    """Independent coordinates, uniform between two ends."""

    lower: Term
    upper: Term

    @property
    def text(self) -> str:
        return f"uniform({self.lower.text}, {self.upper.text})"

    def support(self) -> Domain:
        return box(self.lower, self.upper)

    def law(self, env: Bindings, shape: tuple[int, ...]) -> Law:
        lower, upper = points_of(self.lower, env, shape), points_of(self.upper, env, shape)
        centre, scale = (lower + upper) / 2, (upper - lower) / 2
        return Law(centre.reshape(env.batch, -1), scale.reshape(env.batch, -1), False)


@function("normal")
def normal(mean: object, deviation: object) -> Distribution:
    """Independent normal coordinates: mean and standard deviation, numbers or terms free of variables."""
    return Normal(term(mean), term(deviation))


@function("uniform")
def uniform(lower: object, upper: object) -> Distribution:
    """Independent coordinates, uniform between two ends: numbers or terms free of variables."""
    return Uniform(term(lower), term(upper))
