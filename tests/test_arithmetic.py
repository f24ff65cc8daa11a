"""Verdicts say what they are about and what stands behind them: on the screen, in results and in tables."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.cli.app import run
from robustbench_local.errors import SpecError
from robustbench_local.specs import Atom, Box, Query
from robustbench_local.store import read_results, write_results
from robustbench_local.suite import Suite
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    Budget,
    arithmetic_of,
    find_arithmetic,
    from_torch,
    outward,
)


def at_most(network: nn.Module, limit: float, *, strict: bool = True, n: int = 2) -> Query:
    """The first output is at most `limit` (less than it, unless strict violations count) on [-1, 1]^n."""
    ones = torch.ones(1, n)
    row = torch.zeros(1, 1, int(network(ones).shape[1])).double()
    row[0, 0, 0] = 1
    return Query(network, Box(-ones, ones), row, -limit * ones[:, :1].double(), Atom(0, strict))


def dense(seed: int = 0) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).requires_grad_(False).eval()
    for tensor in network.parameters():
        tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed)))
    return network


class Function(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize("arithmetic", ["real", "float64-outward", "fp32", "bf16"])
def test_a_result_says_how_often_rounding_fits_in_its_margin(arithmetic: str) -> None:
    found = rbl.verify(None, at_most(dense(), 30.0), method="crown", arithmetic=arithmetic)
    assert found.verdict.value == "HOLDS" and found.arithmetic == arithmetic and found.audit == "outward"
    ratio = found.margin_over_rounding
    assert 1 < ratio < math.inf and found.as_dict()["margin_over_rounding"] == ratio
    unit = {"fp32": 2.0**-24, "bf16": 2.0**-8}.get(arithmetic, 2.0**-53)
    assert 1e-3 < ratio * unit < 2, "the margin is of the size of the outputs: about 1 / u"
    near = rbl.verify(None, at_most(dense(), -30.0), method="crown", arithmetic=arithmetic)
    assert near.verdict.value == "UNKNOWN" and near.audit == ""


def test_what_stands_behind_holds_is_said() -> None:
    ways = {
        name: rbl.verify(None, at_most(dense(), 30.0), method=name) for name in ("ibp", "alpha-crown", "bab")
    }
    assert {name: way.verdict.value for name, way in ways.items()} == dict.fromkeys(ways, "HOLDS")
    assert ways["ibp"].audit == ways["alpha-crown"].audit == "outward"
    assert ways["bab"].audit == "float64 with slack: bab has no outward bounds"
    assert (
        math.isnan(ways["bab"].margin_over_rounding) and ways["bab"].as_dict()["margin_over_rounding"] is None
    )
    floor = rbl.verify(None, at_most(nn.Sequential(dense(), Function(torch.floor)), 30.0), method="ibp")
    assert floor.verdict.value == "HOLDS" and "slack" in floor.audit and "floor" in floor.audit, (
        "it names the operator"
    )


ALWAYS = {
    "relu": lambda x: -torch.relu(x),
    "sigmoid": lambda x: torch.sigmoid(40 * x) - 1,
    "softmax": lambda x: -torch.softmax(50 * x, 1),
    "abs": lambda x: -torch.abs(x),
    "squares": lambda x: -(x * x).square(),
    "maximum": lambda x: x - torch.maximum(x, x + 0.0),
}


@pytest.mark.parametrize("name", ["relu", "abs", "softmax", "squares"])
def test_a_bound_of_exactly_zero_counts_where_the_outward_one_is_zero(name: str) -> None:
    query = at_most(Function(ALWAYS[name]), 0.0)
    found = rbl.verify(None, query, method="ibp")
    assert (found.verdict.value, found.audit, found.upper) == ("HOLDS", "outward", 0.0)
    assert (
        rbl.verify(None, at_most(Function(ALWAYS[name]), 0.0, strict=False), method="ibp").verdict.value
        != "HOLDS"
    )
    above = at_most(Function(ALWAYS[name]), -1e-30)  # 1e-30 below what it reaches
    assert rbl.verify(None, above, method="ibp").verdict.value != "HOLDS"


class Cancels(nn.Module):
    """x + y - x - y, in an order that rounds: 0 over the real numbers, and by luck in float64."""

    def forward(self, x: Tensor) -> Tensor:
        total = x[:, :1] / 3 + x[:, 1:] / 3
        return torch.relu(total) - torch.relu(total)


def test_a_zero_by_luck_is_no_proof() -> None:
    point = torch.full((1, 2), 0.7)
    query = Query(
        Cancels(), Box(point, point), torch.ones(1, 1, 1).double(), torch.zeros(1, 1).double(), Atom(0, True)
    )
    found = rbl.verify(None, query, method="ibp")
    assert found.verdict.value == "UNKNOWN" and found.reason in ("boundary", "bound")


def test_the_square_root_of_a_negative_number_is_not_at_least_zero() -> None:
    query = at_most(Function(lambda x: -torch.sqrt(x)), 0.0)
    assert rbl.verify(None, query, method="ibp").verdict.value != "HOLDS"


def test_outward_bounds_are_taken_over_by_tables(tmp_path: Path) -> None:
    cases = list(Suite(models=("digits-mlp",), eps=(0.02,), limit=6).cases())
    both = [
        rbl.evaluate(cases, ["pgd", "ibp"], arithmetic=name) for name in ("real", "float64-outward", "fp32")
    ]
    for table, word in zip(both, ("real", "outward", "fp32"), strict=True):
        rows = table[table["method"] == "ibp"]
        assert set(rows["arithmetic"]) == {word} and set(table["arithmetic"][table["kind"] == "attack"]) == {
            "real"
        }
        held = rows["verdict"] == "HOLDS"
        assert held.any() and (rows["margin_over_rounding"][held] > 1).all()
        write_results(table, tmp_path / word)
        assert read_results(tmp_path / word).equals(table)
    with pytest.raises(SpecError, match="gives no bounds"):
        rbl.evaluate(cases, ["bab"], arithmetic="fp32")


def test_the_arithmetic_of_a_verifier_is_known() -> None:
    for name in ("real", "float64-outward", "fp32", "fp16", "bf16"):
        assert arithmetic_of(find_arithmetic(name).verifier(CROWN())).name == name


def test_the_command_line_takes_and_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [
        "verify",
        "digits-mlp:certified",
        "robustness",
        "-e",
        "0.01",
        "--json",
        str(tmp_path / "r.json"),
    ]
    assert run([*common, "--arithmetic", "fp32"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["verdict"] == "HOLDS" and found["arithmetic"] == "fp32" and found["margin_over_rounding"] > 1
    assert "every float32 forward pass" in shown and "audit: outward" in shown
    assert run([*common, "--arithmetic", "fp23"]) == 2 and "fp32" in capsys.readouterr().err
    assert run([*common, "--arithmetic", "fp32", "--method", "bab"]) == 2
    assert "gives no bounds" in capsys.readouterr().err


def test_time_that_runs_out_in_the_second_look_leaves_nothing_proved() -> None:
    network = dense()
    query = at_most(network, 30.0)
    bound = outward(IBP())
    assert bound is not None and bool(
        query.holds(bound.bound(from_torch(network, torch.ones(1, 2)), query).upper)
    )
    late = outward(CROWN())
    assert late is not None
    found = late.bound(from_torch(network, torch.ones(1, 2)), query, Budget(seconds=0.0))
    assert not found.complete or bool(query.holds(found.upper))


def test_suites_have_an_arithmetic_and_rows_of_another_do_not_count_as_done(tmp_path: Path) -> None:
    arguments = ["evaluate", "--model", "digits-mlp:certified", "--eps", "0.01", "--limit", "2"]
    arguments += ["--method", "clean", "--method", "ibp", "--out", str(tmp_path)]
    assert run(arguments) == 0 and run([*arguments, "--arithmetic", "fp32"]) == 0
    table = read_results(tmp_path)
    bounds = table[table["method"] == "ibp"]
    assert sorted(bounds["arithmetic"]) == ["fp32", "fp32", "real", "real"]
    assert set(bounds["verdict"]) == {"HOLDS"}
    margins = bounds.set_index(["case", "arithmetic"])["margin_over_rounding"].unstack()
    assert bool((margins["fp32"] < margins["real"]).all())
    assert run([*arguments, "--arithmetic", "fp33"]) == 2
    with pytest.raises(SpecError):
        Suite(models=("digits-mlp:certified",), methods=("bab",), arithmetic="fp32")
