"""Counterexamples run again: inside exactly, and broken in every arithmetic that can run the network."""

from __future__ import annotations

import gzip
import math
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.cli.app import run
from robustbench_local.named_models import find_model
from robustbench_local.replay import OnnxRuntime, replay
from robustbench_local.specs import Atom, Box, Query, parse_vnnlib
from robustbench_local.verifiers import GraphNetwork
from robustbench_local.vnnlib_cases import vnnlib_cases


class Sum(nn.Module):
    """1 + x - 1: rounds in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return (self.one + x) - self.one


def above(threshold: float, network: nn.Module, upper: float = 1.0) -> Query:
    """Violated where the output exceeds the threshold, over [0, upper]."""
    box = Box(torch.zeros(1, 1), torch.tensor([[upper]], dtype=torch.float64))
    C, d = torch.ones(1, 1, 1, dtype=torch.float64), torch.tensor([[-threshold]], dtype=torch.float64)
    return Query(network, box, C, d, Atom(0, True), "f(x) <= t")


def test_a_point_outside_does_not_count() -> None:
    query = above(0.5, Sum())
    assert replay(query, torch.tensor([1.0])).confirmed
    outside = replay(query, torch.tensor([1.0 + 2**-23]))
    assert not outside.inside and outside.broken["float32"] and not outside.confirmed


def test_rounding_in_one_arithmetic_is_no_violation() -> None:
    found = replay(above(0.0, Sum(), 2.0), torch.tensor([2.0**-24 * 1.5]))
    assert found.values["float64"] == 2.0**-24 * 1.5 and found.values["float32"] == 2.0**-23
    assert found.confirmed
    found = replay(above(2.0**-24 * 1.75, Sum(), 2.0), torch.tensor([2.0**-24 * 1.5]))
    assert found.broken == {"float64": False, "float32": True} and not found.confirmed


def test_nothing_that_is_no_number_counts() -> None:
    class Nothing(Sum):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.nan

    found = replay(above(0.5, Nothing()), torch.tensor([1.0]))
    assert not found.confirmed and math.isnan(found.values["float32"])


@given(st.floats(0, 1), st.floats(-1, 2), st.floats(0, 1))
def test_a_confirmed_point_is_inside_and_above(x: float, threshold: float, upper: float) -> None:
    found = replay(above(threshold, Sum(), upper), torch.tensor([x], dtype=torch.float64))
    exact = (1.0 + x) - 1.0
    assert found.inside == (x <= upper)
    assert not found.confirmed or (x <= upper and exact > threshold)
    assert found.confirmed or x > upper or not (exact > threshold + 1e-6)


def file(folder: Path, inputs: tuple[int, ...] = (1, 2), factor: float = 1.0) -> Path:
    """y = factor * (x0 + x1, x0 - x1)."""
    weights = numpy_helper.from_array(factor * np.array([[1, 1], [1, -1]], np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
        "sums",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 2))],
        [weights],
    )
    path = folder / f"sums{factor}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def problem(condition: str, low: str = "0.0", high: str = "1.0") -> str:
    inputs = "".join(
        f"(declare-const X_{i} Real)(assert (>= X_{i} {low}))(assert (<= X_{i} {high}))" for i in range(2)
    )
    return f"{inputs}(declare-const Y_0 Real)(declare-const Y_1 Real)(assert {condition})"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("condition", ["(>= Y_0 1.5)", "(>= (+ Y_0 X_0) 2.5)"])
def test_onnxruntime_runs_the_file_itself(tmp_path: Path, packed: bool, condition: str) -> None:
    pytest.importorskip("onnxruntime")
    path = file(tmp_path)
    if packed:
        path = path.with_suffix(".onnx.gz")
        path.write_bytes(gzip.compress(file(tmp_path).read_bytes()))
    model = find_model(path)
    assert isinstance(model.network, GraphNetwork)
    (cases,) = vnnlib_cases(model, parse_vnnlib(problem(condition)))
    point = torch.ones(cases.query.inputs.shape)
    same = replay(cases.query, point, runtime=OnnxRuntime.of(path, model.network))
    assert same.confirmed and set(same.values) == {"float64", "float32", "onnxruntime"}
    other = replay(cases.query, point, runtime=OnnxRuntime.of(file(tmp_path, factor=0.25), model.network))
    assert other.broken == {"float64": True, "float32": True, "onnxruntime": False} and not other.confirmed


def test_a_file_that_onnxruntime_refuses_is_not_run(tmp_path: Path) -> None:
    network = find_model(file(tmp_path)).network
    assert isinstance(network, GraphNetwork)
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    assert OnnxRuntime.of(tmp_path / "broken.onnx", network) is None


def test_inputs_fixed_to_what_float32_cannot_hold(tmp_path: Path) -> None:
    """The point is the float64 number of the file; both arithmetics must break the property there."""
    (tmp_path / "p.vnnlib").write_text(problem("(>= Y_0 0.15)", "0.1", "0.1"), encoding="utf-8")
    (tmp_path / "q.vnnlib").write_text(problem("(>= Y_0 0.25)", "0.1", "0.1"), encoding="utf-8")
    found = rbl.verify(file(tmp_path), tmp_path / "p.vnnlib")
    assert str(found.verdict) == "VIOLATED" and found.witness is not None
    assert found.witness.dtype == torch.float64 and found.witness.flatten().tolist() == [0.1, 0.1]
    assert str(rbl.verify(file(tmp_path), tmp_path / "q.vnnlib").verdict) == "HOLDS"
    tight = vnnlib_cases(find_model(file(tmp_path)), parse_vnnlib(problem("(>= Y_0 0.15)", "0.1", "0.1")))
    wide = vnnlib_cases(find_model(file(tmp_path)), parse_vnnlib(problem("(>= Y_0 0.15)")))
    kinds = [next(c.network.buffers()).dtype for (c,) in (tight, wide)]
    assert kinds == [torch.float64, torch.float32]


def shifted(folder: Path) -> Path:
    """The same file under another file's name, whose weights are a quarter: what onnxruntime then reads."""
    path = folder / "shifted.onnx"
    path.write_bytes(file(folder, factor=0.25).read_bytes())
    return path


@pytest.mark.parametrize("way", ["verify", "attack"])
def test_a_verification_of_a_file_asks_onnxruntime(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "p.vnnlib").write_text(problem("(>= Y_0 1.5)"), encoding="utf-8")
    decide = {"verify": rbl.verify, "attack": rbl.attack}[way]
    found = decide(file(tmp_path), tmp_path / "p.vnnlib")
    assert str(found.verdict) == "VIOLATED"
    assert found.audit == "replayed in float64 and the network's dtype and onnxruntime"
    other = shifted(tmp_path)
    of = OnnxRuntime.of
    monkeypatch.setattr(OnnxRuntime, "of", lambda path, network: of(other, network))
    lost = decide(file(tmp_path), tmp_path / "p.vnnlib")
    assert (str(lost.verdict), lost.reason, lost.witness) == ("UNKNOWN", "boundary", None)
    monkeypatch.setattr(OnnxRuntime, "of", lambda path, network: None)
    assert "which refuses the file" in decide(file(tmp_path), tmp_path / "p.vnnlib").audit
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "which is not installed" in decide(file(tmp_path), tmp_path / "p.vnnlib").audit


def test_a_violation_in_float32_alone_is_none() -> None:
    """1 + x - 1 exceeds 1.75 u at x = 1.5 u in float32 only."""
    x = 2.0**-24 * 1.5
    query = above(2.0**-24 * 1.75, Sum(), x)
    found = rbl.verify(None, query, timeout=5)
    assert str(found.verdict) != "VIOLATED"
    assert str(rbl.verify(None, query, arithmetic="fp32", timeout=5).verdict) == "VIOLATED"


def test_the_command_line_says_what_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.vnnlib").write_text(problem("(>= Y_0 1.5)"), encoding="utf-8")
    assert run(["verify", str(file(tmp_path)), str(tmp_path / "p.vnnlib")]) == 0
    assert "counterexample replayed in float64" in " ".join(capsys.readouterr().out.split())
