"""Optimisers as settings: a registered dataclass each, which makes torch's optimiser for some parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeVar

import torch
from torch import nn

from robustbench_local.errors import DataError

__all__ = ["OPTIMIZERS", "SGD", "Adam", "OptimizerSettings", "optimizer"]


class OptimizerSettings(Protocol):
    """A frozen dataclass of settings; the learning rate is the recipe's, set anew before every step."""

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimiser over `parameters`."""
        ...


S = TypeVar("S", bound=type[OptimizerSettings])

_OPTIMIZERS: dict[str, type[OptimizerSettings]] = {}
OPTIMIZERS: Mapping[str, type[OptimizerSettings]] = MappingProxyType(_OPTIMIZERS)
"""Registry: the `kind` of a recipe's [optimizer] table -> its settings."""


def optimizer(name: str) -> Callable[[S], S]:
    """Class decorator that registers settings under `name`."""

    def register(settings: S) -> S:
        _OPTIMIZERS[name] = settings
        return settings

    return register


@optimizer("adam")
@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980); decay rates in [0, 1), `weight_decay` >= 0 (L2)."""

    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and self.weight_decay >= 0):
            raise DataError(f"settings out of range: {self}")

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh torch Adam."""
        return torch.optim.Adam(
            parameters, betas=(self.beta1, self.beta2), weight_decay=self.weight_decay, foreach=False
        )


@optimizer("sgd")
@dataclass(frozen=True, slots=True)
class SGD:
    """Stochastic gradient descent; `momentum` in [0, 1), `weight_decay` >= 0 (L2), optional Nesterov step."""

    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.momentum < 1 and self.weight_decay >= 0):
            raise DataError(f"settings out of range: {self}")

    def make(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh torch SGD."""
        return torch.optim.SGD(
            parameters,
            lr=0.0,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
            foreach=False,
        )
