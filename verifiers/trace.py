"""From a torch module to a `Graph`, through torch.export (no decomposition: one operator per layer)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_local.errors import (
    DtypeError,
    GraphError,
    NonFiniteError,
    RobustBenchError,
    ShapeError,
)

from .exported import ExportedGraph
from .graph import Graph
from .graph_network import GraphNetwork

__all__ = ["from_torch"]


def from_torch(module: nn.Module, example: Tensor) -> Graph:
    """The graph of `module` in evaluation mode.

    `example` is (1 or more, *shape), of the dtype and on the device of the parameters; its values do
    not matter. The batch size stays free. The graph refers to the module's own parameters; which entries a
    mask of minus infinities hides is read now. Composite operators are expanded (verifiers/expansion/).
    GraphError: the module cannot be exported, fixes the batch size, mixes samples, or has several
    inputs or outputs.
    NonFiniteError: a weight is NaN or infinite.
    """
    if not example.is_floating_point():
        raise DtypeError(f"the example input is {example.dtype}", cure="give a float32 or float64 tensor")
    if example.dim() < 2 or example.shape[0] == 0:
        raise ShapeError(
            f"the example input has shape {tuple(example.shape)}",
            cure="give (1 or more, *shape): axis 0 counts samples",
        )
    _check_finite(module)
    if isinstance(module, GraphNetwork):
        return module.graph
    pair = example[:1].repeat(2, *(1 for _ in example.shape[1:]))  # export would specialise a batch of 1
    with _evaluation_mode(module):
        graph = ExportedGraph(_export(module, pair), module).build(example)
        _check_constants(graph)
        _check_same(graph, module, example)
    return graph


def _export(module: nn.Module, example: Tensor) -> Any:
    from torch.export import Dim, export  # heavy: loaded only when a network is traced

    try:
        with warnings.catch_warnings():
            # recurrent layers gather their own parameters in a list, and this changes nothing
            warnings.filterwarnings("ignore", r"The tensor attributes? \S*_flat_weights", UserWarning)
            return export(module, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
    except RobustBenchError:
        raise
    except Exception as error:  # torch.export documents no common base of its failures
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise GraphError(
            f"torch.export cannot trace {type(module).__name__}: {reason[0][:300].rstrip('.')}",
            cure="remove data-dependent control flow from forward; it must take one batched tensor",
        ) from error


def _check_finite(module: nn.Module) -> None:
    """Raise NonFiniteError for NaN or infinite weights; a buffer may hold minus infinities, to mask by."""
    for name, weight in module.named_parameters():
        _refuse_infinite(name, weight)
    for name, buffer in module.named_buffers():
        _refuse_infinite(name, buffer.clamp(min=0) if buffer.is_floating_point() else buffer)


def _check_constants(graph: Graph) -> None:
    """Raise NonFiniteError where a constant that the graph uses is NaN or infinite."""
    for node in graph.resolved().nodes:
        for constant in node.constants():
            _refuse_infinite(f"node {node.name}", constant)


def _refuse_infinite(name: str, tensor: Tensor) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise NonFiniteError(
            "a weight is NaN or infinite",
            where=name,
            cure="retrain or reload the weights; nothing can be proved",
        )


@torch.no_grad()
def _check_same(graph: Graph, module: nn.Module, example: Tensor) -> None:
    """Raise GraphError where the graph is not the module: it then hides what a graph cannot say."""
    noise = torch.rand((3, *example.shape[1:]), generator=torch.Generator().manual_seed(0))
    x = (2 * noise - 1).to(example)
    try:
        expected, got = module(x.clone()), graph.run(x)  # a module may overwrite its input
    except RuntimeError as error:
        raise GraphError(
            f"{type(module).__name__} fails on a batch of 3: {str(error).strip().splitlines()[0][:300]}",
            cure="give an example of the shape and dtype that forward takes",
        ) from error
    if not torch.allclose(got, expected, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise GraphError(
            f"the traced graph of {type(module).__name__} computes something else than the module",
            cure="forward must not compute with the batch size, nor overwrite views of a tensor in place",
        )


@contextlib.contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    """The module in eval mode for a moment; every submodule's own flag is put back."""
    flags = [(m, m.training) for m in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for m, training in flags:
            m.training = training
