"""Certified removal, differential privacy and certified deep where a certificate could be false.

Two lives, with and without the rows, are compared at their centres; references are solved to 1e-12, or computed in
extended precision by plain numpy.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.audits.step import Step
from expunge.certificate import Certified, Exact, View
from expunge.errors import InputError, MustRetrain, NotConverged, Refused
from expunge.learners.sgd import Sgd
from expunge.maths import newton_residual
from expunge.maths.lanczos import lanczos
from expunge.maths.privacy import mu_of
from expunge.methods import CertifiedDeep, CertifiedNewton, CertifiedRemoval, DifferentialPrivacy
from expunge.models import Linear
from expunge.record import digest
from expunge.rows import Rows
from expunge.testing import noise_key, substituted
from expunge.vault import Vault

PRIVATE = DifferentialPrivacy(loss="logistic", l2=0.1, noise_std=2.0)


def two_classes(n: int, *, prefix: str = "a", scale: float = 1.0, seed: int = 0) -> Rows:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3))
    y = (x[:, 0] + generator.normal(size=n) > 0).astype(int)
    return Rows.of(scale * x, y, ids=[f"{prefix}{i}" for i in range(n)], classes=2)


# Differential privacy: a row weighed more in a release of few rows than it does in one of many.


def far_apart(rows: Rows, ids: list[str]) -> float:
    """How far the minimisers with and without these rows really are (rows are within row_norm already)."""
    solver = CertifiedNewton(loss="logistic", l2=PRIVATE.l2)
    return float(torch.dist(solver.minimiser(rows), solver.minimiser(rows.without(ids))))


def test_rows_that_come_do_not_make_the_releases_before_cheaper() -> None:
    """Sensitivity falls as 1/n: a record of 4,060 rows must not speak for a release of 60."""
    few, many = two_classes(60, scale=0.2), two_classes(4000, prefix="b", scale=0.2, seed=1)
    odd = Rows.of([[1.0, 0.0, 0.0]], [0], ids=["odd"], classes=2)  # as long as a row may be, and mislabelled
    first = few.and_rows(odd)
    learned = PRIVATE.learn(first, seed=0, noise=noise_key(1, 1))
    grown = PRIVATE.extend(learned, first, many, noise=noise_key(2, 2))
    everything = first.and_rows(many)
    step = PRIVATE.forget(grown.record, everything.without(["odd"]), everything.only(["odd"]), noise=noise_key(3, 3))
    assert isinstance(step.certificate, Certified)
    assert step.certificate.view is View.LIFETIME
    spent = math.hypot(far_apart(first, ["odd"]), far_apart(everything, ["odd"])) / PRIVATE.noise_std
    careless = math.sqrt(2) * PRIVATE.sensitivity(len(everything), 1) / PRIVATE.noise_std
    assert careless < spent / 3  # what the newest release alone would have said is false
    assert step.certificate.mu >= spent
    assert step.certificate.mu >= math.sqrt(2) * PRIVATE.sensitivity(len(first), 1) / PRIVATE.noise_std


def test_a_vault_never_loses_count_of_how_few_rows_a_release_had(tmp_path: Path) -> None:
    method = dataclasses.replace(PRIVATE, max_epsilon=1.5)
    with Vault.create(tmp_path / "vault", two_classes(60), method) as vault:
        vault.extend(two_classes(600, prefix="b", seed=1))
        assert (vault.record().least, vault.record().size) == (60, 660)
        seen = []
        for one in range(8):
            vault.request([f"b{one}"])
            (done,) = vault.work()
            assert not done.relearned  # the vault would learn without the record, and the record alone knows
            assert vault.record().least == 60
            seen.append(getattr(done.certificate, "view", None))
        assert set(seen) == {View.LIFETIME, View.ONE_RELEASE}  # the budget ran out, and the method learned by itself
        assert digest(vault.release()) == digest(method.release(vault.record()))


def test_a_vault_that_distrusts_an_audit_keeps_count_too(tmp_path: Path) -> None:
    def contradicted(step: Step) -> dict[str, Any]:
        return {"contradictions": ["it does not hold"] if isinstance(step.certificate, Certified) else []}

    with Vault.create(tmp_path / "vault", two_classes(60), dataclasses.replace(PRIVATE, max_epsilon=1.5)) as vault:
        vault.extend(two_classes(600, prefix="b", seed=1))
        vault.request(["b0"])
        (done,) = vault.work(audit=contradicted)
        assert done.relearned
        assert (vault.record().least, vault.record().size) == (60, 659)


def test_learning_again_in_the_method_is_learning_without_the_rows() -> None:
    method = dataclasses.replace(PRIVATE, max_epsilon=1.01)
    first, more = two_classes(60), two_classes(60, prefix="b", seed=1)
    rows = first.and_rows(more)
    grown = method.extend(method.learn(first, seed=0, noise=noise_key(1, 1)), first, more, noise=noise_key(2, 2)).record
    gone = [f"a{i}" for i in range(20)]
    step = method.forget(grown, rows.without(gone), rows.only(gone), noise=noise_key(3, 3))
    clean = method.learn(rows.without(gone), seed=5, noise=noise_key(3, 3))
    assert torch.equal(step.record.weights, clean.weights)
    assert (step.record.least, step.record.number, step.record.forgotten) == (60, 3, 0)
    with pytest.raises(InputError, match="one after 2 is needed"):  # noise is never used twice
        method.forget(grown, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
    alone = method.learn(rows, seed=0, noise=noise_key(1, 1))
    with pytest.raises(MustRetrain, match="learn again"):  # no rows came: the vault learns
        method.forget(alone, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))


def test_a_norm_whose_square_is_no_number_is_a_refusal_and_no_crash() -> None:
    with pytest.raises(Refused, match="take at least"):
        dataclasses.replace(PRIVATE, row_norm=1e200).learn(two_classes(40), seed=0, noise=noise_key(1))


# Certified removal: what the account proves, held against extended precision.

KINDS = ("plain", "large", "tiny", "equal rows", "collinear", "constant", "far off", "outlier", "float32", "integers")


def kind_of_rows(kind: str, loss: str, n: int = 44) -> Rows:
    generator = np.random.default_rng(KINDS.index(kind))
    x: Any = generator.normal(size=(n, 4))
    match kind:
        case "large":
            x *= 30
        case "tiny":
            x *= 1e-7
        case "equal rows":
            x = np.repeat(x[: n // 11], 11, axis=0)
        case "collinear":
            x[:, 1], x[:, 3] = x[:, 0], x[:, 0] * (1 + 1e-9)
        case "constant":
            x[:, 0] = 7.0
        case "far off":
            x += 20
        case "outlier":
            x[3] *= 100
        case "float32":
            x = x.astype(np.float32)
        case "integers":
            x = (5 * x).astype(np.int64)
    y = generator.normal(size=n) if loss == "squared" else generator.integers(0, 3 if loss == "one_vs_rest" else 2, n)
    ids = [f"r{i}" for i in range(n)]
    return Rows.of(x, y, ids=ids) if loss == "squared" else Rows.of(x, y, ids=ids, classes=int(y.max()) + 1)


def true_residual(method: CertifiedRemoval, rows: Rows, w: Tensor) -> float:
    """||grad L(w)|| of the sum loss, in extended precision."""
    x: NDArray[Any] = rows.columns["x"].astype(np.longdouble)
    x = np.c_[x, np.ones(len(x), dtype=np.longdouble)]
    y = np.eye(rows.classes)[rows.y] if method.loss == "one_vs_rest" else rows.y.reshape(-1, 1)
    W = w.numpy().reshape(y.shape[1], -1).astype(np.longdouble)
    z = x @ W.T
    slopes = (z if method.loss == "squared" else 1 / (1 + np.exp(-z))) - y
    return float(np.sqrt(((slopes.T @ x + np.longdouble(method.l2) * len(x) * W) ** 2).sum()))


@pytest.mark.parametrize("loss", ["logistic", "one_vs_rest", "squared"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_bound_is_ever_below_the_true_residual(kind: str, loss: str) -> None:
    """One row, a class or half, most, rows that come back; with and without `settle`, with and without a Hessian."""
    rows = kind_of_rows(kind, loss)
    longest = float(np.linalg.norm(rows.columns["x"].astype(float), axis=1).max())
    certified = 0
    for dense_limit in (4000, 1):
        method = CertifiedRemoval(
            noise_std=1e3, l2=1e-2, loss=loss, row_norm=1.01 * longest, dense_limit=dense_limit, tol=1e-8
        )
        record, remaining = method.learn(rows, seed=0, noise=noise_key(1)), rows
        half = remaining.ids[remaining.y == 1].tolist() or remaining.ids[::2].tolist()
        most = [i for i in remaining.ids.tolist() if i not in half][1:]
        for release, (ids, back) in enumerate([(["r3"], False), (half, False), (["r3"], True), (most, False)], start=2):
            few, key = rows.only(sorted(set(ids) - (set() if back or release == 2 else {"r3"}))), noise_key(2, release)
            try:
                if back:
                    step = method.extend(record, remaining, few, noise=key)
                    remaining = remaining.and_rows(few)
                else:
                    gone = [i for i in few.ids.tolist() if i in set(remaining.ids.tolist())]
                    step = method.forget(record, remaining.without(gone), remaining.only(gone), noise=key)
                    remaining = remaining.without(gone)
            except (NotConverged, Refused, MustRetrain):
                break  # the vault learns again
            assert isinstance(step.certificate, Certified)
            certified += 1
            record = method.settle(step.record, remaining) if release % 2 else step.record
            true = true_residual(method, remaining, record.account.centre)
            assert true <= min(record.account.betas.values()) * (1 + 1e-12)
            assert true / (method.l2 * len(remaining)) <= step.certificate.distance / 2
    assert certified >= 4


def test_late_releases_in_any_order_end_within_half_of_the_distance_of_both_lives() -> None:
    rows, gone = two_classes(80), ["a3", "a7", "a50"]
    method = CertifiedRemoval(noise_std=5.0, l2=1e-2)
    reference = method.minimiser(rows.without(gone))
    for order in (gone, gone[::-1]):
        record, remaining = method.learn(rows, seed=0, noise=noise_key(1, 9_990)), rows
        for release, one in enumerate(order, start=9_998):
            few, remaining = remaining.only([one]), remaining.without([one])
            step = method.forget(record, remaining, few, noise=noise_key(release, release))
            record = step.record
        centre = method.centre(method.release(record), noise_key(10_000, 10_000))
        assert isinstance(step.certificate, Certified)
        assert torch.dist(centre, reference) <= step.certificate.distance / 2
        assert step.certificate.distance <= 5.0 * mu_of(1.0, 1e-5) * math.sqrt(6) / (math.pi * 10_000)
    with pytest.raises(Refused, match="begin a new vault"):
        method.forget(record, remaining.without(["a1"]), remaining.only(["a1"]), noise=noise_key(1, 10_001))


def test_rows_that_stay_must_be_those_of_before() -> None:
    """The account carries the past: features computed anew, or another l2, and its bounds are of something else."""
    rows, few = two_classes(80), ["a1"]
    method = CertifiedRemoval(noise_std=100.0, l2=1e-2)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    table = rows.table()
    drifted = Rows.of(1.05 * table.columns["x"], table.y, ids=table.ids, classes=2)
    for other, given in ((method, drifted), (dataclasses.replace(method, l2=0.02), rows)):
        with pytest.raises(MustRetrain, match="not those of the release before"):
            other.forget(record, given.without(few), given.only(few), noise=noise_key(2, 2))
    assert method.forget(record, rows.without(few), rows.only(few), noise=noise_key(2, 2)).stats["resolved"] == 0


def test_the_worst_case_counts_what_the_linear_solve_left() -> None:
    given: dict[str, Any] = {"row": 1.0, "l2": 0.1, "before": 11, "after": 10, "changed": 1, "residual": 0.0}
    exact = newton_residual.worst_case(0.1, **given, linear=torch.zeros(1))
    assert exact == pytest.approx(0.05 * 10 * (2 / 1.0) ** 2)
    left = newton_residual.worst_case(0.1, **given, linear=torch.zeros(1), unsolved=1.0)
    assert left == pytest.approx(0.05 * 10 * (3 / 1.0) ** 2)


def test_numbers_that_overflow_are_refused_or_solved_and_never_crash() -> None:
    assert newton_residual.spectral_bound(torch.full((2, 2), math.inf, dtype=torch.float64), 3) == math.inf
    with pytest.raises(InputError, match="NaN or infinity"):
        CertifiedRemoval(noise_std=1e3).learn(two_classes(30, scale=1e200), seed=0, noise=noise_key(1))
    wide = CertifiedRemoval(noise_std=10.0, bound="worst_case", row_norm=1e200)
    rows = two_classes(30)
    record = wide.learn(rows, seed=0, noise=noise_key(1))
    assert wide.forget(record, rows.without(["a1"]), rows.only(["a1"]), noise=noise_key(2, 2)).stats["resolved"] == 1


# What a certificate says, and a release holds, must not tell of the values that were forgotten.


@pytest.mark.parametrize(
    "method",
    [CertifiedRemoval(noise_std=1.0), CertifiedRemoval(noise_std=1.0, bound="worst_case", row_norm=9.0), PRIVATE],
)
def test_certificates_are_the_same_whatever_the_forgotten_rows_held(method: Any) -> None:
    rows, told = two_classes(60), []
    for given in (rows, substituted(rows, ("a3", "a5"))):
        record = method.learn(given, seed=0, noise=noise_key(1))
        retained, few = given.without(["a3", "a5"]), given.only(["a3", "a5"])
        step = method.forget(record, retained, few, noise=noise_key(2, 2))
        told.append((dataclasses.replace(step.certificate, doing_nothing_meets_it=False), method.release(step.record)))
    (mine, release), (theirs, other) = told
    assert mine == theirs
    assert set(release.tensors) == {"weights"}
    assert release.settings == other.settings


# Certified deep, where its bound fits: a linear model, a strong penalty, a small ball.


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 20, 38])
def test_where_certified_deep_certifies_retraining_is_near(precision: Any, batch: int) -> None:
    rows = two_classes(40, scale=0.3)
    learner = Sgd(
        Linear(),
        epochs=40,
        batch_size=64,
        learning_rate=0.05,
        momentum=0.0,
        l2=10.0,
        norm_bound=0.1,
        precision=precision,
    )
    method = CertifiedDeep(learner, damping=0.1, noise_std=1.0, hessian_lipschitz=2.0, gradient_bound=0.05)
    gone = [f"a{i}" for i in range(batch)]
    record = method.learn(rows, seed=1, noise=noise_key(1))
    step = method.forget(record, rows.without(gone), rows.only(gone), noise=noise_key(2, 2))
    again = method.learn(rows.without(gone), seed=1, noise=noise_key(2, 2))
    assert isinstance(step.certificate, Certified)
    assert again.stationary
    apart = torch.dist(learner.flat(step.record.training), learner.flat(again.training))
    assert apart <= step.certificate.distance / 2
    assert not isinstance(step.certificate, Exact)


def test_an_eigenvalue_that_lanczos_ends_without_is_not_above_its_bound() -> None:
    """It ends where a new direction is small, and an eigenvalue beside the others makes small ones only."""
    spectrum = torch.ones(10, dtype=torch.float64)
    spectrum[0] -= 1e-8
    start = torch.ones(10, dtype=torch.float64)
    start[0] = 1e-3
    found = lanczos(lambda v: spectrum * v, start, steps=8)
    assert found.steps == 1
    assert found.smallest > 1 - 1e-10  # a careless bound lies above the least eigenvalue
    assert found.least <= 1 - 1e-8
