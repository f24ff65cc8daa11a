"""Networks that embed one-hot texts: bounds against brute force over all exchanges of words, and attacks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import pgd
from robustbench_local.specs import Any as AnyOf
from robustbench_local.specs import Atom, Query, TokenSet, one_hot_tokens
from robustbench_local.verifiers import CROWN, IBP, AlphaCROWN, from_torch

from .networks import fill, value

LENGTH, VOCABULARY, WIDTH = 4, 12, 8


class PoolClassifier(nn.Module):
    """Embedding, a layer on each word, the mean over the words, a layer on it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(VOCABULARY, WIDTH))
        self.word, self.text, self.head = nn.Linear(WIDTH, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, V) -> (B, 3)
        hidden = self.word(x @ self.table).relu().mean(1)
        logits: Tensor = self.head(self.text(hidden).relu())
        return logits


class TinyTransformer(nn.Module):
    """Embedding with positions, one encoder layer with two heads, a head on the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(VOCABULARY, WIDTH, bias=False)
        self.position = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, V) -> (B, 3)
        logits: Tensor = self.head(self.layer(self.embed(x) + self.position).mean(1))
        return logits


NETWORKS = {"pool": PoolClassifier, "transformer": TinyTransformer}


def problem(kind: str, swaps: int) -> tuple[nn.Module, TokenSet, Query]:
    """Three texts with two synonyms a word; the margins of every class over the predicted one."""
    network = NETWORKS[kind]()
    fill(network, 3)
    if isinstance(network, TinyTransformer):
        with torch.no_grad():  # words that stand for each other are near to each other
            network.embed.weight.mul_(0.3)
    network.eval()
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(VOCABULARY, (3, LENGTH), generator=generator)
    choices = torch.randint(VOCABULARY, (3, LENGTH, 2), generator=generator)
    inputs = one_hot_tokens(VOCABULARY, tokens, choices, swaps)
    with torch.no_grad():
        labels = network(inputs.centre().float()).argmax(1)
    one = torch.eye(3, dtype=torch.float64)
    rows = [one[torch.arange(3) != label] - one[label] for label in labels.tolist()]
    atoms = AnyOf((Atom(0, False), Atom(1, False)))
    return network, inputs, Query(network, inputs, torch.stack(rows), torch.zeros(3, 2).double(), atoms)


def worst(network: nn.Module, query: Query) -> Tensor:
    """The largest atoms (B, 2) over all exchanges of words."""
    found = query.inputs.parts()  # type: ignore[attr-defined]
    points, owner = found[0].lower.float(), found[1]
    with torch.no_grad():
        values = query.select(owner).atoms(network(points))
    index = owner.unsqueeze(1).expand(-1, 2)
    return torch.full((3, 2), -torch.inf).scatter_reduce(0, index, values, "amax")


@pytest.mark.parametrize("swaps", [1, 2, 4])
@pytest.mark.parametrize("kind", NETWORKS)
def test_bounds_hold_and_tighten_from_engine_to_engine(kind: str, swaps: int) -> None:
    network, inputs, query = problem(kind, swaps)
    graph, most = from_torch(network, torch.zeros(1, LENGTH, VOCABULARY)), worst(network, query)
    loose, tight = value(IBP().bound(graph, query)), value(CROWN().bound(graph, query))
    tighter = value(AlphaCROWN().bound(graph, query))
    for upper in (loose, tight, tighter):
        assert upper.isfinite().all() and (upper >= most - 1e-5).all()
    assert (tight < loose).all() and (tighter <= tight + 1e-5).all()
    assert (tight - most).mean() < 0.7 * (loose - most).mean()
    assert inputs.swaps.tolist() == [swaps] * 3


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_budget_of_exchanges_counts_in_the_bounds(kind: str) -> None:
    network, inputs, query = problem(kind, 1)
    graph = from_torch(network, torch.zeros(1, LENGTH, VOCABULARY))
    one, four = (value(CROWN().bound(graph, problem(kind, swaps)[2])) for swaps in (1, 4))
    boxed = Query(network, inputs.box(), query.C, query.d, query.tree)
    assert (one < four).all() and (one < value(CROWN().bound(graph, boxed))).all()


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_linear_embedding_is_bounded_exactly(kind: str) -> None:
    _, inputs, query = problem(kind, 2)
    network = nn.Sequential(nn.Linear(VOCABULARY, 5), nn.Flatten(), nn.Linear(5 * LENGTH, 3)).eval()
    fill(network, 1)
    affine = query.with_network(network)
    graph, most = from_torch(network, torch.zeros(1, LENGTH, VOCABULARY)), worst(network, affine)
    for engine in (IBP(), CROWN()):
        assert torch.allclose(value(engine.bound(graph, affine)), most, atol=1e-5)
    assert inputs.batch == 3


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_attack_finds_the_worst_exchange(kind: str) -> None:
    network, inputs, query = problem(kind, 2)
    result = pgd(query, steps=20, restarts=5, early_stop=False, seed=0)
    best = worst(network, query).amax(1)
    assert inputs.contains(result.points).all()
    assert (result.violation <= best.double() + 1e-6).all()
    assert (result.violation >= best.double() - 1e-5).all()
