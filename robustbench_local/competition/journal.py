"""Rows on disk, one line each, added as they come: a killed run loses the row it was at and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

from robustbench_local.errors import ResultsError

from .rows import Row

__all__ = ["Journal"]


class Journal:
    """A file of JSON lines. Its last line may be cut short by a killed run and is dropped then.

    A later row of an id replaces an earlier one. The file is made with the first row, its folder too.
    """

    def __init__(self, path: str | Path) -> None:
        """Reads what is there; ResultsError for a file that holds something else, or cannot be read."""
        self.path = Path(path)
        self.rows: dict[str, Row] = {}
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            what = f"cannot read the results: {error.strerror or error}"
            raise ResultsError(what, where=str(path), cure="choose another file") from error
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            row = self._parsed(line, number)
            self.rows.pop(row.id, None)
            self.rows[row.id] = row
        if len(whole) < len(data) and not data.startswith(b'{"id"'[: len(data)]):
            raise self._strange(1, "it does not begin with a row")
        self._end = len(whole)

    def add(self, row: Row) -> None:
        """Writes the row and waits until it is on the disk; ResultsError where the file system refuses."""
        line = json.dumps(row.as_dict(), allow_nan=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "r+b" if self.path.exists() else "x+b") as stream:
                stream.truncate(self._end)  # what a killed run left of its last line
                stream.seek(self._end)
                stream.write(line.encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            what = f"cannot write the results: {error.strerror or error}"
            raise ResultsError(what, where=str(self.path), cure="choose another file") from error
        self._end += len(line.encode())
        self.rows.pop(row.id, None)
        self.rows[row.id] = row

    def _parsed(self, line: bytes, number: int) -> Row:
        try:
            values = json.loads(line)
        except ValueError as error:
            raise self._strange(number, "it is no JSON") from error
        if not isinstance(values, dict):
            raise self._strange(number, "it is no row")
        try:
            return Row.from_dict(values)
        except (ResultsError, TypeError) as error:
            raise self._strange(number, str(error)) from error

    def _strange(self, number: int, why: str) -> ResultsError:
        return ResultsError(
            f"line {number} is not of a competition: {why.rstrip('.')}",
            where=str(self.path),
            cure="choose another file, or remove this one",
        )
