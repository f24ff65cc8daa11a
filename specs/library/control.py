"""Controllers: conditional safety, forbidden actions, Lyapunov functions, closed loops over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..expressions import (
    Data,
    Domain,
    Formula,
    Label,
    Net,
    Param,
    Term,
    Var,
    always,
    argmax,
    ball,
    between,
    box,
    concat,
    eventually,
    rollout,
    until,
)
from ..spec import Spec, forall
from .registry import spec

__all__ = [
    "conditional_safety",
    "lyapunov",
    "policy_safety",
    "reach_avoid",
    "reaches",
    "stays_safe",
    "stopping_distance",
]


@spec("conditional_safety", numbers=(9,), form="L", suits="controllers")
def conditional_safety(
    inputs: int,
    outputs: int,
    *,
    when: Callable[[Var], Formula],
    then: Callable[[Term], Formula],
    names: Sequence[str] = (),
) -> Spec:
    """forall x, low <= x <= high and when(x): then(f(x)).

    `when` and `then` build formulas: `when=lambda x: x.speed >= 10`, with names=("speed", ..) of the inputs.
    Bind low, high (B, inputs), finite, and what the formulas leave open. Violation: that of `then`; affine
    conditions in `when` shape the domain, alternatives in it make several cells. Source: the properties of
    ACAS Xu in G. Katz et al., Reluplex, CAV 2017, arXiv 1702.01135.
    """
    low, high = Data("low", inputs), Data("high", inputs)
    x, f = Var("x", inputs, names=names), Net("f", inputs, outputs)
    return forall(x, box(low, high) & when(x), then(f(x)))


@spec("stopping_distance", numbers=(11,), form="N", suits="controllers of vehicles")
def stopping_distance(dt: float = 0.1) -> Spec:
    """forall gaps d and speeds v, low <= (d, v) <= high and 2 a d >= v^2: 2 a d' >= v'^2 after dt seconds.

    f (d, v) is the braking that the controller commands; d' = d - v dt + f dt^2 / 2 and v' = v - f dt. If the
    vehicle can stop before the obstacle by braking with a, it still can after one step. Bind low, high (B, 2)
    and a. Violation: v'^2 - 2 a d', and the precondition 2 a d - v^2, polynomials of input and output, in the
    AND. Source: the adaptive cruise control of S. Teuber, S. Mitsch, A. Platzer, Provably safe neural network
    controllers via differential dynamic logic, NeurIPS 2024, arXiv 2402.10998.
    """
    low, high, a = Data("low", 2), Data("high", 2), Param("a")
    x, f = Var("x", 2, names=("gap", "speed")), Net("f", 2, 1)
    brake = f(x)[0]
    gap, speed = x[0] - dt * x[1] + brake * (dt**2 / 2), x[1] - dt * brake
    domain = box(low, high) & (2 * a * x[0] >= x[1] ** 2)
    return forall(x, domain, 2 * a * gap >= speed**2)


@spec("policy_safety", numbers=(44,), form="L", suits="reinforcement learning policies")
def policy_safety(states: int, actions: int) -> Spec:
    """forall states s, low <= s <= high: argmax f(s) != a, the action a is never chosen, also not at a tie.

    Bind low, high (B, states) and the forbidden action a (B,). Violation: min over j != a of f_a - f_j,
    closed atoms. Source: the rl_benchmarks of VNN-COMP 2022, C. Brix et al., arXiv 2301.05815.
    """
    low, high, a = Data("low", states), Data("high", states), Label("a", actions)
    s, f = Var("s", states), Net("f", states, actions)
    return forall(s, box(low, high), argmax(f(s)) != a)


@spec("lyapunov", numbers=(43,), form="RF", suits="learned Lyapunov functions and controllers")
def lyapunov(states: int, controls: int = 1) -> Spec:
    """forall s, low <= s <= high and |s|_inf > r: V(s) > 0 and V(step(s, f(s))) - V(s) <= -rate.

    Networks: V (states) -> 1, the policy f (states) -> controls, step (states + controls) -> states. Bind
    low, high (B, states), the radius r of the neighbourhood of the origin that is left out, and rate.
    Violation: the larger of -V(s), closed, and V(next) - V(s) + rate, strict. Source: Y.-C. Chang, N. Roohi,
    S. Gao, Neural Lyapunov control, NeurIPS 2019, arXiv 2005.00611.
    """
    low, high = Data("low", states), Data("high", states)
    s, V, f = Var("s", states), Net("V", states, 1), Net("f", states, controls)
    step = Net("step", states + controls, states)
    value, following = V(s)[0], V(step(concat(s, f(s))))[0]
    domain = box(low, high) - ball([0.0] * states, Param("r"))
    return forall(s, domain, (value > 0) & (following - value <= -Param("rate")))


@spec("stays_safe", numbers=(45,), form="R", suits="policies in closed loop")
def stays_safe(states: int, controls: int = 1, *, steps: int = 5) -> Spec:
    """forall s0, low <= s0 <= high: always, at every step k <= steps: safe_low <= s_k <= safe_high.

    s_k+1 = step(s_k, f(s_k)), unrolled: networks f (states) -> controls, step (states + controls) -> states.
    Bind low, high, safe_low, safe_high (B, states) each. Violation: the largest amount by which a state
    leaves the safe box, strict atoms. Source: M. Akintunde et al., Verification of RNN-based neural
    agent-environment systems, AAAI 2019, which unrolls agents into feed-forward networks.
    """
    s0, region, path = _closed_loop(states, controls, steps)
    safe = Data("safe_low", states), Data("safe_high", states)
    body = always(steps + 1, lambda k: between(safe[0], path[k], safe[1]))
    return forall(s0, region, body)


@spec("reaches", numbers=(45,), form="R", suits="policies in closed loop")
def reaches(states: int, controls: int = 1, *, steps: int = 5) -> Spec:
    """forall s0, low <= s0 <= high: eventually, at some step k <= steps: goal_low <= s_k <= goal_high.

    Networks and states as in `stays_safe`. Bind low, high, goal_low, goal_high (B, states) each. Violation:
    the least, over the steps, of the distances to the goal box, strict atoms. Source: M. Akintunde et al.,
    Verification of RNN-based neural agent-environment systems, AAAI 2019.
    """
    s0, region, path = _closed_loop(states, controls, steps)
    goal = Data("goal_low", states), Data("goal_high", states)
    body = eventually(steps + 1, lambda k: between(goal[0], path[k], goal[1]))
    return forall(s0, region, body)


@spec("reach_avoid", numbers=(45,), form="R", suits="policies in closed loop")
def reach_avoid(states: int, controls: int = 1, *, steps: int = 5) -> Spec:
    """forall s0, low <= s0 <= high: s_k stays in the safe box until it lies in the goal box, k <= steps.

    Networks and states as in `stays_safe`. Bind low, high, safe_low, safe_high, goal_low, goal_high (B,
    states) each. Violation: max and min over steps of the distances to both boxes, nested as in `until`,
    strict atoms. Source: the bounded until of R. Koymans, Specifying real-time properties with metric
    temporal logic, Real-Time Systems 2, 1990.
    """
    s0, region, path = _closed_loop(states, controls, steps)
    safe = Data("safe_low", states), Data("safe_high", states)
    goal = Data("goal_low", states), Data("goal_high", states)
    body = until(
        steps + 1,
        lambda k: between(safe[0], path[k], safe[1]),
        lambda k: between(goal[0], path[k], goal[1]),
    )
    return forall(s0, region, body)


def _closed_loop(states: int, controls: int, steps: int) -> tuple[Var, Domain, tuple[Term, ...]]:
    """The first state, where it ranges, and all states of the loop."""
    s0, low, high = Var("s0", states), Data("low", states), Data("high", states)
    f, step = Net("f", states, controls), Net("step", states + controls, states)
    return s0, box(low, high), rollout(lambda s: step(concat(s, f(s))), s0, steps)
