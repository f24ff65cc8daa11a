"""What an evaluation of the zoo leaves behind, as plain data: how far a row is follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from robustbench_local.atomic import write_atomically
from robustbench_local.errors import ResultsError
from robustbench_local.models import SHIPPED, WeightsRecord

__all__ = [
    "EVALUATION",
    "SHIPPED_EVALUATION",
    "ClaimRecord",
    "RowRecord",
    "code_hash",
    "headings",
    "read_records",
    "weights_of_rows",
    "write_records",
]

MODELS_FOLDER = SHIPPED.parent
SHIPPED_EVALUATION = MODELS_FOLDER / "evaluation.json"
"""The evaluation of the shipped weights, which `rbl zoo list` shows where there is no newer one."""

EVALUATION = "zoo.json"
"""The same file in a folder of results."""


@dataclass(frozen=True, slots=True)
class ClaimRecord:
    """One claim of one weight set: `cases` problems, of which `holds` were proved and `violated` refuted.

    `lower` and `upper` are the largest violation found and the largest bound; None where one of the cases has
    none that is finite. `crossed` counts cases whose bound lies below the violation found by more than 1e-6.
    """

    name: str
    weights: str
    cases: int
    holds: int
    violated: int
    lower: float | None
    upper: float | None
    crossed: int

    @property
    def decided(self) -> int:
        """How many cases have a verdict."""
        return self.holds + self.violated


@dataclass(frozen=True, slots=True)
class RowRecord:
    """The evaluation of one row, and the hashes of what was evaluated.

    code: file below models/ -> sha256. weights: weight set -> sha256 of its file. gate: weight set -> the
    gate's measure; `gate_text` says what was wanted and `gate_met` whether all reach it. controls: claim ->
    whether its control violates it.
    """

    row: str
    model: str
    title: str
    family: str
    version: str
    code: Mapping[str, str]
    weights: Mapping[str, str]
    gate: Mapping[str, float]
    gate_text: str
    gate_met: Mapping[str, bool]
    claims: tuple[ClaimRecord, ...]
    controls: Mapping[str, bool]
    seconds: float


def code_hash(files: Sequence[str]) -> dict[str, str]:
    """sha256 of each file, named relative to models/; "missing" for one that is not there."""
    return {name: _sha256(MODELS_FOLDER / name) for name in files}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def read_records(path: Path) -> dict[str, RowRecord]:
    """Row id -> record, empty where the file is missing. Raises ResultsError for a file of another form."""
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = [
            RowRecord(**{**row, "claims": tuple(ClaimRecord(**one) for one in row["claims"])}) for row in rows
        ]
    except (json.JSONDecodeError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise ResultsError(
            f"not an evaluation of the zoo: {error}", where=str(path), cure="run `rbl zoo evaluate` again"
        ) from error
    return {record.row: record for record in found}


def weights_of_rows(index: Mapping[str, WeightsRecord]) -> dict[str, str]:
    """Row -> sha256 over its shipped weights: what a claim about all rows depends on."""
    texts: dict[str, list[str]] = {}
    for record in index.values():
        if "row" in record.recipe:
            texts.setdefault(str(record.recipe["row"]), []).append(f"{record.weights} {record.sha256}")
    return {row: hashlib.sha256("\n".join(sorted(t)).encode()).hexdigest() for row, t in texts.items()}


def headings(records: Mapping[str, RowRecord]) -> dict[str, str]:
    """Model -> what a report calls its row: "12.03 pendulum"."""
    return {record.model: f"{record.row} {record.model}" for record in records.values()}


def write_records(records: Mapping[str, RowRecord], path: Path) -> None:
    """Writes the records in the order of their ids; the file appears complete or not at all."""
    rows = [asdict(records[key]) for key in sorted(records, key=_order)]
    text = json.dumps(rows, indent=1, allow_nan=False) + "\n"
    write_atomically(path, lambda place: place.write_text(text, encoding="utf-8"))


def _order(row: str) -> tuple[int, int, str]:
    episode, _, number = row.partition(".")
    return (int(episode), int(number), row) if episode.isdigit() and number.isdigit() else (99, 0, row)
