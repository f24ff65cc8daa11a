"""`evaluate`: every method on every batch of problems, whole batches at a time, into one table."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from robustbench_local.attacks import Attack
from robustbench_local.columns import COLUMNS, validate
from robustbench_local.errors import DeviceError, NonFiniteError
from robustbench_local.verifiers import Budget, Smoothing, Verifier, arithmetic_of
from robustbench_local.version import __version__
from robustbench_local.witnesses import WitnessStore

from .audit import cross_check
from .cases import Cases
from .chunks import is_out_of_memory
from .members import bounded
from .methods import Limits, Outcome, failed, run_attack
from .probabilistic import run_smoothing
from .subject import Subject

if TYPE_CHECKING:  # loaded when a table is made: a single verdict needs none
    import pandas as pd

__all__ = ["Finished", "Method", "Progress", "evaluate"]

Method: TypeAlias = Attack | Verifier | Smoothing
"""What can answer a batch of problems."""

Finished: TypeAlias = "Callable[[Cases, pd.DataFrame], None]"
"""Called with a batch and its rows as soon as they are there."""

Progress: TypeAlias = Callable[[Cases, str], None]
"""Called with the batch and the method's name just before that method starts on that batch."""


def evaluate(
    cases: Iterable[Cases],
    methods: Mapping[str, Method],
    *,
    timeout: float = 60.0,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    finished: Finished | None = None,
    witnesses: WitnessStore | None = None,
    alarm_folder: Path | None = None,
    memory_bytes: int | None = None,
) -> pd.DataFrame:
    """The results table of the methods on the cases: one row per problem and method, columns `store.COLUMNS`.

    Each method gets a whole batch in one call, cut only where `memory_bytes` demands it.

    Args:
        cases: batches of problems, taken one by one; consecutive batches of one network share its graph.
        methods: name in the table -> attack, verifier or randomised smoothing.
        timeout: seconds of wall clock for one method on one batch, > 0.
        seed: of the random numbers of attacks and smoothing.
        device: must be where the queries' numbers are; the networks are moved there.
        progress, finished: see `Progress` and `Finished`.
        witnesses: receives the point of every VIOLATED row; the column `witness` holds its key either way.
        alarm_folder: where the case file of a `SoundnessAlarm` goes.
        memory_bytes: for one method's intermediate results; None: what suits the device, see `Budget`.

    Where a set is a union of simpler ones, a verifier bounds what stays open by its members.

    Column meanings: `lower` is the violation an attack found (NaN for a verifier), `upper` a verifier's bound
    (NaN for an attack); `seconds` is the batch's time divided by its size; `seconds_load` the time of
    tracing the network, the same in all its verifier rows. Reasons of UNKNOWN: `bound` (the bound is above
    zero), `search` (the attack found nothing), `timeout`, `op`, `resources`, `boundary` (decided by
    rounding), `non-finite`; of smoothing see `run_smoothing`. An error of one method fills its rows' `error`
    and leaves them UNKNOWN. `probabilistic` is NaN in all rows but smoothing's: there the l2 radius within
    which the smoothed classifier, not the network, keeps the right class but for its probability of error;
    0 where none is certified. Such rows are always UNKNOWN. `arithmetic` says what a verifier's HOLDS is
    about, `margin_over_rounding` how many times the errors of rounding fit into its margin (NaN: not known).

    Raises SoundnessAlarm when an attack's point lies above a verifier's bound in float64 too, DeviceError for
    queries on another device, NonFiniteError for a timeout that is not a positive number.
    """
    import pandas as pd

    if not timeout > 0:
        raise NonFiniteError(f"timeout {timeout} is not a positive number of seconds", where="timeout")
    store = WitnessStore() if witnesses is None else witnesses
    limits = Limits(timeout, memory_bytes)
    run = _Run(methods, seed, limits, store, alarm_folder, progress)
    subject: Subject | None = None
    frames: list[pd.DataFrame] = []
    for batch in cases:
        placed = _placed(batch, device)
        if subject is None or subject.network is not placed.network:
            subject = Subject.of(placed)
        frames.append(run.table(placed, subject))
        if finished is not None:
            finished(placed, frames[-1])
    if not frames:
        return validate(pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in COLUMNS.items()}))
    return validate(pd.concat(frames, ignore_index=True))


class _Run:
    """What all batches of one `evaluate` call share."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        seed: int,
        limits: Limits,
        store: WitnessStore,
        folder: Path | None,
        progress: Progress | None,
    ) -> None:
        self.methods, self.seed, self.limits, self.store = methods, seed, limits, store
        self.folder, self.progress = folder, progress
        self.id = uuid.uuid4().hex[:12]
        self.verifiers = {name: m for name, m in methods.items() if isinstance(m, Verifier)}
        self.smoothed: dict[str, tuple[Subject, Cases, Outcome]] = {}

    def table(self, cases: Cases, subject: Subject) -> pd.DataFrame:
        """The rows of one batch, method by method."""
        import pandas as pd

        outcomes: dict[str, Outcome] = {}
        for name, method in self.methods.items():
            if self.progress is not None:
                self.progress(cases, name)
            outcomes[name] = self._outcome(name, method, cases, subject)
        budget = Budget(memory_bytes=self.limits.memory_bytes)
        try:
            cross_check(cases, subject, outcomes, self.verifiers, budget=budget, folder=self.folder)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            # what could not be compared is not believed
            outcomes = {name: failed(o.kind, o.batch, error) for name, o in outcomes.items()}
        return pd.concat(
            [self._frame(cases, subject, name, o) for name, o in outcomes.items()], ignore_index=True
        )

    def _outcome(self, name: str, method: Method, cases: Cases, subject: Subject) -> Outcome:
        device = subject.device
        kind = "verifier" if isinstance(method, Verifier | Smoothing) else "attack"
        _start_peak(device)
        start = time.perf_counter()
        try:
            if isinstance(method, Verifier):
                subject.graph()  # traced before the clock starts: its time is `seconds_load`
                start = time.perf_counter()
                outcome = bounded(method, subject, cases.query, self.limits)
                outcome.seconds_load = subject.seconds_load
            elif isinstance(method, Smoothing):
                outcome = self._smoothing(name, method, cases, subject)
            else:
                outcome = run_attack(method, subject, cases, seed=self.seed, limits=self.limits)
        except Exception as error:
            outcome = failed(kind, cases.query.batch, error)
            if isinstance(method, Smoothing):
                outcome.stage = method.text
                outcome.probabilistic = torch.zeros(outcome.batch, dtype=torch.float64)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        outcome.seconds = (time.perf_counter() - start) / max(1, cases.query.batch)
        outcome.peak_mb = _peak_mb(device)
        return outcome

    def _smoothing(self, name: str, method: Smoothing, cases: Cases, subject: Subject) -> Outcome:
        """The radii do not depend on eps: those of the same inputs and labels just before are taken again."""
        if name in self.smoothed:
            known, before, outcome = self.smoothed[name]
            same = (
                known is subject and list(before.ids) == list(cases.ids) and "timeout" not in outcome.reason
            )
            if same and torch.equal(before.query.C, cases.query.C) and before.query.tree == cases.query.tree:
                if torch.equal(before.starts(), cases.starts()):
                    return replace(outcome)
        outcome = run_smoothing(method, subject, cases, seed=self.seed, limits=self.limits)
        self.smoothed = {**self.smoothed, name: (subject, cases, outcome)}
        return outcome

    def _frame(self, cases: Cases, subject: Subject, name: str, outcome: Outcome) -> pd.DataFrame:
        """The rows of one method; a verdict whose witness finds no memory is none."""
        try:
            return self._rows(cases, subject, name, outcome)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return self._rows(cases, subject, name, failed(outcome.kind, outcome.batch, error))

    def _rows(self, cases: Cases, subject: Subject, name: str, outcome: Outcome) -> pd.DataFrame:
        import pandas as pd

        zeros = np.zeros(outcome.batch, dtype=np.int64)
        say = cases.query.verdict
        verdict = [
            say(held, bad).value
            for held, bad in zip(outcome.holds.tolist(), outcome.violated.tolist(), strict=True)
        ]
        values: dict[str, object] = {
            "run_id": self.id,
            "model": cases.model,
            "model_hash": cases.model_hash,
            "family": cases.family,
            "dataset": cases.dataset,
            "case": [str(i) for i in cases.ids],
            "spec": cases.spec,
            "spec_hash": cases.query.id,
            "norm": cases.norm,
            "eps": float(cases.eps),
            "method": name,
            "kind": outcome.kind,
            "verdict": verdict,
            "lower": outcome.lower.numpy(),
            "upper": outcome.upper.numpy(),
            "stage": outcome.stage or name,
            "reason": outcome.reason,
            "seconds": outcome.seconds,
            "seconds_load": outcome.seconds_load,
            "forwards": zeros if outcome.forwards is None else outcome.forwards.numpy(),
            "backwards": zeros if outcome.backwards is None else outcome.backwards.numpy(),
            "domains": zeros + int(name in self.verifiers and not outcome.error),
            "peak_mb": outcome.peak_mb,
            "device": str(subject.device),
            "dtype": str(subject.dtype).removeprefix("torch."),
            "arithmetic": arithmetic_of(self.verifiers[name]).column if name in self.verifiers else "real",
            "seed": self.seed,
            "version": __version__,
            "witness": self._witnesses(cases, outcome),
            "certificate": "",
            "error": outcome.error,
            "probabilistic": np.nan if outcome.probabilistic is None else outcome.probabilistic.numpy(),
            "margin_over_rounding": outcome.ratios().numpy(),
            "believable": "",
        }
        frame = pd.DataFrame({column: values[column] for column in COLUMNS}, index=range(outcome.batch))
        typed: pd.DataFrame = frame.astype(dict(COLUMNS))
        return typed

    def _witnesses(self, cases: Cases, outcome: Outcome) -> list[str]:
        keys = [""] * outcome.batch
        rows = torch.nonzero(outcome.violated).flatten()
        if outcome.points is None or len(rows) == 0:
            return keys
        points = outcome.points[rows.to(outcome.points.device)]
        centres = cases.starts()[rows.to(points.device)].to(points.dtype)
        with torch.inference_mode():
            scores = cases.network(points)
        for k, row in enumerate(rows.tolist()):
            keys[row] = self.store.add(points[k], centres[k], scores=scores[k])
        return keys


def _placed(cases: Cases, device: torch.device | str | None) -> Cases:
    """The cases with the network where the query's numbers are, which must be `device` if one is given."""
    there = cases.query.inputs.device
    wanted = there if device is None else torch.device(device)
    if wanted.type != there.type or wanted.index not in (None, there.index):
        raise DeviceError(
            f"the query's numbers are on {there}, not on {wanted}",
            where=f"Cases of {cases.model}",
            cure=f"build the query from tensors on {wanted}",
        )
    network = cases.network.to(there)
    return cases if network is cases.network else replace(cases, network=network)


def _start_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_mb(device: torch.device) -> float:
    """Largest memory in MiB: of the device since the method started, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows has no such counter
        return float("nan")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 2**10
