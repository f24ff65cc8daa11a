"""Steps of recurrent cells with any of ONNX's activations, peepholes, coupled gates and clipping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...builder import Build
from ...expansion.recurrent import Step, Weights
from ..operation import Operation

__all__ = ["Function", "functions_of", "gru_step_of", "lstm_step_of", "rnn_step_of"]

aten = torch.ops.aten

Function = Callable[[Build, Any], Any]
"""An activation on a node of the graph."""


def functions_of(op: Operation, usual: Sequence[str], directions: int) -> list[list[Function]]:
    """The activations of each direction; `usual` are the names where the file gives none.

    clip limits what goes into the gates, as in onnxruntime; not an LSTM's cell on its way out.
    """
    given = op.attributes.get("activations", [*usual] * directions)
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in given]
    alphas = list(op.attributes.get("activation_alpha", []))
    betas = list(op.attributes.get("activation_beta", []))
    found: list[Function] = []
    for name in names:
        kind = _KINDS.get(name.lower())
        if kind is None:
            raise op.unsupported(f"with the activation {name!r}", f"use one of {', '.join(_KINDS)}")
        # as onnxruntime reads them: each activation that has a parameter takes the next one of the list
        alpha = float(alphas.pop(0)) if kind.alpha is not None and alphas else kind.alpha
        beta = float(betas.pop(0)) if kind.beta is not None and betas else kind.beta
        function = kind.make(*(p for p in (alpha, beta) if p is not None))
        found.append(function if len(found) % len(usual) == 2 else _clipped(op, function))
    if len(found) != len(usual) * directions:
        raise op.unsupported(f"with {len(found)} activations", f"{len(usual) * directions} are needed")
    return [found[i * len(usual) : (i + 1) * len(usual)] for i in range(directions)]


def rnn_step_of(functions: Sequence[Function]) -> Step:
    """h' = f(part + R h)."""

    def step(build: Build, weights: Weights, part: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        return (functions[0](build, _plus(build, part, _hidden(build, weights, states[0]))),)

    return step


def lstm_step_of(functions: Sequence[Function], peepholes: Tensor | None, *, coupled: bool) -> Step:
    """Gates in ONNX's order i, o, f, c; peepholes (3 H,) of i, o, f; coupled: f = 1 - i."""
    f, g, h = functions

    def step(build: Build, weights: Weights, part: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        old_h, old_c = states
        total = _plus(build, part, _hidden(build, weights, old_h))
        size = build.shape(total)[1] // 4
        i, o, forget, c = (_part(build, total, k, size) for k in range(4))
        looks = [None] * 3 if peepholes is None else peepholes.split(size)
        i = f(build, _peeped(build, i, old_c, looks[0]))
        new = build.call(aten.mul.Tensor, i, g(build, c))
        if old_c is not None:
            if coupled:
                kept = build.call(aten.rsub.Scalar, i, 1)
            else:
                kept = f(build, _peeped(build, forget, old_c, looks[2]))
            new = build.call(aten.add.Tensor, build.call(aten.mul.Tensor, kept, old_c), new)
        o = f(build, _peeped(build, o, new, looks[1]))
        return build.call(aten.mul.Tensor, o, h(build, new)), new

    return step


def gru_step_of(functions: Sequence[Function], *, after: bool) -> Step:
    """Gates in ONNX's order z, r, h; after: the reset gate acts behind the hidden state's product."""
    f, g = functions

    def step(build: Build, weights: Weights, part: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        old = states[0]
        size = build.shape(weights.hidden)[1]
        matrices, biases = torch.split(weights.hidden, size), _biases(weights, size)
        parts = [_part(build, part, k, size) for k in range(3)]
        hidden = [_product(build, matrices[k], biases[k], old) for k in range(2)]
        z, r = (f(build, _plus(build, parts[k], hidden[k])) for k in range(2))
        if after:
            inner = _product(build, matrices[2], biases[2], old)
            inner = None if inner is None else build.call(aten.mul.Tensor, r, inner)
        else:
            seen = None if old is None else build.call(aten.mul.Tensor, r, old)
            inner = _product(build, matrices[2], biases[2], seen)
        new = g(build, _plus(build, parts[2], inner))
        if old is None:
            return (build.call(aten.mul.Tensor, new, build.call(aten.rsub.Scalar, z, 1)),)
        return (build.call(aten.lerp.Tensor, new, old, z),)

    return step


@dataclass(frozen=True, slots=True)
class _Kind:
    """An activation with its parameters' defaults, None where it has none."""

    make: Callable[..., Function]
    alpha: float | None = None
    beta: float | None = None


def _plain(target: Callable[..., Any], *rest: Any) -> Callable[..., Function]:
    return lambda *parameters: lambda build, x: build.call(target, x, *parameters, *rest)


def _affine(alpha: float, beta: float) -> Function:
    def line(build: Build, x: Any) -> Any:
        return build.call(aten.add.Tensor, build.call(aten.mul.Tensor, x, alpha), beta)

    return line


def _hard_sigmoid(alpha: float, beta: float) -> Function:
    return lambda build, x: build.call(aten.clamp.default, _affine(alpha, beta)(build, x), 0.0, 1.0)


def _scaled_tanh(alpha: float, beta: float) -> Function:
    def scaled(build: Build, x: Any) -> Any:
        inner = build.call(aten.tanh.default, build.call(aten.mul.Tensor, x, beta))
        return build.call(aten.mul.Tensor, inner, alpha)

    return scaled


def _softsign() -> Function:
    def quotient(build: Build, x: Any) -> Any:
        size = build.call(aten.add.Tensor, build.call(aten.abs.default, x), 1.0)
        return build.call(aten.div.Tensor, x, size)

    return quotient


_KINDS = {
    "relu": _Kind(_plain(aten.relu.default)),
    "tanh": _Kind(_plain(aten.tanh.default)),
    "sigmoid": _Kind(_plain(aten.sigmoid.default)),
    "softplus": _Kind(_plain(aten.softplus.default)),
    "softsign": _Kind(_softsign),
    "affine": _Kind(_affine, 1.0, 0.0),
    "leakyrelu": _Kind(_plain(aten.leaky_relu.default), 0.01),
    "thresholdedrelu": _Kind(_plain(aten.threshold.default, 0.0), 1.0),
    "elu": _Kind(_plain(aten.elu.default), 1.0),
    "hardsigmoid": _Kind(_hard_sigmoid, 0.2, 0.5),
    "scaledtanh": _Kind(_scaled_tanh, 1.0, 1.0),
}


def _clipped(op: Operation, function: Function) -> Function:
    """The activation behind the file's limit of what goes into it."""
    limit = op.attributes.get("clip")
    if limit is None:
        return function
    end = float(limit)
    return lambda build, x: function(build, build.call(aten.clamp.default, x, -end, end))


def _hidden(build: Build, weights: Weights, state: Any) -> Any:
    return _product(build, weights.hidden, weights.hidden_bias, state)


def _product(build: Build, matrix: Any, bias: Any, state: Any) -> Any:
    """R h + b; b alone where h is zero."""
    return bias if state is None else build.call(aten.linear.default, state, matrix, bias)


def _biases(weights: Weights, size: int) -> Sequence[Any]:
    return (None,) * 3 if weights.hidden_bias is None else torch.split(weights.hidden_bias, size)


def _plus(build: Build, one: Any, other: Any) -> Any:
    return one if other is None else build.call(aten.add.Tensor, one, other)


def _part(build: Build, total: Any, k: int, size: int) -> Any:
    return build.call(aten.slice.Tensor, total, 1, k * size, (k + 1) * size)


def _peeped(build: Build, gate: Any, cell: Any, weight: Tensor | None) -> Any:
    if weight is None or cell is None:
        return gate
    return build.call(aten.add.Tensor, gate, build.call(aten.mul.Tensor, cell, weight))
