"""Weights of a row made again: its fit, with the engines it may borrow from, and its gate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_local.attacks import pgd
from robustbench_local.errors import GateError, UnknownNameError
from robustbench_local.models import Row, WeightsRecord, build_model, save_weights
from robustbench_local.specs import Query
from robustbench_local.training import INITIALISERS, derived_seed
from robustbench_local.verifiers import IBP, Budget, from_torch

__all__ = ["Engines", "fit_row"]


@dataclass(frozen=True, slots=True)
class Engines:
    """What a fit may borrow: interval bounds that are differentiable in the weights, and PGD."""

    def bounder(self, query: Query) -> Callable[[Query], Tensor]:
        """See `robustbench_local.models.Tools`."""
        network = query.network
        if not isinstance(network, nn.Module):
            raise TypeError(f"the network of a query is a {type(network).__name__}, not a module")
        graph = from_torch(network, query.inputs.centre()[:1].to(_like(network)))
        engine, budget = IBP(), Budget(tighten=True)
        return lambda other: engine.bound(graph, other, budget).upper

    def initialise(self, network: nn.Module, generator: torch.Generator) -> None:
        """See `robustbench_local.models.Tools`."""
        INITIALISERS["uniform"](network, generator)

    def worst(self, query: Query, steps: int, seed: int) -> Tensor:
        """See `robustbench_local.models.Tools`."""
        return pgd(query, steps=steps, step_size=2.5 / steps, early_stop=False, seed=seed).points


def fit_row(row: Row, weights: str, folder: Path, *, seed: int = 0) -> tuple[WeightsRecord, nn.Module]:
    """Trains the weight set `weights` of `row` and writes it to `folder`, in the form of a weights folder.

    The same seed gives the same weights on one machine. Raises UnknownNameError for a weight set that the row
    does not have, and GateError, which names the value expected and the value got, where the row's gate is
    not met: the weights are written nevertheless, to be looked at.
    """
    if weights not in row.fits:
        raise UnknownNameError.of(f"weight set of {row.model!r}", weights, row.fits)
    generator = torch.Generator().manual_seed(derived_seed(seed, row.card.id, weights))
    network = build_model(row.model)
    start = time.process_time()
    row.fits[weights](network, Engines(), generator)
    seconds = time.process_time() - start
    network.eval()
    value = row.gate.measure(network)
    record = save_weights(
        network,
        f"{row.model}:{weights}",
        recipe={"row": row.card.id, "weights": weights, "seed": seed, "gate": row.gate.text},
        metrics={row.gate.metric: value, "train_seconds": round(seconds, 1)},
        folder=folder,
    )
    if not row.gate.met(value):
        raise GateError(
            f"{row.gate.metric} is {value:.6g}, wanted {row.gate.text}",
            where=f"row {row.card.id}, weights {weights!r}",
            cure="train with another --seed, or look at the row's fit",
        )
    return record, network


def _like(network: nn.Module) -> torch.dtype:
    return next((p.dtype for p in network.parameters()), torch.float32)
