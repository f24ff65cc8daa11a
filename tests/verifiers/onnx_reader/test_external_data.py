"""Weights beside the model: read exactly, from the model's own folder only, and no code runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from robustbench_local.errors import DataError, GraphError
from robustbench_local.verifiers import from_onnx

from .models import X, chain, floats
from .test_reading import small


def external(tensor: Any, **facts: object) -> None:
    """Make the tensor's data external, by these facts."""
    for field in ("raw_data", "float_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in facts.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def stored(folder: Path, **facts: object) -> Path:
    """The small network in a folder of its own, its only weights described by the facts."""
    model = small()
    external(model.graph.initializer[0], **facts)
    (folder / "inner").mkdir(exist_ok=True)
    path = folder / "inner" / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


DATA = floats(1, 6, 3).tobytes()


def test_data_are_read_from_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = small()
    x = torch.tensor(floats(2, 5, 6))
    wanted = from_onnx(model).run(x)
    onnx.save_model(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert torch.equal(from_onnx(path).run(x), wanted)
    (tmp_path / "weights").unlink()
    with pytest.raises(DataError, match=r"external data of 'w'.*beside the model"):
        from_onnx(path)


@pytest.mark.parametrize("name", ["weights", "sub/weights", "./weights"])
@pytest.mark.parametrize("offset", [0, 64])
def test_any_file_below_the_folder_serves(tmp_path: Path, name: str, offset: int) -> None:
    path = stored(tmp_path, location=name, offset=offset, length=len(DATA))
    place = path.parent / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(bytes(offset) + DATA + b"and more")
    x = torch.tensor(floats(2, 5, 6))
    assert torch.equal(from_onnx(path).run(x), from_onnx(small()).run(x))


@pytest.mark.parametrize(
    "location",
    [
        *("../secret", "{folder}/secret", "a/../../secret", "link", "", ".", "..", "se\0cret"),
        *("C:\\secret", "\\\\host\\secret", "..\\secret", "/proc/self/environ"),
    ],
)
def test_data_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(DATA)
    path = stored(tmp_path, location=location.format(folder=tmp_path))
    (path.parent / "a").mkdir()
    os.symlink(tmp_path / "secret", path.parent / "link")
    with pytest.raises(DataError, match="external data of 'w'"):
        from_onnx(path)


@pytest.mark.parametrize(
    "facts",
    [
        {"length": 10},
        {"length": -1},
        {"length": "many"},
        {"offset": 8},
        {"offset": -8},
        {"offset": 2**70},
        {"offset": "0x8"},
        {"length": len(DATA) + 4},
        {},
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, facts: dict[str, object]) -> None:
    path = stored(tmp_path, location="weights", **facts)
    (path.parent / "weights").write_bytes(DATA if facts else DATA[:-1])
    with pytest.raises(DataError, match="external data of 'w'"):
        from_onnx(path)


def test_a_size_beyond_the_file_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = stored(tmp_path, location="weights")
    model = onnx.load_model(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [2**30, 2**30]
    path.write_bytes(model.SerializeToString())
    (path.parent / "weights").write_bytes(DATA)
    with pytest.raises(DataError, match="fewer than"):
        from_onnx(path)


def test_constants_within_operators_are_read_alike(tmp_path: Path) -> None:
    value = onnx.numpy_helper.from_array(floats(1, 6, 3), "held")
    external(value, location="weights")
    nodes = helper.make_node("Constant", [], ["w"], value=value), helper.make_node("MatMul", [X, "w"], ["y"])
    path = tmp_path / "net.onnx"
    path.write_bytes(chain(*nodes, shape=(1, 6), opset=13).SerializeToString())
    (tmp_path / "weights").write_bytes(DATA)
    x = torch.tensor(floats(2, 5, 6))
    assert torch.allclose(from_onnx(path).run(x), x @ torch.tensor(floats(1, 6, 3)), atol=1e-6)
    with pytest.raises(DataError, match="path"):  # a model object has no folder: the working one is not asked
        from_onnx(onnx.load_model(path, load_external_data=False))


def test_a_folder_or_device_is_no_data_file(tmp_path: Path) -> None:
    path = stored(tmp_path, location="weights")
    (path.parent / "weights").mkdir()
    with pytest.raises(DataError, match="no file"):
        from_onnx(path)


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (TRAP,))


TRAP = "trap-of-a-pickle"


def test_nothing_in_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickles as data, as strings and as the file itself; a numpy archive of objects."""
    monkeypatch.chdir(tmp_path)
    bomb = pickle.dumps(Trap())
    path = stored(tmp_path, location="weights")
    (path.parent / "weights").write_bytes(bomb + bytes(72 - len(bomb)))
    assert from_onnx(path).input_shape == (6,)  # numbers as any others
    objects = np.array([Trap()], dtype=object)
    np.save(path.parent / "weights", objects, allow_pickle=True)
    (path.parent / "weights.npy").rename(path.parent / "weights")
    from_onnx(path)
    for broken in (bomb, b"\x80\x04" + bomb):
        path.write_bytes(broken)
        with pytest.raises(DataError):
            from_onnx(path)
    model = small()
    model.graph.initializer[0].data_type = TensorProto.STRING
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].string_data.extend([bomb] * 18)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(GraphError, match="weights 'w' cannot be read"):
        from_onnx(path)
    assert not (tmp_path / TRAP).exists()
