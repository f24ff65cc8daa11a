"""The mathematics of the classical rows, against closed forms and torch's own distributions."""

from __future__ import annotations

import itertools
import math

import torch
from robustbench_local.models.classical.belief import Machine
from robustbench_local.models.classical.divergences import Densities, Mass, target
from robustbench_local.models.classical.flat import flat, principal_axes
from robustbench_local.models.classical.flow import Flow, LogDensity, crescents
from robustbench_local.models.classical.ica import Separation, Turned, amari_error
from robustbench_local.models.classical.kmeans import Clusters, lloyd
from robustbench_local.models.classical.mixture import Mixture, em_step, log_joint, sample, true_mixture
from robustbench_local.models.classical.outliers import auroc
from robustbench_local.models.classical.pca import Principal, varimax
from robustbench_local.models.classical.ppca import LinearGaussian

from robustbench_local.models import load_model

RANDOM = torch.Generator().manual_seed(0)


def test_principal_axes_are_orthonormal_and_sorted() -> None:
    mean, axes, variances = principal_axes(flat("train")[0])
    assert torch.allclose(axes.T @ axes, torch.eye(64, dtype=torch.float64), atol=1e-12)
    assert bool((variances.diff() <= 0).all())
    away = flat("train")[0].double() - mean
    assert torch.allclose((away @ axes).square().mean(0), variances, atol=1e-12)


def test_varimax_stays_in_the_plane_and_raises_its_criterion() -> None:
    axes = principal_axes(flat("train")[0])[1][:, :8]
    turned = varimax(axes)
    assert torch.allclose(turned @ turned.T, axes @ axes.T, atol=1e-12)
    criterion = [(a**2).var(0, correction=0).sum() for a in (axes, turned)]
    assert criterion[1] > 1.1 * criterion[0]
    angle = torch.tensor(0.05).double()
    turn = torch.eye(8).double()
    turn[:2, :2] = torch.stack(
        (torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos())))
    )
    assert ((turned @ turn) ** 2).var(0, correction=0).sum() < criterion[1]


def test_reconstruction_is_the_nearest_point_of_the_plane() -> None:
    images = flat()[0][:50]
    network = load_model("pca")
    assert isinstance(network, Principal)
    with torch.no_grad():
        back = network(images)
        rest = network.encoder(images) - network.encoder(back)  # what is left over has no code
    assert rest.abs().max() < 1e-5


def test_lloyd_never_raises_the_squared_error() -> None:
    points = torch.rand(200, 3, generator=RANDOM)
    centres = points[:5]
    error = math.inf
    for _ in range(10):
        found = float(torch.cdist(points, centres).amin(1).square().sum())
        assert found <= error + 1e-5
        error, centres = found, lloyd(points, centres, rounds=1)
    far = torch.cat((points[:4], torch.full((1, 3), 9.0)))
    assert torch.equal(lloyd(points, far)[4], far[4])


def test_scores_of_clusters_are_differences_of_squared_distances() -> None:
    network, images = load_model("kmeans"), flat()[0][:20]
    assert isinstance(network, Clusters)
    with torch.no_grad():
        distances = torch.cdist(images.double(), network.centres.double()).square()
        expected = images.double().square().sum(1, keepdim=True) - distances
        assert torch.allclose(network(images).double(), expected, atol=1e-4)


def test_em_raises_the_likelihood_and_stays_near_the_truth() -> None:
    points, parameters = sample(4000, 5), true_mixture()
    before = log_joint(points, parameters).logsumexp(1).mean()
    step = em_step(points, parameters)
    assert log_joint(points, step).logsumexp(1).mean() > before
    for new, old in zip(step, parameters, strict=True):
        assert (new - old).abs().max() < 0.1
    wider = em_step(points, parameters, prior=1e6)[2]
    assert torch.allclose(wider, torch.cov(points.T).expand(3, 2, 2), atol=0.02)


def test_a_mixture_gives_its_joint_densities() -> None:
    points = sample(50, 3)
    with torch.no_grad():
        found = Mixture().set_to(true_mixture())(points.float()).double()
    assert torch.allclose(found, log_joint(points, true_mixture()), atol=1e-4)


def test_the_linear_gaussian_density_and_posterior_are_exact() -> None:
    generator = torch.Generator().manual_seed(1)
    axes = torch.linalg.qr(torch.randn(64, 8, generator=generator).double())[0]
    variances, noise, mean = (
        torch.linspace(2, 0.5, 8).double(),
        0.1,
        torch.rand(64, generator=generator).double(),
    )
    network = LinearGaussian().set_to(mean, axes, variances, noise)
    weight = axes * (variances - noise).sqrt()
    covariance = weight @ weight.T + noise * torch.eye(64).double()
    x = torch.rand(5, 64, generator=generator).double()
    with torch.no_grad():
        density = network(x.float())[:, 0].double()
        latent = network.posterior(x.float()).double()
    expected = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
    assert torch.allclose(density, expected, atol=1e-2)
    gain = weight.T @ torch.linalg.inv(covariance)  # the conditional mean of jointly normal z and x
    assert torch.allclose(latent, (x - mean) @ gain.T, atol=1e-5)


def test_normals_and_mass_on_a_line() -> None:
    network = Densities().set_normals(torch.tensor([0.3, -1.0]), torch.tensor([0.5, -0.2]))
    x = torch.linspace(-2, 2, 9).unsqueeze(1)
    normal = torch.distributions.Normal(torch.tensor([0.3, -1.0]), torch.tensor([0.5, -0.2]).exp())
    with torch.no_grad():
        assert torch.allclose(network(x)[:, :2], normal.log_prob(x), atol=1e-5)
        zero = torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(zero.weight)
        torch.nn.init.constant_(zero.bias, -math.log(12.0))
        assert torch.allclose(Mass(zero)(torch.tensor([[0.0], [0.7]])), torch.ones(2, 1), atol=1e-5)
    fine = torch.linspace(-6, 6, 2001)
    assert abs(float(target(fine).exp().sum()) * 12 / 2000 - 1) < 1e-4


def test_a_flow_inverts_and_its_determinant_is_the_jacobians() -> None:
    network = load_model("flow").double()
    assert isinstance(network, Flow)
    points = crescents(20, 7).double()
    with torch.no_grad():
        found = network(points)
        assert torch.allclose(network.inverse(found[:, :2]), points, atol=1e-9)
        density = LogDensity(network)(points)[:, 0]
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(lambda x: network(x[None])[0, :2], one) for one in points]
    )
    logs = torch.linalg.slogdet(jacobians)[1]
    assert torch.allclose(logs, found[:, 2], atol=1e-9)
    normal = torch.distributions.Normal(torch.zeros(1).double(), torch.ones(1).double())
    assert torch.allclose(density, normal.log_prob(found[:, :2]).sum(1) + logs, atol=1e-9)


def test_the_amari_error_knows_permutations_with_scales() -> None:
    assert amari_error(torch.tensor([[0.0, -3.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 2.0]])) == 0
    assert amari_error(torch.ones(3, 3)) == 1
    assert 0 < amari_error(torch.eye(3) + 0.1) < 0.2


def test_voices_turned_by_nothing_keep_their_likelihood() -> None:
    network, voices = Separation(), torch.randn(40, 3, generator=RANDOM)
    with torch.no_grad():
        logs = network.log_prior(voices)
        found = Turned(network, voices)(torch.tensor([[0.0], [math.pi / 2]]))
    assert torch.allclose(logs.exp(), 1 / (math.pi * voices.cosh()), atol=1e-6)
    assert torch.allclose(found, logs[:, :2].mean(0).sum().expand(2, 1), atol=1e-5)  # even in each voice


def test_auroc_counts_pairs() -> None:
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0])) == 1
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0, -1.0])) == (1 + 0.5) / 4


def test_the_free_energy_sums_over_all_hidden_states() -> None:
    machine, v = Machine(4, 3), torch.rand(6, 4, generator=RANDOM)
    hidden = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    with torch.no_grad():
        energies = -(machine.up(v) @ hidden.T) - machine.field(v)  # of each state, with its own biases
        assert torch.allclose(machine(v)[:, 0], -torch.logsumexp(-energies, 1), atol=1e-5)


def test_contrastive_divergence_prefers_what_it_is_shown() -> None:
    generator = torch.Generator().manual_seed(0)
    shown = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).repeat(32, 1)
    machine = Machine(4, 3)
    for _ in range(200):
        machine.contrast(shown, 0.1, generator)
    with torch.no_grad():
        assert machine(shown[:1]) < machine(1 - shown[:1]) - 1
