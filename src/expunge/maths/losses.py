"""Losses of one row as functions of its scores: value, slope, curvature, and what the scores predict.

Scores are (m, k). A loss is summed over outputs and never over rows. Slopes are written out and are differentiable and
stable at any score, so that second derivatives through a network start from them and not from the value.

    cross_entropy         logsumexp(s) - s_y                 y: codes 0..k-1
    logistic              log(1 + e^s) - y s                 y: 0 or 1, one output
    multilabel_logistic   sum_k log(1 + e^s_k) - y_k s_k     y: (m, k) of 0 or 1
    squared               sum_k (s_k - y_k)^2 / 2
    huber                 sum_k r^2/2 where |r| <= t, else t(|r| - t/2), r = s_k - y_k
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from typing_extensions import override

from expunge.errors import InputError


class Loss(ABC):
    """A loss of scores (m, k) and targets. Subclasses are final.

    Attributes:
        convex: whether it is convex in the scores, by its formula.
        separable: whether outputs do not interact, so that the curvature of a row is diagonal.
    """

    convex: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    @abstractmethod
    def targets(self, y: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        """The targets in the form the other functions take: codes (m,) int64, or numbers (m, k).

        Raises:
            InputError: y has the wrong shape, is not finite or is out of range.
        """

    @abstractmethod
    def values(self, scores: Tensor, y: Tensor) -> Tensor:
        """The loss of each row, (m,)."""

    @abstractmethod
    def slopes(self, scores: Tensor, y: Tensor) -> Tensor:
        """Derivatives of each row's loss by its scores, (m, k)."""

    @abstractmethod
    def curvature(self, scores: Tensor, y: Tensor) -> Tensor:
        """Second derivatives by the scores: the diagonals (m, k) when `separable`, else (m, k, k)."""

    @abstractmethod
    def outputs(self, scores: Tensor) -> Tensor:
        """What scores predict: log-probabilities (m, classes) or of each label (m, k); values for a regression."""

    @abstractmethod
    def curve(self, scores: Tensor, y: Tensor, direction: Tensor) -> Tensor:
        """The curvature of each row times `direction` (m, k), (m, k); never forms a (k, k) block."""


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Softmax cross-entropy."""

    separable: ClassVar[bool] = False

    @override
    def targets(self, y: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        del dtype
        codes = _codes(y, f"class codes 0..{outputs - 1}")
        if len(codes) and (codes.min() < 0 or codes.max() >= outputs):
            raise InputError(
                f"y holds class codes from {int(codes.min())} to {int(codes.max())}, and the model has {outputs} "
                f"outputs: give codes 0..{outputs - 1}, or a model with one output for each class."
            )
        return codes

    @override
    def values(self, scores: Tensor, y: Tensor) -> Tensor:
        return scores.logsumexp(1) - scores.gather(1, y[:, None])[:, 0]

    @override
    def slopes(self, scores: Tensor, y: Tensor) -> Tensor:
        return scores.softmax(1) - torch.nn.functional.one_hot(y, scores.shape[1]).to(scores.dtype)

    @override
    def curvature(self, scores: Tensor, y: Tensor) -> Tensor:
        del y
        p = scores.softmax(1)
        return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]

    @override
    def curve(self, scores: Tensor, y: Tensor, direction: Tensor) -> Tensor:
        del y
        p = scores.softmax(1)
        weighted = p * direction
        return weighted - p * weighted.sum(1, keepdim=True)

    @override
    def outputs(self, scores: Tensor) -> Tensor:
        return scores.log_softmax(1)


class Binary(Loss):
    """log(1 + e^s) - y s of each output: what `Logistic` and `MultilabelLogistic` share."""

    @override
    def values(self, scores: Tensor, y: Tensor) -> Tensor:
        return _binary_values(scores, y)

    @override
    def slopes(self, scores: Tensor, y: Tensor) -> Tensor:
        return scores.sigmoid() - y

    @override
    def curvature(self, scores: Tensor, y: Tensor) -> Tensor:
        del y
        return scores.sigmoid() * (-scores).sigmoid()

    @override
    def curve(self, scores: Tensor, y: Tensor, direction: Tensor) -> Tensor:
        return self.curvature(scores, y) * direction


@dataclass(frozen=True)
class Logistic(Binary):
    """Logistic loss of two classes on one output."""

    @override
    def targets(self, y: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        if outputs != 1:
            raise InputError(
                f"The logistic loss reads one output, and the model has {outputs}: build it with outputs=1, or use "
                "cross_entropy (one output for each class) or multilabel_logistic (one for each label)."
            )
        return _zeros_and_ones(_column(y, 1), dtype)

    @override
    def outputs(self, scores: Tensor) -> Tensor:
        return torch.cat([logsigmoid(-scores), logsigmoid(scores)], dim=1)


@dataclass(frozen=True)
class MultilabelLogistic(Binary):
    """A logistic loss for each of k labels, summed."""

    @override
    def targets(self, y: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        return _zeros_and_ones(_column(y, outputs), dtype)

    @override
    def outputs(self, scores: Tensor) -> Tensor:
        return logsigmoid(scores)


@dataclass(frozen=True)
class Squared(Loss):
    """Half the squared error."""

    @override
    def targets(self, y: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        return _finite(_column(y, outputs).to(dtype))

    @override
    def values(self, scores: Tensor, y: Tensor) -> Tensor:
        return ((scores - y) ** 2).sum(1) / 2

    @override
    def slopes(self, scores: Tensor, y: Tensor) -> Tensor:
        return scores - y

    @override
    def curvature(self, scores: Tensor, y: Tensor) -> Tensor:
        del y
        return torch.ones_like(scores)

    @override
    def curve(self, scores: Tensor, y: Tensor, direction: Tensor) -> Tensor:
        return self.curvature(scores, y) * direction

    @override
    def outputs(self, scores: Tensor) -> Tensor:
        return scores


@dataclass(frozen=True)
class Huber(Loss):
    """Squared near zero, linear beyond `threshold` (Huber 1964); its curvature jumps there."""

    threshold: float = 1.0

    def __post_init__(self) -> None:
        if not (self.threshold > 0 and math.isfinite(self.threshold)):
            raise ValueError(f"The threshold of the Huber loss is {self.threshold}; give a positive number.")

    @override
    def targets(self, y: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        return _finite(_column(y, outputs).to(dtype))

    @override
    def values(self, scores: Tensor, y: Tensor) -> Tensor:
        r = (scores - y).abs()
        near = r.clamp(max=self.threshold)
        return (near**2 / 2 + self.threshold * (r - near)).sum(1)

    @override
    def slopes(self, scores: Tensor, y: Tensor) -> Tensor:
        return (scores - y).clamp(-self.threshold, self.threshold)

    @override
    def curvature(self, scores: Tensor, y: Tensor) -> Tensor:
        return ((scores - y).abs() <= self.threshold).to(scores.dtype)

    @override
    def curve(self, scores: Tensor, y: Tensor, direction: Tensor) -> Tensor:
        return self.curvature(scores, y) * direction

    @override
    def outputs(self, scores: Tensor) -> Tensor:
        return scores


@dataclass(frozen=True)
class Custom(Loss):
    """Your own loss: `function(scores (m, k), y) -> (m,)`, twice differentiable by autograd, each row on its own.

    y arrives as it was given: integers as int64, other numbers in the dtype of the scores.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    convex: ClassVar[bool] = False
    separable: ClassVar[bool] = False

    @override
    def targets(self, y: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
        del outputs
        return _finite(y.to(dtype)) if y.is_floating_point() else y.long()

    @override
    def values(self, scores: Tensor, y: Tensor) -> Tensor:
        losses = self.function(scores, y)
        if losses.shape != scores.shape[:1]:
            raise InputError(
                f"Your loss gave shape {tuple(losses.shape)} for {len(scores)} rows; one value a row was expected: "
                "do not average inside it (reduction='none')."
            )
        return losses

    @override
    def slopes(self, scores: Tensor, y: Tensor) -> Tensor:
        slopes: Tensor = torch.func.grad(lambda s: self.values(s, y).sum())(scores)
        return slopes

    @override
    def curvature(self, scores: Tensor, y: Tensor) -> Tensor:
        columns = torch.eye(scores.shape[1], dtype=scores.dtype, device=scores.device)
        return torch.stack([self.curve(scores, y, e.expand_as(scores)) for e in columns], dim=2)

    @override
    def curve(self, scores: Tensor, y: Tensor, direction: Tensor) -> Tensor:
        product: Tensor = torch.func.vjp(lambda s: self.slopes(s, y), scores)[1](direction)[0]
        return product

    @override
    def outputs(self, scores: Tensor) -> Tensor:
        return scores


def _binary_values(scores: Tensor, y: Tensor) -> Tensor:
    # logsigmoid is exact at any score; softplus turns linear at 20, an error of 2e-9.
    return (-logsigmoid(-scores) - y * scores).sum(1)


def _column(y: Tensor, outputs: int) -> Tensor:
    """Y as (m, outputs)."""
    shaped = y[:, None] if y.ndim == 1 else y
    if shaped.ndim != 2 or shaped.shape[1] != outputs:
        raise InputError(
            f"y has rows of shape {tuple(y.shape[1:])} and the model has {outputs} outputs: they must agree. Take "
            "the loss for this target (cross_entropy for classes), or declare the target as numbers (classes=0)."
        )
    return shaped


OTHER_LOSS = "Declare classes, or take a loss for numbers ('squared', 'huber')."


def _codes(y: Tensor, expected: str) -> Tensor:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise InputError(f"y has rows of shape {tuple(y.shape[1:])}; {expected} were expected. {OTHER_LOSS}")
    if y.is_floating_point() and not torch.equal(_finite(y), y.round()):
        raise InputError(f"y holds numbers that are not whole; {expected} were expected. {OTHER_LOSS}")
    return y.long()


def _zeros_and_ones(y: Tensor, dtype: torch.dtype) -> Tensor:
    numbers = _finite(y.to(dtype))
    if bool(((numbers != 0) & (numbers != 1)).any()):
        raise InputError(
            f"y holds values from {float(numbers.min())} to {float(numbers.max())}; only 0 and 1 were expected. "
            f"{OTHER_LOSS}"
        )
    return numbers


def _finite(y: Tensor) -> Tensor:
    if y.is_floating_point() and not bool(torch.isfinite(y).all()):
        raise InputError("y holds NaN or infinity: drop these rows, or fill their targets in.")
    return y
