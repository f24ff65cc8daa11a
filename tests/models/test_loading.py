"""Weights on disk: round trips, and clear refusals of everything that does not match."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustbench_local.errors import UnknownNameError, WeightsError
from robustbench_local.models import build_model, load_model, model_hash, read_index, save_weights

NAME = "digits-mlp:trial"


def written(folder: Path) -> Path:
    record = save_weights(
        build_model("digits-mlp"), NAME, recipe={"name": "r"}, metrics={"clean": 0.5}, folder=folder
    )
    return folder / record.file


def test_round_trip(tmp_path: Path) -> None:
    network = build_model("digits-mlp")
    record = save_weights(
        network, NAME, recipe={"name": "r"}, metrics={"clean": 0.5}, folder=tmp_path / "new"
    )
    assert record.file == "digits-mlp-trial.safetensors"
    assert read_index(tmp_path / "new") == {NAME: record}
    assert model_hash(load_model(NAME, folder=tmp_path / "new")) == model_hash(network)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [record.file, "index.json"]


def test_saving_again_replaces_one_record_and_keeps_others(tmp_path: Path) -> None:
    written(tmp_path)
    other = save_weights(
        build_model("digits-cnn"), "digits-cnn:trial", recipe={}, metrics={}, folder=tmp_path
    )
    again = save_weights(build_model("digits-mlp"), NAME, recipe={}, metrics={"clean": 0.7}, folder=tmp_path)
    assert read_index(tmp_path) == {"digits-cnn:trial": other, NAME: again}


def test_a_changed_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    path = written(tmp_path)
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    expected = read_index(tmp_path)[NAME].sha256
    with pytest.raises(WeightsError, match=rf"expected sha256 {expected}, got [0-9a-f]{{64}}") as caught:
        load_model(NAME, folder=tmp_path)
    assert caught.value.where == str(path)


def test_a_missing_file(tmp_path: Path) -> None:
    written(tmp_path).unlink()
    with pytest.raises(WeightsError, match="the weights file is missing"):
        load_model(NAME, folder=tmp_path)


def test_a_folder_without_an_index_knows_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Known: none"):
        load_model("digits-mlp:nominal", folder=tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", '[{"model": "digits-mlp"}]'])
def test_a_broken_index(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(WeightsError, match="not a weights index"):
        read_index(tmp_path)


def rehashed(folder: Path, path: Path) -> None:
    """Make the index agree with the file, so that the checks behind the hash are reached."""
    import hashlib

    rows = json.loads((folder / "index.json").read_text())
    rows[0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "index.json").write_text(json.dumps(rows))


def test_tensors_of_another_shape(tmp_path: Path) -> None:
    path = written(tmp_path)
    save_file({"layers.1.weight": torch.zeros(3, 3)}, path)
    rehashed(tmp_path, path)
    with pytest.raises(WeightsError, match="do not fit the model"):
        load_model(NAME, folder=tmp_path)


def test_nan_weights(tmp_path: Path) -> None:
    path = written(tmp_path)
    state = build_model("digits-mlp").state_dict()
    state["layers.1.bias"][0] = torch.nan
    save_file(state, path)
    rehashed(tmp_path, path)
    with pytest.raises(WeightsError, match=r"'layers.1.bias' holds NaN"):
        load_model(NAME, folder=tmp_path)


def test_bytes_that_are_no_safetensors(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(b"\x80\x04 something else")
    rehashed(tmp_path, path)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_model(NAME, folder=tmp_path)


def test_names_that_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="names no weight set"):
        save_weights(build_model("digits-mlp"), "digits-mlp", recipe={}, metrics={}, folder=tmp_path)
    with pytest.raises(UnknownNameError, match="unknown model"):
        save_weights(build_model("digits-mlp"), "nothing:x", recipe={}, metrics={}, folder=tmp_path)
    assert not list(tmp_path.iterdir())
