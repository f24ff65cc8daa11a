"""From the tokens of VNN-LIB 2 text to declarations and one formula.

    query   := (vnnlib-version <2.x>) network+ assertion+
    network := (declare-network ...), see `network_reader`     assertion := (assert formula)
    formula := (and formula+) | (or formula+) | (< | <= | > | >= | == | != term term)
    term    := number | NAME | NAME[i,..] | (- term) | (+ term+) | (- term term+) | (* term+)

Source: the VNN-LIB standard 2.1, chapter 3 and syntax/grammar.cf
(https://github.com/VNNLIB/VNNLIB-Standard). Blanks are allowed wherever tokens meet.
"""

from __future__ import annotations

from ..formula import AllOf, Builder
from ..formula_reader import FormulaReader
from ..source import Source
from ..stream import ASSERTED, OPEN, Stream, Token, brief, offset_of
from .declarations import Declarations
from .network_reader import NetworkReader
from .tokens import TOKEN
from .words import Words

__all__ = ["VERSIONS", "Reader"]

VERSIONS = ("2.0", "2.1")
"""The versions of the standard that are read."""

_WHAT_2_HAS = "VNN-LIB 2 has `(declare-network ...)`, then `(assert ...)`"


class Reader:
    """Reads one source once.

    Attributes:
        version: as the header says.
        declared: the networks.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.version = ""
        self.declared = Declarations(())
        self._stream = Stream(source, TOKEN)

    def read(self) -> AllOf:
        """Everything the file asserts. SpecError (E-PARSE, E-INDEX, E-SHAPE, E-DTYPE) with the place."""
        self._header()
        first = self._networks()
        formulas = FormulaReader(self._stream, Words(self._stream, self.declared.tensors))
        whole = Builder(formulas.table)
        if first is not None:
            self._assertion(formulas, whole, first)
            for token in self._stream.tokens:
                self._assertion(
                    formulas, whole, token if token[0].lastindex == ASSERTED else self._opened(token)
                )
            return whole.whole()
        raise self.source.error("no assertion", 0, "assert what the unsafe inputs and outputs are")

    def _header(self) -> None:
        cure = "begin with `(vnnlib-version <2.0>)`"
        token = next(self._stream.tokens, None)
        if token is None or token[0].lastindex != OPEN:
            raise self.source.error("no header", 0, cure)
        offset = offset_of(token)
        head, at = self._stream.word("`vnnlib-version`", offset)
        head, found, version = head.partition("<")
        version, at_version = f"<{version}", at + len(head)
        if not found:
            version, at_version = self._stream.word("a version, e.g. <2.0>", offset)
        if head != "vnnlib-version" or not (version.startswith("<") and version.endswith(">")):
            raise self.source.error("no header", at, cure)
        self._stream.close(head, offset)
        self.version = version[1:-1]
        if self.version not in VERSIONS:
            what = f"the header says VNN-LIB {brief(self.version)}; read are 1.0, {' and '.join(VERSIONS)}"
            raise self.source.error(what, at_version, "write the property as one of these")

    def _networks(self) -> Token | int | None:
        """Reads declarations; what begins the first assertion, as `_opened` (None: the file ends)."""
        networks = NetworkReader(self._stream, self.version)
        for token in self._stream.tokens:
            found: Token | int | None = token
            if token[0].lastindex != ASSERTED:
                found = self._opened(token, networks)
            if found is None:
                continue
            if not networks.networks:
                raise self.source.error("an assertion before every network", offset_of(token), _WHAT_2_HAS)
            self.declared = Declarations(networks.networks.values())
            return found
        if not networks.networks:
            raise self.source.error("no network", 0, _WHAT_2_HAS)
        return None

    def _opened(self, token: Token, networks: NetworkReader | None = None) -> int | None:
        """The offset of `(assert`, whose rest comes next, or None after a declaration of a network."""
        if token[0].lastindex != OPEN:
            expected = "`(assert`" if networks is None else "`(declare-network` or `(assert`"
            raise self._stream.unexpected(token, expected)
        offset = offset_of(token)
        head, at = self._stream.word("`declare-network` or `assert`", offset)
        if head == "assert":
            return offset
        if head == "declare-network" and networks is not None:
            networks.read(offset)
            return None
        if head == "declare-network":
            cure = "declare every network before the first assertion"
            raise self.source.error("a network is declared after an assertion", at, cure)
        if head == "declare-const":
            what = f"the header says VNN-LIB {self.version}, but the body uses declare-const, which is 1.0"
            raise self.source.error(what, at, "remove the header if the file is VNN-LIB 1.0")
        raise self.source.error(f"unknown statement `{brief(head)}`", at, _WHAT_2_HAS)

    def _assertion(self, formulas: FormulaReader, whole: Builder, begin: Token | int | None) -> None:
        if isinstance(begin, int):
            formulas.assertion(whole, begin)
        elif begin is not None:
            formulas.run(whole, begin)
