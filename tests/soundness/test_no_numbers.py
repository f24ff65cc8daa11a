"""Outputs that are no numbers, anywhere in the expression of a property: it is never said to hold."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.specs import Data, Formula, Net, Query, Var, ball, forall, vmax

from ..specs.expressions.random_formulas import Claim, K, claims

X0 = Data("x0", 2)
X, F = Var("x", like=X0), Net("f", 2, K)
FUNCTIONS = {
    "log of a negative number": lambda t: torch.log(t - 100),
    "root of a negative number": lambda t: torch.sqrt(t - 100),
    "a pole": lambda t: 1 / t,
    "overflow": lambda t: torch.exp(1000 + t),
    "a number": lambda t: 3 * t,
    "difference of infinities": lambda t: torch.exp(1000 + t) - torch.exp(1000 - t),
}
BAD = [kind for kind in FUNCTIONS if kind != "a number"]


class Broken(nn.Module):
    """Three outputs of two inputs, one of them no number for all or some of them."""

    def __init__(self, kind: str, place: int) -> None:
        super().__init__()
        self.kind, self.place = kind, place
        self.scale = nn.Parameter(torch.tensor([[1.0, -1.0], [0.5, 2.0]]), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.scale.to(x)
        outputs = [torch.relu(h[:, :1]), h[:, 1:]]
        outputs.insert(self.place, FUNCTIONS[self.kind](x[:, :1]))
        return torch.cat(outputs, 1)


def asked(formula: Formula, kind: str, place: int) -> Query:
    spec = forall(X, ball(X0, 0.5), formula).unchecked()
    values = {"x0": torch.zeros(1, 2), "c": torch.tensor([1]), "t": 0.5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about == and !=
        return spec.query(Broken(kind, place).eval(), **{k: v for k, v in values.items() if k in spec.slots})


@given(claims(F(X)), st.sampled_from(BAD), st.integers(0, K - 1), st.sampled_from(["ibp", "crown"]))
@settings(max_examples=14, deadline=None, phases=[Phase.generate], derandomize=True)
def test_no_formula_over_it_holds(claim: Claim, kind: str, place: int, method: str) -> None:
    if "f(x)" not in claim.formula.text:
        return
    query = asked(claim.formula, kind, place)
    outputs = query.network(query.inputs.centre())
    if not bool(((query.C != 0).any(1) & ~outputs.isfinite()).any()):
        return  # the formula does not read the output
    found = rbl.verify(None, query, method=method, timeout=5)
    assert found.verdict.value != "HOLDS", (claim.formula.text, kind, place)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_whatever_the_property_says_of_it(kind: str) -> None:
    y, large = F(X), 1e30
    for formula in (y[0] <= large, y[0] >= -large, (y[0] <= large) | (y[0] >= -large), vmax(y) <= large):
        for method in ("ibp", "crown"):
            found = rbl.verify(None, asked(formula, kind, 0), method=method, timeout=5)
            assert (found.verdict.value == "HOLDS") == (kind not in BAD), (formula.text, method)
