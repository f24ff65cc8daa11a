"""Row 10.10: a learned model of a spring, whose moves in time and in space must commute.

The example of the lecture; cf. Greydanus et al., "Hamiltonian neural networks", NeurIPS 2019, arXiv
1906.01563.
"""

from __future__ import annotations

from math import cos, sin

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Net, Query, Term, Var, box, forall, stack

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["follow", "spring"]

STEP = 0.05  # seconds between two states
OMEGA = 2.0  # radians per second: stiffness OMEGA^2 for mass 1
REACH = (1.0, 1.0, 0.5)  # of place (m), speed (m/s) and anchor (m) in the claims
SHIFT = 0.5  # m
METHODS = ("pgd", "ibp", "crown", "split")


class Spring(nn.Module):
    """(place, speed, anchor), (B, 3) in m, m/s, m -> (place, speed) STEP seconds later; a residual net."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
        )

    def forward(self, state: Tensor) -> Tensor:
        """The next place and speed (B, 2) after `state` (B, 3)."""
        change: Tensor = self.change(state)
        return state[:, :2] + STEP * change


class Step(nn.Module):
    """A control: place and speed after an explicit step with the given pull (3,) per place, speed, anchor."""

    def __init__(self, pull: tuple[float, float, float]) -> None:
        super().__init__()
        self.register_buffer("pull", torch.tensor([[0.0, 1.0, 0.0], pull]))

    def forward(self, state: Tensor) -> Tensor:
        """The next place and speed (B, 2)."""
        pull = self.get_buffer("pull")
        return state[:, :2] + STEP * (state @ pull.T)


def follow(state: Tensor) -> Tensor:
    """Place and speed (N, 2) after STEP seconds of place'' = -OMEGA^2 (place - anchor), in closed form and
    in the dtype of `state` (N, 3): a turn of (place - anchor, speed / OMEGA) by OMEGA STEP radians."""
    place, speed, anchor = state.unbind(1)
    c, s = cos(OMEGA * STEP), sin(OMEGA * STEP)
    away = place - anchor
    return torch.stack((anchor + c * away + s / OMEGA * speed, c * speed - OMEGA * s * away), 1)


def _states(rows: int, generator: torch.Generator, stretch: float = 1.0) -> Tensor:
    """Uniform states (rows, 3) of the claims' box, `stretch` times as wide, moved by up to SHIFT."""
    states = (2 * torch.rand(rows, 3, generator=generator) - 1) * torch.tensor(REACH) * stretch
    shift = (2 * torch.rand(rows, 1, generator=generator) - 1) * SHIFT * stretch
    return states + shift * torch.tensor([1.0, 0.0, 1.0])


def _error(network: nn.Module) -> float:
    states = _states(4096, torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return float(F.mse_loss(network(states), follow(states)))


def _box() -> tuple[list[float], list[float]]:
    return [-r for r in REACH], list(REACH)


def _commutes(tolerance: float) -> Claim:
    def query(network: nn.Module) -> Query:
        s, a, f = Var("s", 3, names=("place", "speed", "anchor")), Var("a"), Net("f", 3, 2)
        moved = f(stack(s[0] + a, s[1], s[2] + a))
        later = f(s)
        claim = abs(moved - stack(later[0] + a, later[1])) <= tolerance
        return forall([s, a], box(*_box())(s) & box(-SHIFT, SHIFT)(a), claim).query(network)

    return Claim(
        name=f"commutes-{tolerance:g}",
        says=f"From every state with |place|, |speed| <= 1 and |anchor| <= 0.5, moving everything by up to "
        f"{SHIFT:g} m and then stepping in time ends within {tolerance:g} of stepping first and moving then.",
        query=query,
        control=lambda: Step((-(OMEGA**2), 0.0, 0.0)),
        control_is="a spring that pulls towards the origin wherever its anchor is",
        methods=METHODS,
        seconds=20.0,
    )


def _reverses(tolerance: float) -> Claim:
    def query(network: nn.Module) -> Query:
        s, f = Var("s", 3, names=("place", "speed", "anchor")), Net("f", 3, 2)
        later = f(s)
        back = f(stack(later[0], -later[1], s[2]))
        claim = abs(back - stack(s[0], -s[1])) <= tolerance
        return forall(s, box(*_box()), claim).query(network)

    return Claim(
        name=f"reverses-{tolerance:g}",
        says=f"A step, the speed turned round, and another step lead back to within {tolerance:g} of the "
        f"start, "
        f"with the speed turned round.",
        query=query,
        control=lambda: Step((-(OMEGA**2), -2.0, OMEGA**2)),
        control_is="a damped spring, which loses speed in both directions of time",
        methods=METHODS,
        seconds=20.0,
    )


def _energy(state: Term, anchor: Term) -> Term:
    return state[1] ** 2 / 2 + OMEGA**2 * (state[0] - anchor) ** 2 / 2


def _conserves(tolerance: float) -> Claim:
    def query(network: nn.Module) -> Query:
        s, f = Var("s", 3, names=("place", "speed", "anchor")), Net("f", 3, 2)
        gained = _energy(f(s), s[2]) - _energy(s, s[2])
        return forall(s, box(*_box()), abs(gained) <= tolerance).query(network)

    return Claim(
        name=f"energy-{tolerance:g}",
        says=f"No step gains or loses more than {tolerance:g} J of energy per kg, of up to 5 J per kg.",
        query=query,
        control=lambda: Step((-(OMEGA**2), 0.0, OMEGA**2)),
        control_is="Euler's explicit step, which gains energy wherever it moves",
        methods=METHODS,
        seconds=20.0,
    )


def _fit(steps: int, price: float) -> Fit:
    """One-step squared error, and `price` times what random states lack of the three symmetries, squared."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        states = _states(20_000, generator, stretch=1.2)
        after = follow(states)

        def loss(step: int) -> Tensor:
            rows = minibatch(len(states), 256, generator)
            later = network(states[rows])
            exact = F.mse_loss(later, after[rows]) / STEP**2
            if price == 0:
                return exact
            return exact + price * _lacks(network, states[rows], later, generator) / STEP**2

        minimise(network, loss, steps=steps, learning_rate=5e-3)

    return fit


def _lacks(network: nn.Module, state: Tensor, later: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squares of what two moves in space and two in time lack of the identity."""
    shift = (2 * torch.rand(len(state), 1, generator=generator) - 1) * SHIFT
    moved = network(state + shift * torch.tensor([1.0, 0.0, 1.0]))
    turn = torch.tensor([1.0, -1.0])
    back = network(torch.cat((later * turn, state[:, 2:]), 1)) * turn
    return F.mse_loss(moved, later + shift * torch.tensor([1.0, 0.0])) + F.mse_loss(back, state[:, :2])


@model(
    ModelCard(
        name="spring",
        family="physics",
        summary="One step of a mass on a spring, learned from states and what follows them.",
        paper="example of the lecture; cf. Hamiltonian neural networks (Greydanus et al., 2019)",
        source="arXiv 1906.01563",
        input_shape=(3,),
        outputs=2,
        task="dynamics",
        dataset="mass on a spring",
        parameters=1_250,
        weights=("nominal", "spec"),
        recipes=("spring-nominal", "spring-spec"),
        faithful="Time and space are moved, and the order of the moves does not matter: the lecture's "
        "picture, "
        "as a property of the learned step.",
        deviates="No paper belongs to the example. The paper compared learns the energy itself, and so "
        "conserves "
        "it by construction; this network learns the step, and symmetries are proved to a tolerance.",
        intended_use="Symmetries of physics as specifications, decided on sets of three and four dimensions.",
        limits="Symmetric to a tolerance per step, which adds up over many; nothing is claimed beyond the "
        "box.",
        licence="Apache-2.0",
    )
)
def spring() -> nn.Module:
    """The untrained network."""
    return Spring()


add_row(
    Row(
        card=RowCard(
            id="10.10",
            section="Episode 10, what makes a good representation: symmetries in physics, the spring",
            shows="A spring may be followed in time and moved in space in any order. A network that learns "
            "one "
            "step from examples knows nothing of this; how far its two orders lie apart at the worst state "
            "is "
            "bracketed.",
            data="20,000 uniform states of a mass on a spring and their successors in closed form; 4,096 "
            "others "
            "for the gate. Generated here, no licence needed.",
            ethics="No person's data. States are uniform, so near and far, slow and fast are represented "
            "alike; "
            "what follows is computed, not measured.",
            parts=(
                "one step: (place, speed, anchor) -> (place, speed)",
                "a step after a move, and a move after a step",
                "a step, the speed turned round, and a step",
            ),
            benefit="Shows symmetry as something that can be checked of any model of dynamics.",
            risk="Three symmetries to a tolerance may be taken for physics being right.",
            mitigation="Tolerances are part of each claim's name, and the gate measures accuracy apart.",
            red_line="Never the model of a machine that moves near people.",
            balance="It simulates what a formula gives exactly, so nobody relies on it; the check is "
            "general.",
            affected="Nobody is affected by a simulated spring.",
            regret="Tolerances chosen because they could be proved: they are far above the typical error.",
        ),
        model="spring",
        gate=Gate("one-step mean squared error", _error, 1e-4, least=False),
        fits={"nominal": _fit(2500, 0.0), "spec": _fit(2500, 1.0)},
        claims=(_commutes(0.01), _reverses(0.01), _conserves(0.05)),
    )
)
