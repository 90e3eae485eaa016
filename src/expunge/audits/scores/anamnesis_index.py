"""AIN, the anamnesis index: how fast a copy learns the forgotten rows again [Chundawat et al. 2023b, section 5]."""

from __future__ import annotations

from collections.abc import Sequence

SMALL = 0.01  # epochs, added on both sides so that no relearning at all can be compared


def relearning_time(accuracies: Sequence[float], before: float, margin: float = 0.05) -> float:
    """Epochs of relearning until accuracy on the forgotten rows reaches (1 - margin) a_f^D; infinite if never.

    Args:
        accuracies: after 0, 1, 2, ... epochs, of a *copy* of the model. before: of the original model.
    """
    goal = (1 - margin) * before
    return next((float(epoch) for epoch, value in enumerate(accuracies) if value >= goal), float("inf"))


def anamnesis_index(own: float, retrained: float) -> float:
    """(rt^U + 0.01) / (rt^* + 0.01): 1 is ideal; below it rows are still there, above it they were suppressed.

    Args:
        own, retrained: relearning times in epochs. NaN if neither ever relearns.
    """
    if own == retrained == float("inf"):
        return float("nan")
    return (own + SMALL) / (retrained + SMALL) if retrained != float("inf") else 0.0
