"""The card of a model: what it is, where it comes from, what it is for; every field is required."""

from __future__ import annotations

from dataclasses import dataclass, fields

from robustbench_local.errors import DataError

__all__ = ["ModelCard"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a reader must know about one architecture; no field may be left empty.

    `name` is the registry name; `family` groups models in tables. `summary` says in own words what the
    model is; `paper` and `source` name the publication and where to read it. `input_shape` excludes the
    batch; `outputs` counts the outputs; `task` and `dataset` say what it is trained for. `parameters` is
    the exact number of trainable numbers. `weights` lists the weight sets that are shipped, and
    `recipes` the training recipe of each, in the same order. `faithful` says what is kept of the paper
    and `deviates` what is not. `intended_use` and `limits` bound the claims that may be made with it;
    `licence` is the licence of the weights.

    Raises `DataError` for an empty field or for weights without a recipe.
    """

    name: str
    family: str
    summary: str
    paper: str
    source: str
    input_shape: tuple[int, ...]
    outputs: int
    task: str
    dataset: str
    parameters: int
    weights: tuple[str, ...]
    recipes: tuple[str, ...]
    faithful: str
    deviates: str
    intended_use: str
    limits: str
    licence: str

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name):
                raise DataError(
                    f"the field {field.name!r} is empty",
                    where=f"card of model {self.name!r}",
                    cure="every field of a card is required",
                )
        if len(self.weights) != len(self.recipes):
            raise DataError(
                f"{len(self.weights)} weight sets and {len(self.recipes)} recipes",
                where=f"card of model {self.name!r}",
                cure="name one recipe per weight set",
            )

    def recipe(self, weights: str) -> str:
        """The name of the recipe that trains the weight set `weights`; `DataError` if there is none."""
        if weights not in self.weights:
            raise DataError(
                f"no weight set {weights!r}",
                where=f"card of model {self.name!r}",
                cure=f"known: {', '.join(self.weights)}",
            )
        return self.recipes[self.weights.index(weights)]
