"""The command line: what it prints and writes, and one clear line with exit code 2 for every mistake."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from robustbench_local.cli import run
from robustbench_local.data import load_dataset
from robustbench_local.store import COLUMNS, WitnessStore, read_results

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = [
    "demo",
    "verify",
    "attack",
    "evaluate",
    "train",
    "report",
    "zoo list",
    "zoo show",
    "zoo train",
    "zoo evaluate",
]
COMMANDS += ["doctor", "export", "check", "audit", "diagnose", "radius"]
MODEL = "digits-mlp:nominal"


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_common_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    out, _ = said(capsys)
    assert all(option in out for option in ("--json", "--device", "--seed", "--debug", "--help"))


def test_help_is_quick() -> None:
    """In seconds of processor time, which other work on the machine does not change much."""
    command = [sys.executable, "-m", "robustbench_local", "--help"]
    best = float("inf")
    for _ in range(3):
        before = os.times()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        best = min(best, used)
    assert best < 0.5


@pytest.mark.parametrize("arguments", [[], ["zoo"]])
def test_no_command_prints_the_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    out, err = said(capsys)
    assert "Commands" in out and err == ""


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_list_shows_every_row_whole(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long reasons take lines of their own instead of the room of ids and states."""
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["zoo", "list"]) == 0
    out, _ = said(capsys)
    lines = [line.split()[:3] for line in out.splitlines()]
    assert ["12.07", "F1", "bracketed"] in lines and ["E.01", "engine", "planned"] in lines


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert said(capsys)[0].strip().count(".") == 2


ERRORS = {
    "unknown command": (["verfy"], "verfy"),
    "unknown option": (["verify", MODEL, "robustness", "--epsilon", "1"], "--epsilon"),
    "missing argument": (["verify", MODEL], "SPEC"),
    "wrong type": (["verify", MODEL, "robustness", "--eps", "tiny"], "valid number"),
    "unknown model": (["verify", "digits-cn", "robustness"], "Did you mean 'digits-cnn'"),
    "unknown weights": (["verify", "digits-cnn:certifed", "robustness"], "certified"),
    "unknown spec": (["verify", MODEL, "robustnes"], "Did you mean 'robustness'"),
    "unknown method": (["verify", MODEL, "robustness", "--method", "crwn"], "Did you mean 'crown'"),
    "unknown attack": (["attack", MODEL, "robustness", "--attack", "pgdd"], "Did you mean 'pgd'"),
    "unknown data set": (["verify", MODEL, "robustness", "--dataset", "digit"], "Did you mean 'digits'"),
    "unknown norm": (["verify", MODEL, "robustness", "--norm", "l3"], "linf"),
    "negative radius": (["verify", MODEL, "robustness", "--eps", "-0.1"], "-0.1"),
    "infinite radius": (["verify", MODEL, "robustness", "--eps", "inf"], "inf"),
    "no such image": (["verify", MODEL, "robustness", "--image", "600"], "0 to 599"),
    "no such device": (["verify", MODEL, "robustness", "--device", "cuda:99"], "cuda:99"),
    "onnx model": (["verify", "net.onnx", "robustness"], "net.onnx"),
    "missing vnnlib file": (["verify", MODEL, "prop.vnnlib"], "prop.vnnlib"),
    "odd input shape": (["verify", MODEL, "p.vnnlib", "--input-shape", "3x3"], "3,32,32"),
    "odd name of an onnx file": (["export", MODEL, "net.bin"], ".onnx"),
    "odd opset": (["export", MODEL, "net.onnx", "--opset", "3"], "13 to 25"),
    "odd shape to export": (["export", MODEL, "net.onnx", "--input-shape", "8x8"], "3,32,32"),
    "shape of another": (["export", MODEL, "net.onnx", "--input-shape", "1,9,9"], "cannot take inputs"),
    "unknown model to export": (["export", "digits-ml", "net.onnx"], "Did you mean 'digits-mlp'"),
    "missing rbspec file": (["verify", MODEL, "prop.rbspec"], "prop.rbspec"),
    "missing python file": (["verify", "nowhere.py:net", "robustness"], "nowhere.py"),
    "no function named": (["verify", "nowhere.py", "robustness"], "nowhere.py:function"),
    "nothing to evaluate": (["evaluate"], "--model"),
    "missing config": (["evaluate", "nowhere.toml"], "nowhere.toml"),
    "unknown recipe": (["train", "digits-cnn-nominl"], "digits-cnn-nominal"),
    "missing results": (["report", "nowhere.parquet", "--out", "page"], "nowhere.parquet"),
    "unknown zoo model": (["zoo", "show", "digits-cn"], "Did you mean 'digits-cnn'"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_mistakes_are_one_line_and_exit_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, part = ERRORS[name]
    assert run([*arguments, "--json", "result.json"] if "unknown command" != name else arguments) == 2
    out, err = said(capsys)
    assert out == "" and err.startswith("rbl: ") and err.count("\n") == 1
    assert part in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == [], "something half-written was left behind"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "digits-cn", "robustness", "--debug"]) == 2
    assert "Traceback" in said(capsys)[1]


def test_a_broken_model_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def net():\n    return 1 / 0\n\ndef number():\n    return 7\n")
    assert run(["verify", f"{file}:net", "robustness"]) == 2
    assert "ZeroDivisionError" in said(capsys)[1]
    assert run(["verify", f"{file}:number", "robustness"]) == 2
    assert "int, not a torch module" in said(capsys)[1]
    assert run(["verify", f"{file}:nothing", "robustness"]) == 2
    assert "It has: net, number" in said(capsys)[1]


def test_a_model_that_does_not_fit_the_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(10, 10))\n"
    )
    assert run(["verify", f"{file}:net", "robustness"]) == 2
    assert "cannot take images of 'digits'" in said(capsys)[1]


THREE = """
import torch
from torch import nn

def three():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.eye(10)[3])
    return net
"""


def test_a_model_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A network that always says 3: robust on the 3s, wrong on everything else."""
    file = tmp_path / "mine.py"
    file.write_text(THREE)
    assert run(["verify", f"{file}:three", "robustness", "--first", "40", "--eps", "1", "--json", "-"]) == 0
    out, _ = said(capsys)
    cases = json.loads(out)["cases"]
    assert {c["verdict"] for c in cases} == {"HOLDS", "VIOLATED"}
    # outward bounds: above the exact -1, by no more than rounding
    assert all(-1.0 <= c["upper"] < -0.999 for c in cases if c["verdict"] == "HOLDS")


def test_verify_writes_the_contract_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "result.json"
    assert run(["verify", "digits-cnn:certified", "robustness", "--eps", "0.01", "--json", str(file)]) == 0
    out, _ = said(capsys)
    result = json.loads(file.read_text())
    fields = {"verdict", "lower", "upper", "seconds", "stage", "witness", "certificate", "reason"}
    assert fields <= set(result) and result["verdict"] in out
    assert result["lower"] is None or result["upper"] is None or result["lower"] <= result["upper"]


def test_verify_finds_a_counterexample(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", MODEL, "robustness", "--eps", "0.5", "--json", "-"]) == 0
    out, err = said(capsys)
    result = json.loads(out)
    assert result["verdict"] == "VIOLATED" and result["stage"] == "pgd" and result["lower"] > 0
    assert "VIOLATED" in err, "with JSON on stdout the text goes to stderr"
    assert len(result["witness"]) == 1 and len(result["witness"][0]) == 8


@pytest.mark.parametrize("method", ["ibp", "crown-ibp", "crown", "pgd", "fgsm"])
def test_verify_with_one_method(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", MODEL, "robustness", "--method", method, "--first", "3", "--json", "-"]) == 0
    assert {c["stage"] for c in json.loads(said(capsys)[0])["cases"]} == {method}


def vnnlib(inputs: int, outputs: int, *asserted: str) -> str:
    names = [f"X_{i}" for i in range(inputs)] + [f"Y_{i}" for i in range(outputs)]
    return "".join(f"(declare-const {name} Real)\n" for name in names) + "\n".join(asserted)


def test_verify_a_vnnlib_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two boxes for a network that always says 3; then an image of the zoo's data."""
    module, holds, fails = tmp_path / "mine.py", tmp_path / "holds.vnnlib", tmp_path / "fails.vnnlib.gz"
    module.write_text(THREE)
    box = [f"(assert (and (<= X_{i} 1) (>= X_{i} 0)))" for i in range(64)]
    split = "(assert (or (and (<= X_0 0.5) (>= Y_0 {0})) (and (>= X_0 0.5) (>= Y_1 {0}) (<= Y_3 2))))"
    holds.write_text(vnnlib(64, 10, *box, split.format("Y_3")))
    fails.write_bytes(gzip.compress(vnnlib(64, 10, *box, split.format("-0.5")).encode()))
    shape = ["--input-shape", "1,8,8", "--json", "-"]
    for path, verdict in ((holds, "HOLDS"), (fails, "VIOLATED")):
        assert run(["verify", f"{module}:three", str(path), *shape]) == 0
        out, err = said(capsys)
        result = json.loads(out)
        assert result["verdict"] == verdict and "2 input boxes" in err
        assert result["spec"] == path.name and [c["case"] for c in result["cases"]] == ["0", "1"]
    pixels = load_dataset("digits", split="test").inputs[0].flatten().tolist()
    image = [f"(assert (and (<= X_{i} {v + 1e-3}) (>= X_{i} {v - 1e-3})))" for i, v in enumerate(pixels)]
    holds.write_text(vnnlib(64, 10, *image, "(assert (<= Y_0 -1e6))"))
    assert run(["verify", "digits-cnn:certified", str(holds), "--method", "ibp"]) == 0
    assert "HOLDS" in said(capsys)[0]
    assert run(["attack", "digits-cnn:certified", str(holds)]) == 0
    assert "UNKNOWN" in said(capsys)[0]


def test_a_vnnlib_file_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.vnnlib"
    file.write_text(vnnlib(2, 10, "(assert (and (<= X_0 1) (>= X_0 0)))(assert (= X_1 0))"))
    assert run(["verify", MODEL, str(file)]) == 2
    assert "the property has 2 inputs" in said(capsys)[1]
    file.write_text(vnnlib(64, 1, *[f"(assert (= X_{i} 0))" for i in range(64)], "(assert (<= Y_0 0))"))
    assert run(["verify", MODEL, str(file)]) == 2
    assert "the property has 1 Y, the network 10" in said(capsys)[1]
    file.write_text("(declare-const X_0 Real)\n(assert (<= X_0 1 2))")
    assert run(["verify", MODEL, str(file)]) == 2
    assert f"{file}:2:19" in said(capsys)[1]


def test_attack_never_says_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["attack", MODEL, "robustness", "--first", "5", "--eps", "0.001", "--json", "-"]) == 0
    result = json.loads(said(capsys)[0])
    assert {c["verdict"] for c in result["cases"]} <= {"VIOLATED", "UNKNOWN"} and result["upper"] is None


SUITE = f"""
models = ["{MODEL}"]
eps = [0.02, 0.1]
methods = ["clean", "pgd", "ibp"]
limit = 12
"""


def test_evaluate_writes_results_and_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "suite.toml", tmp_path / "out"
    config.write_text(SUITE)
    assert run(["evaluate", str(config), "--eps", "0.02", "--out", str(out)]) == 0
    said(capsys)
    first = read_results(out)
    assert len(first) == 36 and list(first.columns) == list(COLUMNS)
    assert run(["evaluate", str(config), "--out", str(out), "--json", "-"]) == 0
    second = read_results(out)
    assert len(second) == 72
    pd.testing.assert_frame_equal(second.iloc[:36], first)  # run ids, seconds and all: not computed again
    brackets = json.loads(said(capsys)[0])["brackets"]
    assert [row["eps"] for row in brackets] == [0.02, 0.1]
    witnesses = WitnessStore.load(out)
    keys = set(second["witness"]) - {""}
    assert keys == set(witnesses)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("models = 3", "models = 3 is not a str"),
        ('model = ["digits-cnn"]', "unknown key 'model'"),
        ("models = [", "not a TOML file"),
        (SUITE + "spec = 'robust'", "Did you mean 'robustness'"),
        (SUITE + "seed = 'x'", "not a int"),
        ('models = ["digits-cnn"]\neps = [-1.0]', "not a radius"),
        ("models = []", "no models given"),
        ('models = ["digits-cnn"]\nlimit = 0', "leaves no image"),
    ],
)
def test_a_config_that_cannot_be_used(
    text: str, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "suite.toml"
    config.write_text(text)
    assert run(["evaluate", str(config), "--out", str(tmp_path / "out")]) == 2
    _, err = said(capsys)
    assert part in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_demo_then_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert run(["demo", "--out", str(out), "--images", "15", "--json", str(tmp_path / "demo.json")]) == 0
    printed, _ = said(capsys)
    assert "digits-cnn:certified" in printed and "verified" in printed
    assert {p.name for p in out.iterdir()} >= {
        "results.parquet",
        "results.csv",
        "index.html",
        "witnesses.safetensors",
    }
    facts = json.loads((tmp_path / "demo.json").read_text())
    assert len(facts["brackets"]) == 18 and all(r["verified"] <= r["empirical"] for r in facts["brackets"])
    assert run(["report", str(out), "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "report.md").read_text(encoding="utf-8")
    for row in facts["brackets"]:
        shares = " | ".join(f"{100 * row[name]:.1f}" for name in ("clean", "verified", "empirical", "gap"))
        assert f"| {row['model']} | {row['eps']:g} | {shares} | 15 |" in page
    assert (tmp_path / "page" / "index.html").stat().st_size > 10_000


def test_zoo_list_has_the_contract_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "list", "--json", "-"]) == 0
    rows = json.loads(said(capsys)[0])
    assert {r["id"] for r in rows} >= {"digits-mlp", "digits-cnn", "digits-resnet"}
    fields = ["id", "name", "episode", "family", "status", "reason", "weights", "specs"]
    assert all(list(row) == fields for row in rows)
    assert {r["status"] for r in rows} <= {"planned", "built", "gated", "attacked", "bounded", "bracketed"}


def test_zoo_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "show", "digits-cnn:certified"]) == 0
    out, _ = said(capsys)
    assert "licence" in out and "digits-cnn:certified" in out and "digits-cnn:nominal:" not in out


def test_train_one_epoch_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "digits-mlp-nominal", "--out", str(tmp_path / "run")]
    assert run([*arguments, "--epochs", "1", "--json", "-"]) == 0
    result = json.loads(said(capsys)[0])
    assert result["model"] == "digits-mlp:nominal" and Path(result["weights"]).is_file()


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json", "-"]) == 0
    found = json.loads(said(capsys)[0])
    assert {"package", "device", "solver", "engine"} <= {row["kind"] for row in found}
    assert [row for row in found if row["state"] == "broken"] == []


@pytest.mark.parametrize("command", ["attack", "evaluate"])
def test_models_that_return_probabilities_are_pointed_out(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "soft.py"
    file.write_text(
        "from torch import nn\n"
        "def soft():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(-1))\n"
        "def plain():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    for name, said_so in (("soft", True), ("plain", False)):
        model = f"{file}:{name}"
        arguments = ["attack", model, "robustness", "--eps", "0.01"]
        if command == "evaluate":
            arguments = ["evaluate", "--model", model, "--limit", "2", "--method", "fgsm"]
            arguments += ["--out", str(tmp_path / name)]
        assert run(arguments) == 0
        assert ("returns probabilities" in said(capsys)[1]) == said_so


def test_the_screen_says_what_ends_the_gradient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut.py").write_text(
        "from torch import nn\n"
        "class Cut(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.detach().flatten(1)[:, :10]\n"
        "def build():\n"
        "    return Cut().eval()\n"
    )
    assert run(["attack", f"{tmp_path / 'cut.py'}:build", "robustness", "--image", "3", "--eps", "0.01"]) == 0
    told = " ".join(said(capsys)[0].split())
    assert "detach (cut.py:4) ends it" in told and "'bpda'" in told and "'square'" in told
