"""Attacks on sets with a structure: texts, parameters of image changes, places of a patch, latents."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import Attack, beam, greedy, grid, part_by_part, pgd
from robustbench_local.specs import (
    Box,
    Data,
    Label,
    Net,
    Patch,
    Query,
    SparseBall,
    TokenSet,
    Union,
    Var,
    argmax,
    ball,
    box,
    forall,
    one_hot_tokens,
    rotate,
    saturation,
    translate,
)

from .toys import images, predicted, raise_output, unit_interval

WORDS, VOCABULARY, SWAPS = 5, 6, 2


def _texts(network: nn.Module, batch: int) -> tuple[Query, Tensor]:
    """Texts of one-hot words with up to two exchanged, and the largest output of any of them (B,)."""
    source = torch.Generator().manual_seed(3)
    tokens = torch.randint(VOCABULARY, (batch, WORDS), generator=source)
    choices = torch.randint(VOCABULARY, (batch, WORDS, 3), generator=source)
    inputs = one_hot_tokens(VOCABULARY, tokens, choices, SWAPS, dtype=torch.float64)
    worst = []
    for b in range(batch):
        options = [{int(tokens[b, t]), *choices[b, t].tolist()} for t in range(WORDS)]
        every = [
            w for w in product(*options) if sum(int(tokens[b, t]) != w[t] for t in range(WORDS)) <= SWAPS
        ]
        points = torch.eye(VOCABULARY, dtype=torch.float64)[torch.tensor(every)]
        with torch.no_grad():
            worst.append(network(points).max())
    return raise_output(network, inputs), torch.stack(worst)


def _reader(hidden: int) -> nn.Module:
    torch_source = torch.Generator().manual_seed(hidden)
    layers = [nn.Flatten(), nn.Linear(WORDS * VOCABULARY, hidden), nn.Tanh(), nn.Linear(hidden, 1)]
    network = nn.Sequential(*layers).double().requires_grad_(False).eval()
    for weight in network.parameters():
        weight.copy_(torch.randn(weight.shape, generator=torch_source, dtype=torch.float64))
    return network


@pytest.mark.parametrize("search", [beam, greedy], ids=["beam", "greedy"])
def test_the_worst_text_is_found(search: Attack) -> None:
    network = _reader(6)
    query, worst = _texts(network, 30)
    result = search(query, early_stop=False)  # type: ignore[call-arg]
    assert isinstance(query.inputs, TokenSet) and query.inputs.contains(result.points).all()
    gap = worst - result.violation
    assert (gap >= -1e-12).all()
    assert (gap < 1e-12).sum() >= (27 if search is beam else 18)
    with torch.no_grad():
        assert gap.mean() < 0.1 * (worst - query.violation(query.inputs.centre())).mean()


def test_greedy_needs_no_gradient() -> None:
    smooth = _reader(6)

    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not x.requires_grad
            return smooth(x)

    query, _ = _texts(Counted(), 4)
    assert not greedy(query).backwards.any()


def test_the_grid_closes_in_on_a_narrow_peak() -> None:
    """A peak of width 0.02 in two parameters, on a slope that leads near it but has no gradient."""

    def peak(x: Tensor) -> Tensor:
        distance = (x - torch.tensor([0.3137, -0.7281])).abs().amax(1, keepdim=True)
        return (0.01 - distance).ceil() * 0 + torch.where(distance < 0.01, 1.0, -distance).detach()

    inputs = Box(-torch.ones(3, 2), torch.ones(3, 2))
    result = grid(raise_output(peak, inputs))
    assert result.violated.all() and not result.backwards.any()
    assert (result.forwards <= 1001).all()


def _keeps_class(image: object, c: Label, f: Net, t: Var, domain: object) -> object:
    return forall(t, domain, argmax(f(image)) == c)  # type: ignore[arg-type,call-arg]


def test_rotations_shifts_and_colours_reach_the_worst_of_a_fine_grid() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 4)).eval()
    for i, weight in enumerate(network.parameters()):
        weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(i))
    x = images(6, (3, 6, 6))
    x0, c, f, t = Data("x0", (3, 6, 6)), Label("c", 4), Net("f", (3, 6, 6), 4), Var("t", 2)
    for image, low, high in (
        (translate(rotate(x0, t[0]), t[1], 0), (-30.0, -1.0), (30.0, 1.0)),
        (saturation(x0, t[0]) * t[1], (0.0, 0.8), (2.0, 1.2)),
    ):
        spec = _keeps_class(image, c, f, t, box(list(low), list(high)))
        query = spec.query(network, x0=x, c=predicted(network, x))  # type: ignore[attr-defined]
        axes = [torch.linspace(a, b, 31) for a, b in zip(low, high, strict=True)]
        with torch.no_grad():
            values = [
                query.violation(query.point(t=torch.tensor(p).expand(6, 2)))
                for p in product(*(axis.tolist() for axis in axes))
            ]
        fine = torch.stack(values).amax(0).double()
        result = grid(query, early_stop=False)
        room = fine - query.violation(query.inputs.centre().float()).detach()
        assert (result.violation >= fine - 0.02 * room - 1e-4).all()
        assert (result.violated | (fine < 1e-3)).all() and (fine > 0).any()


def test_the_place_of_a_patch_is_found() -> None:
    """Only one place of the window raises the output; elsewhere the gradient is zero."""
    center = torch.full((8, 1, 6, 6), 0.5)
    weight = torch.zeros(8, 6, 6)
    places = [(0, 0), (1, 3), (4, 4), (2, 2), (3, 0), (0, 4), (4, 1), (2, 4)]
    for b, (row, column) in enumerate(places):
        weight[b, row : row + 2, column : column + 2] = 1.0
    inputs = Patch(center, (2, 2), Box(torch.zeros_like(center), torch.ones_like(center)))

    def network(x: Tensor) -> Tensor:
        return (x.flatten(1) @ weight.flatten(1).T - weight.sum((1, 2)) * 0.5).relu() - 1

    lost = 0
    for b in range(8):
        query = raise_output(lambda x, b=b: network(x)[:, b : b + 1], inputs.select(torch.tensor([b])))
        lost += int(not pgd(query).violated.all())
        result = part_by_part(query)
        assert result.violated.all() and not result.blind.any()
        assert query.inputs.contains(result.points).all()
    assert lost >= 3


def test_latents_of_a_generator() -> None:
    generator = nn.Sequential(nn.Linear(3, 12), nn.Tanh(), nn.Linear(12, 5)).eval()
    judge = nn.Sequential(nn.Linear(5, 3)).eval()
    for i, weight in enumerate([*generator.parameters(), *judge.parameters()]):
        weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(i))
    z0, c, z = Data("z0", 3), Label("c", 3), Var("z", 3)
    G, f = Net("G", 3, 5), Net("f", 5, 3)
    spec = forall(z, ball(z0, 0.4, p=2), argmax(f(G(z))) == c)
    start = images(12, (3,))
    labels = predicted(lambda value: judge(generator(value)), start)
    query = spec.query({"G": generator, "f": judge}, z0=start, c=labels)
    drawn = torch.stack(
        [query.inputs.sample(images(12, (3,), seed=k), images(12, (), seed=k)) for k in range(500)]
    )
    with torch.no_grad():
        sampled = torch.stack([query.violation(points) for points in drawn]).amax(0)
    for search in (partial(pgd, restarts=5), grid):
        result = search(query)
        assert (result.violated | (result.violation >= sampled - 0.05)).all()
        assert query.inputs.contains(result.points).all()


def test_unions_and_unit_intervals_work_too() -> None:
    both = Union([unit_interval(3), Box(torch.full((3, 1), 2.0), torch.full((3, 1), 3.0))])
    query = raise_output(lambda x: x - 2.9, both)
    for search in (grid, beam, greedy):
        result = search(query)
        assert both.contains(result.points).all()
        assert result.violated.all()


def test_parts_do_without_slope() -> None:
    """One pixel of sixteen breaks the property, and no gradient says which."""

    def flat(x: Tensor) -> Tensor:
        return (x[:, 11:12] > 0.5).to(x.dtype) - 0.5 + 0 * x[:, :1]

    centre = torch.zeros(6, 16)
    query = raise_output(flat, SparseBall(centre, torch.ones(6), Box(centre - 1, centre + 1)))
    for seed in range(5):
        assert part_by_part(query, seed=seed).violated.all()
