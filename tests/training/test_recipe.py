"""Recipes: the shipped ones parse and agree with the cards; every mistake names its field and file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from robustbench_local.errors import DataError, UnknownNameError
from robustbench_local.models import MODELS, ROWS, read_index
from robustbench_local.training import LOSSES, OPTIMIZERS, load_recipe, recipe_from, recipe_names

from .trials import trial


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes(name: str) -> None:
    recipe = load_recipe(name)
    card = MODELS[recipe.model].card
    assert card.recipe(recipe.weights) == name and card.dataset == recipe.dataset
    assert recipe_from(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_every_card_has_its_recipes() -> None:
    own = {row.model for row in ROWS.values()}  # these have fits instead
    recipes = {r for name, entry in MODELS.items() if name not in own for r in entry.card.recipes}
    assert recipes == set(recipe_names())


@pytest.mark.parametrize("name", [key for key, record in read_index().items() if "row" not in record.recipe])
def test_shipped_weights_come_from_the_shipped_recipes(name: str) -> None:
    recorded = recipe_from(read_index()[name].recipe)
    assert recorded == load_recipe(recorded.name)


def test_a_file_by_path(tmp_path: Path) -> None:
    text = (Path(recipe_file("digits-mlp-nominal"))).read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text)
    assert load_recipe(path).name == load_recipe(str(path)).name == "mine"


def recipe_file(name: str) -> Path:
    from robustbench_local.training.recipe import SHIPPED_RECIPES

    return SHIPPED_RECIPES / f"{name}.toml"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, r"out of range: 0 .*field 'epochs'"),
        ({"epochs": 1.5}, r"expected int, got 1.5 .*field 'epochs'"),
        ({"epochs": True}, r"expected int, got True .*field 'epochs'"),
        ({"seed": -1}, r"field 'seed'"),
        ({"batch_size": 0}, r"field 'batch_size'"),
        ({"clip_norm": 0.0}, r"field 'clip_norm'"),
        ({"learning_rate": [[0, -1.0]]}, r"field 'learning_rate'"),
        ({"learning_rate": [[2, 0.1], [1, 0.1]]}, r"epochs fall.*field 'learning_rate'"),
        ({"learning_rate": "fast"}, r"no schedule: 'fast' .*field 'learning_rate'"),
        ({"learning_rate": [0.1]}, r"no schedule: \[0.1\] .*field 'learning_rate'"),
        ({"radii": 0.1}, r"expected a list, got 0.1 .*field 'radii'"),
        ({"radii": [-0.1]}, r"field 'radii'"),
        ({"weights": "a/b"}, r"field 'weights'"),
        ({"model": "digits-cn"}, r"unknown model 'digits-cn'.*field 'model'"),
        ({"dataset": "x"}, r"unknown dataset 'x'.*field 'dataset'"),
        ({"initialiser": "x"}, r"unknown initialiser 'x'.*field 'initialiser'"),
        ({"epoch": 3}, r"unknown field 'epoch'.*Did you mean 'epochs'"),
        ({"optimizer": {"kind": "adm"}}, r"unknown optimizer 'adm'.*\[optimizer\]"),
        ({"optimizer": {"kind": "adam", "beta1": 1.0}}, r"out of range.*\[optimizer\]"),
        (
            {"optimizer": {"kind": "sgd", "momentum": "big"}},
            r"expected float, got 'big' .*\[optimizer\].*'momentum'",
        ),
        ({"optimizer": 3}, r"the optimizer names no kind .*\[optimizer\]"),
        ({"loss": {}}, r"the loss names no kind .*\[loss\]"),
        ({"loss": {"kind": "ibp", "eps": 0.1}}, r"'kappa' is missing .*\[loss\]"),
        ({"loss": {"kind": "ibp", "eps": -0.1, "kappa": 0.5}}, r"values from -0.1 .*\[loss\].*'eps'"),
        ({"loss": {"kind": "ibp", "eps": 0.1, "kappa": 1.5}}, r"\[loss\].*field 'kappa'"),
        ({"loss": {"kind": "pgd", "eps": 0.1, "kappa": 0, "steps": 0}}, r"out of range: 0 steps .*\[loss\]"),
    ],
)
def test_mistakes_name_their_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        trial(**changes)


def test_a_missing_field() -> None:
    table = {key: value for key, value in trial().as_dict().items() if key != "epochs"}
    with pytest.raises(DataError, match=r"the field 'epochs' is missing \(recipe\)"):
        recipe_from(table)


def test_files_that_hold_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    with pytest.raises(DataError, match=r"cannot read the recipe.*bad\.toml"):
        load_recipe(path)
    path.write_text("epochs = = 3")
    with pytest.raises(DataError, match=r"not a TOML file.*bad\.toml"):
        load_recipe(path)
    path.write_text('name = "other"')
    with pytest.raises(DataError, match=r"name is its file's name.*bad\.toml, field 'name'"):
        load_recipe(path)
    path.write_text('epochs = "many"\n[optimizer]\nkind = "adam"\n[loss]\nkind = "standard"')
    with pytest.raises(DataError, match=r"bad\.toml"):
        load_recipe(path)


def test_an_unknown_recipe() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown recipe 'digits-mlp-nominl'.*Did you mean"):
        load_recipe("digits-mlp-nominl")


def test_registries_hold_what_the_recipes_need() -> None:
    assert {"standard", "pgd", "ibp", "crown-ibp"} <= set(LOSSES)
    assert {"adam", "sgd"} <= set(OPTIMIZERS)
