"""Forward linear bounds: every node an affine form of the input, propagated like intervals.

Each nonlinearity is enclosed by two parallel lines or planes and the gap between them becomes a symbol of
its own while there is room (zonotopes, Singh et al. 2018, "Fast and effective robustness certification",
NeurIPS; forward mode and its hybrid with a backward pass, Xu et al. 2020, arXiv 2002.12920). One pass with
as many coefficients per neuron as there are symbols: good for networks with few inputs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.specs import InputSet, Query

from .crown import crown_bounds
from .dot_products import dot_form, dot_numbers, narrower
from .forms import (
    Form,
    Symbols,
    affine_image,
    bilinear_image,
    constant_where,
    linear_image,
    strip_image,
)
from .graph import Graph, Node
from .ibp import cast_up, input_interval, specification_rows
from .interval import Interval
from .rule import Elementwise, Rule, find_rule
from .verifier import DEFAULT_BUDGET, Bounds, Budget, prepared, verifier

__all__ = ["Forward", "ForwardBackward", "ForwardCROWN", "ForwardPlanes", "forward_bounds", "forward_planes"]

aten = torch.ops.aten

_BILINEAR = (aten.mul.Tensor, aten.matmul.default, aten.bmm.default, aten.mm.default)
_MOST_PLANES = 2**20  # coefficients of one node's planes, per sample; beyond, intervals
_SYMBOLS = 512


@verifier("forward")
@dataclass(frozen=True, slots=True)
class Forward:
    """Forward linear bounds for all nodes and the specification.

    symbols: how many relaxation errors of a sample are followed, >= 0; 0 is the least memory and the
    loosest. Never looser than IBP.
    """

    symbols: int = _SYMBOLS
    name: str = "forward"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by one forward pass; out of time, the remaining nodes get interval bounds."""
        return _bound(graph, query, budget, self.symbols, backward=False)


@verifier("forward-backward")
@dataclass(frozen=True, slots=True)
class ForwardBackward:
    """Forward linear bounds for the hidden neurons, then one backward pass for the specification.

    As CROWN-IBP with tighter bounds of the hidden neurons; each row the better of both passes, so never
    looser than `Forward`.
    """

    symbols: int = _SYMBOLS
    name: str = "forward-backward"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by a forward and a backward pass; out of time, as `Forward`."""
        return _bound(graph, query, budget, self.symbols, backward=True)


@verifier("forward-crown")
@dataclass(frozen=True, slots=True)
class ForwardCROWN:
    """Forward linear bounds first, then CROWN on what they leave open, each neuron with the better of both.

    For networks with few inputs mostly tighter than CROWN by itself: not always, since tighter bounds of a
    hidden neuron may change the slope that CROWN chooses for it.
    """

    symbols: int = _SYMBOLS
    name: str = "forward-crown"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by one forward pass and CROWN's backward passes; out of time, by what is there."""
        graph, query = prepared(graph, query)
        deadline = budget.deadline()
        known, first = forward_bounds(graph, query.inputs, budget, symbols=self.symbols)
        left = replace(budget, seconds=max(0.0, deadline - time.monotonic()))
        boxes, second = crown_bounds(graph, query.inputs, left, known=known)
        rows = [specification_rows(graph, query, boxes, to_input=last) for last in (True, False)]
        joint = torch.minimum(*rows)
        return Bounds(joint, query.combine(joint), first and second)


def forward_bounds(
    graph: Graph, inputs: InputSet, budget: Budget = DEFAULT_BUDGET, *, symbols: int = _SYMBOLS
) -> tuple[dict[Node, Interval], bool]:
    """Bounds of every node of a resolved graph, never looser than intervals; and whether time sufficed.

    Samples go in parts that fit the memory budget.
    """
    deadline = budget.deadline()
    found = []
    for index in _parts(graph, inputs, budget, symbols):
        found.append(_propagate(graph, _selected(inputs, index), deadline, symbols))
    return _joined([run.boxes for run in found], graph), all(run.complete for run in found)


@dataclass(frozen=True, slots=True, eq=False)
class ForwardPlanes:
    """Bounds of every node, and linear functions of the input above the atoms by the output's form.

    slopes (B, m, numel of the input), top (B, m) their largest values on the input sets; NaN and infinite
    where time ran out.
    """

    boxes: dict[Node, Interval]
    slopes: Tensor
    top: Tensor


def forward_planes(
    graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET, *, symbols: int = _SYMBOLS
) -> ForwardPlanes:
    """As `forward_bounds`, with what the output's form says of the query's atoms."""
    deadline = budget.deadline()
    found: list[ForwardPlanes] = []
    for index in _parts(graph, query.inputs, budget, symbols):
        part = query if index.shape[0] == query.batch else query.select(index)
        run = _propagate(graph, part.inputs, deadline, symbols)
        top = query.d.new_full((part.batch, query.C.shape[1]), torch.inf).to(graph.like)
        slopes = top.new_full((*top.shape, graph.input.numel), torch.nan)
        if run.output is not None:
            top = _form_rows(part, run.symbols, run.output, graph)
            slopes = _form_slopes(part, run.symbols, run.output, graph)
        found.append(ForwardPlanes(run.boxes, slopes, top))
    return ForwardPlanes(
        _joined([one.boxes for one in found], graph),
        torch.cat([one.slopes for one in found]),
        torch.cat([one.top for one in found]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What one propagation found: boxes of all nodes, and the output's form (None: out of time)."""

    boxes: dict[Node, Interval]
    symbols: Symbols
    output: Form | None

    @property
    def complete(self) -> bool:
        return self.output is not None


def _bound(graph: Graph, query: Query, budget: Budget, symbols: int, *, backward: bool) -> Bounds:
    graph, query = prepared(graph, query)
    deadline, complete = budget.deadline(), True
    rows: list[Tensor] = []
    for index in _parts(graph, query.inputs, budget, symbols):
        part = query if index.shape[0] == query.batch else query.select(index)
        run = _propagate(graph, part.inputs, deadline, symbols)
        found = specification_rows(graph, part, run.boxes, to_input=False)
        if run.output is not None:
            found = torch.minimum(found, _form_rows(part, run.symbols, run.output, graph))
        else:
            complete = False
        if backward:
            if time.monotonic() <= deadline:
                found = torch.minimum(found, specification_rows(graph, part, run.boxes, to_input=True))
            else:
                complete = False
        rows.append(found)
    joint = torch.cat(rows)
    return Bounds(joint, query.combine(joint), complete)


def _form_rows(query: Query, symbols: Symbols, form: Form, graph: Graph) -> Tensor:
    """Upper bounds (B, m) of the atoms from the output's form."""
    like = form.rest.lower
    C, _ = query.rows(like.dtype, like.device)
    d = cast_up(query.d.to(like.device), like.dtype)
    rows = C.unflatten(2, graph.output_shape) if graph.output_shape else C.squeeze(2)
    rest = -form.rest.minimum(-rows)
    if form.terms is None:
        return d + rest
    flat = form.terms.flatten(2) if form.terms.dim() > 2 else form.terms.unsqueeze(2)
    return d + rest + symbols.spread(flat @ C.transpose(1, 2)).upper


def _form_slopes(query: Query, symbols: Symbols, form: Form, graph: Graph) -> Tensor:
    """Slopes (B, m, numel of the input) of the atoms by the output's form."""
    like = form.rest.lower
    C, _ = query.rows(like.dtype, like.device)
    slopes = like.new_zeros(query.batch, C.shape[1], graph.input.numel)
    if form.terms is None:
        return slopes
    terms = form.terms[:, : symbols.live.shape[0]]
    flat = terms.flatten(2) if terms.dim() > 2 else terms.unsqueeze(2)
    slopes[:, :, symbols.live] = (flat @ C.transpose(1, 2)).transpose(1, 2).expand(query.batch, -1, -1)
    return slopes


def _joined(boxes: Sequence[Mapping[Node, Interval]], graph: Graph) -> dict[Node, Interval]:
    return {
        node: Interval(
            torch.cat([part[node].lower for part in boxes]), torch.cat([part[node].upper for part in boxes])
        )
        for node in graph.nodes
    }


def _propagate(graph: Graph, inputs: InputSet, deadline: float, limit: int) -> _Run:
    """Forms from node to node; each is dropped after its last reader."""
    boxes: dict[Node, Interval] = {graph.input: input_interval(graph, inputs)}
    symbols = Symbols(inputs, boxes[graph.input], limit)
    forms: dict[Node, Form] = {graph.input: symbols.start()}
    sums: dict[Node, Form] = {}  # of products that were read already
    for node in graph.nodes[1:]:
        rule = find_rule(node)
        box = rule.interval(node, *(boxes[p] for p in node.inputs))
        if forms and time.monotonic() > deadline:
            forms = {}
        if forms:
            form = _image(rule, node, [forms[p] for p in node.inputs], boxes, box)
            if node in sums:
                form = narrower(sums.pop(node), form)
            dot = dot_form(graph, symbols, node, forms)
            if dot is not None:
                sums[dot[0]] = dot[1]
            forms[node] = form if rule.affine or dot is not None else symbols.named(form)
            box = _ordered(symbols.concrete(forms[node]).intersect(box))
            for parent in set(node.inputs):
                if graph.consumers[parent][-1] is node and parent is not graph.output:
                    del forms[parent]
        boxes[node] = box
    return _Run(boxes, symbols, forms.get(graph.output))


def _image(
    rule: Rule, node: Node, forms: Sequence[Form], boxes: Mapping[Node, Interval], box: Interval
) -> Form:
    """The form of a node from those of its inputs; `box` is its interval bound."""
    if rule.affine:
        return affine_image(rule, node, forms)
    own = [boxes[p] for p in node.inputs]
    if isinstance(rule, Elementwise):
        strip = rule.parallel(node, own[0])
        form = strip_image(forms[0], strip.slope, strip.low, strip.high)
    elif node.op in _BILINEAR and len(node.inputs) == 2:
        form = bilinear_image(node, forms, own)
    elif (given := rule.image(node, forms, boxes)) is not None:
        form = given
    elif node.numel * sum(p.numel for p in node.inputs) <= _MOST_PLANES:
        form = _between_planes(rule, node, forms, boxes)
    else:
        form = Form(None, box)
    form = constant_where(form, box)
    # an infinite bound makes NaN here, as relaxations may be anything then
    spoilt = sum((0 * bound.reshape(bound.shape[0], -1)).sum(1) for b in own for bound in (b.lower, b.upper))
    spoilt = torch.as_tensor(spoilt).reshape(-1, *(1 for _ in node.shape))
    return Form(form.terms, Interval(form.rest.lower + spoilt, form.rest.upper + spoilt))


def _between_planes(rule: Rule, node: Node, forms: Sequence[Form], boxes: Mapping[Node, Interval]) -> Form:
    """The form between two parallel planes per coordinate, midway between the rule's two of any slopes."""
    like, size = boxes[node.inputs[0]].lower, node.numel
    rows = torch.eye(size, dtype=like.dtype, device=like.device).reshape(1, size, *node.shape)
    rows = rows.expand(like.shape[0], *rows.shape[1:])
    below, above = rule.backward(node, rows, boxes), rule.backward(node, -rows, boxes)
    zero = like.new_zeros(like.shape[0], size)
    low = zero if below.offset is None else zero + below.offset
    high = zero if above.offset is None else zero - above.offset
    planes = []
    for parent, under, over in zip(node.inputs, below.coefficients, above.coefficients, strict=True):
        plane = (under - over) / 2
        low = low + boxes[parent].minimum(under - plane)
        high = high - boxes[parent].minimum(over + plane)
        planes.append(plane)
    return linear_image(forms, planes, low, high, node.shape)


def _ordered(box: Interval) -> Interval:
    """Ends in order: two bounds of one number may cross by rounding; NaN stays."""
    return Interval(torch.minimum(box.lower, box.upper), torch.maximum(box.lower, box.upper))


def _selected(inputs: InputSet, index: Tensor) -> InputSet:
    return inputs if index.shape[0] == inputs.batch else inputs.select(index)


def _parts(graph: Graph, inputs: InputSet, budget: Budget, symbols: int) -> Iterator[Tensor]:
    """Sample indices (b,), all samples in order, in parts whose forms fit the memory budget."""
    nonlinear = sum(n.numel for n in graph.nodes[1:] if not find_rule(n).affine)
    count = graph.input.numel + min(symbols, nonlinear)
    widest = max(n.numel for n in graph.nodes)
    sample = (6 * count * widest + 3 * dot_numbers(graph, count)) * graph.like.element_size()
    at_once = max(1, budget.memory(graph.device) // sample)
    yield from torch.arange(inputs.batch, device=graph.device).split(at_once)
