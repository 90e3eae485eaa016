"""DeepObliviate: where training begins and ends, what is stitched, what is exact, and what the guard says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.block_learner import BlockLearner

from expunge.certificate import Exact, Uncertified
from expunge.errors import DuplicateRows, InputError, MustRetrain
from expunge.learners.convex import Convex
from expunge.learners.dealing import Dealing
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training
from expunge.learners.sgd import Sgd
from expunge.maths.survival import survival
from expunge.method import Adopts, Extends, Forgetting
from expunge.methods.deep_obliviate import NEARER, NO_BETTER, STITCHED, DeepObliviate, DeepObliviateRecord
from expunge.models import Mlp, ModuleFile
from expunge.record import digest
from expunge.rows import Rows
from expunge.testing import noise_key

NOISE = noise_key(1)
SEED = 5
NETWORK = Sgd(Mlp((3,)), epochs=1, batch_size=4, learning_rate=0.02)
NORMED = ModuleFile(
    "normed.py",
    "from torch import nn\n"
    "def net():\n"
    "    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))\n",
    "net",
)
Step = Forgetting[DeepObliviateRecord]


def some_rows(n: int = 120, **options: Any) -> Rows:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 3))
    return Rows.of(x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5), classes=3, **options)


ROWS = some_rows()


def learned(method: DeepObliviate, rows: Rows) -> DeepObliviateRecord:
    return method.learn(rows, seed=SEED, noise=NOISE)


def forgotten(method: DeepObliviate, record: DeepObliviateRecord, rows: Rows, ids: Iterable[Any]) -> Step:
    ids = list(ids)
    return method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)


def blocks_of(rows: Rows, blocks: int) -> np.ndarray:
    return Dealing(SEED, blocks, 1).shards_of(rows.table().owners) + 1


def in_block(rows: Rows, blocks: int, block: int) -> list[int]:
    return [int(i) for i in rows.table().ids[blocks_of(rows, blocks) == block]]


def check_exact(method: DeepObliviate, rows: Rows, ids: Iterable[Any]) -> Step:
    step = forgotten(method, learned(method, rows), rows, ids)
    assert isinstance(step.certificate, Exact)
    assert digest(step.record) == digest(learned(method, rows.without(ids)))
    return step


def weights(training: Training) -> np.ndarray:
    return training.tensors["weights"].double().numpy()


# --- the order of work


def test_training_starts_before_the_block_of_the_row_and_goes_on_block_after_block_without_it() -> None:
    learner = BlockLearner()
    method = DeepObliviate(learner, blocks=30, threshold=math.inf)
    record = learned(method, ROWS)
    held = {j: tuple(in_block(ROWS, 30, j)) for j in range(1, 31)}
    starts = [tuple(weights(state).tolist()) for state in record.checkpoints]
    filled = [j for j in held if held[j]]
    assert learner.calls == [(starts[j - 1], 2 * (j - 1), held[j]) for j in filled]
    d = next(j for j in filled if j >= 8)
    gone = held[d][0]
    learner.calls.clear()
    step = forgotten(method, record, ROWS, [gone])
    stop = [j for j in filled if j >= d][9]  # ten residuals: the first that have an exponent
    assert [ids for _, _, ids in learner.calls] == [
        tuple(i for i in held[j] if i != gone) for j in filled if d <= j <= stop
    ]
    assert learner.calls[0][:2] == (starts[d - 1], 2 * (d - 1))
    assert starts[d - 1] != starts[d]
    assert step.stats["first_block"] == d
    assert step.stats["last_block"] == stop
    assert step.stats["rows_visited"] == 2 * sum(len(ids) for _, _, ids in learner.calls)


def test_the_release_is_the_retrained_end_plus_what_the_old_training_did_after_it() -> None:
    method = DeepObliviate(BlockLearner(), blocks=30, threshold=math.inf)
    record = learned(method, ROWS)
    step = forgotten(method, record, ROWS, in_block(ROWS, 30, 8)[:1])
    stop, old, new = int(step.stats["last_block"]), record.checkpoints, step.record.checkpoints
    assert 8 < stop < 30
    h = weights(new[stop]) + (weights(old[30]) - weights(old[stop]))
    np.testing.assert_allclose(method.release(step.record).tensors["weights"].numpy(), h, rtol=1e-12)
    clean = learned(method, ROWS.without(in_block(ROWS, 30, 8)[:1]))
    for j in range(8, stop + 1):
        assert digest(new[j]) == digest(clean.checkpoints[j])
    for j in range(stop + 1, 31):
        np.testing.assert_allclose(
            weights(new[j]) - weights(old[j]), weights(new[stop]) - weights(old[stop]), rtol=1e-9
        )
    assert all(new[j] is old[j] for j in range(8))


def test_a_stitched_checkpoint_keeps_moments_statistics_and_counters_of_the_path_that_led_there() -> None:
    learner = dataclasses.replace(NETWORK, model=NORMED, optimiser="adam", batch_size=2)
    method = DeepObliviate(learner, blocks=20, threshold=math.inf)
    record = learned(method, ROWS)
    step = forgotten(method, record, ROWS, in_block(ROWS, 20, 2)[:1])
    stop = int(step.stats["last_block"])
    assert stop < 20
    names = {"first", "second", "buffer:1.running_mean", "buffer:1.running_var", "buffer:1.num_batches_tracked"}
    for old, new in zip(record.checkpoints[stop + 1 :], step.record.checkpoints[stop + 1 :], strict=True):
        assert names < set(new.tensors)
        assert all(new.tensors[name] is old.tensors[name] for name in names)
        assert (new.steps, new.epochs, new.visits) == (old.steps, old.epochs, old.visits)
        assert not torch.equal(new.tensors["weights"], old.tensors["weights"])
    assert torch.isfinite(method.predict(method.release(step.record), ROWS.columns)).all()


def test_moments_set_to_zero_would_disturb_a_later_request_far_more_than_a_row() -> None:
    """Why a stitched checkpoint keeps them."""
    rows = some_rows(400)
    checkpoints, learner = learned(DeepObliviate(NETWORK, blocks=4), rows).checkpoints, NETWORK
    block, before = rows.only(in_block(rows, 4, 3)), checkpoints[2]
    zeroed = dataclasses.replace(before, tensors={**before.tensors, "momentum": 0 * before.tensors["momentum"]})

    def away(start: Training, part: Rows) -> float:
        end = learner.train(start, part, seed=SEED, purpose=("deep-obliviate",))
        return float((learner.flat(end) - learner.flat(checkpoints[3])).abs().sum())

    assert away(before, block) == 0
    assert away(zeroed, block) > 4 * np.median([away(before, block.without([i])) for i in block.ids[:9]]) > 0


def test_training_does_not_stop_before_the_last_block_that_held_a_row() -> None:
    method = DeepObliviate(BlockLearner(), blocks=30, threshold=math.inf)
    record = learned(method, ROWS)
    late = in_block(ROWS, 30, 26)[0]
    step = forgotten(method, record, ROWS, [in_block(ROWS, 30, 2)[0], in_block(ROWS, 30, 14)[0], late])
    assert (step.stats["first_block"], step.stats["last_block"]) == (2, 26)


def test_the_stop_comes_no_later_with_a_larger_threshold() -> None:
    method = DeepObliviate(BlockLearner(0.99), blocks=40)
    record, row = learned(method, ROWS), in_block(ROWS, 40, 3)[:1]
    stops = [
        forgotten(dataclasses.replace(method, threshold=threshold), record, ROWS, row).stats["last_block"]
        for threshold in (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, math.inf)
    ]
    assert stops == sorted(stops, reverse=True)
    assert stops[0] == 40
    assert len(set(stops)) > 3


# --- residuals


def residual_of_first_block(method: DeepObliviate, rows: Rows, row: list[int]) -> float:
    return forgotten(method, learned(method, rows), rows, row).stats["residual"]


def test_the_residual_is_the_l1_norm_of_the_difference_of_differences_over_that_of_the_old_one() -> None:
    record = learned(DeepObliviate(BlockLearner(), blocks=5, threshold=0), ROWS)
    row = in_block(ROWS, 5, 5)[:1]
    old = record.checkpoints
    after = forgotten(DeepObliviate(BlockLearner(), blocks=5, threshold=0), record, ROWS, row)
    then, now = weights(old[5]) - weights(old[4]), weights(after.record.checkpoints[5]) - weights(old[4])
    absolute = DeepObliviate(BlockLearner(), blocks=5, threshold=0, residuals="absolute")
    assert after.stats["residual"] == pytest.approx(np.abs(then - now).sum() / np.abs(then).sum())
    assert residual_of_first_block(absolute, ROWS, row) == pytest.approx(np.abs(then - now).sum())


def test_where_weights_are_a_hundred_times_larger_the_normalised_rule_stops_at_the_same_block() -> None:
    """The learner is linear but for a small square; with weights scaled, so are absolute slopes, and they go on."""
    row, stops = in_block(ROWS, 40, 3)[:1], {}
    for scale in (1e-3, 1e-1):
        for residuals, threshold in (("normalised", 3e-3), ("absolute", 1e-5)):
            method = DeepObliviate(BlockLearner(0.9, scale), 40, threshold, residuals)  # type: ignore[arg-type]
            stops[residuals, scale] = forgotten(method, learned(method, ROWS), ROWS, row).stats["last_block"]
    assert stops["normalised", 1e-3] == stops["normalised", 1e-1] < 40
    assert stops["absolute", 1e-3] < stops["absolute", 1e-1]


def test_the_place_in_the_order_does_not_change_the_rule() -> None:
    """The same rows in every block and a path near its fixed point: residuals are the same from d = 20 and d = 40."""
    x = np.tile(np.random.default_rng(1).normal(size=(2, 3)), (60, 1))
    owner_of_block = {}
    for i in range(4000):
        block = int(Dealing(SEED, 60, 1).shards_of(Rows.of(x[:1], [0.0], ids=[f"p{i}"]).table().owners)[0])
        owner_of_block.setdefault(block, f"p{i}")
        if len(owner_of_block) == 60:
            break
    subjects = [owner_of_block[i // 2] for i in range(120)]
    rows = Rows.of(x, np.zeros(120), subjects=subjects)
    method = DeepObliviate(BlockLearner(0.6), 60, math.inf, "absolute")
    record = learned(method, rows)
    lengths, slopes = set(), []
    for block in (20, 40):
        step = forgotten(method, record, rows, [2 * (block - 1)])
        lengths.add(step.stats["last_block"] - block)
        slopes.append(step.stats["slope"])
    assert len(lengths) == 1
    assert slopes[0] == pytest.approx(slopes[1], rel=0.05)


# --- what is exact


@pytest.mark.parametrize(
    "learner",
    [
        NETWORK,
        dataclasses.replace(NETWORK, optimiser="adam", epochs=2),
        dataclasses.replace(NETWORK, model=NORMED, batch_size=3),
        Convex(l2=0.1, tol=1e-6),
    ],
    ids=["sgd", "adam", "batch normalisation", "convex"],
)
def test_a_threshold_of_0_is_sequential_retraining_bit_for_bit(learner: Differentiable) -> None:
    method = DeepObliviate(learner, blocks=12, threshold=0)
    for ids in (in_block(ROWS, 12, 1)[:2], in_block(ROWS, 12, 12)[:1], list(range(0, 100, 9))):
        step = check_exact(method, ROWS, ids)
        assert step.stats["last_block"] == 12
        assert "distance_ratio" not in step.stats


@settings(max_examples=6)
@given(ids=st.sets(st.integers(0, 39), min_size=1, max_size=39), cut=st.integers(0, 39), blocks=st.integers(1, 12))
def test_any_requests_in_any_order_end_in_the_same_record(ids: set[int], cut: int, blocks: int) -> None:
    rows, method = some_rows(40), DeepObliviate(NETWORK, blocks, threshold=0)
    record, remaining = learned(method, rows), rows
    for batch in (sorted(ids)[cut:], sorted(ids)[:cut]):
        if batch:
            record, remaining = forgotten(method, record, remaining, batch).record, remaining.without(batch)
    clean = learned(method, rows.without(ids))
    assert digest(record) == digest(clean)
    assert digest(method.extend(clean, rows.without(ids), rows.only(ids), noise=NOISE).record) == digest(
        learned(method, rows)
    )


def test_one_block_is_plain_training() -> None:
    purpose = ("deep-obliviate",)
    plain = NETWORK.train(NETWORK.start(ROWS.schema, SEED, purpose), ROWS, seed=SEED, purpose=purpose)
    assert digest(learned(DeepObliviate(NETWORK, blocks=1), ROWS).checkpoints[1]) == digest(plain)
    assert check_exact(DeepObliviate(NETWORK, blocks=1), ROWS, [3]).stats["rows_visited"] == 119


def test_fewer_blocks_than_residuals_that_have_an_exponent_never_stitch() -> None:
    assert check_exact(DeepObliviate(NETWORK, blocks=9, threshold=math.inf), ROWS, [3, 70]).stats["slope"] == math.inf
    last = DeepObliviate(NETWORK, blocks=10, threshold=math.inf)
    assert check_exact(last, ROWS, in_block(ROWS, 10, 1)[:1]).stats["last_block"] == 10  # at the last block: no stop


def test_a_whole_block_a_whole_class_and_blocks_that_were_empty() -> None:
    for blocks in (14, 60):
        method = DeepObliviate(NETWORK, blocks, threshold=0)
        places = blocks_of(ROWS, blocks)
        assert (np.bincount(places, minlength=blocks + 1)[1:] == 0).any() == (blocks == 60)
        for mask in (places == places.min(), places == places.max(), ROWS.y == 2):
            assert mask.any()
            step = check_exact(method, ROWS, ROWS.table().ids[mask])
        assert step.stats["last_block"] == blocks


def test_a_block_without_rows_passes_its_epochs() -> None:
    """So the order of the rows in every later block stays what it was."""
    learner = BlockLearner()
    method = DeepObliviate(learner, blocks=40, threshold=0)
    assert not in_block(ROWS, 40, 5)
    record = learned(method, ROWS)
    learner.calls.clear()
    step = forgotten(method, record, ROWS, in_block(ROWS, 40, 3))
    for state in (record, step.record):
        assert [training.epochs for training in state.checkpoints] == list(range(0, 82, 2))
    assert [epochs for _, epochs, _ in learner.calls] == [2 * (j - 1) for j in range(4, 41) if in_block(ROWS, 40, j)]


def test_a_row_into_an_empty_block_has_no_residual_there_and_is_learned() -> None:
    method = DeepObliviate(BlockLearner(), blocks=60, threshold=0)
    places = blocks_of(ROWS, 60)
    alone = next(j for j in range(60, 0, -1) if (places == j).sum() == 1)
    (row,) = in_block(ROWS, 60, alone)
    step = method.extend(learned(method, ROWS.without([row])), ROWS.without([row]), ROWS.only([row]), noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert digest(step.record) == digest(learned(method, ROWS))


def test_the_forgotten_values_leave_no_trace_where_it_is_exact_and_some_where_it_is_not() -> None:
    table = ROWS.table()
    x = table.columns["x"].copy()
    row = in_block(ROWS, 40, 3)[0]
    x[table.ids.astype(int) == row] = 9.0
    other = Rows.from_table(dataclasses.replace(table, columns={"x": x}), ROWS.schema.classes)
    for threshold, leaves_a_trace in ((0.0, False), (math.inf, True)):
        method = DeepObliviate(NETWORK, 40, threshold)
        assert digest(learned(method, other)) != digest(learned(method, ROWS))
        mine, theirs = (forgotten(method, learned(method, r), r, [row]).record for r in (ROWS, other))
        assert (digest(mine) != digest(theirs)) == leaves_a_trace


def test_after_a_stitch_a_step_is_exact_again_only_if_it_begins_before_it_and_runs_to_the_end() -> None:
    method = DeepObliviate(NETWORK, blocks=40, threshold=math.inf)
    whole = dataclasses.replace(method, threshold=0)
    step = forgotten(method, learned(method, ROWS), ROWS, in_block(ROWS, 40, 6)[:1])
    rows, stop = ROWS.without(in_block(ROWS, 40, 6)[:1]), int(step.stats["last_block"])
    assert step.record.exact == stop + 1 < 40
    assert isinstance(step.certificate, Uncertified)
    starts = {j: in_block(rows, 40, j)[:1] for j in (4, stop + 1, stop + 2, 40) if in_block(rows, 40, j)}
    assert {4, stop + 1} < set(starts)
    for start, ids in starts.items():  # training begins at checkpoint start - 1
        again = forgotten(whole, step.record, rows, ids)
        clean = learned(whole, rows.without(ids))
        assert again.stats["last_block"] == 40
        assert isinstance(again.certificate, Exact) == (start <= stop + 1)
        assert (digest(again.record) == digest(clean)) == (start <= stop + 1)
        if start > stop + 1:
            assert again.certificate == Uncertified(STITCHED)
            assert again.record.exact == stop + 1
    none = rows.select(np.zeros(len(rows), dtype=bool))
    assert method.forget(step.record, rows, none, noise=NOISE).certificate == Uncertified(STITCHED)


def test_a_stitch_before_exact_checkpoints_takes_their_exactness() -> None:
    method = DeepObliviate(NETWORK, blocks=40, threshold=math.inf)
    first = forgotten(method, learned(method, ROWS), ROWS, in_block(ROWS, 40, 16)[:1])
    rows = ROWS.without(in_block(ROWS, 40, 16)[:1])
    second = forgotten(method, first.record, rows, in_block(rows, 40, 2)[:1])
    assert second.record.exact == second.stats["last_block"] + 1 < first.record.exact
    clean = learned(method, rows.without(in_block(rows, 40, 2)[:1]))
    same = [digest(a) == digest(b) for a, b in zip(second.record.checkpoints, clean.checkpoints, strict=True)]
    assert same == [j < second.record.exact for j in range(41)]


# --- what stitching is worth


def gaps(method: DeepObliviate, rows: Rows, ids: list[int]) -> tuple[float, float, Step, float]:
    """|h - retrained|, |untouched - retrained|, the step, and how much of the stitched change truly survived."""
    record = learned(method, rows)
    step, clean = forgotten(method, record, rows, ids), learned(method, rows.without(ids))
    stop = int(step.stats["last_block"])
    flat = method.learner.flat
    untouched, mine, theirs = (flat(r.checkpoints[-1]) for r in (record, step.record, clean))
    change = flat(step.record.checkpoints[stop]) - flat(record.checkpoints[stop])
    return float((mine - theirs).norm()), float((untouched - theirs).norm()), step, survival(change, theirs - untouched)


@pytest.mark.parametrize(("keep", "wins"), [(0.8, False), (0.9, False), (0.998, True)])
def test_stitching_loses_to_doing_nothing_where_later_blocks_would_have_worn_the_change_down(
    keep: float, wins: bool
) -> None:
    method = DeepObliviate(BlockLearner(keep, 0.01), blocks=40, threshold=math.inf)
    gap, doing_nothing, step, survived = gaps(method, ROWS, in_block(ROWS, 40, 3)[:1])
    assert (gap < doing_nothing) == wins == (survived > 0.5)
    assert (step.stats["survival"] > 0.5) == wins
    assert (step.stats["distance_ratio"] < 0.9) == wins
    assert step.certificate == Uncertified(STITCHED + (NEARER if wins else NO_BETTER))
    assert "doing nothing" in NO_BETTER


def test_the_certificate_of_a_stitch_says_what_still_knows_the_rows_and_holds_no_figure() -> None:
    assert "still know the forgotten rows" in STITCHED
    assert not any(letter.isdigit() for letter in STITCHED + NEARER + NO_BETTER)


def test_a_stitched_network_is_nearer_than_doing_nothing_here_and_both_distances_are_known() -> None:
    method = DeepObliviate(dataclasses.replace(NETWORK, learning_rate=0.1), blocks=30, threshold=math.inf)
    rows = some_rows(300)
    gap, doing_nothing, step, survived = gaps(method, rows, in_block(rows, 30, 18)[:3])
    assert 0 < gap < doing_nothing / 2
    assert survived > 0.9
    assert step.certificate == Uncertified(STITCHED + NEARER)


# --- everything else a method has to do


def test_forgetting_or_adding_nothing_trains_nothing() -> None:
    learner = BlockLearner()
    method = DeepObliviate(learner, 30)
    none = ROWS.select(np.zeros(len(ROWS), dtype=bool))
    record = learned(method, ROWS)
    learner.calls.clear()
    for step in (method.forget(record, ROWS, none, noise=NOISE), method.extend(record, ROWS, none, noise=NOISE)):
        assert digest(step.record) == digest(record)
        assert isinstance(step.certificate, Exact)
        assert step.stats == {"rows_visited": 0.0}
    assert learner.calls == []


def test_the_rows_of_a_subject_lie_in_one_block_and_the_order_of_rows_does_not_matter() -> None:
    rows, method = some_rows(subjects=[i % 12 for i in range(120)]), DeepObliviate(NETWORK, 12, threshold=0)
    ids = rows.of_subjects([5]).ids
    assert len(ids) == 10
    assert len(set(blocks_of(rows.only(ids), 12).tolist())) == 1
    table = rows.table()
    shuffled = Rows.from_table(table.take(np.random.default_rng(1).permutation(len(table))), rows.schema.classes)
    step = forgotten(method, learned(method, rows), shuffled, ids)
    assert digest(step.record) == digest(learned(method, rows.without(ids)))


def test_new_rows_are_learned_by_the_same_rule() -> None:
    method = DeepObliviate(NETWORK, blocks=30, threshold=math.inf)
    row = in_block(ROWS, 30, 4)[:1]
    half = learned(method, ROWS.without(row))
    step = method.extend(half, ROWS.without(row), ROWS.only(row), noise=NOISE)
    assert step.stats["first_block"] == 4
    assert step.stats["last_block"] < 30
    assert isinstance(step.certificate, Uncertified)
    whole = dataclasses.replace(method, threshold=0)
    assert digest(whole.extend(half, ROWS.without(row), ROWS.only(row), noise=NOISE).record) == digest(
        learned(whole, ROWS)
    )


def test_wrong_requests_are_refused() -> None:
    method = DeepObliviate(NETWORK, 12)
    record = learned(method, ROWS)
    none = ROWS.select(np.zeros(len(ROWS), dtype=bool))
    with pytest.raises(MustRetrain):
        method.forget(record, none, ROWS, noise=NOISE)
    after = forgotten(method, record, ROWS, [1]).record
    with pytest.raises(InputError, match="119 rows"):
        forgotten(method, after, ROWS, [1])
    with pytest.raises(DuplicateRows):
        method.extend(record, ROWS, ROWS.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="no row to learn from"):
        learned(method, none)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"blocks": 0}, "blocks=0 .* at least 1"),
        ({"threshold": -1.0}, "threshold=-1.0 .* such as 1e-3"),
        ({"threshold": math.nan}, "threshold=nan .* such as 1e-3"),
        ({"residuals": "relative"}, "residuals='relative' .* 'normalised' or 'absolute'"),
    ],
)
def test_wrong_hyperparameters_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        DeepObliviate(NETWORK, **wrong)


def test_it_extends_and_does_not_adopt() -> None:
    assert isinstance(DeepObliviate(), Extends)
    assert not isinstance(DeepObliviate(), Adopts)
