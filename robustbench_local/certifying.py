"""Certificates of verdicts: a HOLDS is proved anew in a form that the separate checker replays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from robustbench_local.checker import Check
from robustbench_local.checker import check as _check
from robustbench_local.errors import DataError, RobustBenchError
from robustbench_local.evaluation import Cases
from robustbench_local.specs import Quantifier, Query, Spec, Verdict, Vnnlib2Property, VnnlibProperty
from robustbench_local.verifiers import TreeRecord, certify, from_torch, network_hash

from .arithmetic import only_real
from .named_models import find_model
from .results import Result

__all__ = ["certified", "check", "check_certifiable", "record_for"]


def check_certifiable(spec: object, path: object, arithmetic: str = "real") -> None:
    """Raise DataError for a certificate (path) of what is no single property: rates, texts, lists.

    SpecError for another arithmetic than real numbers.
    """
    if path is None:
        return
    only_real(arithmetic, "certificates")
    single = isinstance(spec, Query | Spec | VnnlibProperty | Vnnlib2Property)
    if not single and not (isinstance(spec, str | Path) and not str(spec).endswith(".rbspec")):
        raise DataError(
            "a certificate is about one property",
            where="certificate",
            cure="verify the properties one by one",
        )


def record_for(path: object) -> TreeRecord | None:
    """What keeps the trees of a run whose result is to have a certificate (path); None where none is."""
    return None if path is None else TreeRecord()


def certified(
    result: Result,
    batches: Sequence[Cases],
    path: str | Path | None,
    *,
    timeout: float,
    files: Sequence[object] = (),
    record: TreeRecord | None = None,
) -> Result:
    """The result, with a certificate written to `path` if it is HOLDS and can be certified within `timeout`.

    Where it cannot, `certificate` stays None and `error` says why. `files`: model and property as the user
    named them; those that are files are named in the certificate with their hashes. record: of the run that
    gave the result, whose trees the certificate takes over.
    """
    if path is None or result.verdict is not Verdict.HOLDS:
        return result
    if len(batches) != 1 or batches[0].query.quantifier is not Quantifier.FORALL:
        return replace(result, error="no certificate: it serves one network and properties of all points")
    cases = batches[0]
    try:
        graph = None if record is None else record.graph
        graph = from_torch(cases.network, _example(cases.query, cases.network)) if graph is None else graph
        source = _source(cases, files)
        found = certify(graph, cases.query, path, seconds=timeout, source=source, record=record)
    except RobustBenchError as error:
        return replace(result, error=f"no certificate: {error}")
    if found.path is None:
        return replace(result, error=f"no certificate: {found.reason}")
    return replace(result, certificate=str(found.path))


def check(
    path: str | Path,
    *,
    model: nn.Module | str | Path | None = None,
    input_shape: Sequence[int] | None = None,
) -> Check:
    """What the separate checker says of a certificate; with `model`, also whether it is about that network.

    `accepted` is true only where everything was proved; else `reason` says what was not. The checker reads
    the certificate alone; the comparison with `model` is the engine's, by its own reading of the model
    (`input_shape`: of one sample, where neither the zoo nor a file tells).
    """
    found = _check(path)
    if model is None or not found.accepted:
        return found
    from robustbench_local.checker import read

    size = int(read(Path(path))[0]["network"]["nodes"][0]["size"])
    network = find_model(model).network
    shape = _input_shape(network, model, size) if input_shape is None else input_shape
    if network_hash(from_torch(network, torch.zeros(1, *shape))) != found.network:
        return found._replace(
            accepted=False, reason="the certificate is about another network than the model"
        )
    return found


def _example(query: Query, network: nn.Module) -> torch.Tensor:
    tensor = next((p for p in (*network.parameters(), *network.buffers()) if p.is_floating_point()), None)
    centre = query.inputs.centre()[:1]
    return centre.float() if tensor is None else centre.to(tensor)


def _input_shape(network: nn.Module, model: nn.Module | str | Path, size: int) -> tuple[int, ...]:
    from robustbench_local.models import MODELS, split_name
    from robustbench_local.verifiers import GraphNetwork

    if isinstance(network, GraphNetwork):
        return network.graph.input_shape
    name = split_name(str(model))[0] if isinstance(model, str) and ".py" not in model else ""
    return MODELS[name].card.input_shape if name in MODELS else (size,)


def _source(cases: Cases, files: Sequence[object]) -> dict[str, str]:
    """What a reader may want to know; nothing of it is trusted."""
    found = {"model": cases.model, "property": cases.spec, "query_id": cases.query.id}
    for role, name in zip(("model", "property"), files, strict=False):
        if isinstance(name, str | Path) and Path(name).is_file():
            found[f"{role}_file_sha256"] = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    return found
