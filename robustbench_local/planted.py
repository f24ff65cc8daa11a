"""Networks with a counterexample that is planted where attacks rarely look: what no verifier may prove.

    trap = plant("residual", seed=3)
    trap.query.violated(trap.witness)      # tensor([True]); a verifier that says HOLDS is wrong

A robust network gets a bump: a function that is one at a secret point w of the set and, but for a
neighbourhood of size `width` of it, zero with zero gradient. In n dimensions the neighbourhood is a share of
about width^n of the set, so that random and gradient searches pass it by. The bump is spread over all
coordinates by a random rotation, and its neurons are rescaled and shuffled among those of the network. The
idea of benchmarks with hidden counterexamples is that of SoundnessBench (Zhou et al. 2024, arXiv 2412.03154),
which trains such networks; here they are built: the witness is certain, and the rest provably robust.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustbench_local.errors import SoundnessAlarm, SpecError, UnknownNameError
from robustbench_local.specs import Any, Atom, Ball, Box, InputSet, Query
from robustbench_local.verifiers import CROWN, from_torch, output_bounds

from .planted_bodies import BODIES, Secret

__all__ = ["PLANTED", "Planted", "plant"]

PLANTED = BODIES
"""Families of networks by name; `plant` takes the name."""

_CLASSES = 4
_GAP = 0.5  # by which the network is robust away from the bump, and by which the bump breaks the property


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A property that is false, at a point that is hard to find.

    Attributes:
        network: in eval mode; (B, *in) to (B, 4).
        query: one problem: the first output is the largest, everywhere in the set. False.
        witness: a point (1, *in) of the set at which it is false by a wide margin, checked in float64.
        bare: the same network without the bump; there the property holds, which CROWN proves.
    """

    network: nn.Module
    query: Query
    witness: Tensor
    bare: nn.Module


def plant(
    family: str,
    seed: int,
    *,
    size: int = 8,
    width: float = 1e-3,
    p: float = math.inf,
    dtype: torch.dtype = torch.float32,
) -> Planted:
    """A network of `family` (a name of `PLANTED`) with a planted counterexample, the same each time.

    Args:
        family: dense, conv, residual, pooling or sigmoid.
        seed: of all weights and of the secret point.
        size: number of inputs; for "conv" a square number, the pixels of an image (1, s, s).
        width: size of the bump's neighbourhood along its axes; inputs lie in [-1, 1].
        p: norm of the set: the box [-1, 1]^size, or the ball of norm 1 or 2 and radius 1 in it.
        dtype: of weights and set.

    Raises UnknownNameError for another family, SpecError for a size or width that does not fit, and
    SoundnessAlarm if the planted point should not be a witness.
    """
    if family not in BODIES:
        raise UnknownNameError.of("family of planted counterexamples", family, BODIES)
    if not (size >= 1 and 0 < width < 1):
        raise SpecError(
            f"size {size}, width {width} cannot be planted", cure="give size >= 1 and a width in (0, 1)"
        )
    generator = torch.Generator().manual_seed(seed)
    point = _point(size, p, generator)
    secret = Secret(point, width, generator)
    body, shape = BODIES[family](secret)
    inputs = _inputs(shape, p, dtype)
    witness = point.reshape(1, *shape).to(dtype)
    network, bare = _headed(body, secret, inputs, witness, dtype)
    query = _argmax(network, inputs)
    _check(query, witness)
    return Planted(network, query, witness, bare)


def _point(size: int, p: float, generator: torch.Generator) -> Tensor:
    """A secret point well inside the set, of float32 numbers, not in its middle."""
    noise = 2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1
    length = torch.linalg.vector_norm(noise, p)
    return (noise if math.isinf(p) else noise / length).mul(0.7).to(torch.float32).double()


def _inputs(shape: tuple[int, ...], p: float, dtype: torch.dtype) -> InputSet:
    ones = torch.ones(1, *shape, dtype=dtype)
    return Box(-ones, ones) if math.isinf(p) else Ball(torch.zeros_like(ones), 1.0, p)


def _headed(
    body: nn.Module, secret: Secret, inputs: InputSet, witness: Tensor, dtype: torch.dtype
) -> tuple[nn.Module, nn.Module]:
    """The body with a last layer by which all is robust but for the bump; and the same without the bump."""
    features = secret.features
    head = nn.Linear(features, _CLASSES).double()
    with torch.no_grad():
        weight = torch.randn(_CLASSES, features, generator=secret.generator, dtype=torch.float64)
        head.weight.copy_(weight / math.sqrt(features)).select(1, secret.place).zero_()
        head.bias.copy_(torch.randn(_CLASSES, generator=secret.generator, dtype=torch.float64) / 2)
    network: nn.Module = nn.Sequential(body.double(), head).eval().requires_grad_(False)
    box = inputs.box()
    lower, upper = box.lower.double(), box.upper.double()
    graph = from_torch(network, lower)
    _, most = output_bounds(graph, lower, upper, CROWN(), _differences())
    head.bias[0] += max(0.0, float(most.max())) + _GAP
    bare = deepcopy(network).to(dtype)
    features_there = body(witness.double())
    y, bump = head(features_there)[0], features_there[0, secret.place]
    loser = 1 + int(torch.randint(_CLASSES - 1, (), generator=secret.generator))
    head.weight[loser, secret.place] = (y[0] - y[loser] + _GAP) / bump
    return network.to(dtype), bare


def _differences() -> Tensor:
    """Rows (3, 4) that say how far another output is above the first."""
    return torch.cat((-torch.ones(_CLASSES - 1, 1), torch.eye(_CLASSES - 1)), 1).double()


def _argmax(network: nn.Module, inputs: InputSet) -> Query:
    tree = Any(tuple(Atom(i, strict=False) for i in range(_CLASSES - 1)))
    zeros = torch.zeros(1, _CLASSES - 1, dtype=torch.float64)
    return Query(network, inputs, _differences().unsqueeze(0), zeros, tree, "argmax(f(x)) == 0")


def _check(query: Query, witness: Tensor) -> None:
    """The witness lies in the set and breaks the property in float64, by far more than rounding."""
    assert isinstance(query.network, nn.Module)
    wide = query.with_network(deepcopy(query.network).double())
    value = float(wide.violation(witness.double()))
    sure = bool(query.inputs.contains(witness)) and bool(query.violated(witness)) and value > _GAP / 4
    if not sure:
        raise SoundnessAlarm(
            f"the planted point has violation {value}", where="plant", cure="choose a larger width"
        )
