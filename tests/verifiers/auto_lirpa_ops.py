"""What auto-LiRPA loads: one small network per operation, tried by its methods; docs/auto-lirpa.md shows it.

Run as a program it writes the table into the page.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Any, Atom, Box, Query
from robustbench_local.verifiers import AutoLirpa, Graph, from_torch

from .networks import Fn, box_points, run_points

PAGE = Path(__file__).resolve().parents[2] / "docs" / "auto-lirpa.md"
BEGIN, END = "<!-- table: tests/verifiers/auto_lirpa_ops.py -->", "<!-- end of table -->"
METHODS = ("ibp", "crown-ibp", "crown")


def vector(function: Callable[[Tensor], Tensor], shift: float = 0.0) -> Callable[[], nn.Module]:
    """A linear layer of 4, the function on its 4 outputs (shifted), a linear layer to 3."""

    def body(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
        return b(function(a(x) + shift if shift else a(x)).flatten(1))

    return lambda: Fn(body, nn.Linear(4, 4), nn.Linear(4, 3))


def image(*layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Layers on an image of 1 x 6 x 6, then a linear layer to 3."""

    def make() -> nn.Module:
        body = nn.Sequential(*(layer() for layer in layers)).eval()
        size = body(torch.zeros(1, 1, 6, 6)).numel()
        return Fn(lambda x, m, last: last(m(x.reshape(-1, 1, 6, 6)).flatten(1)), body, nn.Linear(size, 3))

    return make


class Tokens(nn.Module):
    """A layer that takes (B, 4 tokens, 4 features), fed with 16 inputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 4, 4)
        y = self.layer(x, x, x) if isinstance(self.layer, nn.MultiheadAttention) else self.layer(x)
        y = y[0] if isinstance(y, tuple) else y
        return y[:, -1]


def tokens(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Fn(lambda x, part: part(x), Tokens(make()))


Probe = tuple[Callable[[], nn.Module], tuple[int, ...]]
PROBES: dict[str, Probe] = {
    "relu": (vector(torch.relu), (4,)),
    "leaky relu": (vector(F.leaky_relu), (4,)),
    "relu6": (vector(F.relu6), (4,)),
    "hardtanh": (vector(F.hardtanh), (4,)),
    "elu": (vector(F.elu), (4,)),
    "selu": (vector(F.selu), (4,)),
    "prelu": (lambda: Fn(lambda x, a, p, b: b(p(a(x))), nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 3)), (4,)),
    "softplus": (vector(F.softplus), (4,)),
    "sigmoid": (vector(torch.sigmoid), (4,)),
    "tanh": (vector(torch.tanh), (4,)),
    "hardsigmoid": (vector(F.hardsigmoid), (4,)),
    "silu": (vector(F.silu), (4,)),
    "gelu": (vector(F.gelu), (4,)),
    "mish": (vector(F.mish), (4,)),
    "erf": (vector(torch.erf), (4,)),
    "exp": (vector(torch.exp), (4,)),
    "log": (vector(torch.log, 5.0), (4,)),
    "sqrt": (vector(torch.sqrt, 5.0), (4,)),
    "reciprocal": (vector(torch.reciprocal, 5.0), (4,)),
    "abs": (vector(torch.abs), (4,)),
    "square": (vector(lambda x: x**2), (4,)),
    "cube": (vector(lambda x: x**3), (4,)),
    "sin": (vector(torch.sin), (4,)),
    "cos": (vector(torch.cos), (4,)),
    "atan": (vector(torch.atan), (4,)),
    "clamp": (vector(lambda x: x.clamp(-0.5, 0.5)), (4,)),
    "sign": (vector(torch.sign), (4,)),
    "maximum of two": (vector(lambda x: torch.maximum(x, x.flip(1))), (4,)),
    "product of two": (vector(lambda x: x[:, :2].repeat(1, 2) * x[:, 2:].repeat(1, 2)), (4,)),
    "quotient of two": (vector(lambda x: x[:, :2].repeat(1, 2) / (x[:, 2:].repeat(1, 2) + 5)), (4,)),
    "matmul of two": (vector(lambda x: x.reshape(-1, 2, 2) @ x.reshape(-1, 2, 2)), (4,)),
    "sum": (vector(lambda x: x + x.sum(1, keepdim=True)), (4,)),
    "mean": (vector(lambda x: x - x.mean(1, keepdim=True)), (4,)),
    "maximum over an axis": (vector(lambda x: torch.relu(x) + x.amax(1, keepdim=True)), (4,)),
    "concatenation": (vector(lambda x: torch.cat((x[:, :2], torch.relu(x[:, 2:])), 1)), (4,)),
    "softmax": (vector(lambda x: x.softmax(1)), (4,)),
    "log-softmax": (vector(lambda x: x.log_softmax(1)), (4,)),
    "layer norm": (vector(lambda x: F.layer_norm(x, (4,))), (4,)),
    "conv1d": (lambda: Fn(lambda x, c: c(x.unsqueeze(1)).flatten(1), nn.Conv1d(1, 2, 3)), (5,)),
    "conv2d": (image(lambda: nn.Conv2d(1, 2, 3, padding=1), nn.ReLU, lambda: nn.Conv2d(2, 1, 3)), (36,)),
    "transposed conv2d": (image(lambda: nn.ConvTranspose2d(1, 2, 3, 2), nn.ReLU), (36,)),
    "batch norm": (image(lambda: nn.Conv2d(1, 2, 3), lambda: nn.BatchNorm2d(2), nn.ReLU), (36,)),
    "average pooling": (image(lambda: nn.Conv2d(1, 2, 3), nn.ReLU, lambda: nn.AvgPool2d(2)), (36,)),
    "max pooling": (image(lambda: nn.Conv2d(1, 2, 3), nn.ReLU, lambda: nn.MaxPool2d(2)), (36,)),
    "global average": (image(lambda: nn.Conv2d(1, 2, 3), nn.ReLU, lambda: nn.AdaptiveAvgPool2d(1)), (36,)),
    "zero padding": (image(lambda: nn.ZeroPad2d(1), lambda: nn.Conv2d(1, 2, 3), nn.ReLU), (36,)),
    "up-sampling": (image(lambda: nn.Conv2d(1, 2, 3), nn.ReLU, lambda: nn.Upsample(scale_factor=2)), (36,)),
    "RNN": (tokens(lambda: nn.RNN(4, 4, batch_first=True)), (16,)),
    "LSTM": (tokens(lambda: nn.LSTM(4, 4, batch_first=True)), (16,)),
    "GRU": (tokens(lambda: nn.GRU(4, 4, batch_first=True)), (16,)),
    "attention": (tokens(lambda: nn.MultiheadAttention(4, 2, batch_first=True)), (16,)),
}


def verdicts(name: str) -> list[str]:
    """Per method: "yes", "no" (it fails, or is refused), or "wrong" (its bounds exclude a sampled value)."""
    make, shape = PROBES[name]
    network = make().eval()
    centre = 0.3 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    inputs = Box(centre - 0.05, centre + 0.05)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = run_points(network, box_points(centre - 0.05, centre + 0.05, count=20))
        outputs = y.shape[2]
        rows = torch.cat((torch.eye(outputs), -torch.eye(outputs))).double().expand(2, -1, -1)
        tree = Any(tuple(Atom(i, strict=True) for i in range(2 * outputs)))
        query = Query(network, inputs, rows, torch.zeros(2, 2 * outputs), tree)
        graph = from_torch(network, centre)
        most = torch.cat((y, -y), 2).amax(0)
        return [_verdict(AutoLirpa(method), graph, query, most) for method in METHODS]


def _verdict(engine: AutoLirpa, graph: Graph, query: Query, most: Tensor) -> str:
    try:
        rows = engine.bound(graph, query).rows
    except RobustBenchError:
        return "no"
    return "yes" if bool((most <= rows + 1e-4 * (1 + most.abs())).all()) else "wrong"


def table() -> str:
    """The table in Markdown."""
    lines = ["| operation | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
    lines += [f"| {name} | {' | '.join(verdicts(name))} |" for name in PROBES]
    return "\n".join(lines)


def main() -> None:
    """Writes the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
