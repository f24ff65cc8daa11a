"""Spectral norms: never below the exact norm, and close to it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from robustbench_local.verifiers.spectral import convolution_norm_bound, matrix_norm_bound
from torch import Tensor, nn

from robustbench_local.verifiers import spectral

from ..networks import uniform

SHAPES = [(1, 1), (1, 7), (6, 1), (5, 5), (40, 30), (30, 200)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("iterated", [False, True])
def test_matrices(shape: tuple[int, int], iterated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if iterated:
        monkeypatch.setattr(spectral, "_EIGENVALUES", 0)
    for seed, scale in ((1, 1.0), (2, 1e-150), (3, 1e150)):
        matrix = scale * uniform(seed, shape)
        exact, found = float(torch.linalg.matrix_norm(matrix, 2)), matrix_norm_bound(matrix)
        assert exact <= found <= 1.01 * exact
        assert found <= (1 + 1e-9) * exact or iterated


def test_large_and_awkward_matrices() -> None:
    matrix = uniform(1, (1100, 1030))
    exact = float(torch.linalg.matrix_norm(matrix, 2))
    assert exact <= matrix_norm_bound(matrix) <= 1.01 * exact
    ones = torch.eye(1500, dtype=torch.float64)  # all singular values alike: the worst case of the iteration
    assert 1 <= matrix_norm_bound(ones) <= 1.01
    assert matrix_norm_bound(torch.zeros(3, 4)) == 0 == matrix_norm_bound(torch.zeros(0, 4))
    for bad in (math.nan, math.inf):
        assert matrix_norm_bound(torch.tensor([[1.0, bad]])) == math.inf


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 8, 7), {"kernel_size": 3, "padding": 1}),
    "valid": ((2, 8, 8), {"kernel_size": 3}),
    "padded widely": ((2, 5, 5), {"kernel_size": 3, "padding": 4}),
    "strided": ((2, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "stride over kernel": ((2, 9, 9), {"kernel_size": 2, "stride": 3}),
    "uneven": ((2, 8, 9), {"kernel_size": (2, 4), "stride": (1, 3), "padding": (1, 2)}),
    "dilated": ((2, 9, 9), {"kernel_size": 3, "dilation": 2, "padding": 2}),
    "groups": ((4, 6, 6), {"kernel_size": 3, "groups": 2, "padding": 1}),
    "point": ((3, 4, 4), {"kernel_size": 1}),
}


def dense_norm(layer: nn.Module, shape: tuple[int, ...]) -> float:
    """Norm of the layer's matrix without bias."""
    eye = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    with torch.no_grad():
        rows: Tensor = layer(eye).flatten(1)
    return float(torch.linalg.matrix_norm(rows, 2))


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("iterated", [False, True])
def test_convolutions(name: str, iterated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if iterated:
        monkeypatch.setattr(spectral, "_MANY_EIGENVALUES", 0)
    shape, settings = CONVOLUTIONS[name]
    for seed in (1, 2):
        layer = nn.Conv2d(shape[0], 4, bias=False, **settings).double()
        layer.weight.data = uniform(seed, tuple(layer.weight.shape))
        exact = dense_norm(layer, shape)
        found = convolution_norm_bound(layer.weight, shape[1:], layer.stride, layer.dilation, layer.groups)
        assert exact <= found <= 1.25 * exact


def test_convolutions_in_one_and_three_dimensions() -> None:
    for layer, shape in ((nn.Conv1d(2, 3, 3, stride=2, bias=False), (2, 20)),
                         (nn.Conv3d(1, 2, 2, padding=1, bias=False), (1, 4, 3, 4))):  # fmt: skip
        layer = layer.double()
        found = convolution_norm_bound(layer.weight, shape[1:], layer.stride, layer.dilation, 1)
        assert dense_norm(layer, shape) <= found <= 1.25 * dense_norm(layer, shape)


def test_a_large_image_is_nearly_exact() -> None:
    """The torus adds a frame of the kernel's width: what it costs vanishes with the size."""
    layer = nn.Conv2d(1, 2, 3, padding=1, bias=False).double()
    layer.weight.data = uniform(5, (2, 1, 3, 3))
    exact = dense_norm(layer, (1, 24, 24))
    assert exact <= convolution_norm_bound(layer.weight, (24, 24), (1, 1), (1, 1), 1) <= 1.01 * exact


def test_the_bound_without_frequencies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "_ENTRIES", 0)
    layer = nn.Conv2d(2, 3, 3, padding=1, bias=False).double()
    found = convolution_norm_bound(layer.weight, (6, 6), (1, 1), (1, 1), 1)
    assert dense_norm(layer, (2, 6, 6)) <= found
    assert convolution_norm_bound(layer.weight * math.nan, (6, 6), (1, 1), (1, 1), 1) == math.inf
