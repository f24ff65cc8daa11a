"""From the tokens of VNN-LIB 1.0 text to one formula over its variables.

    file := { (vnnlib-version <1.0>) | (declare-const VAR Real) | (assert FORMULA) }
    FORMULA := (and FORMULA+) | (or FORMULA+) | (<=|>=|<|>|= TERM TERM)
    TERM    := number | X_i | Y_i | (+ TERM+) | (- TERM+) | (* TERM+)

Comments run from `;` to the end of the line. The standard has no grammar of its own; this is a superset of
what the competition's parser accepts
(https://github.com/ChristopherBrix/vnncomp2024_results, SCORING/vnnlib_v1.py).
"""

from __future__ import annotations

from ..formula import AllOf, Builder
from ..formula_reader import FormulaReader
from ..source import Source
from ..stream import ASSERTED, DECLARED, OPEN, WORD, Stream, brief
from .tokens import TOKEN, VARIABLE
from .words import WHAT_1_0_HAS, Words

__all__ = ["Reader"]

_HEADER_2 = "begin the file with `(vnnlib-version <2.0>)`"
_CURE_2 = "write the property as VNN-LIB 1.0 or 2.0"


class Reader:
    """Reads one source once; then `sizes` is (inputs, outputs)."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.sizes = (0, 0)
        self._stream = Stream(source, TOKEN)
        self._words = Words(source)
        self._formulas = FormulaReader(self._stream, self._words)

    def read(self) -> AllOf:
        """Everything the file asserts, X_i at position 2 i, Y_i at 2 i + 1. SpecError (E-PARSE)."""
        whole = Builder(self._formulas.table)
        for token in self._stream.tokens:
            match, base = token
            if match.lastindex == ASSERTED:
                self._formulas.run(whole, token)
            elif match.lastindex == DECLARED:
                for variable in VARIABLE.finditer(match[DECLARED]):
                    self._words.declare(variable[0], base + match.start(DECLARED) + variable.start())
            elif match.lastindex == OPEN:
                self._statement(whole, base + match.start(OPEN))
            else:
                raise self._stream.unexpected(token, "`(declare-const` or `(assert`")
        self.sizes = self._words.sizes()
        return whole.whole()

    def _statement(self, whole: Builder, offset: int) -> None:
        head, at = self._stream.word("`declare-const` or `assert`", offset)
        if head == "assert":
            self._formulas.assertion(whole, offset)
        elif head == "declare-const":
            name, at = self._stream.word("a variable", offset)
            kind, at_kind = self._stream.word("`Real`", offset)
            if kind != "Real":
                cure = "all variables of VNN-LIB 1.0 are Real"
                raise self.source.error(f"expected `Real`, found `{brief(kind)}`", at_kind, cure)
            self._stream.close("declare-const", offset)
            self._words.declare(name, at)
        elif head == "vnnlib-version":
            self._version(offset)
        elif head.startswith("declare-"):
            what = f"`{brief(head)}` belongs to VNN-LIB 2.0, but the file has no header that says 2.0"
            raise self.source.error(what, at, _HEADER_2)
        else:
            raise self.source.error(f"unknown statement `{brief(head)}`", at, WHAT_1_0_HAS)

    def _version(self, offset: int) -> None:
        version, at = self._stream.word("a version, e.g. <1.0>", offset)
        self._stream.close("vnnlib-version", offset)
        number = version.strip("<>")
        if number == "1.0":
            return
        if number.startswith("2."):
            raise self.source.error("a header for VNN-LIB 2 that is not the beginning", at, _HEADER_2)
        for match, _ in self._stream.tokens:
            if match.lastindex == DECLARED or (match.lastindex == WORD and match[WORD] == "declare-const"):
                body = ", but the body uses declare-const, which is 1.0"
                cure = "remove the header if the file is VNN-LIB 1.0"
                break
        else:
            body, cure = "", _CURE_2
        what = f"the header says VNN-LIB {brief(number)}; read are 1.0, 2.0 and 2.1{body}"
        raise self.source.error(what, at, cure)
