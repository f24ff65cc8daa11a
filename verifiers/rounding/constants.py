"""Weights that the forward pass computes from parameters: allowed where that is a mere rearrangement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from robustbench_local.errors import UnsupportedOpError

from ..graph import Computed, Graph, mapped

__all__ = ["check_constants"]

aten = torch.ops.aten

_REARRANGEMENTS: frozenset[Callable[..., Any]] = frozenset(
    {
        aten.t.default,
        aten.transpose.int,
        aten.permute.default,
        aten.numpy_T.default,
        aten.reshape.default,
        aten.view.default,
        aten.flatten.using_ints,
        aten.unsqueeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.squeeze.default,
        aten.expand.default,
        aten.slice.Tensor,
        aten.select.int,
        aten.cat.default,
        aten.stack.default,
        aten.detach.default,
        aten.detach_.default,
        aten.alias.default,
        aten.clone.default,
        aten.contiguous.default,
        aten.lift_fresh_copy.default,
        aten.neg.default,
        aten.flip.default,
        aten.index_select.default,
        aten.zeros.default,
        aten.ones.default,
        aten.full.default,
    }
)


def check_constants(graph: Graph) -> None:
    """Raise UnsupportedOpError where the graph computes weights from weights (weight norm, say)."""
    for node in graph.nodes:
        found: list[Computed] = []

        def collect(value: Any, found: list[Computed] = found) -> Any:
            if isinstance(value, Computed):
                found.append(value)
                mapped((value.args, value.kwargs), collect)
            return value

        mapped((node.args, node.kwargs), collect)
        for constant in found:
            if constant.op not in _REARRANGEMENTS:
                raise UnsupportedOpError(
                    f"no bound of the rounding errors of weights that {constant.op} computes anew",
                    where=f"node {node.name}",
                    cure="store the computed weights (torch.nn.utils.parametrize.remove_parametrizations)",
                )
