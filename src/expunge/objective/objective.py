"""The objective F(w; D) = (1/n) sum_i loss_i(w) + l2/2 ||w||^2 on a flat vector w: what every method differentiates.

Every parameter is penalised, intercepts included: a certificate's strong convexity rests on it. Everything follows the
dtype and device of w; rows are read in micro-batches, and no result depends on how they were cut, up to rounding.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from torch import Tensor

from expunge.errors import InputError
from expunge.maths.losses import CrossEntropy, Custom, Huber, Logistic, Loss, MultilabelLogistic, Squared
from expunge.rows import Rows
from expunge.schema import Array

LOSSES: Mapping[str, Callable[[], Loss]] = {
    "cross_entropy": CrossEntropy,
    "logistic": Logistic,
    "multilabel_logistic": MultilabelLogistic,
    "squared": Squared,
    "huber": Huber,
}

AnyLoss = str | Loss | Callable[[Tensor, Tensor], Tensor]
Product = Callable[[Tensor], Tensor]


class Objective(ABC):
    """F(w; D) and its derivatives. Two kinds: `LinearObjective` (closed forms) and `ModuleObjective` (any network).

    Attributes:
        loss: of one row. l2: lambda of lambda/2 ||w||^2, added to the *mean* loss. dimension: of w.
        strong_convexity: a number mu such that F(.; D) is mu-strongly convex on any rows, by its structure alone; 0
            where none is known. Certified methods refuse 0.
    """

    loss: Loss
    l2: float
    dimension: int
    strong_convexity: float

    @abstractmethod
    def start(self, seed: int) -> Tensor:
        """Weights to start from, (d,) float64: zeros for a linear model, else drawn from the seed."""

    @abstractmethod
    def scores(self, w: Tensor, columns: Mapping[str, Array]) -> Tensor:
        """Raw scores (m, k); `outputs` turns them into predictions."""

    @abstractmethod
    def value(self, w: Tensor, rows: Rows) -> Tensor:
        """F(w; D), a scalar.

        Raises:
            InputError: no rows, a column is missing, not numeric or not finite, or y is out of range. (So below.)
        """

    @abstractmethod
    def gradient(self, w: Tensor, rows: Rows) -> Tensor:
        """The gradient of F, (d,)."""

    @abstractmethod
    def value_and_gradient(self, w: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """F and its gradient, in one pass."""

    @abstractmethod
    def gradient_and_hessian(self, w: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """The gradient (d,) and dense Hessian (d, d) of F, in one pass."""

    @abstractmethod
    def hessian(self, w: Tensor, rows: Rows) -> Tensor:
        """The dense Hessian of F, (d, d)."""

    @abstractmethod
    def hvp(self, w: Tensor, rows: Rows) -> Product:
        """The product v (d,) -> Hessian of F times v (d,). Building it does the work that all v share."""

    @abstractmethod
    def ggn(self, w: Tensor, rows: Rows) -> Product:
        """The product v (d,) -> Gauss-Newton matrix of F (l2 included) times v; semi-definite for convex losses."""

    @abstractmethod
    def gradient_sum(self, w: Tensor, rows: Rows) -> Tensor:
        """The sum of the rows' loss gradients, without l2, (d,); zeros for no rows."""

    @abstractmethod
    def row_gradients(self, w: Tensor, rows: Rows) -> Tensor:
        """The gradient of each row's loss, without l2, (n, d)."""

    @abstractmethod
    def row_products(self, w: Tensor, rows: Rows, v: Tensor) -> Tensor:
        """<gradient of loss i, v> for every row, without l2, (n,)."""


def loss_for(loss: AnyLoss) -> Loss:
    """The loss of that name; a loss itself; or your function (scores (m, k), y) -> losses (m,).

    Raises:
        InputError: no loss has that name.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise InputError(f"There is no loss {loss!r}; choose one of {sorted(LOSSES)}, or give a function.")
        return LOSSES[loss]()
    return Custom(loss)


def outputs(scores: Tensor, loss: AnyLoss) -> Tensor:
    """Predictions of scores, as `Method.predict` returns them.

    Log-probabilities (m, classes) for `cross_entropy` and for `logistic` (two columns); the log-probability of each
    label for `multilabel_logistic`; the scores themselves for a regression or your own loss.
    """
    return loss_for(loss).outputs(scores)


def checked_l2(l2: float) -> float:
    """`l2` itself.

    Raises:
        InputError: it is negative or not finite.
    """
    if not (l2 >= 0 and math.isfinite(l2)):
        raise InputError(f"l2 is {l2}; give a number of at least 0 (lambda of lambda/2 ||w||^2, beside the mean loss).")
    return float(l2)


def counted(rows: Rows) -> int:
    """How many rows.

    Raises:
        InputError: there are none.
    """
    if not len(rows):
        raise InputError("There are no rows: the mean loss over none is not defined.")
    return len(rows)
