"""Recipes: how a weight set is made, as data in TOML files, and their typed form."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from robustbench_local.data import DATASETS
from robustbench_local.errors import DataError, UnknownNameError
from robustbench_local.models import MODELS

from .initialisers import INITIALISERS
from .losses import LOSSES, Loss
from .optimizers import OPTIMIZERS, OptimizerSettings
from .schedule import Schedule
from .table import plain, settings_from, variant_from

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["SHIPPED_RECIPES", "Recipe", "load_recipe", "recipe_from", "recipe_names"]

SHIPPED_RECIPES = Path(__file__).resolve().parent / "recipes"
"""The folder of the recipes that come with the package; a recipe's name is its file's stem."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that determines a training run; two equal recipes give equal weights on one machine.

    `model` and `weights` name what is made, `dataset` what it learns from. `epochs` >= 1 passes over the
    training split in batches of `batch_size` >= 1; `seed` decides first weights, order and the draws of the
    loss. `initialiser`, `optimizer` and `loss` come from their registries. `learning_rate` is a schedule of
    values >= 0 over epochs; gradients are scaled down to the l2 norm `clip_norm` > 0. `radii` are the linf
    radii at which the finished weights are measured. Raises `DataError` naming the field.
    """

    name: str
    summary: str
    model: str
    weights: str
    dataset: str
    epochs: int
    batch_size: int
    seed: int
    initialiser: str
    learning_rate: Schedule
    clip_norm: float
    radii: tuple[float, ...]
    optimizer: OptimizerSettings
    loss: Loss

    def __post_init__(self) -> None:
        self._check_names()
        checks = {
            "weights": bool(self.weights) and not set(self.weights) & set(":/\\."),
            "epochs": self.epochs >= 1,
            "batch_size": self.batch_size >= 1,
            "seed": 0 <= self.seed < 2**63,
            "learning_rate": self.learning_rate.smallest >= 0,
            "clip_norm": self.clip_norm > 0,
            "radii": all(0 < radius < float("inf") for radius in self.radii),
        }
        for field, fine in checks.items():
            if not fine:
                raise DataError(f"out of range: {getattr(self, field)!r}", where=f"field {field!r}")

    def _check_names(self) -> None:
        registries: dict[str, tuple[str, Mapping[str, object]]] = {
            "model": (self.model, MODELS),
            "dataset": (self.dataset, DATASETS),
            "initialiser": (self.initialiser, INITIALISERS),
        }
        for field, (name, known) in registries.items():
            if name not in known:
                raise DataError(str(UnknownNameError.of(field, name, known)), where=f"field {field!r}")

    @property
    def target(self) -> str:
        """The weight set that the recipe makes, as "model:weights"."""
        return f"{self.model}:{self.weights}"

    def as_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON data; `recipe_from` gives an equal recipe back."""
        data: dict[str, Any] = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        data["optimizer"] = {"kind": _kind(self.optimizer, OPTIMIZERS), **data["optimizer"]}
        data["loss"] = {"kind": _kind(self.loss, LOSSES), **data["loss"]}
        return data


def recipe_names() -> list[str]:
    """The names of the shipped recipes, sorted."""
    return sorted(path.stem for path in SHIPPED_RECIPES.glob("*.toml"))


def load_recipe(name: str | Path) -> Recipe:
    """The shipped recipe `name`, or the one in a TOML file given by its path.

    A string that ends in ".toml" is a path. Raises `UnknownNameError` for an unknown name and `DataError`,
    naming file and field, for a file that is missing or does not hold a valid recipe.
    """
    if isinstance(name, str) and not name.endswith(".toml"):
        if name not in recipe_names():
            raise UnknownNameError.of("recipe", name, recipe_names())
        path = SHIPPED_RECIPES / f"{name}.toml"
    else:
        path = Path(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the recipe: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"not a TOML file: {error}", where=str(path)) from error
    if "name" in table:
        raise DataError("a recipe's name is its file's name", where=f"{path}, field 'name'", cure="remove it")
    return recipe_from({"name": path.stem, **table}, where=str(path))


def recipe_from(table: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """The recipe in `table`, plain data as in TOML or `Recipe.as_dict`; `DataError` where it is invalid."""
    head = {key: value for key, value in table.items() if key not in ("optimizer", "loss")}
    update = variant_from("optimizer", OPTIMIZERS, table.get("optimizer"), where=f"{where}, [optimizer]")
    aim = variant_from("loss", LOSSES, table.get("loss"), where=f"{where}, [loss]")
    return settings_from(Recipe, head, where=where, ready={"optimizer": update, "loss": aim})


def _kind(settings: object, registry: Mapping[str, type[object]]) -> str:
    return next(name for name, kind in registry.items() if kind is type(settings))
