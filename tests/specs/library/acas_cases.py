"""Worked examples: the ten properties of ACAS Xu, on networks whose advice is plain to see."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import acas_xu
from torch import Tensor

from .worked import Worked, linear


def _advises(advisory: int, strength: float = 1.0) -> torch.nn.Module:
    """A network whose lowest score is that of one advisory, wherever the intruder is."""
    return linear([[0.0] * 5] * 5, [-strength if k == advisory else 0.0 for k in range(5)])


def _scores(network: torch.nn.Module, x: Tensor) -> Tensor:
    means, ranges = (torch.tensor(row, dtype=torch.float64) for row in (_MEANS, _RANGES))
    return network((x - means) / ranges) * 373.94992 + 7.518884


_MEANS = [19791.091, 0.0, 0.0, 650.0, 600.0]
_RANGES = [60261.0, 6.28318530718, 6.28318530718, 1100.0, 1200.0]
_WANTED = {5: (4,), 6: (0,), 8: (0, 1), 9: (3,), 10: (0,)}
_AVOIDED = {3: (0,), 4: (0,), 7: (3, 4)}
# the score of clear falls with the distance: at most 1500 where the intruder is far
NEARER = linear([[-10, 0, 0, 0, 0], *[[0.0] * 5] * 4], [10, 0, 0, 0, 0])

CASES = [
    Worked(
        "acas_xu",
        acas_xu(1),
        {"f": NEARER},
        {},
        lambda v: _scores(NEARER, v.x)[:, 0] <= 1500,
        "V",
        worst=((10 - 10 * (55947.691 - 19791.091) / 60261) * 373.94992 + 7.518884 - 1500,),
        tags="-1",
    ),
    Worked(
        "acas_xu",
        acas_xu(2),
        {"f": _advises(0)},
        {},
        lambda v: v.x[:, 0] > 0,
        "H",
        worst=(-373.94992,),
        tags="-2",
    ),
]
for number, right in {**_WANTED, **_AVOIDED}.items():
    wanted = number in _WANTED
    for advisory in (right[-1], 2):
        CASES.append(
            Worked(
                "acas_xu",
                acas_xu(number),
                {"f": _advises(advisory)},
                {},
                lambda v, holds=(advisory != 2) == wanted: (v.x[:, 0] >= 0) == holds,
                "H" if (advisory != 2) == wanted else "V",
                tags=f"-{number}",
            )
        )
