"""A small Breakout with exact rules, and what each of its cells sees: the world of row 10.15."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ACTIONS", "SEEN", "TARGETS", "Board", "cells", "drawn", "played", "reachable", "step"]

SIZE = 6
BRICK_ROW = 1
HEADINGS = ("up-left", "up-right", "down-left", "down-right")
ATTRIBUTES = (*(f"ball {heading}" for heading in HEADINGS), "paddle", "brick", "wall", "open")
PADDLE, BRICK, WALL, OPEN = 4, 5, 6, 7
ACTIONS = ("left", "stay", "right")
TARGETS = (*ATTRIBUTES[:PADDLE], "paddle", "brick breaks")
SEEN = 9 * len(ATTRIBUTES) + len(ACTIONS)
GONE = SIZE * SIZE  # the cell of a ball that has left through the open bottom


@dataclass(frozen=True, slots=True, eq=False)
class Board:
    """N boards: ball (N,) cell counted by rows or GONE, heading (N,), paddle (N,) column, row (N,) of the
    paddle, bricks (N, 6, 6) bool."""

    ball: Tensor
    heading: Tensor
    paddle: Tensor
    row: Tensor
    bricks: Tensor

    def select(self, index: Tensor) -> Board:
        """The boards of `index`."""
        return Board(*(part[index] for part in (self.ball, self.heading, self.paddle, self.row, self.bricks)))

    def planes(self) -> Tensor:
        """Attributes of all cells and of one cell around them, (N, 8, 8, 8) bool. Left, right and top are
        walls."""
        n = torch.arange(len(self.ball))
        planes = torch.zeros(len(n), len(ATTRIBUTES), SIZE + 2, SIZE + 2, dtype=torch.bool)
        planes[:, WALL, 0] = planes[:, WALL, :-1, 0] = planes[:, WALL, :-1, -1] = True
        planes[:, BRICK, 1:-1, 1:-1] = self.bricks
        planes[n, PADDLE, self.row + 1, self.paddle + 1] = True
        here = self.ball < GONE
        rows, columns = self.ball[here] // SIZE + 1, self.ball[here] % SIZE + 1
        planes[n[here], self.heading[here], rows, columns] = True
        planes[:, OPEN] = ~planes[:, PADDLE:OPEN].any(1)
        return planes


def step(board: Board, action: Tensor) -> tuple[Board, Tensor]:
    """The next boards after actions (N,), and which bricks break, (N, 6, 6) bool.

    The ball looks along its column, then along its row, then along its diagonal: what is solid there turns
    it in place, and breaks if it is a brick; otherwise it moves. The paddle moves by one column and stops at
    the walls.
    """
    planes = board.planes()
    solid, n = ~planes[:, OPEN], torch.arange(len(board.ball))
    here = board.ball < GONE
    row = torch.where(here, board.ball // SIZE, 0) + 1
    column = torch.where(here, board.ball % SIZE, 0) + 1
    down, right = 2 * (board.heading // 2) - 1, 2 * (board.heading % 2) - 1
    vertical = solid[n, row + down, column]
    horizontal = ~vertical & solid[n, row, column + right]
    diagonal = ~vertical & ~horizontal & solid[n, row + down, column + right]
    turns = here & (vertical | horizontal | diagonal)
    struck = torch.zeros_like(solid)
    struck[n, row + down * ~horizontal, column + right * ~vertical] = turns
    broken = (struck & planes[:, BRICK])[:, 1:-1, 1:-1]
    new_row, new_column = row + down * ~turns - 1, column + right * ~turns - 1
    ball = torch.where(here & (new_row < SIZE), new_row * SIZE + new_column, GONE)
    down = torch.where(vertical | diagonal, -down, down)
    right = torch.where(horizontal | diagonal, -right, right)
    heading = torch.where(ball < GONE, (down + 1) + (right + 1) // 2, 0)
    paddle = (board.paddle + action - 1).clamp(0, SIZE - 1)
    return Board(ball, heading, paddle, board.row, board.bricks & ~broken), broken


def cells(board: Board, action: Tensor) -> tuple[Tensor, Tensor]:
    """What each cell sees and what becomes of it, (N, 36, SEEN) and (N, 36, len(TARGETS)), of 0 and 1.

    A cell sees the eight attributes of itself and its eight neighbours, and the action.
    """
    after, broken = step(board, action)
    around = F.unfold(board.planes().float(), 3).transpose(1, 2)
    chosen = F.one_hot(action, len(ACTIONS)).float().unsqueeze(1).expand(-1, SIZE * SIZE, -1)
    then = torch.cat((after.planes()[:, :BRICK, 1:-1, 1:-1], broken.unsqueeze(1)), 1)
    return torch.cat((around, chosen), 2), then.flatten(2).transpose(1, 2).float()


def _starts(row: int) -> Board:
    """All starts: a full row of bricks, the ball in any column of the fourth row going up, the paddle in the
    third column."""
    ball = torch.arange(3 * SIZE, 4 * SIZE).repeat_interleave(2)
    bricks = torch.zeros(2 * SIZE, SIZE, SIZE, dtype=torch.bool)
    bricks[:, BRICK_ROW] = True
    same = torch.ones(2 * SIZE, dtype=torch.long)
    return Board(ball, torch.arange(2).repeat(SIZE), 2 * same, row * same, bricks)


def played(games: int, length: int, row: int, seed: int) -> Iterator[tuple[Board, Tensor]]:
    """Boards and actions of games from random starts, step by step; half of the actions follow the ball's
    column, the others are drawn."""
    generator = torch.Generator().manual_seed(seed)
    starts = _starts(row)
    board = starts.select(torch.randint(len(starts.ball), (games,), generator=generator))
    for _ in range(length):
        follow = (board.ball % SIZE - board.paddle).sign() + 1
        drawn_ = torch.randint(len(ACTIONS), (games,), generator=generator)
        action = torch.where(torch.rand(games, generator=generator) < 0.5, follow, drawn_)
        yield board, action
        board = step(board, action)[0]


def drawn(rows: int, seed: int) -> tuple[Board, Tensor]:
    """Boards that nobody played, and actions: the ball anywhere on an open cell, the paddle anywhere, every
    other cell a brick with probability 1/5."""
    generator = torch.Generator().manual_seed(seed)

    def number(below: int) -> Tensor:
        return torch.randint(below, (rows,), generator=generator)

    ball, n = number(GONE), torch.arange(rows)
    paddle, row = number(SIZE), number(SIZE)
    bricks = torch.rand(rows, SIZE, SIZE, generator=generator) < 0.2
    bricks[n, row, paddle] = False
    bricks[n, ball // SIZE, ball % SIZE] = False
    keep = ball != row * SIZE + paddle
    return Board(ball, number(4), paddle, row, bricks).select(keep), number(len(ACTIONS))[keep]


@functools.cache
def reachable(row: int) -> tuple[Tensor, Tensor]:
    """Everything that any cell can ever see and what becomes of it, each once, (K, SEEN) and (K,
    len(TARGETS)), in games with the paddle in `row`, by a search through all boards that can follow."""
    found = front = _code(_starts(row)).unique()
    while len(front):
        nexts = [_code(step(_board(front, row), torch.full_like(front, a))[0]) for a in range(len(ACTIONS))]
        after = torch.cat(nexts).unique()
        front = after[~torch.isin(after, found)]
        found = torch.cat((found, front))
    kinds = [_kinds(part, row, a) for part in found.split(4096) for a in range(len(ACTIONS))]
    every = torch.cat(kinds).unique(dim=0).float()
    return every[:, :SEEN], every[:, SEEN:]


def _kinds(codes: Tensor, row: int, action: int) -> Tensor:
    seen, then = cells(_board(codes, row), torch.full_like(codes, action))
    kinds: Tensor = torch.cat((seen, then), 2).flatten(0, 1).to(torch.uint8).unique(dim=0)
    return kinds


def _code(board: Board) -> Tensor:
    """One number per board, (N,), of those whose bricks are all in BRICK_ROW."""
    places = 2 ** torch.arange(SIZE)
    bricks = (board.bricks[:, BRICK_ROW] * places).sum(1)
    code: Tensor = ((board.ball * len(HEADINGS) + board.heading) * SIZE + board.paddle) * 2**SIZE + bricks
    return code


def _board(code: Tensor, row: int) -> Board:
    bricks = torch.zeros(len(code), SIZE, SIZE, dtype=torch.bool)
    bricks[:, BRICK_ROW] = (code.unsqueeze(1) // 2 ** torch.arange(SIZE)) % 2 == 1
    code = code // 2**SIZE
    ball, heading = code // SIZE // len(HEADINGS), code // SIZE % len(HEADINGS)
    return Board(ball, heading, code % SIZE, torch.full_like(code, row), bricks)
