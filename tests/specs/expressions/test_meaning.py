"""A lowered formula means what it says: sign of the violation, strictness, ties, clauses."""

from __future__ import annotations

import warnings
from fractions import Fraction

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from robustbench_local.specs.tree import count_clauses
from torch import Tensor

from robustbench_local.specs import (
    Data,
    Formula,
    Net,
    Query,
    Spec,
    Var,
    argmax,
    ball,
    forall,
    implies,
    vmax,
    vmin,
)

from .random_formulas import LABEL, Claim, K, Values, claims

X0 = Data("x0", 2)
X, F = Var("x", like=X0), Net("f", 2, K)
Y = F(X)
B = 6


class Integers(torch.nn.Module):
    """relu(A x) W with small integers: outputs on a grid of integers hit ties and boundaries often."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        self.A = torch.randint(-2, 3, (2, 3), generator=source).double()
        self.W = torch.randint(-2, 3, (3, K), generator=source).double()

    def forward(self, x: Tensor) -> Tensor:
        return (x.double() @ self.A).relu() @ self.W


def lower(body: Formula, network: torch.nn.Module, **values: object) -> Query:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # != and == hit nothing by chance: said elsewhere
        return _spec(body).query(network, **values)


def _spec(body: Formula) -> Spec:
    return forall(X, ball(X0, 1), body).unchecked()  # random formulas may well be trivial


@given(claims(Y), st.integers(0, 1000), st.sampled_from([0.5, -1.0, 0.0]))
@settings(max_examples=150, phases=[Phase.generate])  # large formulas shrink slowly
def test_the_sign_of_the_violation_is_the_truth(claim: Claim, seed: int, t: float) -> None:
    if "f(x)" not in claim.formula.text:
        return
    source = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, (B, 2), generator=source).double()
    c = torch.randint(0, K, (B,), generator=source)
    network = Integers(seed)
    given_values = {"x0": x, "c": c, "t": t}
    spec = _spec(claim.formula)
    query = lower(claim.formula, network, **{k: v for k, v in given_values.items() if k in spec.slots})
    z = query.point(x=x)
    violation, violated = query.violation(z), query.violated(z)
    for b, y in enumerate(network(x).tolist()):
        values: Values = {"y": [Fraction(v) for v in y], "c": int(c[b]), "t": Fraction(t)}
        truth = claim.at(values)
        assert bool(violated[b]) == (not truth)
        assert violation[b] == 0 or bool(violation[b] > 0) == (not truth)
    e = query.atoms(query.network(z))
    assert torch.equal(query.combine(e), violation)
    # the clauses say the same: OR of ANDs is max of min
    if count_clauses(query.tree) <= 200:
        y = query.network(z).unsqueeze(-1)
        clauses = [((C @ y).squeeze(-1) + d).amin(1) for C, d in query.clauses()]
        assert torch.allclose(torch.stack(clauses).amax(0), violation)
    # bounds above the atoms never prove a property that is false here
    assert not (query.holds(violation) & violated).any()
    raised = query.combine(e + torch.rand(e.shape, generator=source, dtype=torch.float64))
    assert (raised >= violation).all() and not (query.holds(raised) & violated).any()


TIES = [
    (argmax(Y) == LABEL, [1.0, 1.0, 0.0], True),  # at a tie c does not lead
    (argmax(Y) != LABEL, [1.0, 1.0, 0.0], True),  # and it is not beaten either
    (~(argmax(Y) == LABEL), [1.0, 1.0, 0.0], False),  # the exact negation
    (~(argmax(Y) != LABEL), [1.0, 1.0, 0.0], False),
    (argmax(Y) == LABEL, [2.0, 1.0, 0.0], False),
    (argmax(Y) != LABEL, [0.0, 1.0, 0.0], False),
    (Y[0] <= 1, [1.0, 0.0, 0.0], False),
    (Y[0] < 1, [1.0, 0.0, 0.0], True),
    (Y[0] == 1, [1.0, 0.0, 0.0], False),
    (Y[0] >= 1, [1.0, 0.0, 0.0], False),
    (Y[0] > 1, [1.0, 0.0, 0.0], True),
    (vmax(Y) <= 1, [1.0, 0.0, 1.0], False),
    (vmax(Y) < 1, [1.0, 0.0, 1.0], True),
    (vmin(Y) >= 1, [1.0, 2.0, 1.0], False),
    (abs(Y[1]) < 2, [0.0, -2.0, 0.0], True),
    (implies(Y[0] >= 1, Y[1] > 0), [1.0, 0.0, 0.0], True),
]


@pytest.mark.parametrize(
    ("body", "y", "violated"), TIES, ids=lambda v: v.text if isinstance(v, Formula) else None
)
def test_boundaries_are_decided_by_strictness(body: Formula, y: list[float], violated: bool) -> None:
    outputs = torch.tensor([y])
    values: dict[str, object] = {"c": 0} if "c" in _spec(body).slots else {}
    query = _spec(body).query(lambda x: outputs, x0=torch.zeros(1, 2), **values)
    assert query.violated(torch.zeros(1, 2)).tolist() == [violated]
    if violated or ("argmax" not in body.text and "==" not in body.text):
        assert abs(float(query.violation(torch.zeros(1, 2)))) in (0.0, 1.0)


def test_equality_asks_for_a_tolerance_once_per_query() -> None:
    with pytest.warns(UserWarning, match=r"`f\(x\)\[0\] != 1` negated.*tolerance") as caught:
        _spec(Y[0] != 1).query(lambda x: torch.ones(2, K), x0=torch.zeros(2, 2))
    assert len(caught) == 1


def test_labels_of_a_batch_choose_their_own_rows() -> None:
    y = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    query = _spec(argmax(Y) == LABEL).query(lambda x: y, x0=torch.zeros(3, 2), c=torch.tensor([0, 1, 2]))
    assert query.violation(torch.zeros(3, 2)).tolist() == [-1.0, 2.0, 1.0]
    assert query.C[1].tolist() == [[1, -1, 0], [0, -1, 1]]
    index = _spec(Y[LABEL] <= 2).query(lambda x: y, x0=torch.zeros(3, 2), c=torch.tensor([0, 1, 2]))
    assert index.violation(torch.zeros(3, 2)).tolist() == [1.0, -1.0, 0.0]


def test_matrix_outputs_and_label_axes() -> None:
    g = Net("g", 2, (2, K))
    y = torch.arange(12.0).reshape(2, 2, K)
    x0 = torch.zeros(2, 2)
    for body, expected in [
        (g(X)[1, LABEL] <= 0, [5.0, 10.0]),
        (g(X)[:, LABEL] <= 0, [5.0, 10.0]),
        (g(X)[..., 0] <= 0, [3.0, 9.0]),
        (g(X)[-1][LABEL] <= 0, [5.0, 10.0]),
        (g(X)[0, ::2] <= 0, [2.0, 8.0]),
    ]:
        spec = _spec(body)
        values = {"c": torch.tensor([2, 1])} if "c" in spec.slots else {}
        assert spec.query(lambda x: y, x0=x0, **values).violation(x0).tolist() == expected


@pytest.mark.parametrize("classes", [2, 3, 32, 33, 400])
def test_two_leaders_compare_alike_by_rows_and_by_features(classes: int) -> None:
    g, h = Net("g", 2, classes), Net("h", 2, classes)
    source = torch.Generator().manual_seed(classes)
    y = torch.randint(0, 4 * classes, (200, classes), generator=source).double()
    z = torch.where(torch.rand(200, 1, generator=source) < 0.5, y, y.flip(1))
    for formula, same in ((argmax(g(X)) == argmax(h(X)), True), (~(argmax(g(X)) == argmax(h(X))), False)):
        query = _spec(formula).query({"g": lambda x: y, "h": lambda x: z}, x0=torch.zeros(200, 2))
        point = query.inputs.centre()
        unique = [(v == v.amax(1, keepdim=True)).sum(1) == 1 for v in (y, z)]
        agree = unique[0] & unique[1] & (y.argmax(1) == z.argmax(1))
        assert torch.equal(query.violated(point), agree != same) and agree.any() and not agree.all()
        top = [v.topk(2).values for v in (y, z)]
        lead = torch.minimum(*(t[:, 0] - t[:, 1] for t in top))
        clear = agree & (lead > 0)
        assert torch.equal(query.violation(point)[clear].abs(), lead[clear])
