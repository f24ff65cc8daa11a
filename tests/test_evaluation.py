"""The results table: verdicts, reasons, replays, second looks in float64, and the alarm."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from robustbench_local.attacks import ATTACKS, Attack, AttackResult, Ids
from robustbench_local.errors import (
    DeviceError,
    NonFiniteError,
    ShapeError,
    SoundnessAlarm,
    UnsupportedOpError,
)
from robustbench_local.evaluation import (
    Cases,
    Limits,
    Subject,
    clean,
    confirm,
    evaluate,
    in_chunks,
    run_verifier,
)
from robustbench_local.plan import plan_for
from robustbench_local.specs import Any, Atom, Box, Query
from robustbench_local.store import COLUMNS, WitnessStore
from robustbench_local.verifiers import (
    DEFAULT_BUDGET,
    VERIFIERS,
    Bounds,
    Budget,
    Graph,
    Verifier,
    problem_bytes,
)

Methods = dict[str, Attack | Verifier]


class Identity(nn.Module):
    """y = w * x with w = 1: the worst violation of `y - t > 0` over a box is upper - t."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), weight))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def problems(
    thresholds: Sequence[float], *, weight: float = 1.0, ids: Sequence[int | str] | None = None
) -> Cases:
    """Per threshold t: does y = w * x stay <= t over x in [-1, 1]? The worst violation is w - t."""
    n = len(thresholds)
    network = Identity(weight).eval()
    query = Query(
        network=network,
        inputs=Box(-torch.ones(n, 1), torch.ones(n, 1)),
        C=torch.ones(n, 1, 1, dtype=torch.float64),
        d=-torch.tensor(thresholds, dtype=torch.float64).reshape(n, 1),
        tree=Any((Atom(0, True),)),
        text=f"thresholds {list(thresholds)}",
    )
    return Cases(
        model="identity",
        network=network,
        model_hash="0" * 64,
        family="toy",
        dataset="",
        ids=range(n) if ids is None else ids,
        query=query,
        spec="below",
        norm="linf",
        eps=1.0,
    )


def attack_at(value: float, *, claimed: bool | None = None) -> Attack:
    """An attack whose every answer is the point `value`."""

    def attack(
        query: Query,
        *,
        start: Tensor | None = None,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float | None = None,
    ) -> AttackResult:
        points = torch.full((query.batch, 1), value)
        ones = torch.ones(query.batch, dtype=torch.int64)
        violated = query.violated(points) if claimed is None else torch.full((query.batch,), claimed)
        violation = query.violation(points).detach()
        return AttackResult(
            points, violation, violated, 2 * ones, ones, ones.bool(), ones.bool(), ~ones.bool()
        )

    return attack


@dataclass
class Saying:
    """A verifier that says `upper` of every problem in float32, and `exact` in float64."""

    upper: float
    exact: float | None = None
    name: str = "saying"
    complete: bool = True

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        value = self.exact if graph.dtype == torch.float64 and self.exact is not None else self.upper
        rows = torch.full((query.batch, 1), value, dtype=graph.dtype)
        return Bounds(rows, rows[:, 0], self.complete)


@dataclass
class Failing:
    """A verifier that raises."""

    error: Exception
    name: str = "failing"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        raise self.error


def row_of(table: pd.DataFrame, method: str, case: int = 0) -> dict[str, typing.Any]:
    rows = table[(table["method"] == method) & (table["case"] == str(case))]
    return {str(key): value for key, value in rows.iloc[0].items()}


def test_columns_and_verdicts_of_the_real_engines() -> None:
    """y <= t over [-1, 1]: violated at t = 0, proved at t = 1.5."""
    store = WitnessStore()
    methods: Methods = {
        "clean": clean,
        "pgd": ATTACKS["pgd"],
        "ibp": VERIFIERS["ibp"],
        "crown": VERIFIERS["crown"],
    }
    table = evaluate([problems([0.0, 1.5])], methods, witnesses=store)
    assert list(table.columns) == list(COLUMNS)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(COLUMNS)
    assert len(table) == 8
    assert [row_of(table, m, 0)["verdict"] for m in methods] == ["UNKNOWN", "VIOLATED", "UNKNOWN", "UNKNOWN"]
    assert [row_of(table, m, 1)["verdict"] for m in methods] == ["UNKNOWN", "UNKNOWN", "HOLDS", "HOLDS"]
    assert [row_of(table, m, 1)["reason"] for m in methods] == ["search", "search", "", ""]
    assert row_of(table, "crown", 0)["reason"] == "bound"
    found, bound = row_of(table, "pgd", 0), row_of(table, "crown", 0)
    assert 0 < found["lower"] <= 1 and math.isnan(found["upper"])
    assert bound["upper"] == pytest.approx(1.0) and math.isnan(bound["lower"])
    assert found["forwards"] > 0 and found["backwards"] > 0 and bound["domains"] == 1
    assert float(store[found["witness"]]) == found["lower"]
    assert (table["seconds"] >= 0).all() and (table["error"] == "").all() and (table["peak_mb"] > 1).all()
    assert set(table["dtype"]) == {"float32"} and set(table["arithmetic"]) == {"real"}


def test_no_cases_give_an_empty_table_with_all_columns() -> None:
    table = evaluate([], {"pgd": ATTACKS["pgd"]})
    assert list(table.columns) == list(COLUMNS) and len(table) == 0


def test_attack_results_do_not_depend_on_the_company() -> None:
    together = evaluate([problems([0.0, 0.5, 0.99], ids=[7, 8, 9])], {"pgd": ATTACKS["pgd"]}, seed=3)
    alone = evaluate([problems([0.5], ids=[8])], {"pgd": ATTACKS["pgd"]}, seed=3)
    assert row_of(together, "pgd", 8)["lower"] == row_of(alone, "pgd", 8)["lower"]
    assert row_of(together, "pgd", 8)["witness"] == row_of(alone, "pgd", 8)["witness"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_bound_that_is_not_finite_never_holds(value: float) -> None:
    row = row_of(evaluate([problems([9.0])], {"v": Saying(value)}), "v")
    assert (row["verdict"], row["reason"], row["upper"]) == ("UNKNOWN", "non-finite", math.inf)


def test_nan_weights_never_hold_and_never_violate() -> None:
    methods: Methods = {
        "pgd": ATTACKS["pgd"],
        "ibp": VERIFIERS["ibp"],
        "crown": VERIFIERS["crown"],
    }
    table = evaluate([problems([9.0, -9.0], weight=math.nan)], methods)
    assert set(table["verdict"]) == {"UNKNOWN"} and set(table["reason"]) == {"non-finite"}


def test_a_claim_that_does_not_replay_is_not_believed() -> None:
    row = row_of(evaluate([problems([0.5])], {"liar": attack_at(0.2, claimed=True)}), "liar")
    assert (row["verdict"], row["reason"], row["witness"]) == ("UNKNOWN", "boundary", "")


def test_a_point_outside_its_set_is_not_believed() -> None:
    row = row_of(evaluate([problems([0.5])], {"outside": attack_at(1.5)}), "outside")
    assert (row["verdict"], row["reason"]) == ("UNKNOWN", "boundary")


def test_a_bound_that_was_cut_short_is_a_timeout() -> None:
    row = row_of(evaluate([problems([0.5])], {"slow": Saying(3.0, complete=False)}), "slow")
    assert (row["verdict"], row["reason"], row["upper"]) == ("UNKNOWN", "timeout", 3.0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnsupportedOpError("no rule for sort"), "op"),
        (torch.OutOfMemoryError("CUDA out of memory"), "resources"),
        (MemoryError(), "resources"),
        (NonFiniteError("NaN in the weights"), "non-finite"),
        (RuntimeError("shapes do not fit"), "op"),
    ],
)
def test_the_error_of_one_method_becomes_its_rows(error: Exception, reason: str) -> None:
    table = evaluate([problems([0.5, 2.0])], {"failing": Failing(error), "ibp": VERIFIERS["ibp"]})
    rows = table[table["method"] == "failing"]
    assert (
        set(rows["verdict"]) == {"UNKNOWN"}
        and set(rows["reason"]) == {reason}
        and (rows["error"] != "").all()
    )
    assert row_of(table, "ibp", 1)["verdict"] == "HOLDS"


def test_an_error_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        evaluate([problems([0.5])], {"failing": Failing(ZeroDivisionError("a bug"))})


def test_narrow_holds_are_bounded_again_in_float64() -> None:
    """-1e-6 is within rounding of zero: the float64 bound decides."""
    good = row_of(evaluate([problems([1.5])], {"v": Saying(-1e-6, exact=-1e-7)}), "v")
    assert (good["verdict"], good["upper"], good["reason"]) == ("HOLDS", -1e-7, "")
    bad = row_of(evaluate([problems([1.5])], {"v": Saying(-1e-6, exact=1e-7)}), "v")
    assert (bad["verdict"], bad["upper"], bad["reason"]) == ("UNKNOWN", 1e-7, "boundary")
    wide = row_of(evaluate([problems([1.5])], {"v": Saying(-1.0, exact=5.0)}), "v")
    assert (wide["verdict"], wide["upper"], wide["reason"]) == ("UNKNOWN", 5.0, "boundary")


def test_rounding_alone_is_no_alarm() -> None:
    """float32 puts the bound below the point, float64 does not: both keep what float64 says."""
    table = evaluate([problems([0.5])], {"attack": attack_at(1.0), "v": Saying(0.4999999, exact=0.5)})
    assert row_of(table, "attack")["lower"] == 0.5 and row_of(table, "v")["upper"] == 0.5
    assert row_of(table, "attack")["verdict"] == "VIOLATED"


def test_a_verdict_that_rests_on_rounding_becomes_boundary() -> None:
    """The threshold lies between the float32 and the real product: violated by rounding only."""
    point, weight = 1.0, 1.0 + 2.0**-23
    cases = problems([weight + 2.0**-50])
    network = Rounding(weight)
    cases = replace(cases, network=network, query=cases.query.with_network(network))
    table = evaluate([cases], {"attack": attack_at(point), "v": Saying(-1e-9, exact=-(2.0**-50))})
    assert list(table["verdict"]) == ["UNKNOWN", "UNKNOWN"] and list(table["reason"]) == [
        "boundary",
        "boundary",
    ]


class Rounding(nn.Module):
    """x * w in the dtype of the weights, with one unit in the last place of float32 on top in float32."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight * (1.0 + torch.finfo(self.weight.dtype).eps)


@pytest.mark.parametrize("upper", [0.3, -0.2])
def test_a_contradiction_stops_the_run_with_the_case_saved(tmp_path: Path, upper: float) -> None:
    """The attack finds 0.5; a verifier that says less, or even HOLDS, is wrong."""
    with pytest.raises(SoundnessAlarm, match="above the bound") as caught:
        evaluate(
            [problems([0.9, 0.5])], {"attack": attack_at(1.0), "v": Saying(upper)}, alarm_folder=tmp_path
        )
    (file,) = tmp_path.glob("alarm-*.safetensors")
    assert str(file) in str(caught.value)
    with safe_open(file, "pt") as saved:
        facts = saved.metadata()
        assert float(saved.get_tensor("point")) == 1.0
    assert facts["verifier"] == "v" and facts["attack"] == "attack" and facts["model"] == "identity"


def test_settings_that_cannot_be_used() -> None:
    with pytest.raises(NonFiniteError, match="timeout"):
        evaluate([problems([0.5])], {}, timeout=math.nan)
    with pytest.raises(DeviceError, match="cuda"):
        evaluate([problems([0.5])], {"ibp": VERIFIERS["ibp"]}, device="cuda")
    with pytest.raises(ShapeError, match="2 ids"):
        problems([0.5], ids=[1, 2])


def test_chunks_are_halved_when_memory_runs_out() -> None:
    tried: list[int] = []

    def run(index: Tensor) -> list[int]:
        tried.append(len(index))
        if len(index) > 3:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return index.tolist()

    assert [i for part in in_chunks(run, 10, 10) for i in part] == list(range(10))
    assert tried == [10, 5, 3, 3, 3, 1]


def test_chunks_give_up_at_one() -> None:
    def run(index: Tensor) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        in_chunks(run, 4, 4)


@dataclass(frozen=True)
class Counting:
    """IBP that notes the size of every batch and the seconds it was given."""

    seen: list[tuple[int, float]]
    name: str = "counting"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        self.seen.append((query.batch, budget.seconds or 0.0))
        return VERIFIERS["ibp"].bound(graph, query, budget)


def test_batches_are_cut_by_the_memory_that_their_bounds_will_take() -> None:
    cases = problems([0.3 * (k % 7) for k in range(100)])
    subject = Subject.of(cases)
    memory = 9 * problem_bytes(subject.graph())
    seen: list[tuple[int, float]] = []
    cut = run_verifier(Counting(seen), subject, cases.query, limits=Limits(60.0, memory))
    assert [n for n, _ in seen] == [9] * 11 + [1]
    assert seen[0][1] < 6 and seen[-1][1] > 50, "each batch has its part of the time that is left"
    whole = run_verifier(VERIFIERS["ibp"], subject, cases.query, limits=Limits(60.0))
    assert torch.equal(cut.upper, whole.upper) and torch.equal(cut.holds, whole.holds)
    seen.clear()
    confirm(Counting(seen), subject, cases.query, whole, Budget(60.0, memory))
    assert seen and max(n for n, _ in seen) <= 9, "the second look, too"


def test_a_plan_predicts_the_memory_of_such_batches() -> None:
    cases = problems([0.5] * 1000)
    subject = Subject.of(cases)
    each = problem_bytes(subject.graph())
    small, large = (plan_for(subject, cases.query, memory_bytes=n * each).memory_bytes for n in (10, 1000))
    assert 15 * each < small < 50 * each and large > 900 * each


def test_progress_is_told_before_each_method() -> None:
    seen: list[tuple[str, str]] = []
    methods: Methods = {"clean": clean, "ibp": VERIFIERS["ibp"]}
    evaluate([problems([0.5])], methods, progress=lambda cases, name: seen.append((cases.model, name)))
    assert seen == [("identity", "clean"), ("identity", "ibp")]
