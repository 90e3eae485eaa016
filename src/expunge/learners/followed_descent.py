r"""A recorded gradient descent, followed with some rows gone or joined: DeltaGrad's loop [Wu et al. 2020, Alg. 1].

w_t are the recorded weights and g_t the recorded mean gradients; u = w^U_t are those of the training that is followed,
v = u - w. See methods/delta_grad.py for the formulas, and maths/changed_rows.py for their terms.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.learners.batch_gradients import BatchGradients
from expunge.learners.descent import Descent
from expunge.learners.descent_recording import Trajectory, new_recording
from expunge.learners.learner import one_thread
from expunge.learners.recording import vectors
from expunge.maths.changed_rows import forcing, mean_without, moved_mean, secant_change
from expunge.maths.exact_steps import ExactSteps
from expunge.maths.secants import Secants


def followed(
    learner: Descent,
    old: Trajectory,
    now: BatchGradients,
    changed: BatchGradients,
    sign: int,
    *,
    schedule: ExactSteps,
    secants: Secants,
    all_exact: bool,
) -> tuple[Trajectory, Tensor, dict[str, float]]:
    """The trajectory followed, the weights it ends at (d,) float64, and figures.

    Args:
        old: the recorded training. now: the rows there are now. changed: those that left (sign 1) or joined (-1).
        schedule, secants: when steps are exact, and the empty memory of pairs. all_exact: every step is evaluated, and
            the result is that of learning the rows there are now, bit for bit.

    Raises:
        NotConverged: the weights are no longer finite.
    """
    w = learner.flat(old.start).clone()
    u, apart, counts = w.clone(), False, []
    nothing, new = torch.zeros_like(w), new_recording(learner, len(w), "forget")
    exact = guarded = visited = 0
    with one_thread():
        for t, (g, before) in enumerate(zip(vectors(old.gradients), old.counts.tolist(), strict=True)):
            gone = sign * changed.count(t)
            after, due, followed_g, error, force = before - gone, schedule.is_due(t), g, None, 0.0
            if not after:
                followed_g = nothing
            elif apart or gone:
                v, part = u - w, changed.sum(u, t)
                product = secants.product(v) if apart and before else nothing
                mean = None if product is None else moved_mean(g, product, v, learner.l2)
                if mean is None or all_exact or (due and apart):
                    total = now.sum(u, t)
                    followed_g = learner.mean(total, after)
                    if apart and before:
                        true = (total.double() + sign * part) / before  # of the whole old batch, at u
                        secants.add(v, secant_change(true, g, v, learner.l2))
                        error = None if mean is None else float((mean - true).norm())
                        force = forcing(g, part, before, gone)
                    exact, guarded, visited = exact + 1, guarded + (not due), visited + after
                else:  # v = 0 at a step that is due: nothing is approximated
                    followed_g = mean_without(mean, part, before, gone).to(learner.dtype)
            if due or error is not None:
                schedule = schedule.after(t, error, force)
            new.append(followed_g)
            counts.append(after)
            apart = apart or gone != 0
            if before:
                learner.stepped(w, g)
            if after:
                learner.stepped(u, followed_g)
    learner.check_finite(u)
    figures = {
        "exact_steps": float(exact),
        "guarded_steps": float(guarded),
        "pairs_not_taken": float(secants.not_taken),
        "rows_visited": float(visited),
        "period": float(schedule.period),
        "moved": float((u - w).norm()),
        "estimated_share": schedule.estimated_share,
    }
    return Trajectory(old.start, new.finished(), torch.tensor(counts)), u, figures
