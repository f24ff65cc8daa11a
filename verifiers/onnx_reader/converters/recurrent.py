"""Recurrent layers, unrolled; ONNX has them time-major, with their gates in an order of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...expansion.recurrent import Step, Weights, gru_step, lstm_step, rnn_step, stacked_steps, unrolled
from ..layout import reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten


@converter("LSTM")
def _lstm(op: Operation) -> list[Value]:
    """Gates in the order input, output, forget, cell."""
    if op.constant(7) is not None or op.integer("input_forget", 0):
        raise op.unsupported("with peepholes or coupled gates", "export an LSTM as torch has it")
    _only_usual(op, ["Sigmoid", "Tanh", "Tanh"])
    return _network(op, lstm_step, (0, 2, 1, 3), states=(5, 6))


@converter("GRU")
def _gru(op: Operation) -> list[Value]:
    """Gates in the order update, reset, hidden; the reset gate acts before or after the product."""
    _only_usual(op, ["Sigmoid", "Tanh"])
    after = bool(op.integer("linear_before_reset", 0))
    return _network(op, partial(gru_step, reset_after=after), (1, 0, 2), states=(5,))


@converter("RNN")
def _rnn(op: Operation) -> list[Value]:
    functions = {"Tanh": aten.tanh.default, "Relu": aten.relu.default}
    found = set(_functions(op, ["Tanh"]))
    if len(found) != 1 or not found <= set(functions):
        raise op.unsupported(f"with the activations {sorted(found)}", "use Tanh or Relu")
    _only_usual(op, None)
    return _network(op, rnn_step(functions[found.pop()]), (0,), states=(5,))


def _functions(op: Operation, usual: list[str]) -> list[str]:
    names = op.attributes.get("activations", usual)
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


def _only_usual(op: Operation, usual: list[str] | None) -> None:
    if usual is not None and _functions(op, usual) not in (usual, usual * 2):
        raise op.unsupported(f"with the activations {_functions(op, usual)}", f"use {usual}")
    if "clip" in op.attributes:
        raise op.unsupported("with clipped cells", "export it without")


def _network(op: Operation, step: Step, blocks: Sequence[int], states: Sequence[int]) -> list[Value]:
    """Y and the last states, from X (time, batch, features), or batch first where `layout` says so."""
    first = bool(op.integer("layout", 0))
    x = op.value()
    length, batch = (x.shape[1], x.shape[0]) if first else x.shape[:2]
    if batch != 1:
        raise op.unsupported(f"with a batch of {batch}", "export the network with a batch size of 1")
    lengths = op.constant(4)
    if lengths is not None and bool((lengths != length).any()):
        raise op.unsupported("on sequences that end early", "cut the input to the sequence's length")
    node = reshape(op, x, (1, length, x.shape[2])).node
    size, direction = op.integer("hidden_size", 0), op.text("direction", "forward")
    ways = [False, True] if direction == "bidirectional" else [direction == "reverse"]
    outputs, last = [], []
    for index, backward in enumerate(ways):
        start = tuple(_initial(op, i, index) for i in states)
        weights = _weights(op, index, blocks, size)
        steps, end = unrolled(op.build, step, weights, node, start, backward=backward)
        outputs.append(stacked_steps(op.build, steps, 1))
        last.append(end)
    whole = stacked_steps(op.build, outputs, 2)  # (B, time, directions, hidden)
    count = len(ways)
    results = [_value(op, whole, (1, length, count, size) if first else (length, count, 1, size))]
    for ends in zip(*last, strict=True):
        joined = stacked_steps(op.build, ends, 1)
        results.append(_value(op, joined, (1, count, size) if first else (count, 1, size)))
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
