"""The Python interface: what `import robustbench_local as rbl` offers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from robustbench_local.attacks import Attack
from robustbench_local.errors import DataError, ShapeError
from robustbench_local.evaluation import Cases, Method, Progress
from robustbench_local.evaluation import evaluate as _evaluate
from robustbench_local.models import load_model
from robustbench_local.specs import SpecFile
from robustbench_local.verifiers import Verifier, find_arithmetic, find_verifier, from_torch, output_bounds

from .brackets import chance, measure, radius
from .cascade import cascade_all, find_any_method, find_method
from .device import find_device
from .named_models import find_model
from .preflight import supports
from .problems import Model, Property, problems_of
from .replaying import replayed
from .results import Result
from .text_claims import attackable, bound_claims, is_text, text_of
from .verifying import verify

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
    return replayed(cascade_all(batches, {name: chosen}, timeout=timeout, seed=seed), batches, model)


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
    arithmetic: str = "real",
) -> pd.DataFrame:
    """The results table: one row per problem and method, as described at
    `robustbench_local.evaluation.evaluate`.

    `methods` are names of attacks, verifiers and smoothing, or name -> method; with another `arithmetic` than
    "real" verifiers are replaced by their counterparts, as in `verify`.
    """
    given = methods if isinstance(methods, Mapping) else {name: find_any_method(name) for name in methods}
    chosen = find_arithmetic(arithmetic)
    found = {n: chosen.verifier(m) if isinstance(m, Verifier) else m for n, m in given.items()}
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
