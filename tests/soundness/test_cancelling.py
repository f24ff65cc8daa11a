"""Branches that nearly cancel, where float32 loses what is left; and how memory errors are worded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustbench_local as rbl
from robustbench_local.evaluation.chunks import is_out_of_memory
from robustbench_local.specs import Atom, Box, Query


class Cancelling(nn.Module):
    """relu((size + 1) x + size y + 3 size) - relu(size x + size y + 3 size): x, on the box [-1, 1]^2."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 1), nn.Linear(2, 1)
        with torch.no_grad():
            for layer, slope in ((self.first, size + 1), (self.second, size)):
                layer.weight.copy_(torch.tensor([[slope, size]]))
                layer.bias.fill_(3 * size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.first(x)) - torch.relu(self.second(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1e4, 1e7])
def test_what_cancels_is_never_proved(size: float, dtype: torch.dtype) -> None:
    network = Cancelling(size).eval().requires_grad_(False).to(dtype)
    ones, one = torch.ones(3, 2, dtype=dtype), torch.ones(3, 1, 1, dtype=torch.float64)
    gaps = torch.tensor([[0.1], [1e-3], [1e-5]], dtype=torch.float64)  # the largest violations, at x = 1
    query = Query(network, Box(-ones, ones), one, gaps - 1, Atom(0, False))
    for method in ("ibp", "crown", "alpha-crown", "split", "bab", "milp"):
        result = rbl.verify(network, query, method=method, timeout=0.5)
        assert [case.verdict for case in result.cases if case.verdict == "HOLDS"] == [], method


@pytest.mark.parametrize(
    "text", ["CUDA out of memory", "can't allocate memory", "not enough memory: you tried"]
)
def test_every_wording_of_too_little_memory_is_known(text: str) -> None:
    assert is_out_of_memory(RuntimeError(text)) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
