"""The zoo's rows attacked and verified: one results table for all, and beside it how far each row is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from robustbench_local.errors import RobustBenchError, SoundnessAlarm
from robustbench_local.evaluation import Progress
from robustbench_local.models import SHIPPED, Row, find_row
from robustbench_local.store import WitnessStore, merge, read_results, write_results

from .one_row import Evaluated, Job, evaluate_row
from .processes import in_processes
from .records import EVALUATION, RowRecord, read_records, write_records

__all__ = ["Failed", "evaluate_rows"]

Failed = Callable[[Row, RobustBenchError], None]
"""Called for a row that could not be evaluated; the others go on."""

Finished = Callable[[Row], None]
"""Called for a row that is done, or has failed."""


def evaluate_rows(
    rows: Sequence[Row],
    folder: Path,
    *,
    weights: Path = SHIPPED,
    seed: int = 0,
    progress: Progress | None = None,
    failed: Failed | None = None,
    workers: int = 1,
    finished: Finished | None = None,
) -> dict[str, RowRecord]:
    """Row id -> record of every row that could be evaluated.

    Each claim of a row is tried on each weight set and on the claim's control; where its sets have a size,
    on smaller copies too. `folder` gets the results table, the witnesses and the records, written anew after
    every row; what it held of other rows stays.

    Args:
        rows: of the registry.
        folder: of the results.
        weights: folder of the weights and their index.
        seed: of the attacks.
        progress: called before every method; not where there are several workers.
        failed: what to do with the error of a row; None: the first one is raised.
        workers: processes that share the rows. Scripts that ask for several need a main guard.
        finished: called after every row.

    A SoundnessAlarm is always raised: no number can be trusted until its cause is known.
    """
    records = read_records(folder / EVALUATION)
    done: dict[str, RowRecord] = {}
    for row, result in _results(rows, Job(folder, weights, seed), workers, progress):
        if finished is not None:
            finished(row)
        if isinstance(result, _Failure):
            error = result.error()
            if failed is None or result.alarm:
                raise error
            failed(row, error)
            continue
        records[row.card.id] = done[row.card.id] = result.record
        _store(row, result, folder)
        write_records(records, folder / EVALUATION)
    return done


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error in parts, which travel between processes."""

    what: str
    where: str | None
    cure: str | None
    alarm: bool

    def error(self) -> RobustBenchError:
        kind = SoundnessAlarm if self.alarm else RobustBenchError
        return kind(self.what, where=self.where, cure=self.cure)


def _results(
    rows: Sequence[Row], job: Job, workers: int, progress: Progress | None
) -> Iterator[tuple[Row, Evaluated | _Failure]]:
    if workers <= 1 or len(rows) <= 1:
        for row in rows:
            yield row, _tried(row, job, progress)
        return
    by_id = {row.card.id: row for row in rows}
    for key, result in in_processes(partial(_tried_by_id, job=job), list(by_id), workers):
        row = by_id[key]
        yield row, _lost(row) if result is None else result


def _lost(row: Row) -> _Failure:
    """A row whose process ended: what it computed is gone, the other rows are not."""
    cure = "look for what killed it (memory?), and evaluate the row alone"
    return _Failure("its process ended", f"row {row.card.id} {row.model}", cure, alarm=False)


def _tried_by_id(row: str, job: Job) -> Evaluated | _Failure:
    return _tried(find_row(row), job, None)


def _tried(row: Row, job: Job, progress: Progress | None) -> Evaluated | _Failure:
    """The row's evaluation; whatever goes wrong in it is this row's alone."""
    try:
        return evaluate_row(row, job, progress)
    except RobustBenchError as error:
        return _Failure(error.what, error.where, error.cure, isinstance(error, SoundnessAlarm))
    except Exception as error:  # a claim's or gate's own code
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _Failure(what, f"row {row.card.id} {row.model}", "look at the row's file", alarm=False)


def _store(row: Row, result: Evaluated, folder: Path) -> None:
    """Replaces what the table holds of the row."""
    table, witnesses = result.table, result.witnesses
    if (folder / "results.parquet").is_file():
        old = read_results(folder)
        of_row = old["model"].str.partition(":")[0] == row.model
        table = merge(old[~of_row.astype(bool)], table)
        kept = WitnessStore.load(folder)
        kept.update(witnesses)
        witnesses = kept
    witnesses.save(folder)  # first: no row on disk may name a witness that is not there
    write_results(table, folder)
