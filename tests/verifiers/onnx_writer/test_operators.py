"""Every operator with a rule is written as ONNX: onnxruntime computes the same, and so does the file read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from robustbench_local.verifiers.onnx_writer import exporters as _all
from robustbench_local.verifiers.onnx_writer import write_onnx
from robustbench_local.verifiers.onnx_writer.registry import EXPORTERS

from robustbench_local.errors import UnsupportedOpError
from robustbench_local.verifiers import RULES, Graph, from_onnx

from ..expansion.cases import CASES as EXPANDED
from ..networks import Fn, traced
from ..onnx_reader.models import relative_error
from ..rules.cases import CASES
from .models import computed, referenced

assert _all
# torch announces, once per process, that it copies
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

OPSETS = (17, 20, 16, 25, 18)
"""In turns: one for each case."""

UNWRITTEN = {
    "robustbench_local.jump.default": "no ONNX operator is that of all slopes at a kink when it is read"
}
"""Operators that cannot be written, by name, and why."""

UNRUN_IN_DOUBLE = {
    "transposed 1d groups": "onnxruntime's ConvTranspose takes no double, the reference no groups",
    "transposed 2d dilated": "onnxruntime's ConvTranspose takes no double, the reference no such padding",
    "resampled": "onnxruntime's GridSample takes no double, the reference not the modes of opset 16",
    "constant image resampled": "as `resampled`",
    "affine grid": "as `resampled`",
}
FIRST = {op: name for name, op in reversed([(name, case.op) for name, case in CASES.items()])}
WRITTEN = [name for name, case in CASES.items() if str(case.op) not in UNWRITTEN]
DOUBLE = [
    n
    for n in FIRST.values()
    if n in WRITTEN and not n.startswith(tuple(UNRUN_IN_DOUBLE)) and sum(map(ord, n)) % 3 == 0
]
"""The first case of a third of all operators."""


@cache
def graph_of(name: str) -> Graph:
    if name in CASES:
        case = CASES[name]
        parts, shape, function = [make() for make in case.parts], case.shape, case.function
    else:
        shape, function, parts = EXPANDED[name.removeprefix("expanded ")]
    return traced(Fn(function, *parts, seed=len(name)).requires_grad_(False), *shape)


def inputs(graph: Graph) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.rand(3, *graph.input_shape, generator=generator, dtype=graph.dtype) - 1


def test_every_operator_with_a_rule_has_an_exporter() -> None:
    missing = {str(op) for op in RULES if op not in EXPORTERS and not RULES[op].affine}
    assert missing == set(UNWRITTEN)


@pytest.mark.parametrize("op", UNWRITTEN)
def test_what_cannot_be_written_is_refused(op: str, tmp_path: Path) -> None:
    name = next(name for name, case in CASES.items() if str(case.op) == op)
    with pytest.raises(UnsupportedOpError, match="no exporter"):
        write_onnx(graph_of(name), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("name", [*WRITTEN, *(f"expanded {name}" for name in EXPANDED)])
def test_the_file_computes_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    graph = graph_of(name)
    opset = OPSETS[sum(map(ord, name)) % len(OPSETS)]
    path = write_onnx(graph, tmp_path / "net.onnx", opset=opset)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    x = inputs(graph)
    wanted = graph.run(x)
    assert relative_error(computed(path, x), wanted) < 1e-5
    again = from_onnx(path)
    assert again.input_shape == graph.input_shape
    assert relative_error(again.run(x).reshape(wanted.shape), wanted) < 1e-5


@pytest.mark.parametrize("name", DOUBLE)
def test_double_precision(name: str, tmp_path: Path) -> None:
    """By onnxruntime, or by the reference implementation where that has no kernel."""
    pytest.importorskip("onnxruntime")
    graph = graph_of(name).to(torch.float64)
    path = write_onnx(graph, tmp_path / "net.onnx")
    x = inputs(graph)
    try:
        found = computed(path, x)
    except Exception:  # onnxruntime's own errors share no public base: many kernels are for float only
        found = referenced(path, x)
    assert found.dtype == graph.run(x).dtype
    assert relative_error(found, graph.run(x)) < 1e-6


@pytest.mark.parametrize("name", ["gelu", "hardswish", "mish", "tril", "amax", "softplus", "mean", "cat"])
@pytest.mark.parametrize("opset", [13, 21])
def test_the_oldest_opset_and_a_new_one(name: str, opset: int, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    graph = graph_of(name)
    path = write_onnx(graph, tmp_path / "net.onnx", opset=opset)
    assert relative_error(computed(path, inputs(graph)), graph.run(inputs(graph))) < 1e-5
