"""Proofs that start from the engine's trees: complete and true whatever the engine says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustbench_local.verifiers.certificates import engine_tree, hidden_search
from robustbench_local.verifiers.certificates.claim import Claim
from robustbench_local.verifiers.certificates.engine_tree import EngineLeaf
from robustbench_local.verifiers.certificates.rebuilt import rebuilt
from robustbench_local.verifiers.certificates.record import _whole
from robustbench_local.verifiers.verifier import prepared

import robustbench_local as rbl
from robustbench_local.cascade import Cascade
from robustbench_local.checker import check
from robustbench_local.evaluation import Subject
from robustbench_local.plan import Step
from robustbench_local.problems import problems_of
from robustbench_local.specs import Verdict
from robustbench_local.verifiers import VERIFIERS, BranchAndBound, TreeRecord, certify, from_torch

from .samples import KINDS, certificate, parts, problem

Leaves = dict[tuple[int, int], list[EngineLeaf]]
Engine = Callable[..., Leaves]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Leaves], Leaves]], list[Leaves]]:
    """Has every search start from what the engine says, changed in some way; what it said."""
    said: list[Leaves] = []
    own: Engine = hidden_search.engine_leaves

    def use(change: Callable[[Leaves], Leaves]) -> list[Leaves]:
        def changed(*about: Any, **how: Any) -> Leaves:
            said.append(own(*about, **how))
            return change(said[-1])

        monkeypatch.setattr(hidden_search, "engine_leaves", changed)
        return said

    monkeypatch.setattr(hidden_search, "_PATIENCE", 0)
    return use


@pytest.mark.parametrize(("kind", "share"), [("dense", 0.2), ("conv", 0.1), ("residual", 0.2)])
def test_a_proof_takes_over_the_tree(kind: str, share: float, engine: Any, tmp_path: Path) -> None:
    said = engine(lambda leaves: leaves)
    path = certificate(tmp_path / "proof", kind, share=share, seed=3)
    _, arrays = parts(path)
    count = sum(map(len, said[0].values()))
    assert check(path).accepted
    assert 0 < count <= (arrays["proof/nodes"] < 0).sum() <= 2 * count  # most leaves stand as they are
    splits = {leaf.splits[0][3] for leaves in said[0].values() for leaf in leaves if leaf.splits}
    assert splits <= set(arrays["proof/points"].tolist())


def garbled(leaves: Leaves, seed: int) -> Leaves:
    """Multipliers and slopes at random."""
    rng = np.random.default_rng(seed)
    found: Leaves = {}
    for key, some in leaves.items():
        for leaf in some:
            depth = len(leaf.splits)
            slopes = {
                n: torch.rand(v.shape, generator=torch.Generator().manual_seed(seed))
                for n, v in leaf.slopes.items()
            }
            found.setdefault(key, []).append(
                EngineLeaf(leaf.splits, rng.exponential(3.0, depth), np.full(depth, 5.0), slopes)
            )
    return found


@pytest.mark.parametrize("kind", ["dense", "residual"])
def test_other_parameters_cost_splits_and_nothing_else(kind: str, engine: Any, tmp_path: Path) -> None:
    engine(lambda leaves: garbled(leaves, 5))
    assert check(certificate(tmp_path / "proof", kind, share=0.25, seed=3)).accepted


def test_a_tree_without_slopes_serves(engine: Any, tmp_path: Path) -> None:
    """As where memory was short."""

    def bare(leaves: Leaves) -> Leaves:
        return {
            key: [EngineLeaf(leaf.splits, leaf.multipliers, leaf.ranges, {}) for leaf in some]
            for key, some in leaves.items()
        }

    engine(bare)
    assert check(certificate(tmp_path / "proof", "residual", share=0.25, seed=3)).accepted


def test_a_tree_that_is_open_is_gone_on_with(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine had no time: what it left open is split further."""
    own = BranchAndBound.resumed

    def short(self: BranchAndBound, graph: Any, query: Any, state: Any, budget: Any) -> Any:
        return own(self, graph, query, state, engine_tree.Budget(domains=2))

    monkeypatch.setattr(BranchAndBound, "resumed", short)
    said = engine(lambda leaves: leaves)
    found = check(certificate(tmp_path / "proof", "dense", share=0.05))
    assert found.accepted and found.leaves > sum(map(len, said[0].values()))


@pytest.mark.parametrize("kind", ["dense", "sigmoid"])
def test_no_tree_proves_what_is_false(kind: str, engine: Any, tmp_path: Path) -> None:
    """The engine calls everything proved: there is no file all the same."""
    engine(lambda leaves: garbled(leaves, 7))
    network, shape, _ = KINDS[kind]
    graph = from_torch(network, torch.zeros(1, *shape))
    found = certify(graph, problem(kind, share=-0.05), tmp_path / "proof", seconds=2.0)
    assert found.path is None and not list(tmp_path.iterdir())


def test_the_tree_that_decided_is_the_tree_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No search is run again where the verdict's own holds by the checker's bounds."""

    def never(*about: Any, **how: Any) -> Leaves:
        raise AssertionError("the engine was asked again")

    monkeypatch.setattr(hidden_search, "engine_leaves", never)
    found: list[Leaves] = []
    own = TreeRecord.leaves

    def noted(self: TreeRecord, *about: Any) -> Leaves:
        found.append(own(self, *about))
        return found[-1]

    monkeypatch.setattr(TreeRecord, "leaves", noted)
    for kind, share in (("dense", 0.1), ("conv", 0.1), ("residual", 0.2)):
        path, network = tmp_path / kind, KINDS[kind][0]
        query = problem(kind, share=share, seed=3)
        result = rbl.verify(network, query, method="bab", certificate=path, timeout=30)
        assert result.certificate == str(path), result.error
        _, arrays = parts(path)
        leaves = [leaf for some in found[-1].values() for leaf in some]
        assert leaves and check(path).accepted
        splits = {leaf.splits[0][3] for leaf in leaves if leaf.splits}
        assert splits <= set(arrays["proof/points"].tolist())
        assert (arrays["proof/nodes"] < 0).sum() <= 2 * len(leaves) + 3  # most leaves stand as they are


def test_only_whole_trees_of_the_run_are_taken_over() -> None:
    """A leaf less, a leaf twice, or splits of another order: none of these is a tree."""

    def leaf(*splits: tuple[int, int, int, float]) -> EngineLeaf:
        return EngineLeaf(splits, np.zeros(len(splits)), np.ones(len(splits)), {})

    low, high = (1, 0, -1, 0.0), (1, 0, 1, 0.0)
    tree = [leaf(low), leaf(high, (2, 3, -1, 0.5)), leaf(high, (2, 3, 1, 0.5))]
    assert _whole(tree) and _whole([leaf()])
    assert not any(_whole([part for part in tree if part is not gone]) for gone in tree)
    assert not _whole([*tree, tree[0]]) and not _whole([*tree, leaf()]) and not _whole([leaf(), leaf()])
    assert not _whole([leaf(low), leaf((1, 1, 1, 0.0))]) and not _whole([leaf(low), leaf((1, 0, 1, 0.5))])


def test_a_search_in_slices_leaves_the_trees_of_all_problems(tmp_path: Path) -> None:
    """Problems that are decided early leave the search: their trees are those of the slice that saw them."""
    network, query = KINDS["dense"][0], problem("dense", share=0.1, seed=3, batch=3)
    record = TreeRecord()
    cases = problems_of(network, query, None, device=None)
    run_ = Cascade(cases[0], Subject.of(cases[0]), record=record)
    run_.step(Step("bab", VERIFIERS["bab"]), time.monotonic() + 30)
    assert run_.known.result().verdict is Verdict.HOLDS and record.graph is not None
    claim = Claim.of(*prepared(record.graph, query))
    found = record.leaves(claim, rebuilt(claim.network)[1])
    assert {problem for problem, _ in found} == set(range(3)) and set(record.states) == set(range(3))
    made = certify(record.graph, query, tmp_path / "proof", seconds=30, record=record)
    assert made.path is not None and check(tmp_path / "proof").accepted
