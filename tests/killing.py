"""Runs of `rbl` that are killed at random moments, and begun again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

HOST = """
import contextlib, json, os, random, signal, sys, time
from robustbench_local import resumable
from robustbench_local.cli import run
from robustbench_local.competition import compete
from robustbench_local.evaluation import evaluate
from robustbench_local.named_models import find_model
import torch.export._trace

warm, jobs, seed = json.loads(sys.argv[1])
chance = random.Random(seed)
resumable.SAVE_EVERY = 0.0

def begun(command):
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
        try:
            code = run(command)
        finally:
            os._exit(code)
    return pid

def state(watched):
    try:
        found = os.stat(watched)
        return (found.st_mtime_ns, found.st_size)
    except OSError:
        return None

if warm:
    with contextlib.redirect_stdout(sys.stderr):
        run(warm)
codes, cut = [], 0
for command, watched, kills in jobs:
    for _ in range(kills):
        pid, seen, saves, wanted = begun(command), state(watched), 0, chance.randrange(0, 3)
        end, ended = time.monotonic() + 60, os.WEXITED | os.WNOHANG | os.WNOWAIT
        while saves < wanted and time.monotonic() < end and os.waitid(os.P_PID, pid, ended) is None:
            time.sleep(0.001)
            saves, seen = saves + (state(watched) != seen), state(watched)
        time.sleep(chance.random() * 0.1)
        os.kill(pid, signal.SIGKILL)
        cut += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    codes.append(os.waitstatus_to_exitcode(os.waitpid(begun(command), 0)[1]))
print(json.dumps({"cut": cut, "codes": codes}))
"""
"""Runs commands in forks of a process that has imported everything: killed some times, then left alone.

One command may come first in the process itself, so that the forks find everything loaded; it must not use
gradients, which the forks could not use after it.
"""


@dataclass(frozen=True)
class Job:
    """A command that is killed `kills` times; `watched`, a file, changes when a run has saved something."""

    command: Sequence[str]
    watched: Path
    kills: int


def codes_after_kills(*jobs: Job, seed: int, warm: Sequence[str] = ()) -> list[int]:
    """The exit codes of the jobs' last runs, which nobody kills. warm: a command without gradients."""
    given = json.dumps([list(warm), [[list(job.command), str(job.watched), job.kills] for job in jobs], seed])
    found = subprocess.run(
        [sys.executable, "-c", HOST, given], cwd=ROOT, capture_output=True, text=True, timeout=240, check=True
    )
    said = json.loads(found.stdout.splitlines()[-1])
    assert said["cut"] > 0, "some run was killed at work"
    return [int(code) for code in said["codes"]]
