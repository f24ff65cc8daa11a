"""Operators on tensors whose batch axis is not in front: which operator on the samples does the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import GraphError

from .batch_axis import Layout, Moved
from .builder import Build, mapped
from .complex_numbers import Complex
from .graph import Computed, Node, concatenate
from .rules.stack import stacked
from .spellings import functional

__all__ = ["Operands", "moved_call"]

aten = torch.ops.aten


@dataclass(frozen=True, slots=True, eq=False)
class Operands:
    """An operator of the program and its arguments; `before` as in the layout of its moved operands."""

    build: Build
    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    before: int = 1

    @property
    def depend(self) -> bool:
        """Whether any argument depends on the network's input."""
        return any(isinstance(v, (Node, Moved, Complex)) for v in _leaves((self.args, self.kwargs)))

    @property
    def is_complex(self) -> bool:
        """Whether some operand is complex."""
        return any(isinstance(v, Complex) for v in _leaves((self.args, self.kwargs)))

    @property
    def moved(self) -> bool:
        """Whether some operand's batch axis is not in front."""
        return any(isinstance(v, Moved) for v in _leaves((self.args, self.kwargs)))

    def refusal(self) -> GraphError:
        """The error for an operator that cannot work where the batch axis is."""
        return GraphError(
            f"{self.target} works along the batch axis, or on a batch axis that is not in front",
            where=f"node {self.build.name}",
            cure="keep axis 0 for samples and never mix samples in forward",
        )


def moved_call(operands: Operands, rank: int) -> tuple[Any, int]:
    """The result on samples, and how many entries of its batch axis's axis go before the batch axis.

    rank: of the result. The result is a node, a tuple of nodes, or, for an operator with several results that
    has no expansion, the `Operands` on samples. GraphError: the operator works along the batch axis, or is
    not known.
    """
    target = functional(operands.target)
    operands = replace(operands, target=target)
    layouts = [_layout(v) for v in _leaves((operands.args, operands.kwargs)) if isinstance(v, (Node, Moved))]
    before = layouts[0].before
    if target in _RECURRENT:
        return _recurrent(operands), 1
    if target in _ALONG:
        on_samples = _along(operands, layouts[0])
    elif target in _LAST_AXES:
        on_samples = _on_last_axes(operands, layouts[0], _LAST_AXES[target](operands))
    elif target in _CORES:
        on_samples = _aligned(operands, rank, core=_CORES[target])
    elif torch.Tag.pointwise in target.tags:
        on_samples = _aligned(operands, rank, core=0)
    elif target in (aten.expand.default, aten.expand_as.default):
        on_samples = _expanded(operands, layouts[0])
    else:
        raise operands.refusal()
    build = operands.build
    if any(r.type.kind() == "ListType" for r in target._schema.returns) or len(target._schema.returns) > 1:
        results = build.expand(on_samples.target, on_samples.args, on_samples.kwargs)
        return replace(on_samples, before=before) if results is None else results, before
    return build.call(on_samples.target, *on_samples.args, **on_samples.kwargs), before


#: Operators along one axis or several: the position and the name of that argument, and its default.
_ALONG: dict[Callable[..., Any], tuple[int, str, Any]] = {
    aten.softmax.int: (1, "dim", None),
    aten.log_softmax.int: (1, "dim", None),
    aten.logsumexp.default: (1, "dim", None),
    aten.sum.dim_IntList: (1, "dim", None),
    aten.mean.dim: (1, "dim", None),
    aten.amax.default: (1, "dim", None),
    aten.amin.default: (1, "dim", None),
    aten.prod.dim_int: (1, "dim", None),
    aten.linalg_vector_norm.default: (2, "dim", None),
    aten.var.dim: (1, "dim", None),
    aten.var.correction: (1, "dim", None),
    aten.std.dim: (1, "dim", None),
    aten.std.correction: (1, "dim", None),
    aten.select.int: (1, "dim", None),
    aten.slice.Tensor: (1, "dim", 0),
    aten.index_select.default: (1, "dim", None),
    aten.flip.default: (1, "dims", None),
    aten.cumsum.default: (1, "dim", None),
    aten.cumprod.default: (1, "dim", None),
    aten.cummax.default: (1, "dim", None),
    aten.cummin.default: (1, "dim", None),
    aten.glu.default: (1, "dim", -1),
    aten.max.dim: (1, "dim", None),
    aten.min.dim: (1, "dim", None),
    aten.topk.default: (2, "dim", -1),
    aten.sort.default: (1, "dim", -1),
    aten.cat.default: (1, "dim", 0),
    aten.stack.default: (1, "dim", 0),
}
#: Operators on the last axes: how many.
_LAST_AXES: dict[Callable[..., Any], Callable[[Operands], int]] = {
    aten.linear.default: lambda o: 1,
    aten.layer_norm.default: lambda o: len(o.args[1]),
    aten.rms_norm.default: lambda o: len(o.args[1]),
}
#: Operators on the last axes of several tensors, whose other axes broadcast: how many.
_CORES: dict[Callable[..., Any], int] = {
    aten.matmul.default: 2,
    aten.bmm.default: 2,
    aten.baddbmm.default: 2,
    aten.mm.default: 2,
    aten.scaled_dot_product_attention.default: 2,
}
#: Their counterparts that take any number of axes.
_ANY_RANK = {aten.bmm.default: aten.matmul.default, aten.mm.default: aten.matmul.default}
_RECURRENT = (aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input)


def _layout(value: Node | Moved) -> Layout:
    return value.layout if isinstance(value, Moved) else Layout.plain(value.shape)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for v in value:
            yield from _leaves(v)
    elif isinstance(value, dict):
        yield from _leaves(tuple(value.values()))
    else:
        yield value


def _along(operands: Operands, layout: Layout) -> Operands:
    """The operator along the same axes of the samples."""
    position, name, default = _ALONG[operands.target]
    joins = operands.target in (aten.cat.default, aten.stack.default)
    given = operands
    if joins:
        given = _aligned(operands, len(layout.shape), core=0, equal=True)
    args, kwargs = list(given.args), dict(given.kwargs)
    asked = args[position] if len(args) > position else kwargs.get(name, default)
    if asked is None:  # all axes
        raise operands.refusal()
    new = operands.target is aten.stack.default
    places = [layout.place(a, new=new) for a in (asked if isinstance(asked, (list, tuple)) else [asked])]
    if None in places:
        raise operands.refusal()
    found: Any = places if isinstance(asked, (list, tuple)) else places[0]
    if len(args) > position:
        args[position] = found
    else:
        kwargs[name] = found
    if not joins:
        args[0] = args[0].node
    target = operands.target
    if joins and not all(isinstance(v, Node) for v in args[0]):
        target = stacked if new else concatenate
    if any(isinstance(v, Moved) for v in _leaves((args, kwargs))):
        raise operands.refusal()
    return replace(given, target=target, args=tuple(args), kwargs=kwargs)


def _on_last_axes(operands: Operands, layout: Layout, count: int) -> Operands:
    """The operator on the last axes of the first operand, among which the batch axis is not."""
    if layout.from_right <= count or any(isinstance(v, (Node, Moved)) for v in _leaves(operands.args[1:])):
        raise operands.refusal()
    first = operands.args[0]
    return replace(operands, args=(first.node, *operands.args[1:]))


def _aligned(operands: Operands, rank: int, *, core: int, equal: bool = False) -> Operands:
    """Operands that broadcast over the samples as they did with the batch axis where it was.

    core: the last axes that do not broadcast. equal: no axis broadcasts.
    """
    build = operands.build
    leaves = list(_leaves((operands.args, operands.kwargs)))
    layouts = [_layout(v) for v in leaves if isinstance(v, (Node, Moved))]
    place, before, after = layouts[0].from_right, layouts[0].before, layouts[0].after
    if place <= core or any((o.from_right, o.before, o.after) != (place, before, after) for o in layouts):
        raise operands.refusal()
    ahead = rank - place  # axes in front of the batch axis

    def convert(value: Any) -> Any:
        if isinstance(value, (Node, Moved)):
            layout = _layout(value)
            inner = value.node if isinstance(value, Moved) else value
            ones = [1] * (ahead - layout.axis)
            return build.call(aten.reshape.default, inner, [-1, *ones, *inner.shape]) if ones else inner
        if not isinstance(value, (Tensor, Computed)):
            return value
        shape = build.shape(value)
        axis = len(shape) - place
        if axis < 0:
            return value
        if shape[axis] not in (1, before * after):
            raise operands.refusal()
        parts = [p if shape[axis] > 1 else 1 for p in (before, after) if p > 1]
        return build.call(
            aten.reshape.default, value, [1] * equal + [*shape[:axis], *parts, *shape[axis + 1 :]]
        )

    target = _ANY_RANK.get(operands.target, operands.target)
    return replace(
        operands,
        target=target,
        args=mapped(operands.args, convert),
        kwargs=mapped(operands.kwargs, convert),
    )


def _expanded(operands: Operands, layout: Layout) -> Operands:
    """Axes of length one repeated, none of them new or the batch axis."""
    wanted = operands.args[1]
    sizes = wanted.layout.shape if isinstance(wanted, Moved) else wanted
    if not isinstance(sizes, (list, tuple)) or len(sizes) != len(layout.shape):
        raise operands.refusal()
    new = Layout(
        tuple(
            s if i == layout.axis or n == -1 else n
            for i, (s, n) in enumerate(zip(layout.shape, sizes, strict=True))
        ),
        layout.axis,
        layout.before,
        layout.after,
    )
    return replace(
        operands, target=aten.expand.default, args=(operands.args[0].node, [-1, *new.sample]), kwargs={}
    )


def _recurrent(operands: Operands) -> Any:
    """A recurrent network on (time, batch, features), or with initial states (layers, batch, features)."""
    x, hx, *rest = operands.args
    *rest, batch_first = rest
    layout = _layout(x) if isinstance(x, (Node, Moved)) else None
    if layout is not None and (layout.axis != (0 if batch_first else 1) or layout.merged):
        raise operands.refusal()
    states = [h for h in (hx if isinstance(hx, (list, tuple)) else [hx]) if isinstance(h, (Node, Moved))]
    if any(_layout(h).axis != 1 or _layout(h).merged for h in states):
        raise operands.refusal()
    args = mapped((x, hx), lambda v: v.node if isinstance(v, Moved) else v)
    return operands.build.expand(operands.target, (*args, *rest, True), operands.kwargs)
