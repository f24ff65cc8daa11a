"""The zoo as rows: what each system is, which weights it has, and how far it is; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from robustbench_local.models import PlannedRow, WeightsRecord, read_index, read_plan

from .records import EVALUATION, SHIPPED_EVALUATION, RowRecord, read_records, weights_of_rows
from .status import counted_claims, released, status_of

__all__ = ["ZooRow", "zoo_rows"]


_ENGINE = "part of the engine, under its own tests; it makes no claim about a model"
WITHOUT_CLAIM: Mapping[str, str] = {
    "E.01": f"{_ENGINE}: attacks fgsm and bim",
    "E.02": f"{_ENGINE}: attack pgd",
    "E.03": f"{_ENGINE}: settings of the attacks, and multi-targeted",
    "E.04": f"{_ENGINE}: attacks spsa, nes, square, random",
    "E.05": f"{_ENGINE}: attacks autoattack and autoattack-plus",
    "E.06": f"{_ENGINE}: verifiers bab, split, milp",
    "E.07": f"{_ENGINE}: verifiers ibp, crown, alpha-crown",
    "E.08": f"{_ENGINE}: the curves of reports",
}
"""What stands in the table for rows of the plan that are no claim about models."""


@dataclass(frozen=True, slots=True)
class ZooRow:
    """One system of the zoo.

    `status` is how far it is, see `STATUSES`; `reason` says what is missing for the next step. `episode` is
    the lecture that it comes from, empty for networks that come from none. `weights` are the shipped weight
    sets, `specs` the claims that count: those that a control violates.
    """

    id: str
    name: str
    episode: str
    family: str
    status: str
    reason: str
    weights: tuple[str, ...]
    specs: tuple[str, ...]

    @property
    def release(self) -> bool:
        """Whether its weights may go out, see `released`."""
        return bool(self.weights) and released(self.status)

    def as_dict(self) -> dict[str, object]:
        """The fields of `rbl zoo list --json`; whether weights may go out follows from the status."""
        return asdict(self)


def zoo_rows(results: Path | None = None) -> list[ZooRow]:
    """The classifiers that belong to no lecture, in order of their names, then every row of the plan.

    results: folder of an evaluation that counts instead of the shipped one, row by row. Raises ResultsError
    or WeightsError for a file that cannot be read.
    """
    index = read_index()
    records = read_records(SHIPPED_EVALUATION)
    if results is not None:
        records |= read_records(results / EVALUATION)
    by_row: dict[str, dict[str, WeightsRecord]] = {}
    for record in index.values():
        by_row.setdefault(str(record.recipe.get("row", "")), {})[record.weights] = record
    everything = weights_of_rows(index)
    planned = [
        _about_all(row, records.get(row.id), everything)
        if row.family in ("engine", "process")
        else _planned(row, by_row.get(row.id, {}), records.get(row.id))
        for row in read_plan()
    ]
    return [*_others(index), *planned]


def _planned(row: PlannedRow, shipped: Mapping[str, WeightsRecord], record: RowRecord | None) -> ZooRow:
    status, reason = "planned", f"not built, wave {row.wave}"
    if shipped:
        status, reason = status_of(record, {name: one.sha256 for name, one in shipped.items()})
    return ZooRow(
        id=row.id,
        name=row.name,
        episode=str(row.episode),
        family=row.family,
        status=status,
        reason=reason,
        weights=tuple(shipped),
        specs=counted_claims(record) if record is not None and shipped else (),
    )


def _about_all(row: PlannedRow, record: RowRecord | None, everything: Mapping[str, str]) -> ZooRow:
    """A row of the process or the engine: it has no model, but may claim something about all rows."""
    status, reason = "planned", WITHOUT_CLAIM.get(row.id, f"not evaluated: run `rbl zoo evaluate {row.id}`")
    if record is not None:
        status, reason = status_of(record, everything)
    return ZooRow(
        id=row.id,
        name=row.name,
        episode=str(row.episode),
        family=row.family,
        status=status,
        reason=reason,
        weights=(),
        specs=counted_claims(record) if record is not None else (),
    )


def _others(index: Mapping[str, WeightsRecord]) -> list[ZooRow]:
    rows = []
    for name in sorted({r.model for r in index.values() if "row" not in r.recipe}):
        records = [r for r in index.values() if r.model == name]
        measured = any(r.metrics.get("robust") for r in records)
        rows.append(
            ZooRow(
                id=name,
                name=f"classifier of {records[0].recipe['dataset']} images, {len(records)} ways of training",
                episode="",
                family=str(records[0].recipe["dataset"]),
                status="bracketed" if measured else "built",
                reason="" if measured else "no measured weights are shipped",
                weights=tuple(r.weights for r in records),
                specs=("robustness",) if measured else (),
            )
        )
    return rows
