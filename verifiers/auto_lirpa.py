"""auto-LiRPA (Xu et al. 2020, arXiv 2002.12920) behind the Verifier protocol: a second, independent engine.

Used as an alternative backend and as the oracle that our own IBP and CROWN are compared with.
auto-LiRPA traces the network itself, so `query.network` must be an nn.Module in eval mode; the graph
is only read for its shapes. The package is imported on first use and never needed otherwise.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_local.errors import (
    GraphError,
    NonFiniteError,
    RobustBenchError,
    UnknownNameError,
    UnsupportedOpError,
)
from robustbench_local.specs import Ball, Box, InputSet, Intersection, Query

from .auto_lirpa_shims import INSTALL, auto_lirpa_version, running_auto_lirpa
from .graph import Graph
from .verifier import DEFAULT_BUDGET, Bounds, Budget, check_fit, verifier

__all__ = ["AutoLirpa"]

_METHODS = {"ibp": "IBP", "crown-ibp": "CROWN-IBP", "crown": "CROWN", "alpha-crown": "CROWN-Optimized"}
_OPTIMISED = frozenset({"alpha-crown"})  # need gradients inside, whatever the caller's mode

# auto-LiRPA's own two forms of convolution coefficients: small windows, and, where an operator
# cannot take them (an addition before the first convolution, say), dense matrices.
_CONV_MODES = ("patches", "matrix")

# Operators through which auto-LiRPA carries an l1 or l2 ball to the first linear layer.
_CARRIERS = frozenset({"BoundFlatten", "BoundReshape"})
_FIRST = frozenset({"BoundLinear", "BoundConv"})

# Operators whose linear bounds are false in version 0.3 (the tangent of sqrt has the slope -1/2 x^(-3/2)
# instead of 1/2 x^(-1/2)): sampled values lie outside. Intervals are right.
_FALSE_LINES = frozenset({"BoundSqrt"})


@verifier("auto-lirpa")
@dataclass(frozen=True, slots=True)
class AutoLirpa:
    """Bounds by auto-LiRPA. `method` is ibp, crown-ibp, crown or alpha-crown; `samples` go in one call.

    In the registry: "auto-lirpa" (crown), "auto-lirpa-ibp", "auto-lirpa-crown-ibp", "auto-lirpa-alpha".

    Input sets: a box or linf ball as it is; l1 and l2 balls by dual norm; a ball cut by a box as the
    better of its two parts; any other set by its box. auto-LiRPA forgets the radius of an l1 or l2 ball
    where anything but a linear or convolution layer reads the input (a normalisation, a skip
    connection) and would return bounds that are false: that raises UnsupportedOpError here.
    Its alpha-CROWN gives no gradient to the weights.
    """

    method: str = "crown"
    samples: int = 128
    name: str = "auto-lirpa"

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise UnknownNameError.of("auto-LiRPA method", self.method, _METHODS)

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds of the query's atoms; +inf in the samples that the time did not suffice for.

        Raises MissingPackageError without auto-LiRPA, GraphError for a network that is no nn.Module in
        eval mode, NonFiniteError for a weight that is NaN or infinite, UnsupportedOpError where auto-LiRPA
        fails on the network or the kind of set.
        """
        check_fit(graph, query)
        network = _module(query.network, graph)
        deadline, complete = budget.deadline(), True
        parts: list[Tensor] = []
        with running_auto_lirpa(graph.dtype) as package:
            run = _Run(package, network, graph.dtype, self.method)
            for start in range(0, query.batch, self.samples):
                index = torch.arange(start, min(start + self.samples, query.batch), device=query.C.device)
                part = query.select(index)
                if time.monotonic() < deadline:
                    parts.append(run.rows(part))
                else:
                    parts.append(torch.full_like(part.d, math.inf, dtype=graph.dtype))
                    complete = False
        rows = torch.cat(parts)
        return Bounds(rows, query.combine(rows), complete)

    def applies(self, graph: Graph, query: Query | None) -> str | None:
        """Why the method does not apply, found by bounding the query's first problem; None where it does.

        Without a query only that the package is there.
        """
        if query is None:
            return None if auto_lirpa_version() else f"auto-LiRPA is not installed; run: {INSTALL}"
        tried = "crown" if self.method in _OPTIMISED else self.method
        try:
            with torch.no_grad():
                replace(self, method=tried).bound(graph, query.select(torch.tensor([0])))
        except RobustBenchError as error:
            return str(error)
        return None


verifier("auto-lirpa-alpha")(AutoLirpa("alpha-crown", name="auto-lirpa-alpha"))
verifier("auto-lirpa-crown-ibp")(AutoLirpa("crown-ibp", name="auto-lirpa-crown-ibp"))
verifier("auto-lirpa-ibp")(AutoLirpa("ibp", name="auto-lirpa-ibp"))


@dataclass(frozen=True, slots=True)
class _Run:
    """One method of the imported package on one network."""

    package: ModuleType
    network: nn.Module
    dtype: torch.dtype
    method: str

    def rows(self, query: Query) -> Tensor:
        """Upper bounds (B, m) of the atoms: minus the lower bounds of their negatives."""
        if self.method not in _OPTIMISED:
            lower = self.lower(query.inputs, -query.C.to(self.dtype))
        else:
            with torch.inference_mode(False), torch.enable_grad():
                C = -query.C.to(self.dtype, copy=True)
                # a copy, since backward passes would leave gradients in the weights
                frozen = replace(self, network=copy.deepcopy(self.network).requires_grad_(False))
                lower = frozen.lower(query.inputs, C).detach()
        return query.d.to(lower) - lower

    def lower(self, inputs: InputSet, C: Tensor) -> Tensor:
        """Lower bounds (B, m) of `C @ network(x)` over the set, which may be cut in simpler ones."""
        if isinstance(inputs, Intersection):
            return torch.maximum(self.lower(inputs.ball, C), self.lower(inputs.box(), C))
        if isinstance(inputs, Ball) and inputs.p != math.inf:
            lower = C.new_empty(C.shape[:2])
            for index in _equal_radii(inputs):
                lower = lower.index_put((index,), self.simple(_ball(inputs.select(index), self), C[index]))
            return lower
        return self.simple(_box(inputs.box(), self), C)

    def simple(self, bounded_input: Any, C: Tensor) -> Tensor:
        """Lower bounds over one set that auto-LiRPA knows, in the first of its modes that works."""
        failure: Exception | None = None
        for mode in _CONV_MODES:
            try:
                with _kept_flags(self.network):
                    return self.attempt(bounded_input, C, mode)
            except (UnsupportedOpError, GraphError):
                raise
            except Exception as error:  # auto-LiRPA fails in every way: asserts, lookups, shapes
                failure = error
        reason = f"{type(failure).__name__} {failure}".rstrip()
        raise UnsupportedOpError(
            f"auto-LiRPA failed on this network by {self.method}: {reason}",
            where=type(self.network).__name__,
            cure="use this package's own 'ibp', 'crown-ibp' or 'crown'",
        ) from failure

    def attempt(self, bounded_input: Any, C: Tensor, mode: str) -> Tensor:
        """Lower bounds by one mode; any of auto-LiRPA's own errors may come out."""
        example = bounded_input.detach().as_subclass(Tensor)
        bounded = _bounded_class(self.package)(self.network, example, bound_opts={"conv_mode": mode})
        if bounded_input.ptb.norm != math.inf:
            _require_linear_first(bounded)
        if self.method != "ibp" and auto_lirpa_version() == "0.3":
            _require_true_lines(bounded)
        method = _METHODS[self.method]
        result: Tensor = bounded.compute_bounds(x=(bounded_input,), C=C, method=method, bound_upper=False)[0]
        return result


def _require_true_lines(bounded: Any) -> None:
    """Raise UnsupportedOpError where an operator's linear bounds are known to be false."""
    found = next((type(n).__name__ for n in bounded.modules() if type(n).__name__ in _FALSE_LINES), None)
    if found is not None:
        raise UnsupportedOpError(
            f"auto-LiRPA's linear bounds of {found.removeprefix('Bound')} are false",
            where="the network's operators",
            cure="use its method 'ibp', or this package's own verifiers",
        )


def _module(network: object, graph: Graph) -> nn.Module:
    """The network as auto-LiRPA needs it: an nn.Module in eval mode with outputs (B, n)."""
    if not isinstance(network, nn.Module):
        raise GraphError(
            "auto-LiRPA traces modules only", where="query.network", cure="wrap the function in an nn.Module"
        )
    if network.training:
        raise GraphError("the network is in training mode", where="query.network", cure="call network.eval()")
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            # its intervals would turn an infinite weight into finite bounds
            raise NonFiniteError("a weight is NaN or infinite", where=name, cure="nothing can be proved")
    # A last Flatten would keep auto-LiRPA from merging C into the last linear layer.
    return network if len(graph.output_shape) == 1 else nn.Sequential(network, nn.Flatten()).eval()


def _bounded_class(package: Any) -> Any:
    """BoundedModule that leaves the weights alone.

    Its construction copies the weights onto themselves, lest a forward pass changed running statistics,
    which none does in eval mode; the copy would invalidate gradients that are still to be computed.
    """
    return type("Bounded", (package.BoundedModule,), {"load_state_dict": _load_nothing})


@contextlib.contextmanager
def _kept_flags(network: nn.Module) -> Iterator[None]:
    """Puts `requires_grad` of every weight back, which auto-LiRPA sets."""
    flags = [(p, p.requires_grad) for p in network.parameters()]
    try:
        yield
    finally:
        for parameter, needed in flags:
            parameter.requires_grad_(needed)


def _load_nothing(self: Any, state: Any, strict: bool = False) -> None:
    return None


def _box(box: Box, run: _Run) -> Any:
    lower, upper = box.cast(run.dtype)
    centre = torch.minimum(torch.maximum((lower + upper) / 2, lower), upper)
    perturbation = run.package.PerturbationLpNorm(norm=math.inf, x_L=lower, x_U=upper)
    return run.package.BoundedTensor(centre, perturbation)


def _ball(ball: Ball, run: _Run) -> Any:
    """A ball of one radius; grown by what its centre moves in the cast, so that it contains the original."""
    centre = ball.center.to(run.dtype)
    moved = torch.linalg.vector_norm((centre.to(ball.center) - ball.center).flatten(1), ord=ball.p, dim=1)
    eps = math.nextafter(float(ball.radius.max()) + float(moved.max()), math.inf)
    return run.package.BoundedTensor(centre, run.package.PerturbationLpNorm(norm=ball.p, eps=eps))


def _equal_radii(ball: Ball) -> Iterator[Tensor]:
    """Indices of the samples that share a radius: auto-LiRPA takes one per call."""
    for radius in sorted(set(ball.radius.tolist())):
        yield torch.nonzero(ball.radius == radius).flatten()


def _require_linear_first(bounded: Any) -> None:
    """Raise UnsupportedOpError unless every reader of the input is a linear or convolution layer."""
    waiting = list(bounded.root_name[:1])
    while waiting:
        for reader in bounded[waiting.pop()].output_name:
            kind = type(bounded[reader]).__name__
            if kind in _CARRIERS:
                waiting.append(reader)
            elif kind not in _FIRST:
                raise UnsupportedOpError(
                    f"auto-LiRPA loses the radius of an l1 or l2 ball in {kind.removeprefix('Bound')}",
                    where="the layer that reads the input",
                    cure="use this package's own verifiers, or a linf ball",
                )
