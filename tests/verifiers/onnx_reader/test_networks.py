"""The competition's networks, where the folder named by RBL_VNNCOMP holds them, against onnxruntime."""

from __future__ import annotations

import csv
import gzip
import os
from collections import Counter
from functools import cache
from pathlib import Path

import onnx
import pytest
import torch
from robustbench_local.verifiers.onnx_reader import CONVERTERS
from robustbench_local.verifiers.onnx_reader.folding import FOLDABLE
from torch import Tensor

from robustbench_local.specs import read_vnnlib
from robustbench_local.verifiers import from_onnx

from .models import expected

FOLDER = os.environ.get("RBL_VNNCOMP")
POINTS = 20
NEEDED = pytest.mark.skipif(FOLDER is None, reason="RBL_VNNCOMP does not name the folder of instances")


@cache
def properties() -> dict[str, list[Path]]:
    """The properties of every network: each of the instances, once."""
    if FOLDER is None:
        return {}
    found: dict[str, list[Path]] = {}
    with (Path(FOLDER) / "instances.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["onnx"], []).append(Path(FOLDER) / row["vnnlib"])
    return found


def raw(name: str) -> bytes:
    assert FOLDER is not None
    data = (Path(FOLDER) / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def points(name: str, coordinates: int) -> Tensor:
    """Random points of the input boxes of all properties of a network, in turns."""
    lower, upper = [], []
    for path in properties()[name]:
        boxes = read_vnnlib(path).boxes
        lower.append(boxes.lower.reshape(-1, coordinates))
        upper.append(boxes.upper.reshape(-1, coordinates))
    low, high = torch.cat(lower), torch.cat(upper)
    generator = torch.Generator().manual_seed(0)
    boxes_in_turn = torch.randperm(len(low), generator=generator).repeat(POINTS)[:POINTS]
    share = torch.rand(POINTS, coordinates, generator=generator, dtype=low.dtype)
    return (low[boxes_in_turn] + share * (high - low)[boxes_in_turn]).float()


@NEEDED
@pytest.mark.parametrize("name", properties())
def test_network_equals_onnxruntime(name: str) -> None:
    """On every point, by the largest output of that point."""
    pytest.importorskip("onnxruntime")
    assert FOLDER is not None
    graph = from_onnx(Path(FOLDER) / name)
    x = points(name, graph.input.numel).reshape(POINTS, *graph.input_shape)
    wanted = expected(raw(name), x, graph).flatten(1)
    error = (graph.run(x).flatten(1) - wanted).abs().amax(1)
    assert bool((error < 1e-4 * wanted.abs().amax(1).clamp(min=1e-6)).all())


@NEEDED
def test_the_folder_is_complete() -> None:
    found = properties()
    assert (len(found), sum(map(len, found.values()))) == (71, 221)


@NEEDED
def test_every_operator_of_the_networks_is_known() -> None:
    """By name, should a new folder bring one: all that its networks compute with."""
    kinds: Counter[str] = Counter()
    for name in properties():
        kinds.update(node.op_type for node in onnx.load_from_string(raw(name)).graph.node)
    unknown = set(kinds) - set(CONVERTERS) - FOLDABLE
    assert unknown == set()
    assert {"ConvTranspose", "Softmax", "Upsample", "Expand", "Split", "Sin", "Pow"} <= set(kinds)
