"""What a linear model with noise on every weight releases, how that predicts, and where its centre was."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from expunge.method import Release
from expunge.noise import NoiseKey, add_noise
from expunge.objective.linear import LinearObjective
from expunge.objective.objective import outputs
from expunge.schema import Array


def linear_release(weights: Tensor, loss: str) -> Release:
    """The noisy weights (outputs, inputs + 1), intercepts last, and the loss that turns scores into predictions."""
    return Release({"weights": weights}, {"loss": loss})


def linear_predictions(release: Release, columns: Mapping[str, Array]) -> Tensor:
    """Log-probabilities (m, classes), or values (m, outputs) of a regression."""
    weights, loss = release.tensors["weights"], release.settings["loss"]
    objective = LinearObjective(loss, 0.0, weights.shape[1] - 1, weights.shape[0])
    return outputs(objective.scores(weights.reshape(-1), columns), loss)


def centre_of(release: Release, noise_std: float, noise: NoiseKey) -> Tensor:
    """The released weights without their noise, flat; exact up to the grid they were rounded to."""
    weights = release.tensors["weights"]
    return (weights - add_noise(torch.zeros_like(weights), noise_std, noise)).reshape(-1)
