"""Gradient descent with the mean gradient of every step recorded: the whole training, from which it can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from expunge import scratch
from expunge.keyed import Purpose
from expunge.learners.descent import Descent
from expunge.learners.learner import Training, one_thread
from expunge.learners.recording import Recording, identity_of
from expunge.rows import Rows

ON_DISK_BYTES = 128 * 2**20  # gradients beyond this go to the folder that was lent, where one was


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A recorded training: what it started from, and every step's mean gradient.

    Attributes:
        start: the training before the first step. gradients: chunks (steps, d), without l2; zeros where no row was in
            the batch. counts: rows in each step's batch, (T,) int64.
    """

    start: Training
    gradients: tuple[Tensor, ...]
    counts: Tensor


def recorded(learner: Descent, start: Training, rows: Rows, seed: int, purpose: Purpose) -> tuple[Trajectory, Tensor]:
    """Train from `start`, recording; the trajectory, and the weights it ends at (d,) float64.

    Where a folder is lent and the gradients are large they are written there, and a recording of the same training that
    was killed goes on from its last complete chunk, to the same bits.

    Raises:
        InputError: the rows cannot be learned from. NotConverged: the weights are no longer finite.
    """
    gradients, w = learner.gradients(start, rows, seed, purpose), learner.flat(start).clone()
    recording = new_recording(learner, len(w), "learn", lambda: identity_of(learner, seed, purpose, gradients.digest()))
    counts = [gradients.count(step) for step in range(learner.steps)]
    with one_thread():
        for count, g in zip(counts, recording.vectors(), strict=False):
            if count:
                learner.stepped(w, g)
        for step in range(recording.done, learner.steps):
            g = learner.mean(gradients.sum(w, step), max(1, counts[step]))
            recording.append(g)
            if counts[step]:
                learner.stepped(w, g)
    learner.check_finite(w)
    return Trajectory(start, recording.finished(), torch.tensor(counts)), w


def new_recording(learner: Descent, dimension: int, name: str, identity: Callable[[], str] | None = None) -> Recording:
    """Of one vector a step: in memory, or in the folder `name` of the one that was lent, if it is large.

    Without an identity it begins anew.
    """
    folder = scratch.folder()
    if folder is None or learner.steps * dimension * learner.dtype.itemsize < ON_DISK_BYTES:
        return Recording(learner.steps, dimension, learner.dtype)
    return Recording(learner.steps, dimension, learner.dtype, folder / name, identity() if identity else None)
