"""The column `believable` of a results table: what a diagnosis says of an attack's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .finding import Diagnosis

if TYPE_CHECKING:  # a diagnosis alone needs no table
    import pandas as pd

__all__ = ["with_belief"]

_OF_ANSWERS = "D3"  # also doubts a counterexample: the next pass may answer otherwise


def with_belief(rows: pd.DataFrame, diagnosis: Diagnosis) -> pd.DataFrame:
    """The rows of one batch with `believable` filled in for attacks: "yes", or "no:" and the alarms.

    A replayed counterexample is believed whatever its gradients are, unless the network is stochastic. A case
    that is wrong from the start needs no attack, and is believed; one that the diagnosis is not about stays
    as it is.
    """
    result: pd.DataFrame = rows.copy()
    for place, row in result[result["kind"] == "attack"].iterrows():
        case = str(row["case"])
        if case not in diagnosis.cases:
            continue
        alarms = diagnosis.against(case)
        if row["verdict"] == "VIOLATED":
            alarms = tuple(code for code in alarms if code == _OF_ANSWERS)
        result.loc[[place], "believable"] = f"no: {' '.join(alarms)}" if alarms else "yes"
    return result
