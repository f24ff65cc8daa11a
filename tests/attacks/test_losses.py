"""The losses: cross-entropy where there are classes, and sense on every AND/OR tree."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_local.attacks import (
    cross_entropy_loss,
    margin_loss,
    pgd,
    smooth_violation_loss,
    violation_loss,
)
from robustbench_local.specs import All, Any, Atom, Box, Query

from .toys import classification, images, raise_output


def robust_query(logits: Tensor) -> Query:
    return classification(lambda x: x, logits, eps=0.1, bounds=None)


def tree_query(tree: All | Any, atoms: int) -> Query:
    box = Box(-torch.ones(3, atoms).double(), torch.ones(3, atoms).double())
    return raise_output(lambda x: x, box, tree=tree, atoms=atoms)


def test_cross_entropy_is_that_of_the_logits() -> None:
    logits = 5 * images(20, (7,), torch.float64)
    query = robust_query(logits)
    expected = functional.cross_entropy(logits, logits.argmax(1), reduction="none")
    torch.testing.assert_close(
        cross_entropy_loss(query, query.atoms(logits)), expected, rtol=1e-12, atol=1e-12
    )


def test_margin_and_violation_are_the_logit_margin() -> None:
    logits = images(20, (7,), torch.float64)
    query = robust_query(logits)
    top = logits.topk(2, 1).values
    for loss in (margin_loss, violation_loss):
        torch.testing.assert_close(loss(query, query.atoms(logits)), top[:, 1] - top[:, 0])


def test_smooth_violation_follows_the_tree() -> None:
    a, b, c = torch.tensor([[0.3, -0.2, 0.9]], dtype=torch.float64).unbind(1)
    tree = Any((Atom(0, True), All((Atom(1, True), Atom(2, True)))))
    query = tree_query(tree, 3)
    atoms = torch.stack([a, b, c], 1)
    expected = (a.exp() + 1 / ((-b).exp() + (-c).exp())).log()
    torch.testing.assert_close(smooth_violation_loss(query, atoms), expected)
    torch.testing.assert_close(cross_entropy_loss(query, atoms), (1 + expected.exp()).log())
    assert float(margin_loss(query, atoms)) == 0.9
    assert float(violation_loss(query, atoms)) == 0.3


def test_sharpened_smooth_violation_is_the_violation() -> None:
    tree = All((Any((Atom(0, True), Atom(1, True))), Any((Atom(1, True), Atom(2, True)))))
    query = tree_query(tree, 3)
    atoms = images(3, (3,), torch.float64) - 0.5
    sharp = smooth_violation_loss(query, 1e4 * atoms) / 1e4
    torch.testing.assert_close(sharp, violation_loss(query, atoms), rtol=0, atol=1e-3)


def test_a_single_atom_is_its_own_violation() -> None:
    query = tree_query(Any((Atom(0, True),)), 1)
    atoms = images(3, (1,), torch.float64)
    for loss in (violation_loss, margin_loss, smooth_violation_loss):
        torch.testing.assert_close(loss(query, atoms), atoms[:, 0])


def test_cross_entropy_of_far_leads_saturates_and_smooth_violation_does_not() -> None:
    logits = torch.tensor([[1e3, 0.0, 1.0]], requires_grad=True)
    query = robust_query(logits.detach())
    (flat,) = torch.autograd.grad(cross_entropy_loss(query, query.atoms(logits)).sum(), logits)
    (steep,) = torch.autograd.grad(smooth_violation_loss(query, query.atoms(logits)).sum(), logits)
    assert (flat == 0).all()
    assert steep.isfinite().all() and (steep != 0).all()


def test_every_loss_attacks_a_query_with_and() -> None:
    """Both outputs must be pushed above 0.8 at once, from the centre of a square."""
    query = raise_output(
        lambda x: x - 0.8,
        Box(-torch.ones(2, 2), torch.ones(2, 2)),
        tree=All((Atom(0, True), Atom(1, True))),
        atoms=2,
    )
    for loss in (violation_loss, smooth_violation_loss, cross_entropy_loss):
        assert pgd(query, loss=loss, random_start=False).violated.all()
