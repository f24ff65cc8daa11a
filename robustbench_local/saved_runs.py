"""Runs that stop at their time limit and go on later: a file that holds how far they got.

safetensors, with the record of everything that is no tensor as JSON in the header. The record names the
networks and properties by hashes of what they compute, and the settings; a hash over all of it guards
against damage. The file is believed where these fit: it saves work, it proves nothing to others (certificates
do).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from robustbench_local.errors import DataError, SearchStateError
from robustbench_local.specs import Query, Spec, Verdict, Vnnlib2Property, VnnlibProperty
from robustbench_local.verifiers import VERIFIERS, Resumable

from .arithmetic import only_real
from .atomic import write_atomically
from .cascade import Cascade
from .fingerprints import network_fingerprint, query_fingerprint
from .progress import Progress, Standing, progress_of, take_up
from .version import __version__

__all__ = ["SavedRun", "check_savable"]

_FORMAT = 1
_NUMBERS = ("lower", "upper", "seconds", "proved")
_WORDS = ("stage", "reason", "error")


def check_savable(spec: object, path: object, arithmetic: str = "real") -> None:
    """Raise DataError for a state file (path) of what is no single property: rates, texts, lists.

    SpecError for another arithmetic than real numbers: no search speaks of those.
    """
    if path is None:
        return
    only_real(arithmetic, "saved searches")
    single = isinstance(spec, Query | Spec | VnnlibProperty | Vnnlib2Property)
    if not single and not (isinstance(spec, str | Path) and not str(spec).endswith(".rbspec")):
        raise DataError(
            "a saved search is about one property",
            where="state",
            cure="verify the properties one by one, each with a file of its own",
        )


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A file that a run goes on from, if there is one, and that is replaced whenever the run has got further.

    settings: what else a run depends on, as plain values: seed, method.
    """

    path: Path
    settings: Mapping[str, object]

    def load(self, runs: Sequence[Cascade]) -> None:
        """Makes the runs go on from the file. Raises SearchStateError for one of another run, or broken."""
        if not self.path.exists():
            return
        record, tensors = _read(self.path)
        for name, (saved, now) in _differences(record["binding"], self._binding(runs)).items():
            raise SearchStateError(
                f"the saved search has another {name} ({saved}, now {now})",
                where=str(self.path),
                cure="give the model, property and settings that it was begun with, or another file",
            )
        try:
            found = [
                _restored(run, entry, _under(f"{i}.", tensors))
                for i, (run, entry) in enumerate(zip(runs, record["runs"], strict=True))
            ]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise SearchStateError(f"not a saved search: {error}", where=str(self.path)) from error
        for run, progress in zip(runs, found, strict=True):
            take_up(run, progress)

    def save(self, runs: Sequence[Cascade]) -> None:
        """Replaces the file. Raises ResultsError where the file system refuses."""
        tensors: dict[str, Tensor] = {}
        entries = []
        for i, run in enumerate(runs):
            entry, own = _plain(progress_of(run))
            entries.append(entry)
            tensors |= {f"{i}.{k}": v.detach().cpu().contiguous().clone() for k, v in own.items()}
        record = {"format": _FORMAT, "binding": self._binding(runs), "runs": entries}
        header = {"record": json.dumps(record), "digest": _digest(json.dumps(record), tensors)}
        write_atomically(self.path, lambda path: save_file(tensors, path, header))

    def _binding(self, runs: Sequence[Cascade]) -> dict[str, object]:
        return {
            "version": __version__,
            "model": [network_fingerprint(run.subject) for run in runs],
            "property": [query_fingerprint(run.cases.query) for run in runs],
            **self.settings,
        }


def _plain(progress: Progress) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A run's progress as JSON values and tensors."""
    tensors = {name: getattr(progress, name) for name in _NUMBERS}
    tensors |= {f"witness.{b}": w for b, w in enumerate(progress.witness) if w is not None}
    for name, standing in progress.searches.items():
        tensors[f"search.{name}.rows"] = standing.rows
        tensors |= {f"search.{name}.state.{k}": v for k, v in standing.state.tensors().items()}
    entry: dict[str, Any] = {word: list(getattr(progress, word)) for word in _WORDS}
    entry |= {"verdict": [v.value for v in progress.verdict], "done": list(progress.done)}
    return {**entry, "searches": sorted(progress.searches)}, tensors


def _restored(run: Cascade, entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Progress:
    """The progress that JSON values and tensors describe; ValueError or KeyError where they do not."""
    batch = run.cases.query.batch
    numbers = {name: tensors[name] for name in _NUMBERS}
    words = {word: tuple(str(text) for text in entry[word]) for word in _WORDS}
    verdict = tuple(Verdict(text) for text in entry["verdict"])
    if any(value.shape != (batch,) or value.dtype != torch.float64 for value in numbers.values()):
        raise ValueError(f"numbers of another batch than of {batch} problems")
    if any(len(values) != batch for values in (verdict, *words.values())):
        raise ValueError(f"verdicts of another batch than of {batch} problems")
    return Progress(
        **numbers,
        verdict=verdict,
        stage=words["stage"],
        reason=words["reason"],
        error=words["error"],
        witness=tuple(tensors.get(f"witness.{b}") for b in range(batch)),
        done=tuple(str(name) for name in entry["done"]),
        searches={name: _standing(run, name, tensors) for name in entry["searches"]},
    )


def _standing(run: Cascade, name: str, tensors: Mapping[str, Tensor]) -> Standing:
    method = VERIFIERS[name]
    if not isinstance(method, Resumable):
        raise ValueError(f"{name} is no search that goes on")
    rows = tensors[f"search.{name}.rows"]
    query = run.cases.query.select(rows.to(run.cases.query.inputs.device))
    state = method.restored(run.subject.graph(), query, _under(f"search.{name}.state.", tensors))
    return Standing(rows, state)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The record and the tensors of a whole, undamaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        record = json.loads(header["record"])
        known = header["digest"]
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise SearchStateError(f"not a saved search: {error}", where=str(path)) from error
    if _digest(header["record"], tensors) != known:
        raise SearchStateError("the saved search is damaged", where=str(path), cure="start anew")
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise SearchStateError("the saved search has another format", where=str(path), cure="start anew")
    return record, tensors


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        name: (_short(saved.get(name)), _short(now.get(name)))
        for name in sorted({*saved, *now}, key=lambda name: (name not in {"model", "property"}, name))
        if saved.get(name) != now.get(name)
    }


def _short(value: object) -> str:
    """A setting as it is, hashes by their first letters."""
    if not isinstance(value, list):
        return str(value)
    return ", ".join(str(part)[:8] for part in value[:3]) + ("..." if len(value) > 3 else "")


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _digest(record: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"|{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
