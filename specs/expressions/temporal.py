"""Time: closed loops unrolled for so many steps, and what holds always, at some time, or until something.

All of it is expanded when a property is built, over a finite horizon, so that it is plain terms and formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce

from robustbench_local.errors import ShapeError, SpecError

from .base import Formula, Term, describe, formula, term
from .logic import And, Or
from .naming import let

__all__ = ["always", "eventually", "rollout", "until"]

Horizon = int | Iterable[int]
"""A number of steps 0, 1, .., or the steps themselves."""


def rollout(
    step: Callable[..., Term], start: object, steps: int, *, inputs: object = None, name: str = "s"
) -> tuple[Term, ...]:
    """The states start, step(start), step(step(start)), .., of a closed loop: steps + 1 of them.

    step: from a state to the next, of the same shape, `lambda s: dynamics(concat(s, policy(s)))`; with
    `inputs`, a term of `steps` rows, it takes the k-th row as well: `lambda s, u: dynamics(concat(s, u))`.
    name: the states are called name1, name2, .. in the property's text. Raises SpecError or ShapeError.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise SpecError(f"rollout takes {describe(steps)} steps", cure="use a whole number from 1")
    rows = None if inputs is None else term(inputs)
    if rows is not None and (not rows.shape or rows.shape[0] != steps):
        raise ShapeError(f"rollout of {steps} steps has inputs of shape {rows.shape}", cure="give one a step")
    states = [term(start)]
    for k in range(steps):
        found = step(states[-1]) if rows is None else step(states[-1], rows[k])
        if found.shape != states[-1].shape:
            raise ShapeError(f"a step leads from a state of shape {states[-1].shape} to {found.shape}")
        states.append(let(f"{name}{k + 1}", found))
    return tuple(states)


def always(steps: Horizon, claim: Callable[[int], Formula]) -> Formula:
    """claim(k) holds at every step k."""
    return reduce(And, _claims("always", steps, claim))


def eventually(steps: Horizon, claim: Callable[[int], Formula]) -> Formula:
    """claim(k) holds at some step k."""
    return reduce(Or, _claims("eventually", steps, claim))


def until(steps: Horizon, claim: Callable[[int], Formula], goal: Callable[[int], Formula]) -> Formula:
    """goal(k) holds at some step k, and claim(j) at every earlier step j."""
    claims, goals = _claims("until", steps, claim), _claims("until", steps, goal)
    whole = goals[-1]
    for here, there in zip(reversed(claims[:-1]), reversed(goals[:-1]), strict=True):
        whole = there | (here & whole)
    return whole


def _claims(word: str, steps: Horizon, claim: Callable[[int], Formula]) -> list[Formula]:
    times = range(steps) if isinstance(steps, int) else steps
    found = [formula(claim(k)) for k in times]
    if not found:
        raise SpecError(f"`{word}` speaks of no step", cure="give at least one")
    return found
