"""The loop: resume is exact, nothing leaks into the global generator, failures say what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import one_hot

from robustbench_local.errors import CheckpointError, DeviceError, NonFiniteError
from robustbench_local.models import load_model, model_hash, read_index
from robustbench_local.training import (
    LOSSES,
    OPTIMIZERS,
    Minibatch,
    Objective,
    Recipe,
    Schedule,
    Term,
    load_recipe,
    loss,
    train,
)

from .trials import CancelAfter, Cancelled, Counting, trial

CERTIFIED = {"kind": "crown-ibp", "eps": [[0, 0.0], [3, 0.05]], "kappa": [[0, 1.0], [4, 0.5]], "beta": 0.5}
ONE_EPOCH: dict[str, dict[str, Any]] = {
    "standard": {},
    "pgd": {"eps": 0.05, "kappa": 0.5, "steps": 2},
    "ibp": {"eps": 0.02, "kappa": 0.5},
    "crown-ibp": {"eps": 0.02, "kappa": 0.5, "beta": 0.5},
}


def tensors(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "trial.checkpoint.safetensors")


def same(left: Path, right: Path) -> bool:
    a, b = tensors(left), tensors(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("loss", [{"kind": "standard"}, CERTIFIED], ids=["standard", "crown-ibp"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_four_epochs_are_two_and_two(tmp_path: Path, loss: dict[str, Any], optimizer: str) -> None:
    whole = trial(epochs=4, batch_size=600, loss=loss, optimizer={"kind": optimizer})
    straight = train(whole, out=tmp_path / "straight")
    train(replace(whole, epochs=2), out=tmp_path / "halves")
    halves = train(whole, out=tmp_path / "halves", resume=True)
    assert same(tmp_path / "straight", tmp_path / "halves")
    assert model_hash(straight.network) == model_hash(halves.network)
    assert [record.loss for record in straight.history] == [record.loss for record in halves.history]
    assert straight.record.sha256 == halves.record.sha256


def test_a_cancelled_run_resumes_exactly(tmp_path: Path) -> None:
    recipe = trial(epochs=3)
    train(recipe, out=tmp_path / "straight")
    with pytest.raises(Cancelled):
        train(recipe, out=tmp_path / "cut", progress=CancelAfter(2))
    assert not (tmp_path / "cut" / "index.json").exists()
    counting = Counting()
    train(recipe, out=tmp_path / "cut", resume=True, progress=counting)
    assert counting.begun == [(2, 5)] and counting.steps == 5
    assert same(tmp_path / "straight", tmp_path / "cut")


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    recipe = trial()
    first = train(recipe, out=tmp_path)
    again = train(recipe, out=tmp_path, resume=True)
    assert first.record == again.record


@pytest.mark.parametrize("kind", LOSSES)
def test_one_epoch_of_every_loss(tmp_path: Path, kind: str) -> None:
    before = torch.get_rng_state()
    result = train(trial(loss={"kind": kind, **ONE_EPOCH[kind]}), out=tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert 0 < result.history[0].loss < 5
    assert model_hash(load_model("digits-mlp:trial", folder=tmp_path)) == model_hash(result.network)


def test_training_learns(tmp_path: Path) -> None:
    result = train(trial(epochs=4, batch_size=32), out=tmp_path)
    assert result.record.metrics["clean"] > 0.85
    losses = [record.loss for record in result.history]
    assert losses == sorted(losses, reverse=True)
    assert not result.network.training and result.seconds > 0


def test_the_shipped_recipe_reaches_the_shipped_accuracy(tmp_path: Path) -> None:
    """Bit for bit only on one kind of processor; the accuracy must come out everywhere."""
    recipe = replace(load_recipe("digits-mlp-nominal"), radii=())
    recorded = read_index()[recipe.target].metrics["clean"]
    assert train(recipe, out=tmp_path, save_every=100).record.metrics["clean"] >= recorded - 0.01


def test_a_loss_is_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustbench_local.training.losses.objective._LOSSES", table := dict(LOSSES))

    @loss("brier")
    @dataclass(frozen=True, slots=True)
    class Brier:
        weight: float

        def bind(self, network: nn.Module, example: torch.Tensor, outputs: int) -> Objective:
            def objective(batch: Minibatch, /) -> Term:
                target = one_hot(batch.labels, outputs).float()
                return Term(self.weight * (network(batch.inputs).softmax(1) - target).square().mean(), {})

            return objective

    monkeypatch.setattr("robustbench_local.training.recipe.LOSSES", table)
    recipe = trial(epochs=2, loss={"kind": "brier", "weight": 3})
    history = train(recipe, out=tmp_path).history
    assert history[1].loss < history[0].loss and recipe.as_dict()["loss"] == {"kind": "brier", "weight": 3.0}


def test_seeds_matter_and_repeat(tmp_path: Path) -> None:
    hashes = [
        train(trial(seed=seed), out=tmp_path / str(n)).record.sha256 for n, seed in enumerate((1, 1, 2))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_progress_is_told_everything(tmp_path: Path) -> None:
    counting = Counting()
    train(trial(epochs=2), out=tmp_path, progress=counting)
    assert (counting.begun, counting.steps, counting.epochs, counting.measured) == ([(0, 5)], 10, [1, 2], 1)


def test_metrics_are_recorded(tmp_path: Path) -> None:
    metrics = train(trial(epochs=2, radii=[0.02]), out=tmp_path).record.metrics
    row = metrics["robust"][0]
    assert row["eps"] == 0.02 and metrics["samples"] == 600 and metrics["split"] == "test"
    assert row["ibp"] <= row["crown"] <= row["pgd"] <= metrics["clean"]


@pytest.mark.parametrize("changes", [{"seed": 8}, {"batch_size": 128}, {"optimizer": {"kind": "sgd"}}])
def test_resuming_another_recipe_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    train(trial(), out=tmp_path)
    with pytest.raises(CheckpointError, match=f"another recipe \\({next(iter(changes))} differs\\)"):
        train(trial(epochs=2, **changes), out=tmp_path, resume=True)


def test_resuming_to_fewer_epochs_is_refused(tmp_path: Path) -> None:
    train(trial(epochs=2), out=tmp_path)
    with pytest.raises(CheckpointError, match="has 2 epochs, the recipe 1"):
        train(trial(epochs=1), out=tmp_path, resume=True)


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint to resume from.*Start without resuming"):
        train(trial(), out=tmp_path, resume=True)


@pytest.mark.parametrize("keep", [0, 7, 300, -5])
def test_a_torn_checkpoint_is_refused(tmp_path: Path, keep: int) -> None:
    train(trial(), out=tmp_path)
    path = tmp_path / "trial.checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        train(trial(), out=tmp_path, resume=True)


def test_weights_alone_are_no_checkpoint(tmp_path: Path) -> None:
    result = train(trial(), out=tmp_path)
    (tmp_path / result.record.file).replace(tmp_path / "trial.checkpoint.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        train(trial(), out=tmp_path, resume=True)


def test_a_diverging_run_stops(tmp_path: Path) -> None:
    wild = replace(trial(), learning_rate=Schedule.constant(1e30), optimizer=OPTIMIZERS["sgd"](), epochs=3)
    with pytest.raises(NonFiniteError, match=r"the loss is .*epoch \d+, step \d+.*Lower the learning rate"):
        train(wild, out=tmp_path)
    assert not (tmp_path / "index.json").exists()


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_unusable_devices(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=f"cannot use the device '{device}'"):
        train(trial(), out=tmp_path, device=device)


def test_recipes_by_name_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(name: str | Path) -> Recipe:
        assert name == "digits-mlp-nominal"
        return trial()

    monkeypatch.setattr("robustbench_local.training.trainer.load_recipe", short)
    assert train("digits-mlp-nominal", out=tmp_path).recipe == trial()
