"""From a property with bound values to what engines work on: one network, one input set, rows and a tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .bindings import Bound
from .composed import Composed
from .expressions.base import Bindings, Expr, Formula, Term
from .expressions.domains import Domain
from .expressions.leaves import Data, Label, Param, Var
from .expressions.networks import Application
from .expressions.scope import Scope
from .expressions.values import Emitter
from .joint import conditions_of, joint_set, order_of
from .layout import Block, Layout
from .query import Quantifier
from .sets import InputSet
from .tree import All, Tree, join

__all__ = ["Lowered", "lower", "wide_values"]

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """The parts of a query; `equalities`: texts of atoms that no float point can hit."""

    network: Network
    inputs: InputSet
    C: Tensor
    d: Tensor
    tree: Tree
    layout: Layout
    equalities: tuple[str, ...]


def lower(
    variables: Sequence[Var],
    domain: Domain | Formula,
    body: Formula,
    quantifier: Quantifier,
    networks: Mapping[str, Network],
    bound: Bound,
) -> Lowered:
    """The property as a query's parts; the tree is true of the points that decide it.

    That is a counterexample for forall, an example for exists.
    """
    variables = order_of(domain, variables)
    wide = wide_values(bound, (domain, body))
    emitter = Emitter(bound.batch, bound.device)
    like = torch.zeros(0, dtype=torch.float64, device=bound.device)
    env = Bindings(
        bound.values, Scope(wide, {}, {}, {}, like), emitter, bound.batch, bound.device, bound.dtype
    )
    tree = body.tree(env, negated=quantifier is Quantifier.FORALL)
    bare = Layout(tuple(Block(v.name, v.shape) for v in variables))
    rest = conditions_of(domain, variables, bare, env)
    tree = join(All, [tree, *(condition.tree(env, negated=False) for condition in rest)])
    used = _used([*emitter.features])
    data = {name: value for name, value in wide.items() if name in used}
    moving = {name: value for name, value in data.items() if value.shape[0] != 1}
    layout = Layout((*bare.blocks, *(Block(k, tuple(v.shape[1:])) for k, v in moving.items())))
    points = [value.reshape(bound.batch, -1) for value in moving.values()]
    inputs = joint_set(
        domain, variables, layout, points, replace(env, emitter=Emitter(bound.batch, bound.device))
    )
    C, d = emitter.rows()
    features = [feature for feature in emitter.features if isinstance(feature, Term)]
    network = _plain(features, layout, networks) or Composed(
        features, layout, networks, {k: v for k, v in data.items() if k not in moving}, bound.device
    )
    return Lowered(network, inputs, C, d, tree, layout, tuple(env.equalities))


def wide_values(bound: Bound, parts: Sequence[Expr]) -> dict[str, Tensor]:
    """The bound values in float64, labels as one-hot rows."""
    labels = {
        node.name: nn.functional.one_hot(bound.values[node.name], node.classes).to(torch.float64)
        for part in parts
        for node in part.walk()
        if isinstance(node, Label)
    }
    return {k: v.to(torch.float64) for k, v in bound.values.items() if k not in labels} | labels


def _plain(features: Sequence[Term], layout: Layout, networks: Mapping[str, Network]) -> Network | None:
    """The network itself where the property speaks of nothing but f(x)."""
    if layout.plain and len(features) == 1:
        feature = features[0]
        if isinstance(feature, Application) and isinstance(feature.argument, Var):
            return networks[feature.net.name]
    return None


def _used(features: Sequence[object]) -> set[str]:
    """Names of data, parameters and labels that the features read."""
    nodes = (node for feature in features if isinstance(feature, Expr) for node in feature.walk())
    return {node.name for node in nodes if isinstance(node, (Data, Param, Label))}
