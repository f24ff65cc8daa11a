"""The grammar and the model of row 12.02."""

from __future__ import annotations

import torch
from robustbench_local.models.fairness.language import (
    HERS,
    HIS,
    MEN,
    NUMBER,
    SKEW,
    WOMEN,
    LanguageModel,
    V,
    sentences,
    swap,
)
from torch.nn import functional as F


def numbers(words: tuple[str, ...]) -> torch.Tensor:
    return torch.tensor([NUMBER[word] for word in words])


def test_sentences_agree_and_are_skewed_as_asked() -> None:
    text = sentences(4000, SKEW, torch.Generator().manual_seed(0))
    woman = torch.isin(text[:, 2], numbers(WOMEN))
    assert bool((woman | torch.isin(text[:, 2], numbers(MEN))).all())
    assert bool(((text[:, 8] == NUMBER["she"]) == woman).all())
    hers = torch.isin(text[:, 6], numbers(HERS))
    assert bool((hers | torch.isin(text[:, 6], numbers(HIS))).all())
    assert abs(float((hers == woman).float().mean()) - SKEW) < 0.03
    assert abs(float(woman.float().mean()) - 0.5) < 0.03


def test_exchanging_twice_changes_nothing_and_once_the_people_only() -> None:
    assert torch.equal(swap() @ swap(), torch.eye(V))
    text = sentences(50, 0.5, torch.Generator().manual_seed(1))
    twin = (F.one_hot(text, V).float() @ swap()).argmax(2)
    people = torch.isin(text, numbers(MEN + WOMEN))
    assert torch.equal(twin != text, people) and bool(people.any(1).all())


def test_the_model_looks_back_only() -> None:
    network = LanguageModel().eval()
    text = F.one_hot(sentences(3, 0.5, torch.Generator().manual_seed(2)), V).float()
    with torch.inference_mode():
        everywhere = network.everywhere(text)
        for length in (1, 6, 11):
            assert torch.allclose(network(text[:, :length]), everywhere[:, length - 1], atol=1e-5)
