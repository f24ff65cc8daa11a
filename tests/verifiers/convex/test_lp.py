"""The linear program: hand-computed triangles, order of the methods, validity under any dual values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.convex import LP, CvxpySolver, Highs
from robustbench_local.verifiers.convex.program import Program
from robustbench_local.verifiers.convex.rows import begin
from robustbench_local.verifiers.convex.safe import safe_minimum
from robustbench_local.verifiers.convex.tightening import relaxed
from torch import nn

from robustbench_local.specs import Atom, Ball, Box, InputSet, Query
from robustbench_local.strategies import RandomNetwork, networks, queries
from robustbench_local.verifiers import CROWN, VERIFIERS, Budget, from_torch

from .networks import TIGHT, enumerated, mlp, random_box, rows_query, sampled


def hand(weight: list[list[float]], bias: list[float], out: list[float]) -> nn.Sequential:
    """out . relu(weight x + bias)."""
    first, last = nn.Linear(2, 2, dtype=torch.float64), nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        first.weight.copy_(torch.tensor(weight))
        first.bias.copy_(torch.tensor(bias))
        last.weight.copy_(torch.tensor([out]))
    return nn.Sequential(first, nn.ReLU(), last).eval().requires_grad_(False)


def one_row(network: nn.Module, inputs: InputSet, sign: float = 1.0) -> Query:
    C = torch.full((inputs.batch, 1, 1), sign, dtype=torch.float64)
    return Query(network, inputs, C, torch.zeros(inputs.batch, 1, dtype=torch.float64), Atom(0, strict=True))


UNIT_BOX = Box(-torch.ones(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("out", "sign", "expected"),
    [
        # a = x1 + x2, b = x1 - x2, both in [-2, 2]: the chord is a / 2 + 1, so relu(a) + relu(b) <= x1 + 2
        ([1.0, 1.0], 1.0, 3.0),
        # relu(a) - relu(b) <= a / 2 + 1 - max(b, 0), largest at x1 = x2 = 1
        ([1.0, -1.0], 1.0, 2.0),
        # -(relu(a) + relu(b)) <= 0, reached at the origin
        ([1.0, 1.0], -1.0, 0.0),
    ],
)
@pytest.mark.parametrize("solver", [Highs(), CvxpySolver("CLARABEL"), CvxpySolver("HIGHS")], ids=str)
def test_the_triangle_by_hand(
    solver: Highs | CvxpySolver,
    out: list[float],
    sign: float,
    expected: float,
    capfd: pytest.CaptureFixture[str],
) -> None:
    network = hand([[1.0, 1.0], [1.0, -1.0]], [0.0, 0.0], out)
    query = one_row(network, UNIT_BOX, sign)
    bounds = LP(solver=solver).bound(
        from_torch(network, torch.zeros(1, 2, dtype=torch.float64)), query, TIGHT
    )
    assert float(bounds.upper) == pytest.approx(expected, abs=1e-6)
    assert bounds.complete and bounds.rows.dtype == torch.float64


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tighten", [False, True])
def test_between_the_exact_maximum_and_crown(seed: int, tighten: bool) -> None:
    network = mlp((3, 2), seed)
    query = rows_query(network, random_box(seed, batch=2), 2, rows=1)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    solution = LP(tighten=tighten).solve(graph, query, TIGHT)
    rows, crown = solution.bounds.rows, CROWN().bound(graph, query, TIGHT).rows
    assert bool((rows <= crown + 1e-9).all())
    assert bool((rows >= enumerated(network, query) - 1e-9).all())
    if tighten:
        assert bool((rows <= LP().bound(graph, query, TIGHT).rows + 1e-7).all())
    for b in range(2):
        points = solution.points[b]
        inside = query.select(torch.full((len(points),), b)).inputs.contains(points)
        assert bool(inside.all()), "the points lie in the set"


def test_it_is_tighter_than_crown_somewhere() -> None:
    network = mlp((6, 6), 3)
    query = rows_query(network, random_box(3), 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    gain = CROWN().bound(graph, query, TIGHT).rows - LP().bound(graph, query, TIGHT).rows
    assert float(gain.max()) > 1e-3


@settings(max_examples=10)
@given(data=st.data(), network=networks(depth=4))
def test_points_of_any_network_and_set_stay_below(data: st.DataObject, network: RandomNetwork) -> None:
    graph = from_torch(network, torch.zeros(1, *network.input_shape))
    query = data.draw(queries(network, batch=2))
    bounds = VERIFIERS["lp"].bound(graph, query, TIGHT)
    double = graph.to(torch.float64)
    crown = CROWN().bound(double, query).rows
    seen = sampled(query.with_network(double.run), 60)
    size = 1 + crown.abs()
    assert bool((seen <= bounds.rows + 1e-9 * size).all())
    assert bool((bounds.rows <= crown + 1e-9 * size).all())


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("solver", [Highs(), CvxpySolver("CLARABEL")], ids=str)
def test_round_sets(p: float, solver: Highs | CvxpySolver) -> None:
    network = mlp((5, 4), 2, inputs=3)
    ball = Ball(torch.tensor([[0.2, -0.1, 0.4]], dtype=torch.float64), 0.8, p)
    graph = from_torch(network, torch.zeros(1, 3, dtype=torch.float64))
    for inputs in (ball, ball & Box(torch.zeros(1, 3), torch.ones(1, 3))):
        query = rows_query(network, inputs, 2)
        rows = LP(solver=solver).bound(graph, query, TIGHT).rows
        hull = LP().bound(graph, rows_query(network, inputs.box(), 2), TIGHT).rows
        assert bool((sampled(query) <= rows + 1e-9).all())
        assert bool((rows <= CROWN().bound(graph, query, TIGHT).rows + 1e-9).all())
        assert bool((rows <= hull + 1e-6).all()) and float((hull - rows).max()) > 1e-3


def program_of(seed: int) -> tuple[Program, np.ndarray, float]:  # type: ignore[type-arg]
    """A program, a cost, and the least cost over points of the network itself."""
    network = mlp((4, 4), seed)
    query = rows_query(network, random_box(seed), 2, rows=1)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    sample = next(iter(begin(graph, query, Budget()).samples()))
    relaxation, _ = relaxed((Highs(),), sample, float("inf"), exact=False, tighten=False)
    program = relaxation.grow(sample.graph.output)
    cost = -program.cost(sample.graph.output, query.C[0, 0].numpy())
    return program, cost, -float(sampled(query)[0, 0] - query.d[0, 0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-3, 1.0, 1e6, float("nan"), float("inf")])
def test_sabotaged_dual_values_still_give_valid_bounds(seed: int, noise: float) -> None:
    program, cost, least = program_of(seed)
    answer = Highs().open(program).minimise(cost, float("inf"))
    assert answer.multipliers is not None
    exact = safe_minimum(program, cost, answer.multipliers)
    assert exact == pytest.approx(answer.bound, abs=1e-7) and exact <= least
    generator = np.random.default_rng(seed)
    for _ in range(20):
        wrong = answer.multipliers + noise * generator.standard_normal(len(answer.multipliers))
        bound = safe_minimum(program, cost, wrong)
        assert bound <= least and not np.isnan(bound)
        assert bound <= answer.bound + 1e-7, "no dual value proves more than the optimum"


def test_the_safe_bound_is_never_above_the_bound_in_exact_arithmetic() -> None:
    from fractions import Fraction

    program, cost, _ = program_of(1)
    generator = np.random.default_rng(0)
    dense = program.matrix.toarray()
    for scale in (1.0, 1e-8, 1e8):
        w = scale * generator.standard_normal(len(program.row_lower))
        w = np.where(np.isfinite(np.where(w > 0, program.row_lower, program.row_upper)), w, 0.0)
        total = Fraction(0)
        for i, weight in enumerate(w):
            if weight:
                total += Fraction(weight) * Fraction(
                    float((program.row_lower if weight > 0 else program.row_upper)[i])
                )
        for j in range(program.width):
            r = Fraction(float(cost[j])) - sum(
                (Fraction(float(dense[i, j])) * Fraction(w[i]) for i in range(len(w))), Fraction(0)
            )
            total += r * Fraction(float((program.lower if r > 0 else program.upper)[j]))
        assert Fraction(safe_minimum(program, cost, w)) <= total


def test_dead_neurons_do_not_disturb_the_solver() -> None:
    """A layer with weights of 1e-10 beside a live one: badly scaled rows once made optima false."""
    network = mlp((6, 6), 4)
    with torch.no_grad():
        network[2].weight[3:] *= 1e-10
        network[2].bias[3:] = 1e-10
    query = rows_query(network, random_box(4), 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    rows = LP().bound(graph, query, TIGHT).rows
    assert float((CROWN().bound(graph, query, TIGHT).rows - rows).min()) >= -1e-9
    torch.testing.assert_close(
        rows, LP(solver=CvxpySolver()).bound(graph, query, TIGHT).rows, rtol=0, atol=1e-5
    )
    assert bool((sampled(query) <= rows).all())


def test_without_time_the_rows_are_those_of_crown() -> None:
    network = mlp((5, 5), 1)
    query = rows_query(network, random_box(1, batch=3), 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    bounds = LP(tighten=True).bound(graph, query, Budget(seconds=0, tighten=True))
    assert not bounds.complete
    torch.testing.assert_close(bounds.rows, CROWN().bound(graph, query, Budget(seconds=0, tighten=True)).rows)


def test_the_solver_says_nothing_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    network = mlp((3,), 1)
    LP().bound(
        from_torch(network, torch.zeros(1, 2, dtype=torch.float64)), rows_query(network, random_box(1), 2)
    )
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.Tanh(), nn.LeakyReLU(0.1)], ids=str)
def test_other_activations(activation: nn.Module) -> None:
    network = mlp((5, 4), 6)
    network[1] = network[3] = activation
    query = rows_query(network, random_box(6), 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    rows = LP().bound(graph, query, TIGHT).rows
    assert bool((sampled(query) <= rows).all())
    assert bool((rows <= CROWN().bound(graph, query, TIGHT).rows + 1e-9).all())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_prove_nothing(value: float) -> None:
    network = mlp((3,), 1)
    query = rows_query(network, random_box(1), 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    with torch.no_grad():
        network[0].weight[0, 0] = value  # the graph holds the live weights
    bounds = LP().bound(graph, query, TIGHT)
    assert not bool(query.holds(bounds.upper).any()) and not bool(torch.isfinite(bounds.rows).any())
