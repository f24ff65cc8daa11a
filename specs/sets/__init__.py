"""Input sets: one file per kind; all answer `InputSet`, and none knows of specs or networks."""

from .ball import Ball
from .box import Box, box_within
from .choice import Choice
from .common_points import Meet
from .concatenation import Concatenation, concatenate
from .coupled import Coupled
from .coupled_ball import CoupledBall
from .groups import axis_groups
from .input_set import Divisible, InputSet
from .intersection import Intersection
from .levels import Levels
from .meeting import meet
from .patch import Patch
from .polytope import Polytope
from .product import Product, merge_points, split_points
from .rounding import enclose_sum
from .segment import Segment
from .sparse_ball import SparseBall
from .token_set import TokenSet
from .tokens import embedded_tokens, one_hot_tokens
from .union import Union
from .weighted_ball import WeightedBall, ball_around

__all__ = [
    "Ball",
    "Box",
    "Choice",
    "Concatenation",
    "Coupled",
    "CoupledBall",
    "Divisible",
    "InputSet",
    "Intersection",
    "Levels",
    "Meet",
    "Patch",
    "Polytope",
    "Product",
    "Segment",
    "SparseBall",
    "TokenSet",
    "Union",
    "WeightedBall",
    "axis_groups",
    "ball_around",
    "box_within",
    "concatenate",
    "embedded_tokens",
    "enclose_sum",
    "meet",
    "merge_points",
    "one_hot_tokens",
    "split_points",
]
