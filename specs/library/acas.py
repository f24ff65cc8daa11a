"""The ten properties of ACAS Xu, collision avoidance by networks of five inputs and five advisories."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from robustbench_local.errors import SpecError

from ..expressions import Domain, Formula, Net, Term, Var, argmax, box
from ..spec import Spec, forall
from .registry import spec

__all__ = ["acas_xu"]

_NAMES = ("rho", "theta", "psi", "v_own", "v_int")
_UNITS = ("ft", "rad", "rad", "ft/s", "ft/s")
_MEANS = [19791.091, 0.0, 0.0, 650.0, 600.0]
_RANGES = [60261.0, 6.28318530718, 6.28318530718, 1100.0, 1200.0]
_TURN = 3.141592

_Span = tuple[float, float]


class _Encounter(NamedTuple):
    """Where the intruder may be, and what must be advised."""

    rho: _Span
    theta: _Span | tuple[_Span, _Span]
    psi: _Span
    own: _Span
    other: _Span
    claim: Callable[[Term], Formula]

    def region(self) -> Domain:
        """The box, or both boxes of two spans of theta."""
        spans = self.theta if isinstance(self.theta[0], tuple) else (self.theta,)
        boxes = [
            box(*map(list, zip(self.rho, theta, self.psi, self.own, self.other, strict=True)))
            for theta in spans
            if isinstance(theta, tuple)
        ]
        return boxes[0] if len(boxes) == 1 else boxes[0] | boxes[1]


def _best(scores: Term, advisory: int) -> Formula:
    """The advisory has the lowest score."""
    return argmax(-scores) == advisory


def _never(scores: Term, advisory: int) -> Formula:
    return argmax(-scores) != advisory


_CLEAR, _WEAK_LEFT, _STRONG_LEFT, _STRONG_RIGHT = 0, 1, 3, 4
_EVERYWHERE, _HEAD_ON = (-math.pi, math.pi), (-0.06, 0.06)
_FAR = ((55947.691, 60760.0), _EVERYWHERE, _EVERYWHERE, (1145.0, 1200.0), (0.0, 60.0))
_AHEAD = ((1500.0, 1800.0), _HEAD_ON)

_ENCOUNTERS: Mapping[int, _Encounter] = {
    1: _Encounter(*_FAR, lambda y: y[_CLEAR] <= 1500),
    2: _Encounter(*_FAR, lambda y: argmax(y) != _CLEAR),
    3: _Encounter(*_AHEAD, (3.1, math.pi), (980.0, 1200.0), (960.0, 1200.0), lambda y: _never(y, _CLEAR)),
    4: _Encounter(*_AHEAD, (0.0, 0.0), (1000.0, 1200.0), (700.0, 800.0), lambda y: _never(y, _CLEAR)),
    5: _Encounter(
        (250.0, 400.0),
        (0.2, 0.4),
        (-_TURN, 0.005 - _TURN),
        (100.0, 400.0),
        (0.0, 400.0),
        lambda y: _best(y, _STRONG_RIGHT),
    ),
    6: _Encounter(
        (12000.0, 62000.0),
        ((0.7, _TURN), (-_TURN, -0.7)),
        (-_TURN, 0.005 - _TURN),
        (100.0, 1200.0),
        (0.0, 1200.0),
        lambda y: _best(y, _CLEAR),
    ),
    7: _Encounter(
        (0.0, 60760.0),
        (-_TURN, _TURN),
        (-_TURN, _TURN),
        (100.0, 1200.0),
        (0.0, 1200.0),
        lambda y: _never(y, _STRONG_LEFT) & _never(y, _STRONG_RIGHT),
    ),
    8: _Encounter(
        (0.0, 60760.0),
        (-_TURN, -0.75 * _TURN),
        (-0.1, 0.1),
        (600.0, 1200.0),
        (600.0, 1200.0),
        lambda y: _best(y, _WEAK_LEFT) | _best(y, _CLEAR),
    ),
    9: _Encounter(
        (2000.0, 7000.0),
        (-0.4, -0.14),
        (-_TURN, 0.01 - _TURN),
        (100.0, 150.0),
        (0.0, 150.0),
        lambda y: _best(y, _STRONG_LEFT),
    ),
    10: _Encounter(
        (36000.0, 60760.0),
        (0.7, _TURN),
        (-_TURN, 0.01 - _TURN),
        (900.0, 1200.0),
        (600.0, 1200.0),
        lambda y: _best(y, _CLEAR),
    ),
}


@spec("acas_xu", numbers=(9,), form="L", suits="the 45 networks of ACAS Xu")
def acas_xu(number: int) -> Spec:
    """forall encounters x in the region of property `number`, 1 to 10: what that property says of the advice.

    x = (rho, theta, psi, v_own, v_int) in feet, radians and feet per second; the network f takes it less the
    means and over the ranges of the training data, and its five outputs are scores over 373.94992, less
    7.518884: clear of conflict, weak left, weak right, strong left, strong right; the lowest is advised. 1:
    the score of clear is at most 1500; 2: it is not the largest; 3, 4, 7: clear, or strong turns, are not
    advised; 5, 6, 8, 9, 10: strong right, clear, weak left or clear, strong left, clear are. Bind nothing.
    Violation: the score above 1500, or by how far an advisory is not, or is, the lowest, in units of scores;
    closed atoms but in 1. Source: G. Katz et al., Reluplex, CAV 2017, arXiv 1702.01135, appendix VI; numbers
    of the scaling as in the files of VNN-COMP.
    """
    if number not in _ENCOUNTERS:
        raise SpecError(f"ACAS Xu has no property {number!r}", cure="give a number from 1 to 10")
    encounter = _ENCOUNTERS[number]
    x, f = Var("x", 5, names=_NAMES, units=_UNITS), Net("f", 5, 5)
    scores = f((x - _MEANS) / _RANGES) * 373.94992 + 7.518884
    return forall(x, encounter.region(), encounter.claim(scores))
