"""Certificates of networks of every kind are accepted, and say what was proved."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_local as rbl
from robustbench_local import checker
from robustbench_local.checker import check
from robustbench_local.cli import run
from robustbench_local.errors import DataError, SpecError, UnsupportedOpError
from robustbench_local.specs import Atom, Ball, Query, Verdict, robustness
from robustbench_local.verifiers import certify, from_torch

from .samples import KINDS, certificate, parts, problem, write

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_every_kind_of_network(kind: str, share: float, tmp_path: Path) -> None:
    path = certificate(tmp_path / "proof", kind, share=share, seed=int(share * 10))
    found = check(path)
    assert found.accepted and found.reason == "" and found.margin > 0
    assert (found.problems, found.clauses) == (1, 3) and found.leaves >= 3


def test_some_proofs_need_splits_multipliers_and_slopes(tmp_path: Path) -> None:
    _, arrays = parts(certificate(tmp_path / "proof", "dense", share=0.1))
    assert (arrays["proof/nodes"] > 0).any() and (arrays["proof/multipliers"] > 0).any()
    assert any(name.endswith(".below") and array.dtype == np.uint8 for name, array in arrays.items())


def test_few_inputs_are_split_themselves(tmp_path: Path) -> None:
    _, arrays = parts(certificate(tmp_path / "proof", "narrow", share=0.2))
    assert (arrays["proof/nodes"] == 0).any() and not arrays["proof/multipliers"].size


def test_several_problems_in_one_file(tmp_path: Path) -> None:
    found = check(certificate(tmp_path / "proof", "conv", batch=3))
    assert found.accepted and found.problems == 3 and found.leaves >= 9


def test_the_same_proof_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (certificate(tmp_path / name, "dense").read_bytes() for name in ("a", "b"))
    assert one == other


def test_a_false_property_gets_no_file(tmp_path: Path) -> None:
    network, shape, _ = KINDS["dense"]
    graph = from_torch(network, torch.zeros(1, *shape))
    begun = time.monotonic()
    found = certify(graph, problem("dense", share=-0.2), tmp_path / "proof", seconds=1.0)
    assert found.path is None and "no complete proof" in found.reason and not list(tmp_path.iterdir())
    assert time.monotonic() - begun < 2.05  # the limit and 5 % + 1 s


def test_a_check_ends_where_its_time_does(tmp_path: Path) -> None:
    path = certificate(tmp_path / "proof", "residual")
    assert check(path).accepted and check(path, 60.0).accepted
    assert not check(path, -1.0).accepted and check(path, -1.0).reason == "out of time"


def test_sets_and_operators_without_a_certificate(tmp_path: Path) -> None:
    network, shape, _ = KINDS["dense"]
    graph = from_torch(network, torch.zeros(1, *shape))
    query = problem("dense")
    ball = Query(network, Ball(torch.zeros(1, 24), 0.1, p=2), query.C, query.d, Atom(0, False))
    with pytest.raises(SpecError, match="boxes"):
        certify(graph, ball, tmp_path / "proof")
    softmax = torch.nn.Sequential(torch.nn.Linear(24, 3), torch.nn.Softmax(1))
    with pytest.raises(UnsupportedOpError, match="softmax"):
        certify(from_torch(softmax, torch.zeros(1, 24)), query, tmp_path / "proof")


def test_the_checker_runs_without_torch(tmp_path: Path) -> None:
    path = certificate(tmp_path / "proof", "conv")
    code = (
        "import sys; from robustbench_local.checker.__main__ import main; code = main(sys.argv[1:]);"
        "print(sorted({'torch', 'scipy', 'onnx', 'robustbench_local.verifiers'} & set(sys.modules)));"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["accepted", "[]"]
    for file, expected in ((path, 0), (tmp_path / "none", 2)):
        command = [sys.executable, "-m", "robustbench_local.checker", "--json", str(file)]
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == expected


def test_verify_writes_and_check_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, _, _ = KINDS["conv"]
    path = tmp_path / "proof"
    result = rbl.verify(network, problem("conv"), certificate=path, timeout=20)
    assert result.certificate == str(path) and result.as_dict()["certificate"] == str(path)
    assert rbl.check(path, model=network, input_shape=(2, 4, 4)).accepted
    other = rbl.check(path, model=KINDS["residual"][0], input_shape=(2, 4, 4))
    assert not other.accepted and "another network" in other.reason
    assert run(["check", str(path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"] is True
    path.write_bytes(path.read_bytes()[:-50])
    assert run(["check", str(path)]) == 2 and "unreadable" in capsys.readouterr().out
    assert write(tmp_path / "none", ({**checker.FORMAT, "sha256": {}}, {})).is_file()
    assert run(["check", str(tmp_path / "none")]) == 1 and "hash" in capsys.readouterr().out


def test_what_does_not_hold_or_cannot_be_certified_says_so(tmp_path: Path) -> None:
    network, _, _ = KINDS["conv"]
    false = rbl.verify(network, problem("conv", share=-0.3), certificate=tmp_path / "proof", timeout=5)
    assert false.verdict is not Verdict.HOLDS and false.certificate is None
    with pytest.raises(DataError, match="one property"):
        rbl.verify(network, [problem("conv")], certificate=tmp_path / "proof")
    many = torch.nn.Sequential(network, torch.nn.Softmax(1))
    query = problem("conv").with_network(many)
    query = replace(query, d=torch.full_like(query.d, -2.0))
    found = rbl.verify(many, query, certificate=tmp_path / "proof", timeout=5)
    assert found.verdict is Verdict.HOLDS and "no certificate" in found.error
    assert not (tmp_path / "proof").exists()


def test_a_certificate_speaks_of_real_numbers_only(tmp_path: Path) -> None:
    network, values = nn.Sequential(nn.Linear(2, 2)).eval(), {"x0": torch.zeros(1, 2), "c": 0, "eps": 0.1}
    with pytest.raises(SpecError, match=r"certificates.*fp32"):
        rbl.verify(network, robustness((2,), 2), values=values, certificate=tmp_path / "c", arithmetic="fp32")
    assert not (tmp_path / "c").exists()
