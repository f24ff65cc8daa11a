"""The thirteen groups of docs/examples/properties.py, bound to small networks: brackets that hold."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.attacks import pgd
from robustbench_local.specs import Spec
from robustbench_local.verifiers import find_verifier, from_torch

FILE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "properties.py"
SAID: Mapping[str, Any] = runpy.run_path(str(FILE))
IMAGE, CLASSES = SAID["IMAGE"], SAID["CLASSES"]


def mlp(inputs: int, outputs: int, seed: int = 0, scale: float = 1.0) -> nn.Module:
    """A ReLU network of a flat input, in float32."""
    source = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 10), nn.ReLU(), nn.Linear(10, outputs)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source) * scale * inputs**-0.5)
    return network.requires_grad_(False)


class Sum(nn.Module):
    """The sum of all inputs, (B, 1): a square keeps it positive."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        return (x**self.power).flatten(1).sum(1, keepdim=True)


class Part(nn.Module):
    """A multiple of the first inputs."""

    def __init__(self, count: int, factor: float = 1.0) -> None:
        super().__init__()
        self.count, self.factor = count, factor

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, : self.count] * self.factor


class Head(nn.Module):
    """Attention over three tokens of two features, and four classes."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.last = nn.Softmax(-1), mlp(6, CLASSES, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.weights((x @ x.transpose(1, 2)).unsqueeze(1)).squeeze(1) @ x)


def corners() -> nn.Module:
    """An image's mean moves a box around (1/4, 1/4, 3/4, 3/4) a little."""
    last = nn.Linear(36, 4)
    with torch.no_grad():
        last.weight.fill_(1 / 36)
        last.bias.copy_(torch.tensor([-0.25, -0.25, 0.25, 0.25]))
    return nn.Sequential(nn.Flatten(), last).eval().requires_grad_(False)


F, G = mlp(36, CLASSES, 1), mlp(36, CLASSES, 1)
X0 = torch.rand(3, *IMAGE, generator=torch.Generator().manual_seed(2))
C = F(X0).argmax(1)
Y0 = torch.rand(8, generator=torch.Generator().manual_seed(3))
GENERATOR = mlp(2, 8, 4)
IMAGES = {"x0": X0, "c": C}
TABLE = torch.rand(20, 4, generator=torch.Generator().manual_seed(4))
MEANINGS = torch.tensor([[5.0, 6, -1], [7, -1, -1], [8, 9, 10], [-1, -1, -1], [11, 12, -1]])
READER = mlp(20, CLASSES, 15)
READ = READER(TABLE[:5].unsqueeze(0)).argmax(1)
TRUTH = torch.tensor([0.25, 0.25, 0.75, 0.75])


@dataclass(frozen=True)
class Bound:
    """Networks and values of a property, and the verdict of each problem (H, V; ? where it stays open)."""

    networks: Mapping[str, nn.Module]
    values: Mapping[str, object]
    verdicts: str
    method: str = "crown"


BOUND: Mapping[str, Bound] = {
    "rob": Bound({"f": F}, {**IMAGES, "eps": torch.tensor([0.001, 0.001, 0.5])}, "HHV"),
    "topk": Bound({"f": F}, {**IMAGES, "eps": torch.tensor([0.01, 0.1, 9.0])}, "HHV"),
    "pat": Bound({"f": F}, {"x0": X0}, "VVH"),
    "p1": Bound({"acas": mlp(5, 5, 6)}, {}, "H"),
    "mono": Bound({"price": Sum()}, {}, "?"),  # exactly 0 where d = 0: rounding alone could decide
    "fair": Bound({"score": mlp(12, 1, 8, 0.1)}, {}, "H"),
    "lip": Bound({"h": mlp(4, 3, 9, 0.2)}, {}, "H"),
    "inv": Bound({"f": F}, IMAGES, "HVH"),
    "ood": Bound({"f": mlp(36, CLASSES, 1, 0.1)}, {"x0": X0}, "HHH"),
    "phys": Bound({"dyn": Part(3, 0.5)}, {}, "V"),
    "sem": Bound({"f": F}, {**IMAGES, "DISTANCE": (1 - torch.eye(CLASSES)) * 2, "eps": 0.001}, "HHH"),
    "eqv": Bound({"f": F, "g": G}, {"x0": X0}, "HHH"),
    "gan": Bound({"G": GENERATOR, "smile": Sum(2)}, {"z1": torch.ones(2), "z2": -torch.ones(2)}, "H"),
    "vae": Bound({"mu": mlp(8, 2, 10), "sig": mlp(8, 2, 11, 0.1), "dec": mlp(2, 8, 12)}, {"y0": Y0}, "H"),
    "flow": Bound({"fwd": Part(8, 2.0), "back": Part(8, 0.5)}, {"y0": Y0}, "H"),
    "rnn": Bound({"net": mlp(6, 2, 13), "speed": Sum()}, {}, "H"),
    "txt": Bound(
        {"reads": READER},
        {"text": torch.arange(5.0), "meanings": MEANINGS, "table": TABLE, "c": READ},
        "V",
    ),
    "att": Bound({"vit": Head().eval()}, {"tokens": torch.zeros(3, 2)}, "H"),
    "det": Bound(
        {"boxes": corners()}, {"x0": X0 * 0 + 0.5, "truth": torch.tensor([0.25, 0.25, 0.75, 0.75])}, "HHH"
    ),
    "lyap": Bound({"V": Sum(2), "pi": mlp(2, 1, 14), "step": Part(2, 0.125)}, {}, "?"),
}


@pytest.mark.parametrize("name", BOUND)
def test_the_bracket_holds_what_samples_show(name: str) -> None:
    spec, bound = SAID[name], BOUND[name]
    assert isinstance(spec, Spec)
    query = spec.query(bound.networks, **bound.values)
    lower = pgd(query, seed=0).violation
    graph = from_torch(query.network, query.inputs.centre().float())
    uppers = [find_verifier(method).bound(graph, query).upper for method in ("ibp", "crown")]
    source = torch.Generator().manual_seed(0)
    for _ in range(20):
        uniform = torch.rand(query.batch, *query.inputs.shape, generator=source)
        x = query.inputs.sample(uniform, torch.rand(query.batch, generator=source))
        lower = torch.maximum(lower, query.violation(x).double())
    assert torch.isfinite(lower).all()
    for upper in uppers:
        assert torch.isfinite(upper).all() and (lower <= upper + 1e-4).all(), (lower, upper)
    open_ = "?" in bound.verdicts  # what stays open takes all the time there is
    result = rbl.verify(query.network, query, timeout=10 if open_ else 60)
    letters = {"HOLDS": "H", "VIOLATED": "V", "UNKNOWN": "?"}
    assert "".join(letters[str(case.verdict)] for case in result.cases) == bound.verdicts, result.cases


def test_modes_of_the_generator_are_found_or_refuted() -> None:
    judge = mlp(8, 10, 5)
    judge.get_parameter("3.bias")[9] = -100
    result = rbl.verify({"G": GENERATOR, "cls": judge}, SAID["cov"], timeout=60)
    z = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    made = judge(GENERATOR(z[z.norm(dim=1) <= 3])).argmax(1).unique().tolist()
    held = [k for k, case in enumerate(result.cases) if case.verdict == "HOLDS"]
    for k in held:
        witness = result.cases[k].witness
        assert witness is not None and int(judge(GENERATOR(witness[None])).argmax()) == k
    refuted = [k for k, case in enumerate(result.cases) if case.verdict == "VIOLATED"]
    assert held and 9 in refuted and not set(refuted) & set(made) and len(result.cases) == 10


def test_chances_and_rates_are_bracketed() -> None:
    network = Part(3)
    u0 = torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    result = rbl.verify({"h": network}, SAID["prob"], values={"u0": u0}, timeout=20)
    assert [str(case.verdict) for case in result.cases] == ["HOLDS", "VIOLATED"]
    eps = torch.tensor([0.001, 0.001, 0.5])
    assert rbl.verify({"f": F}, SAID["acc"], values={**IMAGES, "eps": eps}).verdict == "HOLDS"


def test_the_file_states_all_thirteen_groups() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert [f"# {number} " in text for number in range(1, 14)] == [True] * 13
    specs = {name for name, value in SAID.items() if isinstance(value, Spec)}
    assert specs == set(BOUND)
