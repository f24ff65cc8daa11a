"""Classifiers of digits under transformations of their images: brackets, verdicts, dense sampling."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import pgd
from robustbench_local.data import load_dataset
from robustbench_local.models import load_model
from robustbench_local.specs import (
    Box,
    Data,
    Formula,
    Label,
    Net,
    Query,
    Term,
    Var,
    affine,
    argmax,
    ball,
    bias_field,
    box,
    brightness,
    contrast,
    forall,
    gamma,
    gaussian_blur,
    hue,
    motion_blur,
    rotate,
    saturation,
    scale,
    shear,
    translate,
)
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    AlphaCROWN,
    Budget,
    Forward,
    InputSplitting,
    Verifier,
    from_torch,
)

from .networks import fill, uniform

COUNT = 6
X0, C, F = Data("x0", (1, 8, 8)), Label("c", 10), Net("f", (1, 8, 8), 10)
A, B = Var("a"), Var("b")
K = Var("k", 3)

#: The image, the box of the parameters: name -> (term, variables and domain).
CASES: dict[str, tuple[Term, list[Var], Formula]] = {
    "rotate by 5 degrees": (rotate(X0, A), [A], box(-5, 5)(A)),
    "rotate and gain": (rotate(X0, A) * B, [A, B], box(-5, 5)(A) & box(0.9, 1.1)(B)),
    "rotate with the border": (rotate(X0, A, border=True), [A], box(2, 12)(A)),
    "translate": (translate(X0, A, B), [A, B], box(-0.3, 0.3)(A) & box(-0.3, 0.3)(B)),
    "scale": (scale(X0, A), [A], box(0.9, 1.1)(A)),
    "shear": (shear(X0, A), [A], box(-0.1, 0.1)(A)),
    "affine": (affine(X0, angle=A, factor=B), [A, B], box(-3, 3)(A) & box(0.95, 1.05)(B)),
    "brightness and contrast": (brightness(contrast(X0, B), A), [A, B], box(-0.1, 0.1)(A) & box(0.8, 1.2)(B)),
    "gamma": (gamma(X0, A), [A], box(0.6, 1.6)(A)),
    "bias field": (bias_field(X0, K), [K], box([0.9, -0.2, -0.2], [1.1, 0.2, 0.2])(K)),
    "Gaussian blur": (gaussian_blur(X0, A, radius=1), [A], box(0.3, 0.7)(A)),
    "motion blur": (motion_blur(X0, A, radius=1), [A], box(1, 2.5)(A)),
}


@cache
def digits() -> tuple[Tensor, Tensor]:
    data = load_dataset("digits")
    return data.inputs[:COUNT], data.labels[:COUNT]


def sampled(query: Query, moving: int, count: int = 400) -> Tensor:
    """The largest violation (B,) at a grid of one parameter, or at random points and corners of several."""
    hull = query.inputs.box()
    lower, upper = hull.cast(torch.float32)
    if moving == 1:
        shares = torch.linspace(0, 1, count).reshape(-1, 1)
    else:
        shares = uniform(0, (count, moving), 0, 1).float()
        shares[: count // 4] = shares[: count // 4].round()
    found = []
    for share in shares:
        x = lower.clone()
        x[:, :moving] += share * (upper - lower)[:, :moving]
        found.append(query.violation(query.inputs.project(x)))
    return torch.stack(found).amax(0)


def query_of(name: str, model: nn.Module) -> tuple[Query, int]:
    image, variables, domain = CASES[name]
    images, labels = digits()
    query = forall(variables, domain, argmax(F(image)) == C).query(model, x0=images, c=labels)
    return query, sum(torch.Size(v.shape).numel() for v in variables)


@cache
def model(name: str) -> nn.Module:
    return load_model(name, "nominal").eval().requires_grad_(False)


METHODS: tuple[Verifier, ...] = (IBP(), Forward(symbols=20), CROWN())


@pytest.mark.parametrize("name", CASES)
def test_brackets_and_verdicts(name: str) -> None:
    query, moving = query_of(name, model("digits-mlp"))
    graph = from_torch(query.network, query.inputs.centre()[:1].float())
    truth = sampled(query, moving)
    attack = pgd(query, steps=10)
    assert bool(query.inputs.contains(attack.points).all())
    lower = torch.maximum(truth.double(), attack.violation)
    for method in METHODS:
        assert bool((method.bound(graph, query).upper >= lower - 1e-4).all()), method.name
    split = InputSplitting().bound(graph, query).upper
    assert bool((split >= lower - 1e-4).all())
    holds = query.holds(split)
    assert not bool((holds & (lower > 0)).any()), "a counterexample to what is proved"
    assert bool(holds[lower < -0.1].all()), "everything that is clearly true is proved"


def test_a_convolutional_network_turned() -> None:
    query, moving = query_of("rotate and gain", model("digits-cnn"))
    graph = from_torch(query.network, query.inputs.centre()[:1].float())
    truth = sampled(query, moving)
    crown, alpha = CROWN().bound(graph, query).upper, AlphaCROWN().bound(graph, query).upper
    split = InputSplitting().bound(graph, query, Budget(seconds=20.0)).upper
    for upper in (crown, alpha, split):
        assert bool((upper >= truth - 1e-4).all())
    assert bool((alpha <= crown + 1e-4).all() and (split <= crown + 1e-4).all())
    assert bool((query.holds(split) == (truth < 0)).all())
    assert int(query.holds(crown).sum()) < int(query.holds(split).sum())


def test_tightened_bounds_meet_the_worst_angle() -> None:
    query, _ = query_of("rotate by 5 degrees", model("digits-mlp"))
    graph = from_torch(query.network, query.inputs.centre()[:1].float())
    truth = sampled(query, 1, count=2001)
    upper = InputSplitting(parts=600).bound(graph, query, Budget(tighten=True)).upper
    assert bool((upper >= truth - 1e-4).all())
    torch.testing.assert_close(upper, truth, rtol=0.02, atol=0.02)


def test_a_ball_of_images_and_a_rotation_at_once() -> None:
    """The images of the ball turned by the angle: 64 pixels and an angle vary."""
    x = Var("x", like=X0)
    spec = forall([x, A], ball(X0, 0.01)(x) & box(-2, 2)(A), argmax(F(rotate(x, A))) == C)
    images, labels = digits()
    query = spec.query(model("digits-mlp"), x0=images, c=labels)
    graph = from_torch(query.network, query.inputs.centre()[:1].float())
    seeds = (uniform(i, (COUNT, *query.inputs.shape), 0, 1).float().clamp(max=0.999) for i in range(100))
    truth = torch.stack([query.violation(query.inputs.sample(s, torch.zeros(COUNT))) for s in seeds]).amax(0)
    lower = torch.maximum(truth.double(), pgd(query, steps=20).violation)
    ibp, crown = (v.bound(graph, query).upper for v in (IBP(), CROWN()))
    assert bool((ibp >= crown).all() and (crown >= lower - 1e-4).all())
    assert bool(query.holds(crown).any())
    cut = InputSplitting(most=65, parts=200).bound(graph, query).upper
    assert bool((cut >= lower - 1e-4).all() and (cut <= crown).all())


def test_colours_of_a_toy() -> None:
    """A small classifier of coloured images, one with a grey pixel, under changes of hue and saturation."""
    toy = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
    fill(toy, 3)
    image, c, f = Data("x0", (3, 4, 4)), Label("c", 3), Net("f", (3, 4, 4), 3)
    images = uniform(5, (COUNT, 3, 4, 4), 0, 1).float()
    images[0, :, 0, 0] = 0.5  # a grey pixel has no hue
    labels = toy(images).argmax(1)
    term = saturation(hue(image, A), B)
    spec = forall([A, B], box(-20, 20)(A) & box(0.7, 1.3)(B), argmax(f(term)) == c)
    query = spec.query(toy.requires_grad_(False), x0=images, c=labels)
    graph = from_torch(query.network, query.inputs.centre()[:1].float())
    truth = sampled(query, 2)
    for method in METHODS:
        assert bool((method.bound(graph, query).upper >= truth - 1e-4).all()), method.name
    split = InputSplitting().bound(graph, query).upper
    assert bool((split >= truth - 1e-4).all())
    assert torch.equal(query.holds(split), truth < 0)


def test_sets_of_one_point_are_exact() -> None:
    for name in CASES:
        query, _ = query_of(name, model("digits-mlp"))
        middle = query.inputs.centre()
        point = Query(query.network, Box(middle, middle), query.C, query.d, query.tree)
        graph = from_torch(query.network, middle[:1].float())
        exact = query.violation(middle.float()).double()
        for method in METHODS:
            torch.testing.assert_close(
                method.bound(graph, point).upper.double(), exact, rtol=1e-3, atol=2e-3, msg=f"{name} {method}"
            )
