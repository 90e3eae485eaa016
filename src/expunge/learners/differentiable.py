"""Learners whose model is a flat vector under an objective with derivatives: what second-order methods start from."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from expunge.learners.learner import Learner, Training
from expunge.objective import Objective


class Differentiable(Learner):
    """A learner that trains a model by an objective F(w; D), and can be asked for it."""

    @abstractmethod
    def objective(self, training: Training) -> Objective:
        """F(w; D) of the trained model: the loss and penalty it was trained with."""

    @abstractmethod
    def flat(self, training: Training) -> Tensor:
        """The model's weights as the objective reads them, (d,) float64."""

    @abstractmethod
    def moved(self, training: Training, w: Tensor) -> Training:
        """The same training at weights `w` (d,), as if it had begun there: no moments."""

    @abstractmethod
    def shifted(self, training: Training, by: Tensor) -> Training:
        """The same training with `by` (d,) added to its weights; moments, buffers and counters stay as they are."""
