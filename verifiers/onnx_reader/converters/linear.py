"""Matrix products: MatMul and Gemm, as `aten.linear` wherever one factor is a constant matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layout import align, permute, reshape, whole
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten


@converter("MatMul")
def _matmul(op: Operation) -> Value:
    return _product(op, op.operand(0), op.operand(1), None)


@converter("Gemm")
def _gemm(op: Operation) -> Value:
    """alpha * A' B' + beta * C, with A' and B' transposed on demand."""
    alpha, beta = op.number("alpha", 1.0), op.number("beta", 1.0)
    first, second = op.operand(0), op.operand(1)
    first = _transposed(op, first) if op.integer("transA", 0) else first
    second = _transposed(op, second) if op.integer("transB", 0) else second
    shift = op.inputs[2] if len(op.inputs) > 2 else None
    if isinstance(shift, Tensor):
        shift = None if beta == 0 else shift if beta == 1 else shift * beta
    if isinstance(first, Tensor) and alpha != 1:
        first = first * alpha
    elif isinstance(second, Tensor) and alpha != 1:
        second = second * alpha
    bias = None
    if isinstance(first, Value) and isinstance(second, Tensor) and isinstance(shift, Tensor):
        rows, columns = first.shape[0], second.shape[1]
        if shift.numel() in (1, columns) and (rows == 1 or shift.dim() < 2 or shift.shape[0] == 1):
            if shift.numel() == 1 or shift.shape[-1] == columns:
                bias, shift = shift.reshape(-1).expand(columns).contiguous(), None
    result = _product(op, first, second, bias)
    if isinstance(first, Value) and isinstance(second, Value) and alpha != 1:
        result = op.add(aten.mul.Tensor, result, op.scalar(alpha), leading=result.leading)
    if isinstance(shift, Value) and beta != 1:
        shift = op.add(aten.mul.Tensor, shift, op.scalar(beta), leading=shift.leading)
    if shift is None:
        return result
    aligned, leading = align(op, (result, shift))
    return op.add(aten.add.Tensor, *aligned, leading=leading)


def _transposed(op: Operation, operand: Value | Tensor) -> Value | Tensor:
    if isinstance(operand, Tensor):
        return operand.mT
    order = list(range(len(operand.shape)))
    order[-2:] = order[:-3:-1]
    return permute(op, operand, order)


def _product(op: Operation, first: Value | Tensor, second: Value | Tensor, bias: Tensor | None) -> Value:
    """The file's matrix product (numpy's rules) of two operands, at least one of them a value."""
    if isinstance(first, Value) and isinstance(second, Tensor) and _is_matrix(second):
        matrix = second.reshape(second.shape[-2:]) if second.dim() > 1 else second.unsqueeze(1)
        if second.dim() <= max(2, len(first.shape)):
            weight = matrix.mT.contiguous()
            rest = () if bias is None else (bias,)
            result = op.add(aten.linear.default, first, weight, *rest, leading=first.leading)
            return result if second.dim() > 1 else reshape(op, result, result.shape[:-1])
    if isinstance(second, Value) and isinstance(first, Tensor) and _is_matrix(first):
        if first.dim() <= max(2, len(second.shape)):
            return _from_left(op, first, second)
    return _general(op, first, second)


def _is_matrix(constant: Tensor) -> bool:
    return constant.dim() > 0 and all(s == 1 for s in constant.shape[:-2])


def _from_left(op: Operation, first: Tensor, second: Value) -> Value:
    """C x = (x' C')': the constant as a linear layer on the columns of x."""
    matrix = first.reshape(first.shape[-2:]) if first.dim() > 1 else first.unsqueeze(0)
    if len(second.shape) == 1:
        result = op.add(aten.linear.default, second, matrix.contiguous(), leading=second.leading)
        return result if first.dim() > 1 else reshape(op, result, ())
    columns = _transposed(op, second)
    assert isinstance(columns, Value)
    result = op.add(aten.linear.default, columns, matrix.contiguous(), leading=columns.leading)
    back = _transposed(op, result)
    assert isinstance(back, Value)
    if first.dim() > 1:
        return back
    return reshape(op, back, (*back.shape[:-2], back.shape[-1]))


def _general(op: Operation, first: Value | Tensor, second: Value | Tensor) -> Value:
    """Products of two values, or with a stack of constant matrices."""
    rank = max(2, *(len(o.shape) for o in (first, second)))
    left, right = _ranked(op, first, rank, -1), _ranked(op, second, rank, -2)
    values = [o for o in (left, right) if isinstance(o, Value)]
    constants = [o for o in (left, right) if isinstance(o, Tensor)]
    leading = rank > 2 and all(v.leading for v in values) and all(c.shape[0] == 1 for c in constants)
    ready: list[Value | Tensor] = []
    for operand in (left, right):
        if isinstance(operand, Value):
            ready.append(operand if leading else whole(op, operand))
        else:
            ready.append(operand.squeeze(0) if leading else operand)
    result = op.add(aten.matmul.default, *ready, leading=leading)
    shape = list(result.shape)
    if len(second.shape) == 1:
        del shape[-1]
    if len(first.shape) == 1:
        del shape[-1 if len(second.shape) == 1 else -2]
    return result if len(shape) == len(result.shape) else reshape(op, result, shape)


def _ranked(op: Operation, operand: Value | Tensor, rank: int, side: int) -> Value | Tensor:
    """The operand with `rank` axes; a vector is a row (side -1) or a column (side -2)."""
    shape = list(operand.shape)
    if len(shape) == 1:
        shape.insert(0 if side == -1 else 1, 1)
    shape = [1] * (rank - len(shape)) + shape
    return operand.reshape(shape) if isinstance(operand, Tensor) else reshape(op, operand, shape)
