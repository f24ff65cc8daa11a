"""First weights from a generator of their own, never the global one; one registered function each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from robustbench_local.errors import UnsupportedOpError

__all__ = ["INITIALISERS", "Initialiser", "ibp_initialisation", "initialiser", "uniform_initialisation"]

Initialiser = Callable[[nn.Module, torch.Generator], None]

_INITIALISERS: dict[str, Initialiser] = {}
INITIALISERS: Mapping[str, Initialiser] = MappingProxyType(_INITIALISERS)
"""Registry: the `initialiser` of a recipe -> a function that fills a network's weights in place."""

AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d)
NORMALISATION = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


def initialiser(name: str) -> Callable[[Initialiser], Initialiser]:
    """Decorator that registers a function (network, CPU generator) -> None under `name`."""

    def register(fill: Initialiser) -> Initialiser:
        _INITIALISERS[name] = fill
        return fill

    return register


@initialiser("uniform")
def uniform_initialisation(network: nn.Module, generator: torch.Generator) -> None:
    """U(-b, b) with b = 1/sqrt(fan_in) for weights and biases, torch's own default, drawn from `generator`.

    Normalisation layers start as the identity. Raises `UnsupportedOpError` for a layer with parameters
    that has no rule here.
    """
    with torch.no_grad():
        for name, layer in network.named_modules():
            own = list(layer.parameters(recurse=False))
            if isinstance(layer, AFFINE):
                bound = 1 / math.sqrt(_fan_in(layer))
                for parameter in own:
                    parameter.uniform_(-bound, bound, generator=generator)
            elif isinstance(layer, NORMALISATION):
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)
            elif own:
                raise UnsupportedOpError(
                    f"no initialisation for a layer of type {type(layer).__name__}",
                    where=f"layer {name!r}",
                    cure="supported: " + ", ".join(kind.__name__ for kind in (*AFFINE, *NORMALISATION)),
                )


@initialiser("ibp")
def ibp_initialisation(network: nn.Module, generator: torch.Generator) -> None:
    """Weights from N(0, (sqrt(2 pi)/fan_in)^2), so that interval widths neither grow nor shrink with depth.

    The last affine layer and all biases keep the uniform initialisation. Source: Shi, Wang, Zhang, Yi, Hsieh,
    "Fast certified robust training with short warmup", NeurIPS 2021, arXiv 2103.17268, section 4.1.
    """
    uniform_initialisation(network, generator)
    affine = [layer for layer in network.modules() if isinstance(layer, AFFINE)]
    with torch.no_grad():
        for layer in affine[:-1]:
            layer.weight.normal_(0, math.sqrt(2 * math.pi) / _fan_in(layer), generator=generator)


def _fan_in(layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> int:
    return layer.weight[0].numel()
