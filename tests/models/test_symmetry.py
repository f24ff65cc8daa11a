"""The group convolutions of row 10.12."""

from __future__ import annotations

import pytest
import torch
from robustbench_local.models.physics.symmetry import Pair, rotated, turned


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_change_no_logit_of_the_symmetric_network(turns: int) -> None:
    network = Pair().double().eval()
    x = torch.rand(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(network(x), network(turned(x, turns)), atol=1e-12)
        assert not torch.allclose(network.usual(x), network.usual(turned(x, turns)), atol=1e-3)
        assert not torch.allclose(network(x), network(x.flip(3)), atol=1e-3)  # mirrored is not turned


def test_rotated_digits_are_the_same_every_time_and_few() -> None:
    images, labels = rotated("train")
    assert images.shape == (200, 1, 8, 8) and labels.unique().numel() == 10
    assert torch.equal(images, rotated.__wrapped__("train")[0])
    assert 0 <= float(images.min()) and float(images.max()) <= 1 + 1e-6
