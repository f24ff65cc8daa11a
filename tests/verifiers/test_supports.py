"""The preflight report: nodes without a rule by name, methods with reasons, and nothing raised."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.cli.app import run
from robustbench_local.specs import Any, Atom, Ball, Box, InputSet, Query
from robustbench_local.verifiers import RULES, VERIFIERS, Graph, Support, from_torch, support_of, verifier

aten = torch.ops.aten


class Sorted(nn.Module):
    """A linear layer whose outputs are put in order."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(torch.relu(self.body(x))) + torch.special.bessel_j1(x)


class Branching(nn.Module):
    """Control flow that depends on the values: no export."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


def query(inputs: InputSet, outputs: int = 4) -> Query:
    C = torch.ones(inputs.batch, 1, outputs, dtype=torch.float64)
    return Query(lambda x: x, inputs, C, torch.zeros(inputs.batch, 1), Any((Atom(0, True),)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 4)).eval()


def refused(report: Support) -> dict[str, str]:
    return {m.name: m.reason for m in report.methods if not m.applies}


def test_a_plain_network_is_supported() -> None:
    report = rbl.supports(mlp(), query(Ball(torch.zeros(2, 4), 0.1)))
    assert report.ok and report.obstacles == report.spec == ()
    assert (report.nodes, report.operators["aten.linear.default"]) == (3, 2)
    assert [m.name for m in report.methods] == list(VERIFIERS)
    assert not {"ibp", "crown-ibp", "crown", "forward", "auto-lirpa"} & set(refused(report))
    assert json.loads(json.dumps(report.as_dict()))["ok"] is True
    assert "linf" not in report.inputs and "p=inf" in report.inputs and "batch=2" in report.inputs


def test_every_node_without_a_rule_is_named() -> None:
    report = rbl.supports(Sorted().eval(), input_shape=(4,))
    assert [o.operator for o in report.obstacles] == [
        "aten.special_bessel_j0.default",
        "aten.special_bessel_j1.default",
    ]
    for found in report.obstacles:
        assert found.node and "no bound rule" in found.reason and found.cure
    assert "and 1 more" in refused(report)["crown"]


def test_a_refused_argument_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumsum(x, 1)

    graph = from_torch(Odd().eval(), torch.zeros(1, 4))

    class Picky(type(RULES[aten.relu.default])):  # type: ignore[misc]
        def check(self, node: object) -> None:
            raise rbl_error("the argument is odd")

    from robustbench_local.errors import UnsupportedOpError as rbl_error

    before = RULES.get(aten.cumsum.default)
    RULES[aten.cumsum.default] = Picky()
    try:
        (found,) = support_of(graph).obstacles
    finally:
        if before is None:
            del RULES[aten.cumsum.default]
        else:
            RULES[aten.cumsum.default] = before
    assert found.reason == "the argument is odd" and found.operator == "aten.cumsum.default"


def test_a_network_that_cannot_be_traced_is_a_reason() -> None:
    report = rbl.supports(Branching().eval(), input_shape=(4,))
    assert not report.ok and "cannot trace Branching" in report.obstacles[0].reason
    assert "control flow" in report.obstacles[0].cure
    assert set(refused(report)) == set(VERIFIERS)


@pytest.mark.parametrize(
    ("inputs", "outputs", "text"),
    [(Box(torch.zeros(1, 4), torch.ones(1, 4)), 7, "speaks of 7 outputs")],
)
def test_a_spec_that_does_not_fit_is_a_reason(inputs: InputSet, outputs: int, text: str) -> None:
    report = rbl.supports(mlp(), query(inputs, outputs))
    assert not report.ok and text in report.spec[0].reason and report.spec[0].cure
    report = support_of(from_torch(mlp(), torch.zeros(1, 4)), query(Box(torch.zeros(1, 3), torch.ones(1, 3))))
    assert not report.ok and "(3,)" in report.spec[0].reason


@pytest.mark.parametrize("model", ["no-such-model", "nowhere.py:build", "nowhere.onnx"])
def test_a_model_that_is_not_there_is_a_reason(model: str) -> None:
    report = rbl.supports(model)
    assert not report.ok and report.obstacles[0].reason and report.nodes == 0


def test_without_a_shape_the_report_says_so() -> None:
    assert "shape" in rbl.supports(mlp()).obstacles[0].reason
    assert rbl.supports("digits-cnn").ok
    bad = rbl.supports("digits-cnn", "nowhere.vnnlib")
    assert not bad.ok and bad.spec


def test_a_method_answers_for_itself() -> None:
    class Choosy:
        name = "choosy"

        def applies(self, graph: Graph, query: Query | None) -> str | None:
            return "boxes only" if query is not None and isinstance(query.inputs, Ball) else None

    verifier("choosy")(Choosy())
    try:
        graph = from_torch(mlp(), torch.zeros(1, 4))
        assert "choosy" not in refused(support_of(graph))
        ball = query(Ball(torch.zeros(1, 4), 0.1, 2))
        assert refused(support_of(graph, ball))["choosy"] == "boxes only"
    finally:
        del VERIFIERS["choosy"]


def test_auto_lirpa_says_which_balls_it_loses() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, x: Tensor) -> Tensor:
            return self.body((x - 0.5) / 0.25)

    for p, lost in ((math.inf, False), (2, True)):
        report = rbl.supports(Shifted().eval(), query(Ball(torch.zeros(2, 4), 0.1, p)))
        assert ("loses the radius" in refused(report).get("auto-lirpa", "")) == lost
        assert "crown" not in refused(report)


def test_doctor_examines_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "digits-cnn", "robustness", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and report["operators"]["aten.relu.default"] > 0
    assert {m["name"] for m in report["methods"]} == set(VERIFIERS)
    assert run(["doctor", "digits-cnn"]) == 0
    assert "applies" in capsys.readouterr().out
    assert run(["doctor", "nothing"]) == 1
    assert "nothing" in capsys.readouterr().out
    assert run(["doctor", "digits-cnn", "--input-shape", "a"]) == 2


def test_methods_tell_what_their_own_limits_are() -> None:
    wide = nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Linear(300, 4)).eval()
    curved = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4)).eval()
    inputs = Box(torch.full((1, 4), -1.5), torch.full((1, 4), 1.5))
    for network, refused in (
        (mlp(), set()),
        (curved, {"sdp"}),
        (wide, {"sdp"}),
        (Jumping(), {"sdp"}),
    ):
        report = support_of(from_torch(network, torch.zeros(1, 4)), query(inputs))
        assert {m.name for m in report.methods if not m.applies and "lirpa" not in m.name} == refused
    assert "200" in refusals(wide, inputs)["sdp"]
    assert "floor" in refusals(Jumping(), inputs)["sdp"]


class Jumping(nn.Module):
    """A function without slopes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.floor(x)


def refusals(network: nn.Module, inputs: InputSet) -> dict[str, str]:
    report = support_of(from_torch(network, torch.zeros(1, 4)), query(inputs))
    return {m.name: m.reason for m in report.methods if not m.applies}
