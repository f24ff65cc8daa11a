"""Verified and attacked accuracy of a whole test set: one batch, image by image, and one process per image.

    python benchmarks/test_set.py --json test_set.json --markdown
    python benchmarks/test_set.py --images 200 --alone 10 --processes 2

The digits CNN of the zoo (PGD-trained), and the 28x28 CNN of bounds.py trained here for a few epochs on
digits enlarged to 28x28. All three ways run the same methods in the same order (PGD, IBP, CROWN-IBP, CROWN,
alpha-CROWN), each image until it is decided or nothing is left to try, so that only the way of calling
differs. The slow ways are measured on a spread of images and scaled to all; their verdicts must be those of
the batch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _networks import CASES
from _rows import Row, machine, markdown, write_json
from torch import nn

from robustbench_local.cascade import DEFAULT_STAGES, cascade, find_methods
from robustbench_local.data import Dataset, load_dataset
from robustbench_local.evaluation import Cases
from robustbench_local.models import load_model
from robustbench_local.named_models import NamedModel
from robustbench_local.specs import Verdict
from robustbench_local.suite import cases_of

EPS = {"digits-cnn": (0.01, 0.03, 0.05), "mnist-cnn": (0.01, 0.02, 0.03)}
ALONE, PROCESS = 5.0, 20.0  # goals: how much faster the batch is
PATIENCE = 3600.0  # seconds that no run reaches: all methods come to their end


def enlarged(data: Dataset, size: int) -> Dataset:
    """The images at size x size pixels, bilinear."""
    images = nn.functional.interpolate(data.inputs, (size, size), mode="bilinear", align_corners=False)
    return Dataset(data.name, data.split, images.clamp(0, 1), data.labels, data.ids, data.classes)


def trained(network: nn.Module, data: Dataset, epochs: int = 15) -> nn.Module:
    """The network after some epochs of Adam on the images with uniform noise of 0.1, from fixed seeds."""
    source = torch.Generator().manual_seed(0)
    network = network.train().requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(data), generator=source).split(64):
            noise = 0.2 * torch.rand(data.inputs[index].shape, generator=source) - 0.1
            outputs = network((data.inputs[index] + noise).clamp(0, 1))
            loss = nn.functional.cross_entropy(outputs, data.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def network_of(name: str, weights: Path | None = None) -> nn.Module:
    """The network, with the weights of a file where one is given."""
    if name == "digits-cnn":
        return load_model(name, "pgd")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CASES[name].build()
    if weights is not None:
        network.load_state_dict(torch.load(weights, weights_only=True))
        return network.eval().requires_grad_(False)
    return trained(network, enlarged(load_dataset("digits", split="train"), 28))


def images_of(name: str) -> Dataset:
    """The test images at the network's size."""
    data = load_dataset("digits", split="test")
    return data if name == "digits-cnn" else enlarged(data, 28)


def problems(name: str, network: nn.Module, data: Dataset, eps: float) -> Cases:
    """Robustness of every image."""
    model = NamedModel(name, "cnn", network, torch.device("cpu"))
    return cases_of(model, data, spec="robustness", norm="linf", eps=eps)


def verdicts(cases: Cases) -> list[Verdict]:
    """Of the same methods in the same order, whatever the batch."""
    return [
        case.verdict for case in cascade(cases, find_methods(DEFAULT_STAGES), timeout=PATIENCE, seed=0).cases
    ]


def one_image(name: str, weights: Path, image: int, eps: float) -> str:
    """The verdict on one image, as a process of its own finds it."""
    network = network_of(name, weights if name != "digits-cnn" else None)
    return verdicts(problems(name, network, images_of(name).select(torch.tensor([image])), eps))[0].value


def spread(count: int, some: int) -> list[int]:
    """Up to `some` of `count` numbers, evenly spread."""
    return sorted({k * count // min(some, count) for k in range(min(some, count))})


def timed_alone(cases: Cases, found: list[Verdict], some: int) -> tuple[float, int]:
    """Seconds for all images one by one, scaled from `some`, and how many verdicts are not the batch's."""
    chosen = spread(len(found), some)
    differ, start = 0, time.perf_counter()
    for k in chosen:
        differ += verdicts(cases.select(torch.tensor([k])))[0] is not found[k]
    return (time.perf_counter() - start) * len(found) / len(chosen), differ


def timed_processes(
    name: str, weights: Path, eps: float, found: list[Verdict], some: int, threads: int
) -> tuple[float, int]:
    """The same for one process per image."""
    chosen = spread(len(found), some)
    differ, start = 0, time.perf_counter()
    for k in chosen:
        command = [sys.executable, __file__, "--threads", str(threads), "--one", name, str(weights)]
        done = subprocess.run([*command, str(k), repr(eps)], check=True, capture_output=True, text=True)
        differ += done.stdout.strip() != found[k].value
    return (time.perf_counter() - start) * len(found) / len(chosen), differ


def measured(name: str, weights: Path, options: argparse.Namespace) -> list[Row]:
    """The rows of one network at all radii."""
    network = network_of(name)
    torch.save(network.state_dict(), weights)
    data = images_of(name)
    data = data.select(torch.arange(min(options.images, len(data))))
    verdicts(problems(name, network, data.select(torch.arange(1)), 0.0))  # warm
    rows: list[Row] = []
    for eps in options.eps or EPS[name]:
        cases, case = problems(name, network, data, eps), f"{name}/eps{eps:g}/{len(data)} images"
        start = time.perf_counter()
        found = verdicts(cases)
        ours = time.perf_counter() - start
        rows += [
            _row(case, "verified", sum(v is Verdict.HOLDS for v in found) / len(found)),
            _row(case, "attacked", 1 - sum(v is Verdict.VIOLATED for v in found) / len(found)),
        ]
        alone, differ = timed_alone(cases, found, options.alone)
        rows.append(_compared(case, ours, alone, f"image by image, scaled from {options.alone}", ALONE))
        if options.processes:
            apart, more = timed_processes(name, weights, eps, found, options.processes, options.threads)
            differ += more
            rows.append(
                _compared(case, ours, apart, f"process per image, scaled from {options.processes}", PROCESS)
            )
        rows.append(_row(case, "verdicts that differ", differ, met=differ == 0))
    return rows


def _row(case: str, metric: str, value: float, *, met: bool = True) -> Row:
    return Row("test_set", case, metric, value, None, "", None, 0.0, met)


def _compared(case: str, ours: float, peer: float, name: str, goal: float) -> Row:
    return Row("test_set", case, "seconds", ours, peer, name, peer / ours, goal, peer / ours >= goal)


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Runs the networks asked for and returns the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=list(EPS), default=list(EPS))
    parser.add_argument("--images", type=int, default=1000, help="at most; the test split has 600")
    parser.add_argument("--eps", type=float, nargs="+", help="radii, instead of three for each network")
    parser.add_argument("--alone", type=int, default=30, help="images that are measured one by one")
    parser.add_argument("--processes", type=int, default=3, help="and in processes of their own; 0: none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.one is not None:
        name, weights, image, eps = options.one
        print(one_image(name, Path(weights), int(image), float(eps)))
        return []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            rows += measured(name, Path(folder) / f"{name}.pt", options)
    write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()
