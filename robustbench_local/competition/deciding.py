"""One instance decided: files read, networks kept, and whatever goes wrong turned into a reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from robustbench_local.errors import (
    DeviceError,
    GraphError,
    NonFiniteError,
    RobustBenchError,
    SoundnessAlarm,
    UnsupportedOpError,
)
from robustbench_local.evaluation import Cases, is_out_of_memory
from robustbench_local.named_models import NamedModel, find_model
from robustbench_local.planner import decide as planned
from robustbench_local.replay import OnnxRuntime, Replay, replay
from robustbench_local.results import Result
from robustbench_local.specs import Verdict, read_vnnlib
from robustbench_local.verifiers import GraphNetwork
from robustbench_local.vnnlib_cases import vnnlib_cases

__all__ = ["Decider", "Decision", "Networks", "decide", "everything", "without_attacks"]

Decider = Callable[[list[Cases], float, int], Result]
"""(problems that must all hold, seconds, seed) -> result."""

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (SoundnessAlarm, "alarm"),
    (DeviceError, "device"),
    (UnsupportedOpError, "op"),
    (GraphError, "op"),
    (NonFiniteError, "non-finite"),
    (RobustBenchError, "input"),
)


def everything(batches: list[Cases], seconds: float, seed: int) -> Result:
    """Attacks, then verifiers, as the planner chooses; the first counterexample ends it."""
    return planned(batches, timeout=seconds, seed=seed, first=True)


def without_attacks(batches: list[Cases], seconds: float, seed: int) -> Result:
    """Verifiers only: HOLDS must not rest on what attacks find."""
    return planned(batches, timeout=seconds, seed=seed, attacks=False, first=True)


@dataclass(slots=True, eq=False)
class Networks:
    """Networks by file, each read once; one that cannot be read is not tried again."""

    device: torch.device
    _known: dict[Path, NamedModel | RobustBenchError] = field(default_factory=dict, repr=False)

    def find(self, path: Path) -> NamedModel:
        """The network of a file; raises what reading it raised."""
        place = path.resolve()
        if place not in self._known:
            try:
                self._known[place] = find_model(path, device=self.device)
            except RobustBenchError as error:
                self._known[place] = error
        found = self._known[place]
        if isinstance(found, RobustBenchError):
            raise found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A result, or the reason why there is none; `seconds_load` for the network alone.

    A VIOLATED has the replay of its witness; one whose witness does not replay everywhere has become UNKNOWN
    (boundary), with that replay.
    """

    result: Result | None = None
    reason: str = ""
    error: str = ""
    seconds_load: float = 0.0
    replay: Replay | None = None


def decide(
    networks: Networks,
    network: Path,
    property_: Path,
    seconds: float,
    *,
    seed: int = 0,
    decider: Decider = everything,
) -> Decision:
    """The result on the files within `seconds` of wall clock, their reading included; never an Exception."""
    deadline, loaded = time.monotonic() + seconds, 0.0
    try:
        if seconds <= 0:
            return Decision(reason="timeout")
        model = networks.find(network)
        loaded = seconds - (deadline - time.monotonic())
        batches = vnnlib_cases(model, read_vnnlib(property_))
        left = deadline - time.monotonic()
        if left <= 0:
            return Decision(reason="timeout", seconds_load=loaded)
        result, again = _replayed(decider(batches, left, seed), batches, model, network)
    except Exception as error:  # one row's trouble, of whatever kind, must not lose the other rows
        text = " ".join(str(error).split())[:500]
        known = isinstance(error, RobustBenchError)
        return Decision(
            reason=_reason(error),
            error=text if known else f"{type(error).__name__}: {text}",
            seconds_load=loaded,
        )
    return Decision(result, seconds_load=loaded, replay=again)


def _replayed(
    result: Result, batches: list[Cases], model: NamedModel, file: Path
) -> tuple[Result, Replay | None]:
    """The result, VIOLATED only with a witness that replays everywhere, and the replay that counts."""
    if result.verdict is not Verdict.VIOLATED:
        return result, None
    network = model.network
    tensors = (*network.parameters(), *network.buffers())
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
    runtime = OnnxRuntime.of(file, network) if isinstance(network, GraphNetwork) else None
    places = [(cases, b) for cases in batches for b in range(cases.query.batch)]
    last: Replay | None = None
    for (cases, b), one in zip(places, result.cases, strict=True):
        if one.verdict is Verdict.VIOLATED and one.witness is not None:
            query = cases.query.select(torch.tensor([b], device=cases.query.inputs.device))
            last = replay(query, one.witness, dtype=dtype, runtime=runtime)
            if isinstance(network, GraphNetwork):  # queries about inputs have these after the outputs
                last = replace(last, outputs=last.outputs[: network.graph.output.numel])
            if last.confirmed:
                return replace(result, stage=one.stage, witness=one.witness), last
    return replace(result, verdict=Verdict.UNKNOWN, reason="boundary", witness=None), last


def _reason(error: Exception) -> str:
    if is_out_of_memory(error):
        return "resources"
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "error")
