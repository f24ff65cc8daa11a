"""The finite sets that `each` runs over."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction

from .declared import BROKEN
from .evaluator import Evaluator
from .operators import described
from .quantifiers import Each
from .syntax import Code

__all__ = ["members"]

_MOST = 10_000


def members(each: Sequence[Each], evaluator: Evaluator) -> Iterator[dict[str, object]]:
    """The values of the indices, one dictionary per member of the family; none after an error."""
    columns = [_values(one, evaluator) for one in each]
    count = 1
    for one, column in zip(each, columns, strict=True):
        count *= len(column)
        if count > _MOST:
            evaluator.report.error(f"more than {_MOST} properties", one.at, code="E-DNF")
            return
    names = [one.name.text for one in each]
    for row in itertools.product(*columns):
        yield dict(zip(names, row, strict=True))


def _values(each: Each, evaluator: Evaluator) -> Sequence[object]:
    if each.values is None:
        return ()
    tree = each.values.tree
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "range":
        return _range(each, tree, each.values, evaluator)
    found = evaluator.value(each.values)
    if isinstance(found, list | tuple) and found:
        return found
    if found is not BROKEN:
        what = "an empty set" if isinstance(found, list | tuple) else f"{described(found)} is no finite set"
        evaluator.report.error(what, each.at, "write range(10), or a list", code="E-SPEC")
    return ()


def _range(each: Each, tree: ast.Call, code: Code, evaluator: Evaluator) -> Sequence[Fraction]:
    ends = [evaluator.value(Code(part, code.offsets, code.tokens)) for part in tree.args]
    if any(end is BROKEN for end in ends):
        return ()
    whole = [int(e) for e in ends if isinstance(e, Fraction) and e.denominator == 1 and abs(e) < 2**53]
    if not 1 <= len(whole) == len(ends) <= 3 or tree.keywords or 0 in whole[2:]:
        evaluator.report.error("range takes one to three whole numbers", each.at, code="E-SPEC")
        return ()
    span = range(*whole)
    if not 1 <= len(span) <= _MOST:
        what = f"a range of more than {_MOST} numbers" if span else "an empty set"
        evaluator.report.error(what, each.at, code="E-DNF" if span else "E-SPEC")
        return ()
    return [Fraction(k) for k in span]
