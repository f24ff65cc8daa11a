"""Domains of the language become the sets that they say, or refuse with the cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from robustbench_local.specs.expressions.base import Formula
from torch import nn

from robustbench_local.errors import (
    EmptySetError,
    RadiusError,
    RobustBenchError,
    ShapeError,
    SpecError,
    UnboundedSetError,
)
from robustbench_local.specs import (
    Box,
    Choice,
    Data,
    Domain,
    InputSet,
    Levels,
    Net,
    Param,
    Patch,
    Segment,
    SparseBall,
    Union,
    Var,
    WeightedBall,
    ball,
    box,
    choice,
    forall,
    patch,
    reshape,
    segment,
)

SHAPE = (2, 3, 4)
X0, R, POINTS = Data("x0", SHAPE), Data("r", SHAPE), Data("p", (5, *SHAPE))
K = Param("k", 2)
X, F = Var("x", SHAPE), Net("f", SHAPE, 2)
IMAGES = torch.linspace(0, 1, 48).reshape(2, *SHAPE)
VALUES = {
    "x0": IMAGES,
    "r": torch.linspace(0, 0.4, 24).reshape(SHAPE),
    "p": torch.linspace(0, 1, 240).reshape(2, 5, *SHAPE),
}
NETWORK = nn.Sequential(nn.Flatten(), nn.Linear(24, 2)).eval()


def built(domain: Domain | Formula, **values: object) -> InputSet:
    spec = forall(X, domain, F(X)[0] <= F(X)[1] + 100)
    needed = {name: VALUES[name] for name in spec.slots if name in VALUES}
    return spec.query(NETWORK, **{**needed, **values}).inputs


CASES: list[tuple[Domain | Formula, type, str]] = [
    (ball(X0, 2, p=0) & box(0, 1), SparseBall, "ball(x0, 2, p=0) & box(0, 1)"),
    (box(0, 1) & ball(X0, K, p=0, grouped=0), SparseBall, "box(0, 1) & ball(x0, k, p=0, grouped=0)"),
    (
        ball(X0, 2, p=0, grouped=(0, 1)) & ball(X0, 0.1),
        SparseBall,
        "ball(x0, 2, p=0, grouped=(0, 1)) & ball(x0, 0.1, p=inf)",
    ),
    (ball(X0, 1, p=0) & (X >= 0) & (X <= 1), SparseBall, "ball(x0, 1, p=0) & (x >= 0) & (x <= 1)"),
    (patch(X0, size=(2, 2)) & box(0, 1), Patch, "patch(x0, size=(2, 2)) & box(0, 1)"),
    (patch(X0, size=(1, 2), stride=2) & box(0, 1), Patch, "patch(x0, size=(1, 2), stride=2) & box(0, 1)"),
    (
        patch(X0, size=(1, 2), where=[(0, 0), (2, 1)]) & box(0, 1),
        Patch,
        "patch(x0, size=(1, 2), where=[(0, 0), (2, 1)]) & box(0, 1)",
    ),
    (ball(X0, R), Box, "ball(x0, r, p=inf)"),
    (ball(X0, R, p=2), WeightedBall, "ball(x0, r, p=2)"),
    (ball(X0, R, p=1) & box(0, 1), WeightedBall, "ball(x0, r, p=1) & box(0, 1)"),
    (choice(POINTS), Choice, "choice(p)"),
    (choice(POINTS, count=K) & box(0, 1), Choice, "choice(p, count=k) & box(0, 1)"),
    (choice(X[0, 0, 1], [0, 1]) & box(0, 1), Levels, "choice(x[0, 0, 1], [0, 1]) & box(0, 1)"),
    (
        box(0, 1) & choice(X[0, 0, 1:3], [[0, 1], [1, 0]]) & choice(X[1, 1, 1], [0.5]),
        Levels,
        "box(0, 1) & choice(x[0, 0, 1:3], [[0, 1], [1, 0]]) & choice(x[1, 1, 1], [0.5])",
    ),
    (segment(X0, 0.5 * X0), Segment, "segment(x0, 0.5 * x0)"),
    (ball(X0, 0.1) | ball(X0, 0.3, p=2), Union, "ball(x0, 0.1, p=inf) | ball(x0, 0.3, p=2)"),
    (
        (ball(X0, 0.1) | patch(X0, size=(1, 1))) & box(0, 1),
        Union,
        "(ball(x0, 0.1, p=inf) | patch(x0, size=(1, 1))) & box(0, 1)",
    ),
    (box(0, 1) & ((X[0, 0, 0] == 0.5) | (X[0, 0, 0] <= 0.25)), Union, ""),
]


@pytest.mark.parametrize(("domain", "kind", "text"), CASES, ids=[c[2] or "conditions" for c in CASES])
def test_domains_build_their_sets(domain: Domain | Formula, kind: type, text: str) -> None:
    inputs = built(domain)
    assert type(inputs) is kind and inputs.batch in (1, 2) and inputs.shape == SHAPE
    assert not text or domain.text == text
    assert inputs.contains(inputs.project(inputs.centre())).all()


def test_the_numbers_arrive() -> None:
    sparse = built(ball(X0, K, p=0, grouped=0) & box(0, 1), k=torch.tensor([1.0, 3.0]))
    assert isinstance(sparse, SparseBall) and sparse.k.tolist() == [1, 3]
    x = IMAGES.clone()
    x[:, :, 1, 2] = 0.0  # one pixel in both channels
    assert sparse.contains(x).all()
    x[:, :, 0, 0] = 0.5
    assert sparse.contains(x).tolist() == [False, True]
    window = built(patch(X0, size=(2, 3), where=[(1, 0)]) & box(0, 1))
    x = IMAGES.clone()
    x[:, :, 1:3, 0:3] = 1.0
    assert window.contains(x).all()
    x[0, 0, 0, 0] = 0.5
    assert window.contains(x).tolist() == [False, True]
    points = built(choice(POINTS, count=K), k=torch.tensor([1, 4]))
    fourth = VALUES["p"][:, 3]
    assert points.contains(fourth).tolist() == [False, True]
    weighted = built(ball(X0, R, p=1))
    x = IMAGES.clone()
    x[:, 1, 2, 3] += VALUES["r"][1, 2, 3] * 0.99
    assert weighted.contains(x).all() and weighted.contains(IMAGES).all()
    x[:, 0, 0, 0] += 1e-6  # its radius is 0
    assert not weighted.contains(x).any()
    flags = built(choice(X[0, 0, 1], [0, 1]) & box(0, 1))
    x = torch.full((1, *SHAPE), 0.5)
    assert not flags.contains(x).any()
    x[0, 0, 0, 1] = 1.0
    assert flags.contains(x).all()


def test_a_number_is_chosen_among_numbers() -> None:
    d, g = Var("d"), Net("g", 1, 1)
    spec = forall(d, choice([0.5, 2, 7]), g(reshape(d, 1))[0] <= 10)
    inputs = spec.query(nn.Identity()).inputs
    assert inputs.shape == (1,)
    assert inputs.contains(torch.tensor([[2.0]])) and not inputs.contains(torch.tensor([[3.0]]))


def test_a_choice_beside_another_variable_is_a_union_of_cells() -> None:
    a, b, g = Var("a", 3), Var("b", 3), Net("g", 3, 1)
    domain = box(0, 1)(a) & box(0, 1)(b) & choice(b[1], [0, 0.5, 1])
    inputs = forall([a, b], domain, abs(g(a)[0] - g(b)[0]) <= 5).query(nn.Linear(3, 1)).inputs
    assert isinstance(inputs, Union) and len(inputs.members) == 3
    x = torch.full((1, 6), 0.5)
    assert inputs.contains(x)
    x[0, 4] = 0.25
    assert not inputs.contains(x)


def test_a_choice_as_a_condition_of_the_formula() -> None:
    spec = forall(X, box(0, 1), choice(X[0, 0, 0], [0, 1]) | (F(X)[0] <= 100))
    query = spec.query(NETWORK)
    assert query.violation(torch.full((1, *SHAPE), 0.5)) < 0


def test_a_segment_is_a_term_of_its_parameter() -> None:
    t = Var("t")
    line = segment(X0, 1 - X0)
    spec = forall(t, box(0, 1), F(line.at(t))[0] <= 100)
    query = spec.query(NETWORK, x0=IMAGES)
    y = query.network(query.inputs.centre().float())
    half = torch.full((1, *SHAPE), 0.5)
    assert torch.allclose(y[:, 0], NETWORK(half)[0, 0].expand(2), atol=1e-5)


REFUSALS: list[tuple[Callable[[], object], type[RobustBenchError], str, str]] = [
    (
        lambda: built(ball(X0, 2, p=0)),
        UnboundedSetError,
        "E-UNBOUND",
        "`ball(x0, 2, p=0)` lets coordinates take any value. Write ball(x0, 2, p=0) & box(0, 1)",
    ),
    (
        lambda: built(patch(X0, size=(1, 1))),
        UnboundedSetError,
        "E-UNBOUND",
        "Write patch(x0, size=(1, 1)) & box(0, 1)",
    ),
    (
        lambda: built(choice(X[0, 0, 0], [0, 1])),
        UnboundedSetError,
        "E-UNBOUND",
        "`choice(x[0, 0, 0], [0, 1])` leaves the other coordinates free",
    ),
    (lambda: ball(X0, 2, p=2, grouped=0), SpecError, "E-SPEC", "Use grouped= with p=0"),
    (lambda: ball(X0, R, p=0), ShapeError, "E-SHAPE", "`r` has shape (2, 3, 4). Give how many may change"),
    (lambda: ball(X, 2, p=0), SpecError, "E-SPEC", "center `x` depends on the variable"),
    (lambda: ball(X, R, p=2), SpecError, "E-SPEC", "has a radius per coordinate. Give one number"),
    (lambda: built(ball(X0, 2.5, p=0) & box(0, 1)), RadiusError, "E-RADIUS", "k is 2.5"),
    (lambda: built(ball(X0, -R)), RadiusError, "E-RADIUS", "radius is -0.017"),
    (lambda: built(ball(0.5, Data("r", (3, 4)))), ShapeError, "E-SHAPE", "has shape (3, 4), the variable"),
    (lambda: built(ball(X0, 2, p=0, grouped=3) & box(0, 1)), ShapeError, "E-SHAPE", "axes (3,) of points"),
    (
        lambda: built(ball(X0 + 2, 1, p=0) & box(0, 1)),
        EmptySetError,
        "E-VACUOUS",
        "24 coordinates of the centre of sample 0 lie outside the limits, of which k = 1 may change",
    ),
    (lambda: patch(X0, size=(4, 1)), ShapeError, "E-SHAPE", "a window of size (4, 1) in `x0`"),
    (lambda: patch(X0, size=(1, 1), stride=0), ShapeError, "E-SHAPE", "stride is 0"),
    (lambda: patch(X0, size=(1, 1), where="some"), SpecError, "E-SPEC", "where is 'some'"),
    (lambda: patch(X0, size=(1, 1), where=[(0, 0)], stride=2), SpecError, "E-SPEC", "places and a stride"),
    (lambda: patch(Data("v", 5), size=(1, 1)), ShapeError, "E-SHAPE", "`v` has shape (5,). Give an image"),
    (
        lambda: built(patch(X0, size=(1, 1), where=[(3, 0)]) & box(0, 1)),
        ShapeError,
        "E-SHAPE",
        "at (3, 0) leaves the image of (3, 4). Give rows below 3 and columns below 4",
    ),
    (
        lambda: built(patch(X0 + 2, size=(1, 1)) & box(0, 1)),
        EmptySetError,
        "E-VACUOUS",
        "no window of size (1, 1) covers the 24 coordinates",
    ),
    (lambda: choice(3), ShapeError, "E-SHAPE", "`3` is one number"),
    (
        lambda: built(choice([1, 2])),
        ShapeError,
        "E-SHAPE",
        "`[1, 2]` has shape (2,), the points need (2, 3, 4)",
    ),
    (lambda: choice(F(X)[0], [0, 1]), SpecError, "E-SPEC", "`f(x)[0]` is no element of a variable"),
    (lambda: choice(X[0, 0], [0, 1]), ShapeError, "E-SHAPE", "`x[0, 0]` has shape (4,), the values"),
    (lambda: choice(X[0, 0, 0], [0, 1], count=1), SpecError, "E-SPEC", "count= with the values"),
    (lambda: built(choice(POINTS, count=9)), RadiusError, "E-RADIUS", "count is 9.0. Give a whole number"),
    (lambda: built(choice(POINTS + 7) & box(0, 1)), EmptySetError, "E-VACUOUS", "sample 0 has no point"),
    (lambda: segment(X0, R[0]), ShapeError, "E-SHAPE", "`x0` has shape (2, 3, 4), `r[0]` (3, 4)"),
    (lambda: segment(X0, X), SpecError, "E-SPEC", "second `x` depends on the variable"),
    (
        lambda: built((ball(X0, 0.1) | ball(X0 + 5, 0.1, p=2)) & box(0, 1)),
        EmptySetError,
        "E-VACUOUS",
        "misses its box",
    ),
]


@pytest.mark.parametrize(("build", "kind", "code", "message"), REFUSALS, ids=[r[3][:40] for r in REFUSALS])
def test_refusals_name_the_cure(
    build: Callable[[], object], kind: type[RobustBenchError], code: str, message: str
) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert message in str(caught.value) and caught.value.code == code
