"""Input sets: one file per kind; all answer `InputSet`, and none knows of specs or networks."""

from .ball import Ball, check_norm
from .box import Box, box_within
from .coupled import Coupled
from .coupled_ball import CoupledBall
from .input_set import InputSet
from .intersection import Intersection
from .meeting import meet
from .polytope import Polytope
from .product import Product, merge_points, split_points
from .rounding import enclose_sum

__all__ = [
    "Ball",
    "Box",
    "Coupled",
    "CoupledBall",
    "InputSet",
    "Intersection",
    "Polytope",
    "Product",
    "box_within",
    "check_norm",
    "enclose_sum",
    "meet",
    "merge_points",
    "split_points",
]
