"""Learned models of physical systems: conserved energy, feasible solutions."""

from __future__ import annotations

from collections.abc import Callable

from ..expressions import Data, Net, Param, Term, Var, box, cos, sin, stack
from ..spec import Spec, forall
from .registry import spec

__all__ = ["circle", "feasibility", "pendulum_energy", "pendulum_loses_energy"]


def circle(state: Term) -> Term:
    """(cos angle, sin angle, speed) of a state (angle, speed): how networks are given an angle."""
    return stack(cos(state[0]), sin(state[0]), state[1])


def pendulum_energy(state: Term, *, length: float = 1.0, gravity: float = 9.81) -> Term:
    """Energy per mass of a pendulum at (cos angle, sin angle, speed), 0 at rest, hanging down."""
    return state[2] ** 2 * (length**2 / 2) + (1 - state[0]) * (gravity * length)


@spec("pendulum_loses_energy", numbers=(29,), form="N", suits="dynamics models")
def pendulum_loses_energy(*, length: float = 1.0, gravity: float = 9.81) -> Spec:
    """forall (angle, speed), low <= (angle, speed) <= high: energy(f(s)) <= energy(s) + tolerance.

    s = (cos angle, sin angle, speed), which the network f maps to the next s; the angle is the variable, so
    no equality cos^2 + sin^2 = 1 is needed. Bind low, high (B, 2) and tolerance, in J/kg. Violation: the
    energy gained minus the tolerance, a strict atom. Source: C. Qin et al., Verification of non-linear
    specifications for neural networks, ICLR 2019, arXiv 1902.09592.
    """
    q, f = Var("q", 2, names=("angle", "speed")), Net("f", 3, 3)
    before = circle(q)
    first = pendulum_energy(before, length=length, gravity=gravity)
    second = pendulum_energy(f(before), length=length, gravity=gravity)
    domain = box(Data("low", 2), Data("high", 2))
    return forall(q, domain, second <= first + Param("tolerance"))


@spec("feasibility", numbers=(13,), form="N", suits="optimal power flow, surrogate models")
def feasibility(inputs: int, outputs: int, *, residual: Callable[[Term, Term], Term]) -> Spec:
    """forall x, low <= x <= high: |residual(x, f(x))| <= tolerance, and under <= f(x) <= over, elementwise.

    `residual` builds the terms that physics wants to be zero: `lambda x, y: vsum(y) - vsum(x)` balances
    generation and load. Bind low, high (B, inputs), under, over (B, outputs) and tolerance. Violation: the
    largest of all residuals and limits exceeded, strict atoms. Source: the ml4acopf benchmark of VNN-COMP
    2023, C. Brix et al., arXiv 2312.16760.
    """
    x, f = Var("x", inputs), Net("f", inputs, outputs)
    under, over = Data("under", outputs), Data("over", outputs)
    balanced = abs(residual(x, f(x))) <= Param("tolerance")
    domain = box(Data("low", inputs), Data("high", inputs))
    return forall(x, domain, balanced & (under <= f(x)) & (f(x) <= over))
