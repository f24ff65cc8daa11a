"""The Python interface: what `import robustbench_local as rbl` offers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from robustbench_local.attacks import Attack
from robustbench_local.errors import DataError, ShapeError
from robustbench_local.evaluation import Cases, Method, Progress
from robustbench_local.evaluation import evaluate as _evaluate
from robustbench_local.models import load_model
from robustbench_local.specs import ChanceClaim, Every, RateClaim, SpecFile, Vnnlib2Property, VnnlibProperty
from robustbench_local.verifiers import Verifier, find_verifier, from_torch, output_bounds

from .aggregates import chance_result, every_result, rate_result
from .arithmetic import arithmetic_stages, labelled, only_real
from .brackets import chance, measure, radius
from .cascade import Method as MethodOfCascade
from .cascade import cascade_all, find_any_method, find_method
from .certifying import certified, check_certifiable
from .device import find_device
from .named_models import find_model
from .planner import decide as decide_all
from .planner import in_turn
from .preflight import supports
from .problems import Model, Property, problems_of
from .resources import sparing
from .results import Result
from .text_claims import BoundClaim, attackable, bound_claims, is_text, text_of

if TYPE_CHECKING:  # tables, reports and training load what a single verdict does not need
    import pandas as pd

    from robustbench_local.training import Progress as TrainingProgress
    from robustbench_local.training import Recipe, TrainingResult
    from robustbench_local.witnesses import WitnessStore

__all__ = [
    "Result",
    "attack",
    "bounds",
    "chance",
    "evaluate",
    "load_model",
    "measure",
    "radius",
    "supports",
    "train",
    "verify",
]


def verify(
    model: Model,
    spec: Property | SpecFile | Every | RateClaim | ChanceClaim | Sequence[Property],
    *,
    values: Mapping[str, object] | None = None,
    prop: str | None = None,
    input_shape: Sequence[int] | None = None,
    timeout: float = 60.0,
    method: str | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    certificate: str | Path | None = None,
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
            a share of the problems (`rate(spec) >= 0.6`) or a probability (`chance(..) >= 0.99`); or a text
            of properties, or the path of its file (.rbspec), all of which must hold.
        values: name -> value of what the spec leaves open, e.g. {"x0": images, "c": labels, "eps": 0.1}.
        prop: name of the one property of a text that is meant.
        input_shape: of one sample, for VNN-LIB, where it is neither that of a zoo model nor a single axis.
        timeout: seconds for everything together; with 0 everything is UNKNOWN (timeout).
        method: name of a single attack or verifier to use instead of the plan.
        device: where to compute; default: the CPU, or where the module is.
        seed: of the attack.
        certificate: file to write for a HOLDS of a single property: a proof that `check` replays. Finding it
            may take as long as `timeout` again; where there is none, the result's `error` says why.
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
    if isinstance(spec, SpecFile) or (isinstance(spec, str | Path) and is_text(spec)):

        def part(one: BoundClaim, left: float) -> Result:
            rest: Mapping[str, Any] = {"timeout": left, "method": method, "device": device, "seed": seed}
            return verify(one.model, one.claim, values=one.values, arithmetic=arithmetic, **rest)

        return every_result(in_turn(bound_claims(text_of(spec), model, values, prop), part, deadline))

    call = _Call(model, values, input_shape, stages, arithmetic, device, seed)

    def decide(one: Property, left: float) -> Result:
        return sparing(lambda: call.result(one, left, certificate, timeout), lambda: 1)

    if isinstance(spec, RateClaim):
        return rate_result(spec, decide(spec.rate.spec, timeout))
    if isinstance(spec, ChanceClaim):
        only_real(arithmetic)
        start = time.perf_counter()
        brackets = chance(
            model, spec.chance, values=values, timeout=timeout, samples=0, device=device, seed=seed
        )
        return chance_result(spec, brackets, time.perf_counter() - start)
    if isinstance(spec, Every):
        return every_result(in_turn(spec.specs, decide, deadline))
    if isinstance(spec, Sequence) and not isinstance(spec, str):
        return every_result(in_turn(spec, decide, deadline))
    return decide(spec, timeout)


@dataclass(frozen=True, slots=True)
class _Call:
    """What all properties of one call of `verify` share."""

    model: Model
    values: Mapping[str, object] | None
    input_shape: Sequence[int] | None
    stages: Mapping[str, MethodOfCascade] | None
    arithmetic: str
    device: str | torch.device | None
    seed: int

    def result(self, one: Property, left: float, certificate: str | Path | None, timeout: float) -> Result:
        """The result on one property within `left` seconds."""
        until = time.monotonic() + left
        shape = self.input_shape
        batches = problems_of(self.model, one, self.values, device=self.device, input_shape=shape)
        left = max(0.0, until - time.monotonic())
        if self.stages is not None:
            result = labelled(
                cascade_all(batches, self.stages, timeout=left, seed=self.seed), self.arithmetic
            )
        else:
            whole = isinstance(one, VnnlibProperty | Vnnlib2Property | str | Path)
            result = decide_all(batches, timeout=left, seed=self.seed, first=whole)
        return certified(result, batches, certificate, timeout=timeout, files=(self.model, one))


def attack(
    model: Model,
    spec: Property | SpecFile,
    *,
    attack: str | Attack = "pgd",
    values: Mapping[str, object] | None = None,
    prop: str | None = None,
    input_shape: Sequence[int] | None = None,
    timeout: float = 60.0,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> Result:
    """The empirical side only: VIOLATED with a witness, or UNKNOWN. Arguments as in `verify`.

    `attack` is the name of an attack, or one with settings of your own: `functools.partial(pgd, steps=200)`.
    """
    chosen = find_method(attack) if isinstance(attack, str) else attack
    if isinstance(chosen, Verifier):
        raise DataError(
            f"{attack!r} is a verifier, not an attack", where="attack", cure="use verify(method=...)"
        )
    name = attack if isinstance(attack, str) else "attack"
    if isinstance(spec, SpecFile) or (isinstance(spec, str | Path) and is_text(spec)):
        bound = bound_claims(text_of(spec), model, values, prop)
        batches = [cases for one in bound for cases in attackable(one, device=device)]
    else:
        batches = problems_of(model, spec, values, device=device, input_shape=input_shape)
    return cascade_all(batches, {name: chosen}, timeout=timeout, seed=seed)


def bounds(
    model: nn.Module | str | Path,
    lower: Tensor,
    upper: Tensor,
    *,
    method: str | Verifier = "crown",
    C: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Bounds of the outputs of `model` over a batch of boxes.

    Args:
        model: a module, a zoo name or "file.py:function".
        lower, upper: corners of the boxes, (B, *in) each, lower <= upper.
        method: "ibp", "crown-ibp", "crown", "alpha-crown" or another registered one, or a verifier.
        C: (B, rows, out) or (rows, out): bounds of C @ output instead of the outputs.

    Returns:
        (lower, upper), (B, out) each, or (B, rows) with C; +-inf where nothing is known. Differentiable in
        the weights unless called under torch.inference_mode.

    Raises RobustBenchError for shapes that do not fit, empty boxes, an unknown method or an operation
    without a rule.
    """
    if lower.shape != upper.shape:
        raise ShapeError(f"lower has shape {tuple(lower.shape)}, upper {tuple(upper.shape)}")
    network = find_model(model).network
    graph = from_torch(network, lower[:1])
    engine = find_verifier(method) if isinstance(method, str) else method
    return output_bounds(graph, lower, upper, engine, C)


def evaluate(
    cases: Iterable[Cases],
    methods: Mapping[str, Method] | Iterable[str],
    *,
    timeout: float = 60.0,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
    witnesses: WitnessStore | None = None,
) -> pd.DataFrame:
    """The results table: one row per problem and method, as described at
    `robustbench_local.evaluation.evaluate`.

    `methods` are names of attacks, verifiers and smoothing, or name -> method.
    """
    found = methods if isinstance(methods, Mapping) else {name: find_any_method(name) for name in methods}
    place = None if device is None else find_device(device)
    return _evaluate(
        cases, found, timeout=timeout, seed=seed, device=place, progress=progress, witnesses=witnesses
    )


def train(
    recipe: Recipe | str | Path,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: TrainingProgress | None = None,
    device: str | torch.device | None = None,
) -> TrainingResult:
    """The trained model of a recipe (its name, its TOML file, or the recipe itself), written to `out`.

    `out` defaults to runs/<recipe>; with `resume` an interrupted run in that folder goes on where it stopped.
    Raises RobustBenchError for a recipe or checkpoint that cannot be used.
    """
    from robustbench_local.training import Recipe
    from robustbench_local.training import train as _train

    name = recipe.name if isinstance(recipe, Recipe) else Path(recipe).stem
    folder = Path("runs") / name if out is None else Path(out)
    return _train(recipe, out=folder, resume=resume, progress=progress, device=find_device(device))
