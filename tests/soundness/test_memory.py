"""Memory that runs out anywhere in the engine: the same verdict, or UNKNOWN for want of it; never a crash."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import robustbench_local as rbl
from robustbench_local.attacks import ATTACKS
from robustbench_local.cli.app import run
from robustbench_local.errors import GraphError
from robustbench_local.evaluation import Cases, evaluate, is_out_of_memory
from robustbench_local.planner import decide
from robustbench_local.problems import problems_of
from robustbench_local.specs import Any as Or
from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import VERIFIERS, GraphNetwork, from_torch

ERRORS = (MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory"))


class Short(TorchDispatchMode):
    """Every operation of torch counts; those numbered first <= k < last fail like an allocation."""

    def __init__(self, first: int, last: int, error: Exception) -> None:
        super().__init__()
        self.first, self.last, self.error, self.count = first, last, error, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += 1
        if self.first <= self.count < self.last:
            raise self.error
        return func(*args, **(kwargs or {}))


def problem() -> list[Cases]:
    """Four problems of one network, of which three are decided."""
    generator = torch.Generator().manual_seed(4)
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2))
    for tensor in network.parameters():
        tensor.data = torch.randn(tensor.shape, generator=generator) / 2
    graph = GraphNetwork(from_torch(network.requires_grad_(False).eval(), torch.zeros(1, 3)))
    centre = torch.randn(4, 3, generator=generator)
    C = torch.randn(4, 2, 2, generator=generator, dtype=torch.float64)
    reach = torch.tensor([[2.0], [0.3], [0.2], [0.6]])
    bare = Query(
        graph,
        Box(centre - reach, centre + reach),
        C,
        torch.zeros(4, 2).double(),
        Or((Atom(0, False), Atom(1, False))),
    )
    shift = torch.tensor([-3.0, -0.3, 0.5, -0.9]).double() - bare.violation(centre).double()
    query = Query(graph, bare.inputs, C, bare.d + shift.unsqueeze(1), bare.tree)
    return problems_of(None, query, None, device=None)


def check(found: Sequence[Any], plain: Sequence[str], place: object) -> None:
    """The same verdicts, or UNKNOWN for want of memory."""
    for one, word in zip(found if len(found) > 1 else [*found] * len(plain), plain, strict=True):
        same = one.verdict.value == word
        assert same or (one.verdict.value == "UNKNOWN" and one.reason == "resources"), (place, one)


@pytest.mark.parametrize("attacks", [True, False], ids=["attacks", "bounds"])
def test_memory_that_runs_out_changes_no_verdict_but_to_unknown(attacks: bool) -> None:
    batches = problem()
    with Short(0, 0, ERRORS[0]) as counting:
        plain = [case.verdict.value for case in decide(batches, timeout=20, attacks=attacks).cases]
    assert plain == ["HOLDS", "HOLDS", "VIOLATED", "HOLDS"]
    rng = random.Random(int(attacks))
    places = [
        1,
        *(rng.randrange(2, 60) for _ in range(2 if attacks else 4)),
        *(rng.randrange(counting.count) for _ in range(3 if attacks else 5)),
    ]
    for turn, first in enumerate(places):
        last = first + (1, 40, counting.count)[turn % 3]  # once, for a while, from then on
        with Short(first, last, ERRORS[turn % 2 + turn % 3 // 2]):
            found = decide(batches, timeout=20, attacks=attacks).cases
        check(found, plain, (first, last))


def test_neither_while_a_network_is_hashed_traced_and_bound() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).eval().requires_grad_(False)
    for tensor in network.parameters():
        tensor.fill_(0.5)
    ones = torch.ones(1, 2)
    query = Query(
        network, Box(0 * ones, ones), ones[:, :1, None].double(), -9 * ones[:, :1].double(), Atom(0, True)
    )
    with Short(0, 0, ERRORS[0]) as counting:
        assert rbl.verify(network, query, method="ibp").verdict.value == "HOLDS"
    rng = random.Random(0)
    for turn in range(4):
        first = rng.randrange(1, counting.count)
        with Short(first, first + (1, 10**9)[turn % 2], ERRORS[turn % 3]):
            found = rbl.verify(network, query, method="ibp")
        check([found], ["HOLDS"], first)


def test_a_table_of_results_says_so() -> None:
    batches = problem()
    methods = {"ibp": VERIFIERS["ibp"], "pgd": ATTACKS["pgd"]}
    plain = evaluate(batches, methods)
    with Short(0, 0, ERRORS[0]) as counting:
        evaluate(batches, methods)
    for share in (0.01, 0.5, 0.99):
        first = round(share * counting.count)
        with Short(first, first + 1, ERRORS[2]):
            table = evaluate(batches, methods)
        lost = table["verdict"] != plain["verdict"]
        assert set(table["verdict"][lost]) <= {"UNKNOWN"} and set(table["reason"][lost]) <= {"resources"}, (
            first
        )


def test_a_memory_error_is_known_by_its_cause() -> None:
    try:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except RuntimeError as error:
            raise GraphError("torch.export cannot trace it") from error
    except GraphError as error:
        assert is_out_of_memory(error)
    assert not is_out_of_memory(GraphError("torch.export cannot trace it"))


def test_the_command_line_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(module: nn.Module) -> str:
        raise MemoryError

    monkeypatch.setattr("robustbench_local.suite.model_hash", full)
    assert run(["verify", "digits-mlp", "robustness", "--method", "ibp"]) == 2
    assert "out of memory" in capsys.readouterr().err
