"""The order of coupled variables in the joint input."""

from __future__ import annotations

import pytest
from robustbench_local.specs.joint import order_of

from robustbench_local.specs import Formula, Var, ball, box

X, Y, Z = Var("x", 2), Var("y", 2), Var("z", 2)


@pytest.mark.parametrize(
    ("domain", "order"),
    [
        (box(0, 1)(X) & ball(X, 0.1)(Y), "xyz"),
        (box(0, 1)(Y) & ball(Y, 0.1)(X), "yxz"),
        (ball(Y, 0.1)(X) & box(0, 1)(Y) & ball(X, 1)(Z), "yxz"),
    ],
)
def test_a_variable_follows_the_one_it_moves_around(domain: Formula, order: str) -> None:
    assert "".join(v.name for v in order_of(domain, (X, Y, Z))) == order
