"""The claims of a zoo's rows: brackets of all weight sets side by side, and how violation grows with a set.

A row of the zoo is a model whose weight sets are named "model:weights"; what its claims are tried on to see
that something violates them is named "model:control-claim". Sets with a size have the norm "scale", and eps
is their factor: 1 is the claim itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .figures import curves_data
from .summary import case_bounds
from .tables import Cell, Column, Table

__all__ = ["claim_rows", "claims_facts", "claims_table", "nested", "size_plots", "with_headings"]

SCALE = "scale"
CONTROL = "control"


def claim_rows(table: pd.DataFrame, headings: Mapping[str, str]) -> pd.Series[bool]:
    """Which rows of the table belong to the zoo's rows of `headings` (model -> heading)."""
    result: pd.Series[bool] = _model(table).isin(list(headings)).astype(bool)
    return result


def with_headings(table: pd.DataFrame, headings: Mapping[str, str]) -> pd.DataFrame:
    """The same rows with the heading of their zoo row as model, whatever the weights."""
    names = [
        headings.get(str(name), str(full)) for name, full in zip(_model(table), table["model"], strict=True)
    ]
    result: pd.DataFrame = table.assign(model=pd.array(names, dtype="string"))
    return result


def claims_facts(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Short (number, what it counts) pairs; controls and smaller sets do not count as problems."""
    known = case_bounds(_as_claimed(table))
    known = known[~known["model"].str.contains(f":{CONTROL}-", regex=False)]
    settled = known["holds"] | known["violated"]
    claims = known.assign(row=_model(known)).drop_duplicates(["row", "spec"])
    minutes = float(table["seconds"].sum()) / 60
    return [
        (str(_model(table).nunique()), "rows of the zoo"),
        (str(len(claims)), "claims"),
        (str(len(known)), "problems"),
        (f"{100 * float(settled.mean()):.1f} %", "of them decided"),
        (str(int(known["violated"].sum())), "violated"),
        (f"{minutes:.1f} min", "of computation"),
    ]


def claims_table(table: pd.DataFrame, headings: Mapping[str, str]) -> Table:
    """Per claim and weight set: verdicts, the bracket of the worst violation, its width; and the control."""
    known = case_bounds(_as_claimed(table))
    known = known.assign(row=_model(known), set=known["model"].str.partition(":")[2])
    names = [name for name in known["set"].unique() if not name.startswith(f"{CONTROL}-")]
    parts: list[tuple[str, list[list[Cell]]]] = []
    for row, heading in headings.items():
        of_row = known[known["row"] == row]
        lines = []
        for claim, of_claim in of_row.groupby("spec", sort=False):
            cells = [Cell(str(claim))]
            for name in names:
                cells += _bracket(of_claim[of_claim["set"] == name])
            lines.append([*cells, _control(of_claim[of_claim["set"] == f"{CONTROL}-{claim}"])])
        if lines:
            parts.append((heading, lines))
    heads = [Column("claim", numeric=False)]
    for name in names:
        heads += [
            Column(f"{name}: cases", "problems that hold / are violated / are open"),
            Column("worst violation", "largest one found .. largest one that is possible"),
            Column("gap", "how far these two are apart: what is not known"),
        ]
    heads.append(Column("control", "whether a network that ought to violate the claim does", numeric=False))
    return Table("claims", "Claims of the zoo's rows, all weight sets side by side", heads, parts)


def size_plots(
    table: pd.DataFrame, headings: Mapping[str, str], first: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Curves of violation against the size of the sets, and the figures that show them.

    first: the number of the first curve on the page. A figure has a title and its curves, one per weight set,
    as (number on the page, weight set); they share an axis.
    """
    if table.empty:
        return [], []
    rows = table[table["norm"].eq(SCALE).fillna(False).astype(bool)]
    rows = rows[~rows["model"].str.contains(f":{CONTROL}-", regex=False)]
    curves: list[dict[str, Any]] = []
    figures: list[dict[str, Any]] = []
    rows = rows.assign(row=pd.Categorical(_model(rows), list(headings)))  # in the order of the headings
    for (row, claim), group in rows.sort_values("row", kind="stable").groupby(
        ["row", "spec"], sort=False, observed=True
    ):
        smaller = group.loc[group["eps"] < 1, "case"]
        drawn = group[group["case"].isin(smaller)].drop(columns="row")  # the same cases at every size
        if drawn.empty:
            continue
        found = curves_data(drawn, cases=nested(case_bounds(drawn)))["curves"]
        start = first + len(curves)
        mates = list(range(start, start + len(found)))
        names = drawn["model"].drop_duplicates().str.partition(":")[2].tolist()
        curves += [{**curve, "methods": [], "mates": mates, "axis": _AXIS} for curve in found]
        title = f"{headings[str(row)]}: {claim}"
        figures.append({"title": title, "curves": list(zip(mates, names, strict=True))})
    return curves, figures


_AXIS = "size of the input sets, 1: those of the claim"


def nested(cases: pd.DataFrame) -> pd.DataFrame:
    """`case_bounds` of sets that contain each other, each with what it inherits.

    What was found in a set lies in all larger ones; what bounds a set bounds all smaller ones.
    """
    key = ["model", "model_hash", "dataset", "spec", "norm", "case"]
    ordered = cases.sort_values("eps", kind="stable")
    groups = ordered.groupby(key, sort=False, dropna=False)
    lower = groups["lower"].cummax()
    upper = ordered[::-1].groupby(key, sort=False, dropna=False)["upper"].cummin()
    result: pd.DataFrame = cases.assign(lower=lower.reindex(cases.index), upper=upper.reindex(cases.index))
    return result


def _as_claimed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows about the claims' own sets."""
    rows: pd.DataFrame = table[table["norm"].ne(SCALE).fillna(True).astype(bool) | table["eps"].eq(1)]
    return rows


def _model(table: pd.DataFrame) -> pd.Series[str]:
    names: pd.Series[str] = table["model"].str.partition(":")[0]
    return names


def _bracket(cases: pd.DataFrame) -> Sequence[Cell]:
    """Verdicts, bracket and gap of one claim on one weight set."""
    if cases.empty:
        return [Cell("–"), Cell("–"), Cell("–")]
    holds, violated = int((cases["holds"]).sum()), int(cases["violated"].sum())
    still = int((~cases["holds"] & ~cases["violated"]).sum())
    lower, upper = _largest(cases["lower"]), _largest(cases["upper"])
    gap = upper - lower
    tone = "violated" if violated else "holds" if not still else "unknown"
    share = (violated if violated else holds) / len(cases)
    return [
        Cell(f"{holds} / {violated} / {still}", float(holds), share, tone),
        Cell(f"{_text(lower)} .. {_text(upper)}", upper if math.isfinite(upper) else None),
        Cell(_text(max(gap, 0.0)), max(gap, 0.0)) if math.isfinite(gap) else Cell("?"),
    ]


def _largest(values: pd.Series[float]) -> float:
    """The largest value; NaN where some case has none."""
    numbers = values.to_numpy(dtype=np.float64)
    return float(numbers.max()) if bool(np.isfinite(numbers).all()) else math.nan


def _control(cases: pd.DataFrame) -> Cell:
    if cases.empty:
        return Cell("–")
    return Cell("violated") if bool(cases["violated"].any()) else Cell("NOT violated")


def _text(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "?"
