"""What is evaluated: batches of problems of one network, with the names the results table needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

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
        origins: the unperturbed inputs (B, *in) that the sets were built around, where there are any:
            attacks start there, and clean accuracy is measured there. A ball cut by a box has another centre.

    Raises ShapeError if the number of ids or origins is not B.
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
    origins: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.ids) != self.query.batch:
            raise ShapeError(
                f"{len(self.ids)} ids for a batch of {self.query.batch} problems",
                where=f"Cases of {self.model}",
                cure="give one id per problem",
            )
        wanted = (self.query.batch, *self.query.inputs.shape)
        if self.origins is not None and tuple(self.origins.shape) != wanted:
            raise ShapeError(
                f"origins have shape {tuple(self.origins.shape)}, the sets {wanted}",
                where=f"Cases of {self.model}",
            )

    def select(self, index: Tensor) -> Cases:
        """The problems of `index` (long, on the CPU)."""
        there = index.to(self.query.inputs.device)
        return replace(
            self,
            ids=[self.ids[b] for b in index.tolist()],
            query=self.query.select(there),
            origins=None if self.origins is None else self.origins[there],
        )

    def starts(self) -> Tensor:
        """The origins, or the sets' centres where there are none, (B, *in)."""
        return self.query.inputs.centre() if self.origins is None else self.origins
