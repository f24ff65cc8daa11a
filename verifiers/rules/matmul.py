"""Matrix products: with a constant on either side, and of two perturbed tensors.

Two perturbed factors: every product x_mk y_kn lies between McCormick's planes (see `mccormick`), and their
sum over k is pulled back by matrix products alone. The planes' shares t_mkn are means of one share of x_mk
and one of y_kn, which keeps the number of free parameters and of operations that of the factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Computed, Node, Slot
from ..interval import Interval
from ..mccormick import crossing_share, matrix_interval
from ..rule import Affine, Boxes, Pulled, Rule, contract, contract_rows, register
from .arithmetic import aligned, sample_constant, unbroadcast
from .linear import AddMM, MatMul, MatrixProduct

__all__ = ["ConstantFactor", "Form", "MatrixPair", "Shapes", "added_form", "matrix_shapes", "plain_form"]

aten = torch.ops.aten


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """beta * added + alpha * left @ right: each operand a Slot or a constant."""

    left: Any
    right: Any
    added: Any = None
    alpha: float = 1.0
    beta: float = 1.0


def plain_form(node: Node) -> Form:
    """matmul, mm, bmm, mv."""
    return Form(node.args[0], node.args[1])


def added_form(node: Node) -> Form:
    """addmm: the summand comes first."""
    alpha, beta = (float(node.kwargs.get(name, 1)) for name in ("alpha", "beta"))
    return Form(node.args[1], node.args[2], node.args[0], alpha, beta)


@dataclass(frozen=True, slots=True, eq=False)
class Shapes:
    """How one sample's tensors become matrices: leading axes, and which factors are vectors."""

    lead: int
    left_vector: bool
    right_vector: bool

    def left(self, t: Tensor, axes: int) -> Tensor:
        """(*outer, *sample) with `axes` outer axes as (*outer, *lead, m, k)."""
        return self._padded(t.unsqueeze(-2) if self.left_vector else t, axes)

    def right(self, t: Tensor, axes: int) -> Tensor:
        """(*outer, *sample) as (*outer, *lead, k, n)."""
        return self._padded(t.unsqueeze(-1) if self.right_vector else t, axes)

    def product(self, t: Tensor, axes: int) -> Tensor:
        """(*outer, *sample of the result) as (*outer, *lead, m, n)."""
        t = t.unsqueeze(-1) if self.right_vector else t
        return self._padded(t.unsqueeze(-2) if self.left_vector else t, axes)

    def result(self, t: Tensor) -> Tensor:
        """(..., m, n) as the operator's result."""
        t = t.squeeze(-2) if self.left_vector else t
        return t.squeeze(-1) if self.right_vector else t

    def _padded(self, t: Tensor, axes: int) -> Tensor:
        missing = self.lead + 2 - (t.dim() - axes)
        return t.reshape(*t.shape[:axes], *(1,) * missing, *t.shape[axes:]) if missing else t


def matrix_shapes(node: Node, form: Form) -> Shapes:
    """The factors' places; UnsupportedOpError where samples would mix."""
    left, right = (_rank(node, operand) for operand in (form.left, form.right))
    ranks = [r for r, o in ((left, form.left), (right, form.right)) if isinstance(o, Slot)]
    constants = [r for r, o in ((left, form.left), (right, form.right)) if not isinstance(o, Slot)]
    mixing = not ranks or min(ranks) == 0
    mixing |= isinstance(form.right, Slot) and right == 1  # (batch, n): its first axis would be summed over
    mixing |= len(ranks) == 2 and (left != right or left == 1)
    mixing |= any(rank > max(2, *ranks) for rank in constants)
    if mixing:
        raise UnsupportedOpError(
            f"{node.op} mixes the batch axis with others",
            where=f"node {node.name}",
            cure="keep axis 0 for samples in every factor",
        )
    return Shapes(max(0, max(ranks) - 2), left == 1, right == 1)


def _rank(node: Node, operand: Any) -> int:
    """Number of axes of one sample of an operand; a constant's batch axis of length one does not count."""
    return (
        len(node.inputs[operand.index].shape) if isinstance(operand, Slot) else _constant(node, operand).dim()
    )


def _constant(node: Node, value: Tensor | Computed) -> Tensor:
    """A constant factor without a batch axis of length one."""
    tensor = _evaluated(value)
    batched = 2 < tensor.dim() == max(len(p.shape) + 1 for p in node.inputs) and tensor.shape[0] == 1
    return tensor.squeeze(0) if batched else tensor


def _evaluated(value: Tensor | Computed) -> Tensor:
    return value.value() if isinstance(value, Computed) else value


class _MatrixRule(Rule):
    """What products with one and with two perturbed factors share."""

    def __init__(self, form: Callable[[Node], Form]) -> None:
        self.form = form

    def check(self, node: Node) -> None:
        matrix_shapes(node, self.form(node))

    def factors(self, node: Node, inputs: Sequence[Interval], axes: int = 1) -> tuple[Interval, Interval]:
        """Both factors as matrices (*outer, *lead, m, k) and (*outer, *lead, k, n), constants as points."""
        form = self.form(node)
        shapes, like = matrix_shapes(node, form), inputs[0].lower
        found = []
        for operand, place in ((form.left, shapes.left), (form.right, shapes.right)):
            if isinstance(operand, Slot):
                box = inputs[operand.index]
                found.append(Interval(place(box.lower, axes), place(box.upper, axes)))
            else:
                value = place(_constant(node, operand).to(like), 0)
                found.append(Interval(value, value))
        return found[0], found[1]

    def finished(self, node: Node, product: Interval, inputs: Sequence[Interval]) -> Interval:
        """alpha * product, in the operator's shape, plus beta * added."""
        form = self.form(node)
        shapes = matrix_shapes(node, form)
        found = Interval(shapes.result(product.lower), shapes.result(product.upper))
        found = found if form.alpha == 1 else found.scaled(form.alpha)
        if form.added is None:
            return found
        if isinstance(form.added, Slot):
            added = inputs[form.added.index]
        else:
            value = sample_constant(node, form.added, found.lower)
            added = Interval(value, value)
        return found.plus(added if form.beta == 1 else added.scaled(form.beta))

    def pulled(self, node: Node, a: Tensor, left: Tensor | None, right: Tensor | None) -> list[Tensor]:
        """Coefficients of the factors, (B, K, *lead, m, k) and (B, K, *lead, k, n), per input of the node."""
        form = self.form(node)
        found = [a] * len(node.inputs)
        for operand, rows in ((form.left, left), (form.right, right)):
            if isinstance(operand, Slot) and rows is not None:
                shape = node.inputs[operand.index].shape
                whole = (*shape[:-2], *rows.shape[-2:])
                found[operand.index] = unbroadcast(rows, whole).reshape(*rows.shape[:2], *shape)
        if isinstance(form.added, Slot):
            summand = unbroadcast(a, node.inputs[form.added.index].shape)
            found[form.added.index] = summand * form.beta
        return found

    def constant_offset(self, node: Node, a: Tensor) -> Tensor | None:
        """The share of a constant summand, (B or 1, K)."""
        form = self.form(node)
        if form.added is None or isinstance(form.added, Slot):
            return None
        shift = (form.beta * sample_constant(node, form.added, a)).expand(node.shape)
        return contract(a, shift.unsqueeze(0))


class ConstantFactor(_MatrixRule, Affine):
    """A product with one constant factor, on either side, with any leading axes."""

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        (left, right), constant = self.factors(node, inputs), self.form(node).left
        mid, radius = (right if not isinstance(constant, Slot) else left).mid_radius()
        if isinstance(constant, Slot):
            product = Interval.around(mid @ right.lower, radius @ right.lower.abs())
        else:
            product = Interval.around(left.lower @ mid, left.lower.abs() @ radius)
        return self.finished(node, product, inputs)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        form = self.form(node)
        shapes = matrix_shapes(node, form)
        rows = shapes.product(a, 2) * form.alpha
        if isinstance(form.left, Slot):
            constant = shapes.right(_constant(node, form.right).to(a), 0)
            pulled = self.pulled(node, a, rows @ constant.mT, None)
        else:
            constant = shapes.left(_constant(node, form.left).to(a), 0)
            pulled = self.pulled(node, a, None, constant.mT @ rows)
        return Pulled(tuple(pulled), self.constant_offset(node, a))


class MatrixPair(_MatrixRule):
    """A product of two perturbed matrices, as in attention; with a constant factor another rule answers.

    Free: shares of x and of y, below and then above, flat: (B, 2 (|x| + |y|)) with |x| entries per sample;
    the plane of x_mk y_kn has the mean of the two shares of its factors.
    """

    def __init__(self, form: Callable[[Node], Form], quick: MatrixProduct) -> None:
        super().__init__(form)
        self.constant, self.quick = ConstantFactor(form), quick

    def at(self, node: Node) -> Rule:
        form = self.form(node)
        if isinstance(form.left, Slot) and isinstance(form.right, Slot):
            return self
        plain = form.alpha == 1 and form.beta == 1 and not isinstance(form.added, Slot)
        simple = plain and isinstance(form.left, Slot) and _evaluated(form.right).dim() == 2
        return self.quick if simple else self.constant

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return self.finished(node, matrix_interval(*self.factors(node, inputs)), inputs)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        added = self.form(node).added
        if isinstance(added, Slot) and added.index == position:
            return None
        return box.lower < box.upper

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        x, y = self.factors(node, [boxes[p] for p in node.inputs])
        one, other = (crossing_share(box).flatten(1) for box in (x, y))
        return torch.cat((one, other, one, 1 - other), 1)

    def shares(self, x: Interval, y: Interval, free: Tensor | None) -> tuple[Tensor, ...]:
        """Weighted shares of x and y, below and above, (B, R, *lead, m, k) and (B, R, *lead, k, n)."""
        one, other = _weight(x, y), 1 - _weight(x, y)
        if free is None:
            left, right = crossing_share(x), crossing_share(y)
            return one * left, other * right, one * left, other * (1 - right)
        parts = free.split([math.prod(box.lower.shape[2:]) for box in (x, y)] * 2, 2)
        shapes = [box.lower.shape[2:] for box in (x, y)] * 2
        apart = (part.unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True))
        return tuple(weight * part for weight, part in zip((one, other) * 2, apart, strict=True))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        form = self.form(node)
        shapes = matrix_shapes(node, form)
        x, y = self.factors(node, [boxes[p].unsqueeze(1) for p in node.inputs], 2)
        rows = shapes.product(a, 2) * form.alpha
        negative = rows.clamp(max=0)
        left, right, offset = _pull_matrices(x, y, (rows - negative, negative), self.shares(x, y, free))
        constant = self.constant_offset(node, a)
        pulled = self.pulled(node, a, left, right)
        return Pulled(tuple(pulled), offset if constant is None else offset + constant)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        x, y = self.factors(node, [boxes[p].unsqueeze(1) for p in node.inputs], 2)
        dx, dy = self.factors(node, tangents, 2)
        product = matrix_interval(dx, y).plus(matrix_interval(x, dy))
        form = self.form(node)
        shapes = matrix_shapes(node, form)
        found = Interval(shapes.result(product.lower), shapes.result(product.upper)).scaled(form.alpha)
        if isinstance(form.added, Slot):
            found = found.plus(aligned(tangents[form.added.index], len(node.shape)).scaled(form.beta))
        return found

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        x, y = self.factors(node, [boxes[p].unsqueeze(1) for p in node.inputs], 2)
        form = self.form(node)
        shapes = matrix_shapes(node, form)
        a = Interval(shapes.product(rows.lower, 2), shapes.product(rows.upper, 2)).scaled(form.alpha)
        left = matrix_interval(a, Interval(y.lower.mT, y.upper.mT))
        right = matrix_interval(Interval(x.lower.mT, x.upper.mT), a)
        low = self.pulled(node, rows.lower, left.lower, right.lower)
        high = self.pulled(node, rows.upper, left.upper, right.upper)
        return tuple(
            Interval(torch.minimum(*ends), torch.maximum(*ends)) for ends in zip(low, high, strict=True)
        )


@torch.no_grad()
def _weight(x: Interval, y: Interval) -> Tensor:
    """How much the plane's share is that of x: 1 where x has known signs, else 0 where y has, else 1/2.

    One number per sample. The share of a factor that is never negative, say, leaves all slope to the other
    terms: sum_k p_k v_k >= sum_k p_k lv_k + ..., which keeps what is known of p together (attention: sum 1).
    """
    axes = tuple(range(2, x.lower.dim()))
    known = (((b.lower >= 0) | (b.upper <= 0)).all(-1).flatten(2).all(2) for b in (x, y))
    left, right = (k.to(x.lower.dtype).reshape(*k.shape, *(1 for _ in axes)) for k in known)
    return torch.where(left > 0, left, (1 - right) / 2)


def _pull_matrices(
    x: Interval, y: Interval, rows: tuple[Tensor, Tensor], shares: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of x and y, offset (B, K), from positive and negative rows (B, K, ..., m, n)."""
    wide, high = x.upper - x.lower, y.upper - y.lower
    left: list[Tensor] = []
    right: list[Tensor] = []
    total: list[Tensor] = []
    for a, t, s, (near, far, sign) in zip(
        rows, shares[::2], shares[1::2], ((y.lower, y.upper, 1), (y.upper, y.lower, -1)), strict=True
    ):
        left.append(a @ (near + sign * s * high).mT + sign * t * (a @ high.mT))
        right.append((x.lower + t * wide).mT @ a + s * (wide.mT @ a))
        corner = (
            (x.lower - t * x.lower) @ near + (t * x.upper) @ far + x.upper @ (s * far) - x.lower @ (s * near)
        )
        total.append(contract_rows(a, corner))
    return left[0] + left[1], right[0] + right[1], -(total[0] + total[1])


register(aten.matmul.default, aten.linalg_matmul.default, aten.mm.default, aten.mv.default, aten.bmm.default)(
    MatrixPair(plain_form, MatMul())
)
register(aten.addmm.default)(MatrixPair(added_form, AddMM()))
