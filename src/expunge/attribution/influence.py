r"""Influence of each row on a measure of validation rows [Koh & Liang 2017, section 2.1, equation 2].

    M(w) = mean loss of `validation`   (minus that of `against`: a gap between groups)
    s    = H^-1 grad M(w)
    score_i = -( s' g_i + l2 s' w ) / (n - 1),      g_i = grad loss_i(w)

Forgetting row i moves w by H^-1 (g_i + l2 w) / (n - 1), so M changes by -score_i to first order: a high score is a row
that harms M, and forgetting the first rows of the ranking lowers M. All s' g_i are one product of the rows' Jacobian
with s (forward mode), so the cost is one solve and one pass, whatever the number of rows.

Differs from the paper in: losses are means, so 1/(n - 1) and not 1/n; a row takes its share l2 w of the penalty along
(without it a penalised model is led astray, see methods/influence.py); no stochastic estimate of the inverse.
"""

from __future__ import annotations

from torch import Tensor

from expunge.attribution.curvature import Curvature
from expunge.attribution.ranking import Ranking
from expunge.attribution.trained_model import TrainedModel
from expunge.errors import InputError
from expunge.rows import Rows


def influence(
    model: TrainedModel,
    rows: Rows,
    validation: Rows,
    *,
    against: Rows | None = None,
    curvature: Curvature | None = None,
) -> Ranking:
    """Rows ranked by how much the validation loss is predicted to fall when they are forgotten.

    Args:
        rows: all that the model was learned from. validation: rows it was not learned from.
        against: a second group, whose mean loss is subtracted.

    Raises:
        InputError: fewer than two rows, or no validation rows. NotConverged: see `Curvature`.
    """
    if len(rows) < 2 or not len(validation):
        raise InputError(f"{len(rows)} rows and {len(validation)} for validation: at least 2 and 1 are needed.")
    seen, objective, w = model.seen(rows), model.objective, model.w
    slope = loss_gradient(model, validation) - (0.0 if against is None else loss_gradient(model, against))
    s = (curvature or Curvature()).inverse(objective, w, seen)(slope)
    products = objective.row_products(w, seen, s) + objective.l2 * (s @ w)
    return Ranking.of("influence", rows, (-products / (len(rows) - 1)).cpu().numpy())


def loss_gradient(model: TrainedModel, rows: Rows) -> Tensor:
    """The gradient (d,) of the mean loss of some rows, without the penalty.

    Raises:
        InputError: there are none.
    """
    if not len(rows):
        raise InputError("There is no row in this group: its mean loss is not defined.")
    return model.objective.gradient_sum(model.w, model.seen(rows)) / len(rows)
