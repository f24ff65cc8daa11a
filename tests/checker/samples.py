"""Small networks whose property holds, as certificates; and what is needed to change such a file."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustbench_local.api import bounds
from robustbench_local.checker import digest, read
from robustbench_local.specs import Any as AnyOf
from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import certify, from_torch

Parts = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class Residual(nn.Module):
    """Two convolutions around which the image passes by, batch norm, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.norm, self.last = nn.BatchNorm2d(4), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x - 0.1))
        x = torch.relu(self.norm(self.second(x)) + x)
        return self.last(nn.functional.avg_pool2d(x, 2).flatten(1))


class Pooled(nn.Module):
    """A max pool whose windows reach beyond the rim, and a maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 2, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.first(x), (3, 2), 2, 1).flatten(1)
        return self.last(torch.maximum(x, 0.5 * x.flip(1)))


class Joined(nn.Module):
    """A slice and a concatenation, leaky relu and tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.leaky_relu(self.first(x), 0.1)
        return self.second(torch.cat((torch.tanh(hidden), x[:, 1:3] / 3.0), 1))


class Rows(nn.Module):
    """One linear map of several rows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 4), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)).flatten(1))


def dense(*layers: int, function: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    parts: list[nn.Module] = []
    for n, m in itertools.pairwise(layers):
        parts += [nn.Linear(n, m), function()]
    return nn.Sequential(*parts[:-1])


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
    )


#: name -> network, shape of its input, radius
KINDS: dict[str, tuple[nn.Module, tuple[int, ...], float]] = {}


def _enter(name: str, build: Any, shape: tuple[int, ...], radius: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build()
        for parameter in network.parameters():
            parameter.data.mul_(1.5)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr, operator]
                module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr, operator]
    KINDS[name] = (network.eval(), shape, radius)


_enter("dense", lambda: dense(24, 8, 6, 3), (24,), 0.2)
_enter("narrow", lambda: dense(3, 8, 8, 3), (3,), 0.5)
_enter("conv", conv, (2, 4, 4), 0.3)
_enter("residual", Residual, (2, 4, 4), 0.2)
_enter("pooled", Pooled, (2, 5, 5), 0.1)
_enter("sigmoid", lambda: dense(24, 8, 8, 3, function=nn.Sigmoid), (24,), 0.3)
_enter("tanh", lambda: dense(3, 8, 8, 3, function=nn.Tanh), (3,), 0.3)
_enter("joined", Joined, (4,), 0.3)
_enter("rows", Rows, (3, 8), 0.2)


def problem(kind: str, *, share: float = 0.5, seed: int = 0, batch: int = 1) -> Query:
    """The claim that no output rises above a threshold between the greatest value found and a loose bound.

    share: where the threshold lies between them; below 0 the claim is false.
    """
    network, shape, radius = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(batch, *shape, generator=generator, dtype=torch.float64) - 0.5
    box = Box(centre - radius, centre + radius)
    found = torch.stack([_ascent(network, box, k, generator) for k in range(3)], 1)
    _, limit = bounds(network, box.lower.float(), box.upper.float(), method="ibp")
    threshold = found + share * (limit.detach().double() - found)
    C = torch.eye(3, dtype=torch.float64).expand(batch, 3, 3).clone()
    tree = AnyOf((Atom(0, False), Atom(1, True), Atom(2, False)))
    return Query(network, box, C, -threshold, tree)


def _ascent(network: nn.Module, box: Box, output: int, generator: torch.Generator) -> Tensor:
    """The greatest value of an output (B,) that steps along the gradient's sign find from 20 points."""
    noise = torch.rand(20, *box.lower.shape, generator=generator, dtype=torch.float64)
    x = (box.lower + noise * (box.upper - box.lower)).float()
    best = torch.full((box.lower.shape[0],), -torch.inf)
    for step in range(25):
        x = x.requires_grad_()
        y = network(x.flatten(0, 1))[:, output].unflatten(0, x.shape[:2])
        best = torch.maximum(best, y.detach().amax(0))
        size = (box.upper - box.lower).float() * 0.5 * 0.85**step
        x = (x + torch.autograd.grad(y.sum(), x)[0].sign() * size).detach()
        x = torch.minimum(torch.maximum(x, box.lower.float()), box.upper.float())
    return best.double()


def certificate(path: Path, kind: str, *, share: float = 0.5, seed: int = 0, batch: int = 1) -> Path:
    """A certificate of `problem` at `path`."""
    query = problem(kind, share=share, seed=seed, batch=batch)
    network, shape, _ = KINDS[kind]
    found = certify(from_torch(network, torch.zeros(1, *shape)), query, path, seconds=20)
    assert found.path == path, found.reason
    return path


def parts(path: Path) -> Parts:
    """Header and arrays, to be changed."""
    header, arrays = read(path)
    return json.loads(json.dumps(header)), {name: array.copy() for name, array in arrays.items()}


def write(path: Path, changed: Parts, *, rehash: bool = False) -> Path:
    """The file of these parts; with `rehash` the hashes fit them."""
    header, arrays = changed
    if rehash:
        header["sha256"] = {part: digest(header[part], arrays, part) for part in ("network", "spec")}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array))
            archive.writestr(f"{name}.npy", buffer.getvalue())
    return path
