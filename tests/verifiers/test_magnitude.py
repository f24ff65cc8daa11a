"""Rounding is measured against what is inside a network, not against what comes out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import (
    VERIFIERS,
    from_torch,
    largest_value,
    rounding_of,
)


class Cancelling(nn.Module):
    """x + size - size: the branches cancel, and in float32 take `x` with them."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.tensor([size]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.size) - self.size


def query(network: nn.Module, threshold: float, upper: float = 1.0) -> Query:
    """Violated where the output is at least the threshold, over [0, upper]."""
    box = Box(torch.zeros(1, 1), torch.full((1, 1), upper))
    C, d = torch.ones(1, 1, 1, dtype=torch.float64), torch.tensor([[-threshold]], dtype=torch.float64)
    return Query(network, box, C, d, Atom(0, False), "f(x) < t")


@pytest.mark.parametrize("size", [2.0, 1e3, 1e9])
def test_the_largest_value_is_inside(size: float) -> None:
    network = Cancelling(size)
    graph = from_torch(network, torch.zeros(1, 1))
    boxes = query(network, 2.0).inputs
    assert largest_value(graph, boxes).tolist() == pytest.approx([size], rel=0.5)
    assert rounding_of(graph, boxes).tolist() == pytest.approx([2048 * 2.0**-52 * size], rel=0.5)


def test_values_without_numbers_do_not_count() -> None:
    class Endless(Cancelling):
        def forward(self, x: Tensor) -> Tensor:
            return torch.exp(-(x - torch.inf).abs()) + self.size

    graph = from_torch(Endless(3.0), torch.zeros(1, 1))
    assert largest_value(graph, query(Endless(3.0), 2.0).inputs).tolist() == [3.0]


@pytest.mark.parametrize("method", ["ibp", "crown-ibp", "crown", "alpha-crown", "split", "bab"])
def test_cancelling_branches_never_hold_wrongly(method: str) -> None:
    """At 2^25 float32 counts in fours: its bound of x <= 1 may be 0. Over the reals 1 is reached."""
    assert method in VERIFIERS
    for size in (2.0**20, 2.0**25, 2.0**30):
        network = Cancelling(size)
        for threshold in (0.5, 0.999, 1.0):
            found = rbl.verify(network, query(network, threshold), method=method, timeout=5.0)
            assert str(found.verdict) != "HOLDS", (size, threshold, found)


def test_cancelling_branches_hold_where_float64_says_so() -> None:
    network = Cancelling(2.0**25)
    found = rbl.verify(network, query(network, 1.5), method="crown")
    assert str(found.verdict) == "HOLDS" and 1.0 - 1.5 <= found.upper < -0.4999  # outward: rounding on top


def test_bounds_within_float64_rounding_are_no_proof() -> None:
    """The margin is real, but smaller than what a float64 bound may be wrong by."""
    network = Cancelling(2.0**40).double()
    found = rbl.verify(network, query(network, 1.0 + 2.0**-12), method="ibp")
    assert (str(found.verdict), found.reason) == ("UNKNOWN", "boundary")
    assert str(rbl.verify(network, query(network, 3.0), method="ibp").verdict) == "HOLDS"
