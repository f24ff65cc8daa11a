"""Where cuts pay: learned from trial cuts, by sample, and worth it."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from robustbench_local.verifiers.input_splitting.directions import Directions, halves
from robustbench_local.verifiers.input_splitting.leaves import Leaves, Whole
from torch import nn

from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import InputSplitting, from_torch

AXES = torch.tensor([[0, 1, 2], [0, 1, 2]])
WHOLE = Whole(torch.zeros(2, 3).double(), torch.tensor([[1.0, 2.0, 4.0], [1.0, 1.0, 0.0]]).double(), AXES)


def leaves(owner: list[int], upper: list[list[float]], value: list[float]) -> Leaves:
    top = torch.tensor(upper, dtype=torch.float64)
    bound = torch.tensor(value, dtype=torch.float64)
    return Leaves(
        torch.tensor(owner), torch.zeros_like(top), top, bound.unsqueeze(1), bound, torch.ones_like(top)
    )


def directions() -> Directions:
    return Directions(WHOLE, torch.zeros(2, 3).double(), torch.zeros(2, dtype=torch.int64))


def test_halves_are_those_of_every_coordinate() -> None:
    parts = halves(leaves([0, 1], [[1.0, 2.0, 4.0], [1.0, 1.0, 0.0]], [1.0, 2.0]))
    assert len(parts) == 12 and parts.owner.tolist() == ([0] * 3 + [1] * 3) * 2
    assert parts.upper[:3].tolist() == [[0.5, 2.0, 4.0], [1.0, 1.0, 4.0], [1.0, 2.0, 2.0]]
    assert parts.lower[6:9].tolist() == [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]
    assert torch.equal(parts.upper[6:9], parts.upper.new_tensor([[1.0, 2.0, 4.0]] * 3))


def test_gains_are_learned_per_sample_and_width() -> None:
    found = directions()
    # the second coordinate is half as wide as it was and takes off half of what it can: the best by width
    found.learn(leaves([0], [[1.0, 1.0, 4.0]], [1.0]), torch.tensor([[0.4, 0.5, 1.0]]).double())
    assert found.looked.tolist() == [6, 0]
    both = leaves([0, 0, 1], [[1.0, 2.0, 4.0], [1.0, 0.2, 4.0], [1.0, 1.0, 0.0]], [1.0, 1.0, 1.0])
    score = found.scored(both).score
    assert score.argmax(1).tolist()[:2] == [1, 0], "a narrow coordinate has given what it had"
    assert float(score[0, 2]) > 0, "no coordinate is given up"
    assert score[2].tolist() == [1.0, 1.0, 1.0], "nothing is known of the other sample"
    found.learn(both.select(torch.tensor([2])), torch.tensor([[1.0, 0.2, torch.nan]]).double())
    assert found.scored(both).score[2].argmax() == 1 and float(found.scored(both).score[2, 2]) == 0


def test_trials_are_a_small_part_of_the_work() -> None:
    found, some = directions(), leaves([0] * 40, [[1.0, 2.0, 4.0]] * 40, [1.0] * 40)
    count = torch.tensor([0, 0])
    spent = 0
    for _ in range(50):
        count = count + torch.tensor([40, 0])
        tried = some.select(found.due(some, count, 512))
        assert len(tried) <= 8
        spent += 2 * 3 * len(tried)
        found.learn(tried, torch.zeros(len(tried), 3).double())
    assert 0 < spent <= 48 + int(count[0]) // 8
    assert len(found.due(leaves([0], [[1.0, 2.0, 4.0]], [torch.inf]), count * 100, 512)) == 0


def network(seed: int) -> nn.Sequential:
    """Random layers that depend more on some of the four inputs."""
    source, layers = torch.Generator().manual_seed(seed), []
    for n, m in pairwise((4, 24, 24, 1)):
        linear = nn.Linear(n, m)
        linear.weight.data = torch.randn(m, n, generator=source) * (1.5 / n**0.5)
        linear.bias.data = torch.randn(m, generator=source) * 0.3
        layers += [linear, nn.Tanh()]
    layers[0].weight.data *= torch.tensor([0.2, 0.5, 1.0, 2.0])
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def parts_bounded(seed: int) -> int:
    """Parts that a proof takes just above the maximum."""
    net = network(seed)
    points = 2 * torch.rand(100_000, 4, generator=torch.Generator().manual_seed(0)) - 1
    row, offset = torch.ones(1, 1, 1).double(), torch.full((1, 1), -float(net(points).max()) - 0.1).double()
    query = Query(net, Box(-torch.ones(1, 4), torch.ones(1, 4)), row, offset, Atom(0, True))
    search = InputSplitting(parts=20_000)
    bounds, state = search.resumed(from_torch(net, torch.zeros(1, 4)), query)
    assert state is not None and bounds.complete and bool(query.holds(bounds.upper))
    return int(state.tally.count)


def test_learned_cuts_need_fewer_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = sum(parts_bounded(seed) for seed in (0, 2))
    monkeypatch.setattr(Directions, "scored", lambda self, leaves: leaves)
    assert ours < 0.85 * sum(parts_bounded(seed) for seed in (0, 2))
