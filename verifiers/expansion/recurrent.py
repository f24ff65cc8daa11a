"""Recurrent networks, unrolled over their time steps: RNN, LSTM, GRU and their cells.

Each step has one matrix product for its input and one for the hidden state: one product for the inputs of
all steps together would make backward bounds carry its rows, gates times wider than the input, T times.
Gates with the same function stand side by side, so that one operator computes them. Inside, the batch
axis is in front: x (B, T, F), states (B, H).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from robustbench_local.errors import GraphError, UnsupportedOpError

from ..graph import Computed, Node
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__ = ["Step", "Weights", "gru_step", "lstm_step", "rnn_step", "stacked_steps", "unrolled"]

aten = torch.ops.aten

Step = Callable[["Build", "Weights", Any, "tuple[Any, ...]"], "tuple[Any, ...]"]
"""New states, the output first, from the input's part of the gates (B, gates * H) and the old states.
A state of None is zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """One layer's constants: input (G H, F), hidden (G H, H), biases (G H,) or None."""

    input: Any
    hidden: Any
    input_bias: Any
    hidden_bias: Any


def rnn_step(function: Callable[..., Any]) -> Step:
    """h' = function(W_i x + b_i + W_h h + b_h) (Elman 1990)."""

    def step(build: Build, weights: Weights, part: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        total = _plus(build, part, _linear(build, states[0], weights.hidden, weights.hidden_bias))
        return (build.call(function, total),)

    return step


def lstm_step(build: Build, weights: Weights, part: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
    """c' = f c + i g, h' = o tanh(c') (Hochreiter and Schmidhuber 1997); gates in the order i, f, o, g."""
    h, c = states
    total = _plus(build, part, _linear(build, h, weights.hidden, weights.hidden_bias))
    width = build.shape(total)[1]
    open_gates = build.call(_SIGMOID, build.call(aten.slice.Tensor, total, 1, 0, width // 4 * 3))
    i, f, o = _gates(build, open_gates, 3)
    g = build.call(_TANH, build.call(aten.slice.Tensor, total, 1, width // 4 * 3, width))
    new = build.call(aten.mul.Tensor, i, g)
    if c is not None:
        new = build.call(aten.add.Tensor, build.call(aten.mul.Tensor, f, c), new)
    return build.call(aten.mul.Tensor, o, build.call(_TANH, new)), new


def gru_step(
    build: Build, weights: Weights, part: Any, states: tuple[Any, ...], *, reset_after: bool = True
) -> tuple[Any, ...]:
    """h' = n + z (h - n), n = tanh(x_n + r (W h + b)) (Cho et al. 2014, arXiv 1406.1078); order r, z, n.

    reset_after False: n = tanh(x_n + W (r h) + b), the other common form.
    """
    h = states[0]
    size = build.shape(weights.hidden)[1]
    matrix, bias = weights.hidden, weights.hidden_bias
    part_n = build.call(aten.slice.Tensor, part, 1, 2 * size, 3 * size)
    part_rz = build.call(aten.slice.Tensor, part, 1, 0, 2 * size)
    bias_n = _rows(build, bias, 2 * size, 3 * size)
    if h is not None and reset_after:
        hidden = _linear(build, h, matrix, bias)
        hidden_rz, hidden_n = (
            build.call(aten.slice.Tensor, hidden, 1, *ends) for ends in ((0, 2 * size), (2 * size, 3 * size))
        )
    else:
        hidden_rz = _linear(build, h, _rows(build, matrix, 0, 2 * size), _rows(build, bias, 0, 2 * size))
        hidden_n = bias_n
    r, z = _gates(build, build.call(_SIGMOID, _plus(build, part_rz, hidden_rz)), 2)
    if reset_after:
        inner = None if hidden_n is None else build.call(aten.mul.Tensor, r, hidden_n)
    elif h is None:
        inner = bias_n
    else:
        matrix_n = _rows(build, matrix, 2 * size, 3 * size)
        inner = _linear(build, build.call(aten.mul.Tensor, r, h), matrix_n, bias_n)
    n = build.call(_TANH, _plus(build, part_n, inner))
    if h is None:
        return (build.call(aten.mul.Tensor, n, build.call(aten.rsub.Scalar, z, 1)),)
    return (build.call(aten.lerp.Tensor, n, h, z),)


def unrolled(
    build: Build, step: Step, weights: Weights, x: Any, states: tuple[Any, ...], *, backward: bool
) -> tuple[list[Any], tuple[Any, ...]]:
    """One layer in one direction: the output (B, H) of every time step, and the last states."""
    length = build.shape(x)[1]
    outputs: list[Any] = []
    for t in reversed(range(length)) if backward else range(length):
        part = _linear(build, build.call(aten.select.int, x, 1, t), weights.input, weights.input_bias)
        states = step(build, weights, part, states)
        outputs.append(states[0])
    return outputs[::-1] if backward else outputs, states


def stacked_steps(build: Build, steps: Sequence[Any], axis: int) -> Any:
    """Tensors of equal shape side by side along a new axis."""
    return build.call(aten.stack.default, list(steps), axis)


@expansion(aten.lstm.input)
def _lstm(build: Build, x: Any, hx: Sequence[Any], params: Sequence[Any], *rest: Any) -> Any:
    if _projected(build, hx):
        raise UnsupportedOpError(
            "an LSTM with projections", where=f"node {build.name}", cure="use proj_size=0"
        )
    return _network(build, lstm_step, x, hx, params, *rest)


@expansion(aten.gru.input)
def _gru(build: Build, x: Any, hx: Any, params: Sequence[Any], *rest: Any) -> Any:
    return _network(build, gru_step, x, [hx], params, *rest)


@expansion(aten.rnn_tanh.input)
def _rnn_tanh(build: Build, x: Any, hx: Any, params: Sequence[Any], *rest: Any) -> Any:
    return _network(build, rnn_step(aten.tanh.default), x, [hx], params, *rest)


@expansion(aten.rnn_relu.input)
def _rnn_relu(build: Build, x: Any, hx: Any, params: Sequence[Any], *rest: Any) -> Any:
    return _network(build, rnn_step(aten.relu.default), x, [hx], params, *rest)


@expansion(aten.lstm_cell.default)
def _lstm_cell(build: Build, x: Any, hx: Sequence[Any], w_ih: Any, w_hh: Any, *biases: Any) -> Any:
    return _cell(build, lstm_step, x, hx, w_ih, w_hh, *biases)


@expansion(aten.gru_cell.default)
def _gru_cell(build: Build, x: Any, hx: Any, w_ih: Any, w_hh: Any, *biases: Any) -> Any:
    return _cell(build, gru_step, x, [hx], w_ih, w_hh, *biases)[0]


@expansion(aten.rnn_tanh_cell.default)
def _rnn_tanh_cell(build: Build, x: Any, hx: Any, w_ih: Any, w_hh: Any, *biases: Any) -> Any:
    return _cell(build, rnn_step(aten.tanh.default), x, [hx], w_ih, w_hh, *biases)[0]


@expansion(aten.rnn_relu_cell.default)
def _rnn_relu_cell(build: Build, x: Any, hx: Any, w_ih: Any, w_hh: Any, *biases: Any) -> Any:
    return _cell(build, rnn_step(aten.relu.default), x, [hx], w_ih, w_hh, *biases)[0]


def _cell(build: Build, step: Step, x: Any, hx: Sequence[Any], w_ih: Any, w_hh: Any, *biases: Any) -> Any:
    b_ih, b_hh = (*biases, None, None)[:2]
    states = tuple(None if _is_zero(h) else h for h in hx)
    weights = _arranged(build, step, (w_ih, w_hh, b_ih, b_hh))
    return step(build, weights, _linear(build, x, weights.input, weights.input_bias), states)


def _network(build: Build, step: Step, x: Any, hx: Sequence[Any], params: Sequence[Any], *rest: Any) -> Any:
    """All layers and directions: the output (B, T, D H) and the last states (B, L D, H)."""
    has_biases, layers, _, _, bidirectional, batch_first = rest
    if not batch_first:
        raise GraphError(
            "a recurrent network runs along the batch axis",
            where=f"node {build.name}",
            cure="use batch_first=True, or give it (time, batch, features)",
        )
    directions = 2 if bidirectional else 1
    size = 4 if has_biases else 2
    last: list[tuple[Any, ...]] = []
    for layer in range(layers):
        sides: list[list[Any]] = []
        for direction in range(directions):
            index = layer * directions + direction
            given = [*params[index * size : (index + 1) * size], None, None][:4]
            weights = _arranged(build, step, given)
            states = tuple(_initial(build, h, index) for h in hx)
            outputs, states = unrolled(build, step, weights, x, states, backward=direction == 1)
            sides.append(outputs)
            last.append(states)
        x = stacked_steps(build, sides[0], 1)
        if directions == 2:
            x = build.call(aten.cat.default, [x, stacked_steps(build, sides[1], 1)], 2)
    return x, *(stacked_steps(build, states, 1) for states in zip(*last, strict=True))


_SIGMOID, _TANH = aten.sigmoid.default, aten.tanh.default
_ZEROS = (aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default)


def _arranged(build: Build, step: Step, given: Sequence[Any]) -> Weights:
    """torch's constants as the step takes them: an LSTM's gates i, f, g, o with their like side by side, and
    both biases in one, except where a GRU needs the hidden state's by itself.
    """
    if step is lstm_step:
        given = [c if c is None else _reordered(build, c) for c in given]
    weights = Weights(*given)
    if weights.hidden_bias is None or step is gru_step:
        return weights
    bias = weights.hidden_bias
    if weights.input_bias is not None:
        bias = build.call(aten.add.Tensor, weights.input_bias, bias)
    return Weights(weights.input, weights.hidden, bias, None)


def _reordered(build: Build, constant: Any) -> Any:
    size = build.shape(constant)[0] // 4
    parts = [_rows(build, constant, i * size, (i + 1) * size) for i in (0, 1, 3, 2)]
    return build.call(aten.cat.default, parts)


def _initial(build: Build, h: Any, index: int) -> Any:
    """State number `index` of h: nodes (B, L D, H), constants (L D, 1, H); None for zero."""
    if _is_zero(h):
        return None
    if isinstance(h, Node):
        return build.call(aten.select.int, h, 1, index)
    return build.call(aten.select.int, h, 0, index)


def _is_zero(value: Any) -> bool:
    return value is None or (isinstance(value, Computed) and value.op in _ZEROS)


def _projected(build: Build, hx: Sequence[Any]) -> bool:
    return build.shape(hx[0])[-1] != build.shape(hx[1])[-1]


def _linear(build: Build, x: Any, weight: Any, bias: Any) -> Any:
    """W x + b; b alone for x of None, which is zero."""
    return bias if x is None else build.call(aten.linear.default, x, weight, bias)


def _plus(build: Build, one: Any, other: Any) -> Any:
    return one if other is None else build.call(aten.add.Tensor, one, other)


def _gates(build: Build, total: Any, count: int) -> list[Any]:
    """The parts of gates (B, count * H), or of constants (count * H,)."""
    if total is None:
        return [None] * count
    axis = len(build.shape(total)) - 1
    width = build.shape(total)[axis] // count
    return [build.call(aten.slice.Tensor, total, axis, i * width, (i + 1) * width) for i in range(count)]


def _rows(build: Build, constant: Any, start: int, stop: int) -> Any:
    return None if constant is None else build.call(aten.slice.Tensor, constant, 0, start, stop)
