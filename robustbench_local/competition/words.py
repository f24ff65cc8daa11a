"""A decision in the words of VNN-COMP's result files."""

from __future__ import annotations

from robustbench_local.specs import Verdict

from .deciding import Decision

__all__ = ["result_text"]


def result_text(decision: Decision) -> str:
    """`unsat`, `timeout`, `unknown`, or `sat` with the counterexample: X_i and Y_i in row-major order.

    The inputs are the numbers that were replayed, in full: read as float64 they are exactly those; the
    outputs are onnxruntime's where it ran.
    """
    result, replay = decision.result, decision.replay
    if result is None or result.verdict is Verdict.UNKNOWN:
        reason = decision.reason if result is None else result.reason
        return "timeout\n" if reason == "timeout" else "unknown\n"
    if result.verdict is Verdict.HOLDS:
        return "unsat\n"
    assert result.witness is not None and replay is not None
    inputs = result.witness.flatten().double().tolist()
    pairs = [f"(X_{i} {value!r})" for i, value in enumerate(inputs)]
    pairs += [f"(Y_{i} {value!r})" for i, value in enumerate(replay.outputs.tolist())]
    return "sat\n(" + "\n".join(pairs) + ")\n"
