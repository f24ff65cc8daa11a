"""What a training loss is: settings that are bound to a network once, then called on every minibatch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

__all__ = ["LOSSES", "Loss", "Minibatch", "Objective", "Term", "loss"]


@dataclass(frozen=True, slots=True, eq=False)
class Minibatch:
    """One step's data: `inputs` (B, *shape), `labels` (B,) int64, `ids` (B,) rows of the data set.

    `epoch` is the place in training, a fraction inside an epoch (2.5 = half way through the third);
    `seed` is the step's own seed for whatever the loss draws.
    """

    inputs: Tensor
    labels: Tensor
    ids: Tensor
    epoch: float
    seed: int


class Term(NamedTuple):
    """A loss: `value`, a differentiable scalar, and `shown`, numbers such as eps for the progress display."""

    value: Tensor
    shown: Mapping[str, float]


class Objective(Protocol):
    """A loss bound to a network."""

    def __call__(self, batch: Minibatch, /) -> Term:
        """The mean loss over `batch`, differentiable in the network's parameters."""
        ...


class Loss(Protocol):
    """Settings of a loss: a frozen dataclass that a recipe's [loss] table fills."""

    def bind(self, network: nn.Module, example: Tensor, outputs: int) -> Objective:
        """The objective for `network`; `example` (1, *shape) is one input, `outputs` the number of classes.

        Work that is needed once, such as tracing the network, belongs here.
        """
        ...


L = TypeVar("L", bound=type[Loss])

_LOSSES: dict[str, type[Loss]] = {}
LOSSES: Mapping[str, type[Loss]] = MappingProxyType(_LOSSES)
"""Registry: the `kind` of a recipe's [loss] table -> its settings."""


def loss(name: str) -> Callable[[L], L]:
    """Class decorator that registers a loss under `name`."""

    def register(settings: L) -> L:
        _LOSSES[name] = settings
        return settings

    return register
