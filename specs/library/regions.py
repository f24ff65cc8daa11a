"""Where the inputs of ready properties range: balls around a point, cut by the range of valid inputs."""

from __future__ import annotations

from ..expressions import Domain, Term, ball, box

__all__ = ["around"]


def around(centre: Term, radius: Term, p: float, bounds: tuple[float, float] | None) -> Domain:
    """|x - centre|_p <= radius and bounds[0] <= x <= bounds[1]; None leaves the ball uncut."""
    region = ball(centre, radius, p=p)
    return region if bounds is None else region & box(*bounds)
