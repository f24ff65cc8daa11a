"""The operators that an output needs, each after those it reads."""

from __future__ import annotations

from typing import Any

from robustbench_local.errors import GraphError

__all__ = ["needed_operators"]


def needed_operators(proto: Any, output: str) -> list[Any]:
    """The operators of the ONNX graph `proto` on which `output` depends, in an order of evaluation.

    Files should be sorted, but tools accept those that are not. GraphError: operators that read each other.
    """
    makers = {name: node for node in proto.node for name in node.output if name}
    done: set[int] = set()
    open_: set[int] = set()
    ordered: list[Any] = []
    stack = [(makers[output], False)] if output in makers else []
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
            readable = (makers[name] for name in reversed(node.input) if name in makers)
            stack.extend((maker, False) for maker in readable if id(maker) not in done)
    return ordered
