"""Runs that go on from a file: nothing is lost, another problem and a damaged file are refused."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.cascade import Cascade
from robustbench_local.cli import run
from robustbench_local.errors import DataError, SearchStateError, SpecError
from robustbench_local.evaluation import Cases, Subject
from robustbench_local.fingerprints import network_fingerprint, query_fingerprint
from robustbench_local.plan import Step
from robustbench_local.progress import progress_of, take_up
from robustbench_local.saved_runs import SavedRun
from robustbench_local.slices import SEEDED, slices
from robustbench_local.specs import Query, Verdict
from robustbench_local.verifiers import DEFAULT_BUDGET, Bounds, Budget, Graph, SearchState

from .test_planner import below, highest, network

MODEL = "digits-mlp:nominal"


def hard() -> Cases:
    """A property that takes a search of a second or two."""
    net = network(5, 50, 3)
    return below(net, 5, highest(net, 5) + 0.02)


def verify(cases: Cases, path: Path, seconds: float, **settings: object) -> rbl.Result:
    return rbl.verify(None, cases.query, timeout=seconds, state=path, **settings)  # type: ignore[arg-type]


def test_short_runs_add_up_to_a_long_one(tmp_path: Path) -> None:
    cases, path = hard(), tmp_path / "run.state"
    results = [verify(cases, path, 0.3)]
    while results[-1].verdict is Verdict.UNKNOWN and len(results) < 20:
        results.append(verify(cases, path, 0.3 * 1.3 ** len(results)))  # a slow machine needs more
    assert len(results) > 1, "one short run does not decide it"
    assert results[-1].verdict is Verdict.HOLDS and results[-1].state == str(path)
    for before, after in pairwise(results):
        assert after.upper <= before.upper and after.lower >= before.lower
        assert after.proved >= before.proved and after.seconds >= before.seconds
    again = verify(cases, path, 0.3)
    assert again.verdict is Verdict.HOLDS and again.seconds == results[-1].seconds, "nothing is done twice"


def test_witnesses_are_kept_and_replayed(tmp_path: Path) -> None:
    net = network(3, 10)
    cases, path = below(net, 3, highest(net, 3) - 0.5), tmp_path / "run.state"
    first = verify(cases, path, 20.0)
    again = verify(cases, path, 20.0)
    assert first.verdict is again.verdict is Verdict.VIOLATED
    assert first.witness is not None and again.witness is not None
    assert torch.equal(first.witness, again.witness)
    run_ = Cascade(cases, Subject.of(cases))
    SavedRun(path, {"seed": 0, "method": "plan"}).load([run_])
    forged = progress_of(run_)
    for point in (torch.zeros(3) - 0.9, torch.full((3,), 7.0)):  # harmless, and outside the set
        if float(net(point)) <= highest(net, 3) - 0.5 or float(point.abs().max()) > 1:
            fresh = Cascade(cases, Subject.of(cases))
            take_up(fresh, replace(forged, witness=(point,)))
            assert fresh.known.verdict == [Verdict.UNKNOWN] and fresh.known.open.tolist() == [0]


def test_another_problem_is_refused(tmp_path: Path) -> None:
    cases, path = hard(), tmp_path / "run.state"
    verify(cases, path, 0.1)
    other_weights = below(network(5, 50, 3, seed=1), 5, 1.0)
    squashed = nn.Sequential(*(nn.Tanh() if isinstance(m, nn.ReLU) else m for m in cases.network.children()))
    query = cases.query
    wrong: dict[str, Query] = {
        "model": other_weights.query,
        "model ": query.with_network(squashed.eval()),  # the same weights
        "property": replace(query, d=query.d + 1e-9),
        "property ": replace(query, inputs=below(cases.network, 5, 1.0, 0.9).query.inputs),
    }
    for name, changed in wrong.items():
        with pytest.raises(SearchStateError, match=f"another {name.strip()} .*run.state"):
            rbl.verify(None, changed, timeout=0.1, state=path)
    for settings, name in (({"seed": 1}, "seed"), ({"method": "split"}, "method")):
        with pytest.raises(SearchStateError, match=f"another {name}"):
            verify(cases, path, 0.1, **settings)


def test_damage_is_noticed(tmp_path: Path) -> None:
    cases, path = hard(), tmp_path / "run.state"
    verify(cases, path, 0.2)
    whole = path.read_bytes()
    for place in (len(whole) - 5, len(whole) // 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SearchStateError, match=r"damaged|not a saved search"):
            verify(cases, path, 0.1)
    for part in (b"", b"no file of this kind", whole[:-9]):
        path.write_bytes(part)
        with pytest.raises(SearchStateError, match="not a saved search"):
            verify(cases, path, 0.1)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(SearchStateError, match="not a saved search"):
        verify(cases, path, 0.1)


def test_only_what_a_search_decides_can_be_saved(tmp_path: Path) -> None:
    cases, path = hard(), tmp_path / "run.state"
    with pytest.raises(DataError, match="one property"):
        rbl.verify(None, [cases.query], state=path)
    with pytest.raises(SpecError, match="saved searches"):
        verify(cases, path, 1.0, arithmetic="fp32")
    assert not path.exists()


def test_the_command_line_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.state"
    call = ["verify", MODEL, "robustness", "--eps", "0.04", "--state", str(path), "--json", "-"]
    assert run([*call, "--timeout", "20"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run([*call, "--timeout", "20"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert first["state"] == str(path) and first["verdict"] == again["verdict"] != "UNKNOWN"
    assert again["seconds"] == first["seconds"], "decided before"
    assert run([*call, "--eps", "0.05"]) == 2
    assert "another property" in json.loads(capsys.readouterr().out)["error"]["what"]


def test_fingerprints_name_what_is_computed() -> None:
    cases = hard()
    same, other = hard(), below(network(5, 50, 3), 5, 1.0)
    one = network_fingerprint(Subject.of(cases))
    assert one == network_fingerprint(Subject.of(same)) == network_fingerprint(Subject.of(other))
    cases.query.inputs.box().cast(torch.float32)  # what a set keeps of its own work does not count
    assert query_fingerprint(cases.query) == query_fingerprint(same.query) != query_fingerprint(other.query)


@dataclass(frozen=True)
class Parked:
    """The state of a search that never gets anywhere; an attack should start at `point`."""

    point: Tensor
    batch: int = 1
    open: int = 1

    def select(self, samples: Tensor) -> Parked:
        return self

    def starts(self, query: Query, count: int) -> Tensor:
        return self.point.expand(query.batch, count, -1)

    def tensors(self) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Parking:
    """A search that proves nothing, but knows where to look."""

    point: Tensor
    name: str = "parking"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        top = torch.full((query.batch, 1), torch.inf)
        return Bounds(top, top[:, 0], complete=False)

    def resumed(
        self, graph: Graph, query: Query, state: SearchState | None = None, budget: Budget = DEFAULT_BUDGET
    ) -> tuple[Bounds, SearchState]:
        if budget.domains is None:
            time.sleep(1.0)  # a slice: attacks get their share of it
        return self.bound(graph, query), Parked(self.point)

    def restored(self, graph: Graph, query: Query, tensors: Mapping[str, Tensor]) -> SearchState:
        return Parked(self.point)


@pytest.mark.parametrize("seeding", [SEEDED, None])
def test_attacks_start_where_a_search_has_open_parts(seeding: object) -> None:
    """A spike that no slope leads to: found from the open part, and only there."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).requires_grad_(False)
    net[0].weight.data, net[0].bias.data = 50 * torch.eye(2), torch.full((2,), -47.5)  # 0 below 0.95
    net[2].weight.data, net[2].bias.data = torch.ones(1, 2), torch.tensor([-2.0])
    cases = below(net, 2, 0.0)
    run_ = Cascade(cases, Subject.of(cases))
    step = Step("parking", Parking(torch.full((2,), 0.96)), seeding=seeding)  # type: ignore[arg-type]
    run_.step(step, time.monotonic() + 4.0)
    known = run_.known
    if seeding is None:
        assert known.verdict == [Verdict.UNKNOWN] and known.reason == ["timeout"]
    else:
        assert known.verdict == [Verdict.VIOLATED] and known.stage == ["parking: pgd"]


def test_slices_double_and_end_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    ends = []
    for end in slices(100.0):
        ends.append(end)
        now = end
    lengths = [b - a for a, b in zip([0.0, *ends], ends, strict=False)]
    assert ends[-1] == 100.0 and lengths[:4] == [2.0, 4.0, 8.0, 16.0] and len(ends) < 8
    now = 0.0
    assert list(slices(1.0)) == [1.0]
