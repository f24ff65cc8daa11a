"""Networks of the zoo that hide their gradient raise the alarms that fit, honest ones none.

The masks were made, and the alarms that each must raise noted, on test images 300 to 359 with seeds 300 to
340; these are other images and another seed. Thresholds are those of the diagnostics' sources throughout.
"""

from __future__ import annotations

import pytest
import torch

from robustbench_local.data import load_dataset
from robustbench_local.diagnostics import Diagnosis, Effort, diagnose
from robustbench_local.models import MODELS
from robustbench_local.named_models import find_model
from robustbench_local.specs import Query
from robustbench_local.suite import cases_of

IMAGES = torch.arange(420, 440)
EFFORT = Effort(random_points=1000, queries=300)

MASKED = {
    "masked-quantised": {"D1", "D14"},
    "masked-resized": {"D3"},
    "masked-saturated": {"D1"},
    "masked-distilled": {"D1"},
    "masked-shattered": {"D13", "D14"},
    "masked-one-step": {"D9"},
}
HONEST = ("digits-mlp:nominal", "digits-mlp:pgd", "digits-cnn:certified")


def diagnosed(name: str) -> Diagnosis:
    model, data = find_model(name), load_dataset("digits").select(IMAGES)

    def at_radius(radius: float) -> Query:
        return cases_of(model, data, spec="robustness", norm="linf", eps=radius).query

    cases = cases_of(model, data, spec="robustness", norm="linf", eps=0.1)
    return diagnose(cases, at_radius=at_radius, effort=EFFORT, seed=7)


def test_every_masked_model_is_here() -> None:
    assert set(MASKED) == {name for name, entry in MODELS.items() if entry.card.family == "masked"}


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_is_seen(name: str) -> None:
    found = diagnosed(name)
    assert MASKED[name] <= set(found.fired)
    assert all(code in MODELS[name].card.intended_use for code in MASKED[name])
    for one in found.findings:
        assert not one.fired or one.cases


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_network_raises_no_alarm(name: str) -> None:
    found = diagnosed(name)
    assert found.fired == ()
    assert all(one.applies for one in found.findings) and len(found.examined) >= 17
