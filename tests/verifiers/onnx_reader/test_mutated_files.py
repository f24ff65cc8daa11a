"""Mutated files: a located error of ours, or the graph of what the file now says; never a crash or a hang."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.verifiers import GraphNetwork, from_onnx

from .models import relative_error, session
from .mutations import NETWORKS, mutated

FILES = int(os.environ.get("RBL_MUTATED", "300"))
SECONDS = 5.0
"""Of processor time."""


def by_onnxruntime(data: bytes, network: GraphNetwork, x: Tensor) -> Tensor | None:
    """All outputs, flat, on samples x that are all inputs, flat; None where it does not run the file."""
    sizes = [int(np.prod(shape)) for shape in network.input_shapes]
    try:
        run = session(data)
        rows = []
        for sample in x.flatten(1):
            parts = zip(network.input_names, sample.split(sizes), network.input_shapes, strict=True)
            feeds = {name: part.reshape(shape).numpy() for name, part, shape in parts}
            results = run.run(list(network.output_names), feeds)
            rows.append(torch.cat([torch.from_numpy(np.asarray(r)).reshape(-1).to(x.dtype) for r in results]))
    except Exception:  # onnxruntime's own errors share no public base; it also checks what no output needs
        return None
    return torch.stack(rows)


def agrees(network: GraphNetwork, data: bytes) -> bool:
    """Whether the network is what onnxruntime makes of the file, where it is finite."""
    graph = network.graph
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(3, *graph.input_shape, generator=generator, dtype=graph.dtype) - 1
    wanted = by_onnxruntime(data, network, x)
    if wanted is None or not bool(torch.isfinite(wanted).all()):
        return True
    return relative_error(network(x).flatten(1), wanted) < 1e-3


@pytest.mark.parametrize("made", NETWORKS, ids=lambda made: made.__name__)
def test_mutated_files(made: Callable[[], Any], tmp_path: Path) -> None:
    """A quarter of all files for each network."""
    pytest.importorskip("onnxruntime")
    data, path = made().SerializeToString(), tmp_path / "net.onnx"
    assert agrees(GraphNetwork(from_onnx(made())), data)
    read, wrong = 0, []
    for seed in range(FILES // len(NETWORKS)):
        changed = mutated(data, seed)
        path.write_bytes(changed)
        start = time.process_time()
        try:
            network = GraphNetwork(from_onnx(path))
        except RobustBenchError as error:
            network = None
            if "net.onnx" not in str(error) or error.cure is None:
                wrong.append(f"{seed}: {error}")
        if time.process_time() - start > SECONDS:
            wrong.append(f"{seed}: too slow")
        if network is not None:
            read += 1
            if not agrees(network, changed):
                wrong.append(f"{seed}: another function")
    assert wrong == []
    assert 0 < read < FILES // len(NETWORKS)  # the mutations are neither all fatal nor all harmless
