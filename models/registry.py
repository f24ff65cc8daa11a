"""The registry of models: a card and a builder each; listing it builds no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from robustbench_local.errors import UnknownNameError

from .card import ModelCard

__all__ = ["MODELS", "ModelEntry", "build_model", "model", "parameter_count", "split_name"]

Builder = Callable[[], nn.Module]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One row of the registry: the `card`, and `build`, which makes the untrained network."""

    card: ModelCard
    build: Builder


_MODELS: dict[str, ModelEntry] = {}
MODELS: Mapping[str, ModelEntry] = MappingProxyType(_MODELS)
"""Registry: model name -> its card and builder, filled by `@model` when this package is imported."""


def model(card: ModelCard) -> Callable[[Builder], Builder]:
    """Decorator that registers a builder (no arguments, returns an nn.Module) under `card.name`."""

    def register(build: Builder) -> Builder:
        _MODELS[card.name] = ModelEntry(card, build)
        return build

    return register


def split_name(name: str) -> tuple[str, str | None]:
    """("digits-cnn", "certified") of "digits-cnn:certified"; None where no weight set is named."""
    architecture, colon, weights = name.partition(":")
    return architecture, weights if colon else None


def build_model(name: str) -> nn.Module:
    """The network `name` in evaluation mode with arbitrary weights; the global generator is left as it was.

    Weights are to be filled by an initialiser or a weights file. Raises `UnknownNameError`.
    """
    if name not in MODELS:
        raise UnknownNameError.of("model", name, MODELS)
    # torch's constructors draw their default weights from the global generator: give it back untouched.
    with torch.random.fork_rng(devices=[]):
        return MODELS[name].build().eval()


def parameter_count(module: nn.Module) -> int:
    """The number of trainable numbers of `module`."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
