"""Row 10.02: principal component analysis, whose axes must be orthogonal and must not enlarge noise.

K. Pearson, "On lines and planes of closest fit to systems of points in space", 1901; H. Hotelling, "Analysis
of a complex of statistical variables into principal components", 1933.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustbench_local.specs import Data, Net, Query, Var, ball, box, forall, library

from ..card import ModelCard
from ..registry import model
from ..row import Claim, Fit, Gate, Row, RowCard, Tools, add_row
from .flat import DATA, ETHICS, PIXELS, flat, principal_axes, some

__all__ = ["Principal", "pca"]

AXES = 8
IMAGES = 30  # of the claims about images


class Principal(nn.Module):
    """Images (B, 64) -> their projection on the plane of 8 axes, (B, 64); encoder and decoder are affine."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(PIXELS, AXES)
        self.decoder = nn.Linear(AXES, PIXELS)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction (B, 64)."""
        back: Tensor = self.decoder(self.encoder(x))
        return back

    def set_axes(self, mean: Tensor, axes: Tensor, scales: Tensor | None = None) -> Principal:
        """Codes are (x - mean) axes / scales; axes (64, 8) as columns, scales (8,), 1 if None."""
        scale = torch.ones(AXES, dtype=torch.float64) if scales is None else scales
        with torch.no_grad():
            self.encoder.weight.copy_((axes / scale).T)
            self.encoder.bias.copy_(-(mean @ axes) / scale)
            self.decoder.weight.copy_(axes * scale)
            self.decoder.bias.copy_(mean)
        return self


def varimax(axes: Tensor, steps: int = 500) -> Tensor:
    """`axes` (D, K) turned within their plane so that the squares of their entries vary most.

    H. F. Kaiser, "The varimax criterion for analytic rotation in factor analysis", 1958, by a fixed point of
    singular vectors; columns stay orthonormal and span the same plane.
    """
    turn = torch.eye(axes.shape[1], dtype=axes.dtype)
    for _ in range(steps):
        turned = axes @ turn
        gradient = axes.T @ (turned**3 - turned * (turned**2).mean(0))
        left, _, right = torch.linalg.svd(gradient)
        turn = left @ right
    return axes @ turn


def _explained(network: nn.Module) -> float:
    images, _ = flat()
    with torch.inference_mode():
        left = (network(images) - images).square().sum()
    return float(1 - left / (images - images.mean(0)).square().sum())


def _parts(network: nn.Module) -> dict[str, nn.Module]:
    return {"f": network.get_submodule("encoder"), "g": network.get_submodule("decoder")}


def _train_axes() -> tuple[Tensor, Tensor, Tensor]:
    return principal_axes(flat("train")[0])


def _least() -> Principal:
    mean, axes, _ = _train_axes()
    return Principal().set_axes(mean, axes[:, -AXES:])


def _whitened() -> Principal:
    mean, axes, variances = _train_axes()
    return Principal().set_axes(mean, axes[:, :AXES], variances[:AXES].sqrt())


def _orthogonal(delta: float) -> Claim:
    def query(network: nn.Module) -> Query:
        z, f, g = Var("z", AXES), Net("f", PIXELS, AXES), Net("g", AXES, PIXELS)
        return forall(z, box(-4, 4), abs(f(g(z)) - z) <= delta).query(_parts(network))

    return Claim(
        name="orthogonal",
        says=f"Every code with entries in [-4, 4], decoded and encoded, comes back to within {delta:g}: the "
        "axes are orthonormal.",
        query=query,
        control=Principal,
        control_is="encoder and decoder with their first weights, which have nothing to do with each other",
        methods=("pgd", "ibp", "crown"),
    )


def _reconstructs(eps: float, delta: float) -> Claim:
    def query(network: nn.Module) -> Query:
        spec = library.inverse((PIXELS,), (AXES,), bounds=(0.0, 1.0))
        return spec.query(_parts(network), x0=some(IMAGES)[0], eps=eps, delta=delta)

    return Claim(
        name=f"rebuilds-{eps:g}",
        says=f"Within {eps:g} of {IMAGES} test images, no pixel of the reconstruction is off by more than "
        f"{delta:g}.",
        query=query,
        control=_least,
        control_is="the eight axes of least variance, which keep nothing of a digit",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _noise(eps: float, delta: float) -> Claim:
    def query(network: nn.Module) -> Query:
        x0, f = Data("x0", PIXELS), Net("f", PIXELS, AXES)
        x = Var("x", like=x0)
        spec = forall(x, ball(x0, eps), abs(f(x) - f(x0)) <= delta)
        return spec.query({"f": network.get_submodule("encoder")}, x0=some(1)[0])

    return Claim(
        name=f"noise-{eps:g}",
        says=f"Pixel noise of {eps:g} moves no entry of the code by more than {delta:g}, from whatever "
        f"image.",
        query=query,
        control=_whitened,
        control_is="whitened components, each divided by its standard deviation: small ones enlarge noise",
        methods=("clause-pgd", "ibp", "crown"),
    )


def _fit(turned: bool) -> Fit:
    """The principal axes in closed form; `turned` by varimax, which leaves every reconstruction as it is."""

    def fit(network: nn.Module, tools: Tools, generator: torch.Generator) -> None:
        assert isinstance(network, Principal)
        mean, axes, _ = _train_axes()
        kept = axes[:, :AXES]
        network.set_axes(mean, varimax(kept) if turned else kept)

    return fit


@model(
    ModelCard(
        name="pca",
        family="classical",
        summary="Eight principal components of 8x8 digits: encode, decode, and what noise does to the code.",
        paper="On lines and planes of closest fit to systems of points in space (Pearson, 1901)",
        source="Philosophical Magazine 2(11); H. Hotelling, Journal of Educational Psychology 24, 1933",
        input_shape=(PIXELS,),
        outputs=PIXELS,
        task="reconstruction",
        dataset="digits",
        parameters=1_096,
        weights=("nominal", "spec"),
        recipes=("pca-nominal", "pca-spec"),
        faithful="The eigenvectors of the covariance with the largest eigenvalues, in closed form.",
        deviates="Axes are stored twice, in encoder and decoder, so that their orthogonality is a property "
        "to "
        "check. `spec` turns the axes by varimax within their plane: same reconstruction, sparser axes, less "
        "gain of noise; its codes are correlated.",
        intended_use="Properties of an affine model, where bounds are exact: every claim is decided.",
        limits="Eight axes keep two thirds of the variance. A linear code knows nothing of digits.",
        licence="Apache-2.0",
    )
)
def pca() -> nn.Module:
    """The untrained model."""
    return Principal()


add_row(
    Row(
        card=RowCard(
            id="10.02",
            section="Episode 10, unsupervised learning: dimensions that explain most of the variance, "
            "orthogonality",
            shows="The oldest representation comes with promises that can be stated: orthogonal axes, a "
            "bounded "
            "error, a bounded gain of noise. All are affine, so a verifier must decide every one.",
            data=DATA,
            ethics=ETHICS,
            parts=(
                "encoder: image (64) -> code (8)",
                "decoder: code (8) -> image (64)",
                "decoder, then encoder: code (8) -> code (8)",
                "encoder, then decoder: image (64) -> image (64)",
            ),
            benefit="A referee for verifiers: exact answers by hand, at real sizes.",
            risk="Directions of large variance may be taken for directions that matter.",
            mitigation="The gate and the claims speak of reconstruction and noise only, never of meaning.",
            red_line="No decision about a person from a projection that was fitted to other people.",
            balance="It compresses pictures of digits; misuse would gain nothing.",
            affected="The writers gave their digits for research; a mean and eight axes show none of them.",
            regret="That the claims, trivially decided here, are quoted for encoders that are not linear.",
        ),
        model="pca",
        gate=Gate("share of the test variance explained", _explained, 0.65, least=True),
        fits={"nominal": _fit(turned=False), "spec": _fit(turned=True)},
        claims=(_orthogonal(1e-4), _reconstructs(0.02, 0.5), _noise(0.02, 0.105)),
    )
)
