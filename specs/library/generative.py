"""Generators, autoencoders and flows: meaning of latents, inverses, densities, and which modes exist."""

from __future__ import annotations

import math

from ..expressions import Data, Label, Net, Param, Shape, Var, argmax, ball, between, box, norm, put
from ..spec import Spec, exists, forall
from .regions import around
from .registry import spec

__all__ = [
    "critic_bounds",
    "disentangled",
    "inverse",
    "latent_box",
    "latent_line",
    "log_density",
    "mode_coverage",
    "typical_inputs",
    "vae_reconstruction",
]


@spec("critic_bounds", numbers=(34,), form="L", suits="GANs with a critic")
def critic_bounds(latent: Shape, shape: Shape, outputs: Shape = 1) -> Spec:
    """forall z, |z - z0|_inf <= eps: low <= f(G(z)) <= high, elementwise.

    Networks: the generator G (latent) -> shape, and f (shape) -> outputs, a critic or regressor of what was
    generated. Bind z0 (B, *latent), eps, and low, high, numbers or (B, *outputs). For the range of the pixels
    themselves take `output_bounds` of G. Violation: the largest amount by which f leaves its interval, strict
    atoms. Source: the cgan benchmark of VNN-COMP 2023, C. Brix et al., arXiv 2312.16760.
    """
    z0, low, high = Data("z0", latent), Data("low", outputs), Data("high", outputs)
    z, G, f = Var("z", like=z0), Net("G", latent, shape), Net("f", shape, outputs)
    return forall(z, ball(z0, Param("eps")), between(low, f(G(z)), high))


@spec("latent_line", numbers=(35,), form="L", suits="GANs, VAEs with a classifier")
def latent_line(latent: Shape, shape: Shape, classes: int) -> Spec:
    """forall t, 0 <= t <= 1: argmax f(G(z1 + t (z2 - z1))) = c.

    Networks: the generator or decoder G (latent) -> shape, the classifier f of an attribute. Bind z1, z2 (B,
    *latent) and c. The variable is t, so every witness is a float. Violation: max over j != c of f_j - f_c,
    closed atoms. Source: M. Mirman et al., Robustness certification with generative models, PLDI 2021, arXiv
    2004.14756 (GenProve).
    """
    z1, z2, c, t = Data("z1", latent), Data("z2", latent), Label("c", classes), Var("t")
    G, f = Net("G", latent, shape), Net("f", shape, classes)
    return forall(t, box(0, 1), argmax(f(G(z1 + t * (z2 - z1)))) == c)


@spec("vae_reconstruction", numbers=(36,), form="N", suits="VAEs")
def vae_reconstruction(shape: Shape, latent: int) -> Spec:
    """forall noise e, |e|_inf <= spread: |x0 - dec(mu(x0) + sigma(x0) e)|_2^2 <= tau.

    Networks mu, sigma (shape) -> latent and dec (latent) -> shape. Bind x0 (B, *shape), spread (3 covers each
    coordinate of the noise up to 0.3 %) and tau. Violation: the squared error minus tau, a strict atom.
    Source: S. Dathathri et al., Enabling certification of verification-agnostic networks via memory-efficient
    semidefinite programming, NeurIPS 2020, arXiv 2010.11645.
    """
    x0, e, spread = Data("x0", shape), Var("e", latent), Param("spread")
    mu, sigma, dec = Net("mu", shape, latent), Net("sigma", shape, latent), Net("dec", latent, shape)
    back = dec(mu(x0) + sigma(x0) * e)
    return forall(e, box(-spread, spread), norm(x0 - back, 2) ** 2 <= Param("tau"))


@spec("latent_box", numbers=(37,), form="L", suits="VAEs with a classifier")
def latent_box(shape: Shape, latent: int, classes: int) -> Spec:
    """forall noise e, |e|_inf <= spread: argmax f(dec(mu(x0) + sigma(x0) e)) = c.

    Networks mu, sigma (shape) -> latent, dec (latent) -> shape and the classifier f. Bind x0 (B, *shape),
    spread and c. Violation: max over j != c of f_j - f_c, closed atoms. Source: C. Xu et al., CIVET:
    Certified training of variational autoencoders, arXiv 2504.11831.
    """
    x0, e, c, spread = Data("x0", shape), Var("e", latent), Label("c", classes), Param("spread")
    mu, sigma, dec = Net("mu", shape, latent), Net("sigma", shape, latent), Net("dec", latent, shape)
    f = Net("f", shape, classes)
    return forall(e, box(-spread, spread), argmax(f(dec(mu(x0) + sigma(x0) * e))) == c)


@spec("disentangled", numbers=(38,), form="R", suits="VAEs, GANs")
def disentangled(latent: int, shape: Shape, attributes: int, *, moved: int) -> Spec:
    """forall z, |z - z0|_inf <= eps, and a value v, |v - z0_moved| <= reach: |f(G(z')) - f(G(z))| <= delta.

    z' is z with v in coordinate `moved`: that latent alone does not move the attributes f of what G makes.
    Networks G (latent) -> shape, f (shape) -> attributes. Bind z0 (B, latent), eps, reach and delta, numbers
    or (B, attributes): large for an attribute that may move. Violation: the largest change minus delta,
    strict atoms. Source: I. Higgins et al., Towards a definition of disentangled representations, 2018, arXiv
    1812.02230.
    """
    z0, delta, reach = Data("z0", latent), Data("delta", attributes), Param("reach")
    z, v = Var("z", like=z0), Var("v")
    G, f = Net("G", latent, shape), Net("f", shape, attributes)
    domain = ball(z0, Param("eps"))(z) & ball(z0[moved], reach)(v)
    return forall([z, v], domain, abs(f(G(put(z, moved, v))) - f(G(z))) <= delta)


@spec("inverse", numbers=(39,), form="N", suits="flows, autoencoders")
def inverse(
    shape: Shape, code: Shape, *, p: float = math.inf, bounds: tuple[float, float] | None = None
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: |g(f(x)) - x|_inf <= delta.

    Networks f (shape) -> code and g (code) -> shape: a flow and its inverse, or encoder and decoder. Bind x0
    (B, *shape), eps and delta. Violation: the largest error minus delta, strict atoms. Source: the
    autoencoder of M. Daggitt et al., Vehicle: bridging the embedding gap in the verification of
    neuro-symbolic programs, arXiv 2401.06379.
    """
    x0 = Data("x0", shape)
    x, f, g = Var("x", like=x0), Net("f", shape, code), Net("g", code, shape)
    return forall(x, around(x0, Param("eps"), p, bounds), abs(g(f(x)) - x) <= Param("delta"))


@spec("log_density", numbers=(56,), form="L", suits="flows, mixtures, detectors of outliers")
def log_density(
    shape: Shape,
    *,
    rare: bool = False,
    p: float = math.inf,
    bounds: tuple[float, float] | None = None,
) -> Spec:
    """forall x, |x - x0|_p <= eps, bounds[0] <= x <= bounds[1]: f(x) >= limit; with `rare` f(x) <= limit.

    f gives log p(x) in nats, or a lower bound of it: (shape) -> 1. Around data the density should be high
    everywhere, around what is none it should be low, so that a threshold keeps the ones and flags the
    others. Bind x0 (B, *shape), eps and limit. Violation: limit - f(x), or f(x) - limit, a strict atom.
    Source: E. Nalisnick et al., Do deep generative models know what they don't know?, ICLR 2019, arXiv
    1810.09136, for the threshold; C. Bishop, Novelty detection and neural network validation, 1994.
    """
    x0, limit = Data("x0", shape), Param("limit")
    x, f = Var("x", like=x0), Net("f", shape, 1)
    density = f(x)[0]
    claim = density <= limit if rare else density >= limit
    return forall(x, around(x0, Param("eps"), p, bounds), claim)


@spec("typical_inputs", numbers=(40,), form="L", suits="any classifier, with a flow or generator")
def typical_inputs(latent: Shape, shape: Shape, classes: int) -> Spec:
    """forall z, |z - z0|_2 <= radius: argmax f(G(z)) = c: a claim about typical inputs only.

    G (latent) -> shape maps a standard normal z to inputs: a flow's inverse, whose level sets of density are
    such balls around 0 if it preserves volume. The ball of squared radius r^2 holds the probability that the
    chi-square distribution with dim z degrees of freedom gives to [0, r^2]. f is the classifier. Bind z0 (0
    for the typical inputs, (B, *latent) for their surroundings), radius and c. Violation: max over j != c of
    f_j - f_c, closed atoms. Source: VeriFlow, modeling distributions for neural network verification, arXiv
    2406.14265.
    """
    z0, c = Data("z0", latent), Label("c", classes)
    z, G, f = Var("z", like=z0), Net("G", latent, shape), Net("f", shape, classes)
    return forall(z, ball(z0, Param("radius"), p=2), argmax(f(G(z))) == c)


@spec("mode_coverage", numbers=(52,), form="E", suits="GANs, with a classifier")
def mode_coverage(latent: Shape, shape: Shape, classes: int) -> Spec:
    """exists z, |z - z0|_2 <= radius: argmax f(G(z)) = c: the generator can make class c.

    Networks: the generator G (latent) -> shape, the classifier f. Bind z0, radius and c = arange(classes), so
    that every class is a problem of the batch; missing modes are those that do not hold. Violation: of the
    search for a z, the truth of f_c > f_j for all j, strict atoms: an attack finds the z, a bound below zero
    proves that there is none. Source: T. Che et al., Mode regularized generative adversarial networks, ICLR
    2017, arXiv 1612.02136, for the problem of missing modes.
    """
    z0, c = Data("z0", latent), Label("c", classes)
    z, G, f = Var("z", like=z0), Net("G", latent, shape), Net("f", shape, classes)
    return exists(z, ball(z0, Param("radius"), p=2), argmax(f(G(z))) == c)
