"""AUS, the adaptive unlearning score [Cotogni et al. 2023, equation 7]."""

from __future__ import annotations


def adaptive_unlearning_score(
    test_before: float, test_after: float, forgotten_after: float, *, whole_class: bool = False
) -> float:
    """(1 - (a_t^D - a_t^U)) / (1 + Delta), Delta = |a_t^U - a_f^U|; for a whole class Delta = a_f^U.

    Higher is better; 1 where test accuracy is kept and forgotten rows do as well as test rows. No retrained model is
    looked at: mislabelled rows, which an honest model gets wrong, make the best AUS a bad model's.
    """
    gap = forgotten_after if whole_class else abs(test_after - forgotten_after)
    return (1.0 - (test_before - test_after)) / (1.0 + gap)
