"""Networks from files are bounded: the nodes of every converter have rules, and their bounds enclose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from robustbench_local.verifiers.rule import check_rules

from robustbench_local.errors import UnsupportedOpError
from robustbench_local.verifiers import CROWN, IBP, from_onnx, output_bounds

from . import cases, indexing_cases, layer_cases

FAMILIES = (*cases.FAMILIES, *indexing_cases.FAMILIES, *layer_cases.FAMILIES)
WITHOUT_RULE = {"IsNaN", "IsInf", "Det", "TopK", "Pow"}
"""Of which some uses have no rule: truth about NaN, determinants, places of entries, several exponents."""
POLES = {"Acos", "Asin", "Atanh", "Reciprocal", "Div", "Mod", "IsInf"}
"""Where a box may hold a pole, or leave the domain, or infinity is asked for: bounds are infinite or NaN."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_bounds_enclose(family: Callable[[], Any]) -> None:
    wrong, without, endless = [], set(), set()
    for number, model in enumerate(family()):
        kind, graph = model.graph.node[0].op_type, from_onnx(model)
        try:
            check_rules(graph)
        except UnsupportedOpError:
            without.add(kind)
            continue
        generator = torch.Generator().manual_seed(number)
        centre = 2 * torch.rand(2, *graph.input_shape, generator=generator) - 1
        centre = centre.abs() + 0.3 if family is cases.positive else centre
        points = centre + 0.1 * (2 * torch.rand(5, *centre.shape, generator=generator) - 1)
        y = torch.stack([graph.run(x) for x in points]).flatten(2)
        room = 1e-4 * (1 + y.abs().max())
        for engine in (IBP(), CROWN()):
            lower, upper = (b.flatten(1) for b in output_bounds(graph, centre - 0.1, centre + 0.1, engine))
            if not bool((torch.isfinite(lower) & torch.isfinite(upper)).all()):
                endless.add(kind)
            elif not bool(((lower - room <= y) & (y <= upper + room)).all()):
                wrong.append(f"{number} {kind} {type(engine).__name__}")
    assert wrong == []
    assert without <= WITHOUT_RULE and endless <= POLES, (without, endless)
