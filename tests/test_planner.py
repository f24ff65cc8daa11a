"""Plans and what they lead to: verdicts, time limits, fair turns, memory that runs out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.cascade import Cascade
from robustbench_local.evaluation import Cases, Subject
from robustbench_local.plan import Plan, Step, plan_for
from robustbench_local.planner import decide
from robustbench_local.problems import problems_of
from robustbench_local.specs import Atom, Choice, Net, Query, Var, Verdict, box, forall
from robustbench_local.verifiers import DEFAULT_BUDGET, VERIFIERS, Bounds, Budget, Graph


def network(inputs: int, hidden: int, depth: int = 2, seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    sizes = [inputs, *[hidden] * depth, 1]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layer = nn.Linear(a, b)
        layer.weight.data = torch.randn(b, a, generator=generator) / a**0.5
        layer.bias.data = 0.3 * torch.randn(b, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def below(net: nn.Module, inputs: int, threshold: float, radius: float = 1.0) -> Cases:
    x, f = Var("x", inputs), Net("f", inputs, 1)
    query = forall(x, box(-radius, radius), f(x)[0] <= threshold).query(net)
    (cases,) = problems_of(None, query, None, device=None)
    return cases


def highest(net: nn.Module, inputs: int) -> float:
    points = torch.rand(50_000, inputs, generator=torch.Generator().manual_seed(1)) * 3 - 1.5
    return float(net(points.clamp(-1, 1)).max())  # corners and faces, too


def names(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps]


def planned(cases: Cases, *, attacks: bool = True) -> Plan:
    return plan_for(Subject.of(cases), cases.query, attacks=attacks)


def test_few_inputs_are_split_and_many_are_not() -> None:
    few, many = below(network(3, 40), 3, 1.0), below(network(30, 40), 30, 1.0)
    assert names(planned(few))[-2:] == ["split", "bab"]
    assert names(planned(many))[-1] == "bab" and "split" not in names(planned(many))
    narrow = below(network(12, 5, depth=1), 12, 1.0)
    assert names(planned(narrow))[-2:] == ["bab", "split"], "5 neurons have fewer patterns than 12 inputs"


def test_a_plan_explains_itself_with_numbers() -> None:
    text = "\n".join(planned(below(network(3, 40), 3, 1.0)).lines())
    assert "3 of 3 inputs vary" in text and "of 80 neurons undecided" in text and "MiB" in text
    assert text.index("pgd") < text.index("ibp") < text.index("split") < text.index("bab")


def test_without_attacks_there_are_only_verifiers() -> None:
    plan = planned(below(network(3, 10), 3, 1.0), attacks=False)
    assert plan.steps and all(step.name in VERIFIERS for step in plan.steps)


def test_few_inputs_of_a_wide_network_are_followed_forward() -> None:
    wide, narrow = planned(below(network(3, 3000), 3, 1.0)), planned(below(network(3, 40), 3, 1.0))
    assert "forward-backward" in names(wide) and "crown" not in names(wide)
    assert "forward-backward" not in names(narrow) and "crown" in names(narrow)
    many = planned(below(network(30, 3000), 30, 1.0))
    assert "crown" in names(many), "30 inputs vary"


class Needle(nn.Module):
    """0.9 at one corner of -1..1, where slopes lead from nearly everywhere, and 1 at the opposite one."""

    def forward(self, x: Tensor) -> Tensor:
        spike = 1 - 14 * (1 - x).sum(1, keepdim=True)
        return torch.maximum(0.9 - 0.3 * (x + 1).sum(1, keepdim=True), spike)


def test_few_inputs_get_walks_from_many_places() -> None:
    few, many = planned(below(network(3, 40), 3, 1.0)), planned(below(network(30, 40), 30, 1.0))
    assert "1,024 walks" in "\n".join(few.lines()) and " 16 walks" in "\n".join(many.lines())
    wide = planned(below(network(3, 4000), 3, 1.0))
    assert " 32 walks" in "\n".join(wide.lines()), "walks of larger networks cost more"
    cases = below(Needle(), 5, 0.95)
    (step,) = (step for step in planned(cases).steps if step.name == "clause-pgd")
    run = Cascade(cases, Subject.of(cases))
    run.step(step, time.monotonic() + 20)
    assert run.known.verdict == [Verdict.VIOLATED]


def test_what_cannot_be_bounded_is_attacked_and_says_why() -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x).sum(1, keepdim=True)

    cases = below(Sorted(), 3, 100.0)
    assert planned(cases).structure is None
    result = decide([cases], timeout=2.0)
    assert result.verdict is Verdict.UNKNOWN and result.reason == "op" and "bessel" in result.error


@pytest.mark.parametrize("inputs", [3, 30])
@pytest.mark.parametrize("timeout", [0.0, 1.0])
def test_time_limits_are_kept(inputs: int, timeout: float) -> None:
    net = network(inputs, 60, depth=3)
    cases = below(net, inputs, highest(net, inputs) + 1e-4)
    decide([cases], timeout=0.2)  # traced and warm
    start = time.monotonic()
    result = decide([cases], timeout=timeout)
    assert time.monotonic() - start <= 1.05 * timeout + 1
    assert result.lower <= result.upper and 0 <= result.proved <= 1
    if timeout == 0:
        assert result.verdict is Verdict.UNKNOWN and result.reason == "timeout"


def test_a_small_network_is_decided_on_both_sides_of_its_maximum() -> None:
    net = network(3, 10)
    top = highest(net, 3)
    proved = decide([below(net, 3, top + 0.05)], timeout=20.0)
    assert proved.verdict is Verdict.HOLDS and proved.proved == 1.0
    broken = decide([below(net, 3, top - 0.05)], timeout=20.0)
    assert broken.verdict is Verdict.VIOLATED and broken.witness is not None
    assert float(net(broken.witness.unsqueeze(0))) > top - 0.05


def test_one_hard_batch_leaves_the_others_their_time() -> None:
    hard = network(40, 60, depth=3)
    easy = network(3, 6)
    result = decide(
        [below(hard, 40, highest(hard, 40) + 0.3), below(easy, 3, highest(easy, 3) + 5)], timeout=1.5
    )
    assert result.cases[1].verdict is Verdict.HOLDS


def test_one_violated_problem_may_end_everything() -> None:
    net = network(3, 10)
    batches = [below(net, 3, highest(net, 3) - 0.1), below(network(40, 60, 3), 40, 4.0)]
    start = time.monotonic()
    assert decide(batches, timeout=20.0, first=True).verdict is Verdict.VIOLATED
    assert time.monotonic() - start < 10


@dataclass(frozen=True)
class Greedy:
    """CROWN where at most `fits` bytes are used at once; out of memory otherwise."""

    fits: int
    name: str = "greedy"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        if budget.memory(torch.device("cpu")) > self.fits:
            raise MemoryError("out of memory")
        return VERIFIERS["crown"].bound(graph, query, budget)


@pytest.mark.parametrize(("fits", "reason"), [(2**24, ""), (0, "resources")])
def test_a_step_that_runs_out_of_memory_gets_less(fits: int, reason: str) -> None:
    net = network(3, 6)
    cases = below(net, 3, highest(net, 3) + 5)
    run = Cascade(cases, Subject.of(cases))
    run.step(Step("greedy", Greedy(fits)), time.monotonic() + 20)
    result = run.known.result()
    assert result.reason == reason
    assert result.verdict is (Verdict.UNKNOWN if reason else Verdict.HOLDS)


def test_members_are_asked_for_problem_by_problem() -> None:
    """Two problems of 3,000 members each: together more than a set divides into at once."""
    net = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).requires_grad_(False)
    for layer, weight in ((net[0], [[1.0], [-1.0]]), (net[2], [[1.0, 1.0]])):  # the absolute value
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.zeros(len(weight))
    half = torch.linspace(0.5, 1, 1500, dtype=torch.float64)
    points = torch.cat((half, -half)).reshape(1, 3000, 1).expand(2, -1, -1)
    C, d = torch.full((2, 1, 1), -1.0, dtype=torch.float64), torch.full((2, 1), 0.3, dtype=torch.float64)
    query = Query(net, Choice(points), C, d, Atom(0, strict=True))
    assert query.parts() is None
    (cases,) = problems_of(None, query, None, device=None)
    result = decide([cases], timeout=30.0)
    assert [case.verdict for case in result.cases] == [Verdict.HOLDS] * 2
    assert result.stage.startswith("members")


def test_a_search_whose_root_outlasts_a_slice_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices that are far too short for the bounds at the root, which are not cut into slices."""
    monkeypatch.setattr("robustbench_local.slices._FIRST", 1e-3)
    net = network(30, 40, depth=3)
    cases = below(net, 30, highest(net, 30) + 2.0)
    (step,) = (step for step in planned(cases).steps if step.name == "bab")
    run = Cascade(cases, Subject.of(cases))
    run.step(step, time.monotonic() + 20)
    assert "bab" in run.searches or run.known.verdict == [Verdict.HOLDS]
