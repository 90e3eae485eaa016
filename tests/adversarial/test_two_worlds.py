"""Two worlds: rows forgotten, or never there. An adversary who knows everything but the noise tries to tell which.

The adversary is given more than any real one: the retained rows, both noiseless centres, and the choice of where each
world's solver starts, so that both stop as far from the minimiser as the tolerance lets them, on opposite sides. What
is measured is a lower bound of mu (Clopper & Pearson, one false alarm in 10^4) from the best test there is, a threshold
along the line that joins the centres. Broken variants show that the measurement would notice.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri
from scipy.stats import beta
from torch import Tensor

from expunge.certificate import Certified
from expunge.maths import privacy
from expunge.methods.certified_newton import CertifiedNewton, CertifiedNewtonRecord
from expunge.noise import NoiseKey, add_noise
from expunge.rows import Rows

DRAWS = 200_000
ALPHA = 1e-4
METHOD = CertifiedNewton(loss="logistic", l2=1e-2, noise_std=0.1, epsilon=1.0, delta=1e-5)


def rows_of_one_number(n: int = 200) -> Rows:
    """Values so small that the loss is nearly flat in the weight: there the distance bound is nearly met."""
    generator = np.random.default_rng(11)
    return Rows.of(1e-3 * generator.normal(size=(n, 1)), np.arange(n) % 2, classes=2)


ROWS = rows_of_one_number()
RETAINED, FORGOTTEN = ROWS.without(["0"]), ROWS.only(["0"])


def worst_start(method: CertifiedNewton, release: int, side: float, reach: float = 0.89) -> Tensor:
    """A point along the flat direction at which the solver stops at once, `reach` of its half of the distance away."""
    distance = method._budget().distance(release, 2)
    return (method.minimiser(RETAINED) + torch.tensor([side * reach * distance / 2, 0.0])).reshape(1, 2)


def forgotten_from(method: CertifiedNewton, start: Tensor, key: NoiseKey) -> CertifiedNewtonRecord:
    """The step of a world that had the row, from a record whose last release was `start`."""
    before = CertifiedNewtonRecord(weights=start, anchor=None, number=key.release - 1)
    return method.forget(before, RETAINED, FORGOTTEN, noise=key).record


def never_there(method: CertifiedNewton, start: Tensor, key: NoiseKey) -> CertifiedNewtonRecord:
    """The release of a world that never had the row, and began at `start`."""
    return method.adopt({"weight": start[:, :1], "bias": start[:, 1]}, RETAINED, seed=0, noise=key)


def centres(method: CertifiedNewton, release: int) -> tuple[Tensor, Tensor]:
    """Where the two worlds' releases lie without noise, when both solvers do their worst."""
    key = NoiseKey.fresh(release)
    one = forgotten_from(method, worst_start(method, release, +1.0), key)
    other = never_there(method, worst_start(method, release, -1.0), key)
    return tuple(method.centre(method.release(record), key) for record in (one, other))


def least_mu(one: Tensor, other: Tensor, noise_std: float) -> float:
    """A lower bound of the mu that tells the worlds apart, from releases drawn by the method's own mechanism."""
    line = (one - other) / torch.linalg.vector_norm(one - other)
    middle = float(line @ (one + other)) / 2
    above = [
        int((add_noise(c.repeat(DRAWS, 1), noise_std, NoiseKey.fresh()) @ line > middle).sum()) for c in (one, other)
    ]
    false_negatives, false_positives = (_at_most(misses) for misses in (DRAWS - above[0], above[1]))
    return float(-ndtri(false_positives) - ndtri(false_negatives))


def least_epsilon(one: Tensor, other: Tensor, noise_std: float, delta: float) -> float:
    """A lower bound of epsilon, over a grid of thresholds (each with its share of the false alarms)."""
    line = (one - other) / torch.linalg.vector_norm(one - other)
    scores = [
        np.sort((add_noise(c.repeat(DRAWS, 1), noise_std, NoiseKey.fresh()) @ line).numpy()) for c in (one, other)
    ]
    best, grid = 0.0, np.linspace(scores[1][0], scores[0][-1], 60)
    for threshold in grid:
        hits = DRAWS - int(np.searchsorted(scores[0], threshold, side="right"))
        false = DRAWS - int(np.searchsorted(scores[1], threshold, side="right"))
        power = 1 - _at_most(DRAWS - hits, ALPHA / len(grid))
        best = max(best, math.log(max(power - delta, 1e-300) / _at_most(false, ALPHA / len(grid))))
    return best


def _at_most(count: int, alpha: float = ALPHA) -> float:
    """The upper Clopper-Pearson bound of a probability seen `count` times in `DRAWS`."""
    return 1.0 if count >= DRAWS else float(beta.ppf(1 - alpha / 2, count + 1, DRAWS - count))


@pytest.mark.parametrize("release", [1, 3])
def test_nobody_tells_the_worlds_apart_better_than_the_share_of_the_release(release: int) -> None:
    one, other = centres(METHOD, release)
    claimed = METHOD._budget().mu(2) * privacy.release_share(release)
    found = least_mu(one, other, METHOD.noise_std)
    assert found <= claimed
    assert float(torch.linalg.vector_norm(one - other)) > 0.8 * METHOD.noise_std * claimed  # the start is bad indeed
    if release == 1:
        assert found > 0.7 * claimed  # and the measurement sees nearly all of what there is


def test_the_empirical_epsilon_stays_below_the_certificate() -> None:
    one, other = centres(METHOD, 1)
    step = METHOD.forget(
        METHOD.learn(ROWS, seed=0, noise=NoiseKey.fresh(1)), RETAINED, FORGOTTEN, noise=NoiseKey.fresh(2)
    )
    assert isinstance(step.certificate, Certified)
    assert least_epsilon(one, other, METHOD.noise_std, METHOD.delta) < step.certificate.epsilon
    assert least_epsilon(one, other, METHOD.noise_std / 20, METHOD.delta) > step.certificate.epsilon  # control


def test_spending_the_whole_distance_on_one_side_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive control: with a tolerance twice as wide, the worst start is twice as far away."""
    claimed = METHOD._budget().mu(2) * privacy.release_share(1)
    monkeypatch.setattr(
        "expunge.methods.certified_newton.residual_tolerance", lambda noise_std, mu, strong: strong * noise_std * mu
    )
    key = NoiseKey.fresh(1)
    one = forgotten_from(METHOD, worst_start(METHOD, 1, +1.0, reach=1.78), key)
    other = never_there(METHOD, worst_start(METHOD, 1, -1.0, reach=1.78), key)
    apart = [METHOD.centre(METHOD.release(record), key) for record in (one, other)]
    assert least_mu(apart[0], apart[1], METHOD.noise_std) > claimed


def test_a_twentieth_of_the_noise_is_noticed() -> None:
    claimed = METHOD._budget().mu(2) * privacy.release_share(1)
    one, other = centres(METHOD, 1)
    assert least_mu(one, other, METHOD.noise_std / 20) > 5 * claimed


def test_not_forgetting_is_noticed() -> None:
    """Positive control: an influential row, and a method that adds fresh noise to the old centre."""
    x, y = np.r_[ROWS.columns["x"], [[30.0]]], np.r_[ROWS.y, 1]
    rows = Rows.of(x, y, classes=2)
    untouched, clean = METHOD.minimiser(rows), METHOD.minimiser(rows.without(["200"]))
    claimed = METHOD._budget().mu(2) * privacy.release_share(1)
    assert least_mu(untouched, clean, METHOD.noise_std) > claimed


def test_the_draws_above_are_those_of_the_method() -> None:
    """The mechanism of `least_mu` is that of `forget`, bit for bit, and its key is the only thing that is random."""
    start = worst_start(METHOD, 2, 1.0)
    for _ in range(50):
        key = NoiseKey.fresh(2)
        weights = forgotten_from(METHOD, start, key).weights
        assert torch.equal(weights, add_noise(start, METHOD.noise_std, key))  # the start was good enough to stay


def test_random_starts_never_lead_outside_the_half_distance() -> None:
    """No crafted start: the releases of 150 lives, each forgotten from its own noisy release."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(120, 2)) * [1.0, 1e-3]
    rows = Rows.of(x, (x[:, 0] > 0).astype(int), classes=2)
    retained, forgotten = rows.without(["0", "1"]), rows.only(["0", "1"])
    clean = METHOD.minimiser(retained)
    worst = 0.0
    for _ in range(150):
        first, second = NoiseKey.fresh(1), NoiseKey.fresh(2)
        step = METHOD.forget(METHOD.learn(rows, seed=0, noise=first), retained, forgotten, noise=second)
        assert isinstance(step.certificate, Certified)
        apart = torch.linalg.vector_norm(METHOD.centre(METHOD.release(step.record), second) - clean)
        worst = max(worst, float(apart) / (step.certificate.distance / 2))
    assert 0 < worst <= 1 + 1e-6
