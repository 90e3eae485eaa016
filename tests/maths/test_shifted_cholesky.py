"""The shift is zero where it can be and enough where it cannot."""

from __future__ import annotations

import pytest
import torch

from expunge.errors import NotConverged
from expunge.maths.shifted_cholesky import shifted_cholesky


def test_a_definite_matrix_is_not_shifted_and_an_indefinite_one_just_enough() -> None:
    for smallest in (0.5, -0.5, -50.0):
        matrix = torch.diag(torch.tensor([2.0, 1.0, smallest], dtype=torch.float64))
        factor, shift = shifted_cholesky(matrix)
        torch.testing.assert_close(factor @ factor.T, matrix + shift * torch.eye(3, dtype=torch.float64))
        assert (shift == 0) == (smallest > 0)
        assert -smallest < shift < -2 * smallest or smallest > 0
    with pytest.raises(NotConverged, match="NaN"):
        shifted_cholesky(torch.full((2, 2), torch.nan))
