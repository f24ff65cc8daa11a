"""Results on disk: the table of one row per case and method, and the witnesses beside it.

Parquet is the file of record and carries the schema
and package versions in its metadata; the CSV beside it holds the same rows for people and other tools
(missing values are empty, empty strings are `""`). Every file is written under a temporary name and
then renamed, so a reader sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from .errors import ResultsError
from .version import __version__

if TYPE_CHECKING:  # the store itself works without torch; only `WitnessStore.save` and `load` import it
    from torch import Tensor

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

SCHEMA_VERSION = 1
"""Raised by one whenever a column is added, dropped, renamed or changes its meaning."""

_NAMES = (
    *("run_id", "model", "model_hash", "family", "dataset", "case", "spec", "spec_hash", "norm", "eps"),
    *("method", "kind", "verdict", "lower", "upper", "stage", "reason", "seconds", "seconds_load"),
    *("forwards", "backwards", "domains", "peak_mb", "device", "dtype", "arithmetic", "seed"),
    *("version", "witness", "certificate", "error"),
)
_FLOATS = ("eps", "lower", "upper", "seconds", "seconds_load", "peak_mb")
_INTEGERS = ("forwards", "backwards", "domains", "seed")

COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(_NAMES, "string"),
    **dict.fromkeys(_FLOATS, "float64"),
    **dict.fromkeys(_INTEGERS, "int64"),
}
"""Column name -> pandas dtype, in the table's order. `string` columns may hold `pd.NA`, floats NaN."""

KEY = ("model_hash", "dataset", "spec_hash", "case", "eps", "method")
"""The columns that name a row: two rows that agree in all of them answer the same question."""

_NEVER_MISSING = ("model", "model_hash", "case", "spec_hash", "method", "kind", "verdict")
_WORDS = {
    "kind": frozenset({"attack", "verifier"}),
    "verdict": frozenset({"HOLDS", "VIOLATED", "UNKNOWN"}),
    "arithmetic": frozenset({"real", "float64", "outward"}),
}
_RERUN = "run the evaluation again with this version, or read the file with the version that wrote it"


def validate(table: pd.DataFrame) -> pd.DataFrame:
    """The same rows as a new frame with exactly `COLUMNS`, in order, each of its dtype, indexed 0..n-1.

    Raises `ResultsError` for a missing or unknown column, a value that does not fit its dtype without
    loss, an unknown word in `kind`, `verdict` or `arithmetic`, a missing key, or an eps that is negative
    or infinite (NaN means that the specification has no radius).
    """
    names = [str(name) for name in table.columns]
    if missing := [name for name in COLUMNS if name not in names]:
        raise ResultsError(f"the results table lacks the columns {', '.join(missing)}", cure=_RERUN)
    if unknown := [name for name in names if name not in COLUMNS]:
        raise ResultsError(f"the results table has the unknown columns {', '.join(unknown)}", cure=_RERUN)
    if len(names) != len(COLUMNS):
        raise ResultsError("the results table has a column twice", cure="drop the second one")
    rows = table.reset_index(drop=True)
    result: pd.DataFrame = pd.DataFrame({name: _cast(rows[name], dtype) for name, dtype in COLUMNS.items()})
    _check_values(result)
    return result


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
    strings as against missing ones. Raises `ResultsError` for a missing or broken file, another
    schema version, and everything `validate` refuses.
    """
    place = _locate(Path(path))
    try:
        rows = _READERS[place.suffix](place)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ResultsError(f"cannot read the results: {reason}", where=str(place), cure=_RERUN) from error
    try:
        table: pd.DataFrame = rows.to_pandas(types_mapper={pa.string(): pd.StringDtype()}.get)
        return validate(table)
    except ResultsError as error:
        part = error.where or "columns"
        raise ResultsError(error.what, where=f"{place}, {part}", cure=error.cure) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path beside `path`, then rename it to `path`; returns `path`.

    Missing folders are made. If `write` raises, `path` is as it was and the temporary file is gone.
    Raises `ResultsError` where the file system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            temporary.chmod(0o644)  # mkstemp makes files that only their owner may read
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        cure = "choose a folder that can be written to"
        raise ResultsError(f"cannot write: {error.strerror or error}", where=str(path), cure=cure) from error
    return path


class WitnessStore:
    """Points that violate a property, by the hex sha256 that the table's `witness` column holds.

    A mapping in memory (`store[key]`, `key in store`, `len`, iteration over keys) that is saved as one
    `witnesses.safetensors`: the witness under its key, the unperturbed input, where known, under
    `<key>.centre`, the network's outputs at both under `<key>.scores`. Tensors are kept detached, on the
    CPU, without a batch axis.
    """

    FILE = "witnesses.safetensors"

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def add(self, witness: Tensor, centre: Tensor | None = None, *, scores: Tensor | None = None) -> str:
        """Store one point (*shape), with the input (*shape) it was found from, and return its key.

        `scores` (2, n_out) are the outputs at the input and at the point; a report names the classes by
        them. The key is the sha256 over type, shape and bytes of point and input: equal ones are stored once.
        """
        given = {"": witness, ".centre": centre, ".scores": scores}
        parts = {name: t.detach().cpu().contiguous().clone() for name, t in given.items() if t is not None}
        key = _digest(parts[""], parts.get(".centre"))
        self._tensors.update({f"{key}{name}": tensor for name, tensor in parts.items()})
        return key

    def centre(self, key: str) -> Tensor | None:
        """The input (*shape) that the witness `key` was found from, or None where it was not stored."""
        return self._tensors.get(f"{key}.centre")

    def scores(self, key: str) -> Tensor | None:
        """The outputs (2, n_out) at the input and at the witness `key`, or None where not stored."""
        return self._tensors.get(f"{key}.scores")

    def __getitem__(self, key: str) -> Tensor:
        """The witness (*shape) stored under `key`; `ResultsError` where there is none."""
        try:
            return self._tensors[key]
        except KeyError as error:
            cure = "keep witnesses.safetensors beside the results it was written with"
            raise ResultsError(f"no witness {key!r}", cure=cure) from error

    def __contains__(self, key: object) -> bool:
        return key in self._tensors

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._tensors if "." not in key)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def update(self, other: WitnessStore) -> None:
        """Add every witness of `other`, as resuming a run does with those of the first part."""
        self._tensors.update(other._tensors)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `witnesses.safetensors` into `folder` (made if needed), complete or not at all."""
        from safetensors.torch import save_file

        return write_atomically(Path(folder) / self.FILE, lambda path: save_file(self._tensors, path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> WitnessStore:
        """The store in a folder or file; an empty one where the folder has none.

        Raises `ResultsError` for a broken file, and for a tensor that does not match its hash.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        store = cls()
        place = Path(path)
        if place.is_dir():
            place = place / cls.FILE
            if not place.is_file():
                return store
        try:
            store._tensors = load_file(place)
        except (SafetensorError, OSError) as error:
            what = f"cannot read the witnesses: {error}"
            raise ResultsError(what, where=str(place), cure=_RERUN) from error
        for key in store:
            if _digest(store[key], store.centre(key)) != key:
                raise ResultsError(f"witness {key!r} does not match its hash", where=str(place), cure=_RERUN)
        return store


def _digest(witness: Tensor, centre: Tensor | None) -> str:
    digest = hashlib.sha256()
    for tensor in (witness,) if centre is None else (witness, centre):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


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


def _cast(column: pd.Series[Any], dtype: str) -> pd.Series[Any]:
    """`column` as `dtype` where no value changes; an all-missing column fits every type but int64."""
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
    if found != str(SCHEMA_VERSION):
        writer = facts.get(b"robustbench_local.version", b"an unknown version").decode()
        what = f"results of schema version {found}, written by {writer}; this version reads {SCHEMA_VERSION}"
        raise ResultsError(what, where=str(path), cure=_RERUN)
    return rows


def _read_csv(path: Path) -> Any:
    return pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=_ARROW_SCHEMA,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,  # "" is an empty string, nothing at all is a missing value
        ),
    )


_ARROW_TYPES = {"string": pa.string(), "float64": pa.float64(), "int64": pa.int64()}
_ARROW_SCHEMA = pa.schema([(name, _ARROW_TYPES[dtype]) for name, dtype in COLUMNS.items()])
_READERS: Mapping[str, Callable[[Path], Any]] = {".parquet": _read_parquet, ".csv": _read_csv}
