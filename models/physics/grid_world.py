"""Row 10.11: a view of a grid world that turns with the world's symmetries.

Higgins et al., "Towards a definition of disentangled representations", arXiv 1812.02230.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Data, Label, Net, Query, Var, argmax, ball, box, forall, pick

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["codes", "grid_world", "moved", "turns"]

ORDERS = (3, 5, 5)  # of the cyclic groups: through the colours, down, to the right
STATES = 75
CODE = 2 * len(ORDERS)
NOISE = 0.01
STEPS = ((1, 0, 0), (0, 1, 0), (0, 0, 1))  # one step of each group, which together make all moves


class View(nn.Module):
    """A grid (B, 75) of 3 colours, 5 rows and 5 columns -> a place on three circles (B, 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(STATES, 64), nn.ReLU(), nn.Linear(64, CODE))

    def forward(self, grid: Tensor) -> Tensor:
        """Cosine and sine for colour, row and column, (B, 6), of `grid` (B, 75)."""
        code: Tensor = self.layers(grid)
        return code


class Exchanged(nn.Module):
    """A control: an exact code of clean grids in which the circles of colour and column are exchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codes", codes()[:, [4, 5, 2, 3, 0, 1]])

    def forward(self, grid: Tensor) -> Tensor:
        """The code (B, 6)."""
        code: Tensor = grid @ self.get_buffer("codes")
        return code


def codes() -> Tensor:
    """The exact code (75, 6) of each state, in the order of the grid's elements."""
    factors = torch.cartesian_prod(*(torch.arange(order) for order in ORDERS))
    angles = 2 * pi * factors / torch.tensor(ORDERS)
    return torch.stack((angles.cos(), angles.sin()), 2).flatten(1)


def moved(step: tuple[int, int, int]) -> list[int]:
    """Where each element comes from when the world moves: grid[:, moved(step)] is the moved grid."""
    places = torch.arange(STATES).reshape(ORDERS)
    order: list[int] = torch.roll(places, step, (0, 1, 2)).flatten().tolist()
    return order


def turns(step: tuple[int, int, int]) -> Tensor:
    """The matrix (6, 6) by which codes turn when the world moves by `step`."""
    blocks: list[Tensor] = []
    for amount, order in zip(step, ORDERS, strict=True):
        angle = torch.tensor(2 * pi * amount / order)
        blocks.append(torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos())).reshape(2, 2))
    turn: Tensor = torch.block_diag(*blocks)
    return turn


def _unequal(network: nn.Module) -> float:
    """The mean square of f(g w) - turn(g) f(w), over all 75 states and all 75 moves, by that of f."""
    grids = torch.eye(STATES)
    with torch.inference_mode():
        code: Tensor = network(grids)
        lost = 0.0
        for step in torch.cartesian_prod(*(torch.arange(order) for order in ORDERS)).tolist():
            after = network(grids[:, moved(step)])
            lost += float((after - code @ turns(step).T).square().mean()) / STATES
    return lost / float(code.square().mean())


def _turn_query(network: nn.Module, grids: Tensor, tolerance: float) -> Query:
    x0, f = Data("x0", STATES), Net("f", STATES, CODE)
    x = Var("x", like=x0)
    code = f(x)
    first, second, third = (
        abs(f(pick(x, moved(step))) - Data(f"turn{k}", (CODE, CODE)) @ code) <= tolerance
        for k, step in enumerate(STEPS)
    )
    spec = forall(x, ball(x0, NOISE) & box(0, 1), first & second & third)
    return spec.query(network, x0=grids, **{f"turn{k}": turns(step) for k, step in enumerate(STEPS)})


def _turns(tolerance: float) -> Claim:
    return Claim(
        name=f"turns-{tolerance:g}",
        says=f"In each of the 75 states, seen with noise up to {NOISE} in every element, a step to the "
        f"right, "
        f"down, or to the next colour turns the code by that step's matrix, to within {tolerance:g}.",
        query=lambda network: _turn_query(network, torch.eye(STATES), tolerance),
        control=Exchanged,
        control_is="an exact code in which the circles of colour and column are exchanged",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _apart(tolerance: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", STATES), Net("f", STATES, CODE)
        x = Var("x", like=x0)
        claims = [abs(f(pick(x, moved((0, 0, k))))[:4] - f(x)[:4]) <= tolerance for k in range(1, 5)]
        spec = forall(x, ball(x0, NOISE) & box(0, 1), claims[0] & claims[1] & claims[2] & claims[3])
        return spec.query(network, x0=torch.eye(STATES))

    return Claim(
        name=f"apart-{tolerance:g}",
        says=f"In each of the 75 states, with noise up to {NOISE}, moving the object along its row changes "
        f"the "
        f"code of colour and row by at most {tolerance:g}.",
        query=query,
        control=Exchanged,
        control_is="an exact code in which the circles of colour and column are exchanged",
        methods=("pgd", "ibp", "crown", "bab"),
    )


def _colour(noise: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", STATES), Net("f", STATES, CODE)
        x, reads = Var("x", like=x0), Data("reads", (ORDERS[0], CODE))
        spec = forall(x, ball(x0, noise) & box(0, 1), argmax(reads @ f(x)) == Label("c", ORDERS[0]))
        mask = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])  # attention: the colour's circle alone
        with torch.no_grad():  # where a circle begins is free: each colour in the first place shows it
            reads_ = network(torch.eye(STATES)[:: ORDERS[1] * ORDERS[2]]) * mask
        labels = torch.arange(STATES) // (ORDERS[1] * ORDERS[2])
        return spec.query(network, x0=torch.eye(STATES), reads=reads_, c=labels)

    return Claim(
        name=f"colour-{noise:g}",
        says=f"In each of the 75 states, with noise up to {noise:g}, the colour is read from its own "
        f"circle, all others masked, by the directions of three clean examples.",
        query=query,
        control=Exchanged,
        control_is="an exact code in which the circles of colour and column are exchanged",
        methods=("clause-pgd", "ibp", "crown", "bab"),
    )


def _fit(steps: int, price: float) -> Fit:
    """Random moves must turn the code, circles have radius 1, and a decoder must find the state again; with a
    price, interval bounds of the claim about turning as well. The decoder is thrown away."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        decoder = nn.Linear(CODE, STATES)
        both = nn.ModuleList((network, decoder))
        tools.initialise(both, generator)
        clean, all_states = torch.eye(STATES), torch.arange(STATES)
        bound = tools.bounder(_turn_query(network, clean[:2], 0.0)) if price else None

        def loss(step: int) -> Tensor:
            noise = (2 * torch.rand(STATES, STATES, generator=generator) - 1) * NOISE
            grids = (clean + noise).clamp(0, 1)
            a, b, c = (int(torch.randint(order, (), generator=generator)) for order in ORDERS)
            code = network(grids)
            after = network(grids[:, moved((a, b, c))])
            turned = F.mse_loss(after, code @ turns((a, b, c)).T)
            radius = (code.reshape(-1, 2).square().sum(1) - 1).square().mean()
            exact: Tensor = turned + radius + 0.1 * F.cross_entropy(decoder(code), all_states)
            if bound is None:
                return exact
            chosen = clean[minibatch(STATES, 8, generator)]
            worst: Tensor = bound(_turn_query(network, chosen, 0.0)).mean()
            return exact + price * min(1.0, 2 * step / steps) * worst

        minimise(both, loss, steps=steps, learning_rate=5e-3)

    return fit


@model(
    ModelCard(
        name="grid-world",
        family="physics",
        summary="A view of a coloured object on a closed 5x5 grid whose code turns as the world moves.",
        paper="Towards a definition of disentangled representations (Higgins et al., 2018)",
        source="arXiv 1812.02230",
        input_shape=(STATES,),
        outputs=CODE,
        task="representation",
        dataset="grid world",
        parameters=5_254,
        weights=("nominal", "spec"),
        recipes=("grid-world-nominal", "grid-world-spec"),
        faithful="The symmetries of the paper's grid world, columns, rows and colours in circles, act each "
        "on a "
        "subspace of its own, linearly.",
        deviates="Three colours on a 5x5 grid; observations are the grid itself, not a picture; the paper "
        "defines, and does not say how to learn: here moves are known while training.",
        intended_use="A definition of representation theory as a claim, decided for all states of a small "
        "world.",
        limits="One object, noise of 0.01 to 0.02 on 75 elements; a code that is nearly linear in the grid "
        "cannot "
        "bear much more.",
        licence="Apache-2.0",
    )
)
def grid_world() -> nn.Module:
    """The untrained network."""
    return View()


add_row(
    Row(
        card=RowCard(
            id="10.11",
            section="Episode 10, what makes a good representation: equivariance, subspaces, attention masks",
            shows="A representation is disentangled when each symmetry of the world turns its own subspace. "
            "Trained to do so on clean and noisy grids, a network keeps to it on average; the claims ask "
            "for the worst noise in every state.",
            data="The 75 states of the world, each with fresh uniform noise in training; the gate measures "
            "all 75 "
            "states under all 75 moves, without noise. Generated here, no licence needed.",
            ethics="No person's data. All states are represented alike; nothing is labelled.",
            parts=(
                "the whole network: grid (75) -> code (6)",
                "the code of a moved grid beside the code of the grid",
                "the colour's circle (2) -> colour, by the directions of three examples",
            ),
            benefit="Makes a definition that is often only plotted into something that can be refuted.",
            risk="Disentangled may be read as understandable or fair, which does not follow.",
            mitigation="The claims name the symmetries, which somebody has to know beforehand.",
            red_line="No decision about anything but grids.",
            balance="A closed grid with one object harms nobody and is small enough for complete answers.",
            affected="Nobody is affected by a simulated grid.",
            regret="That symmetries put in by hand are counted as discovered.",
        ),
        model="grid-world",
        gate=Gate("relative error of equivariance", _unequal, 0.02, least=False),
        fits={"nominal": _fit(1500, 0.0), "spec": _fit(1500, 0.1)},
        claims=(_turns(0.3), _apart(0.3), _colour(0.02)),
    )
)
