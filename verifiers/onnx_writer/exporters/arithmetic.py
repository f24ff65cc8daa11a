"""Sums, products, powers, extremes of several tensors, and choices between them."""

from __future__ import annotations

import torch

from ...rules.centred import centred
from ...rules.inverse_deviation import inverse_deviation
from ...rules.normalised import normalised
from ..call import Call, Operand, Ref
from ..registry import EXPORTERS, Exporter, exporter

__all__: list[str] = []

aten = torch.ops.aten


@exporter(aten.add.Tensor, aten.add.Scalar)
def _add(call: Call) -> str:
    return call.op("Add", call.real(call.args[0]), _scaled(call, call.args[1], call.argument(2, "alpha", 1)))


@exporter(aten.sub.Tensor, aten.sub.Scalar)
def _sub(call: Call) -> str:
    return call.op("Sub", call.real(call.args[0]), _scaled(call, call.args[1], call.argument(2, "alpha", 1)))


@exporter(aten.rsub.Scalar, aten.rsub.Tensor)
def _rsub(call: Call) -> str:
    return call.op("Sub", call.real(call.args[1]), _scaled(call, call.args[0], call.argument(2, "alpha", 1)))


def _scaled(call: Call, operand: Operand, factor: float) -> str:
    name = call.real(operand)
    return name if factor == 1 else call.op("Mul", name, call.real(factor))


_BINARY = {
    "Mul": (aten.mul.Tensor, aten.mul.Scalar, aten.multiply.Tensor),
    "Div": (aten.div.Tensor, aten.div.Scalar, aten.divide.Tensor, aten.true_divide.Tensor),
    "Max": (aten.maximum.default, aten.max.other, aten.fmax.default),
    "Min": (aten.minimum.default, aten.min.other, aten.fmin.default),
    "Pow": (aten.pow.Tensor_Tensor, aten.pow.Tensor_Scalar, aten.pow.Scalar),
}


def _binary(kind: str) -> Exporter:
    return lambda call: call.op(kind, call.real(call.args[0]), call.real(call.args[1]))


for _kind, _operators in _BINARY.items():
    EXPORTERS.update({op: _binary(_kind) for op in _operators})


@exporter(aten.fmod.Tensor, aten.fmod.Scalar)
def _fmod(call: Call) -> str:
    """With the sign of the dividend."""
    return call.op("Mod", call.real(call.args[0]), call.real(call.args[1]), fmod=1)


@exporter(aten.remainder.Tensor, aten.remainder.Scalar)
def _remainder(call: Call) -> str:
    """With the sign of the divisor, which is added where that of the dividend is the other one."""
    divisor = call.real(call.args[1])
    rest = call.op("Mod", call.real(call.args[0]), divisor, fmod=1)
    other = call.op("Less", call.op("Mul", call.op("Sign", rest), call.op("Sign", divisor)), 0.0)
    return call.op("Where", other, call.op("Add", rest, divisor), rest)


@exporter(aten.lerp.Tensor, aten.lerp.Scalar)
def _lerp(call: Call) -> str:
    """start + weight * (end - start)."""
    start, end, weight = (call.real(a) for a in call.args)
    return call.op("Add", start, call.op("Mul", weight, call.op("Sub", end, start)))


@exporter(aten.clamp.default, aten.clip.default, aten.clamp_min.default, aten.clamp_max.default)
def _clamp(call: Call) -> str:
    low, high = _ends(call, aten.clamp_max.default)
    return call.op("Clip", call.x, *(None if end is None else call.real(end) for end in (low, high)))


@exporter(aten.clamp.Tensor, aten.clip.Tensor, aten.clamp_min.Tensor, aten.clamp_max.Tensor)
def _clamp_tensor(call: Call) -> str:
    low, high = _ends(call, aten.clamp_max.Tensor)
    name = call.real(call.x)
    name = name if low is None else call.op("Max", name, call.real(low))
    return name if high is None else call.op("Min", name, call.real(high))


def _ends(call: Call, only_high: object) -> tuple[Operand | None, Operand | None]:
    if call.node.op is only_high:
        return None, call.argument(1, "max")
    return call.argument(1, "min"), call.argument(2, "max")


_COMPARISONS = {
    "Greater": (aten.gt.Scalar, aten.gt.Tensor),
    "GreaterOrEqual": (aten.ge.Scalar, aten.ge.Tensor),
    "Less": (aten.lt.Scalar, aten.lt.Tensor),
    "LessOrEqual": (aten.le.Scalar, aten.le.Tensor),
    "Equal": (aten.eq.Scalar, aten.eq.Tensor),
    "NotEqual": (aten.ne.Scalar, aten.ne.Tensor),
}


def _comparison(kind: str) -> Exporter:
    def export(call: Call) -> str:
        dtypes = [a.dtype for a in call.args[:2] if isinstance(a, (Ref, torch.Tensor))]
        common = dtypes[0]
        for dtype in dtypes[1:]:
            common = torch.promote_types(common, dtype)
        if common == torch.bool:  # a comparison of truth values, or of one with a number
            common = torch.int64
        if not common.is_floating_point and any(isinstance(a, float) for a in call.args):
            common = torch.float32
        names = [call.real(a, common) for a in call.args[:2]]
        if kind == "NotEqual":
            return call.op("Not", call.op("Equal", *names))
        return call.op(kind, *names)

    return export


for _kind, _operators in _COMPARISONS.items():
    EXPORTERS.update({op: _comparison(_kind) for op in _operators})

_LOGICAL = {
    "And": (aten.logical_and.default, aten.bitwise_and.Tensor, aten.__and__.Tensor),
    "Or": (aten.logical_or.default, aten.bitwise_or.Tensor, aten.__or__.Tensor),
    "Xor": (aten.logical_xor.default,),
}


def _logical(kind: str) -> Exporter:
    def export(call: Call) -> str:
        if call.dtype != torch.bool:
            raise call.unsupported("of whole numbers")
        return call.op(kind, *(call.real(a) for a in call.args[:2]))

    return export


for _kind, _operators in _LOGICAL.items():
    EXPORTERS.update({op: _logical(_kind) for op in _operators})


@exporter(aten.logical_not.default, aten.bitwise_not.default)
def _not(call: Call) -> str:
    if call.dtype != torch.bool:
        raise call.unsupported("of whole numbers")
    return call.op("Not", call.real(call.x))


@exporter(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf)
def _where(call: Call) -> str:
    condition, yes, no = call.args
    return call.op("Where", call.real(condition, torch.bool), call.real(yes), call.real(no))


@exporter(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def _masked_fill(call: Call) -> str:
    value, mask, fill = call.args
    return call.op("Where", call.real(mask, torch.bool), call.real(fill), call.real(value))


@exporter(centred)
def _centred(call: Call) -> str:
    """x - mean of x along axes."""
    return call.op("Sub", call.x, call.reduced("ReduceMean", call.x.name, call.args[1], keepdims=True))


@exporter(inverse_deviation)
def _inverse_deviation(call: Call) -> str:
    """1 / sqrt(max(v, 0) + eps)."""
    variance = call.op("Add", call.op("Relu", call.x), float(call.args[1]))
    return call.op("Reciprocal", call.op("Sqrt", variance))


@exporter(normalised)
def _normalised(call: Call) -> str:
    """The product of a deviation and its rate."""
    return call.op("Mul", call.real(call.args[0]), call.real(call.args[1]))
