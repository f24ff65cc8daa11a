"""What every node of the syntax becomes: a part of the language, a number, string or list, or an error."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce

from ..expressions.base import Expr, Formula, Term, term
from ..expressions.comparisons import ArgMax, Rank
from ..expressions.domains import Domain
from ..expressions.leaves import Var
from ..vocabulary import FUNCTIONS
from .calls import call
from .declared import BROKEN, Let
from .evaluation import Evaluation
from .numbers import fold, number
from .operators import BINARY, COMPARISONS, CONNECTIVES, INVERT, MIRRORED, described, operand
from .tokens import NUMBER, Token

__all__ = ["VISITORS"]


def _constant(run: Evaluation, node: ast.Constant) -> object:
    token = run.code.token(node)
    return run.made(lambda: number(token.text), token, str) if token.kind == NUMBER else node.value


def _name(run: Evaluation, node: ast.Name) -> object:
    name, token = node.id, run.code.token(node)
    found = run.found(name)
    if found is not None:
        if isinstance(found, Let):
            return run.fail(f"`{name}` is a `let` with parameters", token, cure=f"write {name}(..)")
        return found
    if name in FUNCTIONS:
        return run.fail(f"`{name}` is a function", token, cure=f"write {name}(..)")
    run.owner.declared.unknown(token, list(run.local))
    return BROKEN


def _unary(run: Evaluation, node: ast.UnaryOp) -> object:
    of, token = run.visit(node.operand), run.code.token(node)
    if of is BROKEN:
        return BROKEN
    if isinstance(node.op, ast.Not | ast.Invert):
        return run.made(lambda: INVERT(operand(of)), token, lambda: f"`not` of {described(of)}")
    if isinstance(of, Fraction | float):
        return of if isinstance(node.op, ast.UAdd) else -of
    sign = operator.pos if isinstance(node.op, ast.UAdd) else operator.neg
    return run.made(lambda: sign(term(operand(of))), token, lambda: f"a sign before {described(of)}")


def _binary(run: Evaluation, node: ast.BinOp) -> object:
    left, right = run.visit(node.left), run.visit(node.right)
    token = run.code.sign_after(node.left)
    if left is BROKEN or right is BROKEN:
        return BROKEN
    if type(node.op) not in BINARY:
        return run.fail(f"{token.shown} is not part of the language", token, "E-PARSE")
    sign, apply = BINARY[type(node.op)]

    def what() -> str:
        return f"`{sign}` does not join {described(left)} and {described(right)}"

    if isinstance(left, Fraction | float) and isinstance(right, Fraction | float):
        first, second = left, right
        return run.made(lambda: fold(sign, first, second), token, what)
    return run.made(lambda: apply(*_operands(left, right)), token, what)


def _connective(run: Evaluation, node: ast.BoolOp) -> object:
    parts = [run.visit(part) for part in node.values]
    if any(part is BROKEN for part in parts):
        return BROKEN
    word, apply = CONNECTIVES[type(node.op)]
    token = run.code.sign_after(node.values[0])

    def what() -> str:
        return f"`{word}` joins formulas or domains, not {' and '.join(map(described, parts))}"

    if not all(isinstance(part, Formula | Domain) for part in parts):
        return run.fail(what(), token)
    return run.made(lambda: reduce(apply, parts), token, what)


def _compare(run: Evaluation, node: ast.Compare) -> object:
    nodes = [node.left, *node.comparators]
    values = [run.visit(part) for part in nodes]
    if any(value is BROKEN for value in values):
        return BROKEN
    signs = [run.code.sign_after(part) for part in nodes[:-1]]
    claims = [
        _pair(run, *parts) for parts in zip(map(type, node.ops), values[:-1], values[1:], signs, strict=True)
    ]
    return BROKEN if any(c is BROKEN for c in claims) else reduce(operator.and_, claims)


def _pair(run: Evaluation, kind: type[ast.cmpop], left: object, right: object, token: Token) -> object:
    if kind not in COMPARISONS:
        return run.fail(f"{token.shown} is not part of the language", token, "E-PARSE")

    def what() -> str:
        return f"{token.shown} does not compare {described(left)} and {described(right)}"

    return run.made(lambda: _compared(kind, left, right), token, what)


def _list(run: Evaluation, node: ast.List | ast.Tuple) -> object:
    items = [run.visit(item) for item in node.elts]
    if any(item is BROKEN for item in items):
        return BROKEN
    return tuple(items) if isinstance(node, ast.Tuple) else items


def _attribute(run: Evaluation, node: ast.Attribute) -> object:
    of = run.visit(node.value)
    token = run.code.at((node.end_col_offset or 0) - len(node.attr.encode()))
    if of is BROKEN:
        return BROKEN
    if isinstance(of, Var) and node.attr in of.names:
        return of[of.names.index(node.attr)]
    known = f"elements: {', '.join(of.names)}" if isinstance(of, Var) and of.names else None
    return run.fail(f"{described(of)} has no `.{node.attr}`", token, "E-NAME", known)


def _index(run: Evaluation, node: ast.Subscript) -> object:
    of = run.visit(node.value)
    many = isinstance(node.slice, ast.Tuple)
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    items = [_item(run, part) for part in parts]
    token = run.code.token(node)
    if of is BROKEN or any(item is BROKEN for item in items):
        return BROKEN
    index = tuple(items) if many else items[0]
    return run.made(lambda: term(operand(of))[index], token, lambda: f"{described(of)} has no elements")


def _item(run: Evaluation, node: ast.expr) -> object:
    if not isinstance(node, ast.Slice):
        return operand(run.visit(node))
    ends = [None if end is None else run.visit(end) for end in (node.lower, node.upper, node.step)]
    if any(end is BROKEN for end in ends):
        return BROKEN
    for end, part in zip(ends, (node.lower, node.upper, node.step), strict=True):
        whole = isinstance(end, Fraction) and end.denominator == 1
        if part is not None and not whole:
            return run.fail("ends of slices are whole numbers", run.code.token(part), "E-INDEX")
    return slice(*(operand(end) for end in ends))


def _operands(left: object, right: object) -> tuple[object, object]:
    """Both operands as the language takes them; numbers beside a term are constant terms."""
    first, second = operand(left), operand(right)
    if isinstance(left, Term):
        return first, second if isinstance(right, Expr) else term(second)
    if isinstance(right, Term):
        return first if isinstance(left, Expr) else term(first), second
    return first, second


def _compared(kind: type[ast.cmpop], left: object, right: object) -> object:
    first, second = operand(left), operand(right)
    if isinstance(right, ArgMax | Rank) and not isinstance(left, ArgMax | Rank):
        return COMPARISONS[MIRRORED[kind]](second, first)
    if isinstance(left, ArgMax | Rank):
        return COMPARISONS[kind](first, second)
    return COMPARISONS[kind](term(first), term(second))


VISITORS: Mapping[type[ast.expr], Callable[..., object]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.BoolOp: _connective,
    ast.Compare: _compare,
    ast.List: _list,
    ast.Tuple: _list,
    ast.Attribute: _attribute,
    ast.Subscript: _index,
    ast.Call: call,
}
"""What evaluates each node of the syntax; of other nodes there is none in the language."""
