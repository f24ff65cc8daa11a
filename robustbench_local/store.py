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

from .columns import COLUMNS, KEY, RERUN, validate
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

SCHEMA_VERSION = 2
"""Raised by one whenever a column is added, dropped, renamed or changes its meaning."""

_ADDED: Mapping[str, int] = {"probabilistic": 2}
"""Float columns that older files lack, and the schema version that brought them; NaN when read from those."""


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
            raise ResultsError(what, where=str(place), cure=RERUN) from error
        for key in store:
            if _digest(store[key], store.centre(key)) != key:
                raise ResultsError(f"witness {key!r} does not match its hash", where=str(place), cure=RERUN)
        return store


def _digest(witness: Tensor, centre: Tensor | None) -> str:
    digest = hashlib.sha256()
    for tensor in (witness,) if centre is None else (witness, centre):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


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
            rows = rows.append_column(name, pa.array(np.full(rows.num_rows, np.nan)))
    return rows


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
