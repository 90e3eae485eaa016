"""The score of the NeurIPS 2023 unlearning challenge, and its repair [Triantafillou et al. 2024, section 3].

For each forgotten row an attacker tells N unlearned from M retrained models by their margins phi. The best event S
among all thresholds and intervals gives epsilon (`epsilon_of_rates`, delta = 1e-5), and

    H = 2^-floor(epsilon / 0.5), 0 from ceil(ln(N - 1)) on;   F = mean of H over rows;
    score = F (a_r^U / a_r^*) (a_t^U / a_t^*).

As published the event is chosen among thousands and judged on the same models: two samples of one law give epsilon 1.5
and F = 0.19 instead of 0 and 1. (The published code, as it stands, also stops on an assertion about an array.)
Repaired: the event is chosen on half of the models and judged on the other half, in turn, with rates
(k + 1/2) / (n + 1). For a continuous law F of two equal laws depends on (N, M) alone: `quality_null` has it, and
F / F_null is what to report.
"""

from __future__ import annotations

import math

import numpy as np

from expunge.audits.error_rates import counts_inside, cut_points, epsilon_of_rates
from expunge.audits.metrics import Floats
from expunge.audits.scores.margins import check_margins

DELTA, CAP, WIDTH, REACH = 1e-5, 50.0, 0.5, 2.0


def row_epsilons(unlearned: Floats, retrained: Floats) -> Floats:
    """Held-out epsilon of each row, (n,), of margins (N, n) and (M, n): the mean of two halves.

    Raises:
        InputError: fewer than 4 models on a side, or another number of rows.
    """
    check_margins(unlearned, retrained, 4)
    found = np.empty(unlearned.shape[1])
    for row in range(unlearned.shape[1]):
        u, r = unlearned[:, row], retrained[:, row]
        halves = [(u[0::2], r[0::2]), (u[1::2], r[1::2])]
        found[row] = np.mean([_judged(choose, judge) for choose, judge in (halves, halves[::-1])])
    return found


def row_epsilons_as_published(unlearned: Floats, retrained: Floats) -> Floats:
    """In-sample epsilon of each row, (n,), as the challenge computed it; events of no error on one side are dropped."""
    found = np.empty(unlearned.shape[1])
    for row in range(unlearned.shape[1]):
        u, r = unlearned[:, row], retrained[:, row]
        ranges = sorted((float(np.ptp(u)), float(np.ptp(r))))
        if ranges[0] < 0.01 * ranges[1]:
            found[row] = CAP
            continue
        singles, doubles = _published_events(u, r, ranges[0])
        found[row] = min(CAP, max(_in_sample(*sides) for sides in (singles, doubles)))
    return found


def forgetting_quality(epsilons: Floats, models: int) -> float:
    """F = mean of H over rows. models: N, of the unlearned ones."""
    end = math.ceil(math.log(max(models - 1, 2)))
    return float(np.mean(np.where(epsilons < end, 0.5 ** np.floor(epsilons / WIDTH), 0.0)))


def quality_null(unlearned: int, retrained: int, rows: int = 400, *, as_published: bool = False) -> float:
    """F of N and M models of one law (any continuous one), by simulation from a fixed seed."""
    draw = np.random.default_rng(0).normal
    epsilons = row_epsilons_as_published if as_published else row_epsilons
    return forgetting_quality(epsilons(draw(size=(unlearned, rows)), draw(size=(retrained, rows))), unlearned)


def challenge_score(quality: float, retained: tuple[float, float], test: tuple[float, float]) -> float:
    """F (a_r^U / a_r^*) (a_t^U / a_t^*); retained, test: (accuracy of the unlearned, of the retrained models).

    Unbounded above: a model better than retraining is paid for it.
    """
    return quality * (retained[0] / retained[1]) * (test[0] / test[1])


def _judged(choose: tuple[Floats, Floats], judge: tuple[Floats, Floats]) -> float:
    """Epsilon on `judge` of the interval, and of the side that is called positive, that is best on `choose`."""
    cuts = cut_points(*choose)
    rates = [_rate(counts_inside(side, cuts), len(side)) for side in choose]
    left, right = np.unravel_index(int(epsilon_of_rates(rates[1], 1 - rates[0], DELTA).argmax()), rates[0].shape)
    low, high = cuts[left], cuts[right]
    inside = [_rate(np.sum((low < side) & (side <= high)), len(side)) for side in judge]
    # Which side the event speaks for was chosen too: the other way round it is no evidence.
    if (inside[0] > inside[1]) != bool(rates[0][left, right] > rates[1][left, right]):
        return 0.0
    return float(epsilon_of_rates(inside[1], 1 - inside[0], DELTA))


def _rate(count: Floats | np.integer, size: int) -> Floats:
    return np.asarray((np.asarray(count, dtype=np.float64) + 0.5) / (size + 1))


def _published_events(u: Floats, r: Floats, width: float) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Shares (positive, negative) in each published event: right of a threshold, and in intervals of about `width`.

    Positive is the side of the larger median, for intervals the one of the smaller range. The published grid of step
    0.01 is as good as all cuts between two values.
    """
    cuts = cut_points(u, r)
    inside = [counts_inside(side, cuts) / len(side) for side in (u, r)]
    positive, negative = inside if np.median(u) >= np.median(r) else inside[::-1]
    singles = (positive[:, -1], negative[:, -1])
    peak, wide = inside if np.ptp(u) <= np.ptp(r) else inside[::-1]
    side = u if np.ptp(u) <= np.ptp(r) else r
    after = np.append(cuts[1:], np.inf)
    # Both ends of the interval may lie anywhere between two cuts: the set (cuts[i], cuts[j]] is met by some lengths.
    with np.errstate(invalid="ignore"):
        shortest, longest = cuts[None, :] - after[:, None], after[None, :] - cuts[:, None]
        met = (shortest < width + REACH) & (longest > width - REACH)
    met &= ((after > side.min() + width - REACH) & (cuts < side.max() + REACH))[None, :]
    return singles, (peak[met], wide[met])


def _in_sample(positive: Floats, negative: Floats) -> float:
    fpr, fnr = negative, 1 - positive
    kept = (fpr > 0) == (fnr > 0)
    return float(epsilon_of_rates(fpr[kept], fnr[kept], DELTA).max(initial=0.0))
