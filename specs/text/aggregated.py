"""Claims about shares, groups and probabilities: what stands in a `prop` line instead of a property."""

from __future__ import annotations

from collections.abc import Container, Mapping

from ..aggregates import ChanceClaim, RateClaim, chance, rate
from ..distributions import Distribution
from ..expressions.leaves import Label
from ..group_shares import GroupClaim, gap, ratio
from ..spec import Spec
from .cursor import Cursor
from .declared import BROKEN, Broken, attempt
from .elaboration import check_domain, formula_of, spec_of
from .evaluator import Evaluator
from .numbers import plain
from .operators import described
from .quantifiers import quantified, variable
from .spec_file import Prop
from .tokens import Token

__all__ = ["Aggregates", "begins_aggregate"]

_AFTER = {
    "rate": ("(", ">=", "<="),
    "gap": ("(",),
    "ratio": ("(",),
    "chance": (">=", "<="),
}
"""Word -> what comes next where it begins a claim, and is no name of the text."""


def begins_aggregate(cursor: Cursor) -> bool:
    """Whether a claim of this kind comes next."""
    return cursor.ahead(1).text in _AFTER.get(cursor.token.text, ())


class Aggregates:
    """Reads such claims; `found` are the properties above by name, `families` those that have members."""

    def __init__(
        self, evaluator: Evaluator, found: Mapping[str, Prop | Broken], families: Container[str]
    ) -> None:
        self._evaluator, self._report, self._declared = evaluator, evaluator.report, evaluator.declared
        self._found, self._families = found, families

    def read(self, cursor: Cursor) -> RateClaim | GroupClaim | ChanceClaim | Broken:
        """Take one claim up to the end of the declaration."""
        if cursor.token.text == "rate":
            return self._rate(cursor)
        return self._chance(cursor) if cursor.token.text == "chance" else self._groups(cursor)

    def _rate(self, cursor: Cursor) -> RateClaim | Broken:
        token = cursor.expect("rate")
        found: Spec | Broken | None = None
        if cursor.found("("):
            found = self._named(cursor, token)
            cursor.expect(")")
        sign, threshold = self._threshold(cursor, ">=", "<=")
        spec = self._written(cursor, token, found)
        if isinstance(spec, Broken):
            return BROKEN
        whole = rate(spec)
        return attempt(
            self._report, token, lambda: whole >= threshold if sign == ">=" else whole <= threshold
        )

    def _groups(self, cursor: Cursor) -> GroupClaim | Broken:
        """`gap(rob, group) <= 0.05`, `gap(group) <= 0.05: forall ..`, and the same of `ratio` with >=."""
        token = cursor.expect("gap", "ratio")
        found: Spec | Broken | None = None
        cursor.expect("(")
        if cursor.ahead(1).text == ",":
            found = self._named(cursor, token)
            cursor.expect(",")
        name = cursor.name("the label of the groups")
        group = self._declared.use(name.text)
        if group is None:
            self._declared.unknown(name, [])
        elif not isinstance(group, Label | Broken):
            cure = f"declare it: label {name.text}: class[2]"
            self._report.error(f"{name.shown} is no label", name, cure, code="E-SPEC")
        cursor.expect(")")
        _, threshold = self._threshold(cursor, "<=" if token.text == "gap" else ">=")
        spec = self._written(cursor, token, found)
        if isinstance(spec, Broken) or not isinstance(group, Label):
            return BROKEN
        one, label = spec, group
        if token.text == "gap":
            return attempt(self._report, token, lambda: gap(one, label) <= threshold)
        return attempt(self._report, token, lambda: ratio(one, label) >= threshold)

    def _named(self, cursor: Cursor, token: Token) -> Spec | Broken:
        """The property whose name comes next; an error if that is no single one."""
        name = cursor.name("the name of a property")
        found = self._found.get(name.text)
        if isinstance(found, Spec):
            return found
        if found is None:
            cure = f"properties above: {', '.join(list(self._found)[:-1]) or 'none'}"
            self._report.error(f"unknown property {name.shown}", name, cure, code="E-NAME")
        elif found is not BROKEN or name.text in self._families:
            what = f"a {token.text} is that of a single property of forall or exists"
            self._report.error(what, token, code="E-SPEC")
        return BROKEN

    def _written(self, cursor: Cursor, token: Token, found: Spec | Broken | None) -> Spec | Broken:
        """What was named, or the property that follows a colon."""
        if found is not None:
            cursor.finish()
            return found
        cursor.expect(":")
        whole = quantified(cursor, self._declared)
        if whole.each:
            what = f"a {token.text} is that of one property"
            self._report.error(what, whole.each[0].name, code="E-SPEC")
            return BROKEN
        return spec_of(self._evaluator, whole, {})

    def _chance(self, cursor: Cursor) -> ChanceClaim | Broken:
        token = cursor.expect("chance")
        sign, threshold = self._threshold(cursor, ">=", "<=")
        name, drawn = variable(cursor, self._declared)
        cursor.expect("~")
        at = cursor.token
        law = self._evaluator.value(cursor.expression(":"))
        cursor.expect(":")
        where = cursor.token
        code = cursor.expression()
        cursor.finish()
        self._evaluator.begin()[name.text] = drawn
        body = formula_of(self._evaluator, self._evaluator.value(code, {name.text: drawn}), where)
        if law is not BROKEN and not isinstance(law, Distribution):
            cure = "use normal(..) or uniform(..)"
            self._report.error(f"{described(law)} is no distribution", at, cure, code="E-SPEC")
        if isinstance(drawn, Broken) or body is None or not isinstance(law, Distribution):
            return BROKEN
        one, found, of = drawn, law, body

        def build() -> ChanceClaim:
            share = chance(one, found, of)
            claim = share >= threshold if sign == ">=" else share <= threshold
            check_domain(share.spec)  # also builds the property on the support, with the checks of that
            return claim

        return attempt(self._report, token, build)

    def _threshold(self, cursor: Cursor, *signs: str) -> tuple[str, float]:
        sign = cursor.expect(*signs).text
        return sign, float(plain(cursor.fraction()))
