"""A claim about groups as one line of the results table: what all methods together say of the shares."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch

from robustbench_local.columns import COLUMNS, validate
from robustbench_local.models import Groups

__all__ = ["GROUPS", "grouped"]

GROUPS = "groups"
"""The case that such a line is about."""

_SUMS = ("seconds", "forwards", "backwards", "domains")


def grouped(table: pd.DataFrame, groups: Groups, cases: Sequence[str | int]) -> pd.DataFrame:
    """One row from those of every method on every problem of `cases`, in which both ends are known.

    A problem holds where some method proves it and fails where some attack refutes it. The row has the
    methods' names joined by "+", and speaks of the shares: no single point violates it, so it has no witness.
    """
    words = table.groupby("case", sort=False)["verdict"].agg(set).reindex([str(case) for case in cases])
    holds = torch.tensor(["HOLDS" in found for found in words])
    undecided = torch.tensor(["HOLDS" not in found and "VIOLATED" not in found for found in words])
    lower, upper = groups.claim.violation(holds, undecided, groups.members())
    verdict = "HOLDS" if upper <= 0 else "VIOLATED" if lower > 0 else "UNKNOWN"
    row = table.iloc[[-1]].copy()
    changed: dict[str, object] = {
        "case": GROUPS,
        "spec_hash": groups.claim.id,
        "method": "+".join(table["method"].unique()),
        "kind": "verifier",
        "verdict": verdict,
        "lower": lower,
        "upper": upper,
        "stage": GROUPS,
        "reason": "bound" if verdict == "UNKNOWN" else "",
        "witness": "",
        "peak_mb": float(table["peak_mb"].max()),
        "error": "; ".join(text for text in table["error"].unique() if text),
        "margin_over_rounding": float("nan"),
        **{name: table[name].sum() for name in _SUMS},
    }
    for name, value in changed.items():
        row[name] = pd.Series([value], index=row.index, dtype=COLUMNS[name])
    return validate(row)
