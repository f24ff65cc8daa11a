"""The rows of a competition, one after the other in this process."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from robustbench_local.device import find_device
from robustbench_local.errors import DeviceError
from robustbench_local.version import __version__

from .deciding import Decider, Decision, Networks, decide, everything
from .instances import Instance
from .journal import Journal
from .rows import REPEATABLE, Row

__all__ = ["Settings", "compete", "row_key"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a competition is run.

    Attributes:
        timeout: seconds for each instance; the row's own limit holds where it is shorter. None: the row's.
        device: where to compute, as users write it; None: the CPU.
        seed: of the attacks.
        attacks: False leaves them out.
    """

    timeout: float | None = None
    device: str | None = None
    seed: int = 0
    attacks: bool = True

    def limit(self, instance: Instance) -> float:
        """Seconds for an instance."""
        return instance.timeout if self.timeout is None else min(self.timeout, instance.timeout)


def compete(
    instances: Iterable[Instance],
    settings: Settings,
    *,
    decider: Decider = everything,
    journal: Journal | None = None,
    started: Callable[[Instance], None] | None = None,
    finished: Callable[[Row, bool], None] | None = None,
) -> list[Row]:
    """The rows of the instances, in order.

    Every instance gets its row, whatever happens: what cannot be read or computed is its `reason`. Rows that
    the journal has already, of the same files, limit, settings and version, are not computed again. New ones
    are added to it at once. `finished` is called with each row and whether it is new.
    """
    files = _Files()
    networks: Networks | DeviceError
    try:
        networks = Networks(find_device(settings.device))
    except DeviceError as error:
        networks = error
    rows = []
    for instance in instances:
        key = row_key(instance, settings, files)
        known = None if journal is None else journal.rows.get(instance.id)
        fresh = known is None or known.key != key or known.reason in REPEATABLE
        if known is None or fresh:
            if started is not None:
                started(instance)
            known = _row(instance, settings, networks, decider, key)
            if journal is not None:
                journal.add(known)
        rows.append(known)
        if finished is not None:
            finished(known, fresh)
    return rows


def _row(
    instance: Instance, settings: Settings, networks: Networks | DeviceError, decider: Decider, key: str
) -> Row:
    limit, start = settings.limit(instance), time.monotonic()
    if instance.problem:
        found = Decision(reason="input", error=instance.problem)
    elif isinstance(networks, DeviceError):
        found = Decision(reason="device", error=str(networks))
    else:
        files = instance.network, instance.property
        found = decide(networks, *files, limit, seed=settings.seed, decider=decider)
    seconds = time.monotonic() - start
    more = {"timeout": limit, "key": key, "seconds_load": found.seconds_load}
    result = found.result
    if result is None:
        return Row.of(instance, "UNKNOWN", seconds, reason=found.reason, error=found.error, **more)
    bracket = {"lower": result.lower, "upper": result.upper}
    words = {"stage": result.stage, "reason": result.reason, "error": result.error}
    replays = {} if found.replay is None else dict(found.replay.values)
    return Row.of(instance, result.verdict.value, seconds, **bracket, **words, replays=replays, **more)


def row_key(instance: Instance, settings: Settings, files: _Files) -> str:
    """The hash of everything that a row depends on, apart from how fast the machine is."""
    facts = {
        "files": [files.digest(path) for path in (instance.network, instance.property)],
        "names": [instance.onnx, instance.vnnlib],
        "row": [instance.benchmark, instance.expected, instance.problem],
        "limit": repr(settings.limit(instance)),
        "settings": [settings.device, settings.seed, settings.attacks],
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class _Files:
    """Hashes of files' contents, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def digest(self, path: Path) -> str:
        """The sha256 of a file in hex; "" where it cannot be read."""
        if path not in self._known:
            try:
                self._known[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                self._known[path] = ""
        return self._known[path]
