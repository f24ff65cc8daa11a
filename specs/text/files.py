"""Reading and writing texts of properties."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from robustbench_local.atomic import write_atomically
from robustbench_local.errors import DataError

from ..expressions.names import checked_name
from .arrays import write_array
from .cursor import Cursor, Stop
from .declared import BROKEN, Declared
from .evaluator import Evaluator, Exhausted
from .numbers import numeric
from .reader import Reader
from .report import Report
from .spec_file import Prop, SpecFile
from .tokens import NAME, Token, lines_of

__all__ = ["parse_spec", "parse_value", "read_spec", "write_spec"]


def parse_spec(
    text: str,
    *,
    name: str = "<text>",
    folder: str | Path | None = None,
    arrays: Mapping[str, Tensor] | None = None,
) -> SpecFile:
    """The properties that a text says; nothing of the text is run.

    `name` is what messages call it. An array that the text names by its sha256 is taken from `arrays`, or
    from its file in `folder` (default: the present one).

    Raises SpecErrors with every error of the text, each with its place.
    """
    found = {digest.lower(): array for digest, array in (arrays or {}).items()}
    return Reader(Report(text, name), None if folder is None else Path(folder), found).read()


def read_spec(path: str | Path) -> SpecFile:
    """The properties of a file in UTF-8; arrays are beside it. Raises DataError, and as `parse_spec`."""
    place = Path(path)
    try:
        data = place.read_bytes()
    except OSError as error:
        cure = "check the path"
        raise DataError(f"cannot read the file: {error.strerror}", where=str(path), cure=cure) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        report = Report(data.decode("utf-8", "replace"), str(path))
        before = data[: error.start].decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        column = len(before) - (before.rfind("\n") + 1) + 1
        token = Token(NAME, "?", before.count("\n") + 1, column)
        report.error(f"byte {data[error.start]:#04x} is no UTF-8", token, "save the file as UTF-8")
        report.raise_errors()
        raise
    return parse_spec(text, name=str(path), folder=place.parent)


def write_spec(specs: Prop | Mapping[str, Prop], path: str | Path, *, name: str = "") -> Path:
    """Write properties as text, and their large arrays to files beside it; returns the path.

    `specs` is one property or name -> property; a SpecFile is one, too, and gives its name.
    Raises SpecError (E-PARAM) where properties declare one name in two ways or a name is none, ResultsError
    where the file system refuses.
    """
    props = specs if isinstance(specs, Mapping) else {"main": specs}
    for prop in props:
        checked_name(prop)
    title = name or (specs.name if isinstance(specs, SpecFile) else "")
    file = SpecFile(checked_name(title) if title else "", props)
    place = Path(path)
    text = file.text + "\n"
    for constant in file.arrays.values():
        write_array(place.parent, constant)
    return write_atomically(place, lambda temporary: temporary.write_bytes(text.encode()))


def parse_value(text: str, *, name: str = "<value>") -> object:
    """The value that a text writes: a number as a Fraction, or a (nested) list of them.

    Raises SpecErrors for anything else.
    """
    report = Report(text, name)
    lines = lines_of(report)
    token = Token(NAME, text, 1, 1)
    if len(lines) != 1 or lines[0].broken:
        report.error("expected a number or a list of numbers", token)
        report.raise_errors()
    try:
        cursor = Cursor(lines[0], report)
        value = Evaluator(Declared(report), report).value(cursor.expression())
        cursor.finish()
    except (Stop, Exhausted):
        value = BROKEN
    if value is not BROKEN and not numeric(value):
        report.error("expected a number or a list of numbers", token)
    report.raise_errors()
    return value
