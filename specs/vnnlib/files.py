"""Reading a VNN-LIB 1.0 file or text into a `VnnlibProperty`."""

from __future__ import annotations

from pathlib import Path

from .property import VnnlibProperty
from .reader import Reader
from .source import Source
from .unsafe_set import unsafe_set

__all__ = ["parse_vnnlib", "read_vnnlib"]


def read_vnnlib(path: str | Path) -> VnnlibProperty:
    """The property in a VNN-LIB 1.0 file; gzip and xz are recognised by their first bytes.

    Comparisons <= >= < > =, `and` and `or` at any nesting, several assertions, and linear arithmetic with
    + - * are read. Conditions must be bounds of single inputs or linear in the outputs. A 17 MB file takes
    one to two seconds.

    Raises DataError for a file that cannot be read, SpecError with file:line:column for text that is
    malformed (E-PARSE), not linear (E-NONLIN), or couples inputs (E-OP), UnboundedSetError for an input
    without bounds, EmptySetError for an unsafe set without a point.
    """
    return _read(Source.of_file(Path(path)))


def parse_vnnlib(text: str, *, name: str = "<text>") -> VnnlibProperty:
    """The property in a text; `name` is what messages call it. Otherwise as `read_vnnlib`."""
    return _read(Source.of_text(text, name))


def _read(source: Source) -> VnnlibProperty:
    reader = Reader(source)
    whole = reader.read()
    return unsafe_set(whole, len(reader.declared.indices["X"]), len(reader.declared.indices["Y"]), source)
