"""`data`, `label`, `param`, `const` and `let` lines."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from robustbench_local.errors import DataError

from ..expressions.constants import Constant
from ..expressions.leaves import Data, Label, Param
from .arrays import read_array
from .cursor import Cursor
from .declared import BROKEN, Broken, Let, attempt
from .evaluator import Evaluator
from .numbers import numeric, plain
from .operators import described
from .tokens import Token

__all__ = ["Values"]


class Values:
    """Reads values and definitions into the declared names; arrays are looked up by their sha256."""

    def __init__(self, evaluator: Evaluator, folder: Path | None, arrays: Mapping[str, Tensor]) -> None:
        self._evaluator, self._declared, self._report = evaluator, evaluator.declared, evaluator.report
        self._folder, self._arrays = folder, arrays

    def data(self, cursor: Cursor) -> None:
        """Take what follows `data`."""
        name = cursor.name("the name of the data")
        cursor.expect(":")
        shape = cursor.type()
        cursor.finish()
        self._declared.add(name, attempt(self._report, name, lambda: Data(name.text, shape)))

    def label(self, cursor: Cursor) -> None:
        """Take what follows `label`."""
        name = cursor.name("the name of a label")
        cursor.expect(":")
        classes = cursor.classes()
        cursor.finish()
        self._declared.add(name, attempt(self._report, name, lambda: Label(name.text, classes)))

    def param(self, cursor: Cursor) -> None:
        """Take what follows `param`."""
        name = cursor.name("the name of a parameter")
        if cursor.found(":"):
            at = cursor.token
            if cursor.type():
                self._report.error("a parameter is one number", at, "declare it as `data`", code="E-SHAPE")
        default: object = None
        if cursor.found("="):
            at = cursor.token
            default = self._evaluator.value(cursor.expression())
            if not isinstance(default, Fraction | Broken):
                self._report.error("the default of a parameter is a number", at, code="E-PARAM")
                default = BROKEN
        cursor.finish()
        if default is BROKEN:
            self._declared.add(name, BROKEN)
            return
        value = plain(default) if isinstance(default, Fraction) else None
        self._declared.add(name, attempt(self._report, name, lambda: Param(name.text, value)))

    def const(self, cursor: Cursor) -> None:
        """Take what follows `const`."""
        name = cursor.name("the name of a constant")
        cursor.expect(":")
        shape = cursor.type()
        cursor.expect("=")
        digest = cursor.hash()
        if digest is not None:
            cursor.finish()
            self._declared.add(name, self._array(name, digest, shape))
            return
        at = cursor.token
        value = self._evaluator.value(cursor.expression())
        if value is not BROKEN and not numeric(value):
            what = f"expected a number or a list of numbers, got {described(value)}"
            self._report.error(what, at, code="E-SPEC")
            value = BROKEN
        if value is BROKEN:
            self._declared.add(name, BROKEN)
            return
        made = attempt(self._report, at, lambda: Constant.of(_numbers(value)))
        if isinstance(made, Constant) and made.shape != shape:
            what = f"the numbers have shape {made.shape}, the type says {shape}"
            self._report.error(what, at, code="E-SHAPE")
            made = BROKEN
        self._declared.add(name, Constant(made.number, name.text) if isinstance(made, Constant) else BROKEN)

    def _array(self, name: Token, token: Token, shape: tuple[int, ...]) -> object:
        digest = token.text.removeprefix("@sha256:").lower()

        def load() -> Constant:
            if digest not in self._arrays:
                return Constant(
                    Constant.of(read_array(self._folder or Path(), digest, shape)).number, name.text
                )
            found = Constant.of(self._arrays[digest])
            if found.digest != digest or found.shape != shape:
                raise DataError("the array that is given has another sha256 or shape")
            return Constant(found.number, name.text)

        return attempt(self._report, token, load)

    def let(self, cursor: Cursor) -> None:
        """Take what follows `let`."""
        name = cursor.name("the name of a definition")
        parameters: list[str] = []
        if cursor.found("("):
            parameters.append(cursor.name("the name of a parameter").text)
            while not cursor.found(")"):
                cursor.expect(",")
                parameters.append(cursor.name("the name of a parameter").text)
        cursor.expect("=")
        code = cursor.expression()
        cursor.finish()
        if code is None:
            self._declared.add(name, BROKEN)
            return
        if not parameters:  # it may speak of variables that are declared later
            self._declared.add(name, Let((), code))
            return
        names = [node for node in ast.walk(code.tree) if isinstance(node, ast.Name)]
        known = [self._evaluator.known(node.id, code.token(node), parameters) for node in names]
        self._declared.add(name, Let(tuple(parameters), code) if all(known) else BROKEN)


def _numbers(value: object) -> object:
    """Numbers and nested lists of them as floats; other values as they are."""
    if isinstance(value, Fraction | float):
        return float(plain(value))
    return [_numbers(item) for item in value] if isinstance(value, list | tuple) else value
