"""Lemmas about hidden neurons: what the writer shows with them, and that no lemma proves what is false."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustbench_local.verifiers.branching import Settings
from robustbench_local.verifiers.certificates import hidden_search
from robustbench_local.verifiers.certificates.lowered import Lowered
from robustbench_local.verifiers.certificates.rebuilt import rebuilt
from robustbench_local.verifiers.certificates.record import TreeRecord

from robustbench_local.cascade import Cascade
from robustbench_local.checker import FORMAT, check
from robustbench_local.evaluation import Subject
from robustbench_local.plan import Step
from robustbench_local.problems import problems_of
from robustbench_local.specs import Verdict
from robustbench_local.verifiers import BranchAndBound, certify, from_torch

from .samples import KINDS, Parts, parts, problem, write
from .test_tuned_rows import _all_open


class Bounded(TreeRecord):
    """A record of a run whose hidden neurons had trees of four splits for each end."""

    @property
    def rounds(self) -> int:
        return 4


@pytest.fixture(params=["dense", "residual", "sigmoid"], scope="module")
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A certificate with lemmas, about two problems."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hidden_search, "_PATIENCE", 0)
        patch.setattr(hidden_search.HiddenSearch, "_quick", _all_open)
        yield lemmas(tmp_path_factory.mktemp("shown") / "proof", request.param)


def lemmas(path: Path, kind: str) -> Path:
    """The certificate of a problem of `KINDS` at `path`."""
    network, shape, _ = KINDS[kind]
    graph = from_torch(network, torch.zeros(1, *shape))
    query = problem(kind, share=0.3, seed=3, batch=2)
    found = certify(graph, query, path, seconds=30, record=Bounded())
    assert found.path == path, found.reason
    return path


def reached(found: Parts) -> list[np.ndarray[Any, Any]]:
    """Values of every node (N, n) at many points of each problem's box, problem after problem."""
    header, arrays = found
    graph, nodes = rebuilt(
        Lowered(header["network"]["nodes"], {k: a for k, a in arrays.items() if k.startswith("network/")}, {})
    )
    lower, upper = (torch.from_numpy(arrays[f"spec/{k}"]) for k in ("lower", "upper"))
    noise = torch.rand(2000, *lower.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = (lower + noise * (upper - lower)).transpose(0, 1).flatten(0, 1)
    values = {graph.input: x}
    for node in graph.nodes[1:]:
        values[node] = node.run(*(values[p] for p in node.inputs))
    return [values[node].flatten(1).numpy() for node in nodes]


def test_lemmas_are_accepted_true_and_tighter(shown: Path) -> None:
    found = parts(shown)
    checked = check(shown)
    assert checked.accepted and len(found[1]["proof/lemmas"]) > 0 and checked.margin > 0
    values = reached(found)
    for (b, node, place, side), bound in zip(found[1]["proof/lemmas"], found[1]["proof/bounds"], strict=True):
        assert (side * values[node].reshape(2, -1, values[node].shape[1])[b, :, place] >= side * bound).all()
    bare = parts(shown)  # the claim's own trees do not stand without the lemmas, or were split further
    trees = int((bare[1]["proof/nodes"] < 0).sum())
    assert checked.leaves == trees > len(found[1]["proof/lemmas"])


def test_no_lemma_that_is_false_is_accepted(shown: Path, tmp_path: Path) -> None:
    """Not even where the bounds that it claims would make its own proof, or the claim's, easy."""
    found = parts(shown)
    values, problems = reached(found), len(found[1]["spec/d"])
    entries = found[1]["proof/lemmas"]
    for k in np.linspace(0, len(entries) - 1, 8).astype(int):
        b, node, place, side = entries[k].tolist()
        own = side * values[node].reshape(problems, -1, values[node].shape[1])[b, :, place]
        for least in (float(own.min()) + 1e-9, float(own.max()) + 1.0):
            changed = parts(shown)
            changed[1]["proof/bounds"][k] = side * least
            assert not check(write(tmp_path / "changed", changed)).accepted
    changed = parts(shown)  # all at once: every node's bounds cross, and nothing would be left to be proved
    changed[1]["proof/bounds"][:] = entries[:, 3] * 1e3
    assert not check(write(tmp_path / "changed", changed)).accepted


def test_changed_lemmas_are_rejected(shown: Path, tmp_path: Path) -> None:
    last = len(parts(shown)[0]["network"]["nodes"]) - 1

    def entry(place: int, value: Any) -> Callable[[Parts], None]:
        return lambda p: p[1]["proof/lemmas"].__setitem__((0, place), value)

    def array(name: str, change: Callable[[Any], Any]) -> Callable[[Parts], None]:
        return lambda p: p[1].update({f"proof/{name}": change(p[1][f"proof/{name}"])})

    changes = {
        "problem that is not there": entry(0, 7),
        "the input": entry(1, 0),
        "the output": entry(1, last),
        "a node before the input": entry(1, -1),
        "a node that is not there": entry(1, last + 3),
        "a coordinate that is not there": entry(2, 10_000),
        "no side": entry(3, 0),
        "two sides": entry(3, 2),
        "bounds gone": lambda p: p[1].pop("proof/bounds"),
        "lemmas gone": lambda p: p[1].pop("proof/lemmas"),
        "a bound less": array("bounds", lambda a: a[:-1]),
        "a lemma less": array("lemmas", lambda a: a[:-1]),
        "a lemma more": array("lemmas", lambda a: np.concatenate((a, a[:1]))),
        "all twice": lambda p: [array(k, lambda a: np.concatenate((a, a)))(p) for k in ("lemmas", "bounds")],
        "no number": array("bounds", lambda a: a * np.nan),
        "infinite": array("bounds", lambda a: a + np.inf),
        "fractions": array("lemmas", lambda a: a + 0.5),
        "three columns": array("lemmas", lambda a: a[:, :3]),
        "no lemmas at all": lambda p: [array(k, lambda a: a[:0])(p) for k in ("lemmas", "bounds")],
    }
    for name, change in changes.items():
        changed = parts(shown)
        change(changed)
        found = check(write(tmp_path / "changed", changed))
        assert not found.accepted and found.readable, name


def test_a_lemma_serves_its_own_problem_only(shown: Path, tmp_path: Path) -> None:
    """With the problems' boxes exchanged, trees of the one prove nothing of the other."""
    changed = parts(shown)
    for name in ("lower", "upper", "d"):
        changed[1][f"spec/{name}"] = changed[1][f"spec/{name}"][::-1].copy()
    assert not check(write(tmp_path / "changed", changed, rehash=True)).accepted


def test_claims_that_are_false_stay_unproved_with_lemmas(shown: Path, tmp_path: Path) -> None:
    changed = parts(shown)
    changed[1]["spec/d"] += 2.0 * np.abs(changed[1]["spec/d"]).max()
    assert not check(write(tmp_path / "false", changed, rehash=True)).accepted


def doubled(bounds: dict[int, float], least: float) -> Parts:
    """Nodes x, 2 x and 2 x of x in [-1, 1]; the claim that the last is >= least; lemmas node >= bound.

    No tree has a split: every bound is by intervals and one backward pass.
    """
    nodes: list[dict[str, Any]] = [{"op": "input", "inputs": [], "size": 1}]
    nodes += [{"op": "linear", "inputs": [k], "size": 1} for k in range(3)]
    weights = {1: 1.0, 2: 2.0, 3: 1.0}
    count = len(bounds) + 1
    arrays = {
        **{f"network/{k}.weight": np.array([[w]]) for k, w in weights.items()},
        **{f"network/{k}.bias": np.zeros(1) for k in weights},
        "spec/lower": -np.ones((1, 1)),
        "spec/upper": np.ones((1, 1)),
        "spec/C": -np.ones((1, 1, 1)),
        "spec/d": np.full((1, 1), least),
        "proof/lemmas": np.array([(0, node, 0, 1) for node in bounds], np.int32).reshape(-1, 4),
        "proof/bounds": np.array(list(bounds.values())),
        "proof/nodes": np.full(count, -1, np.int32),
        "proof/coordinates": np.zeros(count, np.int32),
        "proof/points": np.zeros(count),
        "proof/weights": np.ones((count, 1)),
        "proof/multipliers": np.zeros(0, np.float32),
        "proof/sets": np.full(count, -1, np.int32),
        "proof/about": np.zeros((count, 2), np.int32),
    }
    ways = [{"symbols": -1, "refined": [], "clipped": []}]
    header = {"network": {"nodes": nodes}, "spec": {"clauses": [[[0, 1]]]}, "proof": {"ways": ways}}
    return {**FORMAT, **header}, arrays


@pytest.mark.parametrize("order", [1, -1])
def test_no_lemma_supports_itself_or_what_comes_before_it(order: int, tmp_path: Path) -> None:
    """A box that two lemmas make empty proves anything; neither may be used to show the other or itself."""

    def accepted(bounds: dict[int, float], least: float) -> bool:
        entries = dict(list(bounds.items())[::order])
        return check(write(tmp_path / "proof", doubled(entries, least), rehash=True)).accepted

    assert accepted({}, -2.1) and accepted({1: -1.001, 2: -2.001}, -2.1)
    assert not accepted({}, -1.9)
    for false in ({1: -0.9}, {2: -1.9}, {1: 2.0}, {2: 5.0}, {1: -1.001, 2: 5.0}, {1: 2.0, 2: 5.0}):
        assert not accepted(false, -2.1) and not accepted(false, -1.9)


@pytest.mark.parametrize("refine", [0, 1])
def test_a_run_that_bounded_neurons_by_trees_has_lemmas(refine: int, tmp_path: Path) -> None:
    """As many splits as the run's trees had; and none where there were no such trees."""
    record, query = TreeRecord(), problem("dense", share=0.1, seed=3)
    cases = problems_of(KINDS["dense"][0], query, None, device=None)
    run = Cascade(cases[0], Subject.of(cases[0]), record=record)
    method = BranchAndBound(settings=Settings(refine=refine, rounds=4))
    run.step(Step("bab", method), time.monotonic() + 30)
    assert run.known.result().verdict is Verdict.HOLDS and record.graph is not None
    assert (record.rounds > 0) == bool(refine) and record.rounds % 4 == 0
    path = tmp_path / "proof"
    made = certify(record.graph, query, path, seconds=30, record=record)
    assert made.path is not None and check(path).accepted
    assert (len(parts(path)[1]["proof/lemmas"]) > 0) == bool(refine)
