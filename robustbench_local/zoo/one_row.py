"""One row of the zoo attacked and verified: every claim on every weight set and on its control."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from robustbench_local.cascade import find_any_method
from robustbench_local.evaluation import Cases, Method, Progress, evaluate
from robustbench_local.models import Claim, Row, load_model, model_hash, read_index
from robustbench_local.store import WitnessStore
from robustbench_local.version import __version__

from .grouped import grouped
from .records import ClaimRecord, RowRecord, code_hash
from .sizes import quick_methods, resized, sized
from .sources import sources_of

__all__ = ["CONTROL", "Evaluated", "Job", "claim_record", "control_of", "evaluate_row"]

CONTROL = "control"
"""The name of weights in the table that a claim is tried on to see that something violates it."""

CROSSED = 1e-6  # a bound this far below a violation found is an error, not rounding


@dataclass(frozen=True, slots=True)
class Job:
    """What the evaluations of all rows share: where alarms go, where weights are, the seed."""

    folder: Path
    weights: Path
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """A row's record, its lines of the results table, and the points behind its violations."""

    record: RowRecord
    table: pd.DataFrame
    witnesses: WitnessStore


def evaluate_row(row: Row, job: Job, progress: Progress | None = None) -> Evaluated:
    """Every claim of `row` by all its methods; where its sets have a size, on smaller ones by quick methods.

    Raises RobustBenchError for weights that are missing or changed, or a claim that cannot be posed.
    """
    start = time.perf_counter()
    index = {r.weights: r for r in read_index(job.weights).values() if r.model == row.model}
    networks = {name: load_model(row.model, name, folder=job.weights) for name in row.fits}
    gate = {name: row.gate.measure(network) for name, network in networks.items()}
    points = WitnessStore()
    run = partial(evaluate, seed=job.seed, progress=progress, witnesses=points, alarm_folder=job.folder)
    found: list[tuple[str, str, pd.DataFrame]] = []
    smaller: list[pd.DataFrame] = []
    for claim in row.claims:
        for name, cases in _problems(row, claim, networks):
            table = run([cases], _methods(claim.methods), timeout=claim.seconds)
            if claim.groups is not None:
                table = grouped(table, claim.groups, cases.ids)
            found.append((claim.name, name, table))
            if name != CONTROL and (copies := list(resized(cases))):
                smaller.append(run(copies, quick_methods(claim), timeout=claim.seconds))
    records = [claim_record(*one) for one in found]
    record = RowRecord(
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
        claims=tuple(one for one in records if one.weights != CONTROL),
        controls={one.name: one.violated > 0 for one in records if one.weights == CONTROL},
        seconds=round(time.perf_counter() - start, 1),
    )
    table = pd.concat([*(table for _, _, table in found), *smaller], ignore_index=True)
    return Evaluated(record, table, points)


def _methods(names: Sequence[str]) -> dict[str, Method]:
    return {name: find_any_method(name) for name in names}


def _problems(row: Row, claim: Claim, networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, Cases]]:
    """The claim's problems for each weight set, then for its control."""
    everything = {**networks, CONTROL: control_of(claim)}
    for name, network in everything.items():
        query = claim.query(network)
        composed = query.network if isinstance(query.network, nn.Module) else network
        cases = Cases(
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
        )
        yield name, cases if claim.groups else sized(cases)


def control_of(claim: Claim) -> nn.Module:
    """The claim's control; one that has learned nothing has the same first weights in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return claim.control().eval()


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
