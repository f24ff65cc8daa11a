"""What a query asks, in the terms in which engines answer it: sets, atoms, tree, methods, warnings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import (
    Any,
    AtLeast,
    Atom,
    Query,
    Tree,
    count_clauses,
    features_of,
    unreachable,
)
from robustbench_local.verifiers import Graph, Support, from_torch, interval_bounds, support_of, unsupported

__all__ = ["Explanation", "explain"]

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Explanation:
    """A query as lines of text, part by part.

    Attributes:
        property: its text, one line each, with declarations.
        inputs: the set; where variables lie in it; how many coordinates are free.
        features: what the network computes for the property, with sizes.
        atoms: rows over the features, at the first problem, most important first.
        tree: how atoms combine, and the number of clauses.
        warnings: what is suspicious: trivial problems, violations at the centre, divisions by zero.
        support: operators of the network, and which verifiers apply.
    """

    property: tuple[str, ...]
    inputs: tuple[str, ...]
    features: tuple[str, ...]
    atoms: tuple[str, ...]
    tree: tuple[str, ...]
    warnings: tuple[str, ...]
    support: Support = field(repr=False)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON-ready fields."""
        parts: Mapping[str, tuple[str, ...]] = self.sections()
        return {**{name: list(lines) for name, lines in parts.items()}, "support": self.support.as_dict()}

    def sections(self) -> dict[str, tuple[str, ...]]:
        """The parts by title, without the support."""
        return {
            "property": self.property,
            "inputs": self.inputs,
            "features": self.features,
            "atoms": self.atoms,
            "tree": self.tree,
            "warnings": self.warnings,
        }


def explain(query: Query) -> Explanation:
    """The explanation of a query whose network is a module; nothing is raised for what it finds."""
    graph, support = _graph(query)
    names = _names(query)
    return Explanation(
        property=tuple(query.text.split("\n")),
        inputs=_inputs(query),
        features=tuple(f"{name}: {_count(size, 'number')}" for name, size in features_of(query)),
        atoms=_atoms(query, names),
        tree=_tree(query),
        warnings=tuple(_warnings(query, graph)),
        support=support,
    )


def _graph(query: Query) -> tuple[Graph | None, Support]:
    if not isinstance(query.network, nn.Module):
        return None, unsupported(RobustBenchError("the network is no torch module"))
    weights = (*query.network.parameters(), *query.network.buffers())
    dtype = next((w.dtype for w in weights if w.is_floating_point()), torch.get_default_dtype())
    try:
        graph = from_torch(query.network, query.inputs.centre()[:1].to(dtype))
    except RobustBenchError as error:
        return None, unsupported(error)
    return graph, support_of(graph, query)


def _inputs(query: Query) -> tuple[str, ...]:
    box = query.inputs.box()
    free = (box.upper > box.lower).flatten(1).sum(1)
    lines = [repr(query.inputs)]
    if query.layout is not None and not query.layout.plain:
        lines += [
            f"{b.name}: coordinates {query.layout.start(b.name)} to {query.layout.start(b.name) + b.size - 1}"
            for b in query.layout.blocks
        ]
    size = box.lower[0].numel()
    lines.append(f"{_count(query.batch, 'problem')}, {int(free.max())} of {size} coordinates free")
    found = query.parts()
    if found is not None:
        lines.append(f"{found[0].batch} members, decided one by one where the whole stays open")
    return tuple(lines)


def _names(query: Query) -> list[str]:
    """One name per number of the network's output."""
    names = []
    for name, size in features_of(query):
        names += [f"{name}[{i}]" for i in range(size)] if size > 1 else [name]
    return names


def _atoms(query: Query, names: list[str]) -> tuple[str, ...]:
    strict: dict[int, bool] = {}
    _walk(query.tree, strict)
    lines = []
    for i in sorted(strict)[:_SHOWN]:
        row, constant = query.C[0, i], float(query.d[0, i])
        index = row.nonzero().flatten().tolist()
        terms = [f"{float(row[j]):+.6g} {names[j]}" for j in index[:_SHOWN]]
        terms += ["+ .."] if len(index) > _SHOWN else []
        terms += [f"{constant:+.6g}"] if constant or not terms else []
        lines.append(f"e{i} = {' '.join(terms)} {'>' if strict[i] else '>='} 0")
    if len(strict) > _SHOWN:
        lines.append(f"and {len(strict) - _SHOWN} more")
    return tuple(lines)


def _tree(query: Query) -> tuple[str, ...]:
    text = _text(query.tree)
    clauses = count_clauses(query.tree)
    word = "true of a counterexample" if query.quantifier.value == "forall" else "true of an example"
    return text, f"{word}; {_count(clauses, 'clause')}"


def _text(tree: Tree) -> str:
    if isinstance(tree, Atom):
        return f"e{tree.index}"
    plain = "any" if isinstance(tree, Any) else "all"
    head = f"at least {tree.count} of" if isinstance(tree, AtLeast) else plain
    parts = [_text(child) for child in tree.children[:_SHOWN]]
    parts += [f".. {len(tree.children) - _SHOWN} more"] if len(tree.children) > _SHOWN else []
    return f"{head}({', '.join(parts)})"


def _count(number: int, of: str) -> str:
    shown = f"{number:,}" if number < 10**6 else f"{number:.2g}"
    return f"{shown} {of}{'' if number == 1 else 's'}"


def _walk(tree: Tree, strict: dict[int, bool]) -> None:
    if isinstance(tree, Atom):
        strict[tree.index] = tree.strict
    else:
        for child in tree.children:
            _walk(child, strict)


@torch.no_grad()
def _warnings(query: Query, graph: Graph | None) -> list[str]:
    found = []
    trivial = unreachable(query)
    if bool(trivial.any()):
        found.append(f"E-TRIVIAL: {int(trivial.sum())} problem(s) cannot be violated by any network")
    if graph is None:
        return found
    centre = query.inputs.project(query.inputs.centre().to(graph.dtype))
    at_centre = query.violated(centre)
    if bool(at_centre.any()):
        what = "violated" if query.quantifier.value == "forall" else "satisfied"
        found.append(f"{int(at_centre.sum())} problem(s) are {what} at the centre of their set already")
    try:
        boxes = interval_bounds(graph.resolved(), query.inputs)
    except RobustBenchError:
        return found
    for node in graph.resolved().nodes[1:]:
        if ("div" in str(node.op) and len(node.inputs) == 2) or "reciprocal" in str(node.op):
            box = boxes[node.inputs[-1]]
            low, high = float(box.lower.min()), float(box.upper.max())
            if low <= 0 <= high:
                found.append(
                    f"E-DIV: the denominator of node {node.name} may be 0: interval [{low:.4g}, {high:.4g}]"
                )
    return found
