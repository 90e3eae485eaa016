r"""Self-influence: how much a row's own loss rises when it is forgotten [Koh & Liang 2017, section 5.4].

    score_i = g_i' H^-1 g_i / (n - 1)  =  E (u' g_i)^2 / (n - 1),      u ~ N(0, H^-1)

A row that the model knows by heart (mislabelled, an outlier) has a large one. The expectation is taken over `probes`
keyed draws, each one product of the rows' Jacobian: the relative error of a score is sqrt(2 / probes), so 20 tell a
factor of two and 200 a tenth.

Differs from the paper in: all rows at once, by probes; needs no validation rows.
"""

from __future__ import annotations

import torch

from expunge.attribution.curvature import Curvature
from expunge.attribution.ranking import Ranking
from expunge.attribution.trained_model import TrainedModel
from expunge.errors import InputError
from expunge.rows import Rows


def self_influence(
    model: TrainedModel, rows: Rows, *, probes: int = 50, seed: int = 0, curvature: Curvature | None = None
) -> Ranking:
    """Rows ranked by how much each is known by heart.

    Args:
        rows: all that the model was learned from. probes: draws of the estimate. seed: of the draws.

    Raises:
        InputError: fewer than two rows, or no probe. NotConverged: see `Curvature`.
    """
    if len(rows) < 2 or probes < 1:
        raise InputError(f"{len(rows)} rows and {probes} probes were given; at least 2 and 1 are needed.")
    seen, objective, w = model.seen(rows), model.objective, model.w
    total = torch.zeros(len(rows), dtype=w.dtype, device=w.device)
    for u in (curvature or Curvature()).probes(objective, w, seen, count=probes, seed=seed):
        total += objective.row_products(w, seen, u).square()
    return Ranking.of("self-influence", rows, (total / probes / (len(rows) - 1)).cpu().numpy())
