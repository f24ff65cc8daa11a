"""Counterexamples run once more, by everything that can run the network: nothing else makes a VIOLATED.

A point counts where it lies in the set exactly, and breaks the property on a forward pass of it alone in the
network's own dtype, in float64, and in onnxruntime where the network is an ONNX file and onnxruntime is
installed. The point itself is held in float32 or, where the set has no float32 number in it (a coordinate
fixed to 0.1, say), in float64: a float32 network then reads it rounded to float32, as a deployed one would.
"""

from __future__ import annotations

import copy
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_local.specs import Query
from robustbench_local.verifiers import GraphNetwork

__all__ = ["OnnxRuntime", "Replay", "replay"]


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What became of one point.

    Attributes:
        inside: it lies in its set, exactly.
        values: what ran it (float32, float64, onnxruntime) -> the violation there; NaN for no number.
        broken: the same -> whether the property is broken there.
        outputs: (n_out,) float64, of the last that ran it.
    """

    inside: bool
    values: Mapping[str, float]
    broken: Mapping[str, bool]
    outputs: Tensor = field(repr=False)

    @property
    def confirmed(self) -> bool:
        """Whether the point counts: inside, and broken wherever it was run."""
        return self.inside and bool(self.broken) and all(self.broken.values())


class OnnxRuntime:
    """An ONNX file as onnxruntime runs it on the CPU."""

    def __init__(self, session: Any, network: GraphNetwork) -> None:
        self._session, self._network = session, network

    @classmethod
    def of(cls, path: Path, network: GraphNetwork) -> OnnxRuntime | None:
        """The file, of which `network` is our reading; None where onnxruntime is missing or refuses it."""
        try:
            import onnxruntime
        except ImportError:
            return None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            source = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else str(path)
            session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception:  # its own errors share no public base; it lacks kernels that the standard has
            return None
        return cls(session, network)

    def outputs(self, point: Tensor) -> Tensor | None:
        """The outputs (n_out,) in float64 at a point (*in), as the graph orders them; None where it fails."""
        kinds = {"tensor(float)": torch.float32, "tensor(double)": torch.float64}
        sizes = [port.numel for port in self._network.interface.inputs]
        parts = point.detach().cpu().reshape(-1).split(sizes)
        try:
            feeds = {
                one.name: part.to(kinds[one.type]).reshape(port.shape).numpy()
                for one, port, part in zip(
                    self._session.get_inputs(), self._network.interface.inputs, parts, strict=True
                )
            }
            found = self._session.run(list(self._network.output_names), feeds)
        except Exception:  # as above
            return None
        return torch.cat([torch.as_tensor(one).reshape(-1).to(torch.float64) for one in found])


def replay(
    query: Query, point: Tensor, *, dtype: torch.dtype = torch.float32, runtime: OnnxRuntime | None = None
) -> Replay:
    """The point (*in) of a query of one problem, run again alone.

    dtype: what the network computes in where it is deployed. runtime: of the query's network, whose outputs
    the query's rows speak of, with or without the inputs after them.
    """
    alone = point.detach().to(query.inputs.device).unsqueeze(0)
    inside = bool(query.inputs.contains(alone)[0])
    values: dict[str, float] = {}
    broken: dict[str, bool] = {}
    y = alone.new_zeros(1, 0)

    def take(name: str, outputs: Tensor) -> None:
        wide = outputs.flatten(1).to(torch.float64)
        values[name] = float(query.combine(query.atoms(wide))[0])
        broken[name] = bool(query.violated_by(wide)[0])

    with torch.no_grad():
        for kind in dict.fromkeys((torch.float64, dtype)):
            network = query.network
            if isinstance(network, nn.Module):
                network = copy.deepcopy(network).to(kind).eval()
            y = network(alone.to(kind))
            take(str(kind).removeprefix("torch."), y)
        found = None if runtime is None else runtime.outputs(point)
        if found is not None:
            y = found.unsqueeze(0).to(alone.device)
            with_inputs = query.C.shape[2] == y.shape[1] + alone[0].numel()
            take("onnxruntime", torch.cat((y, alone.flatten(1).to(y)), 1) if with_inputs else y)
    return Replay(inside, values, broken, y[0].flatten().to("cpu", torch.float64))
