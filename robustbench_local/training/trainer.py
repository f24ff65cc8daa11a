"""The one training loop: seeded batches, scheduled learning rate, checkpoints, exact resume."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_local.data import Dataset, load_dataset
from robustbench_local.errors import DeviceError, NonFiniteError
from robustbench_local.models import WeightsRecord, build_model, save_weights

from .checkpoint import restore_checkpoint, save_checkpoint
from .initialisers import INITIALISERS
from .losses import Minibatch, Objective
from .metrics import measure
from .progress import EpochRecord, Progress, Silent
from .recipe import Recipe, load_recipe

__all__ = ["TrainingResult", "derived_seed", "initial_network", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """A finished run: the `network` in evaluation mode, its `record` in the index of `out`, its history.

    `record.metrics` holds the accuracies on the test split. `seconds` is the CPU time of all epochs, those
    before a resume included, without checkpoints and measuring.
    """

    recipe: Recipe
    network: nn.Module
    record: WeightsRecord
    out: Path
    history: tuple[EpochRecord, ...]
    seconds: float


def train(
    recipe: Recipe | str | Path,
    *,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
    device: str | torch.device = "cpu",
    save_every: int = 1,
) -> TrainingResult:
    """Train what `recipe` (or the recipe of that name or path) describes; write weights and index to `out`.

    A checkpoint is written every `save_every` epochs and after the last; with `resume` the run goes on from
    it, and on the CPU ends with bit-for-bit the weights of an uninterrupted run. The folder can be
    given to `load_model(recipe.target, folder=out)`. The global random generator is neither read nor moved.
    Raises `CheckpointError`, `DeviceError`, and `NonFiniteError` where the loss stops being finite.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    watch = progress if progress is not None else Silent()
    data = load_dataset(recipe.dataset, split="train")
    network = initial_network(recipe).to(_device(device))
    optimizer = recipe.optimizer.make(network.parameters())
    checkpoint = out / f"{recipe.name}.checkpoint.safetensors"
    history = restore_checkpoint(checkpoint, recipe, network, optimizer) if resume else []
    example = data.inputs[:1].to(_device(device))
    objective = recipe.loss.bind(network, example, len(data.classes))
    run = _Run(recipe, network, optimizer, objective, data)

    watch.begin(recipe, epochs_done=len(history), steps_per_epoch=run.steps)
    for epoch in range(len(history), recipe.epochs):
        history.append(run.epoch(epoch, watch))
        if (epoch + 1) % save_every == 0 or epoch + 1 == recipe.epochs:
            save_checkpoint(checkpoint, recipe, history, network, optimizer)
        watch.epoch(history[-1])
    seconds = sum(record.seconds for record in history)

    network.eval()
    watch.measuring()
    metrics = measure(network, load_dataset(recipe.dataset, split="test"), recipe.radii)
    metrics["train_seconds"] = round(seconds, 1)
    record = save_weights(network, recipe.target, recipe=recipe.as_dict(), metrics=metrics, folder=out)
    return TrainingResult(recipe, network, record, out, tuple(history), seconds)


def initial_network(recipe: Recipe) -> nn.Module:
    """The recipe's network with its first weights, on the CPU: equal for equal recipes."""
    network = build_model(recipe.model)
    INITIALISERS[recipe.initialiser](network, _generator(recipe.seed, "weights"))
    return network


def derived_seed(seed: int, *parts: object) -> int:
    """A seed in [0, 2^63) for one purpose, from SHA-256 of `seed` and the `parts` that name the purpose.

    It depends on nothing that went before, which is what makes resuming exact.
    """
    text = ":".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """The parts of a run that stay the same from step to step."""

    recipe: Recipe
    network: nn.Module
    optimizer: torch.optim.Optimizer
    objective: Objective
    data: Dataset

    @property
    def steps(self) -> int:
        return -(-len(self.data) // self.recipe.batch_size)

    def epoch(self, epoch: int, watch: Progress) -> EpochRecord:
        """Train one epoch (numbered from 0) in an order that its number decides."""
        started = time.process_time()
        order = torch.randperm(len(self.data), generator=_generator(self.recipe.seed, "order", epoch))
        self.network.train()
        total, rate = 0.0, 0.0
        shown: Mapping[str, float] = {}
        for step, rows in enumerate(order.split(self.recipe.batch_size)):
            rate = self.recipe.learning_rate(epoch + step / self.steps)
            loss, shown = self._step(rows, epoch, step, rate)
            total += loss * len(rows)
            watch.step()
        seconds = time.process_time() - started
        return EpochRecord(epoch + 1, total / len(self.data), rate, dict(shown), seconds)

    def _step(self, rows: Tensor, epoch: int, step: int, rate: float) -> tuple[float, Mapping[str, float]]:
        batch = self._minibatch(rows, epoch, step)
        term = self.objective(batch)
        loss = float(term.value.detach())
        if not abs(loss) < float("inf"):
            raise NonFiniteError(
                f"the loss is {loss}",
                where=f"recipe {self.recipe.name!r}, epoch {epoch + 1}, step {step + 1}",
                cure="lower the learning rate or the clip norm, or let eps grow more slowly",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        term.value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm, foreach=False)
        self.optimizer.step()
        return loss, term.shown

    def _minibatch(self, rows: Tensor, epoch: int, step: int) -> Minibatch:
        place = next(self.network.parameters()).device
        return Minibatch(
            inputs=self.data.inputs[rows].to(place),
            labels=self.data.labels[rows].to(place),
            ids=self.data.ids[rows],
            epoch=epoch + step / self.steps,
            seed=derived_seed(self.recipe.seed, "loss", epoch, step),
        )


def _generator(seed: int, *parts: object) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, *parts))


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"cannot use the device {name!r}", cure="try 'cpu'; see `rbl doctor`") from error
    return device
