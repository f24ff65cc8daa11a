"""Sums of products of two tensors, as matrix products: einsum, tensordot, bilinear, baddbmm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.einsum.default)
def _einsum(build: Build, equation: str, operands: Sequence[Any], path: Any = None) -> Any:
    """Two at a time: a matrix product between a permutation before and one after."""
    labels, output = _labels(build, equation, operands)
    terms = [_distinct(build, x, names) for x, names in zip(operands, labels, strict=True)]
    if len(terms) == 1:
        x, names = _summed(build, *terms[0], set(output))
        return _ordered(build, x, names, output)
    first = next(i for i, (x, _) in enumerate(terms) if isinstance(x, Node))
    x, names = terms.pop(first)
    while terms:
        other, more = terms.pop(_next(names, terms))
        later = set(output).union(*(n for _, n in terms))
        wanted = "".join(c for c in dict.fromkeys(names + more) if c in later) if terms else output
        one = _summed(build, x, names, later | set(more))
        x, names = _product(build, one, _summed(build, other, more, later | set(names)), wanted), wanted
    return x


def _next(names: str, terms: Sequence[tuple[Any, str]]) -> int:
    """Which operand comes next: constants first, which keep a sum affine and often make it smaller.

    Those that share no axis with the product so far come last.
    """
    apart = [isinstance(x, Node) + 2 * set(names).isdisjoint(letters) for x, letters in terms]
    return apart.index(min(apart))


def _distinct(build: Build, x: Any, names: str) -> tuple[Any, str]:
    """x with the diagonal, as its last axis, of axes that carry the same letter."""
    for c in dict.fromkeys(names):
        while names.count(c) > 1:
            one = names.index(c)
            other = names.index(c, one + 1)
            if one == 0 and isinstance(x, Node):
                raise UnsupportedOpError(
                    "einsum takes a diagonal of the batch axis",
                    where=f"node {build.name}",
                    cure="never mix samples in forward",
                )
            x = build.call(aten.diagonal.default, x, 0, one, other)
            names = names[:one] + names[one + 1 : other] + names[other + 1 :] + c
    return x, names


@expansion(aten.tensordot.default)
def _tensordot(
    build: Build, one: Any, other: Any, dims_self: Sequence[int], dims_other: Sequence[int]
) -> Any:
    left, right = len(build.shape(one)), len(build.shape(other))
    names = [chr(ord("a") + i) for i in range(left)]
    second = [chr(ord("a") + left + i) for i in range(right)]
    for i, j in zip(dims_self, dims_other, strict=True):
        second[j % right] = names[i % left]
    free = [n for n in names if n not in second] + [n for n in second if n not in names]
    equation = f"{''.join(names)},{''.join(second)}->{''.join(free)}"
    return _einsum(build, equation, [one, other])


@expansion(aten.bilinear.default)
def _bilinear(build: Build, one: Any, other: Any, weight: Any, bias: Any = None) -> Any:
    """y_o = x^T W_o z + b_o: one linear layer on x gives the matrix that z is multiplied with."""
    outputs, first, second = build.shape(weight)
    by_output = build.call(aten.permute.default, weight, [0, 2, 1])
    matrix = build.call(aten.reshape.default, by_output, [outputs * second, first])
    inner = build.call(aten.linear.default, one, matrix)
    inner = build.call(aten.reshape.default, inner, [-1, *build.shape(inner)[1:-1], outputs, second])
    column = build.call(aten.reshape.default, other, [*_batch(build, other), *build.shape(other)[1:], 1])
    result = build.call(aten.matmul.default, inner, column)
    result = build.call(aten.reshape.default, result, [-1, *build.shape(result)[1:-1]])
    return result if bias is None else build.call(aten.add.Tensor, result, bias)


@expansion(aten.baddbmm.default)
def _baddbmm(build: Build, x: Any, one: Any, other: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    product = build.call(aten.matmul.default, one, other)
    product = product if alpha == 1 else build.call(aten.mul.Tensor, product, alpha)
    x = x if beta == 1 else build.call(aten.mul.Tensor, x, beta)
    return product if beta == 0 else build.call(aten.add.Tensor, x, product)


def _labels(build: Build, equation: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """The axes' letters of every operand and of the output; an ellipsis becomes letters of its own."""
    left, _, right = equation.replace(" ", "").partition("->")
    ranks = [len(build.shape(x)) for x in operands]
    terms = left.split(",")
    spare = "".join(chr(c) for c in range(0x3B1, 0x3C9))  # Greek letters stand for the ellipsis
    widths = [r - len(t) + 3 for t, r in zip(terms, ranks, strict=True) if "..." in t]
    width = max(widths, default=0)

    def spelled(term: str, rank: int) -> str:
        held = rank - len(term) + 3
        return term.replace("...", spare[width - held : width])

    labels = [spelled(t, r) if "..." in t else t for t, r in zip(terms, ranks, strict=True)]
    if "->" not in equation:
        joined = "".join(labels)
        single = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in spare)
        return labels, spare[:width] + "".join(single)
    return labels, right.replace("...", spare[:width])


def _summed(build: Build, x: Any, names: str, kept: set[str]) -> tuple[Any, str]:
    """x summed over the axes that nothing else names."""
    alone = [i for i, c in enumerate(names) if c not in kept]
    if not alone:
        return x, names
    x = build.call(aten.sum.dim_IntList, x, alone)
    return x, "".join(c for c in names if c in kept)


def _ordered(build: Build, x: Any, names: str, wanted: str) -> Any:
    """x with its axes in the wanted order."""
    order = [names.index(c) for c in wanted]
    return x if order == sorted(order) else build.call(aten.permute.default, x, order)


def _product(build: Build, one: tuple[Any, str], other: tuple[Any, str], output: str) -> Any:
    if not isinstance(one[0], Node):  # the operand that holds the batch axis for sure comes first
        one, other = other, one
    (x, left), (y, right) = one, other
    both = [c for c in left if c in right and c in output]
    inner = [c for c in left if c in right and c not in output]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    sizes = {c: s for n, v in ((left, x), (right, y)) for c, s in zip(n, build.shape(v), strict=True)}
    batch = left[0]
    if batch != output[0] or (isinstance(y, Node) and right[0] != batch):
        raise UnsupportedOpError(
            "einsum moves or mixes the batch axis", where=f"node {build.name}", cure="keep it in front"
        )
    if batch in rows:  # the other operand is constant
        rows.remove(batch)
        both = [batch, *both]
    both = [batch, *(c for c in both if c != batch)]
    k, m, n = (math.prod(sizes[c] for c in group) for group in (inner, rows, columns))
    space = [sizes[c] for c in both[1:]]
    x = _ordered(build, x, left, "".join((*both, *rows, *inner)))
    x = build.call(aten.reshape.default, x, [-1, *space, m, k])
    shared = [c for c in both if c in right]
    if not shared and not isinstance(y, Node):
        y = build.call(aten.reshape.default, _ordered(build, y, right, "".join((*columns, *inner))), [n, k])
        result = build.call(aten.linear.default, x, y)
    else:
        y = _ordered(build, y, right, "".join((*shared, *inner, *columns)))
        ahead = [-1] if isinstance(y, Node) or batch in shared else []
        ones = [sizes[c] if c in right else 1 for c in both[1:]]
        y = build.call(aten.reshape.default, y, [*ahead, *ones, k, n])
        result = build.call(aten.matmul.default, x, y)
    order = [*both, *rows, *columns]
    result = build.call(aten.reshape.default, result, [-1, *(sizes[c] for c in order[1:])])
    return _ordered(build, result, "".join(order), output)


def _batch(build: Build, x: Any) -> list[int]:
    return [-1] if isinstance(x, Node) else [build.shape(x)[0]]
