"""What is known of each of some problems while methods work on them: brackets, verdicts, what is open."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.evaluation import Outcome
from robustbench_local.specs import Query, Verdict

from .resources import words_of
from .results import Result, together

__all__ = ["Knowledge"]

_WEAKER = frozenset({"bound", "search"})
"""What a later step says of a problem does not hide that an earlier one lacked memory."""


class Knowledge:
    """The best that any method has said of each of the B problems of `query`; a local record of one run.

    open (b,): places of the problems without a verdict. lower, upper, seconds, proved (B,) float64, on the
    CPU, and verdict, stage, reason, error, witness, lists of B: as in `Result`. backing: of HOLDS, how often
    rounding fits in the margin, and what stands behind it.
    """

    def __init__(self, query: Query) -> None:
        batch = query.batch
        self._query = query
        self.open = torch.arange(batch)
        self.lower = torch.full((batch,), -torch.inf, dtype=torch.float64)
        self.upper = torch.full((batch,), torch.inf, dtype=torch.float64)
        self.seconds = torch.zeros(batch, dtype=torch.float64)
        self.proved = torch.zeros(batch, dtype=torch.float64)
        self.verdict = [Verdict.UNKNOWN] * batch
        self.stage, self.reason, self.error = [""] * batch, ["timeout"] * batch, [""] * batch
        self.witness: list[Tensor | None] = [None] * batch
        self.backing = [(math.nan, "")] * batch

    @property
    def refuted(self) -> bool:
        """Whether some problem has a verdict that decides all of them together."""
        return Verdict.VIOLATED in self.verdict

    @property
    def cut_short(self) -> bool:
        """Whether the last method wanted more time or memory for some open problem."""
        return any(self.reason[b] in {"timeout", "resources"} for b in self.open.tolist())

    def take(self, stage: str, outcome: Outcome) -> None:
        """Takes over what a method says of the open problems."""
        rows = self.open
        self.lower[rows] = torch.fmax(self.lower[rows], outcome.lower)  # fmax, fmin: NaN is "no bound"
        self.upper[rows] = torch.fmin(self.upper[rows], outcome.upper)
        if outcome.proved is not None:
            self.proved[rows] = torch.fmax(self.proved[rows], outcome.proved.clamp(0.0, 1.0))
        points, held, ratios = outcome.points, outcome.holds.tolist(), outcome.ratios().tolist()
        for k, (b, bad) in enumerate(zip(rows.tolist(), outcome.violated.tolist(), strict=True)):
            self.stage[b] = stage
            if self.reason[b] != "resources" or outcome.reason[k] not in _WEAKER:
                self.reason[b] = outcome.reason[k]
            self.error[b] = outcome.error or self.error[b]
            found = points is not None and bad
            if found and points is not None:
                self.witness[b] = points[k].cpu()  # before the verdict, which has none without it
            self.backing[b] = (ratios[k], outcome.audit.get(k, "") if held[k] else "")
            self.verdict[b] = self._query.verdict(held[k], found)
        self.open = rows[~(outcome.holds | outcome.violated)]

    def take_result(self, b: int, stage: str, result: Result) -> None:
        """Takes over a result on problem b; `look` afterwards."""
        self.lower[b] = max(float(self.lower[b]), result.lower)
        self.upper[b] = min(float(self.upper[b]), result.upper)
        self.seconds[b] += result.seconds
        self.verdict[b], self.witness[b] = result.verdict, result.witness
        self.stage[b], self.reason[b] = stage, result.reason
        self.backing[b] = (result.margin_over_rounding, result.audit)
        self.error[b] = result.error or self.error[b]

    def look(self) -> None:
        """Finds anew which problems are open."""
        rows = [b for b, verdict in enumerate(self.verdict) if verdict is Verdict.UNKNOWN]
        self.open = torch.tensor(rows, dtype=torch.int64)

    def short_of_memory(self, error: Exception) -> None:
        """What has a verdict keeps it; all else stays open."""
        self.look()
        for b in self.open.tolist():
            self.reason[b], self.error[b] = "resources", words_of(error)

    def result(self) -> Result:
        """The results of all problems, and the one over them."""
        cases = tuple(
            Result(
                self.verdict[b],
                float(self.lower[b]),
                float(self.upper[b]),
                float(self.seconds[b]),
                self.stage[b],
                self.reason[b],
                self.witness[b],
                error=self.error[b],
                proved=1.0 if self.verdict[b] is Verdict.HOLDS else float(self.proved[b]),
                margin_over_rounding=self.backing[b][0],
                audit=self.backing[b][1],
            )
            for b in range(len(self.verdict))
        )
        return together(cases)
