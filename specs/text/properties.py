"""`prop` lines: properties, families of them, shares and probabilities."""

from __future__ import annotations

from ..aggregates import Every
from ..spec import Spec
from .aggregated import Aggregates, begins_aggregate
from .cursor import Cursor
from .declared import BROKEN, Broken
from .elaboration import spec_of
from .evaluator import Evaluator
from .families import members
from .quantifiers import quantified
from .spec_file import Prop
from .tokens import NAME, Token

__all__ = ["Properties"]


class Properties:
    """The properties of a text; `seen` tells whether there is any, be it one with errors."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator, self._report, self._declared = evaluator, evaluator.report, evaluator.declared
        self._found: dict[str, Prop | Broken] = {}
        self._places: dict[str, Token] = {}
        self._members: dict[str, list[Spec | None]] = {}
        self.seen = False

    def read(self, cursor: Cursor) -> None:
        """Take what follows `prop`."""
        self.seen = True
        name, at = cursor.name("the name of a property"), cursor.token
        index: int | None = None
        if cursor.found("["):
            index = cursor.integer()
            cursor.expect("]")
        cursor.expect(":")
        fresh = self._is_new(name) if index is None else self._is_next(name, index, at)
        found = self._claim(cursor)
        if not fresh:
            return
        if index is None:
            self._found[name.text] = found
        elif isinstance(found, Spec):
            self._members[name.text][index] = found
        elif found is not BROKEN:
            self._report.error("members of a family are properties of forall or exists", at, code="E-SPEC")

    def read_claim(self, cursor: Cursor) -> None:
        """Take a property without a name."""
        self.seen = True
        token = cursor.token
        fresh = self._is_new(Token(NAME, "main", token.line, token.column))
        found = self._claim(cursor)
        if fresh:
            self._found["main"] = found

    def finish(self) -> dict[str, Prop]:
        """The properties by name, without those that have errors."""
        for name, specs in self._members.items():
            good = tuple(spec for spec in specs if spec is not None)
            if len(good) == len(specs):
                self._found[name] = Every(good)
        return {name: found for name, found in self._found.items() if not isinstance(found, Broken)}

    def _is_new(self, name: Token) -> bool:
        known = self._places.setdefault(name.text, name)
        if known is not name:
            what = f"the property `{name.text}` is declared twice, first in line {known.line}"
            self._report.error(what, name, "choose another name", code="E-PARAM")
            return False
        self._found[name.text] = BROKEN
        return True

    def _is_next(self, name: Token, index: int, at: Token) -> bool:
        known = self._places.setdefault(name.text, name)
        if known is not name and name.text not in self._members:
            what = f"the property `{name.text}` is declared in line {known.line}, and is no family"
            self._report.error(what, name, code="E-PARAM")
            return False
        found = self._members.setdefault(name.text, [])
        self._found.setdefault(name.text, BROKEN)
        if index != len(found):
            cure = f"the next one is {name.text}[{len(found)}]"
            self._report.error(f"member {index} of `{name.text}` is out of order", at, cure, code="E-PARAM")
            return False
        found.append(None)
        return True

    def _claim(self, cursor: Cursor) -> Prop | Broken:
        """The property that follows."""
        if begins_aggregate(cursor):
            return Aggregates(self._evaluator, self._found, self._members).read(cursor)
        whole = quantified(cursor, self._declared)
        specs = [spec_of(self._evaluator, whole, local) for local in members(whole.each, self._evaluator)]
        good = tuple(spec for spec in specs if not isinstance(spec, Broken))
        if not good or len(good) < len(specs):
            return BROKEN
        return Every(good) if whole.each else good[0]
