"""How large expressions are: texts of a few lines could otherwise write trees that fill any memory."""

from __future__ import annotations

from ..expressions.base import Expr
from ..expressions.naming import Named

__all__ = ["LARGEST", "Sizes"]

LARGEST = 20_000
"""The most parts of one expression, repeated ones counted each time."""

_DEEPEST = 200


class Sizes:
    """Sizes of expressions; each is looked into once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Expr, int, int]] = {}  # kept, so that ids stay their own

    def fault(self, expression: Expr) -> str:
        """What is too large about an expression, or ""."""
        size, depth = self._of(expression, 0)
        if depth > _DEEPEST:
            return f"the expression is nested deeper than {_DEEPEST}"
        return f"the expression has more than {LARGEST} parts" if size > LARGEST else ""

    def _of(self, expression: Expr, level: int) -> tuple[int, int]:
        known = self._known.get(id(expression))
        if known is not None:
            return known[1], known[2]
        if level > _DEEPEST:
            return 1, _DEEPEST + 1
        parts = [self._of(child, level + 1) for child in expression.children]
        named = isinstance(expression, Named)  # stands in the text as its name
        size = 1 if named else 1 + sum(part[0] for part in parts)
        depth = 1 if named else 1 + max((part[1] for part in parts), default=0)
        self._known[id(expression)] = (expression, size, depth)
        return size, depth
