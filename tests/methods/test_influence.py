"""Influence: factor, sign and share of the penalty; batches; full gradients; perturbation; solvers; networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from expunge.certificate import Uncertified
from expunge.errors import InputError, MustRetrain, NotConverged
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods.influence import Influence, InfluenceRecord
from expunge.models import Mlp
from expunge.rows import Rows, Table
from expunge.testing import noise_key

LOGISTIC = Convex(loss="logistic", l2=1e-3, tol=1e-10)


def odd_or_even() -> Rows:
    """Scikit-learn's digits, odd against even, rows of norm 1; 1,437 of them."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))[:1437]
    x = data.data[order] / 16 - 0.5
    return Rows.of(x / np.linalg.norm(x, axis=1, keepdims=True), data.target[order] % 2, classes=2)


@pytest.fixture(scope="module")
def digits() -> Rows:
    return odd_or_even()


@pytest.fixture(scope="module")
def fit(digits: Rows) -> InfluenceRecord:
    return Influence(LOGISTIC).learn(digits, seed=0, noise=noise_key(1))


@pytest.fixture(scope="module")
def retrained(digits: Rows) -> dict[int, Tensor]:
    fresh = {m: Influence(LOGISTIC).learn(digits.without(first(m)), seed=0, noise=noise_key(1)) for m in (1, 100)}
    return {m: LOGISTIC.flat(record.training) for m, record in fresh.items()}


def first(m: int) -> list[str]:
    return [str(i) for i in range(m)]


def after(method: Influence, record: InfluenceRecord, rows: Rows, m: int) -> tuple[Tensor, dict[str, float]]:
    step = method.forget(record, rows.without(first(m)), rows.only(first(m)), noise=noise_key(2, 2))
    assert isinstance(step.certificate, Uncertified)
    return method.learner.flat(step.record.training), dict(step.stats)


@pytest.mark.parametrize(("m", "left", "nothing"), [(1, 5e-6, 3.9e-3), (100, 3.3e-3, 0.56)])
def test_the_step_lands_where_retraining_lands(
    m: int, left: float, nothing: float, digits: Rows, fit: InfluenceRecord, retrained: dict[int, Tensor]
) -> None:
    w, _ = after(Influence(LOGISTIC), fit, digits, m)
    assert float((w - retrained[m]).norm()) < left
    assert float((LOGISTIC.flat(fit.training) - retrained[m]).norm()) == pytest.approx(nothing, rel=0.02)


def test_wrong_factors_signs_and_shares_are_as_far_off_as_is_known(
    digits: Rows, fit: InfluenceRecord, retrained: dict[int, Tensor]
) -> None:
    """The survey's form under a mean loss, a minus sign, and no share of the penalty: none of them is ours."""
    objective, w = LOGISTIC.objective(fit.training), LOGISTIC.flat(fit.training)
    for m, factor, minus, share in ((1, 5.59, 7.8e-3, 3.5e-3), (100, 6.98, 1.13, 0.378)):
        gone, rest = digits.only(first(m)), 1437 - m
        summed, penalty = objective.gradient_sum(w, gone), m * 1e-3 * w
        hessian = objective.hessian(w, digits.without(first(m)))

        def off(step: Tensor, hessian: Tensor = hessian, m: int = m) -> float:
            return float((w + torch.linalg.solve(hessian, step) - retrained[m]).norm())

        assert off((summed + penalty) / m) == pytest.approx(factor, rel=0.01)  # a mean gradient, and no m/(n-m)
        assert off(-(summed + penalty) / rest) == pytest.approx(minus, rel=0.02)
        assert off(summed / rest) == pytest.approx(share, rel=0.02)


def test_full_gradients_correct_a_start_that_has_not_converged(digits: Rows, retrained: dict[int, Tensor]) -> None:
    early = Convex(loss="logistic", l2=1e-3, tol=2e-3)
    record = Influence(early).learn(digits, seed=0, noise=noise_key(1))
    off = {}
    for gradient in ("removed", "full"):
        w, stats = after(Influence(early, gradient=gradient), record, digits, 1)
        off[gradient] = float((w - retrained[1]).norm())
        assert stats["batches"] == 1
    assert off["full"] < 0.2 * off["removed"]


def test_batches_cut_by_key_and_what_they_leave(
    digits: Rows, fit: InfluenceRecord, retrained: dict[int, Tensor]
) -> None:
    off = {}
    for gradient in ("removed", "full"):
        method = Influence(LOGISTIC, batch_size=13, gradient=gradient, keep_hessian=False)
        w, stats = after(method, fit, digits, 100)
        assert stats["batches"] == 8
        off[gradient] = float((w - retrained[100]).norm())
        ids = first(100)[::-1]  # the order of a request does not matter
        other = method.forget(fit, digits.without(ids), digits.only(ids), noise=noise_key(9, 9)).record
        assert torch.equal(LOGISTIC.flat(other.training), w)
    whole = float((after(Influence(LOGISTIC), fit, digits, 100)[0] - retrained[100]).norm())
    assert off["full"] < 0.1 * whole  # eight Newton steps
    assert 0.5 * whole < off["removed"] < 2 * whole  # residuals add up as fast as smaller steps shrink them
    one = after(Influence(LOGISTIC, batch_size=100), fit, digits, 100)[0]
    assert torch.equal(one, after(Influence(LOGISTIC, batch_size=1000), fit, digits, 100)[0])


def test_least_squares_is_exact() -> None:
    generator = np.random.default_rng(2)
    x = generator.normal(size=(200, 5))
    rows = Rows.of(x, x @ np.arange(5) + generator.normal(size=200))
    learner = Convex(loss="squared", l2=1e-2, tol=1e-12)
    clean = learner.flat(Influence(learner).learn(rows.without(first(60)), seed=0, noise=noise_key(1)).training)
    record = Influence(learner).learn(rows, seed=0, noise=noise_key(1))
    for method in (Influence(learner), Influence(learner, batch_size=7), Influence(learner, gradient="full")):
        assert float((after(method, record, rows, 60)[0] - clean).norm()) < 1e-9


def test_conjugate_gradient_takes_the_step_that_a_factor_takes(digits: Rows, fit: InfluenceRecord) -> None:
    dense, none = after(Influence(LOGISTIC), fit, digits, 20)
    iterated, some = after(Influence(LOGISTIC, dense_limit=1, cg_tol=1e-10), fit, digits, 20)
    assert none["products"] == 0
    assert some["products"] > 5
    assert float((dense - iterated).norm()) < 1e-7
    with pytest.raises(NotConverged, match="raise damping"):
        after(Influence(LOGISTIC, dense_limit=1, cg_iterations=2), fit, digits, 20)


def test_a_kept_hessian_takes_the_same_step_and_reads_no_retained_row(digits: Rows, fit: InfluenceRecord) -> None:
    steps = {}
    for keep in (True, False):
        w, stats = after(Influence(LOGISTIC, keep_hessian=keep), fit, digits, 15)
        assert stats["hessians"] == (0 if keep else 1)
        steps[keep] = w
    moved = float((steps[False] - LOGISTIC.flat(fit.training)).norm())
    assert float((steps[True] - steps[False]).norm()) / moved < 1e-9
    nothing_to_read = digits.without(first(15)).map(unreadable, digits.schema, keep=False)
    step = Influence(LOGISTIC).forget(fit, nothing_to_read, digits.only(first(15)), noise=noise_key(2, 2))
    assert torch.equal(LOGISTIC.flat(step.record.training), steps[True])


def unreadable(table: Table) -> Table:
    raise AssertionError("A retained row was read.")


def test_a_hessian_of_other_weights_is_not_used(digits: Rows, fit: InfluenceRecord) -> None:
    method, left = Influence(LOGISTIC), digits.without(first(3))
    moved = method.forget(fit, left, digits.only(first(3)), noise=noise_key(2, 2)).record
    more, rest = digits.only(["7"]), left.without(["7"])
    assert method.forget(moved, rest, more, noise=noise_key(3, 3)).stats["hessians"] == 1
    settled = method.settle(moved, left)
    assert method.forget(settled, rest, more, noise=noise_key(3, 3)).stats["hessians"] == 0


def test_the_perturbation_is_trained_with_and_drops_out_of_removed_gradients(digits: Rows) -> None:
    removed = Influence(LOGISTIC, noise_std=10.0)
    full = Influence(LOGISTIC, noise_std=10.0, gradient="full")
    records = [method.learn(digits, seed=0, noise=noise_key(4)) for method in (removed, full)]
    assert records[0].perturbation is None
    b = records[1].perturbation
    assert b is not None
    objective, w = LOGISTIC.objective(records[1].training), LOGISTIC.flat(records[1].training)
    assert float((objective.gradient(w, digits) + 10 / 1437 * b).norm()) < 1e-9
    steps = [after(method, record, digits, 20)[0] for method, record in zip((removed, full), records, strict=True)]
    assert float((steps[0] - steps[1]).norm()) < 1e-6
    rest = digits.without(first(20))
    assert float((objective.gradient(steps[1], rest) + 10 / 1417 * b).norm()) < 1e-3 * float((10 / 1417 * b).norm())
    other = full.learn(digits, seed=0, noise=noise_key(5)).perturbation
    assert other is not None
    assert not torch.equal(other, b)


def test_a_network_is_solved_by_gauss_newton_and_beats_doing_nothing() -> None:
    generator = np.random.default_rng(3)
    y = np.arange(150) % 3
    x = generator.normal(size=(150, 4)) + 1.5 * np.eye(3, 4)[y]
    y[:15] = (y[:15] + 1) % 3  # mislabelled, and asked to be forgotten
    rows = Rows.of(x, y, classes=3)
    learner = Sgd(Mlp((5,)), epochs=60, batch_size=150, learning_rate=0.5, l2=1e-2)
    method = Influence(learner, gradient="full", damping=0.05)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    clean = method.learn(rows.without(first(15)), seed=0, noise=noise_key(1))
    w, stats = after(method, record, rows, 15)
    left = float((w - learner.flat(clean.training)).norm())
    nothing = float((learner.flat(record.training) - learner.flat(clean.training)).norm())
    assert stats["products"] > 1
    assert left < 0.95 * nothing


def test_an_adopted_model_is_taken_as_it_is(digits: Rows, fit: InfluenceRecord) -> None:
    method = Influence(LOGISTIC)
    adopted = method.adopt(dict(fit.training.tensors), digits, seed=0, noise=noise_key(1))
    assert torch.equal(after(method, adopted, digits, 5)[0], after(method, fit, digits, 5)[0])
    with pytest.raises(InputError, match="no known perturbation"):
        Influence(LOGISTIC, noise_std=1.0).adopt(dict(fit.training.tensors), digits, seed=0, noise=noise_key(1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"gradient": "half"}, "gradient='half'"),
        ({"noise_std": -1.0}, "noise_std=-1.0"),
        ({"damping": float("nan")}, "damping=nan"),
        ({"cg_tol": 1.0}, "cg_tol=1.0"),
        ({"cg_iterations": 0}, "cg_iterations=0"),
        ({"learner": Sgd(Mlp((5,))), "noise_std": 1.0}, "not known to be"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Influence(**settings)


def test_requests_that_make_no_sense(digits: Rows, fit: InfluenceRecord) -> None:
    method, none = Influence(LOGISTIC), digits.select(np.zeros(1437, dtype=bool))
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(fit, none, digits, noise=noise_key(2, 2))
    with pytest.raises(InputError, match="still among the retained"):
        method.forget(fit, digits, digits.only("1"), noise=noise_key(2, 2))
    with pytest.raises(InputError, match="learned from 1437 rows"):
        method.forget(fit, digits.without(["1", "2"]), digits.only("1"), noise=noise_key(2, 2))
    empty = method.forget(fit, digits, none, noise=noise_key(2, 2))
    assert empty.record is fit
    assert not empty.stats
