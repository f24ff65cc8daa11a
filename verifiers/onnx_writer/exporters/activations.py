"""Functions of one tensor, coordinate by coordinate."""

from __future__ import annotations

import math

import torch

from ..call import Call, Ref
from ..registry import EXPORTERS, Exporter, exporter

__all__: list[str] = []

aten = torch.ops.aten

_PLAIN = {
    aten.abs.default: "Abs",
    aten.acos.default: "Acos",
    aten.acosh.default: "Acosh",
    aten.arccos.default: "Acos",
    aten.arcsin.default: "Asin",
    aten.arcsinh.default: "Asinh",
    aten.arctan.default: "Atan",
    aten.arctanh.default: "Atanh",
    aten.asin.default: "Asin",
    aten.asinh.default: "Asinh",
    aten.atan.default: "Atan",
    aten.atanh.default: "Atanh",
    aten.ceil.default: "Ceil",
    aten.cos.default: "Cos",
    aten.cosh.default: "Cosh",
    aten.erf.default: "Erf",
    aten.exp.default: "Exp",
    aten.floor.default: "Floor",
    aten.isnan.default: "IsNaN",
    aten.isinf.default: "IsInf",
    aten.log.default: "Log",
    aten.neg.default: "Neg",
    aten.reciprocal.default: "Reciprocal",
    aten.relu.default: "Relu",
    aten.round.default: "Round",
    aten.sgn.default: "Sign",
    aten.sigmoid.default: "Sigmoid",
    aten.sign.default: "Sign",
    aten.sin.default: "Sin",
    aten.sinh.default: "Sinh",
    aten.special_erf.default: "Erf",
    aten.special_expit.default: "Sigmoid",
    aten.sqrt.default: "Sqrt",
    aten.tan.default: "Tan",
    aten.tanh.default: "Tanh",
}


def _plain(kind: str) -> Exporter:
    return lambda call: call.op(kind, call.x)


EXPORTERS.update({op: _plain(kind) for op, kind in _PLAIN.items()})


@exporter(aten.leaky_relu.default)
def _leaky_relu(call: Call) -> str:
    return call.op("LeakyRelu", call.x, alpha=float(call.argument(1, "negative_slope", 0.01)))


@exporter(aten.rrelu.default)
def _rrelu(call: Call) -> str:
    """Outside of training: the slope in the middle."""
    low, high = call.argument(1, "lower", 1 / 8), call.argument(2, "upper", 1 / 3)
    return call.op("LeakyRelu", call.x, alpha=(float(low) + float(high)) / 2)


@exporter(aten.elu.default)
def _elu(call: Call) -> str:
    """scale * (max(x, 0) + min(alpha * (exp(input_scale * x) - 1), 0))."""
    alpha, scale, inner = (
        float(call.argument(k, name, 1)) for k, name in ((1, "alpha"), (2, "scale"), (3, "input_scale"))
    )
    if scale == inner == 1:
        return call.op("Elu", call.x, alpha=alpha)
    below = call.op("Min", call.x, 0.0)
    below = call.op("Sub", call.op("Exp", call.op("Mul", below, inner)), 1.0)
    positive = call.op("Mul", call.op("Relu", call.x), scale)
    return call.op("Add", positive, call.op("Mul", below, alpha * scale))


@exporter(aten.selu.default)
def _selu(call: Call) -> str:
    return call.op("Selu", call.x)


@exporter(aten.celu.default)
def _celu(call: Call) -> str:
    """alpha * elu(x / alpha); ONNX's Celu knows float only."""
    alpha = float(call.argument(1, "alpha", 1.0))
    if call.dtype == torch.float32:
        return call.op("Celu", call.x, alpha=alpha)
    return call.op("Mul", call.op("Elu", call.op("Div", call.x, alpha)), alpha)


@exporter(aten.gelu.default)
def _gelu(call: Call) -> str:
    tanh = str(call.argument(1, "approximate", "none")) == "tanh"
    if call.opset >= 20:
        return call.op("Gelu", call.x, approximate="tanh" if tanh else "none")
    if tanh:
        cube = call.op("Mul", call.op("Mul", call.op("Mul", call.x, call.x), call.x), 0.044715)
        inner = call.op("Mul", call.op("Add", call.x, cube), math.sqrt(2 / math.pi))
        share = call.op("Tanh", inner)
    else:
        share = call.op("Erf", call.op("Mul", call.x, math.sqrt(0.5)))
    return call.op("Mul", call.op("Mul", call.x, 0.5), call.op("Add", share, 1.0))


@exporter(aten.silu.default)
def _silu(call: Call) -> str:
    return call.op("Mul", call.x, call.op("Sigmoid", call.x))


@exporter(aten.mish.default)
def _mish(call: Call) -> str:
    if call.opset >= 18:
        return call.op("Mish", call.x)
    return call.op("Mul", call.x, call.op("Tanh", call.op("Softplus", call.x)))


@exporter(aten.softplus.default)
def _softplus(call: Call) -> str:
    """log(1 + exp(beta x)) / beta, and x itself where beta x is above the threshold."""
    beta, threshold = float(call.argument(1, "beta", 1)), float(call.argument(2, "threshold", 20))
    if (beta, threshold) == (1, 20):
        return call.op("Softplus", call.x)
    inner = call.op("Mul", call.x, beta)
    curve = call.op("Div", call.op("Softplus", inner), beta)
    return call.op("Where", call.op("Greater", inner, threshold), call.x, curve)


@exporter(aten.log_sigmoid.default)
def _log_sigmoid(call: Call) -> str:
    return call.op("Neg", call.op("Softplus", call.op("Neg", call.x)))


@exporter(aten.special_ndtr.default)
def _normal_distribution(call: Call) -> str:
    """(1 + erf(x / sqrt(2))) / 2."""
    share = call.op("Erf", call.op("Mul", call.x, math.sqrt(0.5)))
    return call.op("Mul", call.op("Add", share, 1.0), 0.5)


@exporter(aten.log2.default, aten.log10.default)
def _logarithm(call: Call) -> str:
    base = 2 if call.node.op is aten.log2.default else 10
    return call.op("Div", call.op("Log", call.x), math.log(base))


@exporter(aten.log1p.default, aten.special_log1p.default)
def _log1p(call: Call) -> str:
    return call.op("Log", call.op("Add", call.x, 1.0))


@exporter(aten.expm1.default, aten.special_expm1.default)
def _expm1(call: Call) -> str:
    return call.op("Sub", call.op("Exp", call.x), 1.0)


@exporter(aten.exp2.default, aten.special_exp2.default)
def _exp2(call: Call) -> str:
    return call.op("Pow", 2.0, call.x)


@exporter(aten.rsqrt.default)
def _rsqrt(call: Call) -> str:
    return call.op("Reciprocal", call.op("Sqrt", call.x))


@exporter(aten.square.default)
def _square(call: Call) -> str:
    return call.op("Mul", call.x, call.x)


@exporter(aten.logit.default, aten.special_logit.default)
def _logit(call: Call) -> str:
    """log(x / (1 - x)), x cut off to [eps, 1 - eps]."""
    eps, x = call.argument(1, "eps"), call.x.name
    if eps is not None:
        x = call.op("Clip", x, float(eps), 1 - float(eps))
    return call.op("Log", call.op("Div", x, call.op("Sub", 1.0, x)))


@exporter(aten.relu6.default)
def _relu6(call: Call) -> str:
    return call.op("Clip", call.x, 0.0, 6.0)


@exporter(aten.hardtanh.default)
def _hardtanh(call: Call) -> str:
    return call.op("Clip", call.x, *(float(call.argument(k + 1, n, v)) for k, (n, v) in enumerate(_ENDS)))


_ENDS = (("min_val", -1.0), ("max_val", 1.0))


@exporter(aten.hardsigmoid.default)
def _hardsigmoid(call: Call) -> str:
    return call.op("Div", call.op("Clip", call.op("Add", call.x, 3.0), 0.0, 6.0), 6.0)


@exporter(aten.hardswish.default)
def _hardswish(call: Call) -> str:
    if call.opset >= 14:
        return call.op("HardSwish", call.x)
    return call.op("Mul", call.x, _hardsigmoid(call))


@exporter(aten.softshrink.default)
def _softshrink(call: Call) -> str:
    limit = float(call.argument(1, "lambd", 0.5))
    return call.op("Shrink", call.x, lambd=limit, bias=limit)


@exporter(aten.hardshrink.default)
def _hardshrink(call: Call) -> str:
    return call.op("Shrink", call.x, lambd=float(call.argument(1, "lambd", 0.5)), bias=0.0)


@exporter(aten.threshold.default)
def _threshold(call: Call) -> str:
    limit, value = float(call.args[1]), float(call.args[2])
    return call.op("Where", call.op("Greater", call.x, limit), call.x, value)


@exporter(aten.prelu.default)
def _prelu(call: Call) -> str:
    """One slope, or one for each channel."""
    slope = call.args[1]
    if isinstance(slope, Ref):
        raise call.unsupported("with a slope that depends on the input")
    trailing = (1,) * max(0, call.x.rank - 2)
    return call.op("PRelu", call.x, slope.reshape(-1, *trailing) if slope.numel() > 1 else slope.reshape(1))


@exporter(aten.trunc.default, aten.fix.default)
def _trunc(call: Call) -> str:
    return call.op("Mul", call.op("Sign", call.x), call.op("Floor", call.op("Abs", call.x)))


@exporter(aten.frac.default)
def _frac(call: Call) -> str:
    return call.op("Sub", call.x, _trunc(call))


@exporter(aten.heaviside.default)
def _heaviside(call: Call) -> str:
    at_zero = call.op("Where", call.op("Equal", call.x, 0.0), call.real(call.args[1]), 0.0)
    return call.op("Where", call.op("Greater", call.x, 0.0), 1.0, at_zero)
