"""Smooth functions in networks: no claims outside their domain; tuned tangents help; misuse is named."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from robustbench_local.verifiers.rule import check_rules
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.errors import UnsupportedOpError
from robustbench_local.verifiers import VERIFIERS, output_bounds

from ..networks import ENGINES, Fn, box_points, run_points, traced, uniform

OUTSIDE: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "log": (torch.log, -1, 1),
    "log at zero": (torch.log, 0, 1),
    "log1p": (torch.log1p, -2, 1),
    "sqrt": (torch.sqrt, -0.1, 1),
    "rsqrt": (torch.rsqrt, -0.1, 1),
    "rsqrt at zero": (torch.rsqrt, 0, 1),
    "reciprocal": (torch.reciprocal, -1, 1),
    "reciprocal from zero": (torch.reciprocal, 0, 1),
    "reciprocal to zero": (torch.reciprocal, -1, 0),
    "power -2": (lambda x: x**-2, -1, 2),
    "power 0.5": (lambda x: x**0.5, -1, 1),
    "tan": (torch.tan, 1, 2),
    "tan of many turns": (torch.tan, -10, 10),
    "asin": (torch.asin, 0, 2),
    "atanh": (torch.atanh, 0, 1),
    "erfinv": (torch.erfinv, -2, 0),
    "exp": (torch.exp, 0, 1000),
    "cosh": (torch.cosh, -1000, 1000),
    "power 3": (lambda x: x**3, -1e15, 1e15),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_outside_the_domain_and_where_numbers_overflow_nothing_is_bounded(name: str) -> None:
    function, low, high = OUTSIDE[name]
    graph = traced(Fn(lambda x: F.leaky_relu(function(x), 0.5).sum(1, keepdim=True)), 2)
    lower, upper = torch.full((1, 2), float(low)), torch.full((1, 2), float(high))
    for engine in ENGINES.values():
        least, most = output_bounds(graph, lower, upper, engine)
        assert not bool((least.isfinite() & most.isfinite()).any())


def test_a_square_root_from_zero_has_finite_lines() -> None:
    graph = traced(Fn(lambda x: F.relu(x).sqrt().sum(1, keepdim=True)), 2)
    lower, upper = torch.tensor([[0.0, -1.0], [0.0, -2.0]]), torch.tensor([[1.0, 4.0], [0.0, -1.0]])
    for name in ("ibp", "crown-ibp", "crown", "alpha-crown"):
        least, most = output_bounds(graph, lower, upper, VERIFIERS[name])
        assert bool((least >= -1e-6).all() and (most <= torch.tensor([[3.001], [1e-6]])).all()), name


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "sin": torch.sin,
    "exp": lambda x: torch.exp(-x),
    "selu": F.selu,
    "power 3": lambda x: (0.5 * x) ** 3,
    "reciprocal": lambda x: 1 / (torch.sigmoid(x) + 0.1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_tuned_tangents_are_tighter_and_sound(name: str) -> None:
    f = ACTIVATIONS[name]
    parts = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
    network = Fn(lambda x, a, b, c: c(f(b(f(a(x))))), *parts, seed=3).requires_grad_(False)
    graph, centre = traced(network, 4), uniform(1, (3, 4)).float()
    lower, upper = centre - 0.3, centre + 0.3
    y = run_points(network, box_points(lower, upper, 500))
    widths = []
    for engine in ("ibp", "crown", "alpha-crown"):
        least, most = output_bounds(graph, lower, upper, VERIFIERS[engine])
        assert bool((least - 1e-5 <= y).all() and (y <= most + 1e-5).all()), engine
        widths.append(float((most - least).mean()))
    assert widths[2] < widths[1] < widths[0]


@pytest.mark.parametrize(
    ("function", "cure"),
    [
        (lambda x: F.elu(x, -1.0), "must be positive"),
        (lambda x: F.celu(x, -2.0), "alpha must be positive"),
        (lambda x: F.softplus(x, -1.0), "beta must be positive"),
        (lambda x: torch.logit(x, 0.1), "clamp its input"),
        (lambda x: (-2.0) ** x, "positive number"),
        (lambda x: x ** torch.tensor([1.0, 2.0, 3.0]), "raise to a number"),
        (lambda x: (x * x) ** x, "raise to a number"),
    ],
)
def test_arguments_without_a_rule_are_named(function: Callable[[Tensor], Tensor], cure: str) -> None:
    with pytest.raises(UnsupportedOpError, match="(?i)" + cure):
        check_rules(traced(Fn(function), 3))


def test_steep_functions_have_no_slope_that_is_not_finite() -> None:
    """Near the ends of their domains, and of what a float can hold."""
    for function, low, high in ((torch.asin, -1.0, 1.0), (torch.acos, -1.0, 1.0), (torch.exp, 70.0, 80.0)):
        graph = traced(Fn(lambda x, f=function: f(x).sum(1, keepdim=True)), 2)
        least, most = output_bounds(
            graph, torch.full((1, 2), low), torch.full((1, 2), high), ENGINES["pure crown"]
        )
        assert math.isfinite(float(least)) and math.isfinite(float(most))
