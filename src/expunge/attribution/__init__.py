"""Attribution: which rows made the model as it is, and what forgetting them would change.

Find (`influence`, `self_influence`, `row_loss`, `nearest_to`), predict (`predicted_removal`), forget and measure
(`try_removals`). Everything starts from a release and the rows it was learned from.
"""

from __future__ import annotations

from expunge.attribution.influence import influence
from expunge.attribution.nearest_rows import nearest_to
from expunge.attribution.ranking import Ranking
from expunge.attribution.removal import Performance, performance, predicted_removal
from expunge.attribution.row_loss import row_loss
from expunge.attribution.self_influence import self_influence
from expunge.attribution.trained_model import TrainedModel, trained_model
from expunge.attribution.trial import Trial, try_removals
from expunge.attribution.white_box import Opened, opened

__all__ = [
    "Opened",
    "Performance",
    "Ranking",
    "TrainedModel",
    "Trial",
    "influence",
    "nearest_to",
    "opened",
    "performance",
    "predicted_removal",
    "row_loss",
    "self_influence",
    "trained_model",
    "try_removals",
]
