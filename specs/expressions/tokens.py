"""Texts: `synonyms` and `one_hot` let a variable be a text with some words exchanged."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import LabelError, ShapeError, SpecError

from ..sets import TokenSet, embedded_tokens, one_hot_tokens
from ..vocabulary import function
from .base import Bindings, Expr, Term
from .domains import Domain, constant_term

__all__ = ["TokenDomain", "one_hot", "synonyms"]


@dataclass(frozen=True, eq=False, repr=False)
class TokenDomain(Domain):
    """The rows of a table (V, D), or of the identity (V, V), at tokens (T,), some of them exchanged."""

    tokens: Term
    table: Term | int
    among: Term | None  # (T, S): what may stand at each position
    thesaurus: Term | None  # (V, S): what may stand for each token
    swaps: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        table = () if isinstance(self.table, int) else (self.table,)
        others = tuple(term for term in (self.among, self.thesaurus) if term is not None)
        return (self.tokens, *table, *others, self.swaps)

    @property
    def text(self) -> str:
        name = "one_hot" if isinstance(self.table, int) else "synonyms"
        table = str(self.table) if isinstance(self.table, int) else self.table.text
        among = "" if self.among is None else f", among={self.among.text}"
        thesaurus = "" if self.thesaurus is None else f", thesaurus={self.thesaurus.text}"
        return f"{name}({self.tokens.text}, {table}{among}{thesaurus}, swaps={self.swaps.text})"

    def build(self, env: Bindings, shape: tuple[int, ...]) -> TokenSet:
        length, size = self.tokens.shape[0], self._size
        width = size if isinstance(self.table, int) else self.table.shape[1]
        if shape != (length, width):
            raise ShapeError(
                f"`{self.text}` has points of shape {(length, width)}, the variable {shape}",
                cure=f"declare the variable with shape {(length, width)}",
            )
        tokens = _whole(self.tokens, env, 0, size)
        choices = self._choices(env, tokens)
        swaps = env.scope.of(self.swaps).to(torch.float64).expand(env.batch)
        if isinstance(self.table, int):
            return one_hot_tokens(size, tokens, choices, swaps, dtype=env.dtype)
        table = env.scope.of(self.table)
        if table.shape[0] != 1:
            raise ShapeError(f"`{self.table.text}` differs between samples", cure="bind one table for all")
        return embedded_tokens(table[0].to(torch.float64), tokens, choices, swaps, dtype=env.dtype)

    @property
    def _size(self) -> int:
        return self.table if isinstance(self.table, int) else self.table.shape[0]

    def _choices(self, env: Bindings, tokens: Tensor) -> Tensor:
        """What may stand at each position, (B, T, S) int64; below 0 for nothing."""
        size = self._size
        if self.among is not None:
            return _whole(self.among, env, -1, size)
        if self.thesaurus is not None:
            rows = _whole(self.thesaurus, env, -1, size)
            return rows[torch.arange(env.batch, device=env.device).unsqueeze(1), tokens]
        return torch.arange(size, device=env.device).expand(*tokens.shape, -1)


@function("synonyms")
def synonyms(
    tokens: object,
    table: object,
    *,
    among: object = None,
    thesaurus: object = None,
    swaps: object = 1,
) -> Domain:
    """Embedded texts (T, D): rows of the table (V, D) at tokens (T,), at most `swaps` positions exchanged.

    among (T, S): the tokens that may stand at each position; thesaurus (V, S): those that may stand for
    each token; -1 for nothing. By default any token of the table may. All are whole numbers, constants or
    Data (bound as floating point numbers); swaps is a number or a Param.
    """
    rows = constant_term("the table", table)
    if len(rows.shape) != 2:
        raise ShapeError(f"the table `{rows.text}` has shape {rows.shape}", cure="give one row per token")
    return _domain(tokens, rows, among, thesaurus, swaps)


@function("one_hot")
def one_hot(
    tokens: object,
    vocabulary: int,
    *,
    among: object = None,
    thesaurus: object = None,
    swaps: object = 1,
) -> Domain:
    """One-hot texts (T, vocabulary): as `synonyms`, with the rows of the identity for a table.

    A network embeds them by a matrix product, and sees the table and what depends on it as weights.
    """
    if isinstance(vocabulary, bool) or not isinstance(vocabulary, int) or vocabulary < 1:
        raise SpecError(f"the vocabulary is {vocabulary!r}", cure="give the number of tokens, an int")
    return _domain(tokens, vocabulary, among, thesaurus, swaps)


def _domain(
    tokens: object, table: Term | int, among: object, thesaurus: object, swaps: object
) -> TokenDomain:
    text, count = constant_term("the tokens", tokens), constant_term("swaps", swaps)
    size = table if isinstance(table, int) else table.shape[0]
    if len(text.shape) != 1:
        raise ShapeError(f"the tokens `{text.text}` have shape {text.shape}", cure="give one per position")
    if count.shape:
        raise ShapeError(f"swaps `{count.text}` has shape {count.shape}", cure="give how many may change")
    if among is not None and thesaurus is not None:
        raise SpecError("both among= and thesaurus= are given", cure="say it once, by position or by token")
    others = []
    for name, value, rows in (("among", among, text.shape[0]), ("thesaurus", thesaurus, size)):
        bound = None if value is None else constant_term(name, value)
        if bound is not None and (len(bound.shape) != 2 or bound.shape[0] != rows):
            raise ShapeError(
                f"{name} `{bound.text}` has shape {bound.shape}", cure=f"give {rows} rows of equal length"
            )
        others.append(bound)
    return TokenDomain(text, table, others[0], others[1], count)


def _whole(term: Term, env: Bindings, least: int, size: int) -> Tensor:
    """A term's tokens (B, *shape) int64; LabelError where one is no whole number in [least, size)."""
    numbers = env.scope.of(term).to(torch.float64).expand(env.batch, *[-1] * len(term.shape))
    bad = ~((numbers >= least) & (numbers < size) & (numbers == numbers.floor()))
    if bool(bad.any()):
        where = tuple(int(i) for i in bad.nonzero()[0])
        raise LabelError(
            f"`{term.text}` is {float(numbers[where]):g} at sample {where[0]}, place {where[1:]}",
            cure=f"give whole numbers from {least} to {size - 1}",
        )
    return numbers.to(torch.int64)
