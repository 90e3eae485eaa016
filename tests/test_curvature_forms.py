"""The forms of an objective's curvature against dense Gauss-Newton matrices and explicit Jacobians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from expunge.errors import InputError
from expunge.learners.sgd import Sgd
from expunge.maths import derivatives
from expunge.maths.curvature import Dense, Diagonal, MatrixFree
from expunge.maths.curvature_noise import NoiseLaw
from expunge.maths.kronecker import Kronecker
from expunge.models import Mlp, SmallConvNet
from expunge.noise import NoiseKey
from expunge.objective import LinearObjective, ModuleObjective, Objective
from expunge.objective.curvature import curvature, layer_factors, shaped_noise
from expunge.objective.layer_traces import last_and_thin, layer_positions
from expunge.rows import Rows

SECRET = NoiseKey(b"s" * 32, 1)
EYE = 1e-3


class Normed(nn.Module):
    """A layer that no factor is known for."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.first, self.norm, self.last = nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(torch.tanh(self.norm(self.first(x))))
        return out


class Twice(nn.Module):
    """One layer used twice."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(torch.tanh(self.inner(x)))
        return out


def clouds(n: int = 40, p: int = 4, classes: int = 3) -> Rows:
    generator = np.random.default_rng(2)
    y = np.arange(n) % classes
    return Rows.of(generator.normal(size=(n, p)) + np.eye(classes, p)[y], y, classes=classes)


def images(n: int = 6) -> Rows:
    generator = np.random.default_rng(3)
    return Rows.of(generator.normal(size=(n, 4, 4)), np.arange(n) % 3, classes=3)


def objective_of(module: nn.Module, loss: str = "cross_entropy", seed: int = 1) -> tuple[ModuleObjective, Tensor]:
    objective = ModuleObjective(module.double(), loss, EYE)
    return objective, objective.start(seed) + 0.1 * torch.linspace(-1, 1, objective.dimension, dtype=torch.float64)


def network(rows: Rows, model: Mlp | SmallConvNet) -> tuple[ModuleObjective, Tensor]:
    learner = Sgd(model, precision="float64", l2=EYE)
    training = learner.start(rows.schema, 3, ("test",))
    return learner.objective(training), learner.flat(training)


def matrix(form: str, objective: Objective, w: Tensor, rows: Rows, damping: float = 0.0) -> Tensor:
    B = curvature(objective, w, rows, form=form, damping=damping, dense_limit=1000)
    return torch.stack([B.power(1.0, e) for e in torch.eye(len(w), dtype=torch.float64)])


def gauss_newton(objective: Objective, w: Tensor, rows: Rows) -> Tensor:
    return derivatives.dense(objective.ggn(w, rows), w)


@pytest.mark.parametrize("loss", ["cross_entropy", "multilabel_logistic", "squared", "huber"])
def test_exact_and_diagonal_are_the_gauss_newton_matrix_and_its_diagonal(loss: str) -> None:
    rows = clouds()
    if loss != "cross_entropy":
        rows = Rows.of(rows.columns, np.eye(3)[rows.y] * 1.0, classes=0)
    objective, w = objective_of(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)), loss)
    G = gauss_newton(objective, w, rows)
    assert torch.allclose(matrix("exact", objective, w, rows, 0.1), G + 0.1 * torch.eye(len(w)), atol=1e-12)
    assert torch.allclose(matrix("diagonal", objective, w, rows), torch.diag(G.diagonal()), atol=1e-12)


def test_the_diagonal_of_convolutions_and_of_other_layers() -> None:
    for module, rows in ((Normed(), clouds()), (Twice(), clouds(classes=4))):
        objective, w = objective_of(module)
        diagonal = gauss_newton(objective, w, rows).diagonal()
        assert torch.allclose(matrix("diagonal", objective, w, rows).diagonal(), diagonal, atol=1e-12)
    rows = images()
    objective, w = network(rows, SmallConvNet((2,)))
    diagonal = gauss_newton(objective, w, rows).diagonal()
    assert torch.allclose(matrix("diagonal", objective, w, rows).diagonal(), diagonal, atol=1e-12)


def test_every_form_of_a_linear_model() -> None:
    rows = clouds()
    objective = LinearObjective("cross_entropy", EYE, 4, 3)
    w = torch.linspace(-1, 1, objective.dimension, dtype=torch.float64)
    H = objective.hessian(w, rows)
    assert torch.allclose(matrix("exact", objective, w, rows), H, atol=1e-12)
    assert torch.allclose(matrix("diagonal", objective, w, rows).diagonal(), H.diagonal(), atol=1e-12)
    g = objective.row_gradients(w, rows)
    empirical = g.T @ g / len(rows) + EYE * torch.eye(len(w))
    assert torch.allclose(matrix("empirical", objective, w, rows), empirical, atol=1e-12)
    one = rows.only(["3"])
    assert torch.allclose(matrix("kronecker", objective, w, one), objective.hessian(w, one), atol=1e-12)
    free = curvature(objective, w, rows, form="exact", damping=0.1, dense_limit=1)
    assert isinstance(free, MatrixFree)
    v = torch.ones_like(w)
    assert torch.allclose(free.power(1.0, v), H @ v + 0.1 * v, atol=1e-3)


def blocks(objective: ModuleObjective, w: Tensor, rows: Rows) -> Tensor:
    """The Gauss-Newton matrix with everything between layers set to zero."""
    G, kept = gauss_newton(objective, w, rows), torch.zeros(len(w), len(w), dtype=torch.float64)
    for positions in layer_positions(objective).values():
        flat = positions.reshape(-1)
        kept[flat[:, None], flat[None]] = G[flat[:, None], flat[None]]
    return kept


def test_factors_are_exact_for_one_row() -> None:
    one = clouds().only(["5"])
    objective, w = objective_of(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3, bias=False)))
    assert torch.allclose(matrix("kronecker", objective, w, one), blocks(objective, w, one), atol=1e-12)


def test_factors_are_exact_for_deep_linear_networks_under_squared_loss_on_any_rows() -> None:
    rows = clouds()
    rows = Rows.of(rows.columns, np.eye(3)[rows.y] * 1.0, classes=0)
    objective, w = objective_of(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5), nn.Linear(5, 3)), "squared")
    assert torch.allclose(matrix("kronecker", objective, w, rows), blocks(objective, w, rows), atol=1e-12)


def test_factors_of_a_convolution_over_the_whole_image_are_exact_for_one_row() -> None:
    one = Rows.of({"x": images().columns["x"][:1, None]}, [1], classes=3)
    objective, w = objective_of(nn.Sequential(nn.Conv2d(1, 2, 4), nn.Flatten(), nn.Linear(2, 3)))
    assert torch.allclose(matrix("kronecker", objective, w, one), blocks(objective, w, one), atol=1e-12)


def test_factors_of_a_convolution_against_explicit_jacobians() -> None:
    rows = images(3)
    columns = {"x": rows.columns["x"][:, None]}
    rows = Rows.of(columns, rows.y, classes=3)
    first, rest = nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    objective, w = objective_of(nn.Sequential(first, *rest))
    named = objective.weights(w)
    first.load_state_dict({"weight": named["0.weight"], "bias": named["0.bias"]})
    rest[2].load_state_dict({"weight": named["3.weight"], "bias": named["3.bias"]})
    A, G = torch.zeros(10, 10, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    for image in torch.from_numpy(np.asarray(columns["x"])):
        padded = nn.functional.pad(image, (1, 1, 1, 1))
        for i in (0, 2):
            for j in (0, 2):
                a = torch.cat([padded[:, i : i + 3, j : j + 3].reshape(-1), torch.ones(1, dtype=torch.float64)])
                A += torch.outer(a, a) / 3
        out = first(image[None]).detach()
        J = torch.autograd.functional.jacobian(rest, out)[0, :, 0]  # (3, channels, 2, 2)
        p = rest(out).softmax(1)[0].detach()
        C = torch.diag(p) - torch.outer(p, p)
        for i in range(2):
            for j in range(2):
                G += J[:, :, i, j].T @ C @ J[:, :, i, j] / 3 / 4
    found = {layer.positions.shape: layer for layer in layer_factors(objective, w, rows)}[torch.Size([2, 10])]
    assert torch.allclose(found.inputs, A, atol=1e-12)
    assert torch.allclose(found.outputs, G, atol=1e-12)


def test_duplicated_rows_change_no_form() -> None:
    rows = clouds(20)
    twice = Rows.of(
        np.concatenate([rows.columns["x"]] * 2), np.concatenate([rows.y] * 2), ids=[f"r{i}" for i in range(40)]
    )
    objective, w = network(rows, Mlp((3,)))
    for form in ("exact", "empirical", "diagonal", "kronecker"):
        assert torch.allclose(matrix(form, objective, w, rows), matrix(form, objective, w, twice), atol=1e-12), form


def test_only_the_empirical_form_looks_at_labels() -> None:
    rows = clouds()
    other = Rows.of(rows.columns, (rows.y + 1) % 3, classes=3)
    objective, w = network(rows, Mlp((3,)))
    same = {f: torch.equal(matrix(f, objective, w, rows), matrix(f, objective, w, other)) for f in FORMS_OF}
    assert same == {"exact": True, "empirical": False, "diagonal": True, "kronecker": True}


FORMS_OF = ("exact", "empirical", "diagonal", "kronecker")


def test_what_a_form_cannot_do_is_said() -> None:
    rows = clouds()
    for module, message in ((Normed(), "'norm' is a LayerNorm"), (nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)), "'0'")):
        objective, w = objective_of(module)
        with pytest.raises(InputError, match=message):
            matrix("kronecker", objective, w, rows)
    objective, w = objective_of(Twice())
    with pytest.raises(InputError, match="'inner' is used twice"):
        matrix("kronecker", objective, w, clouds(classes=4))
    with pytest.raises(InputError, match="more than dense_limit=3"):
        curvature(objective, w, rows, form="empirical", damping=0.0, dense_limit=3)
    with pytest.raises(InputError, match="no form 'other'"):
        curvature(objective, w, rows, form="other", damping=0.0, dense_limit=3)


def test_each_form_has_its_own_structure() -> None:
    rows = clouds()
    objective, w = network(rows, Mlp((3,)))
    kinds = {form: type(curvature(objective, w, rows, form=form, damping=0.1, dense_limit=99)) for form in FORMS_OF}
    assert kinds == {"exact": Dense, "empirical": Dense, "diagonal": Diagonal, "kronecker": Kronecker}


def test_shaped_noise_has_the_stated_covariance_and_a_grid() -> None:
    B = Diagonal(torch.tensor([1e-4, 1.0, 16.0], dtype=torch.float64).repeat_interleave(20_000))
    w = torch.zeros(60_000, dtype=torch.float64)
    noised = shaped_noise(w, B, NoiseLaw(0.1, -0.25), SECRET)
    spread = noised.view(3, -1).std(1)
    assert spread.tolist() == pytest.approx([1.0, 0.1, 0.05], rel=0.03)
    size = float(noised.square().mean().sqrt())
    grid = 2.0 ** (math.floor(math.log2(size)) - 20)
    assert torch.equal((noised / grid).round() * grid, noised)
    assert not torch.equal(noised, shaped_noise(w, B, NoiseLaw(0.1, -0.25), SECRET, "batch 0"))


def test_the_last_layer_and_vectors_are_found_by_layer() -> None:
    objective, _ = objective_of(Normed())
    last, thin = last_and_thin(objective)
    named = objective.weights(torch.arange(objective.dimension))
    kinds = {name: (bool(last[where].all()), bool(thin[where].all())) for name, where in named.items()}
    assert kinds == {
        "first.weight": (False, False), "first.bias": (False, True), "norm.weight": (False, True),
        "norm.bias": (False, True), "last.weight": (True, False), "last.bias": (True, False),
    }  # fmt: skip
    assert last_and_thin(LinearObjective("squared", EYE, 2, 1))[0].all()
