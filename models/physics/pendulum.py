"""Row 12.03: a learned model of a damped pendulum, which must not gain energy.

Qin et al., "Verification of non-linear specifications for neural networks", ICLR 2019, arXiv 1902.09592.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Net, Query, Term, Var, box, cos, forall

from ..card import ModelCard
from ..fitting import minibatch, minimise
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row

__all__ = ["Pendulum", "pendulum"]

STEP = 0.05  # seconds between two states
DAMPING = 0.3  # per second
REACH = 1.5  # of angle (rad) and speed (rad/s) in the claims
INSIDE = 20  # sub-steps of the simulation


class Pendulum(nn.Module):
    """(angle, speed), (B, 2) in rad and rad/s -> the same STEP seconds later; a residual 2-32-32-2 net."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
        )

    def forward(self, state: Tensor) -> Tensor:
        """The next state (B, 2) of `state` (B, 2)."""
        change: Tensor = self.change(state)
        return state + STEP * change


class Drifting(nn.Module):
    """A control: Euler's explicit step of a spring, which gains energy wherever it moves."""

    def forward(self, state: Tensor) -> Tensor:
        """The next state (B, 2)."""
        angle, speed = state[:, :1], state[:, 1:]
        return torch.cat((angle + STEP * speed, speed - STEP * angle), 1)


def simulate(state: Tensor) -> Tensor:
    """The state (N, 2) after STEP seconds of angle'' = -sin angle - DAMPING * angle', float64, by
    Runge-Kutta of fourth order (units: length / gravity = 1)."""

    def slope(s: Tensor) -> Tensor:
        return torch.stack((s[:, 1], -torch.sin(s[:, 0]) - DAMPING * s[:, 1]), 1)

    h = STEP / INSIDE
    for _ in range(INSIDE):
        a = slope(state)
        b = slope(state + h / 2 * a)
        c = slope(state + h / 2 * b)
        d = slope(state + h * c)
        state = state + h / 6 * (a + 2 * b + 2 * c + d)
    return state


def _states(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Uniform states of twice the claims' box and what follows them, float32."""
    generator = torch.Generator().manual_seed(seed)
    before = (2 * torch.rand(rows, 2, generator=generator, dtype=torch.float64) - 1) * 2 * REACH
    return before.float(), simulate(before).float()


def _error(network: nn.Module) -> float:
    before, after = _states(4096, 2)
    with torch.inference_mode():
        return float(F.mse_loss(network(before), after))


def _energy(state: Term) -> Term:
    return state[1] ** 2 / 2 + 1 - cos(state[0])


def _no_gain(tolerance: float, reach: float = REACH) -> Claim:
    def query(network: nn.Module) -> Query:
        q, f = Var("q", 2, names=("angle", "speed")), Net("f", 2, 2)
        spec = forall(q, box(-reach, reach), _energy(f(q)) - _energy(q) <= tolerance)
        return spec.query(network)

    return Claim(
        name=f"energy-{tolerance:g}",
        says=f"From no state with |angle|, |speed| <= {reach:g} does a step gain more than {tolerance:g} "
        f"of energy "
        "(in units of mass, gravity and length 1).",
        query=query,
        control=Drifting,
        control_is="Euler's explicit step of a spring, which gains energy wherever it moves",
        methods=("pgd", "ibp", "crown", "split"),
        seconds=20.0,
    )


def _stays() -> Claim:
    def query(network: nn.Module) -> Query:
        q, f = Var("q", 2, names=("angle", "speed")), Net("f", 2, 2)
        return forall(q, box(-REACH, REACH), abs(f(f(f(q)))) <= 1.75).query(network)

    return Claim(
        name="stays-3",
        says="After three steps from |angle|, |speed| <= 1.5 both are still within 1.75.",
        query=query,
        control=Pushed,
        control_is="the pendulum under a constant push of 20 rad/s^2",
        methods=("pgd", "ibp", "crown", "split"),
        seconds=20.0,
    )


class Pushed(nn.Module):
    """A control: a constant push, no matter the state."""

    def forward(self, state: Tensor) -> Tensor:
        """The next state (B, 2)."""
        return state + STEP * torch.tensor([0.0, 20.0])


def _fit(steps: int, price: float) -> Fit:
    """One-step squared error, and `price` times the energy gained at fresh random states."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        tools.initialise(network, generator)
        before, after = _states(20_000, 1)

        def loss(step: int) -> Tensor:
            rows = minibatch(len(before), 256, generator)
            exact = F.mse_loss(network(before[rows]), after[rows]) / STEP**2
            if price == 0:
                return exact
            states = (2 * torch.rand(256, 2, generator=generator) - 1) * REACH
            return exact + price * F.relu(_gain(network(states), states)).mean() / STEP

        minimise(network, loss, steps=steps, learning_rate=5e-3)

    return fit


def _gain(after: Tensor, before: Tensor) -> Tensor:
    """Energy gained, (N,)."""
    kinetic = (after[:, 1] ** 2 - before[:, 1] ** 2) / 2
    return kinetic + torch.cos(before[:, 0]) - torch.cos(after[:, 0])


@model(
    ModelCard(
        name="pendulum",
        family="physics",
        summary="One step of a damped pendulum, learned from simulated states.",
        paper="Verification of non-linear specifications for neural networks (Qin et al., 2019)",
        source="arXiv 1902.09592",
        input_shape=(2,),
        outputs=2,
        task="dynamics",
        dataset="simulated pendulum",
        parameters=1_218,
        weights=("nominal", "spec"),
        recipes=("pendulum-nominal", "pendulum-spec"),
        faithful="A small ReLU network predicts the next state; the law is that a damped pendulum never "
        "gains energy.",
        deviates="The state is (angle, speed), not (cos, sin, speed), so that no equality between inputs "
        "is needed; energy "
        "is bounded through cos itself, by splitting, where the paper relaxes a quadratic.",
        intended_use="Laws of physics as specifications, decided exactly on a set of two dimensions.",
        limits="Learned on angles and speeds up to 3; nothing is claimed beyond 1.5. The law says nothing "
        "about accuracy.",
        licence="Apache-2.0",
    )
)
def pendulum() -> nn.Module:
    """The untrained network."""
    return Pendulum()


add_row(
    Row(
        card=RowCard(
            id="12.03",
            section="Episode 12, robustness: specifications beyond adversarial balls, laws of physics",
            shows="A model of dynamics with a tiny test error can still create energy out of nothing "
            "somewhere; a "
            "specification over all states of a box finds where, or proves that it happens nowhere.",
            data="20,000 pairs of states drawn uniformly and followed by a Runge-Kutta simulation in "
            "float64; 4,096 others "
            "for the gate. Generated here, no licence needed.",
            ethics="No person's data. States are drawn uniformly, so slow and fast motions are represented "
            "alike; what follows "
            "each state is computed, not measured.",
            parts=("one step: (angle, speed) -> (angle, speed)", "three steps, one after the other"),
            benefit="Shows how a law that everybody knows is turned into a check of a learned simulator.",
            risk="A proof of one law may be taken for a proof that the simulator is right.",
            mitigation="The gate measures accuracy separately, and a second claim bounds where three steps "
            "may lead.",
            red_line="Never put into the control loop of a machine on the strength of these claims.",
            balance="The model controls nothing; the method carries over to simulators that do.",
            affected="Nobody is affected by a simulated pendulum.",
            regret="Too narrow a law: a model could lose energy far too fast and still keep it.",
        ),
        model="pendulum",
        gate=Gate("one-step mean squared error", _error, 1e-4, least=False),
        fits={"nominal": _fit(2500, 0.0), "spec": _fit(2500, 10.0)},
        claims=(_no_gain(0.005), _stays()),
    )
)
