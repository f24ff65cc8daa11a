"""The list of a competition: which network, which property, how long, and the verdict where it is known."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from robustbench_local.errors import DataError, UnknownNameError

__all__ = ["COLUMNS", "EXPECTED", "Instance", "read_instances", "selected"]

COLUMNS = ("id", "benchmark", "onnx", "vnnlib", "timeout_s", "expected")
"""What `instances.csv` must have; further columns are ignored."""

EXPECTED = {"sat": "VIOLATED", "unsat": "HOLDS", "open": ""}
"""VNN-COMP's words for the known verdict: a counterexample exists, none exists, nobody knows."""

_OFFICIAL = 3  # columns of the competition's own lists, which have no header: onnx, vnnlib, timeout


@dataclass(frozen=True, slots=True)
class Instance:
    """One row of the list.

    Attributes:
        id, benchmark: its name, and that of the group it is counted in.
        onnx, vnnlib: the files, as the list names them: relative to `folder`.
        timeout: seconds, >= 0; NaN where `problem` is about it.
        expected: sat, unsat or open.
        folder: where the list lies.
        problem: what is wrong with the row itself; "" where it can be used.
    """

    id: str
    benchmark: str
    onnx: str
    vnnlib: str
    timeout: float
    expected: str
    folder: Path
    problem: str = ""

    @property
    def network(self) -> Path:
        """The network's file."""
        return _file(self.folder, self.onnx)

    @property
    def property(self) -> Path:
        """The property's file."""
        return _file(self.folder, self.vnnlib)


def read_instances(folder: str | Path) -> list[Instance]:
    """The rows of `folder`/instances.csv, in its order.

    Also takes the lists of VNN-COMP's own benchmark folders, which have no header and three columns (onnx,
    vnnlib, timeout): the folder is the benchmark then, and no verdict is known.

    Raises DataError for a list that is missing, no text, without the columns, without rows, or with one id
    twice. What is wrong with a single row is in its `problem`.
    """
    place = Path(folder)
    path = place / "instances.csv"
    try:
        lines = [
            row for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True) if row
        ]
    except OSError as error:
        cure = "name a folder that holds an instances.csv"
        raise DataError(
            f"no list of instances: {error.strerror or error}", where=str(path), cure=cure
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the list is no csv text: {error}", where=str(path), cure="copy it anew") from error
    header = [name.strip() for name in lines[0]] if lines else []
    if len(header) == _OFFICIAL and _seconds(header[2]) is not None:
        named = [_named(cells, place) for cells in lines]
        found = [_instance(cells, place) for cells in named]
    else:
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise DataError(
                f"the list has no column {', '.join(missing)}",
                where=str(path),
                cure=f"give it the columns {', '.join(COLUMNS)}",
            )
        found = [_instance(dict(zip(header, cells, strict=False)), place) for cells in lines[1:]]
    if not found:
        raise DataError("the list has no rows", where=str(path))
    seen: set[str] = set()
    for one in found:
        if one.id in seen:
            raise DataError(f"the id {one.id!r} is there twice", where=str(path), cure="make ids unique")
        seen.add(one.id)
    return found


def selected(
    instances: Sequence[Instance], only: Sequence[str] = (), limit: int | None = None
) -> list[Instance]:
    """The instances whose benchmark or id is one of `only` (patterns with * and ? too), the first `limit`.

    Raises UnknownNameError for a name that selects nothing.
    """
    for name in only:
        if not any(_matches(one, name) for one in instances):
            known = dict.fromkeys(one.benchmark for one in instances)
            raise UnknownNameError.of("benchmark or instance", name, known)
    found = [one for one in instances if not only or any(_matches(one, name) for name in only)]
    return found[:limit]


def _matches(one: Instance, name: str) -> bool:
    return fnmatchcase(one.benchmark, name) or fnmatchcase(one.id, name)


def _named(cells: list[str], folder: Path) -> dict[str, str]:
    """A row of a list without header, under our names; the id from the two files' names."""
    onnx, vnnlib, timeout = [cell.strip() for cell in (*cells, "", "", "")[:3]]
    id_ = f"{Path(onnx).stem}:{Path(vnnlib).stem}"
    values = (id_, folder.resolve().name, onnx, vnnlib, timeout, "open")
    return dict(zip(COLUMNS, values, strict=True))


def _instance(cells: dict[str, str], folder: Path) -> Instance:
    values = {name: cells.get(name, "").strip() for name in COLUMNS}
    timeout, problems = _seconds(values["timeout_s"]), []
    problems += [f"no {name}" for name in ("id", "onnx", "vnnlib") if not values[name]]
    if timeout is None:
        problems.append(f"timeout_s is {values['timeout_s']!r}, not a number of seconds")
    expected = values["expected"] or "open"
    if expected not in EXPECTED:
        problems.append(f"expected is {expected!r}, not one of {', '.join(EXPECTED)}")
    return Instance(
        values["id"],
        values["benchmark"],
        values["onnx"],
        values["vnnlib"],
        math.nan if timeout is None else timeout,
        expected,
        folder,
        "; ".join(problems),
    )


def _seconds(text: str) -> float | None:
    """A number of seconds, >= 0 and finite; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _file(folder: Path, name: str) -> Path:
    """The file; its compressed form where only that is there."""
    path = folder / name
    packed = path.with_name(path.name + ".gz")
    return packed if packed.is_file() and not path.exists() else path
