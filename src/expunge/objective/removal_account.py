"""The account of certified removal: weights that no noise covers, and by each bound how far they may be from minimal.

`objective.newton_removal` takes the steps and bounds them; here the bounds add up until a solve clears them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.errors import InputError, MustRetrain, Refused
from expunge.objective.anchor import Anchor, anchored
from expunge.objective.linear import LinearObjective
from expunge.objective.newton_removal import longest, minimised, newton_removal, residual, spectral, step_bounds
from expunge.rows import Rows

BOUNDS = ("per_sample", "data_dependent", "published", "worst_case")  # the last needs a declared norm of the rows


@dataclass(frozen=True, eq=False)
class Account:
    """A secret: weights, and what is known of them.

    Attributes:
        centre: w (d,). linear: b (d,), zeros where there is none.
        betas: by bound, at least ||grad L_b(w)|| of the sum loss over the `size` rows.
        spectral: at least ||X||_2 (rows that leave never raise it). row: a public bound of every row's norm, or None.
        dense: whether Hessians are formed. anchor: a factored one nearby, or None.
    """

    centre: Tensor
    linear: Tensor
    betas: Mapping[str, float]
    spectral: float
    row: float | None
    size: int
    dense: bool
    anchor: Anchor | None = None

    def stepped(
        self, objective: LinearObjective, after: Rows, changed: Rows, *, sign: int
    ) -> tuple[Account, dict[str, float]]:
        """After one Newton step for rows that left (sign 1) or came (-1), and figures for the operator.

        Raises:
            InputError: a row is longer than the declared bound. MustRetrain: the residual is more than was proved.
        """
        _check_rows(objective, changed, self.row)
        taken = newton_removal(objective, self.centre, after, changed, sign=sign, anchor=self.anchor, dense=self.dense)
        wide = self.spectral if sign > 0 else math.hypot(self.spectral, spectral(objective, changed, dense=self.dense))
        bounds = step_bounds(
            objective, taken, wide, changed=len(changed), before=self.size, linear=self.linear,
            beta=min(self.betas.values()), row=self.row,
        )  # fmt: skip
        betas = {name: self.betas[name] + bound + taken.arithmetic for name, bound in bounds.items()}
        measured = _measured(objective, taken.point, after, self.linear, min(betas.values()))
        stats = {f"beta_{name}": beta for name, beta in betas.items()}
        stats |= {f"bound_{name}": bound for name, bound in bounds.items()}
        stats |= {"arithmetic": taken.arithmetic, "residual": measured, "passes": taken.passes + 1.0, "resolved": 0.0}
        return replace(self, centre=taken.point, betas=betas, spectral=wide, size=len(after)), stats

    def changed(
        self, objective: LinearObjective, after: Rows, few: Rows, sign: int, bound: str, budget: float, *, tol: float
    ) -> tuple[Account, dict[str, float]]:
        """`stepped`, and `solved` where the beta of `bound` passes the budget (stats["resolved"] is then 1)."""
        account, stats = self.stepped(objective, after, few, sign=sign)
        if not account.betas[bound] <= budget:
            account, passes = account.solved(objective, after, tol=tol, budget=budget)
            stats |= {"resolved": 1.0, "passes": stats["passes"] + passes}
        return account, stats | {"beta": account.betas[bound], "budget": budget}

    def solved(self, objective: LinearObjective, rows: Rows, *, tol: float, budget: float) -> tuple[Account, int]:
        """At the minimiser of L_b over `rows`, under the same b, and the passes: the paper's retraining.

        Every beta is then the true residual.

        Raises:
            Refused: even that is more than the budget. NotConverged: the solve fails.
        """
        w, beta, passes = minimised(
            objective, rows, self.centre, self.linear, tol=min(tol, budget / len(rows) / 2),
            dense=self.dense, solve=self.anchor.solve if self.anchor else None,
        )  # fmt: skip
        if not beta <= budget:
            raise Refused(
                f"A residual (sum loss) of at most {budget:.2g} is promised, and a fresh solve may leave {beta:.2g}: "
                "scale the columns, raise noise_std or l2, lower tol, or begin a new vault (its releases count anew)."
            )
        names = BOUNDS if self.row is not None else BOUNDS[:3]
        return replace(self, centre=w, betas=dict.fromkeys(names, beta), size=len(rows)), passes

    def with_anchor(self, objective: LinearObjective, rows: Rows) -> Account:
        """The Hessian factored anew at w over `rows`."""
        return replace(self, anchor=anchored(objective, self.centre, rows) if self.dense else None)


def opened(
    objective: LinearObjective,
    rows: Rows,
    linear: Tensor,
    budget: float,
    tol: float,
    row_norm: float | None,
    *,
    dense_limit: int,
) -> Account:
    """The account after training: minimised from zero and anchored there.

    Args:
        row_norm: a public bound of every row's norm without its constant, or None.

    Raises:
        InputError: a row is longer. Refused, NotConverged: as for `solved`.
    """
    row = None if row_norm is None else math.hypot(row_norm, float(objective.intercept))
    _check_rows(objective, rows, row)
    dense = objective.dimension <= dense_limit
    wide = spectral(objective, rows, dense=dense)
    blank = Account(torch.zeros_like(linear), linear, {}, wide, row, len(rows), dense)
    return blank.solved(objective, rows, tol=tol, budget=budget)[0].with_anchor(objective, rows)


def _measured(objective: LinearObjective, w: Tensor, rows: Rows, linear: Tensor, beta: float) -> float:
    """The residual as computed, held against what was proved: rows that stay must be those of before, bit for bit."""
    measured, most = residual(objective, w, rows, linear)
    if (least := 2 * measured - most) > beta:
        raise MustRetrain(
            f"The gradient (sum loss) is at least {least:.3g}, and the steps so far leave at most {beta:.3g}: the "
            "retained rows, their features or the settings are not those of the release before. Learn again."
        )
    return measured


def _check_rows(objective: LinearObjective, rows: Rows, row: float | None) -> None:
    if row is not None and not (found := longest(objective, rows)) <= row * (1 + 1e-9):
        raise InputError(
            f"A row has the norm {found:.6g} (its constant included) and {row:.6g} follows from the row_norm declared: "
            "scale or clip rows by a public rule, or declare a larger one."
        )
