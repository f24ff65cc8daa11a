"""Files: compressed, with external data, broken; the batch axis; every refusal names place and cure."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from robustbench_local.errors import (
    DataError,
    DtypeError,
    GraphError,
    NonFiniteError,
    RobustBenchError,
    UnsupportedOpError,
)
from robustbench_local.verifiers import from_onnx

from .models import X, chain, floats, operators, single


def small(shape: Sequence[int | str] = (1, 6), opset: int = 13) -> Any:
    nodes = helper.make_node("MatMul", [X, "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])
    return chain(*nodes, shape=shape, opset=opset, weights={"w": floats(1, 6, 3)})


def refusal(model: Any) -> RobustBenchError:
    with pytest.raises(RobustBenchError) as caught:
        from_onnx(model)
    assert caught.value.cure
    return caught.value


@pytest.mark.parametrize(
    ("shape", "sample"),
    [
        ((1, 6), (6,)),
        (("N", 6), (6,)),
        ((6,), (6,)),
        ((1, 2, 6), (2, 6)),
        ((4, 6), (4, 6)),
        ((1, 1, 6), (1, 6)),
    ],
)
def test_a_sample_is_the_input_without_its_batch_axis(
    shape: tuple[int | str, ...], sample: tuple[int, ...]
) -> None:
    graph = from_onnx(small(shape))
    assert graph.input_shape == sample
    x = torch.tensor(floats(2, 5, *sample))
    assert torch.allclose(graph.run(x), torch.relu(x @ torch.tensor(floats(1, 6, 3))), atol=1e-6)


def test_plain_and_compressed_files_agree(tmp_path: Path) -> None:
    data = small().SerializeToString()
    plain, packed = tmp_path / "net.onnx", tmp_path / "net.onnx.gz"
    plain.write_bytes(data)
    packed.write_bytes(gzip.compress(data))
    x = torch.tensor(floats(2, 5, 6))
    assert torch.equal(from_onnx(plain).run(x), from_onnx(str(packed)).run(x))


@pytest.mark.parametrize("data", [b"", b"not a network", b"\x1f\x8b broken", b"\x08\x01"])
def test_a_broken_file_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"net\.onnx"):
        from_onnx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.onnx"):
        from_onnx(tmp_path / "absent.onnx")


def test_an_operator_without_converter_is_named_with_what_is_supported() -> None:
    model = single("NonZero", X, shape=(1, 3, 3), opset=13)
    error = refusal(model)
    assert isinstance(error, UnsupportedOpError)
    assert "NonZero" in str(error) and "'the NonZero'" in str(error) and "Conv," in str(error)


def test_operators_of_other_domains_are_refused() -> None:
    model = single("Gelu", X, shape=(1, 3), opset=13)
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert "com.microsoft.Gelu" in str(refusal(model))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("ReduceSum", {"axes": [0]}), ("Softmax", {"axis": 0}), ("Concat", {"axis": 0}), ("ReduceMax", {})],
)
def test_mixing_samples_is_refused_where_the_batch_size_is_open(kind: str, settings: dict[str, Any]) -> None:
    inputs = (X, X) if kind == "Concat" else (X,)
    error = refusal(single(kind, *inputs, shape=("N", 4), opset=11, **settings))
    assert isinstance(error, GraphError) and "batch" in str(error)
    from_onnx(single(kind, *inputs, shape=(1, 4), opset=11, **settings))


def test_a_single_number_is_a_vector_of_one() -> None:
    graph = from_onnx(single("Exp", X, shape=(), opset=13))
    assert (graph.input_shape, graph.output_shape) == ((1,), (1,))
    assert graph.run(torch.tensor([[0.0], [1.0]])).tolist() == [[1.0], [float(torch.tensor(1.0).exp())]]


def test_opsets_outside_the_range_are_refused() -> None:
    assert "7 to" in str(refusal(small(opset=6)))
    model = small()
    model.opset_import[0].version = 1000
    assert "1000" in str(refusal(model))


@pytest.mark.parametrize("shape", [(1, "features"), ("N", 3, "H"), (3, 0)])
def test_an_unknown_input_shape_is_refused(shape: tuple[int | str, ...]) -> None:
    assert "shape" in str(refusal(single("Relu", X, shape=shape, opset=13)))


def test_inputs_that_are_not_floating_point_are_refused() -> None:
    model = single("Relu", X, shape=(1, 3), opset=14)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    assert isinstance(refusal(model), DtypeError)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = single("MatMul", X, np.array([[1.0, np.nan]], dtype=np.float32), shape=(1, 1), opset=13)
    assert isinstance(refusal(model), NonFiniteError)


def test_an_output_that_ignores_the_input_is_refused() -> None:
    model = small()
    model.graph.output[0].name = "w"
    assert "depend" in str(refusal(model))


def test_a_huge_constant_is_refused_before_it_is_made() -> None:
    model = chain(
        helper.make_node("ConstantOfShape", ["n"], ["c"]),
        helper.make_node("Add", [X, "c"], ["y"]),
        shape=(1, 3),
        opset=13,
        weights={"n": np.array([10**7, 10**7])},
    )
    assert "numbers" in str(refusal(model))


def test_double_networks_stay_double() -> None:
    model = single("Mul", X, np.full(3, 1 / 3), shape=(1, 3), opset=13)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    graph = from_onnx(model)
    assert graph.dtype is torch.float64
    x = torch.rand(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(graph.run(x), x * (1 / 3))


def test_order_and_unused_operators_do_not_matter() -> None:
    model = small()
    nodes = [*reversed(model.graph.node), helper.make_node("Unknown", ["h"], ["unused"])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert operators(from_onnx(model)) == ["linear", "relu"]


def test_a_cycle_is_refused() -> None:
    model = small()
    model.graph.node[0].input[0] = "y"
    assert "its own result" in str(refusal(model))
