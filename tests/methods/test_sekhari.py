"""Sekhari's one step: what it reads, what it refuses, when its capacity is used up, and carried noise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Basis, Certified, View
from expunge.errors import InputError, MustRetrain, Refused
from expunge.maths.privacy import mu_of, release_share
from expunge.maths.transcripts import carried_share, carried_variance_share, increment_std
from expunge.methods.sekhari import Sekhari, SekhariRecord
from expunge.rows import Block, Rows, Table
from expunge.testing import check_method, noise_key


def clouds(n: int = 400, p: int = 6, classes: int = 3, longest: float = 1.0) -> Rows:
    """Rows of norm up to `longest`."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(n, p))
    y = np.argmax(x[:, :classes] + generator.normal(size=(n, classes)), axis=1)
    x *= longest * 0.999 / np.linalg.norm(x, axis=1).max()
    return Rows.of(x, y, ids=[f"row-{i}" for i in range(n)], classes=classes)


def counted(rows: Rows) -> tuple[Rows, list[int]]:
    """The same rows, and how many rows were read from each reading of a block."""
    reads: list[int] = []

    def spy(block: Block) -> Block:
        def read() -> Table:
            reads.append(len(block))
            return block.read()

        return Block(block.keys, read)

    return Rows([spy(block) for block in rows.blocks], rows.schema), reads


def published(**settings: Any) -> Sekhari:
    return Sekhari(**({"bound": "published", "l2": 1.0, "noise_std": 1.0, "row_norm": 1.0} | settings))


def names(*numbers: int) -> list[str]:
    return [f"row-{i}" for i in numbers]


def forgotten(method: Sekhari, record: SekhariRecord, rows: Rows, ids: list[str], release: int = 2) -> Any:
    return method.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(release, release))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0"),
        ({"l2": 0.0}, "l2=0.0"),
        ({"tol": math.inf}, "tol=inf"),
        ({"bound": "assumed"}, "bound='assumed'"),
        ({"noise": "none"}, "noise='none'"),
        ({"bound": "published"}, "row_norm is None"),
        ({"row_norm": -1.0}, "row_norm is -1.0"),
        ({"bound": "published", "row_norm": math.inf}, "row_norm is inf"),
        ({"row_norm": 0.0}, "row_norm is 0.0"),
        ({"bound": "published", "row_norm": 1.0, "loss": "huber"}, "no Lipschitz curvature"),
        ({"loss": "hinge"}, "There is no loss 'hinge'"),
    ],
)
def test_settings_without_a_guarantee_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sekhari(**settings)


def test_the_published_bound_reads_no_retained_row_and_the_measured_one_reads_each_once() -> None:
    rows, gone = clouds(), names(3, 4, 5)
    for method, passes in ((published(), 0), (published(bound="measured"), 1)):
        record = method.learn(rows, seed=0, noise=noise_key(1))
        retained, reads = counted(rows.without(gone))
        step = method.forget(record, retained, rows.only(gone), noise=noise_key(2, 2))
        assert sum(reads) == passes * len(retained)
        assert step.stats["passes"] == passes


def test_both_bounds_stand_side_by_side_and_in_order() -> None:
    rows, method = clouds(), published(bound="measured")
    record = method.learn(rows, seed=0, noise=noise_key(1))
    stats = forgotten(method, record, rows, names(*range(8))).stats
    assert 0 < stats["measured_bound"] < stats["step_bound"] < stats["published_bound"]
    assert stats["rounding_bound"] < 1e-9
    assert "published_bound" not in forgotten(replace(method, row_norm=None), record, rows, names(1)).stats


def test_the_certificates_say_their_basis_and_what_they_do_not_cover() -> None:
    rows = clouds()
    for method, basis in ((published(), Basis.CHECKED), (published(bound="measured"), Basis.MEASURED)):
        record = method.learn(rows, seed=0, noise=noise_key(1))
        promise = forgotten(method, record, rows, names(1, 2)).certificate
        assert isinstance(promise, Certified)
        assert (promise.basis, promise.view) == (basis, View.TRANSCRIPT)
        assert any("stored state is not covered" in text for text in promise.assumptions)
        assert any("row_norm" in text for text in promise.assumptions) == (basis is Basis.CHECKED)
        assert promise == forgotten(method, record, rows, names(7, 8)).certificate  # no measured figure in it


def test_all_deletions_so_far_are_one_step_in_any_order() -> None:
    rows, method = clouds(), published(noise_std=2.0)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    together = forgotten(method, record, rows, names(1, 2, 3)).record
    remaining, one_by_one = rows, record
    for release, one in enumerate((3, 1, 2), start=2):
        one_by_one = forgotten(method, one_by_one, remaining, names(one), release).record
        remaining = remaining.without(names(one))
    steps = [state.step() for state in (together.state, one_by_one.state)]
    assert torch.allclose(steps[0], steps[1], rtol=1e-10, atol=1e-14)
    assert one_by_one.state.learned == 400
    assert one_by_one.state.size == 397


def test_the_capacity_is_used_up() -> None:
    rows, method = clouds(), published()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    stats = forgotten(method, record, rows, names(1)).stats
    fits = math.isqrt(int(stats["allowed"] / stats["published_bound"]))  # the bound grows as m^2
    assert forgotten(method, record, rows, names(*range(fits - 1))).stats["published_bound"] <= stats["allowed"]
    with pytest.raises(MustRetrain, match=r"off \(published\).*capacity of the fit is used up"):
        forgotten(method, record, rows, names(*range(fits + 2)))


def test_more_than_half_is_beyond_the_theorem() -> None:
    rows, method = clouds(), published(loss="squared", noise_std=5.0)
    rows = Rows.of(rows.columns["x"], rows.columns["x"][:, 0], ids=rows.ids)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    assert forgotten(method, record, rows, names(*range(200))).stats["published_bound"] < 1e-8  # a quadratic is exact
    with pytest.raises(MustRetrain, match="inf"):
        forgotten(method, record, rows, names(*range(201)))


def test_a_measured_residual_that_does_not_fit_asks_to_learn_again() -> None:
    rows, method = clouds(longest=5.0), Sekhari(l2=1e-3, noise_std=1.0)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    assert forgotten(method, record, rows, names(1)).stats["measured_bound"] > 0
    with pytest.raises(MustRetrain, match="measured"):
        forgotten(method, record, rows, names(*range(150)))


def test_rows_beyond_the_declared_norm_are_refused() -> None:
    with pytest.raises(InputError, match=r"longer than row_norm=1:"):
        published().learn(clouds(longest=1.01), seed=0, noise=noise_key(1))
    published(bound="measured").learn(clouds(longest=1.01), seed=0, noise=noise_key(1))


def test_more_parameters_than_a_hessian_is_kept_for_are_refused() -> None:
    with pytest.raises(InputError, match="dense_limit=20"):
        Sekhari(dense_limit=20).learn(clouds(), seed=0, noise=noise_key(1))


def test_a_tolerance_below_rounding_is_refused() -> None:
    rows = clouds()
    large = Rows.of(1e5 * rows.columns["x"], rows.y, classes=3)
    with pytest.raises(Refused, match="scale the columns"):
        Sekhari().learn(large, seed=0, noise=noise_key(1))


def test_requests_that_make_no_sense() -> None:
    rows, method = clouds(), published()
    record = method.learn(rows, seed=0, noise=noise_key(1, 5))
    with pytest.raises(InputError, match="one after 5 is needed"):
        forgotten(method, record, rows, names(1), 5)
    with pytest.raises(InputError, match="still among the retained"):
        method.forget(record, rows, rows.only(names(1)), noise=noise_key(6, 6))
    with pytest.raises(InputError, match="learned from 400 rows"):
        method.forget(record, rows.without(names(1, 2)), rows.only(names(1)), noise=noise_key(6, 6))
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(record, rows.select(np.zeros(400, dtype=bool)), rows, noise=noise_key(6, 6))


def test_the_contract_with_independent_noise() -> None:
    report = check_method(published(noise_std=4.0, row_norm=3.0, l2=4.0), clouds(120), ("row-3", "row-4", "row-17"))
    assert report.substitution_gap < report.do_nothing_gap


def test_a_carried_release_adds_an_increment_only() -> None:
    rows, method = clouds(600), Sekhari(noise="carried", l2=1.0, noise_std=0.5)
    record, remaining, fresh, releases = method.learn(rows, seed=0, noise=noise_key(1)), rows, [], 40
    assert record.carried is not None
    assert record.carried.increment == 0
    for t in range(2, releases):
        one = names(t)
        before, step = record, forgotten(method, record, remaining, one, t)
        record, remaining = step.record, remaining.without(one)
        assert record.carried is not None
        assert before.carried is not None
        centre = record.state.fit + record.state.step()
        released = (record.weights - record.carried.noise).reshape(-1)
        assert torch.linalg.vector_norm(released - centre) < 1e-4  # the grid
        fresh.append((record.carried.noise - before.carried.noise) / increment_std(0.5, t, t - 1))
        promise = step.certificate
        assert promise.increment_std == pytest.approx(0.5 * release_share(t))
        assert promise.noise_std == pytest.approx(0.5 * math.sqrt(carried_variance_share(t)))
        assert promise.noise_std < 0.5
        assert promise.distance == pytest.approx(0.5 * promise.mu * carried_share(t))
        assert step.stats["measured_bound"] <= step.stats["allowed"] == promise.distance / 2
        assert any("before it" in text for text in promise.assumptions)
    drawn = torch.stack(fresh).reshape(-1).numpy()
    assert abs(np.mean(drawn**2) - 1) < 6 / math.sqrt(2 * len(drawn))
    pairs = np.corrcoef(torch.stack(fresh).reshape(len(fresh), -1).numpy())[np.triu_indices(len(fresh), 1)]
    assert abs(pairs.mean()) < 6 / math.sqrt(len(pairs) * 20)


def test_carried_noise_exposes_two_releases_more() -> None:
    rows = clouds()
    exposures = {}
    for noise in ("independent", "carried"):
        method = Sekhari(noise=noise, l2=0.1, noise_std=0.5)
        record = method.learn(rows, seed=0, noise=noise_key(1))
        promise = forgotten(method, record, rows, names(1), 9).certificate
        exposures[noise] = 1 / (promise.increment_std or math.sqrt(2) * promise.noise_std)
    assert exposures["carried"] > 1.5 * exposures["independent"]
    step = forgotten(method, record, rows, names(1), 2)
    assert step.certificate.increment_std < step.certificate.noise_std


def test_carried_noise_over_skipped_releases_and_after_learning_again() -> None:
    rows, method = clouds(), Sekhari(noise="carried", l2=0.1, noise_std=0.5)
    record = method.learn(rows, seed=0, noise=noise_key(1, 3))
    step = forgotten(method, record, rows, names(1), 7)
    assert step.certificate.noise_std == pytest.approx(0.5 * math.sqrt(carried_variance_share(7)))
    assert step.certificate.increment_std == pytest.approx(increment_std(0.5, 7, 3))
    empty = method.forget(
        step.record, rows.without(names(1)), rows.select(np.zeros(400, dtype=bool)), noise=noise_key(8, 8)
    )
    assert empty.record is step.record
    assert empty.certificate == replace(step.certificate, doing_nothing_meets_it=False)


def test_carried_noise_cannot_be_taken_off_by_the_newest_key() -> None:
    method = Sekhari(noise="carried")
    record = method.learn(clouds(), seed=0, noise=noise_key(1))
    with pytest.raises(InputError, match="sum of many keys"):
        method.centre(method.release(record), noise_key(1))


def test_mu_is_the_budgets() -> None:
    method = published()
    record = method.learn(clouds(), seed=0, noise=noise_key(1))
    promise = forgotten(method, record, clouds(), names(1)).certificate
    assert 0.99 * mu_of(1.0, 1e-5) < promise.mu <= mu_of(1.0, 1e-5)
    assert promise.distance == pytest.approx(promise.mu * release_share(2))


def test_doing_nothing_is_named_where_it_would_do() -> None:
    rows = clouds()
    flags = []
    for method in (published(bound="measured", noise_std=1e-2), published(noise_std=8.0)):
        record = method.learn(rows, seed=0, noise=noise_key(1))
        flags.append(forgotten(method, record, rows, names(1)).certificate.doing_nothing_meets_it)
    assert flags == [False, True]


def test_predictions_are_log_probabilities_of_the_release_alone() -> None:
    rows, method = clouds(longest=8.0), Sekhari()
    release = method.release(method.learn(rows, seed=0, noise=noise_key(1)))
    scores = method.predict(release, rows.columns)
    assert torch.allclose(scores.exp().sum(1), torch.ones(400, dtype=torch.float64))
    assert float((scores.argmax(1).numpy() == rows.y).mean()) > 0.5
