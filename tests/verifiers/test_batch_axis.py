"""Batch axes that wander: a layout says how the module's tensor is made of samples, whatever moved it."""

from __future__ import annotations

import random

import pytest
import torch
from robustbench_local.verifiers.batch_axis import Layout
from torch import Tensor

BATCH = 3


def visible(samples: Tensor, layout: Layout) -> Tensor:
    """The module's tensor from samples (B, *layout.sample)."""
    ahead = len(layout.shape[: layout.axis]) + (layout.before > 1)
    moved = samples.movedim(0, ahead)
    return moved.reshape([s * (BATCH if a == layout.axis else 1) for a, s in enumerate(layout.shape)])


def splits(generator: random.Random, shape: tuple[int, ...]) -> list[int]:
    """A random shape of as many numbers, by merging neighbours and cutting axes in two."""
    sizes = list(shape)
    if len(sizes) > 1 and generator.random() < 0.5:
        at = generator.randrange(len(sizes) - 1)
        sizes[at : at + 2] = [sizes[at] * sizes[at + 1]]
    at = generator.randrange(len(sizes))
    divisors = [d for d in range(1, sizes[at] + 1) if sizes[at] % d == 0]
    one = generator.choice(divisors)
    return [*sizes[:at], one, sizes[at] // one, *sizes[at + 1 :]]


@pytest.mark.parametrize("seed", range(60))
def test_permutations_and_views_of_samples_equal_those_of_the_tensor(seed: int) -> None:
    generator = random.Random(seed)
    sample = tuple(generator.choice([1, 2, 3, 4, 6]) for _ in range(generator.randint(1, 3)))
    samples = torch.arange(float(BATCH * torch.Size(sample).numel())).reshape(BATCH, *sample)
    layout, tensor = Layout.plain(sample), samples
    assert layout.is_plain and layout.sample == sample
    for _ in range(6):
        if generator.random() < 0.5:
            order = generator.sample(range(len(layout.shape)), len(layout.shape))
            layout, axes = layout.permuted(order)
            samples, tensor = samples.permute(axes), tensor.permute(order)
        else:
            shape = splits(generator, layout.shape)
            axis = generator.randrange(len(shape))
            new = layout.viewed(shape, axis)
            if new is None:
                continue
            layout, samples = new, samples.reshape(BATCH, *new.sample)
            tensor = tensor.reshape([s * (BATCH if a == axis else 1) for a, s in enumerate(shape)])
        assert samples.shape[1:] == layout.sample
        assert torch.equal(visible(samples, layout), tensor)


def test_places_of_axes() -> None:
    layout = Layout((5, 6, 4), 1, 2, 3)  # (T, 2 B 3, E) of samples (T, 2, 3, E)
    assert layout.sample == (5, 2, 3, 4) and layout.from_right == 2 and layout.ahead == 10
    assert [layout.place(axis) for axis in (0, 1, 2, -1, -2)] == [1, None, 4, 4, None]
    assert [layout.place(axis, new=True) for axis in (0, 1, 2, 3)] == [1, 2, 4, 5]


def test_views_that_tear_the_batch_axis_apart() -> None:
    time_first = Layout((5, 1, 4), 1)  # (T, B, E)
    assert time_first.viewed((5, 4), 1) == Layout((5, 4), 1, 1, 4)
    assert time_first.viewed((5, 4), 0) == Layout((5, 4), 0, 5, 1)
    assert time_first.viewed((2, 10), 0) is None  # five steps do not fill two rows
