"""MultiTargeted: PGD towards each of the clauses that are nearest to being violated, one walk for each.

S. Gowal, J. Uesato, C. Qin, P.-S. Huang, T. Mann, P. Kohli, "An alternative surrogate loss for PGD-based
adversarial testing", 2019, arXiv 1910.09338: the loss of a walk is the difference to one wrong class, here
the value of one clause of any property.
"""

from __future__ import annotations

from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .clauses import clause_lists, clause_loss, clause_ranking
from .pgd import Ascent, Schedule
from .random_numbers import Ids
from .search import Search

__all__ = ["multi_targeted"]


@attack("multi-targeted")
def multi_targeted(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 40,
    step_size: float | Schedule = 0.1,
    targets: int = 9,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of all points met on one walk of `steps` steps towards each of up to `targets` clauses.

    The clauses are those of largest violation at `start`, in that order. Other arguments, and errors, as for
    `pgd`.
    """
    if targets < 1:
        raise RobustBenchError(f"targets is {targets}", where="targets", cure="give 1 or more")
    search = Search(
        query,
        name="multi-targeted",
        start=start,
        seed=seed,
        ids=ids,
        deadline=deadline,
        early_stop=early_stop,
    )
    if search.expired():
        return search.result()
    clauses = clause_lists(query)
    ranking = clause_ranking(clauses, search.look(search.start)[1], targets)
    search.drop_broken()
    for rank in range(ranking.shape[1]):
        search.resume()
        if search.done or search.expired():
            break
        loss = clause_loss(search, clauses, ranking[:, rank])
        walk = Ascent(steps=steps, step_size=step_size, losses=(loss, loss))
        walk.climb(search, search.random_points(rank), rank)
    return search.result()
