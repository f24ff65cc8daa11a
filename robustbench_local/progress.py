"""How far a run over problems has got, as a value: what is known of each, and where its searches stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_local.specs import Verdict
from robustbench_local.verifiers import SearchState

if TYPE_CHECKING:
    from .cascade import Cascade

__all__ = ["Progress", "Standing", "progress_of", "take_up"]


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where a search stopped: its state is about the problems `rows` (b,) of the batch, in this order."""

    rows: Tensor
    state: SearchState

    def select(self, rows: Tensor) -> SearchState | None:
        """The state of some problems (k,); None where it does not know one of them."""
        place = {b: k for k, b in enumerate(self.rows.tolist())}
        if not all(b in place for b in rows.tolist()):
            return None
        return self.state.select(torch.tensor([place[b] for b in rows.tolist()], dtype=torch.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What a `Cascade` knows of B problems. `done`: names of the steps that another run need not repeat."""

    lower: Tensor
    upper: Tensor
    seconds: Tensor
    proved: Tensor
    verdict: tuple[Verdict, ...]
    stage: tuple[str, ...]
    reason: tuple[str, ...]
    error: tuple[str, ...]
    witness: tuple[Tensor | None, ...]
    done: tuple[str, ...]
    searches: Mapping[str, Standing] = field(default_factory=dict)


def progress_of(run: Cascade) -> Progress:
    """How far the run has got."""
    known = run.known
    return Progress(
        known.lower.clone(),
        known.upper.clone(),
        known.seconds.clone(),
        known.proved.clone(),
        tuple(known.verdict),
        tuple(known.stage),
        tuple(known.reason),
        tuple(known.error),
        tuple(known.witness),
        tuple(sorted(run.done | run.skipped)),
        dict(run.searches),
    )


def take_up(run: Cascade, progress: Progress) -> None:
    """Makes the new run go on from there. A witness counts only where it still decides its problem."""
    known = run.known
    known.lower, known.upper = progress.lower.clone(), progress.upper.clone()
    known.seconds, known.proved = progress.seconds.clone(), progress.proved.clone()
    known.verdict, known.witness = list(progress.verdict), list(progress.witness)
    known.stage, known.reason = list(progress.stage), list(progress.reason)
    known.error = list(progress.error)
    for b, witness in enumerate(progress.witness):
        if witness is not None and not _replays(run, b, witness.unsqueeze(0)):
            known.verdict[b], known.witness[b], known.reason[b] = Verdict.UNKNOWN, None, "boundary"
    known.look()
    run.skipped, run.searches = frozenset(progress.done), dict(progress.searches)


def _replays(run: Cascade, b: int, point: Tensor) -> bool:
    query = run.cases.query
    one = query.select(torch.tensor([b], device=query.inputs.device))
    with torch.no_grad():
        inside = one.inputs.contains(point.to(query.inputs.device)).cpu()
        return bool(inside & one.violated(point.to(run.subject.device)).cpu())
