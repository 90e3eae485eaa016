"""KLOM: KL divergence of margins over models, for each row [Georgiev et al. 2024, appendix E.1].

For each row, the margins phi of N unlearned models and of M retrained ones ("oracles") are two samples of numbers;
KLOM is KL(unlearned || oracle) of their histograms.

As published: 20 equal bins from the smallest to the largest of both samples, the oracles' shares floored at 1e-5.
That is wrong at both ends. One margin blown up to 100 makes a bin so wide that everything honest falls into one, so a
wrecked model scores less than retraining does (0.17 against 1.04 measured); and with 20 models two samples of one law
score 3.0. So here bins lie between order statistics of the oracles: what a new oracle puts into the bin between the
i-th and the j-th of M is exactly (j - i) / (M + 1), whatever the law, and nothing needs a floor. The divergence is at
most ln(M + 1), reached where every unlearned model lies beyond all oracles. For a continuous law the null depends on
(N, M) alone: `klom_null` has its mean, which is printed beside.
"""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from expunge.audits.metrics import Floats, Integers
from expunge.audits.scores.margins import check_margins

CLIP, PUBLISHED_BINS, PUBLISHED_FLOOR = 100.0, 20, 1e-5


def klom(unlearned: Floats, oracles: Floats, bins: int | None = None) -> Floats:
    """KLOM of each row, (n,), in nats.

    Args:
        unlearned: margins (N, n). oracles: (M, n) of models that never saw the rows. bins: how many, the two outermost
            beyond the oracles' extremes; None takes two and one more for five unlearned models each, at most 20.

    Raises:
        InputError: fewer than 2 models on a side, or another number of rows.
    """
    check_margins(unlearned, oracles, 2)
    unlearned, oracles = (np.clip(side, -CLIP, CLIP) for side in (unlearned, oracles))
    cuts = _cuts(len(oracles), _bins(len(unlearned), len(oracles)) if bins is None else bins)
    q = np.diff(cuts) / (len(oracles) + 1)
    ordered = np.sort(oracles, axis=0)
    found = np.empty(unlearned.shape[1])
    for row in range(unlearned.shape[1]):
        found[row] = rel_entr(_shares(unlearned[:, row], ordered[:, row], cuts), q).sum()
    return found


def klom_null(unlearned: int, oracles: int, bins: int | None = None, rows: int = 4000) -> float:
    """Mean KLOM of N and M models of one law (any continuous one), by simulation from a fixed seed."""
    generator = np.random.default_rng(0)
    draw = generator.random
    return float(klom(draw((unlearned, rows)), draw((oracles, rows)), bins).mean())


def klom_as_published(unlearned: Floats, oracles: Floats) -> Floats:
    """The published KLOM of each row, (n,), to compare with published tables and with nothing else."""
    unlearned, oracles = (np.clip(side, -CLIP, CLIP) for side in (unlearned, oracles))
    found = np.empty(unlearned.shape[1])
    for row in range(unlearned.shape[1]):
        sides = (unlearned[:, row], oracles[:, row])
        edges = np.histogram_bin_edges(np.concatenate(sides), PUBLISHED_BINS)
        p, q = (np.histogram(side, edges)[0] / len(side) for side in sides)
        found[row] = rel_entr(p, np.maximum(q, PUBLISHED_FLOOR)).sum()
    return found


def _bins(unlearned: int, oracles: int) -> int:
    return min(20, 2 + max(1, unlearned // 5), oracles + 1)


def _cuts(oracles: int, bins: int) -> Integers:
    """The M + 1 gaps between order statistics dealt to bins: first and last a gap each, the rest evenly."""
    inner = np.linspace(1, oracles, max(bins - 2, 1) + 1).round().astype(np.int64)
    return np.unique(np.concatenate([[0], inner, [oracles + 1]]))


def _shares(values: Floats, ordered: Floats, cuts: Integers) -> Floats:
    """Share of `values` in each bin; one that equals oracles is spread over all the gaps that touch them."""
    first, last = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    # Mass of a value over gaps first..last, summed to bins: the overlap of two ranges of gaps.
    low, high = np.maximum(first[:, None], cuts[:-1]), np.minimum(last[:, None] + 1, cuts[1:])
    overlap = np.maximum(high - low, 0) / (last - first + 1)[:, None]
    return np.asarray(overlap.mean(axis=0), dtype=np.float64)
