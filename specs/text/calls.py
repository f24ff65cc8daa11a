"""Calls: of networks, domains, functions of the language, definitions, and inner nodes of networks."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from ..expressions.domains import Domain
from ..expressions.networks import Net
from ..vocabulary import FUNCTIONS
from .declared import BROKEN, Let
from .evaluation import Evaluation
from .operators import described, operand
from .tokens import Token

__all__ = ["call"]


def call(run: Evaluation, node: ast.Call) -> object:
    """The value of a call."""
    token = run.code.token(node)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "tap":
        return _tap(run, node, node.func)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "derivative":
        return _derivative(run, node, node.func)
    named = {k.arg or "": run.visit(k.value) for k in node.keywords}
    given = [run.visit(part) for part in node.args]
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    found = run.found(name) if name else run.visit(node.func)
    if found is None and name in FUNCTIONS:
        return _applied(run, name, given, named, token)
    if found is None:
        run.owner.declared.unknown(token, list(run.local), "function")
        return BROKEN
    if found is BROKEN or any(part is BROKEN for part in (*given, *named.values())):
        return BROKEN
    if named:
        return run.fail(f"`{name}` takes arguments without names", token)
    if isinstance(found, Let):
        return _expanded(run, name, found, given, token)
    if len(given) != 1:
        return run.fail(f"{described(found)} takes one argument", token)
    if not isinstance(found, Net | Domain):
        return run.fail(f"{described(found)} is no function", token)
    function = cast("Callable[..., object]", found)  # a domain refuses what is no variable itself
    return run.made(lambda: function(operand(given[0])), token, lambda: f"{described(found)} is no function")


def _tap(run: Evaluation, node: ast.Call, function: ast.Attribute) -> object:
    of, token = run.visit(function.value), run.code.token(node)
    if of is BROKEN:
        return BROKEN
    if not isinstance(of, Net) or len(node.args) != 2 or node.keywords:
        return run.fail("inner nodes are written f.tap(NAME, x) or f.tap('node', x)", token)
    which, names = node.args[0], run.owner.declared.taps.get(of.name, {})
    argument = run.visit(node.args[1])
    if isinstance(which, ast.Name) and which.id in names:
        inner: object = names[which.id]
    else:
        inner = run.visit(which)
    if argument is BROKEN or inner is BROKEN:
        return BROKEN
    if not isinstance(inner, str):
        return run.fail("the name of an inner node is a string", run.code.token(which))
    return run.made(lambda: of.tap(inner, operand(argument)), token, lambda: "tap()")


def _derivative(run: Evaluation, node: ast.Call, function: ast.Attribute) -> object:
    of, token = run.visit(function.value), run.code.token(node)
    given = [run.visit(part) for part in node.args]
    if of is BROKEN or any(part is BROKEN for part in given):
        return BROKEN
    message = "derivatives are written f.derivative(x, PLACE), PLACE a whole number or a list of them"
    if not isinstance(of, Net) or len(given) != 2 or node.keywords:
        return run.fail(message, token)
    at, place = operand(given[0]), operand(given[1])
    axes = [place] if isinstance(place, int) else place
    if not isinstance(axes, list) or not all(isinstance(i, int) for i in axes):
        return run.fail(message, token)
    places = [int(i) for i in axes]
    return run.made(lambda: of.derivative(at, places), token, lambda: "derivative()")


def _expanded(run: Evaluation, name: str, let: Let, given: Sequence[object], token: Token) -> object:
    if len(given) != len(let.parameters):
        wanted = ", ".join(let.parameters)
        return run.fail(f"`{name}` is called with other arguments than ({wanted})", token)
    inner = dict(zip(let.parameters, given, strict=True))
    return Evaluation(run.owner, let.code, inner, token).visit(let.code.tree)


def _applied(
    run: Evaluation, name: str, given: Sequence[object], named: Mapping[str, object], token: Token
) -> object:
    if any(part is BROKEN for part in (*given, *named.values())):
        return BROKEN
    function = FUNCTIONS[name]

    def build() -> object:
        values = [operand(part) for part in given]
        options = {key: operand(part) for key, part in named.items()}
        inspect.signature(function).bind(*values, **options)
        return function(*values, **options)

    return run.made(build, token, lambda: f"{name}()")
