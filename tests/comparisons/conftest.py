"""Small rows that a small comparison is made of, and methods whose work can be counted."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from expunge.comparisons.case import Case
from expunge.rows import Rows

sys.path.insert(0, str(Path(__file__).parents[1] / "audits"))


def rows_of(n: int, seed: int, first: int = 0) -> Rows:
    """Two classes in a plane, overlapping."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    y = (x[:, 0] + 0.7 * np.random.default_rng(seed + 1).normal(size=n) > 0).astype(int)
    return Rows.of(x, y, ids=[f"r{first + i}" for i in range(n)], classes=2)


@pytest.fixture(scope="session")
def train() -> Rows:
    return rows_of(80, 1)


@pytest.fixture(scope="session")
def unseen() -> Rows:
    return rows_of(60, 2, first=1000)


@pytest.fixture(scope="session")
def case(train: Rows, unseen: Rows) -> Case:
    return Case.of("6 rows", train, [f"r{i}" for i in range(6)], unseen)
