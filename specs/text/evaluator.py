"""What expressions of a text mean, and what their evaluation costs; definitions are read when needed."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from ..expressions.base import Term
from ..expressions.naming import let as named_term
from ..vocabulary import FUNCTIONS
from .declared import BROKEN, Declared, Let
from .evaluation import CONSTANTS, Evaluation, Exhausted, Local
from .report import Report
from .sizes import Sizes
from .syntax import Code
from .tokens import Token
from .visitors import VISITORS

__all__ = ["Evaluator", "Exhausted"]

_MOST_STEPS = 50_000
_DEEPEST = 200


class Evaluator:
    """Values of expressions: exact numbers, strings, lists, parts of the language; BROKEN after errors."""

    visitors = VISITORS

    def __init__(self, declared: Declared, report: Report) -> None:
        self.declared, self.report = declared, report
        self.sizes = Sizes()
        self._steps = self._depth = 0
        self._variables: dict[str, object] = {}
        self._defined: dict[str, object] = {}  # values of definitions without parameters
        self._active: set[str] = set()  # definitions under evaluation

    def value(self, code: Code | None, local: Local | None = None) -> object:
        """What the expression stands for. Raises Exhausted where there is no end in sight."""
        self._depth = 0
        return BROKEN if code is None else Evaluation(self, code, local or {}, None).visit(code.tree)

    def known(self, name: str, token: Token, local: Sequence[str]) -> bool:
        """Whether a name means something; an error if not."""
        aliases = (alias for names in self.declared.taps.values() for alias in names)
        if self.declared.place(name) or name in (*local, *CONSTANTS, *FUNCTIONS, *aliases):
            return True
        self.declared.unknown(token, list(local))
        return False

    def restart(self) -> None:
        """Give the next declaration its own share of steps, and no variables."""
        self._steps = 0
        self.begin()

    def begin(self) -> dict[str, object]:
        """Begin a property; returns where its variables belong, which definitions may speak of."""
        self._variables, self._defined, self._active = {}, {}, set()
        return self._variables

    def defined(self, name: str) -> object:
        """The value of a definition without parameters, after those that it needs; terms keep the name."""
        todo = [name]
        while todo:
            top = todo[-1]
            let = self.declared.use(top)
            if top in self._defined or not isinstance(let, Let):
                todo.pop()
                continue
            needed = [other for other in self._names(let.code) if other not in self._defined]
            circle = top in self._active or any(other in todo for other in needed)
            if circle:
                place = self.declared.place(top)
                assert place is not None
                self.report.error(f"`{top}` is defined by itself", place, code="E-PARAM")
                self._defined[top] = BROKEN
            elif needed:
                todo += needed
            else:
                self._defined[top] = self._named(top, let)
        return self._defined[name]

    def _names(self, code: Code) -> list[str]:
        """The definitions without parameters that an expression names."""
        names = {node.id for node in ast.walk(code.tree) if isinstance(node, ast.Name)}
        found = [(name, self.declared.peek(name)) for name in sorted(names - set(self._variables))]
        return [name for name, value in found if isinstance(value, Let) and not value.parameters]

    def _named(self, name: str, let: Let) -> object:
        self._active.add(name)
        value = Evaluation(self, let.code, self._variables, None).visit(let.code.tree)
        self._active.discard(name)
        return named_term(name, value) if isinstance(value, Term) else value

    def enter(self, token: Token) -> None:
        """Count a step, and how deep it is nested. Raises Exhausted."""
        self._steps += 1
        self._depth += 1
        if self._steps > _MOST_STEPS or self._depth > _DEEPEST:
            cure = "use fewer or smaller `let`s, or a shorter `each`"
            self.report.error("the property expands to too many parts", token, cure, code="E-DNF")
            raise Exhausted

    def leave(self) -> None:
        """End a step."""
        self._depth -= 1
