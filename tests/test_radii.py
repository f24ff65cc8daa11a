"""Radii: both ends can be checked, witnesses save questions, slow methods go on where quick ones end."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.cli import run
from robustbench_local.radii import radius_all
from robustbench_local.results import Result
from robustbench_local.specs import Verdict, robustness


def _network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)).eval().requires_grad_(False)


def test_radii_of_many_problems_share_a_search_whose_ends_can_be_checked() -> None:
    """Proved ends stand on a grid, refuted ones by witnesses; a witness saves questions."""
    network = _network(3)
    points = torch.rand(6, 2, generator=torch.Generator().manual_seed(1)) - 0.5
    labels = network(points).argmax(1)
    spec = robustness(2, 3, bounds=None)
    seen: list[int] = []
    found = rbl.radius(
        network,
        spec,
        values={"x0": points, "c": labels},
        high=2.0,
        tolerance=1e-3,
        progress=lambda brackets: seen.append(sum(one.queries for one in brackets)),
    )
    assert seen == sorted(seen) and len(seen) > 3
    axis = torch.linspace(-1, 1, 41)
    offsets = torch.cartesian_prod(axis, axis)
    for point, label, one in zip(points, labels, found, strict=True):
        assert one.violated - one.holds <= 1e-3 or math.isinf(one.violated)
        if one.holds > 0:
            assert bool((network(point + one.holds * offsets).argmax(1) == label).all())
        if one.witness is not None:
            assert int(network(one.witness[None]).argmax()) != label
            assert float((one.witness - point).abs().max()) <= one.violated + 1e-6
    assert sum(one.queries for one in found) < 6 * 14  # plain bisection takes 2 + 2 * log2(2 / 0.001)
    quick = rbl.radius(network, spec, values={"x0": points, "c": labels}, high=2.0, quick=True)
    for one, two in zip(found, quick, strict=True):
        assert not one.holds > two.violated and not two.holds > one.violated


def test_a_search_without_witnesses_bisects_both_ends() -> None:
    """Radii up to 0.3 are proved, from 0.5 on refuted, and nothing is known between."""

    def decide(rows: Tensor, radii: Tensor, seconds: float) -> tuple[Result, ...]:
        verdicts = [
            Verdict.HOLDS if r <= 0.3 else Verdict.VIOLATED if r >= 0.5 else Verdict.UNKNOWN
            for r in radii.tolist()
        ]
        return tuple(Result(verdict, -1.0, 1.0, 0.0, "told") for verdict in verdicts)

    (one,) = radius_all([decide], 1, low=0.0, high=1.0, tolerance=1e-4, timeout=60.0)
    assert 0.3 - 1e-4 <= one.holds <= 0.3 and 0.5 <= one.violated <= 0.5 + 1e-4

    def better(rows: Tensor, radii: Tensor, seconds: float) -> tuple[Result, ...]:
        return tuple(
            replace(r, verdict=Verdict.HOLDS if x < 0.45 else Verdict.VIOLATED)
            for x, r in zip(radii.tolist(), decide(rows, radii, seconds), strict=True)
        )

    (two,) = radius_all([decide, better], 1, low=0.0, high=1.0, tolerance=1e-4, timeout=60.0)
    assert 0.45 - 1e-4 <= two.holds < 0.45 <= two.violated <= 0.45 + 1e-4


def test_the_command_prints_and_writes_brackets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "radii.csv"
    arguments = [
        "radius",
        "digits-mlp:certified",
        "--first",
        "2",
        "--high",
        "0.9",
        "--tolerance",
        "0.05",
        "--quick",
    ]
    assert run([*arguments, "--out", str(table), "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 2 and all(0 < row["holds"] <= row["violated"] for row in rows)
    assert table.read_text().splitlines()[0] == "id,label,holds,violated,queries"


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--name", "delta"], "delta"), (["--low", "0.5", "--high", "0.1"], "0 <= low < high")],
)
def test_bad_limits_are_named(options: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["radius", "digits-mlp:certified", *options]) == 2
    assert named in capsys.readouterr().err
