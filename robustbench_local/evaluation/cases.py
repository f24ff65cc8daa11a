"""What is evaluated: batches of problems of one network, with the names the results table needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from robustbench_local.errors import ShapeError
from robustbench_local.specs import Query

__all__ = ["Cases"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cases:
    """B problems of one network: one row per problem and method in the results table.

    Attributes:
        model: name in the table, e.g. "digits-cnn:certified".
        network: the module, in eval mode.
        model_hash: sha256 of the weights, hex.
        family: kind of network ("mlp", "cnn", ...).
        dataset: name of the data set, "" if there is none.
        ids: B names of the problems, e.g. row numbers; they also seed the attacks, so that the
            result for a problem does not depend on what else is in the batch.
        query: the B problems.
        spec: name of the property, e.g. "robustness".
        norm: "linf", "l2", "l1" or "" where a radius makes no sense.
        eps: the radius, >= 0; NaN where a radius makes no sense.

    Raises ShapeError if the number of ids is not B.
    """

    model: str
    network: nn.Module
    model_hash: str
    family: str
    dataset: str
    ids: Sequence[str | int]
    query: Query
    spec: str
    norm: str
    eps: float

    def __post_init__(self) -> None:
        if len(self.ids) != self.query.batch:
            raise ShapeError(
                f"{len(self.ids)} ids for a batch of {self.query.batch} problems",
                where=f"Cases of {self.model}",
                cure="give one id per problem",
            )
