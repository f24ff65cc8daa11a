"""How quantifiers, their variables and families are written."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ..expressions.leaves import Var
from .cursor import Cursor
from .declared import Broken, Declared, attempt
from .syntax import Code
from .tokens import NAME, Token

__all__ = ["Each", "Quantified", "Quantifier", "quantified", "variable"]

_WORDS = ("forall", "exists")


@dataclass(frozen=True, slots=True)
class Quantifier:
    """forall or exists, variables with their names, and their domain, which begins at `at`."""

    token: Token
    variables: tuple[tuple[Token, Var | Broken], ...]
    at: Token
    domain: Code | None


@dataclass(frozen=True, slots=True)
class Each:
    """each NAME in VALUES."""

    name: Token
    at: Token
    values: Code | None


@dataclass(frozen=True, slots=True)
class Quantified:
    """A property as it is written; its body begins at `at`."""

    each: tuple[Each, ...]
    quantifiers: tuple[Quantifier, ...]
    at: Token
    body: Code | None


def quantified(cursor: Cursor, declared: Declared) -> Quantified:
    """Take a property up to the end of the declaration: `each`, then quantifiers, then a formula."""
    each: list[Each] = []
    quantifiers: list[Quantifier] = []
    while cursor.ahead(1).kind == NAME:
        if cursor.token.text == "each" and not quantifiers:
            each.append(_each(cursor, declared))
        elif cursor.token.text in _WORDS:
            quantifiers.append(_quantifier(cursor, declared))
        else:
            break
    if not quantifiers:
        raise cursor.fail(
            "`forall` or `exists`", cure="write, for example: forall x: real[2] in box(0, 1): f(x)[0] <= 1"
        )
    at = cursor.token
    body = cursor.expression()
    cursor.finish()
    return Quantified(tuple(each), tuple(quantifiers), at, body)


def variable(cursor: Cursor, declared: Declared) -> tuple[Token, Var | Broken]:
    """Take a variable with its type and the names and units of its elements."""
    name = cursor.name("the name of a variable")
    cursor.expect(":")
    shape = cursor.type()
    names: list[str] = []
    units: list[str | None] = []
    if cursor.found("("):
        while not names or cursor.found(","):
            names.append("_" if cursor.found("_") else cursor.name("the name of an element, or _").text)
            units.append(ast.literal_eval(cursor.string().text) if cursor.found(":") else None)
        cursor.expect(")")
    _not_declared(name, declared)
    named = [] if set(names) == {"_"} else names
    known = units if any(units) else []
    return name, attempt(declared.report, name, lambda: Var(name.text, shape, names=named, units=known))


def _each(cursor: Cursor, declared: Declared) -> Each:
    cursor.expect("each")
    name = cursor.name("the name of an index")
    _not_declared(name, declared)
    cursor.expect("in")
    at = cursor.token
    values = cursor.expression(":")
    cursor.expect(":")
    return Each(name, at, values)


def _quantifier(cursor: Cursor, declared: Declared) -> Quantifier:
    token = cursor.expect(*_WORDS)
    variables = [variable(cursor, declared)]
    while cursor.found(","):
        variables.append(variable(cursor, declared))
    cursor.expect("in")
    at = cursor.token
    domain = cursor.expression(":")
    cursor.expect(":")
    return Quantifier(token, tuple(variables), at, domain)


def _not_declared(name: Token, declared: Declared) -> None:
    known = declared.place(name.text)
    if known is not None:
        what = f"`{name.text}` is declared already, in line {known.line}"
        declared.report.error(what, name, "choose another name", code="E-PARAM")
