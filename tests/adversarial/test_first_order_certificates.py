"""Attacks on the certificates of Sekhari, descent to delete, distributed descent and mixed-linear forgetting.

Lives under the public interface, with settings and rows chosen to break a bound: scales far apart, duplicates, constant
and collinear columns, float32 and int columns, nearly all rows forgotten, release numbers skipped and near the last.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.budget import Budget
from expunge.carried import carried_distance, carry_on
from expunge.certificate import Certified, Uncertified
from expunge.errors import InputError, MustRetrain, NotConverged, Refused
from expunge.features import FrozenNetwork, Pipeline
from expunge.learners.inputs import in_key_order
from expunge.learners.sgd import Sgd
from expunge.maths import transcripts
from expunge.maths.floating_point import UNIT
from expunge.maths.reservoir import after_coming, after_leaving, drawn
from expunge.methods.descent_to_delete import DescentToDelete
from expunge.methods.distributed_descent import DistributedDescent, DistributedDescentRecord
from expunge.methods.mixed_linear import MixedLinear
from expunge.methods.sekhari import Sekhari
from expunge.models import Mlp
from expunge.noise import GRID_BITS, NoiseKey
from expunge.objective.bounds import magnitudes
from expunge.objective.projected_descent import minimiser_on_ball
from expunge.rows import Rows
from expunge.vault import Vault

NO_ANSWER = (InputError, MustRetrain, NotConverged, Refused)
LOSSES = ("cross_entropy", "logistic", "multilabel_logistic", "squared", "huber")


def hostile(g: np.random.Generator, loss: str) -> tuple[Rows, float, float]:
    """Rows, a bound of their norms and one of their targets'."""
    n, p = int(g.integers(4, 30)), int(g.integers(1, 4))
    scale = 10.0 ** g.integers(-5, 4)
    x = g.normal(size=(n, p)) * scale
    match int(g.integers(5)):
        case 0:
            x[:] = x[0]
        case 1:
            x[:, 0] = scale
        case 2:
            x[:, -1] = x[:, 0] * (1 + 1e-12)
        case 3:
            x[: n // 2] *= 1e-5
    x = x.astype(g.choice(["f4", "f8", "i4"]))
    classes = {"cross_entropy": 3, "logistic": 2}.get(loss)
    if classes:
        y: Any = g.integers(0, classes, n)
    elif loss == "multilabel_logistic":
        y = g.integers(0, 2, (n, 2)).astype(float)
    else:
        y = g.normal(size=n) * 10.0 ** g.integers(-2, 3)
    rows = Rows.of(x, y, classes=classes) if classes else Rows.of(x, y)
    large = magnitudes(rows)
    return rows, max(1e-9, math.sqrt(large.row**2 - 1)), max(1e-9, large.target)


def sekhari(g: np.random.Generator, loss: str, row: float, target: float) -> Sekhari:
    del target
    bound = "measured" if loss == "huber" else str(g.choice(["published", "measured"]))
    return Sekhari(
        loss=loss, bound=bound, row_norm=row, noise=str(g.choice(["independent", "carried"])),
        l2=10.0 ** g.integers(-4, 2), noise_std=10.0 ** g.integers(-3, 4), tol=10.0 ** g.integers(-10, 3),
    )  # fmt: skip


def descent(g: np.random.Generator, loss: str, row: float, target: float) -> DescentToDelete:
    variant = str(g.choice(["perfect", "secret", "weak_regularised"]))
    return DescentToDelete(
        loss=loss, variant=variant, calibration=str(g.choice(["published", "tight", "measured"])),
        row_norm=row, target_norm=target, radius=10.0 ** g.integers(-1, 2), tail=0.01 * (variant == "perfect"),
        l2=max(1.0, row**2) * 10.0 ** g.integers(-1, 1), noise_std=10.0 ** g.integers(0, 3),
    )  # fmt: skip


def affordable(method: Any, rows: Rows, number: int) -> bool:
    """Whether descent takes few steps."""
    if isinstance(method, Sekhari):
        return True
    within = method._ball(rows)
    half = method._budget().distance(number + 9, within.objective.dimension) / 2
    steps = within.smoothness / method.l2
    return bool(steps * ((2 * within.reach / half) ** 2 if "weak" in method.variant else 5.0) < 500)


def centre(method: Any, record: Any, key: NoiseKey) -> Tensor:
    if isinstance(method, Sekhari) and method.noise == "carried":
        flat: Tensor = (record.weights - record.carried.noise).reshape(-1)
        return flat
    noiseless: Tensor = method.centre(method.release(record), key)
    return noiseless


@pytest.mark.parametrize(("maker", "lives"), [(sekhari, 120), (descent, 60)])
def test_no_life_ends_farther_from_the_minimiser_than_half_of_the_certificate(maker: Any, lives: int) -> None:
    g, steps = np.random.default_rng(2), 0
    for life in range(lives):
        loss = LOSSES[life % len(LOSSES)]
        rows, row, target = hostile(g, loss)
        method, number = maker(g, loss, row, target), int(g.choice([1, 1, 5, 9990]))
        try:
            if not affordable(method, rows, number):
                continue
            record = method.learn(rows, seed=0, noise=NoiseKey.fresh(number))
            while len(rows) > 1:
                gone = g.choice(rows.ids, int(g.integers(1, max(2, len(rows) // 2))), replace=False)
                number += int(g.integers(1, 4))
                key, retained = NoiseKey.fresh(number), rows.without(gone)
                step = method.forget(record, retained, rows.only(gone), noise=key)
                record, rows = step.record, retained
                off = float(torch.linalg.vector_norm(centre(method, record, key) - method.minimiser(rows, tol=1e-11)))
                grid = method.noise_std * 2.0 ** (4 - GRID_BITS) * math.sqrt(record.weights.numel())
                assert off <= step.certificate.distance / 2 + grid + 1e-11 / method.l2
                steps += 1
        except NO_ANSWER:
            continue
    assert steps > 40


def test_the_published_bound_of_an_exact_step_covers_its_rounding() -> None:
    """Squared loss has no remainder: what is left is the fit's residual and rounding, held against fractions."""
    g, found = np.random.default_rng(3), 0
    for _ in range(60):
        n, scale, level = int(g.integers(4, 12)), 10.0 ** g.integers(-2, 4), 10.0 ** g.integers(-2, 6)
        x, y = g.normal(size=(n, 1)) * scale, g.normal(size=n) + level
        method = Sekhari(
            loss="squared", bound="published", row_norm=float(np.abs(x).max()), tol=1e-5,
            l2=10.0 ** g.integers(-2, 3), noise_std=1e6,
        )  # fmt: skip
        rows, k = Rows.of(x, y), int(g.integers(1, n // 2 + 1))
        gone = [str(i) for i in range(k)]
        try:
            record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
            step = method.forget(record, rows.without(gone), rows.only(gone), noise=NoiseKey.fresh(2))
        except NO_ANSWER:
            continue
        state = step.record.state
        released = [Fraction(v) for v in (state.fit + state.step()).tolist()]
        a, b = [Fraction(float(v)) for v in x[k:, 0]], [Fraction(float(v)) for v in y[k:]]
        stay, l2 = n - k, Fraction(method.l2)
        aa, ab = sum(v * v for v in a) / stay + l2, sum(a, Fraction(0)) / stay
        right = (sum((v * t for v, t in zip(a, b, strict=True)), Fraction(0)) / stay, sum(b, Fraction(0)) / stay)
        whole = aa * (1 + l2) - ab * ab
        truth = ((right[0] * (1 + l2) - ab * right[1]) / whole, (aa * right[1] - ab * right[0]) / whole)
        assert (
            math.hypot(*(float(r - t) for r, t in zip(released, truth, strict=True))) <= step.stats["published_bound"]
        )
        found += 1
    assert found > 20


def test_a_row_that_passes_the_check_is_within_the_constants() -> None:
    """The check rounds up by 1e-9 twice: constants of the bare bound would be too small for what it lets through."""
    x = np.array([[1 + 1e-9], [0.5], [-0.5], [0.2]])
    rows = Rows.of(x, np.arange(4) % 2, classes=2)
    within = DescentToDelete(loss="logistic")._ball(rows)
    within.check(rows)
    longest = math.hypot(1.0, float(x.max()))
    assert within.lipschitz >= longest
    assert within.smoothness >= longest**2 / 4 + 1e-2
    method = Sekhari(bound="published", row_norm=1.0, l2=1.0)
    method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    assert method._longest() >= longest


@pytest.mark.parametrize("bound", ["published", "measured"])
def test_a_bound_that_overflows_never_leaves_a_deletion_stuck(bound: str) -> None:
    rows = Rows.of(np.eye(6), np.arange(6) % 2, classes=2)
    method = Sekhari(bound=bound, row_norm=1e200, l2=0.1, noise_std=10.0)
    record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    try:
        step = method.forget(record, rows.without(["0"]), rows.only(["0"]), noise=NoiseKey.fresh(2))
    except MustRetrain:
        assert bound == "published"
    else:
        assert step.stats["published_bound"] == math.inf


@pytest.mark.parametrize("settings", [{"row_norm": 1e200}, {"loss": "squared", "target_norm": 1e200}])
@pytest.mark.parametrize("method", [DescentToDelete, DistributedDescent])
def test_public_bounds_that_overflow_are_refused(method: Any, settings: dict[str, Any]) -> None:
    rows = Rows.of(np.eye(6), np.arange(6) % 2 * 1.0, classes=0 if settings.get("loss") == "squared" else 2)
    with pytest.raises((InputError, Refused), match=r"too large to be squared|float64 vouches for no less"):
        method(**settings).learn(rows, seed=0, noise=NoiseKey.fresh(1))


def test_a_carried_transcript_stays_within_mu_for_every_deletion() -> None:
    """The exact likelihood ratio of the joint normal: numbers skipped, learned again in between, worst signs."""
    g, budget = np.random.default_rng(4), Budget(1.0, 1e-5, 1.0, 10.0)
    for _ in range(200):
        numbers = [int(t) for t in np.cumsum(g.integers(1, int(g.choice([2, 5, 900])), size=8))]
        again = np.cumsum(g.random(8) < 0.2)
        variances = [transcripts.increment_std(1.0, t) ** 2 for t in numbers]
        covariance = np.minimum.outer(variances, variances) * (again[:, None] == again)
        distances = np.array([carried_distance(budget, t, 4) for t in numbers])
        for s in range(8):
            for signs in ((-1.0) ** np.arange(8 - s), g.choice([-1.0, 1.0], 8 - s)):
                apart = distances[s:] * signs
                spent = math.sqrt(apart @ np.linalg.solve(covariance[s:, s:], apart))
                assert spent <= budget.mu(4)


def test_carried_noise_is_summed_without_rounding() -> None:
    """A sum of floats would err by more than the budget pays for, after a few hundred releases."""
    like, std, now = torch.zeros(40, dtype=torch.float64), 0.7, None
    exact, largest = [Fraction(0)] * 40, 0.0
    for t in range(1, 401):
        key = NoiseKey.fresh(t)
        drawn_ = transcripts.increment_std(std, t, t - 1) * torch.from_numpy(key.normals("release", (40,)))
        exact = [e + Fraction(v) for e, v in zip(exact, drawn_.tolist(), strict=True)]
        now = carry_on(now, like, std, key)
        largest = max(
            float(abs(e - Fraction(int(u)) * Fraction(now.unit))) for e, u in zip(exact, now.units, strict=True)
        )
        assert largest <= t * UNIT / 16 * std


def test_slots_have_the_law_of_a_fresh_bootstrap_after_any_history() -> None:
    """Two slots, so that their independence shows too: all pairs alike, after rows left, came and left again."""
    g, draws = np.random.default_rng(5), 60_000
    keys = g.permutation(100).astype(np.uint64)

    def u() -> NDArray[np.float64]:
        return g.random((draws, 2))

    slots = drawn(u(), 4)
    slots, _ = after_leaving(slots, keys[:4], keys[1:4], u())
    slots, _ = after_coming(slots, keys[1:4], keys[4:9], u(), u())
    slots, _ = after_leaving(slots, keys[1:9], keys[[1, 5, 6, 7]], u())
    slots, _ = after_coming(slots, keys[[1, 5, 6, 7]], keys[10:11], u(), u())
    counts = np.bincount(slots[:, 0] * 5 + slots[:, 1], minlength=25)
    assert len(counts) == 25
    assert ((counts - draws / 25) ** 2 / (draws / 25)).sum() < 24 + 6 * math.sqrt(48)


def test_every_subset_is_within_half_of_the_distance_in_every_order_of_steps() -> None:
    g = np.random.default_rng(6)

    def some(n: int, first: int) -> Rows:
        x = g.normal(size=(n, 2))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return Rows.of(x, g.integers(0, 2, n), classes=2, ids=[f"id-{first + i}" for i in range(n)])

    for number, calibration in ((1, "tight"), (14, "measured"), (9993, "measured")):
        method = DistributedDescent(loss="logistic", l2=0.1, subsets=3, calibration=calibration)
        rows, came = some(12, 0), 12
        record = method.learn(rows, seed=0, noise=NoiseKey.fresh(number))
        for _ in range(5):
            number += 1
            key = NoiseKey.fresh(number)
            if g.random() < 0.6 and len(rows) > 1:
                gone = g.choice(rows.ids, int(g.integers(1, len(rows))), replace=False)
                record = method.forget(record, rows.without(gone), rows.only(gone), noise=key).record
                rows = rows.without(gone)
            else:
                added, came = some(3, came), came + 3
                record = method.extend(record, rows, added, noise=key).record
                rows = rows.and_rows(added)
            assert _worst(method, record, rows) <= method._budget().distance(number, 3) / 2


def _worst(method: DistributedDescent, record: DistributedDescentRecord, rows: Rows) -> float:
    table, within = in_key_order(rows), method._ball(rows)
    subsets = [Rows.from_table(table.take(slots.numpy()), rows.schema.classes) for slots in record.slots]
    goals = [minimiser_on_ball(within, subset, tol=1e-12) for subset in subsets]
    return max(float(torch.dist(goal, w)) for goal, w in zip(goals, record.models, strict=True))


def _private(method: Any) -> Pipeline:
    model = Mlp((5,))
    module = model.build(_ROWS.schema, 1)
    weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return Pipeline((FrozenNetwork(model, origin="private", weights=weights, mu=0.05, max_forgotten=2),), method)


_ROWS = Rows.of(
    np.random.default_rng(7).normal(size=(30, 4)), np.arange(30) % 2, classes=2, ids=[f"r{i}" for i in range(30)]
)


def test_learning_again_around_a_network_that_knew_the_rows_is_not_exact(tmp_path: Path) -> None:
    """What learned again is the head; the network stays, and its count of forgotten rows goes on."""
    with Vault.create(tmp_path / "v", _ROWS, _private(Sekhari(l2=1e-2, noise_std=0.05)), seed=1) as vault:
        for gone, count in ((("r1", "r2", "r3", "r4"), 4), (("r5",), 5)):
            vault.request(ids=gone)
            (done,) = vault.work()
            assert isinstance(done.certificate, Uncertified)
            assert vault.record().gone == count
        assert done.relearned


def test_a_tail_is_not_composed_as_if_it_were_a_curve() -> None:
    """(1 + e^epsilon) times a tail's probability fits delta at its own epsilon, and not at the larger composed one."""
    spread: dict[str, Any] = {"l2": 0.5, "noise_std": 0.5, "row_norm": 8.0}
    with pytest.raises(Refused, match="does not compose with noised or private features"):
        _private(DescentToDelete(tail=0.01, **spread)).learn(_ROWS, seed=0, noise=NoiseKey.fresh(1))
    _private(DescentToDelete(**spread)).learn(_ROWS, seed=0, noise=NoiseKey.fresh(1))


def test_a_linearised_life_and_one_without_the_rows_lie_within_the_distance() -> None:
    g = np.random.default_rng(8)
    for scale, level in ((1e-3, 0.0), (1.0, 1e6), (1e3, 0.0)):
        x, core = g.normal(size=(24, 2)) * scale, (np.arange(24) < 6).astype(float)
        x[6:12] = x[6]
        rows = Rows.of({"x": x, "core": core}, g.normal(size=24) + level)
        learner = Sgd(model=Mlp((3,)), epochs=2, loss="squared", learning_rate=1e-4 / max(1.0, scale**2))
        method = MixedLinear(core=learner, l2=0.1, noise_std=10.0 * max(1.0, level), rank=4)
        record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        for number, gone in ((2, ["7"]), (5, ["6", "8", "23"]), (6, [str(i) for i in range(9, 23)])):
            key, retained = NoiseKey.fresh(number), rows.without(gone)
            step = method.forget(record, retained, rows.only(gone), noise=key)
            record, rows = step.record, retained
            without = method.release(method.learn(rows, seed=3, noise=key))
            apart = torch.dist(method.centre(method.release(record), key), method.centre(without, key))
            assert isinstance(step.certificate, Certified)
            assert float(apart) <= step.certificate.distance
