"""Reading a VNN-LIB file or text, of version 1.0 or 2, into its value."""

from __future__ import annotations

from pathlib import Path

from .property import VnnlibProperty
from .source import Source
from .stream import OPEN, WORD, Stream
from .unsafe_set import unsafe_set
from .version1 import Reader
from .version1.tokens import TOKEN
from .version2 import Reader as Reader2
from .version2 import Vnnlib2Property

__all__ = ["parse_vnnlib", "read_vnnlib"]


def read_vnnlib(path: str | Path) -> VnnlibProperty | Vnnlib2Property:
    """The property in a VNN-LIB file; gzip and xz are recognised by their first bytes.

    The header decides: `(vnnlib-version <2.0>)` or `<2.1>` is read as the standard says into a
    `Vnnlib2Property`; a file without header, or with 1.0, into a `VnnlibProperty`. Of 1.0 this reads
    comparisons <= >= < > =, `and` and `or` at any nesting, several assertions, and linear arithmetic with
    + - * over inputs and outputs. A 17 MB file takes one to two seconds.

    Raises DataError for a file that cannot be read; SpecError with file:line:column, and an `excerpt` with a
    caret, for text that is malformed (E-PARSE), badly typed (E-DTYPE, E-INDEX, E-SHAPE) or, in 1.0, not
    linear (E-NONLIN); for 1.0, UnboundedSetError for an input without bounds and EmptySetError for an
    unsafe set without a point.
    """
    return _read(Source.of_file(Path(path)))


def parse_vnnlib(text: str, *, name: str = "<text>") -> VnnlibProperty | Vnnlib2Property:
    """The property in a text; `name` is what messages call it. Otherwise as `read_vnnlib`."""
    return _read(Source.of_text(text, name))


def _read(source: Source) -> VnnlibProperty | Vnnlib2Property:
    if _version(source).startswith("2."):
        second = Reader2(source)
        whole = second.read()
        return Vnnlib2Property(source.name, second.version, second.declared, whole, source)
    reader = Reader(source)
    whole = reader.read()
    return unsafe_set(whole, *reader.sizes, source)


def _version(source: Source) -> str:
    """The version in the header; empty where there is no header."""
    tokens = Stream(source, TOKEN).tokens
    first, *words = (
        token and (token[0].lastindex, token[0][WORD]) for token in (next(tokens, None) for _ in "123")
    )
    if first is None or first[0] != OPEN or words[0] is None or words[0][0] != WORD:
        return ""
    head, found, version = words[0][1].partition("<")
    if head != "vnnlib-version":
        return ""
    if not found and words[1] is not None and words[1][0] == WORD:
        version = words[1][1]
    return version.strip("<>")
