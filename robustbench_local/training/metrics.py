"""Accuracies of finished weights: clean, under attack from above, verified from below."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_local.attacks import pgd
from robustbench_local.data import Dataset
from robustbench_local.specs import Query, robustness
from robustbench_local.verifiers import VERIFIERS, Graph, from_torch

__all__ = ["accuracy", "measure"]

STEPS = 40
RESTARTS = 2
MEASURED_VERIFIERS = ("ibp", "crown-ibp", "crown")


def accuracy(network: nn.Module, data: Dataset) -> float:
    """The share of `data` in [0, 1] whose largest logit is at the label, in one forward pass."""
    return _share(_correct(network, data))


def measure(network: nn.Module, data: Dataset, radii: Sequence[float]) -> dict[str, Any]:
    """Clean accuracy, and per linf radius the accuracy under PGD and by each verifier, as JSON data.

    Balls are cut to [0, 1]. PGD takes 40 steps from two random starts. The true robust accuracy at a radius
    lies between the largest verified figure and the one under PGD. Verifiers see only the samples that PGD
    left standing: the others cannot be verified. `network` is in evaluation mode.
    """
    place = next(network.parameters()).device
    inputs, labels = data.inputs.to(place), data.labels.to(place)
    spec = robustness(data.shape, len(data.classes))
    correct = _correct(network, data)
    rows = []
    graph = functools.cache(lambda: from_torch(network, inputs[:1]))  # a stochastic network has no bounds
    for eps in radii:
        query = spec.query(network, x0=inputs, c=labels, eps=eps)
        attacked = pgd(query, steps=STEPS, restarts=RESTARTS, ids=data.ids)
        standing = correct & ~attacked.violated.cpu()
        rest = query.select(standing.nonzero().flatten().to(place))
        row = {"eps": eps, "pgd": _share(standing)}
        for name in MEASURED_VERIFIERS:
            row[name] = round(_verified(name, graph(), rest) / len(data), 6)
        rows.append(row)
    return {"split": data.split, "samples": len(data), "clean": _share(correct), "robust": rows}


def _verified(name: str, graph: Graph, query: Query) -> int:
    if not query.batch:
        return 0
    with torch.inference_mode():
        return int(query.holds(VERIFIERS[name].bound(graph, query).upper).sum())


def _correct(network: nn.Module, data: Dataset) -> Tensor:
    place = next(network.parameters()).device
    with torch.inference_mode():
        predicted: Tensor = network(data.inputs.to(place)).argmax(1).cpu()
    return predicted == data.labels


def _share(chosen: Tensor) -> float:
    return round(float(chosen.double().mean()), 6)
