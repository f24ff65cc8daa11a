"""Recurrent layers, unrolled; ONNX has them time-major, with their gates in an order of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...expansion.recurrent import Step, Weights, gru_step, lstm_step, stacked_steps, unrolled
from ..layout import reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value
from .gates import functions_of, gru_step_of, lstm_step_of, rnn_step_of
from .indexing import joined, pick

__all__: list[str] = []

aten = torch.ops.aten

Steps = Callable[[int], Step]
"""The step of direction 0 or 1."""


@converter("LSTM")
def _lstm(op: Operation) -> list[Value]:
    """Gates in the order input, output, forget, cell."""
    usual, peepholes = ("Sigmoid", "Tanh", "Tanh"), op.constant(7)
    coupled = bool(op.integer("input_forget", 0))
    if _is_usual(op, usual) and peepholes is None and not coupled:
        return _network(op, lambda _: lstm_step, (0, 2, 1, 3), states=(5, 6))
    functions = functions_of(op, usual, _directions(op))

    def step(way: int) -> Step:
        looks = None if peepholes is None else peepholes[way]
        return lstm_step_of(functions[way], looks, coupled=coupled)

    return _network(op, step, (0, 1, 2, 3), states=(5, 6))


@converter("GRU")
def _gru(op: Operation) -> list[Value]:
    """Gates in the order update, reset, hidden; the reset gate acts before or after the product."""
    usual, after = ("Sigmoid", "Tanh"), bool(op.integer("linear_before_reset", 0))
    if _is_usual(op, usual):
        return _network(op, lambda _: partial(gru_step, reset_after=after), (1, 0, 2), states=(5,))
    functions = functions_of(op, usual, _directions(op))
    return _network(op, lambda way: gru_step_of(functions[way], after=after), (0, 1, 2), states=(5,))


@converter("RNN")
def _rnn(op: Operation) -> list[Value]:
    functions = functions_of(op, ("Tanh",), _directions(op))
    return _network(op, lambda way: rnn_step_of(functions[way]), (0,), states=(5,))


def _is_usual(op: Operation, usual: Sequence[str]) -> bool:
    given = op.attributes.get("activations", usual)
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in given]
    return "clip" not in op.attributes and names in ([*usual], [*usual] * 2)


def _directions(op: Operation) -> int:
    return 2 if op.text("direction", "forward") == "bidirectional" else 1


def _network(op: Operation, steps: Steps, blocks: Sequence[int], states: Sequence[int]) -> list[Value]:
    """Y and the last states, from X (time, batch, features), or batch first where `layout` says so."""
    first = bool(op.integer("layout", 0))
    x = op.value()
    batch = x.shape[0 if first else 1]
    if batch == 1:
        return _sequence(op, steps, blocks, states)
    if batch > 256:
        raise op.unsupported(f"with a batch of {batch}", "export the network with a batch size of 1")
    single = [_sequence(_sample(op, k, states), steps, blocks, states) for k in range(batch)]
    axes = (0, 0, 0) if first else (2, 1, 1)
    results = zip(zip(*single, strict=True), axes, strict=False)
    return [joined(op, parts, axis) for parts, axis in results]


def _sample(op: Operation, k: int, states: Sequence[int]) -> Operation:
    """The operator on sample k of a fixed batch."""
    first = bool(op.integer("layout", 0))
    inputs = list(op.inputs)
    for index, axis in ((0, 0 if first else 1), (4, 0), *((i, 0 if first else 1) for i in states)):
        given = inputs[index] if index < len(inputs) else None
        if isinstance(given, Value):
            inputs[index] = pick(op, given, axis, range(k, k + 1))
        elif given is not None:
            inputs[index] = given.narrow(axis, k, 1)
    return replace(op, inputs=inputs)


def _sequence(op: Operation, steps: Steps, blocks: Sequence[int], states: Sequence[int]) -> list[Value]:
    """The layer on a batch of one."""
    first, x = bool(op.integer("layout", 0)), op.value()
    length = x.shape[1] if first else x.shape[0]
    lengths = op.constant(4)
    valid = length if lengths is None else int(lengths.reshape(-1)[0])
    if not 1 <= valid <= length:
        raise op.unsupported(f"on a sequence of {valid} steps", "export it again")
    start = pick(op, reshape(op, x, (1, length, x.shape[2])), 1, range(valid))
    size, direction = op.integer("hidden_size", 0), op.text("direction", "forward")
    ways = [False, True] if direction == "bidirectional" else [direction == "reverse"]
    outputs, last = [], []
    for way, backward in enumerate(ways):
        initial = tuple(_initial(op, i, way) for i in states)
        weights = _weights(op, way, blocks, size)
        found, end = unrolled(op.build, steps(way), weights, start.node, initial, backward=backward)
        outputs.append(stacked_steps(op.build, found, 1))
        last.append(end)
    whole = stacked_steps(op.build, outputs, 2)  # (B, time, directions, hidden)
    if valid < length:  # what follows the sequence is zero
        whole = op.build.call(aten.constant_pad_nd.default, whole, [0, 0, 0, 0, 0, length - valid], 0.0)
    count = len(ways)
    results = [_value(op, whole, (1, length, count, size) if first else (length, count, 1, size))]
    for ends in zip(*last, strict=True):
        together = stacked_steps(op.build, ends, 1)
        results.append(_value(op, together, (1, count, size) if first else (count, 1, size)))
    return results


def _weights(op: Operation, direction: int, blocks: Sequence[int], size: int) -> Weights:
    """One direction's weights with the gates in the order of the step."""

    def ordered(constant: Tensor) -> Tensor:
        parts = constant.split(size)
        return torch.cat([parts[b] for b in blocks])

    biases = op.constant(3)
    both = (None, None) if biases is None else biases[direction].chunk(2)
    return Weights(
        ordered(op.required(1)[direction]),
        ordered(op.required(2)[direction]),
        *(None if b is None else ordered(b) for b in both),
    )


def _initial(op: Operation, index: int, direction: int) -> Any:
    """An initial state (B, hidden); None for zero."""
    given = op.inputs[index] if index < len(op.inputs) else None
    if given is None or (isinstance(given, Tensor) and not bool(given.any())):
        return None
    if isinstance(given, Value):
        count, size = _states(op, given)
        return op.build.call(aten.select.int, reshape(op, given, (1, count, size)).node, 1, direction)
    return given.reshape(-1, given.shape[-1])[direction].unsqueeze(0)


def _states(op: Operation, given: Value) -> tuple[int, int]:
    """Directions and hidden size of a state (directions, 1, hidden) or (1, directions, hidden)."""
    count = given.shape[1] if op.integer("layout", 0) else given.shape[0]
    return count, given.shape[2]


def _value(op: Operation, node: Any, shape: tuple[int, ...]) -> Value:
    return reshape(op, Value(node, (1, *node.shape), True), shape)
