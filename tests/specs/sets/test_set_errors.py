"""What may not become a set, and the exact words of the refusal."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from robustbench_local.errors import (
    DtypeError,
    EmptySetError,
    NonFiniteError,
    RadiusError,
    RobustBenchError,
    ShapeError,
    SpecError,
    UnboundedSetError,
)
from robustbench_local.specs import Ball, Box

ZERO, ONE = torch.zeros(2, 3), torch.ones(2, 3)


def _with(value: float, base: torch.Tensor = ZERO) -> torch.Tensor:
    changed = base.clone()
    changed[1, 2] = value
    return changed


CASES: list[tuple[Callable[[], object], type[RobustBenchError], str]] = [
    (lambda: Box(ZERO, torch.ones(2, 2)), ShapeError, "lower has shape (2, 3), upper (2, 2)"),
    (lambda: Box(torch.tensor(0.0), torch.tensor(1.0)), ShapeError, "lower has shape (), upper ()"),
    (lambda: Ball(torch.zeros(2), 1.0), ShapeError, "center has shape (2,). Give it as (B, *shape)"),
    (lambda: Box(ZERO.long(), ONE.long()), DtypeError, "lower has dtype torch.int64"),
    (lambda: Box(_with(math.nan), ONE), NonFiniteError, "lower is nan at sample 1, coordinate (2,)"),
    (lambda: Box(ZERO, _with(math.inf)), UnboundedSetError, "upper is inf at sample 1, coordinate (2,)"),
    (
        lambda: Box(_with(2.0), ONE),
        EmptySetError,
        "empty box at sample 1, coordinate (2,): lower is 2.0, upper is 1.0",
    ),
    (lambda: Ball(_with(math.nan), 1.0), NonFiniteError, "center is nan at sample 1, coordinate (2,)"),
    (lambda: Ball(ZERO.long(), 1.0), DtypeError, "center has dtype torch.int64"),
    (lambda: Ball(ZERO, -0.5), RadiusError, "radius is -0.5"),
    (lambda: Ball(ZERO, math.nan), RadiusError, "radius is nan"),
    (lambda: Ball(ZERO, math.inf), RadiusError, "radius is inf"),
    (lambda: Ball(ZERO, torch.ones(3)), ShapeError, "radius has shape (3,), center (2, 3)"),
    (lambda: Ball(ZERO, 1.0, 0), SpecError, "no ball of norm p = 0. Supported: 1, 2, inf"),
    (lambda: Ball(ZERO, 1.0, 3), SpecError, "no ball of norm p = 3. Supported: 1, 2, inf"),
    (lambda: Ball(ZERO, 1.0, math.nan), SpecError, "no ball of norm p = nan"),
    (
        lambda: Ball(ZERO, 1.0).contains(torch.zeros(1, 3)),
        ShapeError,
        "points have shape (1, 3), the set has (2, 3)",
    ),
    (lambda: Ball(ZERO, 1.0, 2).project(ZERO[:, :2]), ShapeError, "points have shape (2, 2)"),
    (lambda: Box(ZERO, ONE).support(ONE), ShapeError, "rows have shape (2, 3), expected (2 or 1, K, *(3,))"),
    (lambda: Box(ZERO, ONE).support(torch.ones(3, 1, 3)), ShapeError, "rows have shape (3, 1, 3)"),
]


@pytest.mark.parametrize(("build", "kind", "message"), CASES)
def test_bad_sets_are_refused(
    build: Callable[[], object], kind: type[RobustBenchError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert message in str(caught.value)


def test_sets_without_a_point_of_the_dtype() -> None:
    third = torch.tensor([[1 / 3]], dtype=torch.float64)
    for inputs in (Box(third, third), Ball(third, 1e-12), Ball(third, 1e-12, 2), Ball(third, 1e-12, 1)):
        assert inputs.contains(third).all() and inputs.contains(inputs.project(third + 1)).all()
        with pytest.raises(EmptySetError):
            inputs.project(torch.tensor([[0.5]]))
    with pytest.raises(
        EmptySetError, match=r"inside lower is 0.3333333432674408, inside upper is 0.3333333134651184"
    ):
        Box(third, third).inner(torch.float32)
