"""The state of a search over hidden coordinates as tensors by name, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robustbench_local.errors import SearchStateError
from robustbench_local.specs import Query

from ..graph import Graph
from ..interval import Interval
from .domains import Domains, Splits
from .state import BranchState, Opened, TreesState

__all__ = ["state_of", "tensors_of"]

_MOST_BYTES = 2**28  # of the domains' own slopes; beyond, domains go on from those of their roots
_PLAIN = ("rows", "upper", "sure", "wanted", "roots", "closed", "points", "found", "broken")
_SPLITS = ("node", "coordinate", "side", "point")


def tensors_of(state: BranchState) -> dict[str, Tensor]:
    """All of a state, by name."""
    found: dict[str, Tensor] = {name: getattr(state, name) for name in _PLAIN}
    found["domains"] = torch.tensor(state.domains)
    for i, box in enumerate(state.boxes):
        found[f"box.{i}.lower"], found[f"box.{i}.upper"] = box.lower, box.upper
    for i, one in enumerate(state.trees):
        found |= {f"trees.{i}.{name}": value for name, value in _of_trees(one).items()}
    return found


def state_of(graph: Graph, query: Query, tensors: Mapping[str, Tensor]) -> BranchState:
    """The state of these tensors; SearchStateError where they do not fit graph and query."""
    try:
        moved = {name: value.to(graph.device) for name, value in tensors.items()}
        plain = {name: moved[name] for name in _PLAIN}
        nodes, count = range(len(graph.nodes)), len({n.split(".")[1] for n in moved if n[:6] == "trees."})
        boxes = tuple(Interval(moved[f"box.{i}.lower"], moved[f"box.{i}.upper"]) for i in nodes)
        trees = tuple(_trees(graph, _under(f"trees.{i}.", moved)) for i in range(count))
        state = BranchState(**plain, boxes=boxes, domains=int(moved["domains"]), trees=trees)
        _check(graph, query, state)
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise SearchStateError(f"the state is of no search of this network: {error}") from error
    return state


def _of_trees(one: TreesState) -> dict[str, Tensor]:
    found = {name: getattr(one, name) for name in ("problem", "atoms", "worst", "left")}
    counts = (
        float(one.gain[0]),
        one.gain[1],
        float(one.kept),
        float(one.tightened),
        *map(float, one.refined),
    )
    found["gain"] = torch.tensor(counts, dtype=torch.float64)
    found |= {f"slopes.{node}": values for node, values in one.slopes.items()}
    wanted: dict[int, tuple[Domains, list[int]]] = {}
    for domains, k in one.open:
        wanted.setdefault(id(domains), (domains, []))[1].append(k)
    whole = sum(domains.bytes * len(index) / max(1, domains.count) for domains, index in wanted.values())
    alike: dict[object, list[Domains]] = {}
    place: dict[tuple[int, int], tuple[object, int]] = {}
    for number, (domains, index) in wanted.items():
        part = domains.select(torch.tensor(index, device=domains.root.device))
        part = part.bare() if whole > _MOST_BYTES else part
        sizes = (t.shape[1:] for t in (part.splits.node, part.branch[0], part.tight, part.plane[0]))
        key = (*sizes, tuple(sorted(node.index for node in part.slopes)))
        group = alike.setdefault(key, [])
        before = sum(other.count for other in group)
        place |= {(number, k): (key, before + i) for i, k in enumerate(index)}
        group.append(part)
    numbers = {key: i for i, key in enumerate(alike)}
    order = [(numbers[key], k) for key, k in (place[id(domains), k] for domains, k in one.open)]
    found["order"] = torch.tensor(order, dtype=torch.int64).reshape(-1, 2)
    for i, group in enumerate(alike.values()):
        parts = [_of_domains(part) for part in group]
        found |= {f"open.{i}.{name}": torch.cat([part[name] for part in parts]) for name in parts[0]}
    return found


def _of_domains(domains: Domains) -> dict[str, Tensor]:
    found = {name: getattr(domains, name) for name in ("root", "lower", "multipliers", "scale", "tight")}
    found |= {f"splits.{name}": getattr(domains.splits, name) for name in _SPLITS}
    found |= {f"branch.{i}": value for i, value in enumerate(domains.branch)}
    found |= {f"plane.{i}": value for i, value in enumerate(domains.plane)}
    return found | {f"slopes.{node.index}": values for node, values in domains.slopes.items()}


def _trees(graph: Graph, tensors: Mapping[str, Tensor]) -> TreesState:
    order = tensors["order"].tolist()
    count = 1 + max((i for i, _ in order), default=-1)
    batches = [_domains(graph, _under(f"open.{i}.", tensors)) for i in range(count)]
    opened: tuple[Opened, ...] = tuple((batches[i], k) for i, k in order)
    clipped, gain, kept, tightened, times, mark = tensors["gain"].tolist()
    slopes = {int(name): values for name, values in _under("slopes.", tensors).items()}
    return TreesState(
        tensors["problem"],
        tensors["atoms"],
        slopes,
        tensors["worst"],
        tensors["left"],
        opened,
        (int(clipped), gain),
        int(kept),
        tightened=int(tightened),
        refined=(int(times), int(mark)),
    )


def _domains(graph: Graph, tensors: Mapping[str, Tensor]) -> Domains:
    return Domains(
        root=tensors["root"],
        lower=tensors["lower"],
        splits=Splits(*(tensors[f"splits.{name}"] for name in _SPLITS)),
        multipliers=tensors["multipliers"],
        scale=tensors["scale"],
        slopes={graph.nodes[int(name)]: values for name, values in _under("slopes.", tensors).items()},
        branch=(tensors["branch.0"], tensors["branch.1"], tensors["branch.2"], tensors["branch.3"]),
        tight=tensors["tight"],
        plane=(tensors["plane.0"], tensors["plane.1"]),
    )


def _check(graph: Graph, query: Query, state: BranchState) -> None:
    """ValueError where the state's sizes are not those of graph and query."""
    count = len(state.wanted)
    shapes = {
        "rows": (state.rows, tuple(query.d.shape)),
        "upper": (state.upper, (query.batch,)),
        "roots": (state.roots, (count, query.d.shape[1])),
        "points": (state.points, (count, *graph.input_shape)),
    }
    for name, (value, shape) in shapes.items():
        if tuple(value.shape) != shape:
            raise ValueError(f"{name} of shape {tuple(value.shape)} where {shape} is expected")
    for node, box in zip(graph.nodes, state.boxes, strict=True):
        if tuple(box.lower.shape) != (count, *node.shape) or box.upper.shape != box.lower.shape:
            raise ValueError(f"a box of shape {tuple(box.lower.shape)} for {node.name}")
    for one in state.trees:
        roots = [one.left, *(domains.root for domains, _ in one.open)]
        for index, size in ((one.problem, count), *((root, len(one.problem)) for root in roots)):
            if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size:
                raise ValueError("domains of problems that are not there")


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
