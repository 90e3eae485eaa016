r"""Reconstruction: what two releases of a linear model, before and after a deletion, tell of the row that left.

Whoever subtracts the releases needs only the curvature H of the loss, which any similar rows give. At the minimiser
before, n_r grad F_r(w) = n grad F(w) - sum_u (grad loss_u(w) + l2 w), and grad F(w) = 0; a Newton step leads from there
to the minimiser after. So

    sum_u grad loss_u(w_before) = n_r H (w_after - w_before) - m l2 w_before,    grad loss_u = r_u [x_u 1]^T

with m forgotten rows, and r_u the slope of the row's loss by its scores. For m = 1 this matrix (k, p+1) has rank one:
its right singular vector is the row, and its last entry, that of the constant 1, the scale. A term b^T w / n with a
fixed b (objective perturbation) cancels; exact retraining gives the same away. Fresh noise of standard deviation s on
each release blunts it: the attacker sees H times noise, and the row as well as `two_release_exposure` says.

H is taken half-way between the releases, where it is right up to the square of their distance.

The slope r_u gives the label away: for a softmax r_u = p - onehot(y), whose largest entry in size is that of y; for a
single logit its sign; for squared loss y = score - r_u (Bertran et al. 2024 reconstruct x for known and unknown y).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.losses import CrossEntropy, Logistic, Squared
from expunge.objective import LinearObjective
from expunge.objective.columns import numbers
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What an attacker makes of two releases.

    Attributes:
        gradient: (k, q), the sum of the forgotten rows' loss gradients as the releases tell it.
        direction: (p,), a unit vector along the forgotten row; its sign means nothing without an intercept.
        row: (p,), the forgotten row itself, scaled by the constant 1; None without an intercept.
        rank_one: share of the gradient's square that one row accounts for; 1 for one row and no noise, and always 1
            where the model has one output.
        label: the row's class code, or for squared loss its target; None where it cannot be told (one logit or a
            regression without an intercept, another loss). Of several rows, that of their mixture.
    """

    gradient: Tensor
    direction: Tensor
    row: Tensor | None
    rank_one: float
    label: float | None = None


def reconstruct(
    objective: LinearObjective, before: Tensor, after: Tensor, rows: Rows, *, retained: int, forgotten: int = 1
) -> Reconstruction:
    """The row that left between two releases, as far as they tell.

    Args:
        objective: loss, l2 and sizes of the model: public. before, after: released weights, (d,) or (k, q).
        rows: any rows like those learned from: they give the curvature. The better they match, the closer the answer.
        retained, forgotten: how many rows the model learned from after the deletion, and how many left.

    Raises:
        InputError: the releases are equal, so nothing left, or a count is below 1.
    """
    if retained < 1 or forgotten < 1:
        raise InputError(f"{retained} retained and {forgotten} forgotten rows were given; both must be at least 1.")
    first, second = (w.detach().double().reshape(-1) for w in (before, after))
    step = second - first
    if not step.abs().max() > 0:
        raise InputError("The two releases are equal: nothing left between them, or nothing was done.")
    curved = objective.hvp((first + second) / 2, rows)(step)
    gradient = objective.matrix(retained * curved - forgotten * objective.l2 * first)
    left, values, vectors = torch.linalg.svd(gradient, full_matrices=False)
    leading, p = vectors[0], objective.inputs
    row = leading[:p] / leading[p] if objective.intercept else None
    direction = leading[:p] if row is None else row
    squares = values.square()
    share = float(squares[0] / squares.sum())
    label = _label(objective, first, gradient, row, left[:, 0])
    return Reconstruction(gradient, direction / torch.linalg.vector_norm(direction), row, share, label)


def gradient_match(found: Reconstruction, objective: LinearObjective, before: Tensor, rows: Rows) -> Tensor:
    """Cosine of the angle between the gradient that left and each row's own, (n,): who of these left?

    Args:
        before: released weights, (d,) or (k, q). rows: candidates, with their labels.
    """
    own = objective.row_gradients(before.detach().double().reshape(-1), rows)
    wanted = found.gradient.reshape(-1)
    lengths = torch.linalg.vector_norm(own, dim=1) * torch.linalg.vector_norm(wanted)
    return torch.where(lengths > 0, own @ wanted / lengths.clamp(min=torch.finfo(own.dtype).tiny), 0.0)


def cosine(direction: Tensor, rows: Rows) -> Tensor:
    """|cos| of the angle between a direction (p,) and each row's `x`, (n,); 0 for a row of zeros."""
    x = torch.cat([numbers("x", table.columns["x"]).reshape(len(table), -1) for table in rows.tables()])
    x = x.to(direction)
    lengths = torch.linalg.vector_norm(x, dim=1) * torch.linalg.vector_norm(direction)
    return torch.where(lengths > 0, (x @ direction).abs() / lengths.clamp(min=torch.finfo(x.dtype).tiny), 0.0)


def standing(direction: Tensor, forgotten: Rows, others: Rows) -> float:
    """Share of the other rows at least as well aligned with `direction` as the worst of the forgotten ones.

    Near 0: the row is singled out. About 0.5 on average: it looks like any other. A cosine alone can mislead, since
    rows that share a large mean are all aligned with one another.
    """
    least = cosine(direction, forgotten).min()
    return float((cosine(direction, others) >= least).double().mean())


def _label(objective: LinearObjective, w: Tensor, gradient: Tensor, row: Tensor | None, slopes: Tensor) -> float | None:
    match objective.loss:
        case CrossEntropy():  # the slopes' sign is that of a singular vector, which means nothing
            return float(slopes.abs().argmax())
        case Logistic() if row is not None:
            return float(gradient[0, -1] < 0)
        case Squared() if row is not None and objective.outputs == 1:
            return float(objective.matrix(w)[0] @ torch.cat([row, row.new_ones(1)]) - gradient[0, -1])
        case _:
            return None
