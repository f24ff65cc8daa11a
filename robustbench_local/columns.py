"""The results table: its columns, what they may hold, and the check of every table read or written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ResultsError

if TYPE_CHECKING:  # a single verdict needs no table: pandas is loaded when one is made
    import pandas as pd

__all__ = ["COLUMNS", "KEY", "RERUN", "validate"]

_NAMES = (
    *("run_id", "model", "model_hash", "family", "dataset", "case", "spec", "spec_hash", "norm", "eps"),
    *("method", "kind", "verdict", "lower", "upper", "stage", "reason", "seconds", "seconds_load"),
    *("forwards", "backwards", "domains", "peak_mb", "device", "dtype", "arithmetic", "seed"),
    *("version", "witness", "certificate", "error", "probabilistic", "margin_over_rounding"),
    "believable",
)
_FLOATS = (
    "eps",
    "lower",
    "upper",
    "seconds",
    "seconds_load",
    "peak_mb",
    "probabilistic",
    "margin_over_rounding",
)
_INTEGERS = ("forwards", "backwards", "domains", "seed")

COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(_NAMES, "string"),
    **dict.fromkeys(_FLOATS, "float64"),
    **dict.fromkeys(_INTEGERS, "int64"),
}
"""Column name -> pandas dtype, in the table's order. `string` columns may hold `pd.NA`, floats NaN."""

KEY = ("model", "model_hash", "dataset", "spec", "spec_hash", "case", "eps", "method", "arithmetic")
"""The columns that name a row: two rows that agree in all of them answer the same question.

The names count beside the hashes: properties that differ only in the numbers bound to them share a hash, and
so do a model and a copy of it that serves as another's control."""

_NEVER_MISSING = ("model", "model_hash", "case", "spec_hash", "method", "kind", "verdict")
_WORDS = {
    "kind": frozenset({"attack", "verifier"}),
    "verdict": frozenset({"HOLDS", "VIOLATED", "UNKNOWN"}),
    "arithmetic": frozenset({"real", "float64", "outward", "fp32", "fp16", "bf16"}),
}
RERUN = "run the evaluation again with this version, or read the file with the version that wrote it"
"""The cure of a table of another format."""


def validate(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows as a new frame with exactly `COLUMNS`, in order, each of its dtype, indexed 0..n-1.

    Raises `ResultsError` for a missing or unknown column, a value that does not fit its dtype without
    loss, an unknown word in `kind`, `verdict` or `arithmetic`, a missing key, an eps that is negative
    or infinite (NaN means that the specification has no radius), or a `probabilistic` radius (l2, of a
    smoothed classifier; NaN for all other methods) that is, or that stands beside a verdict.
    """
    import pandas as pd

    names = [str(name) for name in table.columns]
    if missing := [name for name in COLUMNS if name not in names]:
        raise ResultsError(f"the results table lacks the columns {', '.join(missing)}", cure=RERUN)
    if unknown := [name for name in names if name not in COLUMNS]:
        raise ResultsError(f"the results table has the unknown columns {', '.join(unknown)}", cure=RERUN)
    if len(names) != len(COLUMNS):
        raise ResultsError("the results table has a column twice", cure="drop the second one")
    rows = table.reset_index(drop=True)
    result: pd.DataFrame = pd.DataFrame({name: _cast(rows[name], dtype) for name, dtype in COLUMNS.items()})
    _check_values(result)
    return result


def _check_values(result: pd.DataFrame) -> None:
    for name, words in _WORDS.items():
        used = set(result[name].dropna().unique())
        if strange := sorted(used - words):
            cure = f"use one of {', '.join(sorted(words))}"
            raise ResultsError(f"unknown word {strange[0]!r}", where=f"column {name}", cure=cure)
    for name in _NEVER_MISSING:
        if bool(result[name].isna().any()):
            row = int(np.flatnonzero(result[name].isna().to_numpy())[0])
            raise ResultsError("missing value", where=f"column {name}, row {row}", cure="fill it in")
    radii = result["eps"].to_numpy()
    if bool(((radii < 0) | np.isinf(radii)).any()):
        raise ResultsError("negative or infinite radius", where="column eps", cure="use 0 <= eps < inf")
    _check_probabilistic(result)


def _check_probabilistic(result: pd.DataFrame) -> None:
    """A probabilistic radius is no proof: it stands in UNKNOWN rows only."""
    rows = result[result["probabilistic"].notna()]
    radii = rows["probabilistic"].to_numpy()
    where = "column probabilistic"
    if bool(((radii < 0) | np.isinf(radii)).any()):
        raise ResultsError("negative or infinite radius", where=where, cure="use 0 <= radius < inf")
    if bool((rows["verdict"] != "UNKNOWN").any()):
        what = "a probabilistic certificate beside a verdict"
        raise ResultsError(what, where=where, cure="such rows are UNKNOWN: it proves nothing for sure")


def _cast(column: pd.Series[Any], dtype: str) -> pd.Series[Any]:
    """`column` as `dtype` where no value changes; an all-missing column fits every type but int64."""
    import pandas as pd

    try:
        if dtype == "string":
            present = column.dropna()
            if not pd.api.types.is_string_dtype(present) and len(present):
                raise TypeError("not text")
            return column.astype("string")
        numbers = pd.to_numeric(column)
        if dtype == "float64":
            return numbers.astype("float64")
        whole = numbers.astype("int64")
        if bool((whole != numbers).any()):
            raise ValueError("not a whole number")
        return whole
    except (TypeError, ValueError, OverflowError) as error:
        what = f"cannot store {column.dtype} values as {dtype}: {error}"
        cure = "give the column its dtype"
        raise ResultsError(what, where=f"column {column.name}", cure=cure) from error
