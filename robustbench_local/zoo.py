"""The zoo as rows: what each model is, which weights it has, and how far its evaluation is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from robustbench_local.errors import UnknownNameError
from robustbench_local.models import MODELS, read_index, read_plan, split_name

from .suite import Suite

__all__ = ["ZooRow", "zoo_rows", "zoo_suites"]


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One model of the zoo.

    `status` is how far it is: `planned` (a system of the lectures without a network yet), `built` (the
    network exists), or `bracketed` (weights are shipped whose robust accuracy was measured from both
    sides). `reason` says what is missing. `episode` is the lecture that a model comes from, empty for those
    that come from none. `weights` are the shipped weight sets, `specs` the properties measured.
    """

    id: str
    name: str
    episode: str
    family: str
    status: str
    reason: str
    weights: tuple[str, ...]
    specs: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The row as plain fields."""
        return asdict(self)


def zoo_rows() -> list[ZooRow]:
    """Every registered model, in order of its name, then every planned row; no network is built."""
    return [*_models(), *_planned()]


def _planned() -> list[ZooRow]:
    return [
        ZooRow(
            id=row.id,
            name=row.name,
            episode=str(row.episode),
            family=row.family,
            status="planned",
            reason=f"not built, wave {row.wave}" if row.complete.value else "not recorded yet",
            weights=(),
            specs=(),
        )
        for row in read_plan()
    ]


def _models() -> list[ZooRow]:
    index = read_index()
    rows = []
    for name in sorted(MODELS):
        card = MODELS[name].card
        records = [r for r in index.values() if r.model == name]
        measured = any(r.metrics.get("robust") for r in records)
        rows.append(
            ZooRow(
                id=name,
                name=card.summary,
                episode="",
                family=card.family,
                status="bracketed" if measured else "built",
                reason="" if measured else "no measured weights are shipped",
                weights=tuple(r.weights for r in records),
                specs=("robustness",) if measured else (),
            )
        )
    return rows


def zoo_suites(names: Sequence[str], *, limit: int | None = None, seed: int = 0) -> list[Suite]:
    """One suite per shipped weight set that `names` asks for (models or "model:weights"; none: all), at the
    radii of its recipe. Raises UnknownNameError for a name that the zoo does not have."""
    index = read_index()
    wanted = list(names) or list(index)
    suites = []
    for name in wanted:
        architecture, weights = split_name(name)
        if architecture not in MODELS:
            raise UnknownNameError.of("model", architecture, MODELS)
        found = [k for k, r in index.items() if r.model == architecture and weights in (None, r.weights)]
        if not found:
            raise UnknownNameError.of("weight set", name, index)
        for key in found:
            radii = tuple(float(r) for r in index[key].recipe["radii"])
            dataset = str(index[key].recipe["dataset"])
            suites.append(Suite(models=(key,), dataset=dataset, eps=radii, limit=limit, seed=seed))
    return suites
