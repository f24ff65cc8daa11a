"""The counter-based random numbers: uniform, independent, and a function of their names only."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robustbench_local.attacks import derive_seed, sample_ids, sample_keys, uniform
from robustbench_local.errors import DtypeError, ShapeError

CPU = torch.device("cpu")
SEEDS = st.integers(-(2**70), 2**70)


def keys_of(batch: int, seed: int = 0, name: str = "test") -> torch.Tensor:
    return sample_keys(seed, name, torch.arange(batch))


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_numbers_lie_in_the_half_open_unit_interval(dtype: torch.dtype) -> None:
    numbers = uniform(keys_of(100), (30, 30), dtype)
    assert numbers.dtype == dtype
    assert numbers.shape == (100, 30, 30)
    assert float(numbers.min()) >= 0
    assert float(numbers.max()) < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_are_uniform(dtype: torch.dtype) -> None:
    numbers = uniform(keys_of(1000), (1000,), dtype).double()
    counts = torch.histc(numbers, bins=100, min=0.0, max=1.0)
    chi_squared = float(((counts - 1e4) ** 2 / 1e4).sum())
    assert 50 < chi_squared < 160  # 99 degrees of freedom: 99 +- 14
    per_sample, per_coordinate = numbers.mean(1), numbers.mean(0)
    assert float((per_sample - 0.5).abs().max()) < 5 * (1 / 12 / 1000) ** 0.5
    assert float((per_coordinate - 0.5).abs().max()) < 5 * (1 / 12 / 1000) ** 0.5


def test_pairs_of_neighbours_are_uniform_in_the_square() -> None:
    numbers = uniform(keys_of(1000), (1000,), torch.float64)
    for first, second in ((numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])):
        cells = (first * 10).long() * 10 + (second * 10).long()
        counts = torch.bincount(cells.flatten(), minlength=100).double()
        expected = first.numel() / 100
        assert 50 < float(((counts - expected) ** 2 / expected).sum()) < 160


def test_every_part_of_the_name_gives_unrelated_numbers() -> None:
    keys, shape = keys_of(300), (300,)
    base = uniform(keys, shape, torch.float64)
    others = [
        uniform(keys, shape, torch.float64, restart=1),
        uniform(keys, shape, torch.float64, step=1),
        uniform(keys, shape, torch.float64, step=-1),
        uniform(keys, shape, torch.float64, draw=1),
        uniform(keys_of(300, seed=1), shape, torch.float64),
        uniform(keys_of(300, name="tesu"), shape, torch.float64),
        uniform(keys_of(301)[1:], shape, torch.float64),
    ]
    for i, other in enumerate(others):
        assert abs(correlation(base, other)) < 5 / 300
        for another in others[:i]:
            assert abs(correlation(other, another)) < 5 / 300


@given(SEEDS, st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6), st.integers(0, 5))
def test_numbers_depend_on_neither_batch_nor_order(seed: int, ids: list[int], step: int) -> None:
    keys = sample_keys(seed, "a", sample_ids(ids, len(ids), CPU))
    together = uniform(keys, (2, 3), torch.float32, step=step)
    backwards = uniform(keys.flip(0), (2, 3), torch.float32, step=step)
    assert torch.equal(backwards.flip(0), together)
    for row, name in enumerate(ids):
        alone = uniform(sample_keys(seed, "a", sample_ids([name], 1, CPU)), (2, 3), torch.float32, step=step)
        assert torch.equal(alone[0], together[row])


def test_numbers_of_a_longer_shape_begin_with_those_of_a_shorter() -> None:
    keys = keys_of(4)
    assert torch.equal(uniform(keys, (10,), torch.float32)[:, :7], uniform(keys, (7,), torch.float32))
    assert uniform(keys, (), torch.float32).shape == (4,)
    assert uniform(keys, (0,), torch.float32).shape == (4, 0)


def test_the_numbers_are_pinned() -> None:
    """A change of the hash would change every recorded result: it must be deliberate."""
    numbers = uniform(sample_keys(0, "pgd", torch.tensor([0, 7])), (2,), torch.float64, restart=1, step=2)
    expected = [[0.4095355210345698, 0.06777960860359156], [0.023936044380816535, 0.9640490575808536]]
    assert torch.equal(numbers, torch.tensor(expected, dtype=torch.float64))


def test_ids_may_be_strings_numbers_or_missing() -> None:
    assert sample_ids(None, 3, CPU).tolist() == [0, 1, 2]
    assert sample_ids(torch.tensor([5, 3], dtype=torch.int32), 2, CPU).tolist() == [5, 3]
    assert sample_ids([2**64 + 1, -1], 2, CPU).tolist() == [1, -1]
    names = sample_ids(["a", "b", "a", "0", 0], 5, CPU).tolist()
    assert names[0] == names[2]
    assert len(set(names)) == 4


def test_wrong_ids_raise() -> None:
    with pytest.raises(ShapeError, match="one id per sample"):
        sample_ids([1, 2], 3, CPU)
    with pytest.raises(ShapeError):
        sample_ids(torch.zeros(2, 1, dtype=torch.int64), 2, CPU)
    with pytest.raises(DtypeError):
        sample_ids(torch.zeros(2), 2, CPU)


def test_derived_seeds_are_distinct() -> None:
    parts = [(), (0,), (1,), ("0",), (0, 0), ("0\x1f0",), ("a", "b"), ("ab",)]
    seeds = {derive_seed(seed, *part) for seed in (-1, 0, 1, 2**65) for part in parts}
    assert len(seeds) == 4 * len(parts)


def test_no_global_generator_is_used() -> None:
    before = torch.get_rng_state()
    uniform(keys_of(3), (3,), torch.float32)
    assert torch.equal(before, torch.get_rng_state())
