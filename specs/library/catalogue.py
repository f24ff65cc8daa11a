"""The kinds of properties that people verify, by number; those without a function say why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A kind of property; `reason` says why no ready property states it, and is empty where one does."""

    number: int
    title: str
    reason: str = ""


_TITLES = (
    "linf robustness",
    "l2 and l1 robustness",
    "l0 robustness, k pixels",
    "adversarial patch",
    "targeted robustness",
    "top-k robustness",
    "output range, reachability",
    "regression within a margin",
    "conditional safety",
    "linear coupling of input and output",
    "polynomial conditions on input and output",
    "error bound of a learned index",
    "physical feasibility",
    "global robustness with confidence",
    "Lipschitz, global",
    "Lipschitz, local",
    "monotone, by pairs",
    "monotone, by gradient",
    "individual fairness",
    "counterfactual fairness",
    "rotation, translation, scaling, shear",
    "brightness, contrast, gamma, hue, saturation",
    "blur and bias field",
    "equivariance",
    "synonym substitution",
    "edit distance",
    "uncertainty far from the data",
    "certified uncertainty around points far from the data",
    "conservation of energy",
    "semantic distance of labels",
    "sum of digits",
    "equivalence of two networks",
    "same decision wherever one is confident",
    "output range of a generator",
    "attribute along a line of latents",
    "reconstruction by a VAE",
    "meaning of a box of latents",
    "disentanglement",
    "inverse of a flow or autoencoder",
    "property of typical inputs",
    "overlap of a detected box",
    "stable segmentation",
    "Lyapunov decrease",
    "safe policy",
    "bounded temporal logic in closed loop",
    "robustness of sequences",
    "perturbed weights",
    "probabilistic robustness",
    "stochastic networks",
    "calibration",
    "mass of attention",
    "coverage of modes",
    "neuro-symbolic conditions",
    "irrelevant features",
    "bias of a language model",
    "limit of a density",
    "places in a ranking",
    "sensitivity to an input",
)

_REASONS = {
    26: "insertions and deletions change the input's length; a network of fixed shape has no such set",
    47: "weights belong to networks, which are bound to a property and not quantified",
    48: "not about the worst point but about a distribution: `chance`, or `Smoothing` under Gaussian noise",
    49: "the network's own noise is no input; as an input of it, `chance` bounds the probability",
    50: "about a whole data set: `rate` counts the samples for which a property holds",
}

CATALOGUE: tuple[Entry, ...] = tuple(
    Entry(number, title, _REASONS.get(number, "")) for number, title in enumerate(_TITLES, 1)
)
"""Every kind, in order of number, from 1."""
