r"""RMIA: a row against rows of the population, with few reference models (Zarifzadeh et al. 2024).

    score(x) = Pr_z [ LR(x, z) >= gamma ],     LR(x, z) = (p(x|theta) / p(x)) / (p(z|theta) / p(z))

p(.|theta) is the target's probability of the row's own label, p(.) its mean over models trained with the row and
without it in equal shares, z rows that no model was trained on. A member stands out from most of the population; what
the target's calibration does to all rows alike cancels. With references that never saw x only,

    p(x) = ((1 + a) p_out(x) + (1 - a)) / 2

is put in its place: p_in(x) = 1 - a (1 - p_out(x)) is where training on x is thought to take it. a = 0: p_in = 1, the
model learns x by heart; a = 1: training changes nothing. The rows z are in no reference, so p(z) is had in the same way
offline; online it is the mean over all references.

Differs from the paper's code in: ratios are compared as logarithms; probabilities are floored at 1e-12; equal ratios
count half, so that rows nobody can tell apart score alike whatever gamma's rounding.
"""

from __future__ import annotations

import numpy as np

from expunge.audits.attacks import roc
from expunge.audits.attacks.lira import Mask
from expunge.errors import InputError
from expunge.maths.performance import LOG_FLOOR, Floats

A = 0.3  # the default of the paper's code, which tunes it on a reference model, as `tuned_a` does
TRIED = tuple(tenth / 10 for tenth in range(11))


def online(
    target: Floats, references: Floats, inside: Mask, target_z: Floats, references_z: Floats, *, gamma: float = 1.0
) -> Floats:
    """The share of the population that a row stands out from, (rows,), in [0, 1]; higher: a member.

    Args:
        target: log p_y of each row in the target, (rows,). references: in the reference models, (models, rows).
        inside: whether the reference was trained on the row, (models, rows).
        target_z, references_z: of the population rows, (population,) and (models, population).
        gamma: by how much the row must stand out: 1 is the default of the paper's code.

    Raises:
        InputError: a row has no reference on one side; shapes differ; gamma is not positive.
    """
    if inside.shape != references.shape or not (inside.any(axis=0) & (~inside).any(axis=0)).all():
        raise InputError("Every row needs a reference trained with it and one without; else use `offline`.")
    p = np.exp(references)
    both = [np.where(side, p, 0.0).sum(axis=0) / side.sum(axis=0) for side in (inside, ~inside)]
    p_x, p_z = (both[0] + both[1]) / 2, np.exp(references_z).mean(axis=0)
    return _score(target, p_x, target_z, p_z, gamma)


def offline(
    target: Floats,
    references: Floats,
    target_z: Floats,
    references_z: Floats,
    *,
    inside: Mask | None = None,
    a: float = A,
    gamma: float = 1.0,
) -> Floats:
    """The same from references that were not trained on the row (with `inside`: of which those count that were not).

    Raises:
        InputError: a row has no such reference; a is outside [0, 1]; shapes differ; gamma is not positive.
    """
    if not 0 <= a <= 1:
        raise InputError(f"a is {a}; give a number from 0 (rows are learned by heart) to 1 (training changes nothing).")
    out = np.ones(references.shape, dtype=bool) if inside is None else ~inside
    if out.shape != references.shape or not out.any(axis=0).all():
        raise InputError("A row has no reference that was trained without it: train more of them.")
    p_out = np.where(out, np.exp(references), 0.0).sum(axis=0) / out.sum(axis=0)
    p_x, p_z = (((1 + a) * p + (1 - a)) / 2 for p in (p_out, np.exp(references_z).mean(axis=0)))
    return _score(target, p_x, target_z, p_z, gamma)


def tuned_a(references: Floats, inside: Mask, references_z: Floats, *, gamma: float = 1.0) -> float:
    """The a of 0, 0.1, ..., 1 by which one reference is attacked best from the others: it costs no further model.

    Each reference is the target in turn, with those that were not trained on the same half (its pair apart, which is
    2k and 2k+1 as `train_shadows` makes them); the mean area decides, the smallest a of equals.

    Args:
        references, inside, references_z: as in `online`, at least four references.

    Raises:
        InputError: fewer than four references, or a row that no other reference was trained without.
    """
    if len(references) < 4:
        raise InputError(f"{len(references)} references cannot attack one another: give at least four.")
    areas = np.zeros(len(TRIED))
    for k in range(len(references)):
        rest = np.arange(len(references)) // 2 != k // 2
        for place, a in enumerate(TRIED):
            given = references[k], references[rest], references_z[k], references_z[rest]
            score = offline(*given, inside=inside[rest], a=a, gamma=gamma)
            areas[place] += roc.auc(score[inside[k]], score[~inside[k]])
    return float(TRIED[int(np.argmax(np.round(areas, 9)))])


def _score(target: Floats, p_x: Floats, target_z: Floats, p_z: Floats, gamma: float) -> Floats:
    if not gamma > 0:
        raise InputError(f"gamma is {gamma}; give a positive number, such as 1.")
    if target.shape != p_x.shape or target_z.shape != p_z.shape or not len(p_z):
        raise InputError(
            f"Rows: {target.shape} in the target, {p_x.shape} in the references; population: {target_z.shape} and "
            f"{p_z.shape}. Give the same rows to all models, and at least one row of the population."
        )
    of_x, of_z = (
        np.maximum(log_p, LOG_FLOOR) - np.maximum(np.log(np.maximum(p, np.exp(LOG_FLOOR))), LOG_FLOOR)
        for log_p, p in ((target, p_x), (target_z, p_z))
    )
    ordered, at = np.sort(of_z), of_x - np.log(gamma)
    below, up_to = (np.searchsorted(ordered, at, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(ordered)), dtype=np.float64)
