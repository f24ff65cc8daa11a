"""`verify`: the verdict on a property, on several, or on a claim about many problems."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from robustbench_local.evaluation import Cases
from robustbench_local.specs import (
    ChanceClaim,
    Every,
    GroupClaim,
    RateClaim,
    SpecFile,
    Vnnlib2Property,
    VnnlibProperty,
)
from robustbench_local.verifiers import TreeRecord

from .aggregates import chance_result, every_result, group_result, rate_result
from .arithmetic import arithmetic_stages, labelled, only_real
from .brackets import chance
from .cascade import Method, cascade_all
from .certifying import certified, check_certifiable, record_for
from .plan import Step, steps_of
from .planner import decide, in_turn
from .problems import Model, Property, problems_of
from .replaying import replayed
from .resources import sparing
from .results import Result
from .saved_runs import SavedRun, check_savable
from .text_claims import BoundClaim, bound_claims, is_text, text_of

__all__ = ["Asked", "decided", "verify"]


def verify(
    model: Model,
    spec: Property | SpecFile | Every | RateClaim | GroupClaim | ChanceClaim | Sequence[Property],
    *,
    values: Mapping[str, object] | None = None,
    prop: str | None = None,
    input_shape: Sequence[int] | None = None,
    timeout: float = 60.0,
    method: str | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    certificate: str | Path | None = None,
    state: str | Path | None = None,
    arithmetic: str = "real",
) -> Result:
    """The verdict on a property of `model`, and the bracket of its worst violation.

    Attacks, then bounds from cheap to dear, then branch and bound, each on the problems that are still
    open; a plan chooses them from the structure of network and property (`rbl verify --explain`).

    Args:
        model: a module, a zoo name ("digits-cnn:certified"), an ONNX file or "file.py:function"; for a
            property of several networks name of slot -> model; None for a query, which has its network.
        spec: a property whose values are given as `values`, or a query that has them already; it may hold
            many problems (the images of a test set), which are decided together, in batches; or a VNN-LIB
            property, or the path of its file; or several of these, all of which must hold; or a claim about
            a share of the problems (`rate(spec) >= 0.6`), the shares of groups of them (`gap(spec, group) <=
            0.05`) or a probability (`chance(..) >= 0.99`); or a text of properties, or the path of its file
            (.rbspec), all of which must hold.
        values: name -> value of what the spec leaves open, e.g. {"x0": images, "c": labels, "eps": 0.1}.
        prop: name of the one property of a text that is meant.
        input_shape: of one sample, for VNN-LIB, where it is neither that of a zoo model nor a single axis.
        timeout: seconds for everything together; with 0 everything is UNKNOWN (timeout).
        method: name of a single attack or verifier to use instead of the plan.
        device: where to compute; default: the CPU, or where the module is.
        seed: of the attack.
        certificate: file to write for a HOLDS of a single property: a proof that `check` replays. It takes
            over the trees that decided the property, and may take as long as `timeout` again; where there is
            none, the result's `error` says why.
        state: file that keeps, for a single property, how far the run has got; where it exists, the run goes
            on from it, and it must be of the same model, property, seed and method. Writing it at the end
            comes on top of `timeout`.
        arithmetic: what HOLDS is about: "real", the network over the real numbers; "float64-outward", the
            same with the verifier's own rounding accounted for; "fp32", "fp16", "bf16", every forward pass in
            that format, in any order of its sums (docs/arithmetic.md). Other than "real", without a
            `method`: PGD and the outward counterparts of IBP, CROWN-IBP, CROWN and alpha-CROWN.

    Returns:
        The result over all problems; its `cases` are the results of the single ones.

    Raises RobustBenchError for a model, spec or value that cannot be used.
    """
    stages = arithmetic_stages(method, arithmetic)
    deadline = time.monotonic() + timeout
    check_certifiable(spec, certificate, arithmetic)
    check_savable(spec, state, arithmetic)
    if isinstance(spec, SpecFile) or (isinstance(spec, str | Path) and is_text(spec)):

        def part(one: BoundClaim, left: float) -> Result:
            rest: Mapping[str, Any] = {"timeout": left, "method": method, "device": device, "seed": seed}
            return verify(one.model, one.claim, values=one.values, arithmetic=arithmetic, **rest)

        return every_result(in_turn(bound_claims(text_of(spec), model, values, prop), part, deadline))

    call = _Call(model, values, input_shape, stages, arithmetic, device, seed)

    def result(one: Property, left: float) -> Result:
        return sparing(
            lambda: call.result(one, left, timeout, certificate=certificate, state=state), lambda: 1
        )

    if isinstance(spec, RateClaim):
        return rate_result(spec, result(spec.spec, timeout))
    if isinstance(spec, GroupClaim):
        own, groups = spec.apart(values or {})
        call = replace(call, values=own)
        return group_result(spec, result(spec.spec, timeout), groups)
    if isinstance(spec, ChanceClaim):
        only_real(arithmetic)
        return call.chance(spec, timeout)
    if isinstance(spec, Every):
        return every_result(in_turn(spec.specs, result, deadline))
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        return every_result(in_turn(spec, result, deadline))
    return result(spec, timeout)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a verdict is to be about: `arithmetic`, and `model` as the user named it; if that is a file, it
    replays witnesses. first: a plan stops at the first problem that is violated.
    """

    arithmetic: str
    model: object
    first: bool


def decided(
    batches: Sequence[Cases],
    stages: Mapping[str, Method] | None,
    *,
    timeout: float,
    seed: int,
    asked: Asked,
    state: str | Path | None = None,
    record: TreeRecord | None = None,
) -> Result:
    """The result on batches of problems by the stages, or by a plan where these are None.

    state: file that the run goes on from, and that it leaves behind. record: of the trees of searches, for a
    certificate. Raises SearchStateError for the file of another run.
    """
    record = record if len(batches) == 1 else None
    found = _decided(batches, stages, timeout, seed=seed, first=asked.first, state=state, record=record)
    return replayed(labelled(found, asked.arithmetic), batches, asked.model)


def _decided(
    batches: Sequence[Cases],
    stages: Mapping[str, Method] | None,
    timeout: float,
    *,
    seed: int,
    first: bool,
    state: str | Path | None,
    record: TreeRecord | None,
) -> Result:
    if state is None and stages is not None:
        return cascade_all(batches, stages, timeout=timeout, seed=seed, record=record)
    if state is None:
        return decide(batches, timeout=timeout, seed=seed, first=first, record=record)
    keeper = SavedRun(Path(state), {"seed": seed, "method": "plan" if stages is None else ", ".join(stages)})
    steps: tuple[Step, ...] | None = None
    if stages is not None:
        given = steps_of(dict(stages))
        steps = (*given, Step("members", None, 1.0, members=given))
    first = first and stages is None
    found = decide(
        batches, timeout=timeout, seed=seed, first=first, steps=steps, keeper=keeper, record=record
    )
    return replace(found, state=str(state))


@dataclass(frozen=True, slots=True)
class _Call:
    """What all properties of one call of `verify` share."""

    model: Model
    values: Mapping[str, object] | None
    input_shape: Sequence[int] | None
    stages: Mapping[str, Method] | None
    arithmetic: str
    device: str | torch.device | None
    seed: int

    def result(
        self,
        one: Property,
        left: float,
        timeout: float,
        *,
        certificate: str | Path | None,
        state: str | Path | None,
    ) -> Result:
        """The result on one property within `left` seconds; `timeout` for the certificate."""
        until = time.monotonic() + left
        shape = self.input_shape
        batches = problems_of(self.model, one, self.values, device=self.device, input_shape=shape)
        left = max(0.0, until - time.monotonic())
        whole = isinstance(one, VnnlibProperty | Vnnlib2Property | str | Path)
        asked = Asked(self.arithmetic, self.model, whole)
        record = record_for(certificate)
        result = decided(
            batches, self.stages, timeout=left, seed=self.seed, asked=asked, state=state, record=record
        )
        files = (self.model, one)
        return certified(result, batches, certificate, timeout=timeout, files=files, record=record)

    def chance(self, claim: ChanceClaim, timeout: float) -> Result:
        """The result on a claim about a probability."""
        start = time.perf_counter()
        brackets = chance(
            self.model,
            claim.chance,
            values=self.values,
            timeout=timeout,
            samples=0,
            device=self.device,
            seed=self.seed,
        )
        return chance_result(claim, brackets, time.perf_counter() - start)
