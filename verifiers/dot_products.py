"""Sums of products in forward mode: terms of the same two symbols are added up before their size is taken.

A quadratic form of a dynamical system, `sum of a_i (P b)_i` as in a Lyapunov condition, is a sum of products
whose factors move together. One product at a time loses that: the sizes of all its terms in two symbols are
added. Of the sum as a whole the terms are known, and most of them cancel (affine arithmetic, Stolfi and de
Figueiredo 1997, "Self-validated numerical methods and applications", with the square of a symbol in [0, 1]).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .forms import Form, Symbols, padded_terms
from .graph import Graph, Node
from .interval import Interval
from .rule import find_rule
from .rules.reduction import Reduce

__all__ = ["dot_form", "dot_numbers", "narrower", "sum_of_products"]

aten = torch.ops.aten

_MOST_EIGENVALUES = 64
_MOST = 2**16  # numbers per sample for the terms in two symbols of one sum


def sum_of_products(graph: Graph, product: Node) -> Node | None:
    """The sum or mean that alone reads an elementwise product or square; None where there is none."""
    readers = graph.consumers[product]
    if len(readers) != 1 or product is graph.output or _factors(product) is None:
        return None
    return readers[0] if isinstance(find_rule(readers[0]), Reduce) else None


def dot_numbers(graph: Graph, symbols: int) -> int:
    """How many numbers per sample `dot_form` holds at most in this graph, with so many symbols."""
    sums = (sum_of_products(graph, node) for node in graph.nodes[1:])
    sizes = [node.numel * symbols**2 for node in sums if node is not None]
    return max((size for size in sizes if size <= _MOST), default=0)


def dot_form(
    graph: Graph, symbols: Symbols, product: Node, forms: Mapping[Node, Form]
) -> tuple[Node, Form] | None:
    """The sum that reads a product, and its form; None where the product stands alone or is too large.

    With u = c + U e + r and v = d + V e + s, symbols e and remainders r, s about zero, a sum over products is
    c d + (c V + d U) e + e U'V e + what remainders add; of e U'V e only the symmetric part counts.
    """
    total = sum_of_products(graph, product)
    factors = _factors(product)
    if total is None or factors is None:
        return None
    u, v = (forms[node] for node in factors)
    if u.terms is None or v.terms is None:
        return None
    count = max(u.terms.shape[1], v.terms.shape[1])
    if total.numel * count**2 > _MOST:
        return None
    batch = symbols.box.lower.shape[0]
    terms = [
        _columns(total, padded_terms(t, count).expand(batch, -1, *t.shape[2:])) for t in (u.terms, v.terms)
    ]
    (c, r), (d, s) = (
        tuple(_columns(total, t.unsqueeze(1)).squeeze(1) for t in form.rest.mid_radius()) for form in (u, v)
    )
    linear = (terms[0] * d.unsqueeze(1) + terms[1] * c.unsqueeze(1)).sum(3)
    sizes = _sizes(symbols, count)[:, :, None, None]
    one, other = terms[0] * sizes, terms[1] * sizes
    low, high = _quadratic(one, other)
    error = one.abs().sum(1) * s + other.abs().sum(1) * r + r * s + c.abs() * s + d.abs() * r
    middle, error = (c * d).sum(2), error.sum(2)
    share = 1 / terms[0].shape[3] if _is_mean(total) else 1.0
    rest = [
        ((middle + part) * share).unflatten(1, total.shape or (1,)) for part in (low - error, high + error)
    ]
    linear = (linear * share).unflatten(2, total.shape or (1,))
    if not total.shape:
        rest, linear = [part.squeeze(1) for part in rest], linear.squeeze(2)
    return total, Form(linear, Interval(rest[0], rest[1]))


def narrower(one: Form, other: Form) -> Form:
    """Of two forms of a node, coordinate by coordinate the one with less remainder; the second where NaN."""
    better = one.rest.upper - one.rest.lower < other.rest.upper - other.rest.lower
    rest = Interval(
        torch.where(better, one.rest.lower, other.rest.lower),
        torch.where(better, one.rest.upper, other.rest.upper),
    )
    if one.terms is None or other.terms is None:
        return other
    count = max(one.terms.shape[1], other.terms.shape[1])
    mine, others = (padded_terms(form.terms, count) for form in (one, other) if form.terms is not None)
    return Form(torch.where(better.unsqueeze(1), mine, others), rest)


def _factors(product: Node) -> tuple[Node, Node] | None:
    """The two factors of an elementwise product of its own shape, or of a square."""
    if product.op is aten.square.default or (
        product.op is aten.pow.Tensor_Scalar and product.argument(1, "exponent") == 2
    ):
        return product.inputs[0], product.inputs[0]
    if product.op is not aten.mul.Tensor or len(product.inputs) != 2:  # by a constant: affine
        return None
    one, other = product.inputs
    return (one, other) if one.shape == other.shape == product.shape else None


def _columns(total: Node, values: Tensor) -> Tensor:
    """Values (B, S, *summed node's shape) as (B, S, sums, summands)."""
    rule = find_rule(total)
    assert isinstance(rule, Reduce)
    axes = [axis + 1 for axis in rule.axes(total)]
    kept = [axis for axis in range(2, values.dim()) if axis not in axes]
    ordered = values.permute(0, 1, *kept, *axes)
    return ordered.reshape(*values.shape[:2], total.numel, -1)


def _is_mean(total: Node) -> bool:
    rule = find_rule(total)
    return isinstance(rule, Reduce) and rule.mean


def _sizes(symbols: Symbols, count: int) -> Tensor:
    """The largest sizes (B, count) of the symbols: those of the input, then ones."""
    box, centre = symbols.box, symbols.centre
    size = torch.maximum(box.upper - centre, centre - box.lower).flatten(1)[:, symbols.live]
    return torch.cat((size, size.new_ones(size.shape[0], count - size.shape[1])), 1)


def _quadratic(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds (B, n) of sum_k (one_k e)(other_k e) for symbols e in [-1, 1]; one, other (B, S, n, k).

    Term by term; and, as no positive semidefinite part is below zero, by the size of the negative part alone,
    which leaves nothing of a convex form.
    """
    products = one.permute(0, 2, 1, 3) @ other.permute(0, 2, 3, 1)
    symmetric = 0.5 * (products + products.transpose(2, 3))
    both = 2 * torch.triu(symmetric, diagonal=1).abs().sum((2, 3))
    square = torch.diagonal(symmetric, dim1=2, dim2=3)
    low, high = square.clamp(max=0).sum(2) - both, square.clamp(min=0).sum(2) + both
    count = symmetric.shape[3]
    known = torch.isfinite(symmetric).all((2, 3))
    if count > _MOST_EIGENVALUES or not bool(known.any()):
        return low, high
    values, vectors = torch.linalg.eigh(torch.where(known[:, :, None, None], symmetric, 0.0))
    sizes = [
        ((vectors * part.clamp(min=0).unsqueeze(2)) @ vectors.transpose(2, 3)).abs().sum((2, 3))
        for part in (-values, values)
    ]
    # eigenvalues are exact for a matrix that differs by some units of rounding of its norm
    slack = 16 * count**2 * torch.finfo(values.dtype).eps * values.abs().amax(2)
    below, above = -(sizes[0] + slack), sizes[1] + slack
    return (
        torch.where(known, torch.maximum(low, below), low),
        torch.where(known, torch.minimum(high, above), high),
    )
