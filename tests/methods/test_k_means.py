"""k-means: bitwise equality with learning again, what is read and what is not, each defect of the published code."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from expunge import keyed
from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain
from expunge.maths.quantised_k_means import NOTHING, Points, Problem
from expunge.method import Adopts, Extends
from expunge.methods.k_means import KMeans, KMeansRecord
from expunge.noise import NoiseKey
from expunge.record import decode, digest, encode
from expunge.rows import Block, Rows
from expunge.schema import Array

NOISE = NoiseKey(bytes(32), 1)
SEED = 5


def learned(method: KMeans, rows: Rows, seed: int = SEED) -> KMeansRecord:
    return method.learn(rows, seed=seed, noise=NOISE)


def without(method: KMeans, record: KMeansRecord, rows: Rows, ids: Any) -> Any:
    return method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)


def centroids(method: KMeans, record: KMeansRecord) -> Array:
    found: Array = method.release(record).tensors["centroids"].numpy()
    return found


def clouds(n: int = 60, k: int = 3, p: int = 2, seed: int = 0, **options: Any) -> Rows:
    """Clouds far apart, of equal sizes."""
    generator = np.random.default_rng(seed)
    return Rows.of(7.0 + 20.0 * np.eye(k, p)[np.arange(n) % k] + generator.normal(size=(n, p)), **options)


def unreadable(rows: Rows) -> Rows:
    """The same rows, if anyone dared to read them."""

    def read() -> Any:
        raise AssertionError("a retained row was read")

    return Rows([Block(block.keys, read) for block in rows.blocks], rows.schema)


def initial_ids(record: KMeansRecord, rows: Rows) -> list[str]:
    """The ids of the initial centres of the only leaf, in the order of their choice."""
    names = dict(zip(rows.keys.tolist(), rows.ids.tolist(), strict=True))
    return [names[key] for key in record.leaves[0].keys.tolist()]


def some_problem(seed: int) -> tuple[KMeans, Rows, np.random.Generator]:
    """A method and rows: few or many, with ties, duplicates, constant columns, huge and tiny numbers, too few rows."""
    generator = np.random.default_rng(seed)
    n, p = int(generator.integers(2, 32)), int(generator.integers(1, 4))
    x = generator.normal(size=(n, p)) * 10.0 ** generator.integers(-3, 4)
    if seed % 3 == 0:
        x = np.round(x)  # ties, duplicates, -0.0
    if seed % 5 == 0:
        x[:, 0] = 3.0
    if seed % 7 == 0:
        x[n // 2 :] = x[: n - n // 2]
    lattice = None if seed % 5 == 2 else float(generator.choice([1e-3, 0.1, 1.0, 30.0]))
    width, depth = ((1, 1), (1, 1), (1, 3), (2, 1), (1, 1), (2, 2), (1, 1), (3, 1))[seed % 8]
    k, steps = int(generator.integers(1, 5)), int(generator.integers(1, 4))
    gamma = float(generator.choice([0.0, 0.2, 1.0]))
    subjects = [i // 2 for i in range(n)] if seed % 2 else None
    return KMeans(k, steps, lattice, gamma, width, depth), Rows.of(x, subjects=subjects), generator


@pytest.mark.parametrize("part", range(4))
def test_two_thousand_deletions_end_in_the_record_learned_without_the_rows(part: int) -> None:
    deletions = still = 0
    for seed in range(part, 140, 4):
        method, rows, generator = some_problem(seed)
        record, order = learned(method, rows, seed), generator.permutation(len(rows)).tolist()
        for count, gone in enumerate(order[:-1], start=1):
            step = without(method, record, rows, [gone])
            assert isinstance(step.certificate, Exact)
            record, rows = step.record, rows.without([gone])
            still += not step.stats["leaves_run_again"]
            assert np.isfinite(centroids(method, record)).all()
            if count % 10 == 0 or len(rows) == 1:
                assert digest(record) == digest(learned(method, rows, seed)), seed
        deletions += len(order) - 1
    assert deletions > 450  # in each of the four parts
    assert still > 50


@pytest.mark.parametrize("seed", range(24))
def test_batches_any_order_and_adding_back_end_in_the_same_record(seed: int) -> None:
    method, rows, generator = some_problem(seed)
    whole, gone = learned(method, rows), generator.permutation(len(rows))[: len(rows) // 2 or 1].tolist()
    clean = learned(method, rows.without(gone))
    at_once = without(method, whole, rows, gone)
    assert digest(at_once.record) == digest(clean)
    half = gone[: len(gone) // 2]
    record, rest = whole, rows
    for part in (gone[len(half) :], half):
        if part:
            record, rest = without(method, record, rest, part).record, rest.without(part)
    assert digest(record) == digest(clean)
    back = method.extend(clean, rows.without(gone), rows.only(gone), noise=NOISE)
    assert isinstance(back.certificate, Exact)
    assert digest(back.record) == digest(whole)


def test_the_order_of_the_rows_and_their_blocks_do_not_matter() -> None:
    rows, method = clouds(), KMeans(4, lattice=0.3)
    table, shuffled = rows.table(), np.random.default_rng(1).permutation(60)
    pieces = [Rows.from_table(table.take(shuffled[start : start + 7])).blocks[0] for start in range(0, 60, 7)]
    other, record = Rows(pieces, rows.schema), learned(method, rows)
    assert digest(learned(method, other)) == digest(record)
    assert digest(without(method, record, other, [8]).record) == digest(learned(method, rows.without([8])))


def test_no_retained_row_is_read_unless_a_centroid_moves() -> None:
    rows, method = clouds(300), KMeans(3, lattice=0.5)
    record = learned(method, rows)
    read, start = 0, set(initial_ids(record, rows))
    for i in range(60):
        if str(i) in start:
            continue
        try:
            step = method.forget(record, unreadable(rows.without([i])), rows.only([i]), noise=NOISE)
        except AssertionError:
            read += 1
            continue
        assert step.stats == {
            "rows_visited": 0,
            "leaves_touched": 1,
            "leaves_run_again": 0,
            "steps_run_again": 0,
            "started_again": 0,
        }
        assert digest(step.record) == digest(learned(method, rows.without([i])))
    assert read < 20
    fine = KMeans(3, lattice=1e-6)
    with pytest.raises(AssertionError, match="a retained row was read"):
        fine.forget(learned(fine, rows), unreadable(rows.without([0])), rows.only([0]), noise=NOISE)


def test_new_rows_that_move_no_centroid_read_none_either() -> None:
    rows, method = clouds(300), KMeans(3, lattice=0.5)
    record = learned(method, rows)
    loser = next(i for i in range(300) if str(i) not in initial_ids(record, rows) and _is_still(method, rows, i))
    before = learned(method, rows.without([loser]))
    step = method.extend(before, unreadable(rows.without([loser])), rows.only([loser]), noise=NOISE)
    assert digest(step.record) == digest(record)


def _is_still(method: KMeans, rows: Rows, i: int) -> bool:
    return not without(method, learned(method, rows), rows, [i]).stats["leaves_run_again"]


def test_only_the_steps_after_the_first_changed_centroid_are_run_again() -> None:
    rows, method = clouds(60), KMeans(3, steps=6, lattice=0.3)
    record, seen = learned(method, rows), set()
    for i in range(60):
        step = without(method, record, rows, [i])
        clean = learned(method, rows.without([i]))
        same = (record.leaves[0].centroids == clean.leaves[0].centroids).all((1, 2)).tolist()
        first = same.index(False) if False in same else 6
        if str(i) in initial_ids(record, rows):
            assert step.stats["started_again"] == 1
            assert step.stats["steps_run_again"] == 6
            assert step.stats["rows_visited"] == 59 * (6 + 3)
        else:
            assert step.stats["started_again"] == 0
            assert step.stats["steps_run_again"] == max(6 - first - 1, 0)
            assert step.stats["rows_visited"] == 59 * max(6 - first - 1, 0)
            seen.add(first)
    assert {0, 5, 6} & seen
    assert len(seen) > 3


def test_deleting_any_initial_centre_starts_again_the_first_one_included() -> None:
    rows, method = clouds(), KMeans(4, lattice=1e3)  # so coarse that no centroid ever moves by a row
    record = learned(method, rows)
    chosen = initial_ids(record, rows)
    assert len(set(chosen)) == 4
    for gone in chosen:
        step = without(method, record, rows, [gone])
        assert step.stats["started_again"] == 1
        assert digest(step.record) == digest(learned(method, rows.without([gone])))
        assert gone not in initial_ids(step.record, rows)
    other = next(i for i in rows.ids.tolist() if i not in chosen)
    assert without(method, record, rows, [other]).stats["started_again"] == 0


def test_rows_are_dealt_by_owner_and_only_the_touched_leaf_is_clustered_again() -> None:
    rows = clouds(120, subjects=[i % 40 for i in range(120)])
    method = KMeans(3, lattice=None, width=4)
    record = learned(method, rows)
    ids = rows.of_subjects([7]).ids
    step = without(method, record, rows, ids)
    leaf = int(keyed.integers(SEED, ("k-means", "leaf"), keyed.keys_of(["7"]), 4)[0])
    size = int(step.record.leaves[leaf].partition.sizes.sum())
    assert len(ids) == 3
    assert step.stats["leaves_touched"] == step.stats["leaves_run_again"] == 1
    assert step.stats["rows_visited"] in [passes * size for passes in range(1, 14)]
    for number, (old, new) in enumerate(zip(record.leaves, step.record.leaves, strict=True)):
        assert (new is old) == (number != leaf)
    assert digest(step.record) == digest(learned(method, rows.without(ids)))


def test_a_fixed_point_ends_the_passes_and_changes_no_step() -> None:
    x = np.array([[0.0], [1.0], [10.0], [11.0]])
    points, steps = Points(x, np.ones(4), _keys(4)), []
    for count in (2, 3, 9):
        run, passes = Problem(2, 0.2, None, np.zeros((count, 1)), _wins([0, 2])).finished(NOTHING, points)
        assert passes == 2 + 2  # the second step gives the centroids of the first
        assert run.centroids[:, :, 0].tolist() == [[0.5, 10.5]] * count
        assert run.partition.sizes.tolist() == [[2, 2]] * count
        steps.append(digest(run.only(slice(-1, None))))
    assert len(set(steps)) == 1


def test_quantised_leaves_are_left_as_they_are_where_no_centroid_moves() -> None:
    rows, method = clouds(240), KMeans(3, lattice=1.0, width=2, depth=2)
    record = learned(method, rows)
    steps = [without(method, record, rows, [i]) for i in range(8)]
    assert sum(step.stats["leaves_run_again"] for step in steps) < 6
    assert all(step.stats["leaves_touched"] == 1 for step in steps)
    for i, step in enumerate(steps):
        assert digest(step.record) == digest(learned(method, rows.without([i])))
        assert [len(level) for level in step.record.above] == [2, 1]
        changed = [new is not old for new, old in zip(step.record.above[0], record.above[0], strict=True)]
        assert sum(changed) == 1


def test_a_cluster_that_loses_all_its_rows_stays_where_it_was_and_no_number_is_nan() -> None:
    for gamma in (0.0, 0.2):
        rows = clouds(60, p=3)
        method = KMeans(3, lattice=0.5, gamma=gamma)
        record = learned(method, rows)
        ids = [i for i in range(60) if i % 3 == 1 and str(i) not in initial_ids(record, rows)]
        step = without(method, record, rows, ids)
        assert digest(step.record) == digest(learned(method, rows.without(ids)))
        assert np.isfinite(centroids(method, step.record)).all()
        cluster = [i for i in range(60) if i % 3 == 1]
        step = without(method, record, rows, cluster)
        assert step.stats["leaves_run_again"] == 1
        assert digest(step.record) == digest(learned(method, rows.without(cluster)))
    empty = np.array([[0.0], [0.1], [100.0], [0.05]])
    problem = Problem(2, 0.0, None, np.zeros((3, 1)), _wins([0, 2]))
    run, _ = problem.finished(NOTHING, Points(empty, np.ones(4), _keys(4)))
    left = problem.changed(run, Points(empty[[1]], np.ones(1), _keys(4)[[1]]), -1)
    assert run.partition.sizes[-1].tolist() == [3, 1]
    assert left.partition.sizes[0].tolist() == [2, 1]


def test_a_row_is_removed_and_not_set_to_zero() -> None:
    rows, method = clouds(90), KMeans(3, lattice=0.05)
    record = learned(method, rows)
    for i in range(12):
        record, rows = without(method, record, rows, [i]).record, rows.without([i])
    sizes = record.leaves[0].partition.sizes
    assert sizes.sum(1).tolist() == [78] * 10
    assert np.abs(centroids(method, record)).max(1).min() > 1  # a cluster of zero rows would lie at 0


def test_fewer_rows_than_clusters_make_as_many_clusters() -> None:
    rows = Rows.of(np.array([[0.0], [1.0], [5.0]]))
    method = KMeans(8, lattice=0.01)
    record = learned(method, rows)
    assert centroids(method, record).shape == (3, 1)
    assert sorted(centroids(method, record)[:, 0].round(1).tolist()) == pytest.approx([0.0, 1.0, 5.0], abs=0.11)
    step = without(method, record, rows, [1])
    assert digest(step.record) == digest(learned(method, rows.without([1])))
    back = method.extend(step.record, rows.without([1]), rows.only([1]), noise=NOISE)
    assert digest(back.record) == digest(record)


def test_one_leaf_is_no_tree() -> None:
    rows = clouds()
    assert digest(learned(KMeans(3, width=1, depth=4), rows)) == digest(learned(KMeans(3), rows))
    assert learned(KMeans(3), rows).above == ()


def test_a_target_is_not_looked_at() -> None:
    rows = clouds()
    with_target = Rows.of(rows.columns, y=np.arange(60) % 2, classes=2)
    method = KMeans(3)
    assert digest(learned(method, with_target)) == digest(learned(method, rows))
    step = without(method, learned(method, with_target), with_target, [4])
    assert digest(step.record) == digest(learned(method, rows.without([4])))


def test_zero_has_one_sign() -> None:
    x = np.array([[0.0], [-0.0], [0.0], [8.0], [-0.0], [9.0]])
    plus, minus = Rows.of(np.abs(x)), Rows.of(x)
    method = KMeans(2, lattice=None)
    assert digest(learned(method, plus)) == digest(learned(method, minus))


def test_scores_are_minus_squared_distances_and_inertia_is_their_sum() -> None:
    rows, method = clouds(), KMeans(3, lattice=0.1)
    release = method.release(learned(method, rows))
    x, c = rows.columns["x"], release.tensors["centroids"].numpy()
    squares = ((x[:, None] - c) ** 2).sum(2)
    scores = method.predict(release, rows.columns)
    torch.testing.assert_close(scores, torch.from_numpy(-squares))
    assert scores.argmax(1).tolist() == squares.argmin(1).tolist()
    assert method.inertia(release, rows.columns) == pytest.approx(squares.min(1).sum())


def test_a_record_and_a_release_survive_storage() -> None:
    rows, method = clouds(), KMeans(3, lattice=0.1, width=2)
    record = learned(method, rows)
    tree, tensors = encode(record)
    stored = decode(tree, {name: tensor.clone() for name, tensor in tensors.items()})
    assert digest(without(method, stored, rows, [8]).record) == digest(learned(method, rows.without([8])))
    release = method.release(record)
    again = decode(*encode(release))
    assert torch.equal(method.predict(again, rows.columns), method.predict(release, rows.columns))


def test_a_release_holds_no_row_and_a_record_no_forgotten_one() -> None:
    rows, method = clouds(), KMeans(4, lattice=0.3)
    record = learned(method, rows)
    gone = initial_ids(record, rows)[:2]
    after = without(method, record, rows, gone).record
    values = rows.only(gone).columns["x"]
    held = [tensor for tensor in encode(after)[1].values() if tensor.is_floating_point() and tensor.ndim > 1]
    for value in values:
        assert not any((tensor.reshape(-1, 2) == torch.from_numpy(value)).all(1).any() for tensor in held)
    c = torch.from_numpy(centroids(method, record))
    assert not any((c == torch.from_numpy(x)).all(1).any() for x in rows.columns["x"])


def test_forgetting_or_adding_nothing_changes_nothing() -> None:
    rows, method = clouds(), KMeans(3)
    record, none = learned(method, rows), rows.select(np.zeros(60, dtype=bool))
    for step in (method.forget(record, rows, none, noise=NOISE), method.extend(record, rows, none, noise=NOISE)):
        assert step.record is record
        assert step.stats == {"rows_visited": 0}


def test_wrong_requests_are_refused() -> None:
    rows, method = clouds(), KMeans(3)
    record = learned(method, rows)
    with pytest.raises(MustRetrain):
        method.forget(record, rows.select(np.zeros(60, dtype=bool)), rows, noise=NOISE)
    after = without(method, record, rows, [1]).record
    with pytest.raises(InputError, match="59 rows"):
        without(method, after, rows, [1])
    with pytest.raises(DuplicateRows):
        method.extend(record, rows, rows.only([1]), noise=NOISE)


def test_it_extends_and_does_not_adopt_and_needs_no_target() -> None:
    assert isinstance(KMeans(), Extends)
    assert not isinstance(KMeans(), Adopts)
    assert not KMeans.needs_target
    assert "cannot adopt" in (__import__("expunge.methods.k_means", fromlist=["k_means"]).__doc__ or "")


def _keys(n: int) -> keyed.Keys:
    return np.arange(n, dtype=np.uint64)


def _wins(places: list[int]) -> Any:
    """Noise under which the rows of these keys are chosen, one after the other."""
    return lambda choice, keys: np.where(keys == places[choice], 1 - 1e-12, 1e-12)


def test_the_worked_example() -> None:
    """Rows 0, 1, 10, 11; initial centres 0 and 10; a lattice of side 1 with phases .25 and .6; then 11 leaves.

    Step 1: means .5 and 10.5, on the lattice .25 and 10.25. Step 2: the same means, .6 and 10.6. Without 11: means .5
    and 10; step 1 gives .25 and 10.25 again, step 2 .6 and 9.6. Step 2 is the last, so no other row need be read.
    """
    x = np.array([[0.0], [1.0], [10.0], [11.0]])
    problem = Problem(2, 0.2, 1.0, np.array([[0.25], [0.6]]), _wins([0, 2]))
    run, _ = problem.finished(NOTHING, Points(x, np.ones(4), _keys(4)))
    assert run.keys.tolist() == [0, 2]
    assert run.initial[:, 0].tolist() == [0.0, 10.0]
    assert run.partition.sizes.tolist() == [[2, 2], [2, 2]]
    assert run.partition.sums.rounded()[:, :, 0].tolist() == [[1.0, 21.0], [1.0, 21.0]]
    assert run.centroids[:, :, 0].tolist() == [[0.25, 10.25], [0.6, 10.6]]
    left = problem.changed(run, Points(x[3:], np.ones(1), _keys(4)[3:]), -1)
    assert left.partition.sizes.tolist() == [[2, 1], [2, 1]]
    assert left.partition.sums.rounded()[:, :, 0].tolist() == [[1.0, 10.0], [1.0, 10.0]]
    assert left.centroids[:, :, 0].tolist() == [[0.25, 10.25], [0.6, 9.6]]
    assert len(problem.changed(run, Points(x[:1], np.ones(1), _keys(4)[:1]), -1)) == 0


def test_a_row_leaves_each_steps_cluster_by_the_centroids_of_the_step_before() -> None:
    """Of rows 0, 1, 3, 20 the first two are initial centres; 3 is with 1 in step 1 and, as 1 went to 8, with 0 then."""
    x = np.array([[0.0], [1.0], [3.0], [20.0]])
    problem = Problem(2, 0.0, 2.0**-30, np.zeros((2, 1)), _wins([0, 1]))
    run, _ = problem.finished(NOTHING, Points(x, np.ones(4), _keys(4)))
    assert run.partition.sizes.tolist() == [[1, 3], [3, 1]]
    assert run.centroids[0, :, 0].tolist() == [0.0, 8.0]
    left = problem.changed(run, Points(x[[2]], np.ones(1), _keys(4)[[2]]), -1)
    assert left.partition.sizes.tolist() == [[1, 2]]
    assert left.centroids[:, :, 0].tolist() == [[0.0, 10.5]]
    rest = [0, 1, 3]
    clean, _ = problem.finished(NOTHING, Points(x[rest], np.ones(3), _keys(4)[rest]))
    assert digest(problem.finished(left, Points(x[rest], np.ones(3), _keys(4)[rest]))[0]) == digest(clean)


def test_all_centroids_are_made_again_for_the_least_size_follows_the_number_of_rows() -> None:
    """Of 12 rows in clusters of 10 and 2, m = 12 / 2 draws the small one to where it was; with 11 rows it is 5.5."""
    x = np.array([[0.1 * i] for i in range(10)] + [[50.0], [54.0]])
    problem = Problem(2, 1.0, None, np.zeros((1, 1)), _wins([0, 10]))
    points = Points(x, np.ones(12), _keys(12))
    run, _ = problem.finished(NOTHING, points)
    assert run.centroids[0, 1, 0] == pytest.approx((2 * 52 + 4 * 50) / 6)
    left = problem.changed(run, Points(x[[9]], np.ones(1), _keys(12)[[9]]), -1)
    rest = np.arange(12) != 9
    clean, _ = problem.finished(NOTHING, Points(x[rest], np.ones(11), _keys(12)[rest]))
    assert left.centroids[0, 1, 0] == pytest.approx((2 * 52 + 3.5 * 50) / 5.5)
    assert digest(left) == digest(clean)


def test_replaced_fields_are_checked_again() -> None:
    with pytest.raises(InputError, match="lattice=0"):
        dataclasses.replace(KMeans(), lattice=0.0)
