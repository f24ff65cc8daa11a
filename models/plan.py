"""The plan of the zoo: every system that the lectures name, whether it exists here yet or not.

`plan.csv` has one line for each of the 133 systems of episodes 7 to 12, 8 parts of the engine (E) and 7 of
the process around it (P). Reading it imports neither torch nor a network.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from enum import Enum
from importlib.resources import files

from robustbench_local.errors import DataError

__all__ = ["Completeness", "PlannedRow", "read_plan"]


class Completeness(str, Enum):
    """What a complete verifier is expected to do with a row's specifications."""

    YES = "Y"  # decides the main ones
    TWIN = "T"  # decides finite or structural ones, or those of a smaller twin
    SMALL = "L"  # decides them at small radii
    BOUNDS = "N"  # gives bounds only
    NONE = ""  # no network


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One line of the plan.

    id: episode and number, as 7.01, or E.01, P.01. name: the system. episode: 7 to 12. family: of models
    that share code. wave: 1 to 3, the order of building. paper: the publication that a row follows. plan:
    the small version that is meant, how it is trained and the gate that it has to pass.
    """

    id: str
    name: str
    episode: int
    family: str
    wave: int
    complete: Completeness
    paper: str
    plan: str

    def as_dict(self) -> dict[str, object]:
        """The row as plain fields."""
        return {**asdict(self), "complete": self.complete.value}


def read_plan() -> tuple[PlannedRow, ...]:
    """All rows in the order of the lectures. Raises DataError for a line that is not as it should be."""
    text = files("robustbench_local.models").joinpath("plan.csv").read_text(encoding="utf-8")
    return parse_plan(text)


def parse_plan(text: str) -> tuple[PlannedRow, ...]:
    """The rows of a table as text; DataError names the line of a missing field, or of an id that is taken."""
    reader = csv.DictReader(text.splitlines())
    names = [field.name for field in fields(PlannedRow)]
    if reader.fieldnames is None or list(reader.fieldnames) != names:
        raise DataError(f"columns {reader.fieldnames}", where="plan.csv", cure=f"give {', '.join(names)}")
    rows: dict[str, PlannedRow] = {}
    for number, line in enumerate(reader, 2):
        row = _row(line, number)
        if row.id in rows:
            raise DataError(
                f"two rows have the id {row.id}", where=f"plan.csv, line {number}", cure="rename one"
            )
        rows[row.id] = row
    return tuple(rows.values())


def _row(line: dict[str, str], number: int) -> PlannedRow:
    empty = [name for name, value in line.items() if not value and name != "complete"]
    if empty:
        raise DataError(f"no {empty[0]}", where=f"plan.csv, line {number}", cure="fill in every column")
    try:
        return PlannedRow(
            id=line["id"],
            name=line["name"],
            episode=int(line["episode"]),
            family=line["family"],
            wave=int(line["wave"]),
            complete=Completeness(line["complete"]),
            paper=line["paper"],
            plan=line["plan"],
        )
    except ValueError as error:
        raise DataError(
            str(error), where=f"plan.csv, line {number}", cure="see the docstring of PlannedRow"
        ) from error
