r"""What forgetting a set of rows will do to validation rows, predicted before anything is forgotten.

    added    M(w) + sum over the set of the rows' influences              (first order; wrong for large or alike sets)
    Newton   M(w + H_r^-1 (1/n_r) sum_u (g_u + l2 w)),  H_r over the n_r rows that stay

The second counts the set's own curvature and looks at the model it arrives at, so it predicts accuracy too. For
quadratic losses it is exact; for a network it is the linearised guess that the experiment holds against the truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from expunge.attribution.curvature import Curvature
from expunge.attribution.trained_model import TrainedModel
from expunge.errors import InputError
from expunge.maths import performance as measures
from expunge.method import Method, Release
from expunge.rows import Rows


@dataclass(frozen=True)
class Performance:
    """Of a model on some rows: mean `loss` (cross-entropy, or half the squared error) and `accuracy`, or `rmse`."""

    loss: float
    accuracy: float | None
    rmse: float | None

    @classmethod
    def of(cls, outputs: measures.Floats, rows: Rows) -> Performance:
        """From log-probabilities (n, classes) or values (n, k)."""
        if rows.classes:
            return cls(measures.mean_loss(outputs, rows.y), measures.accuracy(outputs, rows.y), None)
        y = rows.y.reshape(len(rows), -1)
        return cls(float(np.mean(((outputs - y) ** 2).sum(axis=1))) / 2, None, measures.rmse(outputs, y))


def performance(method: Method[Any], release: Release, rows: Rows) -> Performance:
    """Measured: of a release on rows with targets."""
    parts = [method.predict(release, table.columns).double().cpu().numpy() for table in rows.batches(4096)]
    return Performance.of(np.concatenate(parts), rows)


def predicted_removal(
    model: TrainedModel,
    rows: Rows,
    leaving: Iterable[str | int],
    validation: Rows,
    *,
    curvature: Curvature | None = None,
) -> Performance:
    """The performance that the model is predicted to have on `validation` after forgetting `leaving` (Newton, above).

    Raises:
        InputError: an id is not among the rows, or none would stay. NotConverged: see `Curvature`.
    """
    names = list(leaving)
    if not names:
        return _performance(model, model.w, validation)
    going, staying = rows.only(names), rows.without(names)
    if not len(staying):
        raise InputError("No row would stay: there is no model to predict.")
    return _performance(model, moved(model, staying, going, curvature or Curvature()), validation)


def moved(model: TrainedModel, staying: Rows, going: Rows, curvature: Curvature) -> Tensor:
    """The weights (d,) one Newton step away, on the objective without the rows that go."""
    objective, w = model.objective, model.w
    slope = (objective.gradient_sum(w, model.seen(going)) + len(going) * objective.l2 * w) / len(staying)
    return w + curvature.inverse(objective, w, model.seen(staying))(slope)


def _performance(model: TrainedModel, w: Tensor, rows: Rows) -> Performance:
    seen, loss = model.seen(rows), model.objective.loss
    scores = [loss.outputs(model.objective.scores(w, t.columns)).double().cpu().numpy() for t in seen.batches(4096)]
    return Performance.of(np.concatenate(scores), rows)
