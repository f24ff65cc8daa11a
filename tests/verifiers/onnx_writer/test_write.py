"""The file as a whole: batch axis, names, weights in and beside it, and what happens where writing fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from robustbench_local.verifiers.onnx_writer import write_onnx
from torch import Tensor, nn

from robustbench_local.errors import DtypeError, GraphError, ResultsError, ShapeError, UnsupportedOpError
from robustbench_local.models import MODELS, load_model
from robustbench_local.verifiers import CROWN, GraphNetwork, Interval, from_onnx, from_torch, output_bounds

from ..onnx_reader.models import relative_error, session
from ..onnx_reader.test_networks import FOLDER, NEEDED, properties
from .models import computed


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 50)
    return nn.Sequential(*layers, nn.Linear(50, 5)).eval().requires_grad_(False)


SHAPE = (1, 6, 6)


def points(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_any_batch_size_runs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network = small()
    path = write_onnx(network, tmp_path / "net.onnx", input_shape=SHAPE)
    for batch in (1, 2, 7):
        x = points(batch, *SHAPE)
        assert relative_error(computed(path, x), network(x)) < 1e-6
    entry, end = session(path.read_bytes()).get_inputs()[0], session(path.read_bytes()).get_outputs()[0]
    assert (entry.name, entry.shape, end.name, end.shape) == ("input", ["N", 1, 6, 6], "output", ["N", 5])


def test_names_and_opset_are_as_asked(tmp_path: Path) -> None:
    path = write_onnx(
        small(), tmp_path / "a" / "b.onnx", input_shape=SHAPE, input_name="conv2d", output_name="y"
    )
    model = onnx.load(path)
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("conv2d", "y")
    assert model.opset_import[0].version == 17 and model.producer_name == "robustbench_local"
    made = [name for node in model.graph.node for name in node.output]
    names = [*made, *(t.name for t in model.graph.initializer), "conv2d"]
    assert len(names) == len(set(names))
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(GraphError, match="opset 7"):
        write_onnx(small(), path, input_shape=SHAPE, opset=7)
    for name in ("", "output"):
        with pytest.raises(GraphError, match="names"):
            write_onnx(small(), path, input_shape=SHAPE, input_name=name)


def test_shared_weights_are_written_once(tmp_path: Path) -> None:
    layer = nn.Linear(20, 20)
    path = write_onnx(nn.Sequential(layer, nn.ReLU(), layer).eval(), tmp_path / "net.onnx", input_shape=(20,))
    assert sorted(len(t.dims) for t in onnx.load(path).graph.initializer) == [1, 2]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_onnx(small(), tmp_path / "first.onnx", input_shape=SHAPE)
    assert first.read_bytes() == write_onnx(small(), tmp_path / "other.onnx", input_shape=SHAPE).read_bytes()


def test_graphs_and_graph_networks_need_no_shape(tmp_path: Path) -> None:
    graph = from_torch(small(), torch.zeros(1, *SHAPE))
    first = write_onnx(graph, tmp_path / "graph.onnx").read_bytes()
    assert write_onnx(GraphNetwork(graph), tmp_path / "network.onnx").read_bytes() == first
    with pytest.raises(ShapeError, match="input_shape"):
        write_onnx(small(), tmp_path / "net.onnx")


def test_weights_beside_the_file(tmp_path: Path) -> None:
    """As above 2 GB: tools that read external data read them, and so do we."""
    pytest.importorskip("onnxruntime")
    import onnxruntime

    network = small()
    path = write_onnx(network, tmp_path / "net.onnx", input_shape=SHAPE, inline=100)
    assert (tmp_path / "net.onnx.data").is_file()
    weights = onnx.load(path, load_external_data=False).graph.initializer
    assert {t.data_location == TensorProto.EXTERNAL for t in weights} == {True, False}
    x = points(3, *SHAPE)
    whole = write_onnx(network, tmp_path / "whole.onnx", input_shape=SHAPE)
    assert torch.equal(from_onnx(path).run(x), from_onnx(whole).run(x))
    run = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = torch.from_numpy(run.run(None, {"input": x.numpy()})[0])
    assert relative_error(found, network(x)) < 1e-6
    onnx.checker.check_model(str(path), full_check=True)


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_onnx(small(), tmp_path / "net.onnx", input_shape=SHAPE)
    before = path.read_bytes()

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.i0(x)

    with pytest.raises(UnsupportedOpError, match=r"i0.*exporters"):
        write_onnx(Odd().eval(), path, input_shape=(3,))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    with pytest.raises(ResultsError, match="cannot write"):
        write_onnx(small(), path / "below.onnx", input_shape=SHAPE)


def test_half_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DtypeError, match="float16"):
        write_onnx(from_torch(small(), torch.zeros(1, *SHAPE)).to(torch.float16), tmp_path / "net.onnx")


def test_bounds_of_the_file_are_those_of_the_network(tmp_path: Path) -> None:
    network = small()
    graph = from_torch(network, torch.zeros(1, *SHAPE))
    again = from_onnx(write_onnx(graph, tmp_path / "net.onnx"))
    x = points(2, *SHAPE)
    ours, theirs = (Interval(*output_bounds(g, x - 0.1, x + 0.1, CROWN())) for g in (graph, again))
    assert torch.allclose(ours.lower, theirs.lower, atol=1e-5)
    assert torch.allclose(ours.upper, theirs.upper, atol=1e-5)


@pytest.mark.parametrize("name", ["digits-cnn", "digits-resnet"])
def test_models_of_the_zoo(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network, shape = load_model(name).requires_grad_(False), MODELS[name].card.input_shape
    path = write_onnx(network, tmp_path / "net.onnx", input_shape=shape)
    x = points(4, *shape)
    assert relative_error(computed(path, x), network(x)) < 1e-5


@NEEDED
@pytest.mark.parametrize("part", ["acasxu", "vit", "ml4acopf", "lsnc", "cgan", "nn4sys", "verivital"])
def test_networks_of_the_competition(part: str, tmp_path: Path) -> None:
    """Read, written and run by onnxruntime."""
    pytest.importorskip("onnxruntime")
    assert FOLDER is not None
    for name in [n for n in properties() if n.startswith(f"{part}/")][:3]:
        graph = from_onnx(Path(FOLDER) / name)
        path = write_onnx(graph, tmp_path / "net.onnx")
        x = points(3, *graph.input_shape)
        assert relative_error(computed(path, x), graph.run(x)) < 1e-5
        assert relative_error(from_onnx(path).run(x), graph.run(x)) < 1e-5


def test_constants_of_every_type(tmp_path: Path) -> None:
    class Typed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            chosen = torch.where(torch.tensor([True, False, True]), x, -x)
            return chosen[:, torch.tensor([2, 0])] * torch.tensor([1, 2])

    path = write_onnx(Typed().eval(), tmp_path / "net.onnx", input_shape=(3,))
    x = points(4, 3)
    assert np.allclose(from_onnx(path).run(x), Typed()(x))
