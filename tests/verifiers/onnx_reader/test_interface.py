"""Several inputs and outputs, their names, and inner values by name."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from robustbench_local.errors import GraphError, UnknownNameError
from robustbench_local.models import model_hash
from robustbench_local.verifiers import CROWN, GraphNetwork, from_onnx, from_torch, output_bounds

from .models import floats, relative_error, session

Shape = Sequence[int | str]


def model(
    nodes: Sequence[Any],
    inputs: dict[str, Shape],
    outputs: Sequence[str],
    weights: dict[str, Any] | None = None,
) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "network",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, list(s)) for n, s in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def two_towers(batch: int | str = 1, outputs: Sequence[str] = ("sum", "largest", "place")) -> Any:
    """A dense tower over a state, a convolution over an image, a number: three inputs, several outputs."""
    nodes = [
        helper.make_node("MatMul", ["state", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["r"]),
        helper.make_node("Conv", ["image", "k"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Mul", ["f", "gain"], ["m"]),
        helper.make_node("Add", ["r", "m"], ["sum"]),
        helper.make_node("ReduceMax", ["sum"], ["largest"], axes=[1], keepdims=0),
        helper.make_node("ArgMax", ["sum"], ["place"], axis=1, keepdims=0),
        helper.make_node("Identity", ["b"], ["constant"]),
    ]
    weights = {"w": floats(1, 3, 4), "b": floats(2, 4), "k": floats(3, 4, 1, 2, 2)}
    inputs: dict[str, Shape] = {"state": (batch, 3), "image": (batch, 1, 4, 3), "gain": ()}
    return model(nodes, inputs, outputs, weights)


def reference(given: Any, x: Tensor, network: GraphNetwork) -> Tensor:
    """onnxruntime's outputs, flat, on samples x that are all inputs, flat."""
    run = session(given)
    sizes = [int(np.prod(shape)) for shape in network.input_shapes]
    rows = []
    for sample in x:
        parts = zip(network.input_names, sample.split(sizes), network.input_shapes, strict=True)
        feeds = {name: part.reshape(shape).numpy() for name, part, shape in parts}
        results = run.run(list(network.output_names), feeds)
        rows.append(torch.cat([torch.from_numpy(np.asarray(r)).reshape(-1).float() for r in results]))
    return torch.stack(rows)


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize(
    "outputs",
    [("sum",), ("place",), ("largest", "sum"), ("sum", "largest", "place"), ("constant", "sum")],
)
def test_inputs_and_outputs_are_flat_in_the_order_of_the_file(
    batch: int | str, outputs: Sequence[str]
) -> None:
    pytest.importorskip("onnxruntime")
    given = two_towers(batch, outputs)
    network = GraphNetwork(from_onnx(given))
    assert network.graph.input_shape == (16,)
    assert network.input_names == ("state", "image", "gain")
    assert network.input_shapes == ((1, 3), (1, 1, 4, 3), ())
    assert network.output_names == tuple(outputs)
    shapes = {"sum": (1, 4), "largest": (1,), "place": (1,), "constant": (4,)}
    assert network.output_shapes == tuple(shapes[name] for name in outputs)
    x = torch.tensor(floats(5, 7, 16))
    wanted = reference(given, x, network)
    assert network(x).dtype is torch.float32
    assert relative_error(network(x).flatten(1), wanted) < 1e-6


def test_bounds_of_several_inputs_enclose() -> None:
    graph = from_onnx(two_towers(outputs=("sum", "largest")))
    x = torch.tensor(floats(5, 200, 16))
    lower, upper = output_bounds(graph, -torch.ones(1, 16), torch.ones(1, 16), CROWN())
    y = graph.run(x)
    assert bool(((lower <= y) & (y <= upper)).all())


def test_taps_are_the_values_of_the_file() -> None:
    pytest.importorskip("onnxruntime")
    names = ["p", "hidden", "r", "c", "g", "f", "m", "sum", "place"]
    network = GraphNetwork(from_onnx(two_towers()))
    x = torch.tensor(floats(5, 7, 16))
    found = network.taps(x, names)
    assert list(found) == names
    assert found["c"].shape == (7, 4, 3, 2) and network.value_shapes["c"] == (1, 4, 3, 2)
    flat = torch.cat([found[n].reshape(7, -1).float() for n in names], 1)
    wanted = reference(two_towers(outputs=names), x, GraphNetwork(from_onnx(two_towers(outputs=names))))
    assert relative_error(flat, wanted) < 1e-6
    assert torch.equal(network.taps(x, ["state"])["state"], x[:, :3])


def test_merged_and_skipped_values_are_there() -> None:
    """The product of a MatMul with its bias; the graph stays as it is without taps."""
    network = GraphNetwork(from_onnx(two_towers(outputs=("r",))))
    assert [str(n.op) for n in network.graph.nodes[1:]] == [
        "aten.slice.Tensor",
        "aten.linear.default",
        "aten.relu.default",
    ]
    x = torch.tensor(floats(5, 7, 16))
    product = network.taps(x, ["p"])["p"]
    assert torch.allclose(product, x[:, :3] @ torch.tensor(floats(1, 3, 4)), atol=1e-6)


def test_an_unknown_tap_is_named_with_what_there_is() -> None:
    network = GraphNetwork(from_onnx(two_towers()))
    with pytest.raises(UnknownNameError, match=r"'q'.*'?sum"):
        network.taps(torch.zeros(1, 16), ["q"])
    with pytest.raises(UnknownNameError, match="depends on its input"):
        network.taps(torch.zeros(1, 16), ["b"])


def test_taps_follow_the_weights() -> None:
    network = GraphNetwork(from_onnx(two_towers()))
    x = torch.tensor(floats(5, 7, 16))
    before = network.taps(x, ["p", "sum"])
    twin = copy.deepcopy(network)
    assert torch.equal(twin.taps(x, ["p"])["p"], before["p"])
    hash_before = model_hash(network)
    double = twin.double().taps(x.double(), ["p", "sum"])
    assert double["sum"].dtype is torch.float64 and torch.allclose(
        double["p"].float(), before["p"], atol=1e-6
    )
    assert twin.input_shapes == network.input_shapes and twin.graph.interface is not None
    for buffer in network.buffers():
        buffer.zero_()
    assert model_hash(network) != hash_before
    assert not bool(network.taps(x, ["p"])["p"].any())


class Outer(nn.Module):
    def __init__(self, network: GraphNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found = self.network.taps(x, ["hidden", "sum"])
        return torch.cat([found["hidden"], 2 * found["sum"]], 1)


def test_a_module_that_taps_traces_as_one_evaluation() -> None:
    outer = Outer(GraphNetwork(from_onnx(two_towers())))
    graph = from_torch(outer, torch.zeros(2, 16))
    x = torch.tensor(floats(5, 7, 16))
    assert torch.allclose(graph.run(x), outer(x), atol=1e-6)
    assert sum("linear" in str(node.op) for node in graph.nodes) == 1


def test_a_torch_network_has_the_names_of_its_nodes() -> None:
    body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    network = GraphNetwork(from_torch(body, torch.zeros(1, 3)))
    x = torch.tensor(floats(5, 7, 3))
    assert (network.input_shapes, network.output_shapes) == (((1, 3),), ((1, 2),))
    found = network.taps(x, ["relu", *network.output_names])
    assert torch.equal(found["relu"], body[:2](x)) and torch.equal(found[network.output_names[0]], network(x))


def test_an_inner_value_as_the_output() -> None:
    given = two_towers()
    graph = from_onnx(given, output="sum")
    assert graph.output_shape == (4,)
    assert from_onnx(given, output=["largest", "hidden"]).output_shape == (5,)
    for wrong in ("z", ["sum", "sum"], []):
        with pytest.raises(GraphError, match="'sum', 'largest', 'place'"):
            from_onnx(given, output=wrong)


def test_classes_at_the_output_are_floating_point_numbers() -> None:
    graph = from_onnx(two_towers(outputs=("place",)))
    x = torch.tensor(floats(5, 7, 16))
    assert graph.run(x).dtype is torch.float32
    lower, upper = output_bounds(graph, x - 1e-6, x + 1e-6, CROWN())
    y = graph.run(x)
    assert bool(((lower <= y) & (y <= upper) & (lower >= 0) & (upper <= 3)).all())
