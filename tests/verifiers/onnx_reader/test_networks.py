"""The competition's networks, where the folder named by RBL_VNNCOMP holds them, against onnxruntime."""

from __future__ import annotations

import csv
import gzip
import os
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from robustbench_local.verifiers import from_onnx

from .models import expected, relative_error

FOLDER = os.environ.get("RBL_VNNCOMP")
BOUND = re.compile(r"\(\s*(<=|>=)\s+X_(\d+)\s+([-+.\deE]+)\s*\)")
POINTS = 20


@cache
def properties() -> dict[str, Path]:
    """The smallest property of every network."""
    if FOLDER is None:
        return {}
    found: dict[str, Path] = {}
    with (Path(FOLDER) / "instances.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            path = Path(FOLDER) / row["vnnlib"]
            known = found.get(row["onnx"])
            if known is None or path.stat().st_size < known.stat().st_size:
                found[row["onnx"]] = path
    return found


def hull(path: Path, coordinates: int) -> tuple[Tensor, Tensor]:
    """The hull of a property's input boxes, each (coordinates,)."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lower = torch.full((coordinates,), float("inf"))
    upper = -lower
    for sign, index, number in BOUND.findall(text.decode()):
        ends = lower if sign == ">=" else upper
        choose = min if sign == ">=" else max
        ends[int(index)] = choose(float(ends[int(index)]), float(number))
    return lower, upper


@pytest.mark.skipif(FOLDER is None, reason="RBL_VNNCOMP does not name the folder of VNN-COMP instances")
@pytest.mark.parametrize("name", properties())
def test_network_equals_onnxruntime(name: str) -> None:
    pytest.importorskip("onnxruntime")
    assert FOLDER is not None
    path = Path(FOLDER) / name
    graph = from_onnx(path)
    lower, upper = hull(properties()[name], graph.input.numel)
    assert bool((lower <= upper).all())
    share = torch.rand(POINTS, graph.input.numel, generator=torch.Generator().manual_seed(0))
    x = (lower + share * (upper - lower)).reshape(POINTS, *graph.input_shape)
    raw = path.read_bytes()
    model = gzip.decompress(raw) if path.suffix == ".gz" else raw
    assert relative_error(graph.run(x), expected(model, x, graph)) < 1e-4


def test_the_folder_is_complete() -> None:
    if FOLDER is None:
        pytest.skip("RBL_VNNCOMP does not name the folder of VNN-COMP instances")
    assert len(properties()) == 71
