"""Differential privacy as the boundary case: what is refused, what is counted, what is left alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expunge.audits import audit_step
from expunge.certificate import Basis, Certified, View, may_stay
from expunge.errors import InputError, MustRetrain, Refused
from expunge.maths.privacy import epsilon_of, gaussian_delta, mu_of
from expunge.methods.differential_privacy import ASSUMPTIONS, DifferentialPrivacy, DifferentialPrivacyRecord
from expunge.record import digest
from expunge.rows import Rows
from expunge.testing import noise_key
from expunge.vault import Vault
from expunge.vault.receipts import contradiction
from expunge.vault.verify import verify_chain

METHOD = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=1.0)


def some_rows(n: int = 120) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 4))
    return Rows.of(x, (x[:, 0] > 0).astype(int), classes=2)


def forgotten(
    method: DifferentialPrivacy, record: DifferentialPrivacyRecord, rows: Rows, ids: list[int]
) -> tuple[DifferentialPrivacyRecord, Certified, Rows]:
    step = method.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(2, 2))
    assert isinstance(step.certificate, Certified)
    return step.record, step.certificate, rows.without(ids)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"epsilon": 50.0}, "max_epsilon=10.0"),
        ({"delta": 1.0}, "delta is 1.0"),
        ({"noise_std": 0.0}, "without noise nothing is certified"),
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"row_norm": math.inf}, "row_norm is inf"),
        ({"row_norm": -1.0}, "row_norm is -1.0"),
        ({"loss": "squared"}, "a bounded slope is needed"),
        ({"loss": "hinge"}, "a bounded slope is needed"),
    ],
)
def test_settings_without_a_guarantee_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DifferentialPrivacy(**settings)


def test_too_little_noise_is_refused_with_the_number_needed() -> None:
    rows = some_rows()
    short = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=0.01)
    with pytest.raises(Refused, match="take at least") as refused:
        short.learn(rows, seed=0, noise=noise_key(1))
    needed = float(str(refused.value).split("at least ")[1].split(" here")[0])
    mu = mu_of(1.0, 1e-5)
    assert needed == pytest.approx(short.sensitivity(120, 1) / (mu - 2e-4), rel=1e-3)
    enough = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=needed * 1.001)
    _, certificate, _ = forgotten(enough, enough.learn(rows, seed=0, noise=noise_key(1)), rows, [3])
    assert 0.99 < certificate.epsilon <= 1.0


def test_learning_again_later_is_not_refused_for_noise() -> None:
    """A request must be honoured though fewer rows now take more noise: the next certificate says what it costs."""
    rows = some_rows()
    short = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=0.4)
    _, certificate, _ = forgotten(short, short.learn(rows, seed=0, noise=noise_key(1, 2)), rows, [3])
    assert certificate.epsilon > short.epsilon


def test_the_release_is_left_alone_and_the_rows_are_counted() -> None:
    rows = some_rows()
    record = METHOD.learn(rows, seed=0, noise=noise_key(1))
    after, certificate, _ = forgotten(METHOD, record, rows, [3, 5])
    assert digest(METHOD.release(after)) == digest(METHOD.release(record))
    assert (record.forgotten, after.forgotten, after.size) == (0, 2, 120)
    assert certificate.view is View.LIFETIME
    assert certificate.basis is Basis.CHECKED
    assert certificate.doing_nothing_meets_it
    assert certificate.assumptions == ASSUMPTIONS
    assert may_stay(certificate)
    assert contradiction(certificate) is None


def test_batch_and_one_by_one_cost_the_same_and_ever_more() -> None:
    rows = some_rows()
    first = METHOD.learn(rows, seed=0, noise=noise_key(1))
    record, remaining, spent = first, rows, []
    for one in range(4):
        record, certificate, remaining = forgotten(METHOD, record, remaining, [one])
        spent.append(certificate.epsilon)
    assert spent == sorted(set(spent))
    batch, at_once, _ = forgotten(METHOD, first, rows, [0, 1, 2, 3])
    assert digest(batch) == digest(record)
    assert at_once == certificate
    mus = [mu_of(epsilon, 1e-5) for epsilon in spent]
    assert mus == pytest.approx([mus[0] + k * (mus[1] - mus[0]) for k in range(4)], rel=1e-4)  # k rows, k times mu


def test_gaussian_group_privacy_is_tighter_than_that_of_epsilon_and_delta() -> None:
    """m rows under the bare pair: (m epsilon, m e^((m-1) epsilon) delta), which at the same delta starts higher."""
    epsilon, delta = 1.0, 1e-5
    mu = mu_of(epsilon, delta)
    for m in (2, 5, 10):
        bare = m * math.exp((m - 1) * epsilon) * delta
        assert gaussian_delta(m * epsilon, m * mu) < bare
    assert gaussian_delta(2 * epsilon, 2 * mu) < 2 * math.exp(epsilon) * delta
    for m in (2, 5):  # at one delta for the group, each pair chosen to meet it
        first = min(
            m * e for e in np.linspace(0.5, 3.0, 501) if m * math.exp((m - 1) * e) * gaussian_delta(e, mu) <= delta
        )
        assert epsilon_of(m * mu, delta) < first


def test_a_budget_that_runs_out_asks_to_learn_again_and_that_begins_anew() -> None:
    rows = some_rows()
    small = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=1.0, max_epsilon=1.5)
    record, remaining, one = small.learn(rows, seed=0, noise=noise_key(1)), rows, 0
    record, certificate, remaining = forgotten(small, record, remaining, [one])
    while certificate.epsilon < 1.5 * record.forgotten / (record.forgotten + 1):  # a next row surely fits
        one += 1
        record, certificate, remaining = forgotten(small, record, remaining, [one])
    assert record.forgotten > 1
    many = list(range(one + 1, 2 * one + 20))
    with pytest.raises(MustRetrain, match=r"more than max_epsilon=1\.5"):
        forgotten(small, record, remaining, many)
    again = small.learn(remaining.without(many), seed=0, noise=noise_key(3, 3))
    assert (again.forgotten, again.number) == (0, 3)


def test_each_earlier_release_that_may_have_held_a_row_is_charged() -> None:
    rows = some_rows()
    wide = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=2.0)
    one, four = (forgotten(wide, wide.learn(rows, seed=0, noise=noise_key(1, t)), rows, [3])[1] for t in (1, 4))
    assert mu_of(four.epsilon, 1e-5) == pytest.approx(2 * mu_of(one.epsilon, 1e-5), rel=1e-3)
    with pytest.raises(Refused, match="begin a new vault"):
        wide.learn(rows, seed=0, noise=noise_key(1, 10_001))


def test_forgetting_nothing_and_everything_and_rows_of_another_record() -> None:
    rows = some_rows()
    none = rows.select(np.zeros(len(rows), dtype=bool))
    record = METHOD.learn(rows, seed=0, noise=noise_key(1))
    assert METHOD.forget(record, rows, none, noise=noise_key(2, 2)).record is record
    with pytest.raises(MustRetrain, match="No row is left"):
        METHOD.forget(record, none, rows, noise=noise_key(2, 2))
    with pytest.raises(InputError, match="learned from 120 rows"):
        METHOD.forget(record, rows.without([1, 2]), rows.only([1]), noise=noise_key(2, 2))


def test_noise_is_drawn_and_has_the_stated_deviation() -> None:
    rows = some_rows()
    drawn = torch.stack([METHOD.learn(rows, seed=0, noise=noise_key(k)).weights.ravel() for k in range(60)])
    pooled = ((drawn - drawn.mean(0)) ** 2).sum() / (59 * drawn.shape[1])
    assert abs(float(pooled) - 1) < 5 * math.sqrt(2 / (59 * drawn.shape[1]))


def test_rows_beyond_the_norm_count_by_their_direction_in_training_and_in_prediction() -> None:
    rows = some_rows()
    x = rows.columns["x"].copy()
    x[np.linalg.norm(x, axis=1) > 1.0] *= 1e200
    far = Rows.of(x, rows.y, classes=2)
    near, distant = (METHOD.learn(r, seed=0, noise=noise_key(1)) for r in (rows, far))
    assert torch.allclose(near.weights, distant.weights, atol=1e-3)
    release = METHOD.release(near)
    assert torch.allclose(METHOD.predict(release, rows.columns), METHOD.predict(release, far.columns))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    x = some_rows().columns["x"].copy()
    x[7, 3] = bad
    with pytest.raises(InputError, match="NaN"):
        METHOD.learn(Rows.of(x, some_rows().y, classes=2), seed=0, noise=noise_key(1))


def test_predictions_come_from_the_release_alone() -> None:
    rows = some_rows(2000)
    wide = DifferentialPrivacy(noise_std=0.5, l2=0.1, row_norm=3.0)
    release = wide.release(wide.learn(rows, seed=0, noise=noise_key(1)))
    scores = DifferentialPrivacy().predict(release, rows.columns)
    assert torch.allclose(scores.exp().sum(1), torch.ones(2000, dtype=torch.float64))


def test_a_vault_keeps_the_release_signs_it_and_learns_again_when_the_budget_is_spent(tmp_path: Path) -> None:
    method = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=0.7, max_epsilon=1.0)
    rows = some_rows(400)
    with Vault.create(tmp_path / "vault", rows, method) as vault:
        before, told = digest(vault.release()), []
        for one in range(6):
            vault.request([str(one)])
            (done,) = vault.work(lambda step: audit_step(step, None, references=0).summary())
            told.append((bool(done.relearned), digest(vault.release()) == before))
        assert told[:4] == [(False, True)] * 4
        assert told[4] == (True, False)  # the fifth row would have cost epsilon 1.2
        assert len(verify_chain(vault.receipts(), vault.public_key())) == 12
