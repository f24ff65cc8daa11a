"""Which methods a verification runs, in which order and for how long: chosen from structure alone.

What counts is how many inputs vary, how many neurons intervals leave undecided, how large the network and
the property are, what kind of sets the problems have, and how many problems there are: never a name. Shares
are of the time that is left when a step begins, so that what one step does not need goes to the next ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch

from robustbench_local.attacks import ATTACKS, Attack, clause_pgd
from robustbench_local.errors import RobustBenchError
from robustbench_local.evaluation import Subject
from robustbench_local.specs import Query
from robustbench_local.verifiers import (
    VERIFIERS,
    Budget,
    ForwardBackward,
    InputSplitting,
    Structure,
    Verifier,
    is_out_of_memory,
    problem_bytes,
    structure_of,
)

from .slices import SEEDED, Seeding

__all__ = ["Method", "Plan", "Step", "plan_for", "screening", "steps_of"]

Method = Attack | Verifier

_KEPT = 1.5  # resident over live memory: glibc gave 413 and 262 MB back with and without its caches
_FEW = 20  # inputs that vary: up to here boxes of inputs are worth cutting
_WALKED = 64  # problems: up to here many walks of each fit one batch
_SYMBOLS = 50  # of relaxation errors in forward bounds
_ROWS_PER_FORM = 32  # undecided neurons for each number of a form: above, backward passes take much longer
_LEAST_WALKS, _MOST_WALKS = 16, 1024  # of one problem
_WALKED_NEURONS = 2**18  # walks times neurons where few inputs vary: many starts meet every region of the set
_SURE = 8  # inputs that vary: up to here cutting them is all that is needed
_NEURONS_PER_INPUT = (
    4  # undecided neurons for each input that varies: below, there are fewer patterns than boxes
)


@dataclass(frozen=True, slots=True)
class Step:
    """A method of a plan.

    name: of the method, as it stands in results. share: of the time left, in (0, 1]. reason: why it is here.
    members: the steps `before` are run on the members of the open problems' sets, instead of a method.
    seeding: the attack between slices of a search, if any.
    """

    name: str
    method: Method | None
    share: float = 1.0
    reason: str = ""
    members: tuple[Step, ...] = ()
    seeding: Seeding | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps for what the screening attack leaves open of one batch of problems.

    Attributes:
        steps: in order.
        structure: what they were chosen by; None where the network cannot be bounded, `obstacle` says why.
        memory_bytes: predicted peak: weights and their float64 copies, all nodes' bounds, a batch of rows,
            an attack's batch, and what the allocator keeps of memory that was given back.
    """

    steps: tuple[Step, ...]
    structure: Structure | None
    obstacle: str
    memory_bytes: int

    def lines(self) -> tuple[str, ...]:
        """The plan as text: the numbers, the steps with reasons, the memory."""
        found = self.structure
        if found is None:
            head = [f"no bounds: {self.obstacle}"]
        else:
            head = [
                f"{found.problems:,} problem(s), {found.varying:,} of {found.inputs:,} inputs vary, "
                f"{found.atoms:,} atom(s) in {found.clauses:,} clause(s)",
                f"{found.nodes:,} operations, {found.bent:,} not affine; by intervals {found.undecided:,} of "
                f"{found.neurons:,} neurons undecided",
            ]
        steps = [
            f"{k}. {step.name}, up to {step.share:.0%} of the time left: {step.reason}"
            for k, step in enumerate((screening(), *self.steps), 1)
        ]
        return (*head, *steps, f"memory: about {max(1, round(self.memory_bytes / 2**20)):,} MiB beside torch")


def screening() -> Step:
    """The attack that comes before a plan is made: it needs neither a graph nor bounds."""
    return Step("pgd", ATTACKS["pgd"], 0.1, "most violated properties fall to a short attack")


def steps_of(methods: dict[str, Method]) -> tuple[Step, ...]:
    """Given methods in order, each with all the time that is left."""
    return tuple(Step(name, method) for name, method in methods.items())


def plan_for(
    subject: Subject, query: Query, *, attacks: bool = True, memory_bytes: int | None = None
) -> Plan:
    """The plan for a query; without `attacks`, of verifiers only. Never raises for what it finds."""
    weights = sum(w.numel() * w.element_size() for w in subject.network.parameters())
    try:
        graph = subject.graph()
        structure = structure_of(graph, query)
    except (RobustBenchError, RuntimeError, MemoryError) as error:
        text = " ".join(str(error).split())[:300]
        steps = _unmeasured() if is_out_of_memory(error) else _unbounded()
        return Plan(_chosen(steps, attacks), None, text, 2 * weights)
    steps = _chosen(_steps(structure, divisible=_divisible(query)), attacks)
    batch = Budget(memory_bytes=memory_bytes).memory(subject.device)
    rows = structure.problems * structure.atoms * structure.row_bytes
    each = 2 * problem_bytes(graph)  # the second look is in float64
    boxes = each * min(structure.problems, max(1, batch // each))  # batches are cut so that these fit
    walks = min(
        batch, structure.problems * problem_bytes(graph) // 3
    )  # values, gradients, copies of an attack
    live = 4 * weights + boxes + min(rows, batch) + walks
    return Plan(steps, structure, "", int(_KEPT * live))


def _steps(found: Structure, *, divisible: bool) -> tuple[Step, ...]:
    cheap = [
        Step("ibp", VERIFIERS["ibp"], 0.1, "one pass; easy properties hold by intervals"),
    ]
    if found.bent > 1:
        cheap.append(Step("crown-ibp", VERIFIERS["crown-ibp"], 0.2, "one backward pass on interval bounds"))
    if _forward(found):
        reason = f"{found.varying:,} inputs vary: forms in them for {found.undecided:,} undecided neurons"
        cheap.append(Step("forward-backward", ForwardBackward(_SYMBOLS), 0.1, reason))
    else:
        cheap.append(Step("crown", VERIFIERS["crown"], 0.4, "a backward pass for every layer"))
    strong = Step("apgd-t", ATTACKS["apgd-t"], 0.15, "walks towards every clause, before bounds get dear")
    if found.problems <= _WALKED:
        walks = _walks(found)
        reason = f"{walks:,} walks towards every clause, before bounds get dear"
        strong = Step("clause-pgd", partial(clause_pgd, walks=walks), 0.15, reason)
    members: list[Step] = []
    if divisible:
        own = (
            screening(),
            *cheap,
            Step("alpha-crown", VERIFIERS["alpha-crown"], 1.0, "tuned slopes for every member"),
        )
        members.append(Step("members", None, 0.5, "the sets are unions: member by member", own))
    alpha: list[Step] = []
    if found.problems > 1:
        share = 0.3
        alpha.append(
            Step(
                "alpha-crown",
                VERIFIERS["alpha-crown"],
                share,
                "tuned slopes before trees of so many problems",
            )
        )
    searches = (replace(step, seeding=SEEDED) for step in _searches(found))
    return (*cheap, strong, *members, *alpha, *searches)


def _forward(found: Structure) -> bool:
    """Whether forms in the few inputs that vary take much less time than a backward pass for every neuron."""
    return found.varying <= _FEW and found.undecided > _ROWS_PER_FORM * (found.varying + _SYMBOLS)


def _walks(found: Structure) -> int:
    """How many walks of each problem: more where few inputs vary and a pass of the network is cheap."""
    if found.varying > _FEW:
        return _LEAST_WALKS
    most = _WALKED_NEURONS // max(1, found.problems * found.neurons)
    return max(_LEAST_WALKS, min(_MOST_WALKS, most))


def _searches(found: Structure) -> tuple[Step, ...]:
    """Branch and bound, over inputs and neurons; the last gets all the time."""
    bab = VERIFIERS["bab"]
    if found.varying > _FEW:
        reason = f"{found.varying:,} inputs vary, too many to cut; {found.undecided:,} neurons to split"
        return (Step("bab", bab, 1.0, reason),)
    split = InputSplitting(base=VERIFIERS["crown-ibp"]) if _forward(found) else VERIFIERS["split"]
    few = f"{found.varying:,} inputs vary, {found.undecided:,} neurons are undecided"
    if found.undecided <= _NEURONS_PER_INPUT * found.varying:
        return (
            Step("bab", bab, 0.5, f"{few}: fewer patterns than boxes"),
            Step("split", split, 1.0, "boxes of inputs for the rest"),
        )
    if found.varying <= _SURE:
        return (
            Step("split", split, 0.85, f"{few}: few enough to cut their box"),
            Step("bab", bab, 1.0, "splits of neurons for the rest"),
        )
    return (
        Step("split", split, 0.4, f"{few}: cutting their box may do"),
        Step("bab", bab, 1.0, "splits of neurons for the rest"),
    )


def _unbounded() -> tuple[Step, ...]:
    return (
        Step("apgd-t", ATTACKS["apgd-t"], 0.4, "a walk towards every clause"),
        Step("square", ATTACKS["square"], 0.8, "needs no gradient"),
        Step("ibp", VERIFIERS["ibp"], 1.0, "says what is in the way of bounds"),
    )


def _unmeasured() -> tuple[Step, ...]:
    """Where memory did not suffice to look at the structure: what needs little of it first."""
    return (
        Step("ibp", VERIFIERS["ibp"], 0.1, "one pass"),
        Step("crown", VERIFIERS["crown"], 0.3, "in batches that fit"),
        Step("apgd-t", ATTACKS["apgd-t"], 0.2, "a walk towards every clause"),
        Step("bab", VERIFIERS["bab"], 1.0, "the structure is not known: splits of neurons"),
    )


def _chosen(steps: tuple[Step, ...], attacks: bool) -> tuple[Step, ...]:
    """The steps, without attacks where none are wanted."""
    if attacks:
        return steps
    kept = (step for step in steps if step.method is None or isinstance(step.method, Verifier))
    return tuple(replace(step, members=_chosen(step.members, attacks), seeding=None) for step in kept)


def _divisible(query: Query) -> bool:
    return query.select(torch.tensor([0])).parts() is not None
