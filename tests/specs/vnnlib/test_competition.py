"""Real files: all of a folder of VNN-COMP instances load, and mean what an independent evaluation says."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_local.specs import Vnnlib2Property, VnnlibProperty, read_vnnlib, write_vnnlib

from .evaluation import statements, unsafe

FOLDER = os.environ.get("RBL_VNNCOMP", "")
FILES = sorted(Path(FOLDER).rglob("*.vnnlib*")) if FOLDER else []
POINTS = 1000

pytestmark = pytest.mark.skipif(not FILES, reason="RBL_VNNCOMP does not name a folder of VNN-COMP instances")


def text_of_file(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def samples(found: VnnlibProperty, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of boxes, on their faces and a hair beside them; outputs where rows change their truth."""
    generator = np.random.default_rng(seed)
    lower, upper = found.boxes.lower.numpy(), found.boxes.upper.numpy()
    box = generator.integers(len(lower), size=POINTS)
    share = generator.choice([0.0, 0.5, 1.0, generator.random()], (POINTS, found.inputs))
    x = np.clip(lower[box] + share * (upper[box] - lower[box]), lower[box], upper[box])
    for k in range(
        POINTS // 4
    ):  # one coordinate on a face, on the number before, on that behind, or far away
        i, face = generator.integers(found.inputs), (lower, upper)[generator.integers(2)][box[k]]
        near = [face[i], np.nextafter(face[i], -np.inf), np.nextafter(face[i], np.inf), face[i] + 1e-3]
        x[k, i] = near[generator.integers(4)]
    rows = [row for clause in found.clauses[:: max(1, len(found.clauses) // 200)] for row in clause.rows]
    limits = [-row.constant / row.coefficients[0] for row in rows if len(row.columns) == 1] or [0.0]
    near = [w for v in limits for w in (v, np.nextafter(v, -np.inf), np.nextafter(v, np.inf))]
    scale = max(map(abs, limits)) or 1.0
    y = generator.choice([*near, *(scale * f for f in (-1.5, -0.1, 0.1, 1.5))], (POINTS, found.outputs))
    return x, y


def truth(found: VnnlibProperty | Vnnlib2Property, x: Tensor, y: Tensor) -> list[bool]:
    """Whether points are unsafe, by either kind of property."""
    if isinstance(found, VnnlibProperty):
        return found.unsafe(x, y).tolist()
    return found.evaluate({"X": x[:, None], "Y": y[:, None]}).tolist()


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.parent.name}/{p.name}")
def test_file_means_what_it_says(path: Path, tmp_path: Path) -> None:
    found = read_vnnlib(path)
    assert isinstance(found, VnnlibProperty) and found.notes == ()
    queries = found.queries(nn.Identity(), (found.inputs,), found.outputs)
    assert sum(query.batch for query in queries) == found.boxes.batch
    text = text_of_file(path)
    x, y = samples(found, len(text))
    expected = unsafe(statements(text), x, y).tolist()
    points = torch.from_numpy(x), torch.from_numpy(y)
    assert truth(found, *points) == expected
    for version in ("1.0", "2.0"):  # written and read again it is the same set
        copy = tmp_path / f"{version}.vnnlib"
        write_vnnlib(found, copy, version)
        assert truth(read_vnnlib(copy), *points) == expected
    assert read_vnnlib(tmp_path / "1.0.vnnlib").id == found.id


def test_the_points_tell_properties_apart() -> None:
    """Over all files together, there are safe and unsafe points, and the files do not agree."""
    shares = []
    for path in FILES[:: len(FILES) // 20]:
        found = read_vnnlib(path)
        assert isinstance(found, VnnlibProperty)
        x, y = samples(found, path.stat().st_size)
        unsafe_points = found.unsafe(torch.from_numpy(x), torch.from_numpy(y))
        shares.append(float(unsafe_points.double().mean()))
    assert sum(0 < share < 1 for share in shares) > len(shares) // 2
