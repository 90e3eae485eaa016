"""A model, a loss and l2 read as F(w; D) = mean loss + l2/2 ||w||^2 on a flat vector, with its derivatives."""

from expunge.objective.linear import LinearObjective
from expunge.objective.module import ModuleObjective
from expunge.objective.objective import Objective, loss_for, outputs

__all__ = ["LinearObjective", "ModuleObjective", "Objective", "loss_for", "outputs"]
