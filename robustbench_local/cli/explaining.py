"""`rbl verify --explain`: what a query asks, and which methods could answer it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .doctor import show_support
from .output import write_json

if TYPE_CHECKING:
    from rich.console import Console

    from robustbench_local.plan import Plan
    from robustbench_local.specs import Query

__all__ = ["show_explanation"]


def show_explanation(query: Query, plan: Plan, console: Console, json: Path | None) -> None:
    """Prints the lowered query part by part, what applies to it, and the plan; JSON has the same."""
    from rich.markup import escape

    from robustbench_local.explanation import explain

    found = explain(query)
    for title, lines in found.sections().items():
        if lines:
            console.print(f"[bold]{title}[/bold]")
        for line in lines:
            colour = ("[yellow]", "[/]") if title == "warnings" else ("", "")
            console.print(f"  {colour[0]}{escape(line)}{colour[1]}", soft_wrap=True)
    console.print("[bold]methods[/bold]")
    show_support(replace(found.support, inputs=""), console)
    console.print("[bold]plan[/bold]")
    for line in plan.lines():
        console.print(f"  {escape(line)}", soft_wrap=True)
    write_json({**found.as_dict(), "plan": list(plan.lines())}, json)
