"""An op, an attack, a verifier, a model and a spec are added by one file each, no other line changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

OP = '''
"""Softplus: convex and increasing, so the chord lies above it and the tangent at the centre below."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..graph import Node
from ..interval import Interval
from ..rule import Elementwise, Lines, register


class Softplus(Elementwise):
    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(softplus(inputs[0].lower), softplus(inputs[0].upper))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        low, high = box.lower, box.upper
        middle = (low + high) / 2
        tangent = torch.sigmoid(middle)
        wide = high - low > 1e-4
        width = torch.where(wide, high - low, 1.0)
        chord = torch.where(wide, (softplus(high) - softplus(low)) / width, tangent)
        top = torch.where(wide, softplus(low) - chord * low, softplus(middle) - tangent * middle + 1e-4)
        return Lines(tangent, chord, softplus(middle) - tangent * middle, top)


register(torch.ops.aten.softplus.default)(Softplus())
'''

ATTACK = '''
"""The centre of the set, as an attack."""

from __future__ import annotations

from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .pgd import pgd


@attack("lazy")
def lazy(query: Query, **settings: object) -> AttackResult:
    return pgd(query, steps=1, random_start=False, **settings)
'''

VERIFIER = '''
"""A verifier that knows nothing."""

from __future__ import annotations

import torch

from robustbench_local.specs import Query

from .graph import Graph
from .verifier import DEFAULT_BUDGET, Bounds, Budget, verifier


@verifier("clueless")
class Clueless:
    name = "clueless"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        rows = torch.full(tuple(query.d.shape), torch.inf)
        return Bounds(rows, rows[:, 0])
'''

MODEL = '''
"""A soft network."""

from __future__ import annotations

from torch import nn

from .card import ModelCard
from .registry import model

WORDS = dict.fromkeys(
    ("summary", "paper", "source", "task", "dataset", "faithful", "deviates", "intended_use", "limits",
     "licence"),
    "-",
)


@model(
    ModelCard(name="soft", family="toy", input_shape=(4,), outputs=3, parameters=67, weights=("nominal",),
              recipes=("none",), **WORDS)
)
def soft() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 3))
'''

SPEC = '''
"""The first output is tame."""

from __future__ import annotations

from ..expressions import Net, Shape, Var, box
from ..spec import Spec, forall
from .registry import spec


@spec("tame", numbers=(7,), form="L")
def tame(shape: Shape, outputs: int) -> Spec:
    """forall x in [-1, 1]: f(x)_0 <= 100."""
    x, f = Var("x", shape), Net("f", shape, outputs)
    return forall(x, box(-1, 1), f(x)[0] <= 100)
'''

USE = """
import torch
from robustbench_local.attacks import ATTACKS
from robustbench_local.models import MODELS, build_model
from robustbench_local.specs import SPECS, Net, Var, box, forall
from robustbench_local.verifiers import VERIFIERS, from_torch
import robustbench_local as rbl

network = build_model("soft")
assert "soft" in MODELS and "lazy" in ATTACKS and "clueless" in VERIFIERS
lower, upper = rbl.bounds(network, -torch.ones(5, 4), torch.ones(5, 4), method="crown")
with torch.inference_mode():
    y = network(torch.rand(1000, 4) * 2 - 1)
assert bool((lower[:1] <= y).all()) and bool((y <= upper[:1]).all())

x, f = Var("x", 4), Net("f", 4, 3)
spec = forall(x, box(-1, 1), f(x)[0] <= 100.0)
assert rbl.verify(network, spec, method="clueless").verdict.value == "UNKNOWN"
assert rbl.attack(network, spec, attack="lazy").stage == "lazy"
assert rbl.verify(network, spec).verdict.value == "HOLDS"
assert rbl.verify(network, SPECS["tame"](4, 3)).verdict.value == "HOLDS"
print("added")
"""

FILES = {
    "verifiers/rules/softplus_of_a_user.py": OP,
    "attacks/lazy.py": ATTACK,
    "verifiers/clueless.py": VERIFIER,
    "models/soft.py": MODEL,
    "specs/library/tame.py": SPEC,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the package's folders, to add files to."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for folder in ("robustbench_local", "specs", "verifiers", "attacks", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def use(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", USE]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)


def test_one_file_each(checkout: Path) -> None:
    assert use(checkout).returncode != 0
    for name, text in FILES.items():
        (checkout / name).write_text(text, encoding="utf-8")
    done = use(checkout)
    assert done.returncode == 0 and done.stdout.split() == ["added"], done.stderr
