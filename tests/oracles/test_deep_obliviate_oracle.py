"""Algorithm 9 with its repair, written out in plain numpy, over several requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.methods.block_learner import BlockLearner

from expunge.certificate import Exact, Uncertified
from expunge.learners.dealing import Dealing
from expunge.methods.deep_obliviate import DeepObliviate, DeepObliviateRecord
from expunge.rows import Rows
from expunge.testing import noise_key

Vector = NDArray[np.float64]
NOISE = noise_key(1)
SEED, BLOCKS, N = 5, 40, 240


def some_rows() -> Rows:
    generator = np.random.default_rng(3)
    return Rows.of(generator.normal(size=(N, 3)), generator.normal(size=N))


ROWS = some_rows()


def slope_at_the_end(residuals: list[float]) -> float:
    """|Y'(x)| at the last of x = 1..n, with numpy's polynomials for both fits."""
    y = np.array(residuals)
    n, profile = len(y), np.cumsum(y - y.mean())
    logs = []
    for size in range(4, n // 2 + 1):
        x, left = np.arange(size), []
        for start in [*range(0, n - size + 1, size), *range(n % size, n - size + 1, size)]:
            window = profile[start : start + size]
            left.append(np.mean((window - np.polyval(np.polyfit(x, window, 1), x)) ** 2))
        logs.append((np.log(size), np.log(np.mean(left)) / 2))
    alpha = np.polyfit(*zip(*logs, strict=True), 1)[0]
    a, _ = np.polyfit(np.arange(1.0, n + 1) ** -alpha, y, 1)
    return float(abs(-a * alpha * n ** (-alpha - 1)))


@dataclass
class Plain:
    """The checkpoints as vectors, theta[0]..theta[B], and the rows that are left in each block."""

    keep: float
    threshold: float
    normalised: bool

    def __post_init__(self) -> None:
        table = ROWS.table()
        block = Dealing(SEED, BLOCKS, 1).shards_of(table.owners) + 1
        self.x = {int(i): x for i, x in zip(table.ids, table.columns["x"], strict=True)}
        self.rows = {j: {int(i) for i in table.ids[block == j]} for j in range(1, BLOCKS + 1)}
        self.theta = [np.zeros(3)]
        for j in range(1, BLOCKS + 1):
            self.theta.append(self.train(self.theta[-1], j))

    def train(self, w: Vector, j: int) -> Vector:
        mean = np.mean([self.x[i] for i in self.rows[j]], axis=0) if self.rows[j] else None
        return w if mean is None else self.keep * w + mean + w**2 / 100

    def forget(self, ids: set[int]) -> int:
        hit = [j for j in self.rows if self.rows[j] & ids]
        for j in hit:
            self.rows[j] -= ids
        d, deltas = min(hit), list[float]()
        retrained = {d - 1: self.theta[d - 1]}
        t = 0
        for t in range(BLOCKS - d + 1):
            retrained[d + t] = self.train(retrained[d + t - 1], d + t)
            then = self.theta[d + t] - self.theta[d + t - 1]
            now = retrained[d + t] - retrained[d + t - 1]
            deltas.append(np.abs(then - now).sum() / (np.abs(then).sum() if self.normalised else 1))
            if len(deltas) >= 10 and d + t >= max(hit) and slope_at_the_end(deltas) < self.threshold:
                break
        move = retrained[d + t] - self.theta[d + t]
        for j in range(d, BLOCKS + 1):
            self.theta[j] = retrained[j] if j <= d + t else self.theta[j] + move
        return d + t


def in_block(block: int, count: int = 1) -> set[int]:
    table = ROWS.table()
    found = table.ids[Dealing(SEED, BLOCKS, 1).shards_of(table.owners) + 1 == block]
    return {int(i) for i in found[:count]}


REQUESTS = [in_block(8), in_block(25), in_block(3) | in_block(6) | in_block(9), in_block(30), in_block(1, 100)]


@pytest.mark.parametrize(
    ("keep", "residuals", "threshold"),
    [(0.5, "normalised", 3e-3), (0.9, "normalised", 3e-3), (0.9, "absolute", 3e-3), (0.99, "normalised", 1.0)],
)
def test_request_after_request_the_checkpoints_are_those_of_the_repaired_algorithm(
    keep: float, residuals: str, threshold: float
) -> None:
    plain = Plain(keep, threshold, residuals == "normalised")
    method = DeepObliviate(BlockLearner(keep), BLOCKS, threshold, residuals)  # type: ignore[arg-type]
    record, rows = method.learn(ROWS, seed=SEED, noise=NOISE), ROWS
    stops = []
    for ids in REQUESTS:
        step = method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)
        record, rows = step.record, rows.without(ids)
        stops.append(plain.forget(ids))
        assert step.stats["last_block"] == stops[-1]
        for mine, theirs in zip(record.checkpoints, plain.theta, strict=True):
            np.testing.assert_allclose(mine.tensors["weights"].numpy(), theirs, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(
            method.release(record).tensors["weights"], record.checkpoints[-1].tensors["weights"]
        )
    assert min(stops) < BLOCKS


def true_prefix(record: DeepObliviateRecord, clean: DeepObliviateRecord) -> int:
    """How many of the first checkpoints are, bit for bit, those of learning the rows anew."""
    same = [
        np.array_equal(a.tensors["weights"], b.tensors["weights"])
        for a, b in zip(record.checkpoints, clean.checkpoints, strict=True)
    ]
    return same.index(False) if False in same else len(same)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (1, 3, 0, 4, 2)])
def test_the_record_knows_which_of_its_checkpoints_are_exact(order: tuple[int, ...]) -> None:
    method = DeepObliviate(BlockLearner(0.9), BLOCKS, 1e-2)
    record, rows = method.learn(ROWS, seed=SEED, noise=NOISE), ROWS
    assert record.exact == BLOCKS + 1
    counts = set()
    for place in order:
        ids = REQUESTS[place]
        step = method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)
        record, rows = step.record, rows.without(ids)
        clean = method.learn(rows, seed=SEED, noise=NOISE)
        assert record.exact == true_prefix(record, clean)
        assert isinstance(step.certificate, Exact if record.exact == BLOCKS + 1 else Uncertified)
        counts.add(record.exact)
    assert len(counts) > 1
