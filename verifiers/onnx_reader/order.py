"""The operators that outputs need, each after those it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from robustbench_local.errors import GraphError

__all__ = ["names_read", "needed_operators"]


def needed_operators(operators: Iterable[Any], outputs: Iterable[str]) -> list[Any]:
    """Those of the ONNX operators on which `outputs` depend, in an order of evaluation.

    Files should be sorted, but tools accept those that are not. GraphError: operators that read each other.
    """
    makers = {name: node for node in operators for name in node.output if name}
    done: set[int] = set()
    open_: set[int] = set()
    ordered: list[Any] = []
    stack = [(makers[name], False) for name in outputs if name in makers][::-1]
    while stack:
        node, ready = stack.pop()
        if ready:
            done.add(id(node))
            ordered.append(node)
        elif id(node) not in done:
            if id(node) in open_:
                raise GraphError(
                    f"{node.op_type} reads its own result",
                    where=f"node {node.name!r}",
                    cure="the file is not valid ONNX: export it again",
                )
            open_.add(id(node))
            stack.append((node, True))
            readable = (makers[name] for name in reversed(names_read(node)) if name in makers)
            stack.extend((maker, False) for maker in readable if id(maker) not in done)
    return ordered


def names_read(node: Any) -> list[str]:
    """The values an operator reads: its inputs, and what the graphs among its attributes read outside."""
    names = [str(name) for name in node.input if name]
    for attribute in node.attribute:
        graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for graph in graphs:
            own = {name for inner in graph.node for name in inner.output}
            own.update(tensor.name for tensor in graph.initializer)
            names += [n for inner in graph.node for n in names_read(inner) if n not in own]
            names += [entry.name for entry in graph.output if entry.name not in own]
    return names
