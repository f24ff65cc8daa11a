"""The zoo's rows attacked and verified: one results table for all, and beside it how far each row is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from torch import nn

from robustbench_local.cascade import find_any_method
from robustbench_local.errors import RobustBenchError
from robustbench_local.evaluation import Cases, Progress, evaluate
from robustbench_local.models import SHIPPED, Claim, Row, load_model, model_hash, read_index
from robustbench_local.store import WitnessStore, merge, read_results, write_results
from robustbench_local.version import __version__

from .records import EVALUATION, ClaimRecord, RowRecord, code_hash, read_records, write_records
from .sources import sources_of

__all__ = ["CONTROL", "Failed", "evaluate_rows"]

CONTROL = "control"
"""The name of weights in the table that a claim is tried on to see that something violates it."""

CROSSED = 1e-6  # a bound this far below a violation found is an error, not rounding

Failed = Callable[[Row, RobustBenchError], None]
"""Called for a row that could not be evaluated; the others go on."""


def evaluate_rows(
    rows: Sequence[Row],
    folder: Path,
    *,
    weights: Path = SHIPPED,
    seed: int = 0,
    progress: Progress | None = None,
    failed: Failed | None = None,
) -> dict[str, RowRecord]:
    """Row id -> record of every row that could be evaluated.

    Each claim of a row is tried on each weight set and on the claim's control. `folder` gets the results
    table, the witnesses and the records, written anew after every row; what it held of other rows stays.
    weights: folder of the weights and their index. Without `failed` the first error is raised.
    """
    records = read_records(folder / EVALUATION)
    done: dict[str, RowRecord] = {}
    for row in rows:
        try:
            record = _evaluate_row(row, folder, weights, seed, progress)
        except RobustBenchError as error:
            if failed is None:
                raise
            failed(row, error)
            continue
        records[row.card.id] = done[row.card.id] = record
        write_records(records, folder / EVALUATION)
    return done


def _evaluate_row(row: Row, folder: Path, weights: Path, seed: int, progress: Progress | None) -> RowRecord:
    start = time.perf_counter()
    index = {r.weights: r for r in read_index(weights).values() if r.model == row.model}
    networks = {name: load_model(row.model, name, folder=weights) for name in row.fits}
    gate = {name: row.gate.measure(network) for name, network in networks.items()}
    witnesses = WitnessStore.load(folder) if folder.is_dir() else WitnessStore()
    found: list[tuple[Claim, str, pd.DataFrame]] = []
    for claim in row.claims:
        for name, cases in _problems(row, claim, networks):
            methods = {method: find_any_method(method) for method in claim.methods}
            table = evaluate(
                [cases],
                methods,
                timeout=claim.seconds,
                seed=seed,
                progress=progress,
                witnesses=witnesses,
                alarm_folder=folder,
            )
            found.append((claim, name, table))
    _store(pd.concat([table for _, _, table in found], ignore_index=True), witnesses, folder)
    records = [claim_record(claim.name, name, table) for claim, name, table in found]
    return RowRecord(
        row=row.card.id,
        model=row.model,
        title=row.entry.card.summary,
        family=row.entry.card.family,
        version=__version__,
        code=code_hash(sources_of(row)),
        weights={name: index[name].sha256 for name in networks},
        gate=gate,
        gate_text=row.gate.text,
        gate_met={name: row.gate.met(value) for name, value in gate.items()},
        claims=tuple(record for record in records if record.weights != CONTROL),
        controls={record.name: record.violated > 0 for record in records if record.weights == CONTROL},
        seconds=round(time.perf_counter() - start, 1),
    )


def _problems(row: Row, claim: Claim, networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, Cases]]:
    """The claim's problems for each weight set, then for its control."""
    everything = {**networks, CONTROL: claim.control().eval()}
    for name, network in everything.items():
        query = claim.query(network)
        composed = query.network if isinstance(query.network, nn.Module) else network
        yield (
            name,
            Cases(
                model=f"{row.model}:{name if name != CONTROL else f'{CONTROL}-{claim.name}'}",
                network=composed,
                model_hash=model_hash(network),
                family=row.entry.card.family,
                dataset=row.entry.card.dataset,
                ids=range(query.batch),
                query=query,
                spec=claim.name,
                norm="",
                eps=math.nan,
            ),
        )


def claim_record(name: str, weights: str, table: pd.DataFrame) -> ClaimRecord:
    """What the rows of one claim on one network say together: per case the best of all methods."""
    cases = table.groupby("case", sort=False)
    lower = cases["lower"].max()  # NaN where no attack met a finite value
    upper = cases["upper"].min()
    words = cases["verdict"].agg(set)
    crossed = int(((lower - upper) > CROSSED).sum())
    return ClaimRecord(
        name=name,
        weights=weights,
        cases=len(words),
        holds=sum("HOLDS" in found for found in words),
        violated=sum("VIOLATED" in found for found in words),
        lower=_worst(lower),
        upper=_worst(upper),
        crossed=crossed,
    )


def _worst(values: pd.Series[float]) -> float | None:
    finite = values.notna().all() and bool((values.abs() < math.inf).all())
    return float(values.max()) if finite else None


def _store(table: pd.DataFrame, witnesses: WitnessStore, folder: Path) -> None:
    old = read_results(folder) if (folder / "results.parquet").is_file() else None
    witnesses.save(folder)  # first: no row on disk may name a witness that is not there
    write_results(table if old is None else merge(old, table), folder)
