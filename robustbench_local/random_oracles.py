"""The worst point of a small piecewise linear problem by mixed-integer programming, with HiGHS through scipy.

The layers are encoded one by one as the textbook has it (Tjeng, Xiao and Tedrake 2019, arXiv 1711.07356): a
binary number for every kink that plain interval arithmetic leaves open. Nothing is shared with the verifiers
that this judges, and nothing is taken on trust: a solution is a point, and only the point's exact violation
counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn

from robustbench_local.specs import Ball, Box, InputSet, Query, Union

from .random_networks import Layer, RandomNetwork, build_layer

__all__ = ["milp_points"]

Indices = NDArray[np.int64]
_SECONDS = 5.0  # of one program: they take milliseconds


def milp_points(query: Query) -> list[Tensor]:
    """Candidates (B, *in) for the points of the largest violation, in the sets; none where the network is not
    piecewise linear or a set no polytope. The best one is the worst point, up to the solver's tolerance.
    """
    network = query.network
    if not isinstance(network, RandomNetwork) or not _linear_pieces(network.layers):
        return []
    members = list(query.inputs.members) if isinstance(query.inputs, Union) else [query.inputs]
    if not all(isinstance(m, Box) or (isinstance(m, Ball) and m.p in (1, math.inf)) for m in members):
        return []
    clauses = query.clauses()
    found = []
    for member in members:
        for C, d in clauses:
            rows = [_worst(network, member, C[b], d[b], b) for b in range(query.batch)]
            points = torch.stack(rows).reshape(query.batch, *query.inputs.shape).to(query.inputs.dtype)
            found.append(query.inputs.project(points))
    return found


def _linear_pieces(layers: tuple[Layer, ...]) -> bool:
    known = {*_AFFINE, *_BENT, "residual", "flatten", "max_pool2d"}
    return all(one.kind in known and all(map(_linear_pieces, one.branches)) for one in layers)


def _worst(network: RandomNetwork, inputs: InputSet, C: Tensor, d: Tensor, b: int) -> Tensor:
    """The point (n,) of set b at which the smallest of the rows C y + d is the largest; its centre if the
    solver finds none.
    """
    program = _Program()
    x = _set(program, inputs, b)
    body = next(network.body.children())  # the chain of the layers
    y = _chain(program, body, network.layers, x.reshape(network.input_shape)).reshape(-1)
    least = program.variables(np.array([-1e6]), np.array([1e6]))[0]
    for row, constant in zip(C.numpy(), d.tolist(), strict=True):
        program.row([int(least), *y.tolist()], [1.0, *(-row)], -np.inf, constant)
    found = program.maximised(int(least))
    centre = inputs.centre()[b].reshape(-1).double()
    return centre if found is None else torch.from_numpy(found[x])


def _set(program: _Program, inputs: InputSet, b: int) -> Indices:
    box = inputs.box()
    low, high = (end[b].reshape(-1).double().numpy() for end in (box.lower, box.upper))
    x = program.variables(low, high)
    if isinstance(inputs, Ball) and inputs.p == 1:
        radius = float(inputs.radius.reshape(-1)[b if inputs.radius.numel() > 1 else 0])
        centre = inputs.centre()[b].reshape(-1).double().numpy()
        away = program.variables(np.zeros_like(low), np.full_like(low, radius))
        for at, far, c in zip(x, away, centre, strict=True):
            program.row([at, far], [1.0, -1.0], -np.inf, c)
            program.row([at, far], [1.0, 1.0], c, np.inf)
        program.row(list(away), [1.0] * len(away), -np.inf, radius)
    return x


@dataclass
class _Program:
    """Variables with bounds, some of them 0 or 1, and linear constraints."""

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    rows: list[tuple[list[int], list[float], float, float]] = field(default_factory=list)

    def variables(
        self, low: NDArray[np.float64], high: NDArray[np.float64], *, whole: bool = False
    ) -> Indices:
        """New variables within these bounds."""
        start = len(self.low)
        self.low += low.tolist()
        self.high += high.tolist()
        self.whole += [int(whole)] * len(low)
        return np.arange(start, len(self.low))

    def row(self, places: list[int], values: list[float], low: float, high: float) -> None:
        """low <= the sum of values times variables <= high."""
        self.rows.append((list(places), [float(v) for v in values], low, high))

    def affine(self, weight: NDArray[np.float64], bias: NDArray[np.float64], x: Indices) -> Indices:
        """Variables y = weight x + bias."""
        low, high = np.array(self.low)[x], np.array(self.high)[x]
        up, down = weight.clip(min=0), weight.clip(max=0)
        slack = 1e-9 * (1 + np.abs(weight) @ np.maximum(np.abs(low), np.abs(high)))
        y = self.variables(up @ low + down @ high + bias - slack, up @ high + down @ low + bias + slack)
        for one, row, constant in zip(y, weight, bias, strict=True):
            self.row([one, *x.tolist()], [1.0, *(-row)], constant, constant)
        return y

    def relu(self, x: Indices) -> Indices:
        """Variables max(x, 0)."""
        low, high = np.array(self.low)[x], np.array(self.high)[x]
        y = self.variables(low.clip(min=0), high.clip(min=0))
        on = self.variables(np.zeros(len(x)), np.ones(len(x)), whole=True)
        for one, at, z, least, most in zip(y, x, on, low, high, strict=True):
            self.row([one, at], [1.0, -1.0], 0.0, np.inf)
            self.row([one, at, z], [1.0, -1.0, -min(least, 0.0)], -np.inf, -min(least, 0.0))
            self.row([one, z], [1.0, -max(most, 0.0)], -np.inf, 0.0)
        return y

    def largest(self, groups: list[Indices]) -> Indices:
        """Variables that are the largest of each group's."""
        found = []
        for group in groups:
            low, high = np.array(self.low)[group], np.array(self.high)[group]
            y = int(self.variables(low.max(keepdims=True), high.max(keepdims=True))[0])
            chosen = self.variables(np.zeros(len(group)), np.ones(len(group)), whole=True)
            self.row(list(chosen), [1.0] * len(group), 1.0, 1.0)
            for at, z, least in zip(group, chosen, low, strict=True):
                gap = float(high.max() - least)
                self.row([y, at], [1.0, -1.0], 0.0, np.inf)
                self.row([y, at, z], [1.0, -1.0, gap], -np.inf, gap)
            found.append(y)
        return np.array(found)

    def maximised(self, place: int) -> NDArray[np.float64] | None:
        """The variables where the one at `place` is the largest; None where the solver has no solution."""
        matrix = np.zeros((len(self.rows), len(self.low)))
        for number, (places, values, _, _) in enumerate(self.rows):
            np.add.at(matrix[number], places, values)
        sense = np.zeros(len(self.low))
        sense[place] = -1.0
        least, most = (np.array([row[end] for row in self.rows]) for end in (2, 3))
        low, high = np.array(self.low), np.array(self.high)
        solved = milp(
            sense,
            integrality=np.array(self.whole),
            bounds=Bounds(low, high),  # pyright: ignore[reportArgumentType]  (arrays are fine)
            constraints=LinearConstraint(matrix, least, most),  # pyright: ignore[reportArgumentType]
            options={"time_limit": _SECONDS, "mip_rel_gap": 0.0},
        )
        return None if solved.x is None else np.asarray(solved.x)


def _chain(program: _Program, body: nn.Module, layers: tuple[Layer, ...], x: Indices) -> Indices:
    """Variables of the layers' result; indices have the shapes of a sample."""
    for module, layer in zip(body.children(), layers, strict=True):
        x = _layer(program, module, layer, x)
    return x


def _layer(program: _Program, module: nn.Module, layer: Layer, x: Indices) -> Indices:
    if layer.kind == "flatten":
        return x.reshape(-1)
    if layer.kind == "residual":
        branch = _chain(program, next(module.children()), layer.branches[0], x)
        both = np.concatenate([x.reshape(-1), branch.reshape(-1)])
        n = x.size
        return program.affine(np.hstack([np.eye(n), np.eye(n)]), np.zeros(n), both).reshape(x.shape)
    if layer.kind == "max_pool2d":
        return _pooled(program, layer, x)
    if layer.kind in _BENT:
        return _BENT[layer.kind](program, x.reshape(-1)).reshape(x.shape)
    return _affine(program, module, x)


def _affine(program: _Program, module: nn.Module, x: Indices) -> Indices:
    """An affine layer by its values at zero and at the unit vectors, in float64."""
    n = x.size
    probes = torch.cat((torch.zeros(1, n), torch.eye(n))).double().reshape(n + 1, *x.shape)
    values = module(probes)
    flat = values.reshape(n + 1, -1).numpy()
    y = program.affine((flat[1:] - flat[0]).T, flat[0], x.reshape(-1))
    return y.reshape(tuple(values.shape[1:]))


def _pooled(program: _Program, layer: Layer, x: Indices) -> Indices:
    kernel, stride, padding = layer.settings
    assert padding == 0, "padding is minus infinity, which no program holds"
    _, height, width = x.shape
    tops, lefts = range(0, height - kernel + 1, stride), range(0, width - kernel + 1, stride)
    windows = [plane[i : i + kernel, j : j + kernel].reshape(-1) for plane in x for i in tops for j in lefts]
    return program.largest(windows).reshape(x.shape[0], len(tops), len(lefts))


def _combined(program: _Program, parts: list[tuple[float, Indices]], constant: float = 0.0) -> Indices:
    n = len(parts[0][1])
    weight = np.hstack([factor * np.eye(n) for factor, _ in parts])
    return program.affine(weight, np.full(n, constant), np.concatenate([part for _, part in parts]))


def _leaky(program: _Program, x: Indices) -> Indices:
    slope = float(build_layer(Layer("leaky_relu")).negative_slope)  # type: ignore[arg-type]
    return _combined(program, [(slope, x), (1 - slope, program.relu(x))])


def _abs(program: _Program, x: Indices) -> Indices:
    return _combined(program, [(2.0, program.relu(x)), (-1.0, x)])


def _hardtanh(program: _Program, x: Indices) -> Indices:
    left = program.relu(_combined(program, [(1.0, x)], 1.0))
    right = program.relu(_combined(program, [(1.0, x)], -1.0))
    return _combined(program, [(1.0, left), (-1.0, right)], -1.0)


_AFFINE = frozenset({"linear", "conv2d", "batch_norm"})
_BENT: dict[str, Callable[[_Program, Indices], Indices]] = {
    "relu": lambda program, x: program.relu(x),
    "leaky_relu": _leaky,
    "abs": _abs,
    "hardtanh": _hardtanh,
}
