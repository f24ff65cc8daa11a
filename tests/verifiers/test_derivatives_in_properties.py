"""Properties of derivatives: nothing is proved across a kink that one of its slopes breaks, and no kink is
a counterexample.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import pgd
from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Data, Net, Query, Spec, Var, box, forall, write_vnnlib
from robustbench_local.verifiers import find_verifier, from_torch, jacobian_bounds, write_onnx

from .networks import fill

LOW, HIGH = [-1.0, 0.0, 0.0, -1.0, -1.0, 0.125], [0.0, 1.0, 0.0, -0.125, 1.0, 1.0]


class Of(nn.Module):
    """A function as a network in float64."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("like", torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _at_most(limit: float) -> Spec:
    x, f = Var("x", 1), Net("f", 1, 1)
    return forall(x, box(Data("low", 1), Data("high", 1)), f.derivative(x, 0)[0] <= limit)


def _problems(function: Callable[[Tensor], Tensor], limit: float) -> Query:
    low, high = (torch.tensor(ends, dtype=torch.float64).unsqueeze(1) for ends in (LOW, HIGH))
    return _at_most(limit).query(Of(function).eval(), low=low, high=high)


def _verdicts(function: Callable[[Tensor], Tensor], limit: float) -> str:
    """By an attack and by bounds, a letter per problem: H holds, V violated, ? neither."""
    query = _problems(function, limit)
    graph, found = from_torch(query.network, query.inputs.centre()), pgd(query, restarts=5, seed=0)
    with torch.no_grad():
        proved = query.holds(find_verifier("crown").bound(graph, query).upper)
    assert not bool((proved & found.violated).any())
    return "".join("H" if h else "V" if v else "?" for h, v in zip(proved, found.violated, strict=True))


def test_a_kink_is_neither_proved_nor_a_counterexample() -> None:
    """Boxes: that touch the kink from below, from above, the kink itself, below, across, above."""
    assert _verdicts(torch.relu, 0.5) == "?V?HVV"
    assert _verdicts(torch.relu, 1.0) == "HHHHHH"
    assert _verdicts(lambda x: -torch.relu(-x), 0.5) == "V??VVH"
    # of an affine network the derivative is no function of x at all
    assert _verdicts(lambda x: 2 * x.unflatten(1, (1, 1)).flatten(1) + 1, 2.0) == "HHHHHH"
    assert _verdicts(lambda x: 2 * x.expand(-1, 1), 1.0) == "VVVVVV"
    # the identity, spelled with kinks: its slope is 1, the slopes of the spelling at zero are all of [0, 2]
    assert _verdicts(lambda x: torch.relu(x) - torch.relu(-x), 1.0) == "???H?H"


@pytest.mark.parametrize("method", ["ibp", "crown", "alpha-crown", "forward", "lipschitz"])
def test_bounds_at_a_kink_hold_for_all_its_slopes(method: str) -> None:
    query = _problems(torch.relu, 0.5)
    graph = from_torch(query.network, query.inputs.centre())
    with torch.no_grad():
        upper = find_verifier(method).bound(graph, query).upper
    assert bool((upper >= torch.tensor([0.5, 0.5, 0.5, -0.5, 0.5, 0.5]) - 1e-12).all()), upper
    assert not bool(query.violated(torch.zeros(6, 1, dtype=torch.float64)).any())


def test_bounds_agree_with_those_of_the_jacobian() -> None:
    """Both hold what sampled derivatives do; the property's bounds are at least as wide as those."""
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.1), nn.Linear(8, 2))
    fill(network, 5)
    network = network.double().eval().requires_grad_(False)
    low, high, f, x = Data("low", 3), Data("high", 3), Net("f", 3, 2), Var("x", 3)
    centre = torch.rand(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = {"low": centre - 0.25, "high": centre + 0.25}
    for place in range(3):
        query = forall(x, box(low, high), f.derivative(x, place) <= 0.0).query(network, **values)
        points = query.inputs.sample(
            torch.rand(4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64),
            torch.ones(4, dtype=torch.float64),
        )
        steepest = jacobian_bounds(from_torch(network, centre), query.inputs).upper[:, :, place].amax(1)
        with torch.no_grad():
            graph = from_torch(query.network, centre)
            upper = find_verifier("crown").bound(graph, query).upper
            found = query.violation(points)
        assert bool((found <= upper + 1e-9).all() and (found <= steepest + 1e-9).all())
        assert bool((upper <= 4 * steepest.abs() + 1).all())


def test_files_that_cannot_say_it_refuse_it(tmp_path: Path) -> None:
    query = _problems(torch.relu, 0.5).select(torch.tensor([3]))
    with pytest.raises(RobustBenchError, match="derivative"):
        write_vnnlib(query, tmp_path / "slope.vnnlib", version="2.0")
    with pytest.raises(RobustBenchError, match="jump"):
        write_onnx(query.network, tmp_path / "slope.onnx", input_shape=(1,))
