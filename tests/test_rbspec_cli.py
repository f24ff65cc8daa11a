"""`.rbspec` files on the command line and in `rbl.verify`: models, values and properties by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_local as rbl
from robustbench_local.cli import run
from robustbench_local.data import load_dataset
from robustbench_local.errors import DataError, SpecError, SpecErrors, UnknownNameError
from robustbench_local.specs import Verdict, parse_spec, read_spec, robustness

TEXT = """spec small v1
net f: real[2] -> real[2]
net g: iso f
data x0: real[2]
label c: class[2]
param eps: real
param top: real = 3
prop rob: forall x: real[2] in ball(x0, eps): argmax(f(x)) == c
prop low: forall x: real[2] in box(0, 1): f(x)[0] <= top
prop never: exists x: real[2] in box(0, 1): f(x)[0] > top
prop same: forall x: real[2] in box(0, 1): norm(f(x) - g(x), inf) <= 1/8
prop some: rate(rob) >= 0.5
prop all: each k in range(2): forall x: real[2] in box(0, 1): f(x)[k] <= top
prop prob: chance >= 0.9 x: real[2] ~ uniform(0, 1): f(x)[0] <= top
"""

MODULE = """
import torch
from torch import nn

def plain(shift=0.0):
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        net.bias.fill_(shift)
    return net

def shifted():
    return plain(0.25)
"""


def plain(shift: float = 0.0) -> nn.Module:
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        net.bias.fill_(shift)
    return net.eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(MODULE)
    (tmp_path / "s.rbspec").write_text(TEXT)
    return tmp_path


def verified(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run(["verify", *arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_property_of_a_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = "f=m.py:plain,g=m.py:shifted"
    found = verified(capsys, both, "s.rbspec", "--set", "x0=[1, 1]", "--set", "c=0", "--set", "eps=1/10")
    verdicts = {one["prop"]: one["verdict"] for one in found["props"]}  # type: ignore[index,attr-defined]
    assert verdicts == {
        "rob": "HOLDS",  # 2 against 0, moved by at most 0.4 together
        "low": "HOLDS",
        "never": "VIOLATED",
        "same": "VIOLATED",
        "some": "HOLDS",
        "all[0]": "HOLDS",
        "all[1]": "HOLDS",
        "prob": "HOLDS",
    }
    assert found["verdict"] == "VIOLATED" and found["model"] == both and found["spec"] == "s.rbspec"
    assert [case["case"] for case in found["cases"]] == list(verdicts)  # type: ignore[attr-defined]


def test_one_property_needs_only_what_it_speaks_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = verified(capsys, "m.py:plain", "s.rbspec", "--prop", "low", "--set", "top=1.5")
    assert found["verdict"] == "VIOLATED" and len(found["props"]) == 1  # type: ignore[arg-type]
    assert verified(capsys, "m.py:plain", "s.rbspec", "--prop", "all")["verdict"] == "HOLDS"
    assert verified(capsys, "f=m.py:plain,g=m.py:plain", "s.rbspec", "--prop", "same")["verdict"] == "HOLDS"
    assert run(["verify", "m.py:plain", "s.rbspec", "--prop", "never"]) == 0
    out = capsys.readouterr().out
    assert "never" in out and "VIOLATED" in out


def test_values_from_files_and_in_batches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.array([[1, 1], [1, 0.25], [0, 1]]))
    np.save("c.npy", np.array([0, 0, 0]))
    settings = ["--set", "x0=x.npy", "--set", "c=c.npy", "--set", "eps=0.2"]
    found = verified(capsys, "m.py:plain", "s.rbspec", "--prop", "rob", *settings)
    assert [case["case"] for case in found["cases"]] == ["rob 0", "rob 1", "rob 2"]  # type: ignore[attr-defined]
    assert [case["verdict"] for case in found["cases"]] == ["HOLDS", "HOLDS", "HOLDS"]  # type: ignore[attr-defined]
    settings[-1] = "eps=[0.2, 0.2, 2]"
    share = verified(capsys, "m.py:plain", "s.rbspec", "--prop", "some", *settings)
    assert share["verdict"] == "HOLDS" and share["upper"] == pytest.approx(0.5 - 2 / 3)


def test_images_of_a_data_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rob.rbspec").write_text(
        robustness((1, 8, 8), 10).text.replace("eps: real", "eps: real = 1/100")
    )
    named = ["digits-cnn:certified", "--first", "6", "--method", "ibp", "--json", "-"]
    assert run(["verify", named[0], "rob.rbspec", *named[1:]]) == 0
    text = json.loads(capsys.readouterr().out)
    assert run(["verify", named[0], "robustness", "--eps", "0.01", *named[1:]]) == 0
    ready = json.loads(capsys.readouterr().out)
    assert [c["upper"] for c in text["cases"]] == [c["upper"] for c in ready["cases"]]
    assert run(["verify", named[0], "rob.rbspec", "--eps", "0.3", *named[1:]]) == 0
    wide = json.loads(capsys.readouterr().out)
    assert all(a["upper"] > b["upper"] for a, b in zip(wide["cases"], text["cases"], strict=True))
    assert run(["attack", named[0], "rob.rbspec", "--image", "3", "--eps", "0.5", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["cases"][0]["verdict"] == "VIOLATED"


def test_doctor_and_explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--prop", "same", "--json", "-"]
    assert run(["doctor", "f=m.py:plain,g=m.py:shifted", "s.rbspec", *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and report["nodes"] > 2
    assert run(["verify", "f=m.py:plain,g=m.py:shifted", "s.rbspec", "--explain", *arguments]) == 0
    assert "norm(f(x) - g(x), inf)" in capsys.readouterr().out
    assert run(["doctor", "m.py:plain", "nowhere.rbspec"]) == 1
    assert "cannot read the file" in capsys.readouterr().out


MISTAKES = [
    (["m.py:plain", "s.rbspec"], "the properties speak of 2 networks, one model is given"),
    (["f=m.py:plain,h=m.py:plain", "s.rbspec"], "unknown network 'h'"),
    (["m.py:plain", "s.rbspec", "--prop", "robb"], "unknown property 'robb'. Did you mean 'rob'"),
    (
        ["m.py:plain", "s.rbspec", "--prop", "rob", "--set", "epss=1"],
        "unknown value 'epss'. Did you",
    ),
    (["m.py:plain", "s.rbspec", "--prop", "rob", "--set", "eps"], "'eps' sets nothing"),
    (["m.py:plain", "s.rbspec", "--prop", "rob", "--set", "x0=none.npy"], "none.npy"),
    (["m.py:plain", "s.rbspec", "--prop", "rob", "--set", "x0=m.npy"], "m.npy"),
    (["m.py:plain", "s.rbspec", "--prop", "rob"], "no value for `x0`"),
    (["m.py:plain", "nowhere.rbspec"], "nowhere.rbspec"),
    (["f=m.py:plain", "s.rbspec", "--prop", "same"], "the property speaks of f, g"),
]


@pytest.mark.parametrize(("arguments", "part"), MISTAKES, ids=[m[1][:40] for m in MISTAKES])
def test_mistakes_are_one_line(
    arguments: list[str], part: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "m.npy").write_bytes(b"no array")
    assert run(["verify", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("rbl: error: ") and captured.err.count("\n") == 1
    assert part.lower() in captured.err.lower()


def test_mistakes_of_a_text_are_shown_in_the_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = TEXT.replace("norm(f", "nrom(f").replace("x: real[2] in ball", "x: real[3] in ball")
    (folder / "bad.rbspec").write_text(bad)
    assert run(["verify", "m.py:plain", "bad.rbspec", "--json", "-"]) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert lines[0].startswith("rbl: error: bad.rbspec:8:54: E-SHAPE: network 'f' expects (2,), `x` has (3,)")
    assert lines[1].strip() == TEXT.splitlines()[7].replace("x: real[2]", "x: real[3]")
    assert lines[2].index("^") - 4 == 53
    assert lines[3] == "bad.rbspec:11:44: E-NAME: unknown function `nrom`. Did you mean `norm` or `normal`?"
    assert "Traceback" not in captured.err
    error = json.loads(captured.out)["error"]
    assert [one["code"] for one in error["errors"]] == ["E-SHAPE", "E-NAME"]
    assert run(["attack", "m.py:plain", "s.rbspec", "--prop", "prob"]) == 2
    assert "a share or a probability" in capsys.readouterr().err


def test_unused_declarations_are_warnings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "odd.rbspec").write_text("spec odd v1\nnet f: real[2] -> real[2]\nparam spare: real = 1\n"
                                       "forall x: real[2] in box(0, 1): f(x)[0] <= 3\n")  # fmt: skip
    assert run(["verify", "m.py:plain", "odd.rbspec"]) == 0
    assert "rbl: warning: odd.rbspec:3:7: `spare` is never used" in capsys.readouterr().err


def test_in_python(folder: Path) -> None:
    file = read_spec("s.rbspec")
    values = {"x0": torch.tensor([[1.0, 1.0], [0.0, 1.0]]), "c": torch.tensor([0, 0]), "eps": 0.1}
    models = {"f": plain(), "g": plain(0.0625)}
    result = rbl.verify(models, "s.rbspec", values=values)
    assert result.verdict is Verdict.VIOLATED and len(result.cases) == 2 + 1 + 1 + 1 + 2 + 2 + 1
    assert rbl.verify(models, file, values=values, prop="same").verdict is Verdict.HOLDS
    assert rbl.verify(plain(), file, values=values, prop="rob").verdict is Verdict.HOLDS
    assert rbl.verify(plain(), file["low"]).verdict is Verdict.HOLDS
    assert rbl.attack(plain(), file, prop="low", values={"top": 1.0}).verdict is Verdict.VIOLATED
    assert rbl.supports(models, file, prop="same").ok
    assert not rbl.supports(plain(), file).ok and not rbl.supports(plain(), "nowhere.rbspec").ok
    with pytest.raises(UnknownNameError, match="unknown value 'ep'"):
        rbl.verify(models, file, values={**values, "ep": 1})
    with pytest.raises(SpecError, match="speak of 2 networks"):
        rbl.verify(plain(), file, values=values)
    with pytest.raises(SpecErrors, match="no property"):
        rbl.verify(plain(), parse_spec_file(folder))
    with pytest.raises(DataError, match="composed for its property"):
        rbl.verify(plain(), file["same"].query(models))  # type: ignore[union-attr]


def parse_spec_file(folder: Path) -> str:
    (folder / "empty.rbspec").write_text("spec e v1\n")
    return str(folder / "empty.rbspec")


def test_a_ready_property_as_a_text_says_the_same(folder: Path) -> None:
    images = load_dataset("digits", split="test").select(torch.arange(4))
    spec = robustness((1, 8, 8), 10)
    values = {"x0": images.inputs, "c": images.labels, "eps": 0.02}
    text = parse_spec(spec.text)
    first, second = (
        rbl.verify("digits-mlp:certified", one, values=values, method="ibp") for one in (spec, text)
    )
    assert [case.upper for case in first.cases] == [case.upper for case in second.cases]
