"""What `rbl attack` says of networks that attacks can do nothing about."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_local.cli.app import run


def test_a_network_that_returns_labels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["import torch", "class Labels(torch.nn.Module):", "    def forward(self, x):",
             "        return x.flatten(1).argmax(1)", "def labels():", "    return Labels()"]  # fmt: skip
    (tmp_path / "nets.py").write_text("\n".join(lines))
    assert run(["attack", f"{tmp_path / 'nets.py'}:labels", "robustness", "--first", "2"]) == 2
    assert "not a score for each class" in capsys.readouterr().err
