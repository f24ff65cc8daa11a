"""One method on one batch of problems: an attack's or a verifier's numbers in one common form."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustbench_local.attacks import Attack, AttackResult
from robustbench_local.errors import (
    GraphError,
    NonFiniteError,
    RobustBenchError,
    SoundnessAlarm,
    UnsupportedOpError,
)
from robustbench_local.specs import Query
from robustbench_local.verifiers import (
    Bounds,
    Budget,
    Graph,
    Resumable,
    SearchState,
    Verifier,
    problem_bytes,
)

from .cases import Cases
from .chunks import activation_bytes, in_chunks, is_out_of_memory
from .subject import Subject

__all__ = [
    "Limits",
    "Outcome",
    "bounds_of",
    "failed",
    "fits_one_batch",
    "run_attack",
    "run_search",
    "run_verifier",
    "walk_from",
]

_ROUNDING = 1e-4  # relative to the outputs: a violation closer to zero may be one of rounding


@dataclass(slots=True, eq=False)
class Outcome:
    """What a method says about B problems. All tensors (B,), on the CPU, numbers in float64.

    `lower` is -inf where an attack gave nothing, `upper` is +inf where a verifier did; NaN in the whole
    column where the kind of method gives no such bound. `reason` says why a problem is undecided.
    `seconds` is the batch's wall-clock time divided by B.
    """

    kind: str
    lower: Tensor
    upper: Tensor
    holds: Tensor
    violated: Tensor
    reason: list[str]
    seconds: float = 0.0
    seconds_load: float = 0.0
    peak_mb: float = float("nan")
    forwards: Tensor | None = None
    backwards: Tensor | None = None
    points: Tensor | None = field(default=None, repr=False)  # (B, *in), attacks only
    error: str = ""
    probabilistic: Tensor | None = None  # certified radii, smoothing only
    confirmed: bool = False  # narrow bounds were computed in float64 by the method itself
    proved: Tensor | None = None  # (B,) part of the set on which a search has proved the property
    stage: str = ""  # the settings of a method that has some, for the table
    rounding: Tensor | None = (
        None  # (B,) how much of `upper` pays for rounding errors; NaN: not accounted for
    )
    audit: dict[int, str] = field(default_factory=dict)  # problem that holds -> what stands behind the bound

    @property
    def batch(self) -> int:
        """The number of problems, B."""
        return len(self.reason)

    def select(self, index: Tensor) -> Outcome:
        """The outcome of the problems of `index` (long or bool, on the CPU)."""
        rows = torch.arange(self.batch)[index]
        return replace(
            self,
            lower=self.lower[rows],
            upper=self.upper[rows],
            holds=self.holds[rows],
            violated=self.violated[rows],
            reason=[self.reason[b] for b in rows.tolist()],
            forwards=None if self.forwards is None else self.forwards[rows],
            backwards=None if self.backwards is None else self.backwards[rows],
            points=None if self.points is None else self.points[rows.to(self.points.device)],
            probabilistic=None if self.probabilistic is None else self.probabilistic[rows],
            proved=None if self.proved is None else self.proved[rows],
            rounding=None if self.rounding is None else self.rounding[rows],
            audit={k: self.audit[b] for k, b in enumerate(rows.tolist()) if b in self.audit},
        )

    def ratios(self) -> Tensor:
        """The bound's margin, before it pays for rounding errors, divided by those, (B,): above 1 where the
        property holds despite them. NaN where they are not accounted for.
        """
        if self.rounding is None:
            return torch.full_like(self.upper, torch.nan)
        return torch.where(self.upper.isfinite(), (self.rounding - self.upper) / self.rounding, torch.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What one method may use on one batch: `seconds` of wall clock; the rest as in `Budget`, `domains` and
    `whole` for searches that go on."""

    seconds: float
    memory_bytes: int | None = None
    domains: int | None = None
    whole: float | None = None


def run_attack(attack: Attack, subject: Subject, cases: Cases, *, seed: int, limits: Limits) -> Outcome:
    """The attack on all B problems, from their origins. Every violation counted is replayed here, on points
    checked to lie in their sets exactly; a point that does not replay leaves its problem UNKNOWN."""
    memory = Budget(memory_bytes=limits.memory_bytes).memory(subject.device)
    per_problem = 6 * activation_bytes(subject.network, subject.example)  # forward, backward, and slack
    deadline = time.monotonic() + limits.seconds
    query = cases.query

    def run(index: Tensor) -> AttackResult:
        part = cases.select(index)
        return attack(part.query, start=part.origins, seed=seed, ids=part.ids, deadline=deadline)

    parts = in_chunks(run, query.batch, max(1, memory // per_problem))
    points = torch.cat([part.points for part in parts]).detach()
    violation = torch.cat([part.violation for part in parts]).detach().to("cpu", torch.float64)
    claimed = torch.cat([part.violated for part in parts])
    violated = _replayed(query, points, claimed)
    complete = torch.cat([part.complete for part in parts]).cpu()
    reason = ["" if bad else "search" for bad in violated]
    reason = _marked(reason, torch.cat([part.blind for part in parts]).cpu(), "gradient")
    reason = _marked(reason, ~complete, "timeout")
    reason = _marked(reason, ~violation.isfinite(), "non-finite")
    reason = _marked(reason, claimed.cpu() & ~violated, "boundary")
    return Outcome(
        kind="attack",
        lower=violation.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf),
        upper=torch.full_like(violation, torch.nan),
        holds=torch.zeros_like(violated),
        violated=violated,
        reason=reason,
        forwards=torch.cat([part.forwards for part in parts]).cpu(),
        backwards=torch.cat([part.backwards for part in parts]).cpu(),
        points=points,
    )


def run_verifier(
    verifier: Verifier, subject: Subject, query: Query, *, limits: Limits, tighten: bool = False
) -> Outcome:
    """The verifier's upper bounds of all B problems; HOLDS only where the query says so of a finite bound.

    `tighten` as in `Budget`: the best numbers, also where the verdict is certain.
    """
    budget = Budget(limits.seconds, limits.memory_bytes, tighten)
    return _of_bounds(query, bounds_of(verifier, subject.graph(), query, budget))


def bounds_of(verifier: Verifier, graph: Graph, query: Query, budget: Budget) -> list[Bounds]:
    """The verifier's bounds of all B problems, in batches whose nodes' bounds fit the budget's memory.

    Each batch gets its part of the time that is left. A batch that runs out of memory is halved.
    """
    deadline = budget.deadline()

    def run(index: Tensor) -> Bounds:
        share = len(index) / (query.batch - int(index[0]))
        seconds = None if budget.seconds is None else share * max(0.0, deadline - time.monotonic())
        part = query.select(index.to(query.inputs.device))
        return verifier.bound(graph, part, replace(budget, seconds=seconds))

    size = _at_once(graph, query, budget)
    with torch.inference_mode():
        return in_chunks(run, query.batch, size)


def fits_one_batch(subject: Subject, query: Query, *, limits: Limits) -> bool:
    """Whether the nodes' bounds of all B problems together fit the memory."""
    return _at_once(subject.graph(), query, Budget(memory_bytes=limits.memory_bytes)) >= query.batch


def _at_once(graph: Graph, query: Query, budget: Budget) -> int:
    return budget.memory(query.inputs.device) // problem_bytes(graph)


def run_search(
    search: Resumable, subject: Subject, query: Query, state: SearchState | None, *, limits: Limits
) -> tuple[Outcome, SearchState | None]:
    """As `run_verifier`, from where the search stopped; and where it stops now. All problems in one batch."""
    left = Budget(
        seconds=limits.seconds,
        memory_bytes=limits.memory_bytes,
        domains=limits.domains,
        whole=limits.whole,
    )
    with torch.inference_mode():
        bounds, after = search.resumed(subject.graph(), query, state, left)
    return _of_bounds(query, [bounds]), after


def walk_from(
    attack: Attack, subject: Subject, cases: Cases, starts: Tensor, *, seed: int, limits: Limits
) -> Outcome:
    """As `run_attack`, from several points of every problem, starts (B, k, *in): the best walk of each."""
    batch, count = starts.shape[:2]
    owner = torch.arange(batch).repeat_interleave(count)
    ids = [f"{cases.ids[b]} {k}" for b in range(batch) for k in range(count)]
    many = replace(cases.select(owner), ids=ids, origins=starts.flatten(0, 1))
    outcome = run_attack(attack, subject, many, seed=seed, limits=limits)
    rank = torch.where(outcome.violated, torch.inf, outcome.lower).unflatten(0, (batch, count))
    return outcome.select(torch.arange(batch) * count + rank.argmax(1))


def _of_bounds(query: Query, parts: list[Bounds]) -> Outcome:
    with torch.inference_mode():
        raw = torch.cat([part.upper for part in parts])
    upper = raw.to("cpu", torch.float64, copy=True)
    holds = query.holds(raw).cpu() & upper.isfinite()
    points, lower, violated = _met(query, parts)
    undecided = "bound" if all(part.complete for part in parts) else "timeout"
    reason = ["" if held else undecided for held in holds]
    if undecided != "timeout":
        reason = _marked(reason, ~upper.isfinite(), "non-finite")
    reason = ["" if bad else text for bad, text in zip(violated.tolist(), reason, strict=True)]
    return Outcome(
        kind="verifier",
        lower=lower,
        upper=torch.where(upper.isfinite(), upper, torch.inf),
        holds=holds & ~violated,
        violated=violated,
        reason=reason,
        points=points,
        confirmed=all(part.confirmed for part in parts),
        proved=_joined([part.share for part in parts]),
        rounding=_joined([part.rounding for part in parts]),
    )


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known).to("cpu", torch.float64) if len(known) == len(parts) else None


def _met(query: Query, parts: list[Bounds]) -> tuple[Tensor | None, Tensor, Tensor]:
    """The points that a verifier came across, the violation there and whether it counts: replayed here."""
    no = torch.zeros(query.batch, dtype=torch.bool)
    if any(part.points is None for part in parts):
        return None, torch.full((query.batch,), torch.nan, dtype=torch.float64), no
    points = torch.cat([part.points for part in parts if part.points is not None])
    with torch.no_grad():
        violation = query.violation(points).to("cpu", torch.float64)
        inside = query.inputs.contains(points)
        violated = _replayed(query, points, inside)
    lower = torch.where(inside.cpu() & violation.isfinite(), violation, -torch.inf)
    return points, lower, violated


def _replayed(query: Query, points: Tensor, claimed: Tensor) -> Tensor:
    """Which of the claimed points (B, *in) lie in their sets and break the property, (B,) on the CPU.

    Where rounding could decide, also on a forward pass of the point alone: the rounding of a matrix product
    may depend on what else is in the batch, and a user replays a witness by itself.
    """
    with torch.no_grad():
        y = query.network(points)
        broken = claimed & query.inputs.contains(points) & query.violated_by(y).to(claimed.device)
        size = 1 + y.abs().flatten(1).amax(1) + query.d.abs().amax(1).to(y)
        narrow = query.combine(query.atoms(y)).abs() <= _ROUNDING * size
        for b in (broken & narrow.to(broken.device)).nonzero().flatten().tolist():
            index = torch.tensor([b], device=points.device)
            one = query.select(index.to(query.inputs.device))
            broken[b] = bool(one.violated(points[index]))
    return broken.cpu()


def failed(kind: str, batch: int, error: Exception) -> Outcome:
    """The outcome of a method that stopped with `error`: nothing is known about any of the problems.

    Raises the error itself if it is an alarm or no error of the project or of torch, since then a
    program is wrong and not a method.
    """
    if isinstance(error, SoundnessAlarm) or not isinstance(
        error, RobustBenchError | RuntimeError | MemoryError
    ):
        raise error
    reasons: dict[type[Exception], str] = {
        UnsupportedOpError: "op",
        GraphError: "op",
        NonFiniteError: "non-finite",
    }
    reason = "resources" if is_out_of_memory(error) else reasons.get(type(error), "op")
    nothing = torch.full((batch,), torch.nan, dtype=torch.float64)
    no = torch.zeros(batch, dtype=torch.bool)
    text = " ".join(str(error).split())[:500] or type(error).__name__
    return Outcome(kind, nothing, nothing, no, no, [reason] * batch, error=text)


def _marked(reasons: list[str], where: Tensor, word: str) -> list[str]:
    """The reasons of undecided problems (decided ones have none), replaced by `word` at `where` (B,)."""
    return [word if mark and text else text for mark, text in zip(where.tolist(), reasons, strict=True)]
