"""Results on disk: the table of one row per case and method, and the witnesses beside it.

Parquet is the file of record and carries the schema
and package versions in its metadata; the CSV beside it holds the same rows for people and other tools
(missing values are empty, empty strings are `""`). Every file is written under a temporary name and
then renamed, so a reader sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from .atomic import write_atomically
from .columns import COLUMNS, KEY, RERUN, validate
from .errors import ResultsError
from .version import __version__
from .witnesses import WitnessStore

__all__ = [
    "COLUMNS",
    "KEY",
    "SCHEMA_VERSION",
    "WitnessStore",
    "merge",
    "read_results",
    "validate",
    "write_atomically",
    "write_results",
]

SCHEMA_VERSION = 4
"""Raised by one whenever a column is added, dropped, renamed or changes its meaning."""

_ADDED: Mapping[str, int] = {"probabilistic": 2, "margin_over_rounding": 3, "believable": 4}
"""Columns that older files lack, and the schema version that brought them; missing when read from those."""


def merge(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """`old` then `new` as one valid table in which the last row of every `KEY` wins.

    Rows keep their order, so resuming a run appends what was computed anew and repeats nothing.
    """
    both = pd.concat([validate(old), validate(new)], ignore_index=True)
    last: pd.DataFrame = both.drop_duplicates(subset=list(KEY), keep="last", ignore_index=True)
    return last


def write_results(table: pd.DataFrame, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write `results.parquet` and `results.csv` into `folder` (made if needed); returns both paths.

    The table is validated first; each file appears complete or not at all.
    """
    rows = _to_arrow(validate(table))
    place = Path(folder)
    parquet, csv = place / "results.parquet", place / "results.csv"
    write_atomically(csv, lambda path: pa_csv.write_csv(rows, path))
    write_atomically(parquet, lambda path: pa_parquet.write_table(rows, path, compression="zstd"))
    return parquet, csv


def read_results(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table in a `.parquet` or `.csv` file, or in a folder that holds `results.parquet` or `.csv`.

    The round trip with `write_results` is exact: dtypes, NaN, infinities, signed zeros, and empty
    strings as against missing ones. Files of older schema versions are read with NaN in the columns they
    lack. Raises `ResultsError` for a missing or broken file, a newer schema version, and everything
    `validate` refuses.
    """
    place = _locate(Path(path))
    try:
        rows = _READERS[place.suffix](place)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ResultsError(f"cannot read the results: {reason}", where=str(place), cure=RERUN) from error
    try:
        table: pd.DataFrame = rows.to_pandas(types_mapper={pa.string(): pd.StringDtype()}.get)
        return validate(table)
    except ResultsError as error:
        part = error.where or "columns"
        raise ResultsError(error.what, where=f"{place}, {part}", cure=error.cure) from error


def _to_arrow(table: pd.DataFrame) -> Any:
    try:
        rows = pa.Table.from_pandas(table, schema=_ARROW_SCHEMA, preserve_index=False)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        cure = "store text as valid Unicode"
        raise ResultsError(f"a value cannot be stored: {error}", cure=cure) from error
    return rows.replace_schema_metadata(
        {"robustbench_local.schema": str(SCHEMA_VERSION), "robustbench_local.version": __version__}
    )


def _locate(path: Path) -> Path:
    if path.is_dir():
        for name in ("results.parquet", "results.csv"):
            if (path / name).is_file():
                return path / name
        raise ResultsError("no results.parquet or results.csv", where=str(path), cure="evaluate first")
    if path.suffix not in _READERS:
        cure = "give a .parquet file, a .csv file or their folder"
        raise ResultsError("not a results file", where=str(path), cure=cure)
    if not path.is_file():
        raise ResultsError("no such results file", where=str(path), cure="check the path")
    return path


def _read_parquet(path: Path) -> Any:
    rows = pa_parquet.read_table(path)
    facts = rows.schema.metadata or {}
    found = facts.get(b"robustbench_local.schema", b"none").decode()
    if found not in {str(version) for version in range(1, SCHEMA_VERSION + 1)}:
        writer = facts.get(b"robustbench_local.version", b"an unknown version").decode()
        readable = f"this version reads up to {SCHEMA_VERSION}"
        what = f"results of schema version {found}, written by {writer}; {readable}"
        raise ResultsError(what, where=str(path), cure=RERUN)
    return _upgraded(rows, int(found))


def _upgraded(rows: Any, version: int) -> Any:
    """The rows with the columns that came after schema `version`, NaN throughout."""
    for name, since in _ADDED.items():
        if version < since and name not in rows.column_names:
            rows = rows.append_column(name, _missing(name, rows.num_rows))
    return rows


def _missing(name: str, count: int) -> Any:
    if COLUMNS[name] == "string":
        return pa.nulls(count, pa.string())
    return pa.array(np.full(count, np.nan))


def _read_csv(path: Path) -> Any:
    rows = pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=_ARROW_SCHEMA,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # "" is an empty string, nothing at all is a missing value
        ),
    )
    return _upgraded(rows, 1)  # a CSV file tells no version: its header says what it lacks


_ARROW_TYPES = {"string": pa.string(), "float64": pa.float64(), "int64": pa.int64()}
_ARROW_SCHEMA = pa.schema([(name, _ARROW_TYPES[dtype]) for name, dtype in COLUMNS.items()])
_READERS: Mapping[str, Callable[[Path], Any]] = {".parquet": _read_parquet, ".csv": _read_csv}
