"""Objectives that gradient attacks maximise, as functions of a query's atoms: they fit every query.

A query's atoms e (B, m) are affine in the network's outputs; the property is violated where the AND/OR
tree over "e_i > 0" is true. For the robustness of class c the atoms are e_j = y_j - y_c over the other
classes j and the tree is one OR. The losses differ in the gradients that they give.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustbench_local.specs import All, AtLeast, Atom, Query, Tree

__all__ = [
    "Loss",
    "cross_entropy_loss",
    "logit_ratio_loss",
    "margin_loss",
    "smooth_violation_loss",
    "violation_loss",
]

_TINY = 1e-12  # keeps equal scores from dividing by zero, as in the paper's code

Loss = Callable[[Query, Tensor], Tensor]
"""loss(query, atoms (B, m)) -> (B,): the objective to maximise; row b depends on row b of the atoms only."""


def violation_loss(query: Query, atoms: Tensor) -> Tensor:
    """The query's own violation (B,): OR is the maximum, AND the minimum. Never saturates."""
    return query.combine(atoms)


def margin_loss(query: Query, atoms: Tensor) -> Tensor:
    """The largest atom (B,), whatever the tree: for robustness max_j y_j - y_c, the logit margin.

    Of a query with AND it climbs the atom that is nearest to being violated, not the one that is furthest.
    """
    del query
    return atoms.amax(1)


def smooth_violation_loss(query: Query, atoms: Tensor) -> Tensor:
    """The violation with log-sum-exp for the maximum (B,) and its mirror image for the minimum.

    Every atom takes part in the gradient, the decisive ones most; never saturates.
    """
    return _smooth(query.tree, atoms)


def cross_entropy_loss(query: Query, atoms: Tensor) -> Tensor:
    """log(1 + exp(smooth violation)) (B,).

    For robustness this is log(1 + sum_j exp(y_j - y_c)), exactly the cross-entropy of class c. Like it, it
    saturates: where class c leads by more than about 100 in float32 the gradient is zero.
    `smooth_violation_loss` has the same direction and does not.
    """
    smooth = _smooth(query.tree, atoms)
    return torch.logaddexp(smooth, torch.zeros_like(smooth))


def logit_ratio_loss(query: Query, atoms: Tensor) -> Tensor:
    """The difference-of-logits ratio (B,): the violation over the spread of the three largest scores.

    Croce and Hein, ICML 2020, arXiv 2003.01690 (DLR). For robustness of class c the scores y_j - y_c and 0
    are the logits less y_c, so that this is (max_j y_j - y_c) / (y_(1) - y_(3)); it is the same for a network
    whose logits are scaled or shifted. For other properties the scores are the atoms and 0. With fewer
    than three scores the spread is that of the largest and the smallest.
    """
    scores = torch.cat([atoms, torch.zeros_like(atoms[:, :1])], 1)
    top = scores.topk(min(3, scores.shape[1]), 1).values
    return query.combine(atoms) / (top[:, 0] - top[:, -1] + _TINY)


def _smooth(tree: Tree, atoms: Tensor) -> Tensor:
    if isinstance(tree, Atom):
        return atoms[:, tree.index]
    children = _children(tree.children, atoms)
    if isinstance(tree, AtLeast):  # the softened minimum of the `count` largest
        children = children.topk(tree.count, 1).values
    if isinstance(tree, (All, AtLeast)):
        return -torch.logsumexp(-children, 1)
    return torch.logsumexp(children, 1)


def _children(trees: tuple[Tree, ...], atoms: Tensor) -> Tensor:
    """The soft values (B, k) of trees: of plain atoms in a row, as of robustness, the atoms themselves."""
    plain = [tree.index for tree in trees if isinstance(tree, Atom)]
    if len(plain) == len(trees) and plain == list(range(plain[0], plain[0] + len(plain))):
        return atoms[:, plain[0] : plain[0] + len(plain)]
    return torch.stack([_smooth(tree, atoms) for tree in trees], 1)
