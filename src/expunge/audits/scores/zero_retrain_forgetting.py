"""ZRF, zero retrain forgetting: does the model answer on forgotten rows like one that knows nothing?

Chundawat et al. 2023a, equation 6 ("Can bad teaching induce forgetting?").
"""

from __future__ import annotations

from expunge.audits.metrics import Floats
from expunge.audits.scores.output_distance import jensen_shannon


def zero_retrain_forgetting(log_p: Floats, teacher: Floats) -> float:
    """1 - E_x JS(p(x), teacher(x)) on forgotten rows, in [1 - ln 2, 1]: 1 is a model that answers at random.

    A retrained model does not answer at random, so 1 is *not* the goal: the goal is the retrained model's own ZRF.

    Args:
        log_p, teacher: log-probabilities (n, classes) of the model and of one with random weights.
    """
    return 1.0 - jensen_shannon(log_p, teacher)
