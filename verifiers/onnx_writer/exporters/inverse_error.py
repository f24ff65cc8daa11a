"""The inverse of the error function, which ONNX lacks: polynomials and one step of Newton's method.

M. Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2012): with w = -log(1 - x^2) the
quotient erfinv(x) / x is a polynomial of w - 5/2 up to w = 5 and of sqrt(w) - 3 from there on, to single
precision. The step z - (erf(z) - x) sqrt(pi) / 2 exp(z^2) then squares the error.
"""

from __future__ import annotations

import math

import torch

from ..call import Call
from ..registry import exporter

__all__: list[str] = []

aten = torch.ops.aten

_CENTRE = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
_TAILS = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)


@exporter(aten.erfinv.default, aten.special_erfinv.default)
def _erfinv(call: Call) -> str:
    x = call.x.name
    product = call.op("Mul", call.op("Sub", 1.0, x), call.op("Add", 1.0, x))
    w = call.op("Neg", call.op("Log", product))
    centre = _polynomial(call, call.op("Sub", w, 2.5), _CENTRE)
    tails = _polynomial(call, call.op("Sub", call.op("Sqrt", w), 3.0), _TAILS)
    z = call.op("Mul", x, call.op("Where", call.op("Less", w, 5.0), centre, tails))
    error = call.op("Sub", call.op("Erf", z), x)
    slope = call.op("Mul", call.op("Exp", call.op("Mul", z, z)), math.sqrt(math.pi) / 2)
    return call.op("Sub", z, call.op("Mul", error, slope))


def _polynomial(call: Call, x: str, coefficients: tuple[float, ...]) -> str:
    """By Horner's scheme, from the highest power on."""
    first, second, *rest = coefficients
    total = call.op("Add", call.op("Mul", x, first), second)
    for coefficient in rest:
        total = call.op("Add", call.op("Mul", total, x), coefficient)
    return total
