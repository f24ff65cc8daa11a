"""Texts with exchanged words: brute force over all substitutions, and sets made from token numbers."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.specs.sets.substitutions import count_substitutions
from torch import Tensor

from robustbench_local.errors import EmptySetError, LabelError, RadiusError, ShapeError
from robustbench_local.specs import Divisible, TokenSet, embedded_tokens, one_hot_tokens

from .random_sets import Draw, random_tokens, samples, uniform


def members(inputs: TokenSet, b: int) -> Tensor:
    """All points of set b, (N, T, D), by trying every combination of candidates."""
    T, S = inputs.candidates.shape[1:3]
    found = []
    for index in product(range(S), repeat=T):
        there = all(bool(inputs.mask[b, t, s]) for t, s in enumerate(index))
        swaps = sum(s != o for s, o in zip(index, inputs.original[b].tolist(), strict=True))
        if there and swaps <= int(inputs.swaps[b]):
            found.append(inputs.candidates[b, torch.arange(T), torch.tensor(index)])
    return torch.stack(found)


@given(st.integers(0, 2**16), st.sampled_from([torch.float32, torch.float64]))
def test_everything_agrees_with_brute_force(seed: int, dtype: torch.dtype) -> None:
    inputs = random_tokens(Draw(seed, 2, (1,), dtype, 1.0, 1))
    a, x = uniform(seed + 1, (2, 3, *inputs.shape)), uniform(seed + 2, (2, *inputs.shape)).to(dtype)
    upper, nearest, hull = inputs.support(a), inputs.project(x), inputs.box()
    found = inputs.parts()
    assert isinstance(inputs, Divisible) and found is not None
    parts, owner = found
    for b in range(2):
        points = members(inputs, b)
        assert torch.allclose((a[b].flatten(1) @ points.flatten(1).T).amax(1), upper[b], atol=1e-12)
        gaps = (points - x[b].double()).flatten(1).norm(dim=1)
        assert float((nearest[b].double() - x[b].double()).norm()) <= float(gaps.min()) + 1e-12
        assert torch.equal(hull.lower[b], points.amin(0)) and torch.equal(hull.upper[b], points.amax(0))
        mine = parts.lower[owner == b]
        assert {tuple(p.flatten().tolist()) for p in mine} == {tuple(p.flatten().tolist()) for p in points}
        some = inputs.select(torch.full((len(points),), b))
        assert some.contains(points).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 6))
def test_substitutions_are_counted_right(others: list[int], swaps: int) -> None:
    changes = product(*(range(n + 1) for n in others))
    assert count_substitutions(others, swaps) == sum(sum(map(bool, c)) <= swaps for c in changes)


def test_two_words_by_hand() -> None:
    table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    tokens, choices = torch.tensor([[0, 1]]), torch.tensor([[[2, -1], [0, 3]]])
    one = embedded_tokens(table, tokens, choices, 1)
    assert one.shape == (2, 2) and one.swaps.tolist() == [1] and one.dtype == torch.float32
    a = torch.tensor([[[[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [-1.0, 0.0]]]])
    assert one.support(a).tolist() == [[6.0, 0.0]]  # 0 + 1 at first, then the last word alone
    assert embedded_tokens(table, tokens, choices, 2).support(a).tolist() == [[8.0, 0.0]]
    assert embedded_tokens(table, tokens, choices, 0).support(a).tolist() == [[1.0, -1.0]]
    swapped = torch.tensor([[[0.0, 2.0], [1.0, 0.0]]])
    assert one.contains(swapped) and one.choices(swapped).tolist() == [[1, 0]]
    both = torch.tensor([[[0.0, 2.0], [3.0, 3.0]]])
    assert not one.contains(both) and one.choices(both).tolist() == [[1, 2]]
    assert one.project(both).tolist() == [[[0.0, 0.0], [3.0, 3.0]]]  # the longer way is saved
    assert one.choices(both + 1).tolist() == [[-1, -1]]
    beside = swapped.clone()
    beside[0, 0, 1] = math.nextafter(2.0, 3.0)
    assert one.contains(beside)  # the same float32
    assert not one.contains(torch.nextafter(swapped.double(), torch.full((1, 2, 2), 9.0).double()))


def test_one_hot_rows() -> None:
    inputs = one_hot_tokens(6, torch.tensor([[4, 0, 1]]), torch.tensor([[[1, 2], [3, -1], [-1, -1]]]), 2)
    assert inputs.shape == (3, 6) and inputs.centre().argmax(2).tolist() == [[4, 0, 1]]
    for k in range(10):
        x = samples(inputs, k, torch.float32)
        assert inputs.contains(x) and torch.equal(x.sum(2), torch.ones(1, 3))
        assert x.argmax(2)[0, 2] == 1
    a = uniform(3, (1, 2, 3, 6))
    found = inputs.parts()
    assert found is not None and found[0].batch == 1 + 2 + 1 + 2
    best = torch.einsum("nv,kv->nk", found[0].lower.flatten(1), a[0].flatten(1)).amax(0)
    assert torch.allclose(inputs.support(a)[0], best)


def test_samples_reach_every_substitution_and_small_steps_swap() -> None:
    inputs = one_hot_tokens(5, torch.tensor([[0, 1]]), torch.tensor([[[2, 3], [4, -1]]]), 1)
    seen = {tuple(inputs.choices(samples(inputs, k, torch.float32))[0].tolist()) for k in range(200)}
    assert seen == {(0, 0), (1, 0), (2, 0), (0, 1)}
    g = torch.zeros(1, 2, 5)
    g[0, 0, 3], g[0, 1, 4] = 2.0, 1.0
    x = inputs.project(inputs.centre().float() + 0.05 * inputs.steepest(g))
    assert inputs.choices(x).tolist() == [[2, 0]]  # the one swap of largest gain


def test_many_substitutions_are_not_listed() -> None:
    tokens, choices = (
        torch.zeros(1, 20, dtype=torch.int64),
        torch.arange(20).reshape(1, 1, 20).expand(1, 20, 20),
    )
    inputs = one_hot_tokens(21, tokens, choices + 1, 3)
    assert inputs.parts() is None
    assert count_substitutions([20] * 20, 3) == 1 + 400 + 190 * 400 + 1140 * 8000


def test_what_makes_no_token_set() -> None:
    candidates, original = torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"candidates have shape \(2, 3, 4\)"):
        TokenSet(candidates[..., 0], original, 1)
    with pytest.raises(ShapeError, match=r"original has shape \(2, 3\) and dtype torch\.float32"):
        TokenSet(candidates, original.float(), 1)
    with pytest.raises(LabelError, match="original is 4 at sample 0, position 0, of 4 candidates"):
        TokenSet(candidates, original + 4, 1)
    with pytest.raises(RadiusError, match=r"swaps is 1\.5"):
        TokenSet(candidates, original, torch.tensor([1.0, 1.5]))
    with pytest.raises(ShapeError, match=r"swaps has shape \(3,\)"):
        TokenSet(candidates, original, torch.tensor([1, 1, 1]))
    with pytest.raises(ShapeError, match=r"mask has shape \(2, 3, 4\) and dtype torch\.int64"):
        TokenSet(candidates, original, 1, mask=torch.ones(2, 3, 4, dtype=torch.int64))
    with pytest.raises(LabelError, match="token 7 at sample 0, position 1 is none of 5"):
        one_hot_tokens(5, torch.tensor([[0, 7]]), torch.zeros(1, 2, 1, dtype=torch.int64), 1)
    with pytest.raises(ShapeError, match=r"tokens \(1, 2\), choices \(1, 3, 1\)"):
        one_hot_tokens(5, torch.tensor([[0, 1]]), torch.zeros(1, 3, 1, dtype=torch.int64), 1)
    third = TokenSet(
        torch.full((1, 1, 2, 1), 1 / 3, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.int64), 1
    )
    with pytest.raises(EmptySetError, match=r"position 0 is none of torch\.float32"):
        third.project(torch.zeros(1, 1, 1))
