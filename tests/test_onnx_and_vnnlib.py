"""ONNX networks under VNN-LIB properties: small files, and competition instances where there are any."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import robustbench_local as rbl
from robustbench_local.cli import run
from robustbench_local.errors import DataError, RobustBenchError
from robustbench_local.named_models import find_model
from robustbench_local.specs import Net, Var, atoms_as_outputs, box, forall, write_vnnlib
from robustbench_local.verifiers import write_onnx

INSTANCES = os.environ.get("RBL_VNNCOMP", "")
QUICK = ("rl_benchmarks", "safenlp", "test", "reach_prob_density", "acasxu", "cora", "nn4sys")

BOUNDS = """
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (>= X_0 -1.0))
(assert (<= X_0 1.0))
(assert (>= X_1 -1.0))
(assert (<= X_1 1.0))
"""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """y = relu(x0 + x1) - relu(x0 - x1), as a file; over [-1, 1]^2 it takes all values of [-2, 2]."""
    weights = {
        "w": np.array([[1, 1], [1, -1]], np.float32),
        "v": np.array([[1, -1]], np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "v"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def verdict(network: Path, condition: str) -> str:
    file = network.with_suffix(".vnnlib")
    file.write_text(BOUNDS + f"(assert {condition})\n", encoding="utf-8")
    return str(rbl.verify(network, file).verdict)


def test_verdicts_of_an_onnx_network(network: Path) -> None:
    assert verdict(network, "(>= Y_0 2.5)") == "HOLDS"
    assert verdict(network, "(>= Y_0 1.5)") == "VIOLATED"
    assert verdict(network, "(or (and (<= Y_0 -2.5)) (and (>= Y_0 2.5)))") == "HOLDS"


def test_conditions_on_several_inputs_and_on_both_sides(network: Path) -> None:
    assert verdict(network, "(>= Y_0 (- 2.5 X_1))") == "VIOLATED"  # at (1, 1): y = 2
    assert verdict(network, "(>= Y_0 (- 3.25 X_1))") == "HOLDS"
    # where x_0 + x_1 >= 0.5, y >= x_0 + x_1 - 2 >= -1.5
    assert verdict(network, "(and (>= (+ X_0 X_1) 0.5) (<= Y_0 -1.75))") == "HOLDS"
    assert verdict(network, "(and (<= (+ X_0 X_1) 0.5) (>= Y_0 (+ (* 2 X_1) 0.25)))") == "VIOLATED"


PAIR = """(vnnlib-version <2.0>)
(declare-network f (declare-input X float32 [1,2]) (declare-output Y float32 [1,1]))
(declare-network g (RELATION f) (declare-input U float32 [1,2]) (declare-output V float32 [1,1]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] -1.0) (<= U[0,1] 1.0)))
(assert (== X[0,0] U[0,0]))
"""


def test_two_runs_of_a_network(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = network.with_suffix(".vnnlib")
    for condition, expected in (
        ("(>= Y[0,0] (+ V[0,0] 4.25))", "HOLDS"),
        ("(< Y[0,0] V[0,0])", "VIOLATED"),  # y rises with x_1
    ):
        text = PAIR.replace("RELATION", "equal-to") + f"(assert (<= X[0,1] U[0,1]))\n(assert {condition})\n"
        file.write_text(text, encoding="utf-8")
        assert str(rbl.verify(network, file).verdict) == expected
        assert run(["verify", f"f={network}", str(file), "--json", "-"]) == 0
        assert json.loads(capsys.readouterr().out)["verdict"] == expected


def test_inner_nodes_of_an_onnx_network(network: Path) -> None:
    """h = (x0 + x1, x0 - x1) and r = relu(h), in a file of VNN-LIB 2."""
    file = network.with_suffix(".vnnlib")
    declared = (
        "(vnnlib-version <2.0>)(declare-network f (declare-input X real [1,2])"
        '(declare-hidden H real [1,2] "h")(declare-hidden R real [1,2] "r")(declare-output Y real [1,1]))'
        "(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] -1.0) (<= X[0,1] 1.0)))"
    )
    for condition, expected in (
        ("(and (>= H[0,0] 1.25) (<= Y[0,0] 1.0))", "VIOLATED"),  # at (1, 0.4): h = (1.4, 0.6), y = 0.8
        ("(>= H[0,0] 2.25)", "HOLDS"),
        ("(and (>= R[0,1] 1.5) (>= Y[0,0] 2.25))", "HOLDS"),
    ):
        file.write_text(f"{declared}(assert {condition})", encoding="utf-8")
        assert str(rbl.verify(network, file).verdict) == expected
    file.write_text(f"{declared}(assert (>= H[0,0] 2.25))".replace('"h"', '"k"'), encoding="utf-8")
    with pytest.raises(RobustBenchError, match="k"):
        rbl.verify(network, file)


def test_two_networks(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = network.with_suffix(".vnnlib")
    text = PAIR.replace("RELATION", "isomorphic-to") + "(assert (== X[0,1] U[0,1]))\n"
    file.write_text(text + "(assert (>= (- Y[0,0] V[0,0]) 0.01))\n", encoding="utf-8")
    result = rbl.verify({"f": network, "g": network}, file, method="milp")
    assert str(result.verdict) == "HOLDS"
    both = f"f={network},g={network}"
    assert run(["verify", both, str(file), "--method", "milp", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "HOLDS" and found["model"] == "f=small.onnx, g=small.onnx"
    assert run(["verify", str(network), str(file)]) == 2
    assert "2 networks, one is given" in capsys.readouterr().err
    assert run(["verify", f"f={network},h={network}", str(file)]) == 2
    assert "no network h" in capsys.readouterr().err


def test_two_networks_as_one_file_of_each_format(network: Path, tmp_path: Path) -> None:
    """|f(x) - g(x)| <= limit, g = f with other weights: for tools of one network and VNN-LIB 1.0."""
    f, g = find_model(network).network, find_model(network).network
    with torch.no_grad():
        next(iter(g.buffers())).mul_(0.75)
    x, first, second = Var("x", 2), Net("f", 2, 1), Net("g", 2, 1)
    for limit, expected in ((4.0, "HOLDS"), (0.25, "VIOLATED")):
        spec = forall(x, box(-1, 1), abs(first(x)[0] - second(x)[0]) <= limit)
        single = atoms_as_outputs(spec.query({"f": f, "g": g}))
        assert isinstance(single.network, torch.nn.Module)
        write_onnx(single.network, tmp_path / "pair.onnx", input_shape=(2,))
        write_vnnlib(single, tmp_path / "pair.vnnlib")
        assert str(rbl.verify(single.network, single).verdict) == expected
        assert str(rbl.verify(tmp_path / "pair.onnx", tmp_path / "pair.vnnlib").verdict) == expected


def test_an_onnx_network_is_a_model_like_any_other(network: Path) -> None:
    model = find_model(network)
    assert (model.name, model.family) == ("small.onnx", "onnx")
    x = torch.tensor([[0.5, 0.25], [-1.0, 1.0]])
    assert torch.equal(model.network(x), torch.tensor([[0.5], [0.0]]))
    lower, upper = rbl.bounds(model.network, -torch.ones(1, 2), torch.ones(1, 2), method="crown")
    assert float(lower) <= -2 and float(upper) >= 2


def test_a_network_that_answers_with_the_class(tmp_path: Path) -> None:
    """Scores (x0 + 3, x1, x0 - 3) on [-1, 1]^2: class 0 wins by at least one, and the class is a number."""
    weights = {
        "w": np.array([[1, 0], [0, 1], [1, 0]], np.float32),
        "b": np.array([3, 0, -3], np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["scores"], transB=1),
        helper.make_node("ArgMax", ["scores"], ["y"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "classes",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "classes.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    assert verdict(path, "(>= Y_0 0.5)") == "HOLDS"
    assert verdict(path, "(<= Y_0 0.5)") == "VIOLATED"


def test_a_missing_onnx_file_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.onnx"):
        find_model("nowhere.onnx")


def quick_rows() -> list[dict[str, str]]:
    """The first two instances of the benchmarks that take seconds."""
    if not INSTANCES:
        return []
    with (Path(INSTANCES) / "instances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for name in QUICK for row in [r for r in rows if r["benchmark"] == name][:2]]


@pytest.mark.skipif(not INSTANCES, reason="RBL_VNNCOMP does not name a folder of competition instances")
@pytest.mark.parametrize("row", quick_rows(), ids=lambda row: row["id"])
def test_no_verdict_contradicts_the_known_one(row: dict[str, str]) -> None:
    folder = Path(INSTANCES)
    found = rbl.verify(folder / row["onnx"], folder / row["vnnlib"], timeout=20)
    allowed = {"sat": {"VIOLATED", "UNKNOWN"}, "unsat": {"HOLDS", "UNKNOWN"}}
    assert str(found.verdict) in allowed.get(row["expected"], {"HOLDS", "VIOLATED", "UNKNOWN"})
