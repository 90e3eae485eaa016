"""What the stored outputs of one model say, as the scores read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from expunge.audits import metrics
from expunge.audits.answers import log_confidences, margins
from expunge.audits.candidates import Candidate, Outputs, outputs
from expunge.audits.metrics import Floats
from expunge.comparisons.case import Case
from expunge.rows import Rows
from expunge.schema import Array


@dataclass(frozen=True, eq=False)
class Seen:
    """One model's answers on the rows it was looked at on, by kind: "forgotten", "retained", "test"."""

    on: Mapping[str, Outputs]

    @classmethod
    def of(cls, case: Case, scores: Mapping[str, Array], *, clusters: bool) -> Seen:
        """From stored scores (n, outputs) of each kind."""
        return cls({kind: outputs(_fixed(scores[kind], clusters), rows) for kind, rows in case.on.items()})

    @property
    def quality_name(self) -> str:
        """What `quality` is: "accuracy", "rmse" or, of a clustering, "distance"."""
        some = self.on["retained"]
        return "accuracy" if some.classes else "rmse" if some.clusters is None else "distance"

    def quality(self, kind: str) -> float:
        """Accuracy, or root mean squared error, on rows of a kind."""
        seen = self.on[kind]
        return metrics.accuracy(seen.values, seen.y) if seen.classes else metrics.rmse(seen.values, seen.y)

    def margins(self, kind: str) -> Floats:
        """The margin of each row (minus the squared error for numbers): higher for a row the model is surer of."""
        return margins(self.on[kind])

    def losses(self, kind: str) -> Floats:
        """The loss of each row: minus the logarithm of its label's probability, or the squared error."""
        return -log_confidences(self.on[kind])


def _fixed(scores: Array, clusters: bool) -> Candidate:
    """A candidate that was asked already, and gives these scores."""
    values = np.asarray(scores, dtype=np.float64)

    def answer(rows: Rows) -> Floats:
        assert len(rows) == len(values)
        return values

    return Candidate(answer, {}, clusters)
