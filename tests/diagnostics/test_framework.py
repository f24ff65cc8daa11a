"""The diagnostics: on networks made so that the answer is known, one fault each; command, page, misuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import ATTACKS, AttackResult, pgd
from robustbench_local.cli.app import run
from robustbench_local.diagnostics import DIAGNOSTICS, Diagnosis, Effort, diagnose, ordered
from robustbench_local.errors import DataError, ResultsError, UnknownNameError
from robustbench_local.evaluation import Cases
from robustbench_local.report import diagnosis_page
from robustbench_local.specs import Query, robustness

EFFORT = Effort(steps=20, random_points=200, queries=100, draws=20, unbounded_steps=40)


class Plain(nn.Module):
    """A linear classifier of two classes: what attacks must find is known. `before` spoils its input."""

    def __init__(self, before: Callable[[Tensor], Tensor] | None = None, scale: float = 1.0) -> None:
        super().__init__()
        rows = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
        self.weight = nn.Parameter(scale * rows)
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.before is None else self.before(x)
        return (x - 0.5) @ self.weight.T


class Softmax(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class Inner(Plain):
    """Takes a gradient step of its own before it answers."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(super().forward(leaf).square().sum(), leaf)
        return super().forward(x - 0.01 * slope)


X0 = torch.rand(12, 8, generator=torch.Generator().manual_seed(1))


def posed(network: nn.Module, eps: float) -> Query:
    with torch.no_grad():
        labels = Plain()(X0).argmax(1)
    query: Query = robustness((8,), 2).query(network, x0=X0, c=labels, eps=eps)
    return query


def cases_of(network: nn.Module, eps: float = 0.05) -> Cases:
    return Cases(
        model="toy",
        network=network,
        model_hash="0",
        family="toy",
        dataset="",
        ids=range(100, 112),
        query=posed(network, eps),
        spec="robustness",
        norm="linf",
        eps=eps,
        origins=X0,
    )


def diagnosed(network: nn.Module, *codes: str, eps: float = 0.05, **settings: Any) -> Diagnosis:
    return diagnose(
        cases_of(network, eps),
        at_radius=lambda radius: posed(network, radius),
        effort=EFFORT,
        codes=codes or None,
        **settings,
    )


def test_there_are_fourteen_in_their_order() -> None:
    assert [one.code for one in ordered()][:14] == [f"D{k}" for k in range(1, 15)]
    for one in DIAGNOSTICS.values():
        assert one.remedy and one.source and one.meaning and one.threshold >= 0


def test_a_linear_network_raises_no_alarm() -> None:
    found = diagnosed(Plain(), eps=0.02)
    assert found.fired == () and len(found.examined) == 12
    assert all(one.applies for one in found.findings)


@pytest.mark.parametrize(
    ("network", "code"),
    [
        (lambda: Plain(lambda x: (x * 4).round() / 4), "D1"),  # no slope
        (lambda: Plain(scale=1e4), "D1"),  # cross-entropy saturates
        (lambda: Plain(torch.Tensor.detach), "D2"),
        (lambda: Plain(lambda x: x + 0.01 * torch.rand_like(x)), "D3"),
        (lambda: Softmax(), "D4"),
        (lambda: Inner(), "D5"),
        (lambda: Plain(lambda x: (x * 2000).sin() + x), "D13"),
    ],
)
def test_each_fault_of_a_network_is_named(network: Callable[[], nn.Module], code: str) -> None:
    found = diagnosed(network(), code)
    assert found.fired == (code,)
    assert set(found.findings[0].cases) <= set(found.examined) and found.findings[0].cases


def test_a_func_transform_is_an_optimisation() -> None:
    slope = torch.func.grad(lambda x: x.square().sum())
    assert diagnosed(Plain(lambda x: x - 0.01 * slope(x)), "D5").fired == ("D5",)


def test_no_gradient_is_said_and_does_not_stop_the_others() -> None:
    found = diagnosed(Plain(torch.Tensor.detach), eps=0.2)
    words = {one.code: one for one in found.findings}
    assert words["D2"].fired and words["D7"].fired and words["D8"].fired
    for code in ("D1", "D6", "D9", "D10", "D11", "D12", "D14"):
        assert words[code].word == "not applicable" and "see D2" in words[code].note


def last_iterate(query: Query, **settings: Any) -> AttackResult:
    """An attack that walks and forgets: it says nothing of the points on its way."""
    found = pgd(query, steps=10, **settings)
    return replace(found, violated=torch.zeros_like(found.violated))


def never(query: Query, **settings: Any) -> AttackResult:
    """An attack that stays where it is."""
    return pgd(query, steps=0, random_start=False, start=settings["start"])


def timid(query: Query, **settings: Any) -> AttackResult:
    """An attack that does nothing in wide sets."""
    box = query.inputs.box()
    return (never if float((box.upper - box.lower).max()) > 0.5 else pgd)(query, **settings)


def test_silent_success_is_heard() -> None:
    assert diagnosed(Plain(), "D12", eps=0.2, attack=last_iterate).fired == ("D12",)
    for name in ("pgd", "apgd", "square"):
        assert diagnosed(Plain(), "D12", eps=0.2, attack=ATTACKS[name]).fired == ()


def test_an_attack_that_does_nothing_is_caught() -> None:
    assert diagnosed(Plain(), "D6", "D14", eps=0.2, attack=never).fired == ("D6", "D14")


def test_an_attack_that_fails_at_large_radii_is_caught() -> None:
    found = diagnosed(Plain(), "D9", eps=0.2, attack=timid)
    assert found.fired == ("D9",) and "one step" in found.findings[0].note


def test_the_same_seed_gives_the_same_and_the_generators_are_left_alone() -> None:
    noisy = Plain(lambda x: x + 0.01 * torch.rand_like(x))
    before = torch.get_rng_state()
    first, again = diagnosed(noisy), diagnosed(noisy)
    assert torch.equal(before, torch.get_rng_state())
    assert [f.as_dict() for f in first.findings] == [f.as_dict() for f in again.findings]


def test_a_case_is_judged_by_itself() -> None:
    cases, codes = cases_of(Plain(lambda x: (x * 2000).sin() + x)), ["D13", "D8"]
    whole = diagnose(cases, effort=EFFORT, codes=codes)
    part = diagnose(cases.select(torch.tensor([3, 5, 8])), effort=EFFORT, codes=codes)
    assert part.examined and set(part.examined) <= set(whole.examined)
    for case in part.examined:
        assert part.against(case) == whole.against(case)


def test_without_radius_sets_shrink_but_have_no_domain() -> None:
    found = diagnose(cases_of(Plain(), 0.2), effort=EFFORT, codes=["D9", "D10"])
    assert [one.word for one in found.findings] == ["quiet", "not applicable"]
    assert "broken at 0.25, 0.5, 1;" in found.findings[0].note
    assert math.isnan(found.findings[1].value) and "nothing wider" in found.findings[1].note
    caught = diagnose(cases_of(Plain(), 0.6), effort=EFFORT, codes=["D9"], attack=timid)
    assert caught.fired == ("D9",)


def test_transfer_needs_no_gradient_of_the_network() -> None:
    """Of a linear network without slope a surrogate finds all that there is; so does its twin."""
    blind = Plain(torch.Tensor.detach)
    for eps in (0.05, 0.2):
        query = posed(blind, eps)
        box, rows = query.inputs.box(), (query.C.float() @ blind.weight.detach()).squeeze(1)  # (12, 8)
        worst = torch.maximum(rows * (box.lower - 0.5), rows * (box.upper - 0.5)).sum(1)
        assert (worst.abs() > 1e-3).all()
        breakable = int((worst > 0).sum())
        for surrogates in ((), (Plain(),)):
            found = diagnosed(blind, "D7", eps=eps, surrogates=surrogates).findings[0]
            assert found.note.endswith(f"transfer {breakable}")


def test_a_text_has_radii_where_its_eps_is_one(tmp_path: Path) -> None:
    head = "spec t v1\nnet f: real[1,8,8] -> real[10]\ndata x0: real[1,8,8]\nlabel c: class[10]\n"
    about = "param eps: real = 1/20\nprop rob: forall x: real[1,8,8] in ball(x0, {}) & box(0, 1): {}\n"
    score = "f(x)[c] - max(drop(f(x), c))"
    words = {}
    for name, radius, claim in (("radius", "eps", f"{score} >= 0"), ("level", "1/20", f"{score} >= -eps")):
        path, out = tmp_path / f"{name}.rbspec", tmp_path / f"{name}.json"
        path.write_text(head + about.format(radius, claim))
        asked = ["diagnose", "digits-mlp:pgd", str(path), "--first", "3", "--only", "D9", "--only", "D10"]
        assert run([*asked, "--json", str(out)]) == 0
        facts = json.loads(out.read_text())
        words[name] = [one["note"] for one in facts["findings"]]
    assert "0.0125, 0.025, 0.05, 0.1, 0.2;" in words["radius"][0] and "radius 1," in words["radius"][1]
    assert "0.25, 0.5, 1;" in words["level"][0] and "nothing wider" in words["level"][1]


def test_costs_are_counted() -> None:
    found = diagnosed(Plain(), "D1", "D3", "D8")
    costs = {one.code: (one.forwards, one.backwards) for one in found.findings}
    assert costs["D3"] == (5, 0) and costs["D1"] == (4, 4)
    assert costs["D8"][0] >= EFFORT.random_points


def test_misuse_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown diagnostic 'D15'"):
        diagnose(cases_of(Plain()), codes=["D15"])
    with pytest.raises(DataError, match="every case is broken at its start"):
        diagnose(cases_of(Plain(torch.zeros_like, scale=0.0)))
    with pytest.raises(ResultsError, match="no diagnosis"):
        diagnosis_page({"model": "x"}, "nowhere.html")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["diagnose", "undefended", "robustness", "--first", "4", "--points", "50", "--queries", "50"]
    files = ["--json", str(tmp_path / "d.json"), "--report", str(tmp_path / "page")]
    assert run([*asked, *files]) == 0
    out = capsys.readouterr().out
    assert all(f"D{k} " in out for k in range(1, 15)) and "no proof" in out
    facts = json.loads((tmp_path / "d.json").read_text())
    assert len(facts["findings"]) == 14 and facts["believable"] is True
    page = (tmp_path / "page" / "diagnosis.html").read_text()
    assert len(facts["curves"]["surface"]) == 25 and facts["curves"]["steps"]
    assert 'id="surface"' in page and 'id="steps"' in page and "D14 the attack" in page


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["undefendet", "robustness"], "Did you mean 'undefended'"),
        (["undefended", "robustnes"], "Did you mean 'robustness'"),
        (["undefended", "robustness", "--only", "D99"], "unknown diagnostic 'D99'"),
        (["undefended", "robustness", "--attack", "pgdd"], "unknown attack 'pgdd'"),
        (["undefended", "robustness", "--image", "100000"], "no image 100000"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", *arguments]) == 2
    err = capsys.readouterr().err
    assert text in err and err.count("\n") == 1
