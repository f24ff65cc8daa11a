"""The commands put together, and what becomes of errors: one line, and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from robustbench_local.errors import LocatedError, RobustBenchError, SoundnessAlarm, SpecErrors
from robustbench_local.version import __version__

from . import (
    auditing,
    checking,
    competition,
    demo,
    diagnosing,
    doctor,
    evaluating,
    exporting,
    radii,
    reporting,
    training,
    verifying,
    zoo,
)
from .output import help_without_command, message, write_json

__all__ = ["ALARM", "BAD_INPUT", "BUG", "app", "main", "run"]

BAD_INPUT, BUG, ALARM, INTERRUPTED = 2, 1, 3, 130
"""Exit codes besides 0: bad input; an error of the program; a contradiction between methods; Ctrl-C."""

app = typer.Typer(
    name="rbl",
    help="Robustness brackets for neural networks: attacks from below, verifiers from above.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("verify")(verifying.verify)
app.command("attack")(verifying.attack)
app.command("radius")(radii.radius)
app.command("diagnose")(diagnosing.diagnose)
app.command("check")(checking.check)
app.command("evaluate")(evaluating.evaluate)
app.command("competition")(competition.competition)
app.command("vnncomp")(competition.vnncomp)
app.command("train")(training.train)
app.command("report")(reporting.report)
app.command("export")(exporting.export)
app.add_typer(zoo.app, name="zoo")
app.command("audit")(auditing.audit)
app.command("doctor")(doctor.doctor)


def main() -> NoReturn:
    """The entry point of `rbl` and of `python -m robustbench_local`."""
    _share_busy_cores()
    sys.exit(run(sys.argv[1:]))


def _share_busy_cores() -> None:
    """Let waiting threads sleep where other programs want the cores; torch's OpenMP reads this when it loads.

    On a crowded machine spinning threads make a run several times slower; on a quiet one sleeping ones
    make it about half as fast.
    """
    load = 0.0 if sys.platform == "win32" else os.getloadavg()[0]
    if load > 1.5 * (os.cpu_count() or 1):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run(arguments: Sequence[str]) -> int:
    """The exit code of `rbl` with these arguments; an error is one line on stderr unless --debug is given."""
    debug = "--debug" in arguments
    try:
        code = app(args=list(arguments), prog_name="rbl", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except BaseException as error:
        if debug and not isinstance(error, SystemExit | KeyboardInterrupt):
            traceback.print_exc()
        if isinstance(error, RobustBenchError):
            _write_error(error, arguments)
        return _reported(error, quiet=debug)


def _write_error(error: RobustBenchError, arguments: Sequence[str]) -> None:
    """The error as JSON on stdout for `--json -`; a JSON file only ever holds answers."""
    if ("--json", "-") in pairwise(arguments):
        write_json({"error": error.as_dict()}, Path("-"))


def _reported(error: BaseException, *, quiet: bool) -> int:
    """The exit code of an error, after telling the user."""
    if isinstance(error, typer.TyperException):
        text, code = _usage(error), BAD_INPUT
    elif isinstance(error, SoundnessAlarm):
        text, code = f"soundness alarm: {error}", ALARM
    elif isinstance(error, SpecErrors) and any(isinstance(one, LocatedError) for one in error.errors):
        if not quiet:
            message(f"rbl: error: {error.report}")  # a line for each, and the line of the text that is meant
        return BAD_INPUT
    elif isinstance(error, RobustBenchError):
        text, code = f"error: {error}", BAD_INPUT
    elif isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        text, code = f"error: {error.strerror or error}{place}", BAD_INPUT
    elif isinstance(error, KeyboardInterrupt | typer.Abort):
        text, code = "interrupted", INTERRUPTED
    elif _is_out_of_memory(error):
        text, code = "error: out of memory: give a smaller model, fewer problems or more memory", BAD_INPUT
    elif isinstance(error, Exception):
        text, code = f"internal error: {type(error).__name__}: {error} (--debug shows where)", BUG
    else:
        raise error
    if not quiet:
        message(f"rbl: {' '.join(text.split())}")
    return code


def _is_out_of_memory(error: BaseException) -> bool:
    from robustbench_local.verifiers import is_out_of_memory  # heavy, and only errors need it

    return is_out_of_memory(error)


def _usage(error: typer.TyperException) -> str:
    text = error.format_message()
    stop = "" if text.endswith((".", "?")) else "."
    return f"error: {text}{stop} See `rbl --help`, or `rbl COMMAND --help` for the options of a command"


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Robustness brackets for neural networks: attacks from below, verifiers from above."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    help_without_command(context)
