"""The numbers behind the bracket plots, as plain JSON-ready values; the page's script draws them.

Of every curve the page can show a statistic over the samples or a single sample. A lower bound L and an
upper bound U of every sample's true violation V give bounds of the statistic too: means and quantiles are
monotone, so that mean(L) <= mean(V) <= mean(U), and likewise for the quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from .summary import CLEAN, CURVE, brackets, case_bounds
from .tables import curve_labels

__all__ = ["STATISTICS", "curves_data"]

_QUANTILES = {"q10": 0.1, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q90": 0.9, "max": 1.0}
STATISTICS = {
    "mean": "mean over all samples",
    "q10": "10 % quantile (safest samples)",
    "q25": "25 % quantile",
    "q50": "median sample",
    "q75": "75 % quantile",
    "q90": "90 % quantile",
    "max": "worst sample",
}
"""What can be shown of the samples of a curve: short name -> words."""

_NUMBERS = 250_000
"""At most this many per-sample numbers go into the page (about 7 bytes each); the first samples are kept."""


def curves_data(table: pd.DataFrame, *, cases: pd.DataFrame | None = None) -> dict[str, Any]:
    """Everything the plots need: the statistics' names and, per curve, radii, violations and accuracies.

    Curves whose specification has no radius (eps NaN) have nothing to draw and are left out.
    Infinite and missing values become None. `cases` is `case_bounds(table)`, for a caller who has it.
    """
    bounds: pd.DataFrame = case_bounds(table) if cases is None else cases
    bounds, table = bounds[bounds["eps"].notna()], table[table["eps"].notna()]
    if bounds.empty:
        return {"statistics": STATISTICS, "curves": []}
    rows = brackets(table, cases=bounds)
    sizes = bounds.groupby(CURVE, dropna=False)["case"].nunique()
    methods = table["method"].nunique() + 2
    kept = max(1, _NUMBERS // (methods * (bounds["eps"].nunique() + 1) * len(sizes)))
    labels = curve_labels(rows)
    names = dict(zip(map(tuple, rows[CURVE].fillna("").to_numpy().tolist()), labels, strict=True))
    by_curve, accuracies = dict(_groups(table)), dict(_groups(rows))
    curves = [_curve(names[k], group, by_curve[k], accuracies[k], kept) for k, group in _groups(bounds)]
    return {"statistics": STATISTICS, "curves": curves}


def _groups(rows: pd.DataFrame) -> Iterable[tuple[tuple[str, ...], pd.DataFrame]]:
    filled = rows.assign(**{name: rows[name].fillna("") for name in CURVE})
    for key, group in filled.groupby(CURVE, sort=False):
        assert isinstance(key, tuple)
        yield tuple(map(str, key)), group


def _curve(
    label: str, cases: pd.DataFrame, rows: pd.DataFrame, accuracy: pd.DataFrame, kept: int
) -> dict[str, Any]:
    radii = sorted(cases["eps"].unique())
    ids = sorted(cases["case"].unique(), key=_natural)[:kept]
    centre = cases.groupby("case")["centre"].first().dropna()
    if radii[0] == 0:
        centre = centre.iloc[:0]  # the set of radius 0 is in the table already
    whole = [
        {"name": "lower: best attack", "side": "lower"} | _series(cases, "lower", radii, ids, centre),
        {"name": "upper: best verifier", "side": "upper"} | _series(cases, "upper", radii, ids, centre),
    ]
    single = []
    for (method, kind), group in rows[rows["method"] != CLEAN].groupby(["method", "kind"], sort=False):
        side = "lower" if kind == "attack" else "upper"
        single.append({"name": str(method), "side": side} | _series(group, side, radii, ids, centre))
    start = [0.0] if len(centre) else []
    shares = {}
    for name in ("clean", "verified", "empirical"):
        at_zero = [accuracy["clean"].iloc[0]] if len(centre) else []
        shares[name] = [_json(value) for value in [*at_zero, *accuracy[name]]]
    return {
        "label": label,
        "norm": str(cases["norm"].iloc[0]),
        "eps": [*start, *(float(eps) for eps in radii)],
        "cases": ids,
        "bracket": whole,
        "methods": single,
        "accuracy": shares,
        "n": int(accuracy["n"].max()),
    }


def _series(
    rows: pd.DataFrame, side: str, radii: list[float], ids: list[str], centre: pd.Series[float]
) -> dict[str, Any]:
    """The statistics along the radii, and the values of the kept samples, of one side of the bracket."""
    nothing, best = {"lower": (-np.inf, "max"), "upper": (np.inf, "min")}[side]
    filled = rows.assign(value=rows[side].fillna(nothing))
    grid = filled.groupby(["case", "eps"])["value"].agg(best).unstack("eps").reindex(columns=radii)
    if len(centre):
        grid.insert(0, 0.0, centre)
    columns = [column[~np.isnan(column)] for column in grid.to_numpy().T]  # NaN: no such case at that radius
    statistics = {"mean": [_json(np.mean(column)) if len(column) else None for column in columns]}
    for name, share in _QUANTILES.items():
        statistics[name] = [_json(_quantile(column, share)) for column in columns]
    samples = [[_json(value) for value in row] for row in grid.reindex(ids).to_numpy().tolist()]
    return {"statistics": statistics, "samples": samples}


def _quantile(values: np.ndarray[Any, Any], share: float) -> float:
    """A value of the sample itself: interpolating beside an infinite bound would give NaN."""
    return float(np.quantile(values, share, method="inverted_cdf")) if len(values) else math.nan


def _json(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _natural(case: str) -> tuple[int, int, str]:
    return (0, int(case), case) if case.isdecimal() else (1, 0, case)
