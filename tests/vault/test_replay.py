"""Replaying: an honest state is equal, a doctored one is different, and what cannot be compared says why."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from expunge import record as records
from expunge.certificate import Basis, Certificate, Certified, Exact, Uncertified, View
from expunge.learners.convex import Convex
from expunge.method import Forgetting, Method, Release
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.retrain import Retrain
from expunge.methods.sisa import Sisa
from expunge.noise import NoiseKey, add_noise
from expunge.rows import Rows
from expunge.schema import Array
from expunge.vault import Vault, disclosure, receipts
from expunge.vault.keys import Keys
from expunge.vault.replay import DRAWS, Answer, Newest, plausible_lengths, replay
from expunge.vault.verify import Verified, opens, verify_chain

EXACT = Exact(("same seed",))


@dataclass(frozen=True, eq=False)
class State:
    weights: Tensor
    cache: Tensor


def mean(rows: Rows) -> Tensor:
    return torch.as_tensor(rows.columns["x"], dtype=torch.float64).mean(0)


def moment(rows: Rows) -> Tensor:
    x = torch.as_tensor(rows.columns["x"], dtype=torch.float64)
    return x.T @ x


@dataclass(frozen=True)
class Mean(Method[State]):
    """The mean, plus `noise_std` of noise on it, plus the seed."""

    noise_std: float = 0.0

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> State:
        return State(add_noise(mean(rows) + seed, self.noise_std, noise), moment(rows))

    def forget(self, record: State, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[State]:
        raise NotImplementedError

    def release(self, record: State) -> Release:
        return Release({"w": record.weights})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        raise NotImplementedError

    def settle(self, record: State, retained: Rows) -> State:
        return replace(record, cache=moment(retained))


@dataclass(frozen=True)
class Checked(Method[State]):
    """The same with a minimiser to compare with."""

    noise_std: float = 0.1

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> State:
        return State(add_noise(mean(rows), self.noise_std, noise), moment(rows))

    def forget(self, record: State, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[State]:
        raise NotImplementedError

    def release(self, record: State) -> Release:
        return Release({"w": record.weights})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        raise NotImplementedError

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        return mean(rows)

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        weights = release.tensors["w"]
        return weights - add_noise(torch.zeros_like(weights), self.noise_std, noise)


@dataclass(frozen=True)
class Shown:
    """A vault as a replay sees it."""

    method: Method[Any]
    seed: int
    held_rows: Rows
    held: Any
    said: Newest

    def rows(self) -> Rows:
        return self.held_rows

    def record(self) -> Any:
        return self.held

    def newest(self) -> Newest:
        return self.said


def rows_of(count: int = 40, width: int = 30) -> Rows:
    x = np.random.default_rng(3).normal(size=(count, width))
    return Rows.of(x, ids=[f"r{i}" for i in range(count)])


ROWS = rows_of()


def certified(noise_std: float = 0.1) -> Certified:
    return Certified(
        1.0, 1e-5, 0.268, 0.026 * noise_std, noise_std, Basis.MEASURED, View.TRANSCRIPT, "learning again", ()
    )


def shown(
    method: Method[Any], certificate: Certificate | None = EXACT, learned_from: Rows = ROWS, rows: Rows = ROWS
) -> Shown:
    record = method.learn(learned_from, seed=5, noise=NoiseKey(bytes(32), 2))
    digest = records.digest(method.release(record))
    said = Newest("v", 2, digest, settled=True, certificate=certificate, environment=None, receipt=digest)
    return Shown(method, 5, rows, record, said)


def told(vault: Shown, **changes: Any) -> Shown:
    return replace(vault, said=replace(vault.said, **changes))


def test_an_exact_state_is_equal_to_learning_again() -> None:
    found = replay(shown(Mean()))
    assert found.answer is Answer.EQUAL
    assert "bit for bit" in found.why
    assert replay(shown(Mean(), None)).answer is Answer.EQUAL


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({}, Answer.EQUAL),
        ({"vault": "other"}, Answer.DIFFERENT),
        ({"after": "0" * 64}, Answer.DIFFERENT),
        ({"release": 3}, Answer.DIFFERENT),
        ({"release": 1, "after": "0" * 64}, Answer.EQUAL),  # of an earlier release: it says nothing of this one
    ],
)
def test_a_receipt_shown_must_be_of_this_vault_and_release(change: dict[str, Any], answer: Answer) -> None:
    vault = shown(Mean())
    verified = Verified(
        event=receipts.Event.PURGED,
        vault="v",
        request=1,
        requested=None,
        time="2026-11-20T12:00Z",
        release=2,
        before=None,
        after=vault.said.digest,
        certificate=None,
        exposure=None,
        receipt="c" * 64,
        previous=None,
        digest="d" * 64,
        key_id="e" * 64,
        statement={},
    )
    assert replay(vault, replace(verified, **change)).answer is answer


@pytest.mark.parametrize("field", ["digest", "receipt"])
def test_another_release_than_was_signed_is_different(field: str) -> None:
    found = replay(told(shown(Mean()), **{field: "0" * 64}))
    assert found.answer is Answer.DIFFERENT
    assert ("ledger" if field == "digest" else "receipt") in found.why


def test_a_state_learned_from_a_forgotten_row_is_different() -> None:
    vault = shown(Mean(), rows=ROWS.without(["r7"]))
    settled = replace(vault, held=replace(vault.held, cache=moment(vault.rows())))
    found = replay(settled)
    assert found.answer is Answer.DIFFERENT
    assert "another record" in found.why


def test_a_stale_cache_is_different() -> None:
    vault = shown(Mean())
    stale = replace(vault, held=replace(vault.held, cache=moment(ROWS.without(["r7"]))))
    found = replay(stale)
    assert found.answer is Answer.DIFFERENT
    assert "caches differ" in found.why


def test_a_cache_that_is_no_number_is_different() -> None:
    vault = shown(Mean())
    assert replay(replace(vault, held=replace(vault.held, cache=vault.held.cache * np.nan))).answer is Answer.DIFFERENT


def test_a_cache_summed_in_another_order_is_no_difference() -> None:
    vault = shown(Checked(), certified())
    rounded = replace(vault, held=replace(vault.held, cache=vault.held.cache * (1 + 1e-14)))
    assert replay(rounded).answer is Answer.EQUAL


def test_before_the_purge_nothing_is_compared() -> None:
    vault = shown(Mean())
    stale = replace(vault, held=replace(vault.held, cache=moment(ROWS.without(["r7"]))))
    found = replay(told(stale, settled=False))
    assert found.answer is Answer.NOT_COMPARABLE
    assert "run work" in found.why


def test_a_difference_elsewhere_is_not_comparable_and_equality_is_equal_anywhere() -> None:
    elsewhere = {**disclosure.environment(), "instructions": "of another machine"}
    vault = shown(Mean(), rows=ROWS.without(["r7"]))
    vault = replace(vault, held=replace(vault.held, cache=moment(vault.rows())))
    assert replay(told(vault, environment=disclosure.environment())).answer is Answer.DIFFERENT
    found = replay(told(vault, environment=elsewhere))
    assert found.answer is Answer.NOT_COMPARABLE
    assert "environment" in found.why
    assert replay(told(shown(Mean()), environment=elsewhere)).answer is Answer.EQUAL


def test_a_release_is_different_in_any_environment_where_its_digest_is() -> None:
    assert replay(told(shown(Mean()), environment={}, digest="0" * 64)).answer is Answer.DIFFERENT


def test_an_uncertified_step_and_an_unexplained_first_record_are_not_comparable() -> None:
    assert replay(shown(Mean(), Uncertified("no bound"))).answer is Answer.NOT_COMPARABLE
    assert replay(shown(Mean(noise_std=0.1), None)).answer is Answer.NOT_COMPARABLE
    assert replay(shown(Mean(noise_std=0.1), certified())).answer is Answer.NOT_COMPARABLE


def test_noise_of_an_exact_learning_is_not_taken_for_a_difference() -> None:
    found = replay(shown(Mean(noise_std=0.1)))
    assert found.answer is Answer.NOT_COMPARABLE
    assert "noise of its own" in found.why


@pytest.mark.parametrize("certificate", [certified(), EXACT, None])
def test_a_noised_release_is_plausible_around_its_minimiser(certificate: Certificate | None) -> None:
    assert replay(shown(Checked(), certificate)).answer is Answer.EQUAL


def test_a_release_without_its_noise_is_different() -> None:
    vault = shown(Checked(), certified())
    bare = replace(vault.held, weights=mean(ROWS))
    digest = records.digest(vault.method.release(bare))
    found = replay(told(replace(vault, held=bare), digest=digest, receipt=digest))
    assert found.answer is Answer.DIFFERENT


def test_a_release_of_too_little_noise_is_different() -> None:
    vault = shown(Checked(noise_std=0.01), certified())
    assert replay(replace(vault, method=Checked())).answer is Answer.DIFFERENT


def test_a_release_that_kept_a_far_row_is_different() -> None:
    x = np.vstack([ROWS.columns["x"], np.full((1, 30), 40.0)])
    every = Rows.of(x, ids=[f"r{i}" for i in range(41)])
    vault = shown(Checked(noise_std=0.01), certified(0.01), learned_from=every)
    assert replay(vault).answer is Answer.DIFFERENT
    assert replay(replace(vault, held_rows=every)).answer is Answer.EQUAL  # the positive control


@pytest.mark.parametrize(("dimension", "distance"), [(1, 0.0), (1, 0.3), (30, 0.0), (1000, 0.3)])
def test_plausible_lengths_hold_the_mass_they_promise(dimension: int, distance: float) -> None:
    least, most = plausible_lengths(dimension, 1.0, distance)
    noise = np.random.default_rng(0).normal(size=(20_000, dimension)) * np.sqrt(1 + 1 / DRAWS)
    noise[:, 0] += distance
    lengths = np.linalg.norm(noise, axis=1)
    assert ((least <= lengths) & (lengths <= most)).all()
    assert most < np.sqrt(dimension) + 6
    if dimension > 100:
        assert least > np.sqrt(dimension) - 6
    assert plausible_lengths(dimension, 2.0, 2 * distance)[1] == pytest.approx(2 * most)


def test_certified_newton_replays_and_a_model_of_other_rows_does_not() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(120, 4))
    y = (x[:, 0] + 0.3 * generator.normal(size=120) > 0).astype(int)
    rows = Rows.of(x, y, ids=[f"p{i}" for i in range(120)], classes=3)
    method = CertifiedNewton(noise_std=1e-3, l2=1e-2)
    record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    retained, gone = rows.without(["p3", "p4"]), rows.only(["p3", "p4"])
    step = method.forget(record, retained, gone, noise=NoiseKey.fresh(2))
    settled = method.settle(step.record, retained)

    def vault(state: Any, held: Rows) -> Shown:
        digest = records.digest(method.release(state))
        return Shown(
            method, 0, held, state, Newest("v", 2, digest, True, step.certificate, disclosure.environment(), digest)
        )

    assert replay(vault(settled, retained)).answer is Answer.EQUAL
    found = replay(vault(step.record, retained))
    assert found.answer is Answer.DIFFERENT, "the curvature anchored at the release before"
    assert "caches" in found.why
    flipped = Rows.of(x, 1 - y, ids=[f"p{i}" for i in range(120)], classes=3).without(["p3", "p4"])
    assert replay(vault(method.settle(step.record, flipped), flipped)).answer is Answer.DIFFERENT


LEARNER = Convex("cross_entropy", 1e-2, 1e-8)


@pytest.mark.parametrize(
    "method", [CertifiedNewton(), Retrain(LEARNER), Sisa(LEARNER, shards=3, slices=2)], ids=lambda m: type(m).__name__
)
def test_a_vault_replays_and_its_receipts_form_a_chain(method: Method[Any], tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    x = generator.normal(size=(60, 3))
    rows = Rows.of(
        x,
        (x[:, 0] > 0).astype(int),
        ids=[f"patient-{i}" for i in range(60)],
        subjects=[f"ward-{i // 2}" for i in range(60)],
    )
    with Vault.create(tmp_path / "v", rows, method, seed=3) as vault:
        assert replay(vault).answer is Answer.EQUAL
        vault.request(["patient-1"])
        vault.request(subjects=["ward-5"])
        vault.work()
        vault.request(["patient-40"])
        vault.work()
        chain = verify_chain(vault.receipts(), vault.public_key())
        assert [(link.request, link.event.value, link.release) for link in chain] == [
            *((1, "forgotten", 2), (2, "forgotten", 2), (1, "purged", 2), (2, "purged", 2)),
            *((3, "forgotten", 3), (3, "purged", 3)),
        ]
        assert replay(vault, chain[-1]).answer is Answer.EQUAL
        assert chain[-1].vault == vault.id
        text = json.dumps([link.statement for link in chain])
        assert vault.id in text  # the positive control
        assert not re.search(r"patient-|ward-", text)
        (opened,) = (link for link in chain if link.request == 2 and link.event is receipts.Event.FORGOTTEN)
        keys = Keys.read(tmp_path / "v.key", vault.id)
        commitment = opened.statement["predicate"]["commitments"]["values"]["ids"]
        label = receipts.commitment_label(vault.id, 2, receipts.Event.FORGOTTEN, "ids")
        assert opens(commitment, keys.opening(label), ["patient-10", "patient-11"])
