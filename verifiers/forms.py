"""Affine forms: a node's value as a linear function of symbols plus a remainder in an interval.

The first symbols are the input's coordinates, counted from the centre of the input set; further ones, in
[-1, 1], stand for the errors of relaxations that later layers may cancel (zonotope generators, Singh et al.
2018, "Fast and effective robustness certification", NeurIPS). What finds no room for a symbol of its own
stays in the remainder, which affine operators pass on by their interval rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustbench_local.specs import Box, InputSet

from .graph import Node
from .interval import Interval, contract
from .rule import Rule

__all__ = [
    "Form",
    "Symbols",
    "added_terms",
    "affine_image",
    "bilinear_image",
    "constant_where",
    "linear_image",
    "padded_terms",
    "strip_image",
]

_LARGE = 2.0**24


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """value = sum over symbols of terms[:, s] * symbol_s + a remainder within `rest`.

    terms (B or 1, S, *shape), None for zero: the first symbols in the order of `Symbols`, those missing at
    the end have the factor zero. rest (B or 1, *shape).
    """

    terms: Tensor | None
    rest: Interval


@dataclass(slots=True, eq=False)
class Symbols:
    """The symbols of one batch of input sets: those of the input, and how many errors each sample has.

    `limit` caps the errors of a sample; used (B,) counts them. A local record of one propagation.
    """

    inputs: InputSet
    box: Interval
    limit: int
    centre: Tensor = field(init=False)
    live: Tensor = field(init=False)
    used: Tensor = field(init=False)

    def __post_init__(self) -> None:
        like = self.box.lower
        middle, radius = self.box.mid_radius()
        straight = isinstance(self.inputs, Box)
        self.centre = middle if straight else self.inputs.centre().to(like)
        moving = radius.flatten(1).gt(0).any(0) if straight else radius.new_ones(radius[0].numel()) > 0
        self.live = moving.nonzero().squeeze(1)
        self.used = torch.zeros(like.shape[0], dtype=torch.long, device=like.device)

    def start(self) -> Form:
        """The form of the input itself; the same for all samples but for the centre."""
        like = self.box.lower
        if self.live.shape[0] == 0:  # points
            return Form(None, Interval(self.centre, self.centre))
        terms = torch.zeros(1, self.live.shape[0], like[0].numel(), dtype=like.dtype, device=like.device)
        terms[0, torch.arange(self.live.shape[0], device=like.device), self.live] = 1
        return Form(terms.reshape(1, -1, *like.shape[1:]), Interval(self.centre, self.centre))

    def spread(self, terms: Tensor) -> Interval:
        """Bounds (B, n) of the symbols' part, for terms (B or 1, S, n)."""
        count = self.live.shape[0]
        first, errors = terms[:, :count], terms[:, count:].abs().sum(1)
        if isinstance(self.inputs, Box):
            radius = self.box.mid_radius()[1].flatten(1)[:, self.live]
            size = (radius.unsqueeze(1) @ first.abs()).squeeze(1) + errors
            return Interval(-size, size)
        rows = first.transpose(1, 2).unflatten(2, self.inputs.shape)
        shift = contract(rows, self.centre)
        high = self.inputs.support(rows) - shift + errors
        return Interval(-self.inputs.support(-rows) - shift - errors, high)

    def concrete(self, form: Form) -> Interval:
        """Elementwise bounds of a form, (B, *shape)."""
        shape = (self.box.lower.shape[0], *form.rest.lower.shape[1:])
        if form.terms is None:
            return Interval(form.rest.lower.expand(shape), form.rest.upper.expand(shape))
        part = self.spread(form.terms.flatten(2) if form.terms.dim() > 2 else form.terms.unsqueeze(2))
        lower, upper = part.lower.reshape(shape), part.upper.reshape(shape)
        return Interval(lower + form.rest.lower, upper + form.rest.upper)

    def named(self, form: Form) -> Form:
        """The form with symbols for the widest remainders, as far as the limit allows."""
        room = int((self.limit - self.used).max())
        if room <= 0:
            return form
        middle = torch.lerp(form.rest.lower, form.rest.upper, 0.5)
        radius = torch.maximum(form.rest.upper - middle, middle - form.rest.lower).reshape(len(self.used), -1)
        widest, place = radius.topk(min(room, radius.shape[1]), dim=1)
        rank = torch.arange(widest.shape[1], device=widest.device)
        valid = (widest > 0) & (rank + self.used.unsqueeze(1) < self.limit)
        if not bool(valid.any()):
            return form
        column = torch.where(valid, rank + self.used.unsqueeze(1), 0)
        errors = radius.new_zeros(len(self.used), int(column.max()) + 1, radius.shape[1])
        samples = torch.arange(len(self.used), device=widest.device).unsqueeze(1).expand_as(place)
        errors = errors.index_put((samples, column, place), torch.where(valid, widest, 0), accumulate=True)
        gone = torch.zeros_like(radius, dtype=torch.bool).scatter(1, place, valid).reshape(middle.shape)
        self.used = self.used + valid.sum(1)
        rest = Interval(
            torch.where(gone, middle, form.rest.lower), torch.where(gone, middle, form.rest.upper)
        )
        errors = errors.reshape(*errors.shape[:2], *middle.shape[1:])
        ahead = errors.new_zeros(1, self.live.shape[0], *middle.shape[1:])
        errors = torch.cat((ahead.expand(len(self.used), *ahead.shape[1:]), errors), 1)
        return Form(errors if form.terms is None else added_terms(form.terms, errors), rest)


def affine_image(rule: Rule, node: Node, forms: Sequence[Form]) -> Form:
    """The form of an affine node, by the rule's intervals: of the remainders, and of points for the terms.

    The linear part is the value at large multiples of the terms minus that at zero. The multiple is a power
    of two, so that it rounds nothing, and makes the rounding of the constant part small. (The rule knows the
    map, the operator may not: a logical "not" is 1 - x.)
    """
    rest = rule.interval(node, *(form.rest for form in forms))
    given = [form.terms for form in forms if form.terms is not None]
    if not given:
        return Form(None, rest)
    batch, count = max(t.shape[0] for t in given), max(t.shape[1] for t in given)
    tangents = []
    for form, parent in zip(forms, node.inputs, strict=True):
        terms = given[0].new_zeros(1, 1, *parent.shape) if form.terms is None else form.terms
        tangents.append(padded_terms(terms, count).expand(batch, count, *parent.shape).flatten(0, 1))
    zeros, large = ([t.new_zeros(1, *t.shape[1:]) for t in tangents], [t * _LARGE for t in tangents])
    origin, image = (rule.interval(node, *(Interval(t, t) for t in ts)).lower for ts in (zeros, large))
    return Form(((image - origin) / _LARGE).unflatten(0, (batch, count)), rest)


def strip_image(form: Form, slope: Tensor, low: Tensor, high: Tensor) -> Form:
    """The form of f(x) where slope * x + low <= f(x) <= slope * x + high; all (B, *shape)."""
    one, other = slope * form.rest.lower, slope * form.rest.upper
    rest = Interval(torch.minimum(one, other) + low, torch.maximum(one, other) + high)
    return Form(None if form.terms is None else form.terms * slope.unsqueeze(1), rest)


def bilinear_image(node: Node, forms: Sequence[Form], boxes: Sequence[Interval]) -> Form:
    """The form of a product-like node y = f(u, v) with non-negative weights (mul, matmul).

    f(u, v) = f(m, v) + f(u, n) - f(m, n) + f(u - m, v - n) about the boxes' middles m and n; the last part
    lies within plus or minus f of the radii.
    """
    (m, r), (n, q) = (box.mid_radius() for box in boxes)
    left = _factor(node, forms[0], n, first=True)
    right = _factor(node, forms[1], m, first=False)
    error = node.run(r, q)
    middle = node.run(m, n)
    rest = Interval(
        left.rest.lower + right.rest.lower - middle - error,
        left.rest.upper + right.rest.upper - middle + error,
    )
    terms = [form.terms for form in (left, right) if form.terms is not None]
    return Form(None if not terms else terms[0] if len(terms) == 1 else added_terms(*terms), rest)


def _factor(node: Node, form: Form, constant: Tensor, *, first: bool) -> Form:
    """The form of f(u, constant), or of f(constant, u); constant (B, *its shape)."""

    def run(u: Tensor, c: Tensor) -> Tensor:
        return node.run(u, c) if first else node.run(c, u)

    middle, radius = form.rest.mid_radius()
    rest = Interval.around(run(middle, constant), run(radius, constant.abs()))
    if form.terms is None:
        return Form(None, rest)
    batch, count = constant.shape[0], form.terms.shape[1]
    many = constant.unsqueeze(1).expand(batch, count, *constant.shape[1:]).flatten(0, 1)
    terms = form.terms.expand(batch, *form.terms.shape[1:]).flatten(0, 1)
    return Form(run(terms, many).unflatten(0, (batch, count)), rest)


def linear_image(
    forms: Sequence[Form], planes: Sequence[Tensor], low: Tensor, high: Tensor, shape: tuple[int, ...]
) -> Form:
    """The form of y with sum A_i x_i + low <= y <= sum A_i x_i + high; A_i (B or 1, n, *x_i's shape)."""
    terms: Tensor | None = None
    for form, plane in zip(forms, planes, strict=True):
        flat = plane.flatten(2) if plane.dim() > 2 else plane.unsqueeze(2)
        low = low + form.rest.minimum(plane)
        high = high - form.rest.minimum(-plane)
        if form.terms is not None:
            own = form.terms.flatten(2) if form.terms.dim() > 2 else form.terms.unsqueeze(2)
            part = own @ flat.transpose(1, 2)
            terms = part if terms is None else added_terms(terms, part)
    rest = Interval(
        low.unflatten(1, shape) if shape else low.squeeze(1),
        high.unflatten(1, shape) if shape else high.squeeze(1),
    )
    if terms is not None:
        terms = terms.unflatten(2, shape) if shape else terms.squeeze(2)
    return Form(terms, rest)


def constant_where(form: Form, box: Interval) -> Form:
    """The form, replaced by its interval bounds in the coordinates where its remainder is as wide."""
    keep = form.rest.upper - form.rest.lower < box.upper - box.lower
    rest = Interval(
        torch.where(keep, form.rest.lower, box.lower), torch.where(keep, form.rest.upper, box.upper)
    )
    terms = None if form.terms is None else torch.where(keep.unsqueeze(1), form.terms, 0)
    return replace(form, terms=terms, rest=rest)


def added_terms(one: Tensor, other: Tensor) -> Tensor:
    """The sum of terms (B or 1, S, *shape), of which one may know fewer symbols."""
    count = max(one.shape[1], other.shape[1])
    return padded_terms(one, count) + padded_terms(other, count)


def padded_terms(terms: Tensor, count: int) -> Tensor:
    """Terms (B, S, *shape) with zeros for the symbols up to `count`."""
    missing = count - terms.shape[1]
    if missing == 0:
        return terms
    zeros = terms.new_zeros(terms.shape[0], missing, *terms.shape[2:])
    return torch.cat((terms, zeros), 1)
