"""The row that left, out of two releases: exact where nothing was added, by hand in one dimension, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from expunge.audits.attacks.reconstruction import cosine, gradient_match, reconstruct, standing
from expunge.errors import InputError
from expunge.objective import LinearObjective
from expunge.objective.minimise import minimise
from expunge.rows import Rows


def clouds(n: int = 300, p: int = 6, classes: int = 3) -> Rows:
    generator = np.random.default_rng(3)
    y = np.arange(n) % classes
    return Rows.of(generator.normal(size=(n, p)) + np.eye(classes, p)[y], y, classes=classes)


def solved(objective: LinearObjective, rows: Rows) -> Tensor:
    return minimise(objective, rows, objective.start(0), tol=1e-11, dense=True).x


def test_ridge_by_hand() -> None:
    """One dimension, no intercept: w = sum xy / (sum x^2 + n l2); the gradient of the row that left is (w x - y) x."""
    x, y, l2 = np.array([1.0, 2.0, -1.5, 4.0]), np.array([1.0, 1.0, -2.0, 3.0]), 0.1
    before = (x @ y) / (x @ x + 4 * l2)
    after = (x[:3] @ y[:3]) / (x[:3] @ x[:3] + 3 * l2)
    objective = LinearObjective("squared", l2, 1, 1, intercept=False)
    retained = Rows.of(x[:3, None], y[:3])
    found = reconstruct(objective, torch.tensor([before]), torch.tensor([after]), retained, retained=3)
    assert float(found.gradient) == pytest.approx((before * x[3] - y[3]) * x[3], rel=1e-12)
    assert found.row is None
    assert found.rank_one == 1


@pytest.mark.parametrize(
    ("loss", "outputs", "classes"), [("cross_entropy", 3, 3), ("logistic", 1, 2), ("squared", 1, 0)]
)
def test_the_row_is_recovered_from_two_minimisers(loss: str, outputs: int, classes: int) -> None:
    rows = clouds(classes=classes or 3)
    if not classes:
        rows = Rows.of(rows.columns["x"], rows.columns["x"] @ np.arange(1.0, 7.0) + 0.5 * rows.y)
    objective = LinearObjective(loss, 1e-3, 6, outputs)
    before = solved(objective, rows)
    for lost in (5, 40, 250):
        retained, gone = rows.without([lost]), rows.only([lost])
        found = reconstruct(objective, before, solved(objective, retained), retained, retained=299)
        assert float(cosine(found.direction, gone)) > 0.999
        assert found.row is not None
        assert np.abs(found.row.numpy() - gone.columns["x"][0]).max() < 0.05
        assert found.rank_one > 0.999
        assert standing(found.direction, gone, retained) < 0.01


def test_a_batch_leaves_the_sum_of_its_gradients() -> None:
    rows, objective = clouds(), LinearObjective("squared", 1e-2, 6, 1)
    rows = Rows.of(rows.columns["x"], rows.y.astype(float))
    gone = [3, 4, 5]
    before, retained = solved(objective, rows), rows.without(gone)
    found = reconstruct(objective, before, solved(objective, retained), retained, retained=297, forgotten=3)
    truth = objective.gradient_sum(before, rows.only(gone))
    assert torch.allclose(found.gradient.reshape(-1), truth, atol=1e-8)


def test_a_term_with_a_fixed_secret_cancels() -> None:
    """mean loss + l2/2 ||w||^2 + b^T w / n is, for squared loss, solved by H^-1 (X^T y - b) / n."""
    rows, l2 = clouds(), 1e-2
    b = 10 * torch.from_numpy(np.random.default_rng(1).normal(size=7))

    def perturbed(of: Rows) -> Tensor:
        X = torch.cat([torch.from_numpy(of.columns["x"]), torch.ones(len(of), 1, dtype=torch.float64)], 1)
        H = X.T @ X + len(of) * l2 * torch.eye(7, dtype=torch.float64)
        return torch.linalg.solve(H, X.T @ torch.from_numpy(of.y.astype(float)) - b)

    retained, gone = rows.without([9]), rows.only([9])
    objective = LinearObjective("squared", l2, 6, 1)
    likewise = Rows.of(retained.columns["x"], retained.y.astype(float))
    found = reconstruct(objective, perturbed(rows), perturbed(retained), likewise, retained=299)
    assert float(cosine(found.direction, gone)) > 1 - 1e-9


def test_noise_hides_the_row() -> None:
    rows, objective, generator = clouds(), LinearObjective("cross_entropy", 1e-3, 6, 3), np.random.default_rng(8)
    before, retained, gone = solved(objective, rows), rows.without([9]), rows.only([9])
    after = solved(objective, retained)
    standings = []
    for _ in range(40):
        noise = [torch.from_numpy(generator.normal(scale=3.0, size=21)) for _ in range(2)]
        found = reconstruct(objective, before + noise[0], after + noise[1], retained, retained=299)
        standings.append(standing(found.direction, gone, retained))
    assert 0.2 < float(np.mean(standings)) < 0.8
    assert found.rank_one < 0.999


def test_what_is_refused() -> None:
    rows, objective = clouds(), LinearObjective("cross_entropy", 1e-3, 6, 3)
    w = torch.ones(21, dtype=torch.float64)
    with pytest.raises(InputError, match="releases are equal"):
        reconstruct(objective, w, w, rows, retained=299)
    with pytest.raises(InputError, match="both must be at least 1"):
        reconstruct(objective, w, 2 * w, rows, retained=299, forgotten=0)


def test_a_row_of_zeros_has_no_direction() -> None:
    rows = Rows.of(np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert cosine(torch.tensor([0.6, 0.8], dtype=torch.float64), rows).tolist() == [0.0, pytest.approx(1.0)]


def test_curvature_half_way_is_right_to_second_order() -> None:
    """Many rows leave at once, so the releases are far apart: half-way errs little, at an end a lot."""
    rows = clouds(classes=2)
    objective = LinearObjective("logistic", 1e-2, 6, 1)
    gone = np.flatnonzero(rows.y == 1)[:100]
    before, retained = solved(objective, rows), rows.without(gone)
    after = solved(objective, retained)
    truth = objective.gradient_sum(before, rows.only(gone))
    found = reconstruct(objective, before, after, retained, retained=200, forgotten=100)
    assert float((found.gradient.reshape(-1) - truth).norm()) < 0.04 * float(truth.norm())
    at_an_end = 200 * objective.hessian(before, retained) @ (after - before) - 100 * 1e-2 * before
    assert float((at_an_end - truth).norm()) > 0.08 * float(truth.norm())


def test_alignment_by_hand() -> None:
    direction = torch.tensor([1.0, 0.0], dtype=torch.float64)
    gone = Rows.of(np.array([[-2.0, 0.0], [3.0, 4.0]]), ids=["a", "b"])
    others = Rows.of(np.array([[0.0, 1.0], [1.0, 1.0], [-1.0, 0.1], [3.0, 4.0]]))
    assert cosine(direction, gone).tolist() == pytest.approx([1.0, 0.6])
    assert standing(direction, gone.only(["a"]), others) == 0
    assert standing(direction, gone, others) == 0.75  # as the worst of them, 0.6: three of four are no worse


def test_the_share_of_one_row_is_of_squares() -> None:
    """Two rows at right angles of two outputs, for squared loss at zero weights: singular values 3 and 4."""
    objective = LinearObjective("squared", 1.0, 2, 2, intercept=False)
    rows = Rows.of(np.eye(2), np.zeros((2, 2)))
    after = torch.tensor([3.0, 0.0, 0.0, 4.0], dtype=torch.float64)
    found = reconstruct(objective, torch.zeros(4, dtype=torch.float64), after, rows, retained=2)
    assert torch.allclose(found.gradient, torch.diag(torch.tensor([9.0, 12.0], dtype=torch.float64)))
    assert found.rank_one == pytest.approx(16 / 25)


@pytest.mark.parametrize(("loss", "outputs", "classes"), [("cross_entropy", 3, 3), ("logistic", 1, 2)])
def test_the_label_of_the_row_is_given_away_too(loss: str, outputs: int, classes: int) -> None:
    rows = clouds(classes=classes)
    objective = LinearObjective(loss, 1e-3, 6, outputs)
    before = solved(objective, rows)
    for lost in (5, 40, 100, 251):
        retained = rows.without([lost])
        found = reconstruct(objective, before, solved(objective, retained), retained, retained=299)
        assert found.label == rows.y[lost]


def test_the_target_of_a_regressions_row_is_its_score_less_its_slope() -> None:
    rows = clouds()
    rows = Rows.of(rows.columns["x"], rows.columns["x"] @ np.arange(1.0, 7.0) + 0.5 * rows.y)
    objective = LinearObjective("squared", 1e-3, 6, 1)
    retained = rows.without([7])
    found = reconstruct(objective, solved(objective, rows), solved(objective, retained), retained, retained=299)
    assert found.label == pytest.approx(rows.y[7], abs=0.05)
    without = LinearObjective("squared", 1e-3, 6, 1, intercept=False)
    found = reconstruct(without, solved(without, rows), solved(without, retained), retained, retained=299)
    assert found.label is None


def test_the_row_that_left_is_picked_out_of_all_by_its_gradient() -> None:
    rows, objective = clouds(), LinearObjective("cross_entropy", 1e-3, 6, 3)
    before = solved(objective, rows)
    for lost in (5, 40, 100):
        retained = rows.without([lost])
        found = reconstruct(objective, before, solved(objective, retained), retained, retained=299)
        match = gradient_match(found, objective, before, rows)
        assert int(match.argmax()) == lost
        assert float(match.max()) > 0.999
