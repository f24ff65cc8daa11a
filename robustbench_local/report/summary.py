"""What a results table says, as small tables: pure functions of the rows, used by every output.

Shares lie in [0, 1]; violations are in the units of the specification and positive where it is broken.
A curve is one model under one specification, data set and norm; along it the radius eps varies.
Rows of the method `clean` are the forward pass at the centre of the set; they give the clean accuracy
and count as a lower bound, because the centre lies in every set around it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = [
    "CERTIFIED_RADII",
    "CLEAN",
    "CURVE",
    "brackets",
    "case_bounds",
    "certificates",
    "deciders",
    "reasons",
    "timing",
]

CERTIFIED_RADII = (0.0, 0.25, 0.5, 1.0)
"""The l2 radii at which the accuracy of smoothed classifiers is reported."""

CLEAN = "clean"
"""The method whose rows hold the forward pass at the centre of the set."""

CURVE = ["model", "model_hash", "dataset", "spec", "norm"]
"""The columns that tell one curve from another."""

_CENTRE = ["model", "model_hash", "dataset", "spec", "case"]
_ROUNDING = 1e-5
"""A lower bound this much above the upper one, relative to it, is rounding and no contradiction."""


def case_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """One row per curve, eps and case: what all methods together know about it.

    Columns: those of `CURVE`, eps, case; `holds` and `violated` (some method says so); `attacked` and
    `bounded` (some attack, some verifier was run); `lower` (largest violation found) and `upper` (smallest
    bound), NaN where there is none; `clean` (1.0 correct at the centre, 0.0 wrong, NaN not known) and
    `centre` (violation there); `conflict` (HOLDS and VIOLATED, or lower above upper).
    """
    at_centre = table["method"] == CLEAN
    rows = table[~at_centre]
    if rows.empty:
        rows = table
    verdict, kind = rows["verdict"], rows["kind"]
    rows = rows[[*CURVE, "eps", "case", "lower", "upper"]].assign(
        holds=(verdict == "HOLDS").astype(bool),
        violated=(verdict == "VIOLATED").astype(bool),
        attacked=(kind == "attack").astype(bool),
        bounded=((kind == "verifier") & rows["probabilistic"].isna()).astype(bool),
    )
    found: pd.DataFrame = rows.groupby([*CURVE, "eps", "case"], sort=False, dropna=False).agg(
        holds=("holds", "any"),
        violated=("violated", "any"),
        attacked=("attacked", "any"),
        bounded=("bounded", "any"),
        lower=("lower", "max"),
        upper=("upper", "min"),
    )
    result: pd.DataFrame = found.reset_index().merge(_centres(table[at_centre]), on=_CENTRE, how="left")
    result["violated"] |= result["clean"] == 0
    result["lower"] = result[["lower", "centre"]].max(axis=1)
    above = result["lower"] - result["upper"] > _ROUNDING * (1 + result["upper"].abs())
    result["conflict"] = (result["holds"] & result["violated"]) | above
    return result


def brackets(table: pd.DataFrame, *, cases: pd.DataFrame | None = None) -> pd.DataFrame:
    """The accuracy bracket and the mean violation bracket of every curve and eps, eps ascending.

    Columns: those of `CURVE`, eps, `n` (cases), and as shares of n
    `clean`     correct at the centre, of those whose `clean` row is there; NaN where none is,
    `verified`  correct and HOLDS by some verifier; NaN where no verifier was run at all,
    `empirical` correct and VIOLATED by no method; NaN where nothing looked for a violation at all,
    `gap`       empirical - verified,
    `undecided` neither HOLDS nor VIOLATED;
    `mean_lower`, `mean_upper` (infinite where some case has no bound) and `conflicts` (cases).
    `cases` is `case_bounds(table)`, for a caller who has it already.
    """
    known: pd.DataFrame = case_bounds(table) if cases is None else cases
    right = known["clean"].isna() | (known["clean"] == 1)
    searched = known["attacked"] | known["violated"] | known["clean"].notna()
    known = known.assign(
        verified=right & known["holds"],
        empirical=right & ~known["violated"],
        searched=searched,
        undecided=~known["holds"] & ~known["violated"],
        lower=known["lower"].fillna(-np.inf),
        upper=known["upper"].fillna(np.inf),
    )
    with np.errstate(invalid="ignore"):  # the mean of inf and -inf is NaN
        result = known.groupby([*CURVE, "eps"], sort=False, dropna=False).agg(
            n=("case", "size"),
            clean=("clean", "mean"),
            verified=("verified", "mean"),
            empirical=("empirical", "mean"),
            undecided=("undecided", "mean"),
            mean_lower=("lower", "mean"),
            mean_upper=("upper", "mean"),
            conflicts=("conflict", "sum"),
            bounded=("bounded", "any"),
            searched=("searched", "any"),
        )
    result["verified"] = result["verified"].where(result.pop("bounded"))
    result["empirical"] = result["empirical"].where(result.pop("searched"))
    result.insert(4, "gap", result["empirical"] - result["verified"])
    return _by_radius(result.reset_index())


def deciders(table: pd.DataFrame, *, cases: pd.DataFrame | None = None) -> pd.DataFrame:
    """Which method settled how many cases first, in the order of the table's rows.

    Columns: those of `CURVE`, eps, `decider`, `verdict`, `n`, `share` (of the cases of that curve and eps).
    A case that is wrong at the centre is settled by `clean`; a case that nothing settled counts under the
    decider `undecided`. The decider is the method, with its stage where a method has several of them.
    `cases` is `case_bounds(table)`, for a caller who has it already.
    """
    bounds: pd.DataFrame = case_bounds(table) if cases is None else cases
    key = [*CURVE, "eps", "case"]
    settled = table[(table["verdict"] != "UNKNOWN") & (table["method"] != CLEAN)]
    first = settled.drop_duplicates(subset=key)[[*key, "verdict"]].assign(decider=_labels(settled))
    known = bounds[[*key, "clean"]].merge(first, on=key, how="left")
    wrong = known["clean"] == 0
    known["decider"] = known["decider"].mask(wrong, CLEAN).fillna("undecided")
    known["verdict"] = known["verdict"].mask(wrong, "VIOLATED").fillna("UNKNOWN")
    counts = known.groupby([*CURVE, "eps", "decider", "verdict"], sort=False, dropna=False).size()
    result = counts.rename("n").reset_index()
    totals = result.groupby([*CURVE, "eps"], dropna=False)["n"].transform("sum")
    return _by_radius(result.assign(share=result["n"] / totals))


def certificates(table: pd.DataFrame) -> pd.DataFrame:
    """What probabilistic methods say of the smoothed classifier: a row per model, data set and method.

    Columns: `model`, `model_hash`, `dataset`, `spec`, `method`, `stage` (the settings), `n` (cases), `median`
    and `largest` certified l2 radius, `abstained`, and for each of `CERTIFIED_RADII` the share `above r` of
    cases with a larger radius: each is a lower bound of the smoothed classifier's accuracy under l2
    perturbations of that size, but for the method's probability of error. A case counts once, whatever eps.
    """
    rows = table[table["probabilistic"].notna()]
    key = ["model", "model_hash", "dataset", "spec", "method", "stage"]
    once = rows.drop_duplicates(subset=[*key, "case"], keep="last")
    shares = {f"above {r:g}": (once["probabilistic"] > r).astype(bool) for r in CERTIFIED_RADII}
    once = once.assign(abstained=(once["reason"] == "abstained").astype(bool), **shares)
    result: pd.DataFrame = once.groupby(key, sort=False, dropna=False).agg(
        n=("case", "size"),
        median=("probabilistic", "median"),
        largest=("probabilistic", "max"),
        abstained=("abstained", "mean"),
        **{name: (name, "mean") for name in shares},
    )
    flat: pd.DataFrame = result.reset_index()
    return flat


def reasons(table: pd.DataFrame) -> pd.DataFrame:
    """Why rows stayed UNKNOWN: `method`, `reason` and the number `n` of rows, most frequent first."""
    proving = (table["method"] != CLEAN) & table["probabilistic"].isna()
    unknown = table[(table["verdict"] == "UNKNOWN") & proving]
    reason = unknown["reason"].fillna("").replace("", "not tight enough")
    counts = unknown.assign(reason=reason).groupby(["method", "reason"], sort=False).size()
    result: pd.DataFrame = counts.rename("n").reset_index()
    ordered: pd.DataFrame = result.sort_values("n", ascending=False, ignore_index=True)
    return ordered


def timing(table: pd.DataFrame) -> pd.DataFrame:
    """Time and work of every model and method, summed over its rows.

    Columns: `model`, `method`, `kind`, `n` (rows), `seconds` (sum), `mean` and `longest` (seconds of a row),
    `forwards`, `backwards`, `domains` (sums), `peak_mb` (largest; NaN where not measured).
    """
    groups = table.groupby(["model", "method", "kind"], sort=False, dropna=False)
    result: pd.DataFrame = groups.agg(
        n=("case", "size"),
        seconds=("seconds", "sum"),
        mean=("seconds", "mean"),
        longest=("seconds", "max"),
        forwards=("forwards", "sum"),
        backwards=("backwards", "sum"),
        domains=("domains", "sum"),
        peak_mb=("peak_mb", "max"),
    )
    flat: pd.DataFrame = result.reset_index()
    return flat


def _centres(rows: pd.DataFrame) -> pd.DataFrame:
    """Per case: `clean` (0.0 where any row is violated or not finite) and `centre`, the violation there."""
    correct = (rows["verdict"] != "VIOLATED").astype(bool) & np.isfinite(rows["lower"])
    values = rows[_CENTRE].assign(clean=correct.astype("float64"), centre=rows["lower"])
    worst: pd.DataFrame = values.groupby(_CENTRE, sort=False, dropna=False).agg("min").reset_index()
    return worst


def _labels(rows: pd.DataFrame) -> pd.Series[str]:
    stages = rows.groupby("method")["stage"].transform("nunique")
    several = (stages > 1) & rows["stage"].notna()
    labels: pd.Series[str] = rows["method"].where(~several, rows["method"] + ": " + rows["stage"])
    return labels


def _by_radius(rows: pd.DataFrame) -> pd.DataFrame:
    """Curves in the order in which they come, each with eps ascending."""
    order = rows.groupby(CURVE, sort=False, dropna=False).ngroup()
    ordered: pd.DataFrame = rows.assign(_order=order).sort_values(["_order", "eps"], kind="stable")
    result: pd.DataFrame = ordered.drop(columns="_order").reset_index(drop=True)
    return result
