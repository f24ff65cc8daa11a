"""`rbl evaluate`, killed at random moments and begun again, ends with the table of a run left alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from robustbench_local.store import WitnessStore, read_results

from .killing import Job, codes_after_kills


def lasting(place: Path) -> pd.DataFrame:
    """The results in a folder, in an order of their own, without times; the witnesses are there."""
    table = read_results(place)
    store = WitnessStore.load(place)
    assert all(key in store for key in table["witness"].dropna() if key)
    table = table.drop(columns=["run_id", "seconds", "seconds_load", "peak_mb"])
    return table.sort_values(["eps", "case", "method"]).reset_index(drop=True)


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills by signal")
def test_a_killed_evaluation_goes_on_to_the_same_table(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command = ["evaluate", "--model", "digits-mlp:nominal", "--limit", "4"]
    command += [f"--eps={0.05 * k}" for k in range(1, 5)] + ["--method=clean", "--method=ibp"]
    warm = [*command, "--out", str(tmp_path / "warm")]
    command.append("--method=fgsm")
    jobs = (
        Job([*command, "--out", str(whole)], whole, kills=0),
        Job([*command, "--out", str(parts)], parts / "results.parquet", kills=4),
    )
    assert codes_after_kills(*jobs, seed=0, warm=warm) == [0, 0]
    pd.testing.assert_frame_equal(lasting(parts), lasting(whole))
    assert len(lasting(parts)) == 4 * 3 * 4
    assert lasting(parts)["witness"].fillna("").ne("").any(), "some rows have witnesses"
