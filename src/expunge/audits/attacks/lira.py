r"""LiRA: the likelihood ratio attack, one test for each row (Carlini et al. 2022, algorithm 1).

The margin phi of a row is about normal over models trained with it, and over models trained without it. Shadow models
give both normals; the score of a row in a target model is

    online     log N(phi; mu_in, s_in^2) - log N(phi; mu_out, s_out^2)
    offline    (phi - mu_out) / s_out,    whose normal distribution function is the paper's 1 - p value

so that 0 is the even guess online. Offline needs no model that saw the row, and knows a row that is more surely
predicted than by models without it; nothing of how much surer a member would be.

Spread: `variance="row"` estimates it for each row from its own models (at least two on each side). With few of them
that estimate is worse than a wrong one, and `"shared"` takes one for all rows, the mean of the rows' variances with n-1
(what the paper calls a fixed variance, and finds better with few models); `"auto"` shares below 64 on a side.

Differs from the paper and its code in:
1. The offline score is the standardised margin, not its distribution function, which would be 1 for many rows alike.
2. Spreads are pooled within rows and with n-1; the code takes the standard deviation over rows and models together,
   into which the rows' different difficulty enters.
3. No spread falls below `FLOOR` logits: models that are equal bit for bit would be certain of anything.
4. One query a row: no augmented copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from expunge.audits.metrics import Floats
from expunge.errors import InputError

Variance = Literal["auto", "row", "shared"]
Mask = NDArray[np.bool_]

FEW = 64  # models on a side, below which one spread is shared by all rows
FLOOR = 0.01  # in logits: a smaller change of odds is nobody's evidence


@dataclass(frozen=True, eq=False)
class Normals:
    """The mean and standard deviation of each row's margin, (rows,)."""

    mean: Floats
    spread: Floats

    def log_density(self, phi: Floats) -> Floats:
        """Of margins (..., rows), up to the constant log sqrt(2 pi)."""
        return np.asarray(-0.5 * ((phi - self.mean) / self.spread) ** 2 - np.log(self.spread), dtype=np.float64)

    def standardised(self, phi: Floats) -> Floats:
        """How many standard deviations above the mean."""
        return np.asarray((phi - self.mean) / self.spread, dtype=np.float64)


def fit(phi: Floats, where: Mask | None = None, *, variance: Variance = "auto", floor: float = FLOOR) -> Normals:
    """Each row's normal over the models that `where` names.

    Args:
        phi: margins (models, rows). where: which models count for which row, (models, rows); None: all.
        variance: see above. floor: the least standard deviation.

    Raises:
        InputError: a row has fewer than two models; or shapes differ; or a margin is not finite.
    """
    used = np.ones(phi.shape, dtype=bool) if where is None else np.asarray(where, dtype=bool)
    if phi.ndim != 2 or used.shape != phi.shape:
        raise InputError(f"Margins of shape {phi.shape} and a mask of {used.shape}: give both as (models, rows).")
    if not np.isfinite(phi[used]).all():
        raise InputError("A margin is infinite or NaN: cut margins off (membership.clipped_margins does).")
    count = used.sum(axis=0)
    if not len(count) or count.min() < 2:
        raise InputError(
            f"A row has {count.min() if len(count) else 0} models to fit a normal to, and at least two are needed: "
            "train more shadow models, or leave that row out."
        )
    mean = np.where(used, phi, 0.0).sum(axis=0) / count
    own = (np.where(used, phi - mean, 0.0) ** 2).sum(axis=0)
    by_row = variance == "row" or (variance == "auto" and count.min() >= FEW)
    squares = own / (count - 1) if by_row else np.full(len(mean), own.sum() / (count - 1).sum())
    return Normals(mean, np.maximum(np.sqrt(squares), floor))


def online(target: Floats, phi: Floats, inside: Mask, *, variance: Variance = "auto", floor: float = FLOOR) -> Floats:
    """The log likelihood ratio of each row in each target, (..., rows); higher: a member.

    Args:
        target: margins (..., rows) of the attacked models. phi: of the shadow models, (models, rows).
        inside: whether the shadow model was trained on the row, (models, rows).

    Raises:
        InputError: a row has fewer than two models on a side.
    """
    with_row, without = (fit(phi, side, variance=variance, floor=floor) for side in (inside, ~inside))
    return with_row.log_density(target) - without.log_density(target)


def offline(
    target: Floats, phi: Floats, inside: Mask | None = None, *, variance: Variance = "auto", floor: float = FLOOR
) -> Floats:
    """How many standard deviations surer the target is than models without the row, (..., rows).

    Args:
        phi: margins (models, rows) of models without the row; with `inside`, of shadow models of which those count
            that were trained without it.
    """
    return fit(phi, None if inside is None else ~inside, variance=variance, floor=floor).standardised(target)


def each_by_the_others(phi: Floats, inside: Mask, *, mode: Literal["online", "offline"] = "online") -> Floats:
    """Scores (models, rows) of each shadow model in turn as the target, the others being its shadows.

    The usual evaluation: compare the scores where `inside` with those where not. Models 2k and 2k+1 leave together:
    of a pair (`shadows.train`) each was trained on what the other was not, so one alone would unbalance the rest.
    """
    attack = online if mode == "online" else offline
    scores = np.empty_like(phi)
    for pair in range(0, len(phi), 2):
        rest = np.ones(len(phi), dtype=bool)
        rest[pair : pair + 2] = False
        scores[pair : pair + 2] = attack(phi[pair : pair + 2], phi[rest], inside[rest])
    return scores
