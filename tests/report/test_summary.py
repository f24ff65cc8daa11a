"""The summaries behind every output: small tables worked out by hand, and properties of any table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from robustbench_local.report import brackets, case_bounds, deciders, reasons, timing
from robustbench_local.store import COLUMNS, validate

NAN, INF = float("nan"), float("inf")


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    """A valid table: each row overrides the defaults; an attack row gets `lower`, a verifier row `upper`."""
    defaults: dict[str, Any] = {n: {"string": "", "float64": NAN, "int64": 0}[d] for n, d in COLUMNS.items()}
    defaults |= {"model": "m", "model_hash": "h", "dataset": "d", "spec": "robustness", "norm": "linf"}
    defaults |= {"spec_hash": "s", "eps": 0.1, "arithmetic": "real", "seconds": 1.0}
    return validate(pd.DataFrame([defaults | row for row in rows], columns=list(COLUMNS)))


def attack(case: str, lower: float, **changes: Any) -> dict[str, Any]:
    verdict = "VIOLATED" if lower > 0 else "UNKNOWN"
    return {"case": case, "method": "pgd", "kind": "attack", "verdict": verdict, "lower": lower} | changes


def clean(case: str, lower: float, **changes: Any) -> dict[str, Any]:
    return attack(case, lower, method="clean", **changes)


def verifier(case: str, upper: float, **changes: Any) -> dict[str, Any]:
    verdict = "HOLDS" if upper < 0 else "UNKNOWN"
    return {"case": case, "method": "crown", "kind": "verifier", "verdict": verdict, "upper": upper} | changes


FIVE = (
    *(clean("0", -3), attack("0", -2), verifier("0", -1)),  # proved
    *(clean("1", -3), attack("1", -2), verifier("1", 1)),  # open
    *(clean("2", -3), attack("2", 1), verifier("2", 2)),  # broken
    *(clean("3", 2), attack("3", 3), verifier("3", 4)),  # wrong without any perturbation
    *(clean("4", -3), attack("4", -INF), verifier("4", INF)),  # open, and nothing known
)


def test_five_cases_by_hand() -> None:
    (row,) = brackets(table(*FIVE)).to_dict("records")
    assert (row["n"], row["clean"], row["verified"], row["empirical"]) == (5, 4 / 5, 1 / 5, 3 / 5)
    assert row["gap"] == pytest.approx(2 / 5) and row["undecided"] == 2 / 5 and row["conflicts"] == 0
    assert (
        row["mean_lower"] == (-2 - 2 + 1 + 3 - 3) / 5
    )  # the centre is a lower bound where the attack has none
    assert row["mean_upper"] == INF


def test_five_cases_one_by_one() -> None:
    cases = case_bounds(table(*FIVE)).set_index("case")
    assert cases["holds"].tolist() == [True, False, False, False, False]
    assert cases["violated"].tolist() == [False, False, True, True, False]
    assert cases["lower"].tolist() == [-2, -2, 1, 3, -3] and cases["upper"].tolist() == [-1, 1, 2, 4, INF]


def test_the_best_of_several_methods_counts() -> None:
    rows = (
        attack("0", -2),
        attack("0", -1, method="fgsm"),
        verifier("0", 3, method="ibp"),
        verifier("0", -0.5),
    )
    (row,) = brackets(table(*rows)).to_dict("records")
    assert (row["verified"], row["empirical"], row["mean_lower"], row["mean_upper"]) == (1, 1, -1, -0.5)
    assert math.isnan(row["clean"])


def test_one_sided_tables_leave_the_other_side_out() -> None:
    (only_attack,) = brackets(table(attack("0", 1), attack("1", -1))).to_dict("records")
    assert math.isnan(only_attack["verified"]) and only_attack["empirical"] == 0.5
    assert math.isnan(only_attack["gap"]) and only_attack["mean_upper"] == INF
    (only_verifier,) = brackets(table(verifier("0", 1), verifier("1", -1))).to_dict("records")
    assert math.isnan(only_verifier["empirical"]) and only_verifier["verified"] == 0.5


def test_a_case_that_no_verifier_saw_is_not_verified() -> None:
    (row,) = brackets(table(verifier("0", -1), attack("0", -2), attack("1", -2))).to_dict("records")
    assert (row["n"], row["verified"], row["empirical"]) == (2, 0.5, 1.0)


def test_a_counterexample_of_a_complete_verifier_counts() -> None:
    (row,) = brackets(table(verifier("0", 1, verdict="VIOLATED", lower=0.5))).to_dict("records")
    assert (row["verified"], row["empirical"]) == (0, 0)


def test_nan_is_never_correct() -> None:
    (row,) = brackets(table(clean("0", NAN), verifier("0", -1), attack("0", -2))).to_dict("records")
    assert (row["clean"], row["verified"], row["empirical"]) == (0, 0, 0)


def test_one_clean_row_serves_all_radii() -> None:
    rows = (clean("0", 1, eps=0.0), attack("0", 1), attack("0", 2, eps=0.2))
    result = brackets(table(*rows))
    assert result["eps"].tolist() == [0.1, 0.2] and result["clean"].tolist() == [0, 0]


def test_only_clean_rows_still_give_the_clean_accuracy() -> None:
    (row,) = brackets(table(clean("0", 1, eps=0.0), clean("1", -1, eps=0.0))).to_dict("records")
    assert row["clean"] == 0.5 and math.isnan(row["verified"])


@pytest.mark.parametrize(
    ("rows", "conflicts"),
    [
        ((attack("0", 1), verifier("0", -1)), 1),
        ((attack("0", -1), verifier("0", -2)), 1),
        ((attack("0", -1), verifier("0", -1 - 1e-7)), 0),  # rounding
        ((attack("0", -1), verifier("0", INF)), 0),
    ],
)
def test_contradictions_are_counted(rows: tuple[dict[str, Any], ...], conflicts: int) -> None:
    assert brackets(table(*rows))["conflicts"].tolist() == [conflicts]


def test_curves_stay_apart_and_radii_ascend() -> None:
    rows = [
        verifier("0", -1, model=model, norm=norm, eps=eps)
        for model in ("b", "a")
        for norm in ("linf", "l2")
        for eps in (0.2, 0.1, NAN)
    ]
    result = brackets(table(*rows))
    assert len(result) == 12 and result["model"].tolist() == ["b"] * 6 + ["a"] * 6
    assert result["eps"].tolist()[:2] == [0.1, 0.2] and math.isnan(result["eps"][2])


def test_the_first_method_that_settles_a_case_gets_it() -> None:
    rows = (*FIVE, verifier("0", -2, method="late"), verifier("1", -2, method="late"))
    result = deciders(table(*rows)).set_index("decider")
    assert result["n"].to_dict() == {"crown": 1, "late": 1, "pgd": 1, "clean": 1, "undecided": 1}
    assert result["share"].sum() == pytest.approx(1)
    assert result.loc["clean", "verdict"] == "VIOLATED" and result.loc["undecided", "verdict"] == "UNKNOWN"


def test_stages_of_one_method_are_told_apart() -> None:
    rows = (verifier("0", -1, stage="ibp"), verifier("1", -1, stage="crown"), verifier("2", -1, stage="ibp"))
    result = deciders(table(*rows)).set_index("decider")
    assert result["n"].to_dict() == {"crown: ibp": 2, "crown: crown": 1}


def test_reasons_and_times() -> None:
    rows = table(
        attack("0", -1, reason="search"), attack("1", -1, reason="timeout"), attack("2", -1), attack("3", 1)
    )
    counts = reasons(rows)
    assert dict(zip(counts["reason"], counts["n"], strict=True)) == {
        "search": 1,
        "timeout": 1,
        "not tight enough": 1,
    }
    (times,) = timing(table(attack("0", -1, forwards=3), attack("1", -1, seconds=3.0, forwards=4))).to_dict(
        "records"
    )
    assert (times["n"], times["seconds"], times["mean"], times["longest"]) == (2, 4, 2, 3)
    assert times["forwards"] == 7 and math.isnan(times["peak_mb"])


bounds = st.floats(-5, 5, width=16) | st.sampled_from([INF, -INF, NAN])


@settings(max_examples=12, phases=(Phase.explicit, Phase.generate))  # shrinking pandas calls takes minutes
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([0.1, 0.2]), bounds, bounds, bounds),
        min_size=1,
        max_size=12,
    )
)
def test_any_table_gives_ordered_shares(cases: list[tuple[str, float, float, float, float]]) -> None:
    rows = []
    for case, eps, centre, lower, upper in cases:
        rows += [clean(case, centre, eps=eps), attack(case, lower, eps=eps), verifier(case, upper, eps=eps)]
    result = brackets(table(*rows))
    assert ((0 <= result["verified"]) & (result["verified"] <= 1)).all()
    assert (result["empirical"] <= result["clean"]).all()
    fine = result[result["conflicts"] == 0]
    assert (fine["verified"] <= fine["empirical"]).all()
    assert np.allclose(fine["gap"], fine["empirical"] - fine["verified"])
    counts = deciders(table(*rows)).groupby("eps")["n"].sum()
    assert counts.tolist() == result["n"].tolist()
