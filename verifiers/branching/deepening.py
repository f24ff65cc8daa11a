"""When hidden neurons are bounded anew in single domains: in turn with plain bounds, for about the same work.

Once it has begun, plain bounds go to the easiest domains, which close soon, and the hardest ones are split by
hand: there everything below gains from better hidden bounds.
"""

from __future__ import annotations

from torch import Tensor

from ..crown import undecided
from ..exactness import exact_nodes
from .evaluator import Evaluator

__all__ = ["MOST_PROBLEMS", "Deepening", "pays"]

_NEURON = 0.5  # plain bounds of domains that take as long as one undecided neuron of a domain
_AT_ONCE = 4
_MOST_ROOTS = 64

MOST_PROBLEMS = 64
"""Up to so many problems are looked into one by one."""

_WORTH = 0.1  # share of a root's bound that it has to take away


def pays(before: Tensor, after: Tensor) -> bool:
    """Whether better bounds of hidden neurons have helped the roots' bounds (D,) enough to start anew."""
    return bool((after - before >= _WORTH * before.abs()).all())


class Deepening:
    """Whether the next domains of a search are to have their hidden neurons bounded anew.

    count: of such domains so far, -1 where they do not pay; at_once: how many are split together. Serves
    networks of vectors: rows of images, which are pulled through windows, would have to be dense.
    """

    def __init__(self, evaluator: Evaluator, count: int) -> None:
        self.evaluator, self.count, self.at_once = evaluator, count, _AT_ONCE
        self._cost: float | None = None

    @property
    def begun(self) -> bool:
        """Whether there were such domains, and more may follow."""
        return self.count > 0

    def helped(self, before: Tensor, after: Tensor) -> bool:
        """Whether it helped the first domains, which it ends with where it did not."""
        if pays(before, after):
            return True
        self.count = -1
        return False

    def due(self, open_: int) -> bool:
        """Whether it is their turn, with `open_` domains open."""
        first, done = self.evaluator.settings.tighten, self.evaluator.ledger.domains
        if first == 0 or done < first or self.count < 0 or self.evaluator.clipping.planes is None:
            return False
        if self.count == 0 and self.evaluator.roots.count > _MOST_ROOTS:
            return False
        return open_ > 0 and self.count * self._each() <= done

    def _each(self) -> float:
        """How many plain bounds take as long as all hidden neurons of a domain; infinite where not served."""
        if self._cost is None:
            roots, count = self.evaluator.roots, 0
            exact = exact_nodes(roots.graph)
            for node in roots.graph.nodes[1:]:
                mask = undecided(roots.graph, node, roots.boxes[node])
                if mask is None or node in exact:
                    continue
                count = -1 if len(node.shape) > 1 or count < 0 else count + int(mask.sum(1).max())
            self._cost = _NEURON * count if count > 0 else float("inf")
        return self._cost
