"""Small random verification problems by number, each with a truth that is known by other means than bounds.

    problem = random_problem(17)
    problem.query       # ten problems of one network, whose worst violations are close to problem.gaps
    problem.points      # where those are reached

A problem is a network of some family, a kind of set, a shape of property, and ten samples. Its constants are
shifted so that the largest violation that an exhaustive or dense search finds is a chosen gap: wide ones,
and ones as small as rounding, on both sides of zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.specs import All, Any, Atom, Ball, Box, Choice, InputSet, Query, Tree, Union

from .random_networks import Layer, RandomNetwork
from .random_searches import best_of, best_points

__all__ = ["FAMILIES", "SAMPLES", "Oracle", "Problem", "random_problem"]

Oracle = Callable[[Query], list[Tensor]]
"""Candidates (B, *in) for the worst points of a query, in its sets."""

SAMPLES = 10
"""Samples of one problem."""

_GAPS = (0.5, -0.5, 0.05, -0.05, 1e-3, -1e-3, 1e-5, -1e-5, 1e-7, 0.0)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Problem:
    """One network, `SAMPLES` problems of it, and what is known of them.

    Attributes:
        number: of the problem.
        family, kind, shape: names of the network's family, the sets' kind and the property's shape.
        query: the problems.
        points: (B, *in) a point of each set, at which the violation is `gaps` (B,) in float64: the largest
            that the search knows.
        exact: arithmetic on this network is exact in float64 at the points: the sign of a gap of 0 counts.
        broken: (B,) whether the property is surely false: at the points, by more than rounding.
    """

    number: int
    family: str
    kind: str
    shape: str
    query: Query
    points: Tensor
    gaps: Tensor
    exact: bool
    broken: Tensor

    def faults(self, verdicts: Sequence[str], witnesses: Sequence[Tensor | None]) -> list[str]:
        """What is wrong with verdicts on the `SAMPLES` problems: one line for each wrong one.

        HOLDS where the property is broken, VIOLATED without a witness (*in) that lies in the set and replays.
        """
        found = []
        for b, (verdict, witness) in enumerate(zip(verdicts, witnesses, strict=True)):
            one = self.query.select(torch.tensor([b]))
            if verdict == "HOLDS" and bool(self.broken[b]):
                found.append(f"{self!r}, sample {b}: HOLDS, but the violation reaches {float(self.gaps[b])}")
            if verdict != "VIOLATED":
                continue
            x = None if witness is None else witness.unsqueeze(0)
            if x is None or not bool(one.inputs.contains(x) & one.violated(x)):
                found.append(f"{self!r}, sample {b}: VIOLATED, but the witness does not replay")
        return found

    def __repr__(self) -> str:
        return f"Problem({self.number}: {self.family}, {self.kind}, {self.shape})"


Rng = torch.Generator


def _pick(rng: Rng, n: int) -> int:
    return int(torch.randint(n, (), generator=rng))


def _chain(*kinds: str) -> Callable[[Rng], tuple[tuple[int, ...], list[Layer]]]:
    """Dense layers with one of these functions after each."""

    def make(rng: Rng) -> tuple[tuple[int, ...], list[Layer]]:
        n = width = 1 + _pick(rng, 3)
        layers: list[Layer] = []
        for kind in kinds:
            m = 3 + _pick(rng, 4)
            layers += [Layer("linear", (width, m, True)), Layer(kind, (m,) if kind == "layer_norm" else ())]
            width = m
        return (n,), [*layers, Layer("linear", (width, 3, True))]

    return make


def _around(kind: str, function: str) -> Callable[[Rng], tuple[tuple[int, ...], list[Layer]]]:
    """A residual block or a gate."""

    def make(rng: Rng) -> tuple[tuple[int, ...], list[Layer]]:
        n = 1 + _pick(rng, 3)
        branch = (Layer("linear", (4, 4, True)), Layer(function), Layer("linear", (4, 4, True)))
        body = [Layer("linear", (n, 4, True)), Layer(kind, branches=(branch,)), Layer(function)]
        return (n,), [*body, Layer("linear", (4, 3, True))]

    return make


def _image(*after: Layer) -> Callable[[Rng], tuple[tuple[int, ...], list[Layer]]]:
    """A convolution on a 1x2x2 image, and layers with outputs (2, 2, 2)."""

    def make(rng: Rng) -> tuple[tuple[int, ...], list[Layer]]:
        size = 2 * 4 if all(layer.kind != "max_pool2d" for layer in after) else 2
        conv = Layer(
            "conv2d", options=(("in_channels", 1), ("out_channels", 2), ("kernel_size", 3), ("padding", 1))
        )
        return (1, 2, 2), [conv, *after, Layer("flatten"), Layer("linear", (size, 3, True))]

    return make


def _tokens(rng: Rng) -> tuple[tuple[int, ...], list[Layer]]:
    """Attention over three tokens of one number each, made wider by a product."""
    branch = (Layer("conv1d", options=(("in_channels", 3), ("out_channels", 3), ("kernel_size", 1))),)
    layers = [Layer("product", branches=(branch,)), Layer("attention"), Layer("flatten")]
    return (3, 1), [*layers, Layer("linear", (3, 3, True))]


FAMILIES: dict[str, Callable[[Rng], tuple[tuple[int, ...], list[Layer]]]] = {
    "relu": _chain("relu", "relu"),
    "dyadic": _chain("relu", "relu"),
    "leaky": _chain("leaky_relu", "leaky_relu"),
    "abs": _chain("abs", "relu"),
    "clamp": _chain("hardtanh", "hardtanh"),
    "sigmoid": _chain("sigmoid", "sigmoid"),
    "tanh": _chain("tanh", "tanh"),
    "gelu": _chain("gelu", "silu"),
    "softplus": _chain("softplus", "elu"),
    "sin": _chain("sin", "sin"),
    "square": _chain("square", "tanh"),
    "softmax": _chain("relu", "softmax"),
    "log_softmax": _chain("tanh", "log_softmax"),
    "layer_norm": _chain("layer_norm", "relu"),
    "residual": _around("residual", "relu"),
    "product": _around("product", "sigmoid"),
    "conv": _image(Layer("batch_norm", (2, 3)), Layer("relu")),
    "max_pool": _image(Layer("relu"), Layer("max_pool2d", (2, 1, 0))),
    "attention": _tokens,
}
"""Families of networks, by name: a function of a generator gives a sample's shape and the layers."""


def _box(centre: Tensor, rng: Rng) -> InputSet:
    radius = torch.rand(centre.shape, generator=rng, dtype=torch.float64).to(centre)
    radius = (4 * radius).round() / 4  # some sides are points
    return Box(centre - radius, centre + radius)


def _norm(p: float) -> Callable[[Tensor, Rng], InputSet]:
    return lambda centre, rng: Ball(centre, 0.25 + 0.25 * _pick(rng, 4), p)


def _cut(centre: Tensor, rng: Rng) -> InputSet:
    return Ball(centre, 0.75, 2) & Box(centre - 0.5, centre + 1)


def _union(centre: Tensor, rng: Rng) -> InputSet:
    return Union([Box(centre - 1, centre - 0.5), Ball(centre + 0.25, 0.25, math.inf)])


def _points(centre: Tensor, rng: Rng) -> InputSet:
    noise = torch.randn(centre.shape[0], 12, *centre.shape[1:], generator=rng, dtype=torch.float64).to(centre)
    return Choice(centre.unsqueeze(1) + (4 * noise).round() / 4)


_SETS: dict[str, Callable[[Tensor, Rng], InputSet]] = {
    "box": _box,
    "linf": _norm(math.inf),
    "l2": _norm(2),
    "l1": _norm(1),
    "cut": _cut,
    "union": _union,
    "points": _points,
}


def _atoms(*strict: bool) -> tuple[Atom, ...]:
    return tuple(Atom(i, s) for i, s in enumerate(strict))


_TREES: dict[str, Callable[[bool], Tree]] = {
    "one": lambda strict: Atom(0, strict),
    "or": lambda strict: Any(_atoms(strict, strict, strict)),
    "and": lambda strict: All(_atoms(strict, strict)),
    "mixed": lambda strict: Any((All(_atoms(strict, not strict)), Atom(2, strict))),
    "nested": lambda strict: All(
        (Any((Atom(0, strict), Atom(1, not strict))), Any((Atom(2, strict), Atom(3, False))))
    ),
    "equality": lambda strict: All(_atoms(False, False)),
}


def random_problem(number: int, *, dtype: torch.dtype | None = None, oracle: Oracle | None = None) -> Problem:
    """The problem of this number >= 0, always the same; families, sets and shapes go round.

    dtype: of the network; None: float32 for even numbers, float64 for odd ones. oracle: finds worst points
    of a float64 query beside the search, such as `random_oracles.milp_points`.
    """
    rng = Rng().manual_seed(1_000_003 + number)
    names, kinds, shapes = list(FAMILIES), list(_SETS), list(_TREES)
    family = names[number % len(names)]
    kind, shape = kinds[_pick(rng, len(kinds))], shapes[_pick(rng, len(shapes))]
    dtype = dtype or (torch.float64 if number % 2 else torch.float32)
    start, layers = FAMILIES[family](rng)
    network = RandomNetwork(start, layers, number, dtype)
    if family == "dyadic":
        for tensor in network.parameters():
            tensor.copy_((4 * tensor).round() / 4)
    centre = ((4 * torch.rand(SAMPLES, *start, generator=rng, dtype=torch.float64)).round() / 2 - 1).to(dtype)
    inputs = _SETS[kind](centre, rng)
    tree = _TREES[shape](bool(_pick(rng, 2)))
    C = torch.randn(SAMPLES, 4, 3, generator=rng, dtype=torch.float64)
    C = (4 * C).round() / 4
    if shape == "equality":
        C[:, 1] = -C[:, 0]
    bare = Query(network, inputs, C, torch.zeros(SAMPLES, 4, dtype=torch.float64), tree, f"random {number}")
    return _settled(number, bare, (family, kind, shape), rng, oracle)


def _settled(
    number: int, bare: Query, names: tuple[str, str, str], rng: Rng, oracle: Oracle | None
) -> Problem:
    """The problem with its constants shifted, so that the violation at the best point known is the gap."""
    network, exact = bare.network, names[0] == "dyadic"
    assert isinstance(network, RandomNetwork)
    wide = bare.with_network(deepcopy(network).double())
    if names[2] == "equality":  # the value at a point of the set is reached: shift both ways to it
        value = wide.atoms(wide.network(best_points(wide, rng, count=4).double()))
        wide = _with(wide, torch.cat((-value[:, :1], value[:, :1], wide.d[:, 2:]), 1))
    gaps = torch.tensor(_GAPS, dtype=torch.float64)[torch.randperm(SAMPLES, generator=rng)]
    if exact:
        gaps = (gaps * 2**20).round() / 2**20
    points = best_points(wide, rng)
    if oracle is not None:
        points = best_of(wide, torch.stack((points, *oracle(wide))))
    shift = gaps - wide.violation(points.double())
    wide = _with(wide, wide.d + shift.unsqueeze(1))
    y = wide.network(points.double())
    value, scale = wide.combine(wide.atoms(y)), 1 + y.abs().amax(1) + wide.d.abs().amax(1)
    certain = torch.full_like(value, True, dtype=torch.bool) if exact else value > 1e-10 * scale
    broken = wide.violated_by(y) & certain & bare.inputs.contains(points)
    return Problem(number, *names, wide.with_network(network), points, value, exact, broken)


def _with(query: Query, d: Tensor) -> Query:
    """The query with other constants."""
    return Query(query.network, query.inputs, query.C, d, query.tree, query.text)
