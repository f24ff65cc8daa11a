"""Candidates for splits: what planes lose, in the same units whatever the function."""

from __future__ import annotations

import pytest
import torch
from robustbench_local.verifiers.branching.candidates import candidates
from torch import Tensor, nn

from robustbench_local.specs import Box
from robustbench_local.verifiers import from_torch, interval_bounds


class Sum(nn.Module):
    """A product of two inputs, and a ReLU of each of the other two, added up with weights."""

    def __init__(self, weight: float, other: float) -> None:
        super().__init__()
        self.weight, self.other = weight, other

    def forward(self, x: Tensor) -> Tensor:
        product = x[:, 0:1] * x[:, 1:2]
        return self.weight * product + self.other * torch.relu(x[:, 2:4]).sum(1, keepdim=True)


@pytest.mark.parametrize(("weight", "first"), [(10.0, True), (-10.0, True), (0.1, False), (-0.1, False)])
def test_the_function_that_loses_most_is_split_first(weight: float, first: bool) -> None:
    network = Sum(weight, -1.0).eval()
    graph = from_torch(network, torch.zeros(1, 4))
    boxes = interval_bounds(graph, Box(-torch.ones(1, 4), torch.ones(1, 4)))
    product = next(n for n in graph.nodes if n.op is torch.ops.aten.mul.Tensor and len(n.inputs) == 2)
    relu = next(n for n in graph.nodes if n.op is torch.ops.aten.relu.default)
    seen = {product: torch.full((1, 1, 1), weight), relu: torch.full((1, 1, 2), -1.0)}
    node, _, point, _, score = candidates(graph, boxes, seen, 4)
    numbers = {parent.index for parent in product.inputs}
    assert (int(node[0, 0]) in numbers) == first
    ours = torch.tensor([int(n) in numbers for n in node[0].tolist()])
    # of w x y on the square the planes lose |w| at the centre, of -relu on -1..1 the chord loses 1/2 at zero
    assert float(score[0][ours].sum()) == pytest.approx(abs(weight))
    assert score[0][~ours].tolist() == pytest.approx([0.5, 0.5])
    assert bool((point == 0).all())
