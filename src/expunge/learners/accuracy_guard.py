"""A guard on a forgetting step: what it costs in accuracy on rows that stay, and a refusal where that is too much."""

from __future__ import annotations

import torch

from expunge.errors import MustRetrain
from expunge.learners.learner import Learner, Training
from expunge.rows import Rows


def guarded(learner: Learner, before: Training, after: Training, rows: Rows, most: float) -> dict[str, float]:
    """The accuracy on `rows` before and after, for the operator; of a regression or several labels none is measured.

    Args:
        most: the largest loss of accuracy that is let through; 1 lets all through and measures nothing.

    Raises:
        MustRetrain: the step costs more, or its end is no longer a number. The rows to forget are then not forgotten,
            and nothing says they were.
    """
    if not all(bool(torch.isfinite(part).all()) for part in after.tensors.values()):
        raise MustRetrain("The step overflows the model's weights: the rows are not forgotten. Raise the damping.")
    if most >= 1 or not rows.classes:
        return {}
    was, now = (
        float((learner.predict(learner.release(model), rows.columns).argmax(1).cpu().numpy() == rows.y).mean())
        for model in (before, after)
    )
    if was - now > most:
        raise MustRetrain(
            f"The step takes accuracy on {len(rows)} retained rows from {was:.3f} to {now:.3f}, more than {most} "
            "allows: the rows are not forgotten. Learn again, or raise the damping."
        )
    return {"accuracy_before": was, "accuracy": now}
