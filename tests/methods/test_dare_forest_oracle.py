"""DaRE forests against three oracles: the plain numpy twin, exact probabilities by enumeration, published hashes."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from forest_problems import NOISE, forgotten, learned, problem, trees_of

from expunge import keyed
from expunge.kernels import siphash
from expunge.kernels.forest_twin import Twin
from expunge.kernels.forest_twin import half_siphash as plain_half_siphash
from expunge.kernels.forest_twin import siphash as plain_siphash
from expunge.learners.coded_columns import number_of
from expunge.learners.coded_forest import NODES, TREES, coded_rows
from expunge.methods.dare_forest import DareForest
from expunge.rows import Rows

U64, U32 = np.uint64, np.uint32


@pytest.mark.parametrize("seed", range(100, 124))
def test_the_compiled_words_are_those_of_the_plain_twin(seed: int) -> None:
    method, rows = problem(seed)
    record = learned(method, rows)
    if seed % 2 and len(rows) > 4:
        ids = rows.ids.tolist()[:3]
        record, rows = forgotten(method, record, rows, ids), rows.without(ids)
    given = coded_rows(rows, record.columns, method.weight_column, method.resolution)
    given = given.take(np.argsort(given.keys))
    growing = method._trees_of(record).growing()
    data = (given.codes, given.targets, given.weights, given.keys)
    ends = record.forest.ends.tolist()
    for tree, root in enumerate(growing.roots):
        twin = Twin(*data, growing.settings, growing.categorical, growing.secret).grow(int(root))
        assert record.forest.crowns[ends[tree] : ends[tree + 1]].tolist() == twin.crown
        for path, part in enumerate(record.forest.parts[tree]):
            assert (None if part is None else part.tolist()) == twin.parts.get(path)


def test_the_compiled_hash_is_the_keyed_one_and_the_published_one() -> None:
    words = keyed.keys_of(range(20))
    k0, k1 = keyed.key_pair(3, ("a", 1))
    compiled = [int(siphash.siphash(U64(k0), U64(k1), word, U64(9))) for word in words]
    assert compiled == keyed.bits(3, ("a", 1), words, 9).tolist()
    assert compiled == [plain_siphash(k0, k1, int(word), 9) for word in words]
    key, word = int.from_bytes(bytes(range(8)), "little"), int.from_bytes(bytes(range(4)), "little")
    published = int.from_bytes(
        bytes([0x2A, 0x6E, 0x46, 0x89]), "little"
    )  # HalfSipHash-2-4, 4 bytes, the authors' vector
    assert int(siphash.half_siphash(U64(key), U32(word), 2, 4)) == plain_half_siphash(key, word, 2, 4) == published
    codes = np.array([-5, 0, 7, 2**31 - 1], np.int32)
    drawn = np.empty(4, U32)
    siphash.priorities(codes, 4, U64(key), drawn)
    assert drawn.tolist() == [plain_half_siphash(key, int(code) % 2**32) for code in codes]


def exact_law(x: list[int], y: list[int], k: int) -> dict[float, Fraction]:
    """The probability of each root threshold: the purest of k values drawn evenly from all but the largest."""

    def purity(value: int) -> tuple[Fraction, int]:
        total = Fraction(0)
        for side in (
            [t for v, t in zip(x, y, strict=True) if v <= value],
            [t for v, t in zip(x, y, strict=True) if v > value],
        ):
            total += Fraction(sum(side) ** 2 + (len(side) - sum(side)) ** 2, len(side))
        return total, -value

    values = sorted(set(x))[:-1]
    draws = list(combinations(values, min(k, len(values))))
    law = Counter(float(max(draw, key=purity)) for draw in draws)
    return {value: Fraction(count, len(draws)) for value, count in law.items()}


CASES = (
    ([1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0, 1, 0, 0, 1, 1], 3),
    ([10, 15, 21, 24, 40, 41], [0, 0, 0, 1, 1, 0], 5),
    ([1, 1, 2, 2, 3, 8, 8, 9], [0, 1, 0, 1, 1, 0, 0, 1], 2),
    ([5, 6, 7, 8, 9, 10, 11], [0, 1, 0, 1, 0, 1, 0], 0),
)


@pytest.mark.parametrize(("x", "y", "gone"), CASES)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_thresholds_have_the_exact_law_after_forgetting_too(x: list[int], y: list[int], gone: int, k: int) -> None:
    trees = 1500
    rows = Rows.of(np.array(x, float)[:, None], y, classes=2)
    method = DareForest(trees=trees, max_depth=1, candidates=k, cut=0)
    record = learned(method, rows)
    after = forgotten(method, record, rows, [gone])
    kept = [i for i in range(len(x)) if i != gone]
    for found, (values, targets) in (
        (record, (x, y)),
        (after, ([x[i] for i in kept], [y[i] for i in kept])),
    ):
        law = exact_law(values, targets, k)
        seen = Counter(number_of(tree.value) for tree in trees_of(method, found) if tree.feature >= 0)
        assert set(seen) <= set(law)
        distance = sum(abs(seen[v] / trees - float(p)) for v, p in law.items()) / 2
        assert distance < 0.06  # about four standard deviations; the published code's total variation here is up to 1


def test_the_worked_example_of_the_published_leak() -> None:
    """y = 1[x >= 10], delete x = 9: the published code keeps the threshold 9.0 in every tree; retraining has 8."""
    x = np.arange(20.0)[:, None]
    rows = Rows.of(x, (x[:, 0] >= 10).astype(int))
    method = DareForest(trees=50, max_depth=3, candidates=25)
    record = learned(method, rows)
    assert {number_of(tree.value) for tree in trees_of(method, record)} == {9.0}
    step = method.forget(record, rows.without([9]), rows.only([9]), noise=NOISE)
    assert {number_of(tree.value) for tree in trees_of(method, step.record)} == {8.0}
    assert step.stats["splits_changed"] == 0  # the same rows go left: the threshold is renamed, no subtree is rebuilt


def test_roots_and_nodes_are_keyed_by_seed_and_purpose() -> None:
    method, rows = problem(3)
    growing = method._trees_of(learned(method, rows)).growing()
    assert growing.roots.tolist() == keyed.bits(5, TREES, np.arange(2, dtype=np.uint64)).tolist()
    assert growing.secret.tolist() == list(keyed.key_pair(5, NODES))
