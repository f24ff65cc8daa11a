"""Transfer: walks along the gradients of other networks, of which the attacked one only sees the points.

Y. Liu, X. Chen, C. Liu, D. Song, "Delving into transferable adversarial examples and black-box attacks", ICLR
2017, arXiv 1611.02770; with momentum as in Y. Dong et al., CVPR 2018, arXiv 1710.06081.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import Attack, AttackResult
from .losses import Loss, smooth_violation_loss
from .passes import gradient_of, largest
from .random_numbers import Ids
from .search import Search

__all__ = ["transfer"]

Network = Callable[[Tensor], Tensor]


def transfer(
    surrogates: Sequence[Network],
    *,
    steps: int = 40,
    step_size: float = 0.1,
    momentum: float = 0.75,
    loss: Loss = smooth_violation_loss,
) -> Attack:
    """The attack that walks towards bad points of each surrogate, and of all together, by `steps` steps each.

    surrogates: networks with the inputs and outputs of the attacked one. Each step costs one forward pass of
    the attacked network and none of its gradients; `backwards` is 0. step_size: fraction of the set's size.
    Raises `RobustBenchError` without any surrogate, or for steps < 1.
    """
    if not surrogates or steps < 1:
        raise RobustBenchError(
            f"{len(surrogates)} surrogates and {steps} steps",
            where="transfer",
            cure="give at least one of each",
        )
    teams = [[one] for one in surrogates] + ([list(surrogates)] if len(surrogates) > 1 else [])

    def run(
        query: Query,
        *,
        start: Tensor | None = None,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float | None = None,
    ) -> AttackResult:
        search = Search(query, name="transfer", start=start, seed=seed, ids=ids, deadline=deadline)
        if not search.expired():
            search.evaluate(search.start)
            search.drop_broken()
        for team in teams:
            search.resume()
            x, velocity = search.start, torch.zeros_like(search.start)
            for _ in range(steps):
                if search.done or search.expired():
                    return search.result()
                velocity = momentum * velocity + sum(_lean(search, x, one, loss) for one in team)
                ahead = search.query.inputs.steepest(velocity)
                x = search.query.inputs.project(x + step_size * ahead)
                search.evaluate(x)
                keep = search.drop_broken()
                if keep is not None:
                    x, velocity = x[keep], velocity[keep]
        return search.result()

    return run


def _lean(search: Search, x: Tensor, surrogate: Network, loss: Loss) -> Tensor:
    """The gradient (b, *shape) of the surrogate's loss at x (b, *shape), at l1 norm 1; 0 where not finite."""
    query = search.query.with_network(surrogate)
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        objective = loss(query, query.atoms(surrogate(leaf))).sum()
        gradient = gradient_of(objective, leaf=leaf, query=query, name="transfer", again=False)
    gradient = gradient.to(x.dtype)
    finite = largest(gradient).isfinite().reshape(-1, *(1,) * (x.ndim - 1))
    gradient = torch.where(finite, gradient, 0.0)
    size = gradient.flatten(1).abs().sum(1).clamp(min=torch.finfo(x.dtype).tiny)
    return gradient / size.reshape(finite.shape)
