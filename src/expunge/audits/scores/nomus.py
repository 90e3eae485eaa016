"""NoMUS: test accuracy and closeness of an attack to chance, mixed [Choi & Na 2023, section 3]."""

from __future__ import annotations


def nomus(test_accuracy: float, attack_accuracy: float, weight: float = 0.5) -> float:
    """NoMUS = weight a_t + (1 - weight) (1 - 2 |MIA - 1/2|), in [0, 1].

    It looks at no retrained model, so it pays for being better than retraining: a model that was never asked to forget,
    and that generalises well, scores more than honest retraining. Never rank by it alone. (The paper's tables print
    |MIA - 1/2| where the text says MIA.)
    """
    return weight * test_accuracy + (1 - weight) * (1 - 2 * abs(attack_accuracy - 0.5))
