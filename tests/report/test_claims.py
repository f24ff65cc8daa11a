"""The claims of a zoo's rows in the report: verdicts, brackets, controls, and growth with the sets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from robustbench_local.report import report
from robustbench_local.report.claims import claim_rows, claims_facts, claims_table, nested, size_plots
from robustbench_local.report.summary import case_bounds
from robustbench_local.store import COLUMNS, validate

from .synthetic import synthetic

HEADINGS = {"lamp": "99.01 lamp"}


def row(model: str, eps: float, method: str, **fields: Any) -> dict[str, Any]:
    """One line about case 0 of the claim `bright`."""
    kind = "verifier" if method in {"ibp", "bab"} else "attack"
    base = {name: {"string": "", "float64": np.nan, "int64": 0}[dtype] for name, dtype in COLUMNS.items()}
    base |= {"model": model, "model_hash": model, "dataset": "d", "case": "0", "spec": "bright"}
    base |= {"spec_hash": "s", "norm": "scale", "eps": eps, "method": method, "kind": kind}
    return base | {"arithmetic": "real", "verdict": "UNKNOWN", "seconds": 0.5} | fields


def lamps() -> pd.DataFrame:
    lines = []
    for name, worst in (("lamp:nominal", 0.5), ("lamp:spec", -0.25)):
        for eps in (0.5, 1.0):
            found, bound = (worst - 0.1) * eps, worst * eps + 0.3 * (1 - eps)
            lines.append(row(name, eps, "pgd", lower=found, verdict="VIOLATED" if found > 0 else "UNKNOWN"))
            lines.append(row(name, eps, "ibp", upper=bound, verdict="HOLDS" if bound < 0 else "UNKNOWN"))
    lines.append(row("lamp:control-bright", 1.0, "pgd", lower=3.0, verdict="VIOLATED"))
    return validate(pd.DataFrame(lines))


def test_weight_sets_stand_side_by_side() -> None:
    table = claims_table(lamps(), HEADINGS)
    ((heading, (cells,)),) = table.parts
    assert heading == "99.01 lamp"
    assert [c.text for c in cells] == [
        *("bright", "0 / 1 / 0", "0.4 .. 0.5", "0.1", "1 / 0 / 0", "-0.35 .. -0.25", "0.1", "violated")
    ]
    assert len(cells) == len(table.columns)


def test_a_control_that_holds_and_a_bound_that_is_missing_are_said() -> None:
    rows = lamps()
    rows.loc[rows["model"] == "lamp:control-bright", ["verdict", "lower"]] = ["UNKNOWN", -1.0]
    rows.loc[(rows["model"] == "lamp:spec") & (rows["method"] == "ibp"), "upper"] = math.inf
    ((_, (cells,)),) = claims_table(rows, HEADINGS).parts
    assert cells[-1].text == "NOT violated"
    assert cells[5].text == "-0.35 .. ?" and cells[6].text == "?"


def test_controls_and_smaller_sets_are_no_problems_of_the_claim() -> None:
    facts = {what: number for number, what in claims_facts(lamps())}
    assert (facts["rows of the zoo"], facts["claims"], facts["problems"], facts["violated"]) == (
        *("1", "1", "2", "1"),
    )


def test_larger_sets_inherit_what_was_found_and_smaller_ones_what_bounds() -> None:
    rows = lamps()
    rows.loc[(rows["eps"] == 0.5) & (rows["method"] == "pgd"), "lower"] = 0.45
    rows.loc[(rows["eps"] == 0.5) & (rows["method"] == "ibp"), "upper"] = 9.0
    known = nested(case_bounds(rows)).set_index(["model", "eps"])
    assert known.loc[("lamp:nominal", 1.0), "lower"] == 0.45
    assert known.loc[("lamp:nominal", 0.5), "upper"] == known.loc[("lamp:nominal", 1.0), "upper"] == 0.5


def test_every_claim_with_a_size_has_a_figure_of_its_weight_sets() -> None:
    curves, figures = size_plots(lamps(), HEADINGS, 7)
    assert figures == [{"title": "99.01 lamp: bright", "curves": [(7, "nominal"), (8, "spec")]}]
    assert [curve["eps"] for curve in curves] == [[0.5, 1.0]] * 2
    assert all(curve["mates"] == [7, 8] for curve in curves)
    one_size = lamps().query("eps == 1")
    assert size_plots(one_size, HEADINGS, 0) == ([], [])


def test_a_page_shows_claims_alone_and_beside_other_models(tmp_path: Path) -> None:
    plain, witnesses = synthetic(10)
    both = pd.concat([lamps(), plain], ignore_index=True)
    assert claim_rows(both, HEADINGS).sum() == len(lamps())
    alone = report(lamps(), tmp_path / "alone", headings=HEADINGS).read_text(encoding="utf-8")
    assert 'id="table-claims"' in alone and 'id="violation-1"' in alone
    assert 'id="table-accuracy"' not in alone and "99.01 lamp" in alone
    page = report(both, tmp_path / "both", witnesses=witnesses, headings=HEADINGS)
    text = page.read_text(encoding="utf-8")
    assert 'id="table-claims"' in text and 'id="table-accuracy"' in text
    places = [text.count(f'id="violation-{k}"') for k in range(6)]
    assert places == [1, 1, 1, 1, 1, 0]  # three models of the plain table, then two weight sets
    words = page.with_name("report.md").read_text(encoding="utf-8")
    assert "| 99.01 lamp | bright | 0 / 1 / 0 |" in words
