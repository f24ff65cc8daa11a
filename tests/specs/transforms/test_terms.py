"""Transformations in the language: what terms mean, print and refuse; attacks and bounds agree about them."""

from __future__ import annotations

import pytest
import torch
from robustbench_local.specs.transforms import geometry, intensity
from torch import Tensor, nn

from robustbench_local.errors import ShapeError
from robustbench_local.specs import (
    Data,
    Label,
    Net,
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

X0, C, F = Data("x0", (1, 4, 5)), Label("c", 3), Net("f", (1, 4, 5), 3)
T = Var("t", 2, names=["angle", "gain"])


def noise(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def network() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).eval()
    with torch.no_grad():
        model[1].weight.copy_(noise(0, 3, 20) - 0.5)
        model[1].bias.zero_()
    return model.requires_grad_(False)


def test_a_query_computes_the_transformed_network() -> None:
    spec = forall(T, box([-5, 0.9], [5, 1.1]), argmax(F(rotate(X0, T.angle) * T.gain)) == C)
    images, labels = noise(1, 3, 1, 4, 5), torch.tensor([0, 1, 2])
    query = spec.query(network(), x0=images, c=labels)
    t = torch.tensor([[-5.0, 0.9], [2.0, 1.0], [0.0, 1.1]])
    point = query.layout.merge({"t": t, "x0": images})
    y = network()(geometry.rotate(images, t[:, 0]) * t[:, 1].reshape(3, 1, 1, 1))
    margin = torch.stack([torch.cat((row[:k], row[k + 1 :])).max() - row[k] for k, row in enumerate(y)])
    torch.testing.assert_close(query.violation(point), margin)


def test_one_image_for_all_and_an_image_that_varies() -> None:
    shared = forall(T, box([-5, 0.9], [5, 1.1]), argmax(F(rotate(X0, T.angle) * T.gain)) == C)
    image = noise(1, 1, 1, 4, 5)
    query = shared.query(network(), x0=image, c=torch.tensor([0, 1]))
    t = torch.tensor([[-5.0, 0.9], [2.0, 1.0]])
    y = network()(geometry.rotate(image.expand(2, -1, -1, -1), t[:, 0]) * t[:, 1].reshape(2, 1, 1, 1))
    assert query.inputs.shape == (2,)
    torch.testing.assert_close(query.network(t), y)

    x, angle = Var("x", like=X0), Var("angle")
    moving = forall([x, angle], ball(X0, 0.1)(x) & box(-5, 5)(angle), argmax(F(rotate(x, angle))) == C)
    query = moving.query(network(), x0=image, c=torch.tensor([0]))
    point = query.layout.merge({"x": image + 0.05, "angle": torch.tensor([3.0])})
    assert bool(query.inputs.contains(point).all())
    torch.testing.assert_close(
        query.network(point), network()(geometry.rotate(image + 0.05, torch.tensor([3.0])))
    )


def test_texts_name_every_setting() -> None:
    z, k = Var("z"), Var("k", 3)
    rgb = Data("rgb", (3, 4, 5))
    texts = {
        "rotate(x0, angle=t[0], border=True)": rotate(X0, T.angle, border=True),
        "translate(x0, right=z, down=0)": translate(X0, z, 0),
        "scale(x0, factor=z)": scale(X0, z),
        "shear(x0, horizontal=z)": shear(X0, z),
        "affine(x0, angle=z, right=2)": affine(X0, angle=z, right=2),
        "brightness(x0, shift=z)": brightness(X0, z),
        "contrast(x0, factor=z, pivot=0.5)": contrast(X0, z),
        "gamma(x0, exponent=z, toe=0.00390625)": gamma(X0, z),
        "bias_field(x0, coefficients=k)": bias_field(X0, k),
        "saturation(rgb, factor=z)": saturation(rgb, z),
        "hue(rgb, degrees=z)": hue(rgb, z),
        "gaussian_blur(x0, sigma=z, radius=2, border=False)": gaussian_blur(X0, z),
        "motion_blur(x0, length=z, direction=[1, 0], radius=1, border=True)": motion_blur(
            X0, z, direction=[1, 0], radius=1, border=True
        ),
    }
    for text, term in texts.items():
        assert term.text == text and term.shape == term.children[0].shape  # type: ignore[attr-defined]


def test_settings_reach_the_function() -> None:
    z = Var("z")
    image = noise(1, 2, 1, 4, 5)
    values = torch.tensor([[0.7], [1.3]])
    for term, expected in (
        (rotate(X0, z, border=True), geometry.rotate(image, values[:, 0], border=True)),
        (contrast(X0, z, pivot=0.2), intensity.contrast(image, values[:, 0], pivot=0.2)),
        (gamma(X0, z, toe=0.5), intensity.gamma(image, values[:, 0], toe=0.5)),
    ):
        query = forall(z, box(0, 2), F(term)[0] <= 1).query(network(), x0=image)
        point = query.layout.merge({"z": values[:, 0], "x0": image})
        torch.testing.assert_close(query.network(point), network()(expected))


def test_what_does_not_fit_is_refused_when_the_term_is_made() -> None:
    z = Var("z")
    with pytest.raises(ShapeError, match=r"\(channels, height, width\)"):
        rotate(Data("v", 4), z)
    with pytest.raises(ShapeError, match="angle"):
        rotate(X0, T)
    with pytest.raises(ShapeError, match="1 channels"):
        hue(X0, z)
    with pytest.raises(ShapeError, match="1, 3, 6, 10"):
        bias_field(X0, T)
