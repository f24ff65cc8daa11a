"""Writes docs/operators.md: every operator with a bound rule or an expansion, from the registries.

python docs/operators.py
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from robustbench_local.verifiers.expansion.registry import EXPANSIONS

from robustbench_local.verifiers import RULES, Rule

PAGE = Path(__file__).with_name("operators.md")
HEAD = """# Operators

Written by `python docs/operators.py` from the registries; a test compares. Names are those of torch's
operators (`aten.`), which `from_torch` finds in a module and `from_onnx` makes of an ONNX file; `op[i]` is
result number i of an operator with several.
*affine*: bounds pass exactly. *free*: the relaxation has parameters that alpha-CROWN tunes.

| operators | what the rule is for | kind | file in `verifiers/rules/` |
|---|---|---|---|
"""
MIDDLE = """
## Composite operators

Rewritten into the operators above when the graph is made; files in `verifiers/expansion/`.

| operators | file |
|---|---|
"""
MISSING = """
## Without a rule

- Convolutions whose weights depend on the input: torch's operators have no batch axis for weights, so that
  no exported network can hold one. `F.unfold(x, size)` and a matrix product do the same, and have rules.
- Products, sums and extremes along the batch axis, and whatever else mixes samples.
"""


def _name(op: Any) -> str:
    text = getattr(op, "__name__", "") if inspect.isfunction(op) else str(op)
    text = re.sub(r"^aten\.|\.default(?=$|\[| )", "", text)
    return f"`{text}`"


def _summary(rule: Rule) -> str:
    text = inspect.getdoc(type(rule)) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _kind(rule: Rule) -> str:
    if rule.affine:
        return "affine"
    return "free" if type(rule).start is not Rule.start and getattr(rule, "parameters", 1) else "fixed"


def page() -> str:
    """The page's text."""
    groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for op, rule in RULES.items():
        file = type(rule).__module__.rsplit(".", 1)[-1]
        groups[file, _summary(rule), _kind(rule)].append(_name(op))
    lines = [
        f"| {', '.join(sorted(set(ops)))} | {summary} | {kind} | {file} |"
        for (file, summary, kind), ops in sorted(groups.items())
    ]
    composite: dict[str, list[str]] = defaultdict(list)
    for op, expand in EXPANSIONS.items():
        composite[expand.__module__.rsplit(".", 1)[-1]].append(_name(op))
    more = [f"| {', '.join(sorted(set(ops)))} | {file} |" for file, ops in sorted(composite.items())]
    return HEAD + "\n".join(lines) + "\n" + MIDDLE + "\n".join(more) + "\n" + MISSING


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
