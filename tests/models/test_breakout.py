"""The Breakout of row 10.15 and the learning of its schemas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from robustbench_local.models.physics.breakout import GONE, Board, cells, drawn, played, reachable, step
from robustbench_local.models.physics.schema import greedy_schemas

from robustbench_local.errors import DataError

STAY = torch.tensor([1])


def board(row: int, column: int, heading: int, *bricks: tuple[int, int]) -> Board:
    """One board with the paddle at the left of the last row."""
    there = torch.zeros(1, 6, 6, dtype=torch.bool)
    for place in bricks:
        there[0, place[0], place[1]] = True
    paddle, last = torch.tensor([0]), torch.tensor([5])
    return Board(torch.tensor([row * 6 + column]), torch.tensor([heading]), paddle, last, there)


@pytest.mark.parametrize(
    ("start", "cell", "heading", "left"),
    [
        (board(3, 2, 0), (2, 1), 0, 0),  # moves up and left
        (board(0, 2, 0), (0, 2), 2, 0),  # turns at the top wall
        (board(3, 0, 0), (3, 0), 1, 0),  # turns at the left wall
        (board(2, 2, 1, (1, 2)), (2, 2), 3, 0),  # breaks the brick above it
        (board(2, 2, 1, (2, 3)), (2, 2), 0, 0),  # breaks the brick beside it
        (board(2, 2, 1, (1, 3)), (2, 2), 2, 0),  # breaks the brick on its diagonal
        (board(2, 2, 1, (1, 3), (1, 2)), (2, 2), 3, 1),  # the one above comes first
        (board(4, 0, 3), (4, 0), 1, 0),  # turns at the paddle
    ],
)
def test_the_ball_moves_or_turns_in_place(
    start: Board, cell: tuple[int, int], heading: int, left: int
) -> None:
    after, broken = step(start, STAY)
    assert divmod(int(after.ball), 6) == cell and int(after.heading) == heading
    assert int(after.bricks.sum()) == left == int(start.bricks.sum()) - int(broken.sum())


def test_a_ball_that_is_missed_is_gone_for_good() -> None:
    after, _ = step(board(5, 3, 3), STAY)
    assert int(after.ball) == GONE
    again, broken = step(after, STAY)
    assert int(again.ball) == GONE and not bool(broken.any())


def test_what_a_cell_sees_decides_what_becomes_of_it() -> None:
    """No sight has two outcomes, on boards that are played and on boards that are drawn."""
    for parts in (played(20, 30, 5, 3), [drawn(1500, 3)]):
        seen, then = (
            torch.cat(part).flatten(0, 1) for part in zip(*(cells(*one) for one in parts), strict=True)
        )
        assert len(torch.cat((seen, then), 1).unique(dim=0)) == len(seen.unique(dim=0))


def test_games_show_nothing_but_what_is_reachable() -> None:
    every = {tuple(row) for row in torch.cat(reachable(5), 1).byte().tolist()}
    for one in played(20, 40, 5, 4):
        kinds = torch.cat(cells(*one), 2).flatten(0, 1).byte().unique(dim=0)
        assert every.issuperset(map(tuple, kinds.tolist()))


def test_schemas_are_found_again() -> None:
    """From all inputs of (a and b) or c, and never from examples that contradict each other."""
    every = np.array([[n >> k & 1 for k in range(5)] for n in range(32)])
    truth = (every[:, 0] & every[:, 1]) | every[:, 2] == 1
    found = greedy_schemas(every[truth], every[~truth])
    assert sorted(sorted(schema) for schema in found) == [[0, 1], [2]]
    with pytest.raises(DataError, match="all that a positive one has"):
        greedy_schemas(every[:1], every[:1])
