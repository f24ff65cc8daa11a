"""Witnesses of a verification run again before they count: in float64, and in onnxruntime for ONNX files.

That a witness lies in its set exactly and breaks the property in the network's own dtype, alone, is checked
where it is found (`evaluation`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from robustbench_local.evaluation import Cases
from robustbench_local.specs import Query, Verdict
from robustbench_local.verifiers import GraphNetwork

from .replay import OnnxRuntime, replay
from .results import Result, together

__all__ = ["replayed"]


_REAL = ("real", "float64-outward")


def replayed(result: Result, batches: Sequence[Cases], file: object = None) -> Result:
    """The result over all problems of the batches, where every witness breaks the property in float64, too.

    file: the ONNX file that the network was read from, if it was: onnxruntime must agree as well, and `audit`
    says so, or why it was not asked. A witness that does not replay leaves its problem UNKNOWN (boundary).
    Violations of a format's forward pass alone (arithmetic fp32, ...) are what they are, and stay.
    """
    if all(case.witness is None for case in result.cases) or result.arithmetic not in _REAL:
        return result
    cases, start = list(result.cases), 0
    for batch in batches:
        count = batch.query.batch
        part = cases[start : start + count]
        cases[start : start + count] = _batch(part, batch.query, *_runtime(batch.query.network, file))
        start += count
    whole = together(tuple(cases))
    return replace(whole, arithmetic=result.arithmetic, certificate=result.certificate, state=result.state)


def _runtime(network: object, file: object) -> tuple[OnnxRuntime | None, str]:
    """What runs the file, and what to say of it."""
    text = str(file) if isinstance(file, str | Path) else ""
    if not isinstance(network, GraphNetwork) or not text.endswith((".onnx", ".onnx.gz")):
        return None, ""
    try:
        import onnxruntime  # noqa: F401  (only whether it is there)
    except ImportError:
        return None, "; not in onnxruntime, which is not installed"
    found = OnnxRuntime.of(Path(text), network)
    return found, "" if found is not None else "; not in onnxruntime, which refuses the file"


def _batch(cases: Sequence[Result], query: Query, runtime: OnnxRuntime | None, remark: str) -> list[Result]:
    """The cases of one query."""
    rows = [b for b, case in enumerate(cases) if case.witness is not None]
    if not rows or not isinstance(query.network, nn.Module):
        return list(cases)
    wide = query.with_network(copy.deepcopy(query.network).to(torch.float64).eval())
    device = query.inputs.device
    found = list(cases)
    for b in rows:
        witness = cases[b].witness
        assert witness is not None  # see `rows`
        point = witness.to(device).unsqueeze(0)
        index = torch.tensor([b], device=device)
        broken = bool(wide.select(index).violated(point.double()))
        said = "replayed in float64 and the network's dtype"
        if broken and runtime is not None:
            values = replay(query.select(index), point[0], dtype=witness.dtype, runtime=runtime).broken
            broken = values.get("onnxruntime", True)
            said += " and onnxruntime" if "onnxruntime" in values else "; onnxruntime failed on the point"
        if broken:
            found[b] = replace(cases[b], audit=said + remark)
        else:
            found[b] = replace(cases[b], verdict=Verdict.UNKNOWN, reason="boundary", witness=None)
    return found
