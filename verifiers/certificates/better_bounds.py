"""What a proof says of hidden nodes beyond the usual slopes: rows with slopes of their own, or lemmas."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robustbench_local.checker import Bounds, Network

from ..graph import Graph, Node
from .claim import Claim
from .lemmas import Growth
from .trees import Lemma, Way
from .tuned_rows import tuned_bounds

__all__ = ["Better", "Hidden"]

_TUNING, _SHOWING = 0.2, 0.5  # the part of the time left that tuned rows, and lemmas, may take


@dataclass(frozen=True, slots=True, eq=False)
class Better:
    """The checker's bounds of all problems, and what the file says for them.

    ways: more ways; `own` is the number of the one of leaves that come. sets, rows: of the ways, see `Proof`.
    seconds: that the checker will take for this besides.
    """

    bounds: Bounds
    ways: tuple[Way, ...]
    own: int
    sets: Sequence[Mapping[tuple[int, str], NDArray[np.float64]]] = ()
    rows: Mapping[int, NDArray[np.int64]] | None = None
    lemmas: Sequence[Lemma] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Hidden:
    """The hidden nodes of a claim: its network as a graph, with the nodes in the certificate's order, and as
    the checker reads it; the usual way of bounding them, and the open coordinates of functions, which slopes
    are of.
    """

    claim: Claim
    graph: Graph
    nodes: Sequence[Node]
    network: Network
    way: Way
    ids: Mapping[int, NDArray[np.int64]]

    def tuned(self, left: float, fixed: float) -> Better | None:
        """Rows with slopes of their own, of one problem; `fixed` seconds are those of the usual bounds."""
        if self.claim.batch > 1 or not self.way.refined:
            return None
        known, until = (self.network, self.way, self.ids), time.monotonic() + _TUNING * left
        made = tuned_bounds(self.claim, self.graph, self.nodes, known, until)
        return Better(made.bounds, (made.way,), 1, made.sets, made.rows, seconds=fixed + made.seconds)

    def shown(self, left: float, fixed: float, effort: tuple[int, float]) -> Better:
        """Lemmas; effort: splits for each end of each neuron, and the cushion."""
        plain = replace(self.way, clipped=())
        about = (self.claim, self.graph, self.nodes, self.network, self.ids)
        growth = Growth(*about, self.way.refined, 1, *effort)
        made = growth.run(time.monotonic() + _SHOWING * left)
        again = len({lemma.node for lemma in made.made})  # how often hidden nodes are bounded once more
        return Better(made.bounds, (plain,), 0, lemmas=made.made, seconds=again * fixed + made.seconds)
