"""The bytes of a property file, in pieces, and the place of an offset in it for messages."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeVar, cast

from robustbench_local.errors import DataError, RobustBenchError, SpecError

__all__ = ["LocatedError", "Source", "coded"]

_Error = TypeVar("_Error", bound=RobustBenchError)

_PIECE = 1 << 20
_BLANKS = " \t\n\r\f\v"
_LONGEST_LINE_SHOWN = 90
_BOM = b"\xef\xbb\xbf"


class LocatedError(SpecError):
    """An error in a text: `where` is file:line:column, `excerpt` the line with a caret below the place."""

    excerpt: str = ""

    def as_dict(self) -> dict[str, object]:
        """The fields of every error, and the excerpt."""
        return super().as_dict() | {"excerpt": self.excerpt}


class Source:
    """A text that can be read from its start as often as needed: a file (plain, gzip or xz), or a string.

    Compression is told by the first bytes, not by the name. Text is handled as latin-1, so that an offset
    in the text is one in the bytes; only comments may hold other characters.
    """

    def __init__(self, name: str, start: Callable[[], IO[bytes]]) -> None:
        self.name = name
        self._start = start

    @classmethod
    def of_file(cls, path: Path) -> Source:
        """The file at `path`."""
        return cls(str(path), lambda: _open(path))

    @classmethod
    def of_text(cls, text: str, name: str) -> Source:
        """A string, with the name that messages give it."""
        return cls(name, lambda: io.BytesIO(text.encode()))

    def chunks(self) -> Iterator[tuple[int, str]]:
        """(offset, text) of consecutive pieces of whole lines, without blanks at their ends.

        Raises DataError for a file that cannot be read or decompressed.
        """
        offset = 0
        for piece in self._pieces():
            skip = len(_BOM) if offset == 0 and piece.startswith(_BOM) else 0
            yield offset + skip, piece[skip:].decode("latin-1").rstrip(_BLANKS)
            offset += len(piece)

    def lines(self, offsets: Sequence[int]) -> list[int]:
        """Line numbers, from 1, of the offsets; one pass over the text."""
        order = sorted(range(len(offsets)), key=lambda k: offsets[k])
        found, done, line = [0] * len(offsets), 0, 1
        for start, text in self._whole_pieces():
            while done < len(order) and offsets[order[done]] < start + len(text):
                position = offsets[order[done]] - start
                found[order[done]] = line + text.count("\n", 0, position)
                done += 1
            line += text.count("\n")
        for k in order[done:]:
            found[k] = line
        return found

    def error(
        self, what: str, offset: int, cure: str | None = None, *, code: str = "E-PARSE"
    ) -> LocatedError:
        """An error at the offset: `where` is file:line:column, the message shows the line."""
        line, column, (text, caret) = self._place(offset)
        shown = f"{what}: `{text}`" if text else what
        error = LocatedError(shown, where=f"{self.name}:{line}:{column}", cure=cure)
        error.excerpt = f"{text}\n{' ' * caret}^"
        return coded(error, code)

    def fail_at(self, offset: int) -> Callable[[str, str, str], SpecError]:
        """(what, cure, code) -> the error at the offset."""
        return lambda what, cure, code: self.error(what, offset, cure, code=code)

    def _place(self, offset: int) -> tuple[int, int, tuple[str, int]]:
        line, last = 1, ""
        for start, text in self._whole_pieces():
            position = offset - start
            if position < len(text):
                begin = text.rfind("\n", 0, max(position, 0)) + 1
                end = text.find("\n", position)
                content = text[begin : len(text) if end < 0 else end]
                column = position - begin
                return line + text.count("\n", 0, begin), column + 1, _shown(content, column)
            line += text.count("\n")
            last = text[text.rfind("\n") + 1 :]
        return line, len(last) + 1, _shown(last, len(last))

    def _whole_pieces(self) -> Iterator[tuple[int, str]]:
        offset = 0
        for piece in self._pieces():
            text = piece.decode("latin-1")
            yield offset, text.replace("\r\n", " \n").replace("\r", "\n")  # as long as before
            offset += len(piece)

    def _pieces(self) -> Iterator[bytes]:
        """The bytes, cut after a line's end, each of about `_PIECE` or of one longer line."""
        try:
            with self._start() as stream:
                parts: list[bytes] = []
                while part := stream.read(_PIECE):
                    cut = part.rfind(b"\n") + 1
                    if cut:
                        yield b"".join([*parts, part[:cut]])
                        parts = [part[cut:]]
                    else:
                        parts.append(part)
                rest = b"".join(parts)
                if rest:
                    yield rest
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise DataError(f"cannot read the file: {reason}", where=self.name) from error


def coded(error: _Error, code: str) -> _Error:
    """The error, with the code."""
    error.code = code
    return error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        magic = stream.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(path, "rb")
    return path.open("rb")


def _shown(line: str, column: int) -> tuple[str, int]:
    """The line, or the part of it around the column (from 0), as readable text, and where the column is."""
    begin = 0 if len(line) <= _LONGEST_LINE_SHOWN else max(0, column - _LONGEST_LINE_SHOWN // 2)
    head = "..." if begin else ""
    tail = "..." if begin + _LONGEST_LINE_SHOWN < len(line) else ""
    before, after = _readable(line[begin:column]), _readable(line[column : begin + _LONGEST_LINE_SHOWN])
    shown = f"{head}{(before + after).strip()}{tail}"
    caret = len(head) + len(before) - len(before + after) + len((before + after).lstrip())
    return shown, min(max(caret, 0), len(shown))


def _readable(part: str) -> str:
    text = part.encode("latin-1").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)
