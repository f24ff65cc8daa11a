"""Ready properties by name: which arguments and values they get, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from typer.testing import CliRunner

from robustbench_local.cli import app
from robustbench_local.data import load_dataset
from robustbench_local.errors import RobustBenchError, SpecError, UnknownNameError
from robustbench_local.named_models import find_model
from robustbench_local.ready_specs import parse_settings, ready_spec
from robustbench_local.suite import cases_of

SHAPE, CLASSES = (1, 8, 8), 10
KNOWN = {"x0": torch.zeros(2, *SHAPE), "c": torch.zeros(2, dtype=torch.int64), "eps": 0.1}


def ready(name: str, norm: str = "linf", **settings: object) -> tuple[str, Mapping[str, object]]:
    spec, values = ready_spec(name, SHAPE, CLASSES, norm=norm, known=KNOWN, settings=settings)
    return spec.text.splitlines()[-1], values


def test_data_and_radius_are_bound_where_a_property_has_them() -> None:
    claim, values = ready("robustness", "l2")
    assert "ball(x0, eps, p=2)" in claim and set(values) == {"x0", "c", "eps"}
    assert set(ready("targeted", t=3)[1]) == {"x0", "t", "eps"}
    claim, values = ready("topk", k=2)
    assert claim.endswith("rank(f(x), c) <= 2") and "k" not in values  # an argument of the function
    values = ready("geometry", low=-5, high=(5.0,))[1]
    assert set(values) == {"x0", "c", "low", "high"} and values["low"] == -5.0
    assert torch.equal(torch.as_tensor(values["high"]), torch.tensor([5.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "norm", "settings", "kind", "message"),
    [
        ("robustnes", "linf", {}, UnknownNameError, "unknown spec 'robustnes'. Did you mean 'robustness'"),
        ("robustness", "l7", {}, UnknownNameError, "unknown norm 'l7'"),
        ("targeted", "linf", {}, SpecError, "'targeted' lacks t. Give --set t=.."),
        ("segmentation", "linf", {}, SpecError, "'segmentation' lacks kept. Give --set kept=.."),
        ("topk", "linf", {"kk": 3}, UnknownNameError, "unknown setting 'kk'. Did you mean 'k'"),
        ("topk", "linf", {"k": "all"}, SpecError, "is compared with 'all' of type str"),
        ("light", "linf", {"parameters": 3}, SpecError, "'light' cannot be built: 'int' object"),
        ("few_pixels", "l2", {"k": 1}, SpecError, "has no norm to choose"),
        ("equivalence", "linf", {}, SpecError, "speaks of 2 networks: f, g"),
        ("monotone", "linf", {}, SpecError, "is built from inputs, outputs, feature, rising"),
        ("digit_sum", "linf", {}, SpecError, "is not about a point of a data set"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, norm: str, settings: Mapping[str, object], kind: type[RobustBenchError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        ready(name, norm, **settings)
    assert message in str(caught.value)


def test_settings_are_read_as_what_they_look_like() -> None:
    texts = ["k=3", "tau=0.5", "size=2,3", "parameters=angle,", "border=true", " eps = 1e-3 "]
    assert parse_settings(texts) == {
        "k": 3,
        "tau": 0.5,
        "size": (2, 3),
        "parameters": ("angle",),
        "border": True,
        "eps": 0.001,
    }
    for wrong in ("k", "=3", "k=", "2k=3"):
        with pytest.raises(SpecError, match="Write NAME=VALUE"):
            parse_settings([wrong])


def test_engines_get_the_network_of_the_property() -> None:
    data = load_dataset("digits", split="test").select(torch.tensor([0, 1]))
    model = find_model("digits-mlp:certified")
    cases = cases_of(model, data, spec="doubt", norm="linf", eps=0.01, settings={"tau": 0.9999})
    assert cases.network is cases.query.network is not model.network and cases.origins is not None
    moved = cases_of(model, data, spec="geometry", norm="linf", eps=0.01, settings={"low": -1, "high": 1})
    assert moved.origins is None and moved.norm == "" and math.isnan(moved.eps)


def test_the_command_line_takes_settings() -> None:
    command = ["verify", "digits-mlp:certified", "topk", "--eps", "0.02", "--set", "k=3", "--method", "ibp"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and "HOLDS" in done.stdout, done.output
