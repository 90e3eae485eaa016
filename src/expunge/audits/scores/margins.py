"""Margins of many models, as the scores over models read them."""

from __future__ import annotations

import numpy as np

from expunge.audits.metrics import Floats
from expunge.errors import InputError


def check_margins(unlearned: Floats, retrained: Floats, least: int) -> None:
    """Hold margins (N, n) and (M, n) to their shapes.

    Raises:
        InputError: another shape, fewer than `least` models on a side, no row, or a margin that is not a number.
    """
    for name, side in (("unlearned", unlearned), ("retrained", retrained)):
        if side.ndim != 2 or len(side) < least or not side.shape[1]:
            raise InputError(
                f"The {name} models' margins have shape {side.shape}; (models, rows) with at least {least} models and "
                "one row is needed: train more, or look at the ranks of single losses instead."
            )
        if np.isnan(side).any():
            raise InputError(f"The {name} models give margins that are not numbers: a broken model has no score.")
    if unlearned.shape[1] != retrained.shape[1]:
        raise InputError(
            f"Margins of {unlearned.shape[1]} and of {retrained.shape[1]} rows were given; give the same rows to both."
        )
