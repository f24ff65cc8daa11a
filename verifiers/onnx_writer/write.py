"""`write_onnx`: the entry point of the writer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from robustbench_local.atomic import write_atomically
from robustbench_local.errors import DtypeError, GraphError, ShapeError, UnsupportedOpError
from robustbench_local.version import __version__

from ..graph import Graph, Node, Slot, mapped
from ..graph_network import GraphNetwork
from ..rule import RULES
from ..trace import from_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["write_onnx"]

OPSET, OLDEST, NEWEST = 17, 13, 25
INLINE = 2**31 - 2**24
"""Bytes of weights that fit into one file: protobuf's limit, less what the rest of a model takes."""

_SMALL = 1024  # bytes of a constant that is never put beside the file


def write_onnx(
    network: Graph | nn.Module,
    path: str | Path,
    *,
    input_shape: Sequence[int] | None = None,
    input_name: str = "input",
    output_name: str = "output",
    opset: int = OPSET,
    inline: int = INLINE,
) -> Path:
    """Writes the network as an ONNX file, and returns its path.

    The file computes what the graph computes, for any batch size: its input is (N, *input_shape), its output
    (N, *output_shape), in the graph's dtype (float32 or float64). Operators that ONNX does not have are
    composed of others; weights are in the file, or, above `inline` bytes, in PATH.data beside it. The
    file passes `onnx.checker`, and appears complete or not at all.

    Args:
        network: a graph, or a module in evaluation mode, which is traced on (1, *input_shape); a
            `GraphNetwork` brings its own graph.
        path: of the file; missing folders are made.
        input_shape: of one sample, for a module.
        input_name, output_name: names in the file, not empty and different.
        opset: version of ONNX's operators, 13 to 25.
        inline: the most bytes of weights in the file itself, as most tools can read them.

    Raises ShapeError for a module without `input_shape`, UnsupportedOpError for an operator without
    exporter, DtypeError for weights in half precision, and what `from_torch` raises.
    """
    if not OLDEST <= opset <= NEWEST:
        raise GraphError(f"opset {opset} cannot be written", cure=f"use {OLDEST} to {NEWEST}")
    if not input_name or not output_name or input_name == output_name:
        raise GraphError(
            f"the names {input_name!r} and {output_name!r}", cure="give input and output names of their own"
        )
    graph = _graph(network, input_shape).resolved()
    model, constants = _model(graph, input_name, output_name, opset)
    place = Path(path)
    if sum(array.nbytes for array in constants.values()) > inline:
        _outside(model, constants, place)
    else:
        _inside(model, constants)
        _check(model)
        write_atomically(place, lambda temporary: temporary.write_bytes(model.SerializeToString()))
    return place


def _graph(network: Graph | nn.Module, shape: Sequence[int] | None) -> Graph:
    if isinstance(network, Graph):
        return network
    if isinstance(network, GraphNetwork):
        return network.graph
    if shape is None:
        raise ShapeError(
            "the shape of one input is not known", where="input_shape", cure="give it, e.g. (3, 32, 32)"
        )
    weights = [t for t in (*network.parameters(), *network.buffers()) if t.is_floating_point()]
    like = weights[0] if weights else torch.empty(0)
    return from_torch(network, torch.zeros(1, *shape, dtype=like.dtype, device=like.device))


def _model(graph: Graph, input_name: str, output_name: str, opset: int) -> tuple[Any, dict[str, Any]]:
    """The model without its weights, and these."""
    from onnx import helper

    from .sheet import ELEMENT_TYPES, Sheet

    if graph.dtype not in (torch.float32, torch.float64):
        raise DtypeError(f"a network in {graph.dtype}", cure="write it in float32 or float64")
    sheet = Sheet(opset)
    sheet.fresh(input_name)
    end = sheet.fresh(output_name)
    dtypes = _dtypes(graph)
    names = {graph.input: input_name}
    for node in graph.nodes[1:]:
        names[node] = _exported(sheet, node, names, dtypes)
    last = helper.make_node("Identity", [names[graph.output]], [end], name="the output")
    element = ELEMENT_TYPES[dtypes[graph.output]]
    proto = helper.make_graph(
        [*sheet.nodes, last],
        "robustbench_local",
        [helper.make_tensor_value_info(input_name, ELEMENT_TYPES[graph.dtype], ["N", *graph.input_shape])],
        [helper.make_tensor_value_info(end, element, ["N", *graph.output_shape])],
    )
    opsets = [helper.make_opsetid("", opset)]
    version = max(8, helper.find_min_ir_version_for(opsets))
    facts = {"producer_name": "robustbench_local", "producer_version": __version__}
    return helper.make_model(proto, opset_imports=opsets, ir_version=version, **facts), sheet.constants


def _exported(sheet: Any, node: Node, names: dict[Node, str], dtypes: dict[Node, torch.dtype]) -> str:
    """The name of a node's result, after adding the operators that compute it."""
    from . import exporters as _all  # noqa: F401  (enters every exporter)
    from .call import Call, Ref
    from .exporters.tables import by_matrix
    from .registry import EXPORTERS

    refs = [Ref(names[parent], parent.shape, dtypes[parent]) for parent in node.inputs]

    def fill(value: Any) -> Any:
        return refs[value.index] if isinstance(value, Slot) else value

    call = Call(sheet, node, mapped(node.args, fill), mapped(node.kwargs, fill), dtypes[node])
    assert node.op is not None
    export = EXPORTERS.get(node.op)
    if export is None and node.op in RULES and RULES[node.op].at(node).affine:
        export = by_matrix
    if export is None:
        raise UnsupportedOpError(
            f"no exporter for {node.op}",
            where=f"node {node.name}",
            cure="use other operators, or add one in verifiers/onnx_writer/exporters/",
        )
    return export(call)


@torch.no_grad()
def _dtypes(graph: Graph) -> dict[Node, torch.dtype]:
    """The dtype of every node, by running it on a sample of zeros."""
    values: dict[Node, Tensor] = {
        graph.input: torch.zeros(1, *graph.input_shape, dtype=graph.dtype, device=graph.device)
    }
    for node in graph.nodes[1:]:
        values[node] = node.run(*(values[parent] for parent in node.inputs))
    return {node: value.dtype for node, value in values.items()}


def _inside(model: Any, constants: dict[str, Any]) -> None:
    from onnx import numpy_helper

    model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in constants.items())


def _outside(model: Any, constants: dict[str, Any], path: Path) -> None:
    """The weights to PATH.data, each at a multiple of 4096 bytes, then the model to PATH.

    Small constants stay inside: shapes are inferred from them.
    """
    from onnx import TensorProto, helper

    location = f"{path.name}.data"
    large = {name: array for name, array in constants.items() if array.nbytes > _SMALL}
    _inside(model, {name: array for name, array in constants.items() if name not in large})
    offset, places = 0, []
    for name, array in large.items():
        tensor = TensorProto(
            name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype)
        )
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        model.graph.initializer.append(tensor)
        places.append(offset)
        offset = -(-(offset + array.nbytes) // 4096) * 4096

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            for place, array in zip(places, large.values(), strict=True):
                stream.seek(place)
                stream.write(memoryview(array).cast("B"))

    write_atomically(path.parent / location, write)
    write_atomically(path, lambda temporary: temporary.write_bytes(model.SerializeToString()))


def _check(model: Any) -> None:
    """Raise GraphError where the model is not valid ONNX: an exporter is wrong."""
    from onnx import checker

    try:
        checker.check_model(model)
    except checker.ValidationError as error:
        reason = (str(error).strip().splitlines() or ["it is not valid"])[0][:200].rstrip(".")
        raise GraphError(f"the model fails onnx.checker: {reason}", cure="report this network") from error
