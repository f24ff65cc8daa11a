"""Unions of sets in `evaluate`: what the hull leaves open, the members decide; and no more than they do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.evaluation import Cases, evaluate
from robustbench_local.specs import Domain, Net, Query, Var, box, choice, forall
from robustbench_local.verifiers import VERIFIERS


class Size(nn.Module):
    """x (B, 1) -> |x|, spelled so that bounds over both signs are loose."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) + torch.relu(-x)


def _query(set_: Domain, least: float) -> Query:
    x, f = Var("x", 1), Net("f", 1, 1)
    return forall(x, set_, f(x)[0] >= least).query(Size().eval())


def _row(query: Query, method: str) -> dict[str, object]:
    cases = Cases(
        model="size",
        network=query.network,
        model_hash="",
        family="test",
        dataset="none",
        ids=range(query.batch),
        query=query,
        spec="size",
        norm="",
        eps=0.0,
    )
    table = evaluate([cases], {method: VERIFIERS[method]}, timeout=20)
    return dict(table.iloc[0])


SETS = {
    "union": box(-2.0, -1.0) | box(1.0, 2.0),
    "choice": choice(torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("method", ["ibp", "crown", "split"])
def test_members_decide_what_the_hull_leaves_open(name: str, method: str) -> None:
    row = _row(_query(SETS[name], 0.5), method)
    assert row["verdict"] == "HOLDS" and row["upper"] == pytest.approx(-0.5, abs=1e-5)


@pytest.mark.parametrize("name", SETS)
def test_one_bad_member_is_enough_to_leave_a_problem_open_or_violated(name: str) -> None:
    row = _row(_query(SETS[name], 1.5), "ibp")
    assert row["verdict"] == "UNKNOWN" and row["upper"] == pytest.approx(0.5, abs=1e-5)
    row = _row(_query(SETS[name], 1.5), "split")
    assert row["verdict"] == "VIOLATED" and row["upper"] >= row["lower"] > 0
