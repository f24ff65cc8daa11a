"""Numbers instead of verdicts: `rbl.measure`, `rbl.radius` and `rbl.chance`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from robustbench_local.evaluation import Cases, Subject
from robustbench_local.specs import Chance, Measure, Query, Spec

from .cascade import DEFAULT_STAGES, cascade, find_methods
from .chances import ChanceBracket, chance_of
from .planner import decide as decide_by_plan
from .problems import Model, loaded, problems_of
from .quantities import Bracket, measure_all
from .radii import RadiusBracket, closer_by, radius_all
from .results import Result

__all__ = ["chance", "measure", "radius"]


def measure(
    model: Model,
    quantity: Measure,
    *,
    values: Mapping[str, object] | None = None,
    timeout: float = 60.0,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> list[Bracket]:
    """The bracket of the largest value of a quantity over its domain, one for each problem of the values.

    Raises RobustBenchError for a model, quantity or value that cannot be used.
    """
    (cases,) = problems_of(model, quantity.spec, values, device=device)
    return measure_all(cases, timeout=timeout, seed=seed)


def radius(
    model: Model,
    spec: Spec,
    *,
    name: str = "eps",
    values: Mapping[str, object] | None = None,
    low: float = 0.0,
    high: float = 1.0,
    tolerance: float = 1e-3,
    timeout: float = 60.0,
    device: str | torch.device | None = None,
    seed: int = 0,
    quick: bool = False,
    progress: Callable[[list[RadiusBracket]], None] | None = None,
) -> list[RadiusBracket]:
    """The bracket of the largest radius at which a property holds, one for each problem of the values.

    `name` is the parameter of the spec that is varied, within [low, high]; the property must only get
    harder as it grows. Both ends are verdicts: proved at `holds`, refuted by a witness at `violated`. All
    problems share one bisection, with quick methods first and then, between the ends that these leave, with
    the plan of `verify`; `quick` leaves the plan out. `progress` gets the brackets after every question.

    Raises RobustBenchError for a model, spec or value that cannot be used.
    """
    given = {key: value for key, value in (values or {}).items() if key != name}
    model = loaded(model, device=device)
    (whole,) = problems_of(model, spec, {**given, name: high}, device=device)
    batch, stages = whole.query.batch, find_methods(DEFAULT_STAGES)

    def at(rows: Tensor, radii: Tensor) -> Cases:
        radius_of = torch.full((batch,), low, dtype=torch.float64)
        radius_of[rows] = radii
        (cases,) = problems_of(model, spec, {**given, name: radius_of}, device=device)
        return cases.select(rows)

    def quickly(rows: Tensor, radii: Tensor, seconds: float) -> tuple[Result, ...]:
        return cascade(at(rows, radii), stages, timeout=seconds, seed=seed).cases

    def by_plan(rows: Tensor, radii: Tensor, seconds: float) -> tuple[Result, ...]:
        return decide_by_plan([at(rows, radii)], timeout=seconds, seed=seed).cases

    def query_at(rows: Tensor, radii: Tensor) -> Query:
        return at(rows, radii).query

    closer = closer_by(query_at, copy.deepcopy(whole.network).to(torch.float64).eval())
    methods = (quickly,) if quick else (quickly, by_plan)
    return radius_all(
        methods,
        batch,
        low=low,
        high=high,
        tolerance=tolerance,
        timeout=timeout,
        closer=closer,
        progress=progress,
    )


def chance(
    model: Model,
    spec: Chance,
    *,
    values: Mapping[str, object] | None = None,
    samples: int = 10_000,
    confidence: float = 0.99,
    timeout: float = 60.0,
    tolerance: float = 1e-3,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> list[ChanceBracket]:
    """Proved bounds of a probability, and the interval that `samples` draws give, for each problem.

    Raises RobustBenchError for a model, spec or value that cannot be used.
    """
    (cases,) = problems_of(model, spec.spec, values, device=device)
    law = spec.law(values or {})
    return chance_of(
        cases.query,
        law,
        Subject.of(cases),
        samples=samples,
        confidence=confidence,
        timeout=timeout,
        tolerance=tolerance,
        seed=seed,
    )
