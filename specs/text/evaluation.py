"""One expression under evaluation: how values are found, and what becomes of errors."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from robustbench_local.errors import RobustBenchError

from ..expressions.base import Expr
from .declared import BROKEN, Let
from .numbers import Number
from .syntax import Code
from .tokens import Token

if TYPE_CHECKING:
    from .evaluator import Evaluator

__all__ = ["CONSTANTS", "Evaluation", "Exhausted", "Local"]

CONSTANTS: Mapping[str, Number] = {"inf": math.inf, "pi": Fraction(math.pi)}
"""Numbers that have names."""

Local = Mapping[str, object]
"""Names of one place: variables of a quantifier, indices of `each`, parameters of a `let`."""


class Exhausted(Exception):
    """The property expands to too much; the error is in the report."""


class Evaluation:
    """One expression under evaluation; of a `let`, with the token of its call."""

    def __init__(self, owner: Evaluator, code: Code, local: Local, caller: Token | None) -> None:
        self.owner, self.code, self.local, self.caller = owner, code, local, caller

    def visit(self, node: ast.expr) -> object:
        """The value of a node."""
        token, kind = self.code.token(node), type(node)
        visitor = self.owner.visitors.get(kind)
        if visitor is None:
            return self.fail(f"{kind.__name__} is not part of the language", token, "E-PARSE")
        self.owner.enter(token)
        found = visitor(self, node)
        self.owner.leave()
        if isinstance(found, Expr) and (fault := self.owner.sizes.fault(found)):
            self.fail(fault, token, "E-DNF", "use fewer or smaller `let`s")
            raise Exhausted
        return found

    def fail(self, what: str, token: Token, code: str = "E-SPEC", cure: str | None = None) -> object:
        """Report an error; returns BROKEN."""
        if self.caller is not None:
            what = f"{what} (called in line {self.caller.line})"
        self.owner.report.error(what, token, cure, code=code)
        return BROKEN

    def made(self, build: Callable[[], object], token: Token, what: Callable[[], str]) -> object:
        """What `build` returns; its errors go to the report, those of Python as what `what` says."""
        try:
            return build()
        except RobustBenchError as error:
            return self.fail(error.what, token, error.code, error.cure)
        except Exception as error:  # operators and functions meet values of any kind here
            reason = " ".join(str(error).split()) or type(error).__name__
            text = what()
            return self.fail(f"{text}: {reason}" if text.endswith("()") else text, token)

    def found(self, name: str) -> object | None:
        """The value of a name; None if it has none."""
        if name in self.local:
            return self.local[name]
        found = self.owner.declared.use(name)
        if isinstance(found, Let) and not found.parameters:
            return self.owner.defined(name)
        return CONSTANTS.get(name) if found is None else found
