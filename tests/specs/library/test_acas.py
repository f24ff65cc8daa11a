"""The properties of ACAS Xu mean what the competition's files say, in other units."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from robustbench_local.specs.library import acas_xu

from robustbench_local.errors import SpecError
from robustbench_local.specs import read_vnnlib

from .worked import mlp

FOLDER = os.environ.get("RBL_VNNCOMP", "")
FILES = sorted(Path(FOLDER).glob("acasxu/vnnlib/*prop_*.vnnlib")) if FOLDER else []
MEANS = torch.tensor([19791.091, 0.0, 0.0, 650.0, 600.0], dtype=torch.float64)
RANGES = torch.tensor([60261.0, 6.28318530718, 6.28318530718, 1100.0, 1200.0], dtype=torch.float64)


@pytest.mark.skipif(not FILES, reason="RBL_VNNCOMP does not name a folder of VNN-COMP instances")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_and_its_property_agree(path: Path) -> None:
    number = int(re.findall(r"prop_(\d+)", path.stem)[0])
    file, spec = read_vnnlib(path), acas_xu(number)
    query = spec.query(mlp(5, 8, 5)).select(torch.zeros(500, dtype=torch.int64))
    source = torch.Generator().manual_seed(number)
    uniform = torch.rand(500, 5, generator=source, dtype=torch.float64)
    x = query.inputs.sample(uniform, torch.rand(500, generator=source, dtype=torch.float64))
    scaled = (x - MEANS) / RANGES
    near = scaled.clamp(file.boxes.lower.amin(0), file.boxes.upper.amax(0))
    assert torch.allclose(near, scaled, atol=1e-8)  # the file's numbers have nine digits
    y = torch.randn(500, 5, generator=source, dtype=torch.float64) * 6
    got = query.violated_by(y)  # the only feature of the property is the network's output
    assert torch.equal(got, file.unsafe(near, y)) and got.any() and not got.all()


def test_the_region_is_that_of_the_file_in_every_coordinate() -> None:
    for path in FILES:
        number = int(re.findall(r"prop_(\d+)", path.stem)[0])
        box, file = acas_xu(number).query(mlp(5, 4, 5)).inputs.box(), read_vnnlib(path).boxes
        for ours, theirs in ((box.lower[0], file.lower.amin(0)), (box.upper[0], file.upper.amax(0))):
            assert torch.allclose((ours - MEANS) / RANGES, theirs, atol=1e-8), path


def test_there_are_ten() -> None:
    for number in range(1, 11):
        assert acas_xu(number).text.startswith("spec v1\nnet f: real[5] -> real[5]\n")
    assert acas_xu(6).query(mlp(5, 4, 5)).parts() is not None  # two boxes
    with pytest.raises(SpecError, match="has no property 11"):
        acas_xu(11)
