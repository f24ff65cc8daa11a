"""The semidefinite relaxation: its place between MILP and LP, and bounds from wrong multipliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from robustbench_local.verifiers.convex import LP, MILP, SDP, CvxpySolver
from robustbench_local.verifiers.convex.quadratic import Quadratic, quadratic
from robustbench_local.verifiers.convex.rows import begin
from robustbench_local.verifiers.convex.sdp import dual_bound
from torch import nn

from robustbench_local.errors import MissingPackageError, SpecError, UnsupportedOpError
from robustbench_local.verifiers import CROWN, VERIFIERS, Budget, from_torch

from .networks import TIGHT, mlp, random_box, rows_query, sampled


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("solver", ["CLARABEL", "SCS"])
def test_between_the_exact_maximum_and_the_linear_program(seed: int, solver: str) -> None:
    network = mlp((5, 4), seed)
    query = rows_query(network, random_box(seed, batch=2), 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    bounds = SDP(CvxpySolver(solver)).bound(graph, query, TIGHT)
    assert bounds.complete and bounds.rows.dtype == torch.float64
    loose = 1e-5 if solver == "CLARABEL" else 2e-2
    assert bool((bounds.rows >= MILP().bound(graph, query, TIGHT).rows - 1e-5).all())
    assert bool((bounds.rows <= LP().bound(graph, query, TIGHT).rows + loose).all())
    assert bool((bounds.rows <= CROWN().bound(graph, query, TIGHT).rows + 1e-9).all())
    assert bool((sampled(query) <= bounds.rows).all())


def test_convolutions_and_residual_connections() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1, dtype=torch.float64)
            self.last = nn.Linear(9, 2, dtype=torch.float64)
            generator = torch.Generator().manual_seed(0)
            with torch.no_grad():
                for p in self.parameters():
                    p.copy_(0.5 * torch.randn(p.shape, generator=generator, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.reshape(-1, 1, 3, 3)
            return self.last((x + torch.relu(self.conv(x))).flatten(1))  # type: ignore[no-any-return]

    network = Small().eval().requires_grad_(False)
    query = rows_query(network, random_box(4, 9, radius=0.4), 2)
    graph = from_torch(network, torch.zeros(1, 9, dtype=torch.float64))
    rows = VERIFIERS["sdp"].bound(graph, query, TIGHT).rows
    assert bool((sampled(query) <= rows).all())
    assert bool((rows <= LP().bound(graph, query, TIGHT).rows + 2e-2).all())


def data_of(seed: int) -> tuple[Quadratic, np.ndarray, float]:  # type: ignore[type-arg]
    network = mlp((5, 4), seed)
    query = rows_query(network, random_box(seed), 2, rows=1)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    sample = next(iter(begin(graph, query, Budget()).samples()))
    return quadratic(sample, 100), query.C[0, 0].numpy(), float(sampled(query)[0, 0] - query.d[0, 0])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-2, 1.0, 1e4])
def test_any_multipliers_give_a_bound(seed: int, scale: float) -> None:
    data, row, seen = data_of(seed)
    generator = np.random.default_rng(seed)
    k = len(data.y)
    for _ in range(30):
        sizes = (data.width, 3 * k, k)
        kappa, lam, mu = (scale * generator.standard_normal(n) for n in sizes)
        assert dual_bound(data, row, (kappa, lam, mu)) >= seen
    bad = np.full(data.width, np.nan), np.full(3 * k, np.inf), np.full(k, -np.inf)
    assert dual_bound(data, row, bad) >= seen


def test_the_forms_hold_on_the_network() -> None:
    """y, p and the chord of every open ReLU, and the output, at points of the box."""
    network = mlp((5, 4), 1)
    box = random_box(1)
    query = rows_query(network, box, 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    data = quadratic(next(iter(begin(graph, query, Budget()).samples())), 100)
    generator = np.random.default_rng(0)
    for _ in range(50):
        x = box.lower[0].numpy() + generator.random(2) * (box.upper - box.lower)[0].numpy()
        s = np.zeros(data.width)
        s[0], s[1:3] = 1.0, (x - data.inputs[:, 0]) / np.diag(data.inputs[:, 1:3])
        for j in range(len(data.y)):  # later neurons read earlier ones
            s[3 + j] = (max(float(data.p[j] @ s), 0.0) - data.y[j, 0]) / data.y[j, 3 + j]
        assert np.abs(s).max() <= 1 + 1e-9
        y, p, chord = data.y @ s, data.p @ s, data.chord @ s
        assert bool((y >= -1e-12).all() and (y >= p - 1e-12).all() and (chord >= y - 1e-12).all())
        np.testing.assert_allclose(y * (p - y), 0, atol=1e-12)
        expected = network(torch.from_numpy(x).unsqueeze(0))[0].numpy()
        np.testing.assert_allclose(data.output @ s, expected, atol=1e-10)


def test_what_it_refuses() -> None:
    network = mlp((5, 4), 1)
    query = rows_query(network, random_box(1), 2)
    with pytest.raises(UnsupportedOpError, match="the limit is 2"):
        SDP(largest=2).bound(from_torch(network, torch.zeros(1, 2, dtype=torch.float64)), query)
    network[1] = nn.Sigmoid()
    with pytest.raises(UnsupportedOpError, match="ReLU networks only"):
        SDP().bound(from_torch(network, torch.zeros(1, 2, dtype=torch.float64)), query)
    with pytest.raises(SpecError, match="solves no SDPs"):
        SDP(CvxpySolver("HIGHS"))
    assert issubclass(MissingPackageError, ImportError)


def test_without_time_the_rows_are_those_of_crown() -> None:
    network = mlp((5, 4), 1)
    query = rows_query(network, random_box(1), 2)
    graph = from_torch(network, torch.zeros(1, 2, dtype=torch.float64))
    bounds = SDP().bound(graph, query, Budget(seconds=0, tighten=True))
    assert not bounds.complete
    torch.testing.assert_close(bounds.rows, CROWN().bound(graph, query, Budget(seconds=0, tighten=True)).rows)
