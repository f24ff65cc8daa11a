"""Networks that are a chain of affine maps and ReLUs: each map as one matrix, and quick bounds of parts.

Layer normal form saves most of the time where parts are small and many: affine operators in a row are one
matrix, matrices of lattices and convolutions are sparse, and only undecided neurons get an error symbol
(zonotopes, Singh et al. 2018, NeurIPS; the backward pass is CROWN's, Zhang et al. 2018, arXiv 1811.00866).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..graph import Graph, Node
from ..ibp import input_interval
from ..rule import find_rule
from .planes import Planes

__all__ = ["Chain", "chain_of"]

_MOST_ENTRIES = 2**23  # of one matrix
_SPARSE, _SMALL = 0.05, 2**15  # density below which a matrix of more entries is kept sparse
_LARGE = 2.0**24  # a multiple that makes the rounding of a map's constant part small


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """y = W x + b for x (k, columns): weight (o, k), bias (o, 1); sparse forms where they pay."""

    weight: Tensor
    bias: Tensor
    sparse: tuple[Tensor, Tensor, Tensor] | None = None

    @staticmethod
    def of(weight: Tensor, bias: Tensor) -> Affine:
        """The map of a dense matrix (o, k) and a constant (o,)."""
        sparse = None
        if weight.numel() > _SMALL and int((weight != 0).sum()) < _SPARSE * weight.numel():
            parts = (weight, weight.abs(), weight.T.contiguous())
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse CSR")  # torch says that they are young
                sparse = (parts[0].to_sparse_csr(), parts[1].to_sparse_csr(), parts[2].to_sparse_csr())
        return Affine(weight, bias.unsqueeze(1), sparse)

    def linear(self, x: Tensor) -> Tensor:
        """W x for x (k, ...)."""
        flat = x.flatten(1)
        product: Tensor = self.weight @ flat if self.sparse is None else self.sparse[0] @ flat
        return product.reshape(product.shape[0], *x.shape[1:])

    def spread(self, radius: Tensor) -> Tensor:
        """|W| r for r (k, n)."""
        return self.weight.abs() @ radius if self.sparse is None else self.sparse[1] @ radius

    def image(self, middle: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Bounds (o, n) of y where |x - middle| <= radius, (k, n) each."""
        centre, spread = self.linear(middle) + self.bias, self.spread(radius)
        return centre - spread, centre + spread

    def pulled(self, a: Tensor) -> Tensor:
        """W^T a for a (o, ...)."""
        flat = a.flatten(1)
        product: Tensor = self.weight.T @ flat if self.sparse is None else self.sparse[2] @ flat
        return product.reshape(product.shape[0], *a.shape[1:])


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """y = A_L relu(... relu(A_1 x)): maps A_i in float64, and casts of them."""

    maps: tuple[Affine, ...]
    casts: dict[torch.dtype, tuple[Affine, ...]] = field(default_factory=dict)

    def of_dtype(self, dtype: torch.dtype) -> tuple[Affine, ...]:
        """The maps in a dtype."""
        if dtype not in self.casts:
            self.casts[dtype] = tuple(
                Affine.of(m.weight.to(dtype), m.bias.squeeze(1).to(dtype)) for m in self.maps
            )
        return self.casts[dtype]

    def planes(self, graph: Graph, query: Query, axes: Tensor, symbols: int) -> Planes:
        """Functions above the atoms of `query` by the coordinates `axes` (n, d).

        symbols: how many relaxation errors of a part are followed, the largest of the first layers.
        """
        box = input_interval(graph, query.inputs)
        low, high = box.lower.flatten(1), box.upper.flatten(1)
        maps = self.of_dtype(low.dtype)
        layers, spoilt = _forward(maps, low, high, symbols)
        C, d = query.C.to(low), query.d.to(low.device)
        a, constant = _backward(maps, layers, C.permute(2, 1, 0).contiguous())
        slopes, constant = a.permute(2, 1, 0).to(torch.float64), constant.T
        middle, radius = (0.5 * (low + high)).to(torch.float64), (0.5 * (high - low)).to(torch.float64)
        top = constant.to(torch.float64) + d + (slopes @ middle.unsqueeze(2)).squeeze(2)
        top = top + (slopes.abs() @ radius.unsqueeze(2)).squeeze(2) + spoilt.to(torch.float64).unsqueeze(1)
        slack = 1e-5 if low.dtype == torch.float32 else 1e-11
        return Planes(slopes.gather(2, axes.unsqueeze(1).expand(-1, slopes.shape[1], -1)), top, slack)


Layer = tuple[Tensor, Tensor, Tensor]
"""What a backward pass needs of a ReLU layer: chord slope, its offset and the lower slope, (k, n) each."""


def _forward(maps: tuple[Affine, ...], low: Tensor, high: Tensor, symbols: int) -> tuple[list[Layer], Tensor]:
    """The ReLU layers over boxes low, high (n, k); and zero (n,), NaN where a bound is no number."""
    middle = 0.5 * low + 0.5 * high
    radius = torch.maximum(high - middle, middle - low)
    live = (radius > 0).any(0).nonzero().squeeze(1)
    first = maps[0]
    centre = torch.addmm(first.bias, first.weight, middle.T)
    terms = first.weight[:, live].unsqueeze(2) * radius[:, live].T
    rest: Tensor | None = None
    steps: tuple[Tensor, Tensor] | None = None  # bounds by intervals from the layer before
    layers, spoilt, left = [], low.new_zeros(low.shape[0]), symbols
    for following in maps[1:]:
        size = terms.abs().sum(1)
        size = size if rest is None else size + rest
        lower, upper = centre - size, centre + size
        if steps is not None:
            lower, upper = torch.maximum(lower, steps[0]), torch.minimum(upper, steps[1])
        spoilt = spoilt + (0 * lower).sum(0) + (0 * upper).sum(0)
        below, above = lower.clamp(max=0), upper.clamp(min=0)
        chord = above / (above - below).clamp(min=torch.finfo(low.dtype).tiny)
        offset = -below * chord
        layers.append((chord, offset, (chord > 0.5).to(low.dtype)))
        floor = lower.clamp(min=0)
        steps = following.image(0.5 * (floor + above), 0.5 * (above - floor).clamp(min=0))
        error, slope = 0.5 * offset, chord
        centre = torch.addcmul(error, centre, chord)
        if rest is not None:  # a remainder as wide as the function's range: the range instead
            loose = error + rest * chord >= 0.5 * (above - floor)
            centre = torch.where(loose, 0.5 * (above + floor), centre)
            slope = torch.where(loose, 0.0, chord)
            error = torch.where(loose, 0.5 * (above - floor), error)
        named = None
        if left > 0:
            named, error = _named(error, min(left, int((error > 0).sum(0).max())))
            left -= named[0].shape[0]
        centre = following.linear(centre) + following.bias
        terms = following.linear(terms.mul_(slope.unsqueeze(1)))
        if named is not None and named[0].shape[0]:
            place, value = named  # (u, n)
            fresh = following.weight[:, place.flatten()].unflatten(1, place.shape) * value
            terms = torch.cat((terms, fresh), 1)
        rest = _rest(following, rest, slope, error)
    return layers, spoilt


def _named(error: Tensor, count: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Places and sizes (u, n) of every part's largest errors of (k, n), and the errors that are left."""
    found = error.topk(min(count, error.shape[0]), dim=0, sorted=False)
    return (found.indices, found.values), error.scatter(0, found.indices, 0.0)


def _rest(following: Affine, rest: Tensor | None, chord: Tensor, error: Tensor) -> Tensor | None:
    """Remainders (o, n) of the next layer, from those of this one and its errors without a symbol."""
    if rest is None and not bool((error != 0).any()):  # NaN counts
        return None
    return following.spread(error if rest is None else torch.addcmul(error, rest, chord))


def _backward(maps: tuple[Affine, ...], layers: list[Layer], a: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients (k, m, n) of the input and constants (m, n) of functions above the rows a (o, m, n)."""
    constant = a.new_zeros(a.shape[1:])
    for i in range(len(maps) - 1, -1, -1):
        constant = constant + (a * maps[i].bias.unsqueeze(2)).sum(0)
        a = maps[i].pulled(a)
        if i > 0:
            chord, offset, lower = (part.unsqueeze(1) for part in layers[i - 1])
            up = a.clamp(min=0)
            constant = constant + (up * offset).sum(0)
            a = up * chord + (a - up) * lower
    return a, constant


def chain_of(graph: Graph) -> Chain | None:
    """The network as a chain; None where it is none, or too large for matrices."""
    graph = graph.to(torch.float64)
    heads: list[Node] = [graph.input]
    segments: list[list[Node]] = [[]]
    source: dict[Node, int] = {graph.input: 0}
    for node in graph.nodes[1:]:
        sources = {source[p] for p in node.inputs}
        if sources != {len(heads) - 1}:
            return None
        if node.op is torch.ops.aten.relu.default:
            heads.append(node)
            segments.append([])
            source[node] = len(heads) - 1
        elif find_rule(node).affine:
            segments[-1].append(node)
            source[node] = len(heads) - 1
        else:
            return None
    ends = [head.inputs[0] for head in heads[1:]] + [graph.output]
    if any(
        end is not head and end not in segment
        for end, head, segment in zip(ends, heads, segments, strict=True)
    ):
        return None
    maps = []
    for head, segment, end in zip(heads, segments, ends, strict=True):
        widest = max(node.numel for node in (head, *segment))
        if head.numel * widest > _MOST_ENTRIES:
            return None
        maps.append(_map_of(head, segment, end))
    return Chain(tuple(maps))


def _map_of(head: Node, segment: list[Node], end: Node) -> Affine:
    """The affine map from one node to another through the nodes between, by its values at basis vectors."""
    k = head.numel
    points = torch.cat((torch.zeros(1, k), _LARGE * torch.eye(k))).to(torch.float64)
    values = {head: points.reshape(k + 1, *head.shape)}
    for node in segment:
        values[node] = node.run(*(values[p] for p in node.inputs))
    found = values[end].reshape(k + 1, -1)
    return Affine.of(((found[1:] - found[0]) / _LARGE).T.contiguous(), found[0])
