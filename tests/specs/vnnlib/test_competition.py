"""Real files: all of a folder of VNN-COMP instances load, and mean what an independent evaluation says."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from robustbench_local.specs import VnnlibProperty, read_vnnlib

from .evaluation import statements, unsafe

FOLDER = os.environ.get("RBL_VNNCOMP", "")
FILES = sorted(Path(FOLDER).rglob("*.vnnlib*")) if FOLDER else []
POINTS = 50

pytestmark = pytest.mark.skipif(not FILES, reason="RBL_VNNCOMP does not name a folder of VNN-COMP instances")


def text_of_file(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def samples(found: VnnlibProperty, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of random boxes, some just outside; outputs near the values where rows change their truth."""
    generator = np.random.default_rng(seed)
    lower, upper = found.boxes.lower.numpy(), found.boxes.upper.numpy()
    box = generator.integers(len(lower), size=POINTS)
    share = generator.choice([0.0, 0.5, 1.0, generator.random()], (POINTS, found.inputs))
    x = np.clip(lower[box] + share * (upper[box] - lower[box]), lower[box], upper[box])
    x[:5, 0] = upper[box[:5], 0] + 1e-3
    rows = [row for clause in found.clauses[:: max(1, len(found.clauses) // 200)] for row in clause.rows]
    scale = max([abs(row.constant) for row in rows], default=0.0) or 1.0
    return x, scale * generator.choice([-1.5, -1.0, -0.1, 0.0, 0.1, 1.0, 1.5], (POINTS, found.outputs))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.parent.name}/{p.name}")
def test_file_means_what_it_says(path: Path) -> None:
    found = read_vnnlib(path)
    assert found.notes == ()
    queries = found.queries(nn.Identity(), (found.inputs,), found.outputs)
    assert sum(query.batch for query in queries) == found.boxes.batch
    text = text_of_file(path)
    x, y = samples(found, len(text))
    expected = unsafe(statements(text), x, y)
    assert found.unsafe(torch.from_numpy(x), torch.from_numpy(y)).tolist() == expected.tolist()
