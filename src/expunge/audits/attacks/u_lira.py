r"""U-LiRA: was this row forgotten, or was it never there? A test for each row (Hayes et al. 2024).

Two worlds: models that learned z and were then made to forget it by the method under audit, and models that never saw
z. For each z the margins phi over the models of either world get a normal; a target model o is judged by

    p = N(o; mu_u, s_u) / (N(o; mu_u, s_u) + N(o; mu_r, s_r)),      guess "forgotten" where p > 1/2.

If the method forgets, nobody can do better than a coin: balanced accuracy 1/2, whatever the row. The attack knows the
method, so one that pushes rows away from where retraining leaves them is found out as surely as one that keeps them.

Targets are never among the models that the normals were fitted to: each world is cut into folds (by a keyed choice),
each fold is attacked with the normals of all the others, and the figures are over every model once. How far one half of
never-trained models is told from the other half is the null, and belongs beside every figure (`null`).

Spreads are pooled over rows with fewer than 64 models on a side, as in `lira`; a row's own is kept by `variance="row"`.
Differs from the papers in: folds in place of one split, so that few models suffice; the log odds are the score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from expunge import keyed
from expunge.audits.attacks import lira, roc
from expunge.audits.metrics import Floats
from expunge.errors import InputError

FOLDS = 5
SHARED = math.sqrt(2)  # wider, as models judged by the same normals err together: 95 % of nulls are then covered
LEAST = 4  # models of either world: two to fit to, two folds


@dataclass(frozen=True, eq=False)
class ULira:
    """What the attack found.

    Attributes:
        accuracy: balanced accuracy of the guesses over all rows and models; 0.5 is a coin.
        interval: its 95 % interval over models, which are independent where rows of one model are not.
        separation: of the log odds, all rows together: AUC, and the share found at 1 % and 0.1 % false positives.
        by_row: balanced accuracy of each row, (rows,). auc_by_row: the area of each row's log odds, (rows,).
        unlearned, never: the log odds themselves, (models, rows) of each world.
    """

    accuracy: float
    interval: tuple[float, float]
    separation: roc.Separation
    by_row: Floats
    auc_by_row: Floats
    unlearned: Floats
    never: Floats


def attack(
    unlearned: Floats,
    never: Floats,
    *,
    seed: int = 0,
    folds: int = FOLDS,
    variance: lira.Variance = "auto",
    floor: float = lira.FLOOR,
) -> ULira:
    """Tell models that forgot the rows from models that never saw them.

    Args:
        unlearned: margins (models, rows) of models that were trained with each of these rows and made to forget it.
        never: margins (models, rows) of models that never saw them; the number of models may differ.
        seed: of the choice of folds. folds: at most as many as there are models.
        floor: the least standard deviation, in the unit of the margins: of squared errors, give a share of theirs.

    Raises:
        InputError: fewer than four models in a world, no row, or other rows in one world than in the other.
    """
    check(unlearned, never)
    return summary(*_odds(unlearned, never, seed, folds, variance, floor))


def _odds(
    unlearned: Floats, never: Floats, seed: int, folds: int, variance: lira.Variance, floor: float
) -> tuple[Floats, Floats]:
    """The log odds (models, rows) of every model of both worlds, by normals of the models of other folds."""
    count = min(folds, len(unlearned), len(never))
    which = [_folds(len(world), count, seed, name) for world, name in ((unlearned, "unlearned"), (never, "never"))]
    odds = [np.empty_like(unlearned, dtype=np.float64), np.empty_like(never, dtype=np.float64)]
    for fold in range(count):
        fitted = [
            lira.fit(world[chosen != fold], variance=variance, floor=floor)
            for world, chosen in zip((unlearned, never), which, strict=True)
        ]
        for world, chosen, found in zip((unlearned, never), which, odds, strict=True):
            found[chosen == fold] = judged(world[chosen == fold], *fitted)
    return odds[0], odds[1]


def judged(targets: Floats, unlearned: lira.Normals, never: lira.Normals) -> Floats:
    """The log odds that the targets (..., rows) forgot the row, against that they never saw it."""
    return unlearned.log_density(targets) - never.log_density(targets)


def on_targets(
    fitted: tuple[Floats, Floats],
    targets: tuple[Floats, Floats],
    *,
    variance: lira.Variance = "auto",
    floor: float = lira.FLOOR,
) -> ULira:
    """The attack with targets of one's own: normals fitted to the first pair of worlds, judged on the second.

    Args:
        fitted, targets: margins (models, rows) of (unlearned, never) models; none may be in both.
    """
    normals = [lira.fit(world, variance=variance, floor=floor) for world in fitted]
    return summary(*(judged(world, *normals) for world in targets))


def null(
    never: Floats,
    *,
    seed: int = 0,
    folds: int = FOLDS,
    variance: lira.Variance = "auto",
    floor: float = lira.FLOOR,
) -> ULira:
    """The attack on one half of never-trained models against the other: what it finds where there is nothing.

    Args:
        never: margins (models, rows), at least eight models; with more, every figure is steadier.
    """
    half = keyed.permutation(seed, ("u-lira", "null"), np.arange(len(never), dtype=np.uint64)) % 2 == 0
    return attack(never[half], never[~half], seed=seed, folds=folds, variance=variance, floor=floor)


def p_value(
    unlearned: Floats,
    never: Floats,
    *,
    permutations: int = 199,
    seed: int = 0,
    folds: int = FOLDS,
    variance: lira.Variance = "auto",
    floor: float = lira.FLOOR,
) -> float:
    """How surprising the balanced accuracy is if forgetting is like never having seen: a permutation test of models.

    (1 + how often it is reached when models are dealt to the worlds at random) / (1 + permutations). Whole models are
    dealt, so that rows of one model may go together as they like; if the two worlds have one law it is below any q with
    probability at most q.

    Args:
        permutations: keyed by the seed; 199 give at least 0.005. The others as in `attack`.
    """
    check(unlearned, never)
    pooled, first = np.concatenate([unlearned, never]), len(unlearned)
    keys = np.arange(len(pooled), dtype=np.uint64)

    def accuracy(order: NDArray[np.integer[Any]]) -> float:
        one, other = _odds(pooled[order[:first]], pooled[order[first:]], seed, folds, variance, floor)
        return float(np.mean((one > 0) + 0.5 * (one == 0)) + np.mean((other < 0) + 0.5 * (other == 0))) / 2

    seen = accuracy(keys.astype(np.int64))
    dealt = (keyed.permutation(seed, ("u-lira", "dealt", k), keys) for k in range(permutations))
    reached = sum(accuracy(order) >= seen - 1e-12 for order in dealt)
    return (1 + reached) / (1 + permutations)


def summary(unlearned: Floats, never: Floats) -> ULira:
    """The figures of log odds (models, rows) of both worlds; 0 is no guess and counts half."""
    right = [(side * world > 0) + 0.5 * (world == 0) for side, world in ((1, unlearned), (-1, never))]
    by_model = [part.mean(axis=1) for part in right]
    accuracy = float(np.mean([part.mean() for part in by_model]))
    errors = [float(part.std(ddof=1)) / math.sqrt(len(part)) if len(part) > 1 else 1.0 for part in by_model]
    reach = SHARED * float(stdtrit(max(1, min(map(len, by_model)) - 1), 0.975)) * math.hypot(*errors) / 2
    return ULira(
        accuracy,
        (max(0.0, accuracy - reach), min(1.0, accuracy + reach)),
        roc.Separation.of(unlearned.ravel(), never.ravel()),
        np.asarray((right[0].mean(axis=0) + right[1].mean(axis=0)) / 2, dtype=np.float64),
        np.array([roc.auc(one, other) for one, other in zip(unlearned.T, never.T, strict=True)], dtype=np.float64),
        unlearned,
        never,
    )


def check(unlearned: Floats, never: Floats) -> None:
    """Raises InputError where the two worlds cannot be compared."""
    if unlearned.ndim != 2 or never.ndim != 2 or unlearned.shape[1] != never.shape[1] or not unlearned.shape[1]:
        raise InputError(
            f"Margins of shapes {unlearned.shape} and {never.shape}: give both as (models, rows), of the same rows."
        )
    if min(len(unlearned), len(never)) < LEAST:
        raise InputError(
            f"{len(unlearned)} unlearned and {len(never)} never-trained models: at least {LEAST} of each are needed, "
            "and 20 or more to say anything about single rows."
        )


def _folds(models: int, folds: int, seed: int, world: str) -> NDArray[np.integer[Any]]:
    """The fold of each model, of sizes that differ by at most one."""
    order = keyed.permutation(seed, ("u-lira", "fold", world), np.arange(models, dtype=np.uint64))
    dealt = np.empty(models, dtype=np.int64)
    dealt[order] = np.arange(models) % folds
    return dealt
