"""Functions above atoms: their combinations bound, clipping keeps every point that may violate."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.input_splitting.leaves import Leaves
from robustbench_local.verifiers.input_splitting.planes import Clauses, Planes, clip
from scipy.optimize import linprog
from torch import Tensor

from robustbench_local.specs import All, AtLeast, Atom, Box, Query, Tree
from robustbench_local.specs import Any as AnyOf

from ..networks import uniform

ATOMS = [Atom(0, True), Atom(1, False), Atom(2, True)]
TREES: list[Tree] = [
    ATOMS[0],
    All(tuple(ATOMS)),
    AnyOf(tuple(ATOMS)),
    AtLeast(2, tuple(ATOMS)),
    AnyOf((All((ATOMS[0], ATOMS[1])), ATOMS[2])),
    All((AnyOf((ATOMS[0], ATOMS[1])), ATOMS[2])),
]
CPU = torch.device("cpu")


def leaves_of(lower: Tensor, upper: Tensor, atoms: int = 3) -> Leaves:
    n = lower.shape[0]
    rows = torch.zeros(n, atoms, dtype=torch.float64)
    value = torch.full((n,), torch.inf, dtype=torch.float64)
    return Leaves(torch.arange(n), lower, upper, rows, value, torch.zeros_like(lower))


def case_of(seed: int, n: int = 4, d: int = 3) -> tuple[Leaves, Planes, Tensor]:
    """Boxes, functions on them (some constant in a coordinate), and the functions' constants."""
    lower = uniform(seed, (n, d))
    upper = lower + uniform(seed + 1, (n, d), 0, 1) * (uniform(seed + 6, (n, d)) > -0.8)
    slopes = uniform(seed + 2, (n, 3, d)) * (uniform(seed + 3, (n, 3, d)) > -0.5)
    constant = 0.7 * uniform(seed + 4, (n, 3)) - (slopes * (lower + upper).unsqueeze(1) / 2).sum(2)
    top = constant + torch.maximum(slopes * lower.unsqueeze(1), slopes * upper.unsqueeze(1)).sum(2)
    return leaves_of(lower, upper), Planes(slopes, top), constant


def clauses_of(tree: Tree) -> Clauses:
    found = Clauses.of(tree, CPU)
    assert found is not None
    return found


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(TREES), st.sampled_from((0.0, 0.1)))
def test_clipping_keeps_every_point_that_may_violate(seed: int, tree: Tree, margin: float) -> None:
    leaves, planes, constant = case_of(seed)
    margins = torch.full((4,), margin, dtype=torch.float64)
    joint = planes.in_clauses(clauses_of(tree), leaves)
    rest, left = clip(joint, leaves, margins, 3)
    query = Query(lambda x: x, Box(leaves.lower, leaves.upper), planes.slopes, constant, tree)
    whole = joint.value().amax(1)
    for share in uniform(seed + 5, (300, 4, 3), 0, 1).round(decimals=1):  # faces and corners, too
        x = torch.lerp(leaves.lower, leaves.upper, share)
        value = query.violation(x)
        inside = ((rest.lower <= x) & (x <= rest.upper)).all(1) & left
        assert bool((inside | (value < -margins + 1e-9)).all())
        assert bool((value <= whole + 1e-9).all())
        assert bool((value <= torch.maximum(rest.value, -margins) + 1e-9).all())
    assert bool((rest.lower >= leaves.lower).all() and (rest.upper <= leaves.upper).all())
    assert bool((rest.lower <= rest.upper).all())
    assert bool((rest.value[~left] <= -margins[~left]).all())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 3))
def test_a_conjunction_s_bound_against_the_linear_program(seed: int, width: int) -> None:
    leaves, planes, constant = case_of(seed)
    tree = All(tuple(ATOMS[:width]))
    bound = planes.in_clauses(clauses_of(tree), leaves).value().squeeze(1)
    single = planes.top[:, :width].amin(1)
    assert bool((bound <= single + 1e-9).all())
    for b in range(4):  # max t: t <= s_i x + c_i, x in the box
        rows = torch.cat((-planes.slopes[b, :width], torch.ones(width, 1).double()), 1)
        box = [*zip(leaves.lower[b].tolist(), leaves.upper[b].tolist(), strict=True), (None, None)]
        found = linprog([0.0] * 3 + [-1.0], A_ub=rows.numpy(), b_ub=constant[b, :width].numpy(), bounds=box)
        assert float(bound[b]) >= -found.fun - 1e-9
        if width == 2:  # one line search is the whole program
            assert float(bound[b]) <= -found.fun + 1e-9


def test_clipping_by_hand() -> None:
    """x + y - 1.5 on the unit square: only x, y >= 0.5 can be positive; with y - 2 too, nothing can."""
    square = leaves_of(torch.zeros(1, 2).double(), torch.ones(1, 2).double(), 2)
    planes = Planes(torch.tensor([[[1.0, 1.0], [0.0, 1.0]]]).double(), torch.tensor([[0.5, -1.0]]).double())
    none = torch.zeros(1, dtype=torch.float64)

    def clipped(tree: Tree) -> tuple[Leaves, Tensor]:
        return clip(planes.in_clauses(clauses_of(tree), square), square, none, 3)

    rest, left = clipped(Atom(0, True))
    torch.testing.assert_close(rest.lower, torch.full((1, 2), 0.5).double(), rtol=0, atol=1e-4)
    assert rest.upper.tolist() == [[1.0, 1.0]] and left.tolist() == [True]
    _, left = clipped(All((Atom(0, True), Atom(1, True))))
    assert left.tolist() == [False]
    rest, _ = clipped(AnyOf((Atom(0, True), Atom(1, True))))
    torch.testing.assert_close(rest.lower, torch.full((1, 2), 0.5).double(), rtol=0, atol=1e-4)


def test_two_rows_that_exclude_each_other_only_together() -> None:
    """x - 0.6 and 0.4 - x are positive somewhere on [0, 1] each, never both."""
    line = leaves_of(torch.zeros(1, 1).double(), torch.ones(1, 1).double(), 2)
    planes = Planes(torch.tensor([[[1.0], [-1.0]]]).double(), torch.tensor([[0.4, 0.4]]).double())
    joint = planes.in_clauses(clauses_of(All((Atom(0, True), Atom(1, True)))), line)
    torch.testing.assert_close(joint.value(), torch.full((1, 1), -0.1).double())


def test_unknown_functions_bound_and_clip_nothing() -> None:
    nan = torch.nan
    square = leaves_of(torch.zeros(1, 2).double(), torch.ones(1, 2).double(), 2)
    planes = Planes(torch.tensor([[[nan, 1.0], [0.0, 1.0]]]).double(), torch.tensor([[nan, 3.0]]).double())
    none = torch.zeros(1, dtype=torch.float64)
    for tree in (Atom(0, True), All((Atom(0, True), Atom(1, True))), AnyOf((Atom(0, True), Atom(1, True)))):
        joint = planes.in_clauses(clauses_of(tree), square)
        rest, left = clip(joint, square, none, 3)
        assert left.tolist() == [True] and not bool((rest.value < 3.0).any())
        assert torch.equal(rest.lower, square.lower) and torch.equal(rest.upper, square.upper)
