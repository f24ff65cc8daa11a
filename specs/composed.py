"""The network of a property: its own networks and everything that is computed around them, as one module.

Input: variables and per-sample data (`Layout`). Output: the property's features side by side, (B, n).
Verifiers trace it like any other module, so every operation here is bounded by its operator's rule, and
attacks differentiate through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from .expressions.base import Term, size
from .expressions.leaves import Constant, Data, Label, Param, Var
from .expressions.networks import Tap
from .expressions.scope import Scope
from .layout import Layout
from .query import Query

__all__ = ["Composed", "features_of"]

Network = Callable[[Tensor], Tensor]


class Composed(nn.Module):
    """x (B, *layout.shape) -> the features, flattened row-major and concatenated, (B, n).

    networks: by name of their slot; modules become submodules. shared: data, parameters and one-hot labels
    that all samples share, (1, *shape); they and the property's constants become buffers of the networks'
    dtype, rounded to nearest.
    """

    def __init__(
        self,
        features: Sequence[Term],
        layout: Layout,
        networks: Mapping[str, Network],
        shared: Mapping[str, Tensor],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.features, self.layout = tuple(features), layout
        moving = {block.name for block in layout.blocks}
        self._still = [not moving & _names(feature) for feature in features]
        # one module under two names is kept once: tracing would take it for two
        first = {
            name: next(k for k, n in networks.items() if n is network) for name, network in networks.items()
        }
        self.networks = nn.ModuleDict(
            {k: n for k, n in networks.items() if isinstance(n, nn.Module) and first[k] == k}
        )
        self._functions = {k: n for k, n in networks.items() if not isinstance(n, nn.Module)}
        self._shared_name = {k: f for k, f in first.items() if f in self.networks}
        self._taps = _taps(features)
        constants = {
            node.text: node.number.unsqueeze(0)
            for feature in features
            for node in feature.walk()
            if isinstance(node, Constant)
        }
        self.like: Tensor
        self.register_buffer("like", torch.zeros(0, dtype=self._dtype(), device=device))
        self._shared, self._constants = list(shared), list(constants)
        for i, value in enumerate(shared.values()):
            self.register_buffer(f"shared{i}", value.to(self.like))
        for i, value in enumerate(constants.values()):
            self.register_buffer(f"constant{i}", value.to(self.like))
        self.train(any(network.training for network in self.networks.values()))

    def forward(self, x: Tensor) -> Tensor:
        """The features at x."""
        # no cast where the dtype is the same already: a traced graph then reads the buffers themselves
        shared = {n: getattr(self, f"shared{i}").to(x.dtype) for i, n in enumerate(self._shared)}
        constants = {t: getattr(self, f"constant{i}").to(x.dtype) for i, t in enumerate(self._constants)}
        modules: dict[str, Network] = {k: self.networks[f] for k, f in self._shared_name.items()}
        networks = {**modules, **self._functions}
        scope = Scope({**self.layout.split(x), **shared}, networks, constants, self._taps, self.like)
        parts = [scope.of(feature) for feature in self.features]
        flat = [part.reshape(-1, 1) if part.ndim == 1 else part.flatten(1) for part in parts]
        # f(x0) of data that all samples share is computed once, and repeated
        wide = [p.expand(x.shape[0], -1) if still else p for p, still in zip(flat, self._still, strict=True)]
        return wide[0] if len(wide) == 1 else torch.cat(wide, 1)

    def _dtype(self) -> torch.dtype:
        for module in self.networks.values():
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    return tensor.dtype
        return torch.get_default_dtype()


def features_of(query: Query) -> list[tuple[str, int]]:
    """Text and number of elements of every feature that the query's rows speak of; y where it names none."""
    if isinstance(query.network, Composed):
        return [(feature.text, size(feature.shape)) for feature in query.network.features]
    return [("y", query.C.shape[2])]


def _names(feature: Term) -> set[str]:
    """The variables, data, parameters and labels that a feature reads."""
    return {node.name for node in feature.walk() if isinstance(node, (Var, Data, Param, Label))}


def _taps(features: Sequence[Term]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for feature in features:
        for node in feature.walk():
            if isinstance(node, Tap) and node.node not in found.setdefault(node.net.name, []):
                found[node.net.name].append(node.node)
    return found
