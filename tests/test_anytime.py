"""Anytime curves: work is counted as the attack spends it, and what is broken stays broken."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from robustbench_local.anytime import BUDGETS, anytime, unbroken
from robustbench_local.attacks import ATTACKS
from robustbench_local.cli import run
from robustbench_local.diagnostics.watching import Meter, Tally
from robustbench_local.errors import UnknownNameError
from robustbench_local.evaluation import Cases
from robustbench_local.problems import problems_of
from robustbench_local.specs import robustness

CHEAP = ("fgsm", "pgd", "apgd", "square", "random")


def cases() -> Cases:
    """A linear classifier: sample 0 cannot be broken, sample 1 is, sample 2 is wrong at once."""
    network = nn.Linear(2, 2, bias=False).eval()
    network.weight.data = torch.eye(2)
    x0 = torch.tensor([[0.9, 0.1], [0.55, 0.5], [0.2, 0.8]])
    values = {"x0": x0, "c": torch.zeros(3, dtype=torch.int64), "eps": 0.1}
    (found,) = problems_of(network, robustness(2, 2), values, device=None)
    return found


@pytest.mark.parametrize("name", CHEAP)
def test_work_only_grows_and_what_is_broken_stays_broken(name: str) -> None:
    table = anytime(cases(), {name: ATTACKS[name]})
    assert list(table) == ["attack", "case", *BUDGETS, "violation", "broken"]
    for _, lines in table.groupby("case"):
        for column in (*BUDGETS, "violation", "broken"):
            assert lines[column].is_monotonic_increasing
    ends = table.groupby("case").last()
    assert ends["broken"].tolist() == [False, True, True]
    if name == "pgd":
        assert ends["violation"].iloc[0] == pytest.approx(-0.6, abs=1e-6), "0.9 - 0.1 against 0.1 + 0.1"
    assert (ends["forwards"] > 0).all() and (ends["seconds"] > 0).all()
    first = table[(table["case"] == "2") & table["broken"]].iloc[0]
    assert first["forwards"] <= 2, "wrong where the attack begins"


@pytest.mark.parametrize("name", ["pgd", "square"])
def test_passes_are_those_that_the_network_makes(name: str) -> None:
    one = cases().select(torch.tensor([0]))
    tally = Tally()
    counted = one.query.with_network(Meter(one.network, tally))
    ATTACKS[name](counted, start=one.starts(), seed=0, ids=list(one.ids))
    end = anytime(one, {name: ATTACKS[name]}).iloc[-1]
    assert (end["forwards"], end["backwards"]) == (tally.forwards, tally.backwards)
    assert (end["backwards"] > 0) == (name == "pgd")


def test_the_attack_is_not_changed_by_being_watched() -> None:
    one = cases()
    plain = ATTACKS["pgd"](one.query, start=one.starts(), seed=3, ids=list(one.ids))
    table = anytime(one, {"pgd": ATTACKS["pgd"]}, seed=3)
    ends = table.groupby("case")["violation"].last()
    assert torch.allclose(torch.tensor(ends.tolist()), plain.violation.double().float(), atol=1e-6)


def test_points_outside_the_set_do_not_count() -> None:
    class Far(nn.Module):
        """Bad everywhere but in the set."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack((torch.ones(len(x)), 3 * (x[:, 0] > 0.75).float()), 1)

    values = {"x0": torch.tensor([[0.5, 0.5]]), "c": [0], "eps": 0.1}
    (one,) = problems_of(Far().eval(), robustness(2, 2), values, device=None)

    def leaves(query, **_: object):  # type: ignore[no-untyped-def]
        query.network(torch.tensor([[0.9, 0.5]]))
        query.network(torch.tensor([[0.5, 0.5]]))

    table = anytime(one, {"leaves": leaves})  # type: ignore[dict-item]
    assert not table["broken"].any() and table["violation"].iloc[-1] == -1.0
    assert table["forwards"].iloc[-1] == 2


def test_shares_fall_where_cases_are_broken() -> None:
    lines = [
        ("a", "0", 5, True),
        ("a", "1", 9, False),
        ("a", "2", 5, True),
        ("a", "3", 7, True),
        ("b", "0", 4, False),
    ]
    table = pd.DataFrame(
        [
            {
                "attack": a,
                "case": c,
                "forwards": n,
                "backwards": 0,
                "seconds": n / 10,
                "violation": 0.0,
                "broken": b,
            }
            for a, c, n, b in lines
        ]
    )
    found = unbroken(table)
    a = found[found["attack"] == "a"]
    assert a["forwards"].tolist() == [0, 5, 7, 9] and a["share"].tolist() == [1, 0.5, 0.25, 0.25]
    assert found[found["attack"] == "b"]["share"].tolist() == [1, 1]
    with pytest.raises(UnknownNameError, match="unknown budget"):
        unbroken(table, "queries")


def test_the_command_writes_a_page_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, table = tmp_path / "curves.html", tmp_path / "curves.csv"
    words = ["attack", "digits-mlp:nominal", "robustness", "--first", "4", "--eps", "0.05"]
    assert run([*words, "--curves", str(page), "--also", "square"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "forward passes per case" in text and "square" in text and "http-equiv" not in text
    assert run([*words, "--curves", str(table)]) == 0
    found = pd.read_csv(table)
    assert (
        set(found["attack"]) == {"pgd"}
        and found["case"].nunique() == 4
        and not math.isnan(found["violation"].iloc[-1])
    )
    assert run([*words, "--curves", str(table), "--also", "squared"]) == 2
    assert "Did you mean 'square'" in capsys.readouterr().err
