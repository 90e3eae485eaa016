"""Support vector machine: bits equal to learning again by every road, what leaves at no cost, edges, bad input."""

from __future__ import annotations

from collections import Counter
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain
from expunge.features import Pipeline, tabular
from expunge.maths import decremental_path, margin_machine
from expunge.method import Extends
from expunge.methods import SupportVectorMachine
from expunge.methods.support_vector_machine import SUPPORT_RELEASED
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Block, Rows

NOISE = NoiseKey(bytes(32), 1)
KERNELS = ("rbf", "linear", "polynomial")


def cloud(n: int = 60, classes: int = 2, seed: int = 0, p: int = 3) -> Rows:
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return Rows.of(generator.normal(size=(n, p)) + 1.2 * np.eye(classes, p)[y], y, classes=classes)


def grid(n: int = 40, seed: int = 0) -> Rows:
    """Few distinct places: copies, and margins that could be shared out in many ways."""
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 4, size=(n, 2)).astype(float)
    return Rows.of(x, (x.sum(1) + generator.normal(size=n) > 3).astype(int), classes=2)


def learned(method: SupportVectorMachine, rows: Rows) -> Any:
    return method.learn(rows, seed=1, noise=NOISE)


def forgotten(method: SupportVectorMachine, record: Any, rows: Rows, ids: Any) -> Any:
    return method.forget(record, rows.without(ids), rows.only(ids), noise=NOISE)


def unread(rows: Rows) -> Rows:
    def never() -> NoReturn:
        raise AssertionError("a row was read")

    return Rows([Block(block.keys, never) for block in rows.blocks], rows.schema)


def with_weight(rows: Rows, record: Any, machine: int = 0) -> list[str]:
    return rows.ids[np.isin(rows.keys, record.machines[machine].keys.numpy())].tolist()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("cost", [0.05, 1.0, 30.0])
def test_bits_equal_learning_again_over_a_stream_of_requests(kernel: Any, cost: float) -> None:
    method, roads = SupportVectorMachine(kernel, cost), Counter[str]()
    for seed in range(2):
        rows = cloud(seed=seed)
        record, order = learned(method, rows), np.random.default_rng(seed).permutation(60)
        for ids in (order[:1], order[1:2], order[2:5], order[5:6], order[6:20], order[20:21]):
            step = forgotten(method, record, rows, ids.tolist())
            record, rows = step.record, rows.without(ids.tolist())
            roads.update({name: int(step.stats[name]) for name in ("unchanged", "on_path", "warm", "learned")})
            assert digest(record) == digest(learned(method, rows))
    assert roads["learned"] == 0
    assert roads["on_path"] >= 4


@pytest.mark.parametrize("kernel", KERNELS)
def test_bits_equal_learning_again_where_rows_are_copies_and_margins_are_in_doubt(kernel: Any) -> None:
    method, roads = SupportVectorMachine(kernel), Counter[str]()
    for seed in range(2):
        rows = grid(seed=seed)
        record = learned(method, rows)
        for one in range(0, 30, 2):
            step = forgotten(method, record, rows, [one, one + 1])
            record, rows = step.record, rows.without([one, one + 1])
            roads.update({name: int(step.stats[name]) for name in ("unchanged", "on_path", "warm", "learned")})
            assert isinstance(step.certificate, Exact)
            assert digest(record) == digest(learned(method, rows))
        back = method.extend(record, rows, grid(seed=seed).only(range(8)), noise=NOISE).record
        assert digest(back) == digest(learned(method, grid(seed=seed).without(range(8, 30))))
    assert roads["on_path"] >= 1
    assert (roads["learned"] > 0) == (kernel == "linear")


def test_batch_and_one_by_one_and_back_again_end_at_the_same_bits() -> None:
    rows, method = cloud(70, classes=3), SupportVectorMachine(cost=2.0)
    assert isinstance(method, Extends)
    ids = [3, 9, 10, 30, 31, 32]
    whole = learned(method, rows)
    batch = forgotten(method, whole, rows, ids).record
    record, remaining = whole, rows
    for one in ids:
        record, remaining = forgotten(method, record, remaining, [one]).record, remaining.without([one])
    assert digest(record) == digest(batch) == digest(learned(method, remaining))
    back = method.extend(batch, unread(remaining), rows.only(ids), noise=NOISE)
    assert digest(back.record) == digest(whole)
    assert back.stats["learned"] == 0


def test_a_row_without_weight_leaves_the_machines_as_they_are_and_no_row_is_read() -> None:
    rows, method = cloud(), SupportVectorMachine("linear")
    record = learned(method, rows)
    idle = [one for one in rows.ids.tolist() if one not in with_weight(rows, record)][:3]
    step = method.forget(record, unread(rows.without(idle)), unread(rows.only(idle)), noise=NOISE)
    assert step.stats["unchanged"] == 1
    assert step.stats["rows_visited"] == 0
    assert step.record.machines[0] is record.machines[0]
    assert digest(step.record) == digest(learned(method, rows.without(idle)))
    assert digest(step.record) != digest(record)
    assert digest(method.release(step.record)) == digest(method.release(record))


def test_support_vectors_leave_without_reading_a_row_and_their_values_are_gone() -> None:
    rows, method = cloud(), SupportVectorMachine()
    record = learned(method, rows)
    gone = with_weight(rows, record)[:4]
    step = method.forget(record, unread(rows.without(gone)), unread(rows.only(gone)), noise=NOISE)
    assert step.stats["on_path"] == 1
    assert SUPPORT_RELEASED in step.certificate.assumptions
    for value in rows.only(gone).columns["x"]:
        held = [bucket.x.numpy().tobytes() for bucket in step.record.buckets.values()]
        held.append(method.release(step.record).tensors["x"].numpy().tobytes())
        assert not any(value.tobytes() in part for part in held)
    linear = SupportVectorMachine("linear")
    assert set(linear.release(learned(linear, rows)).tensors) == {"b", "weights"}
    assert SUPPORT_RELEASED not in forgotten(linear, learned(linear, rows), rows, gone).certificate.assumptions


def test_where_the_path_fails_a_descent_from_the_old_weights_ends_at_the_same_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, method = cloud(), SupportVectorMachine()
    record = learned(method, rows)
    gone = with_weight(rows, record)[:5]
    monkeypatch.setattr(margin_machine, "follow", lambda *_: None)
    step = forgotten(method, record, rows, gone)
    assert (step.stats["warm"], step.stats["on_path"]) == (1, 0)
    assert digest(step.record) == digest(learned(method, rows.without(gone)))
    monkeypatch.setattr(margin_machine, "warm", lambda *_: None)
    step = forgotten(method, record, rows, gone)
    assert step.stats["learned"] == 1
    assert digest(step.record) == digest(learned(method, rows.without(gone)))


def test_a_path_that_ends_elsewhere_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, method = cloud(), SupportVectorMachine()
    record = learned(method, rows)
    gone = with_weight(rows, record)[:3]
    follow = decremental_path.follow

    def astray(*arguments: Any) -> Any:
        path = follow(*arguments)
        assert path is not None
        return decremental_path.Path(path.margin[2:], np.union1d(path.bound, path.margin[:1]), path.events)

    monkeypatch.setattr(margin_machine, "follow", astray)
    step = forgotten(method, record, rows, gone)
    assert digest(step.record) == digest(learned(method, rows.without(gone)))


def test_the_whole_margin_can_leave() -> None:
    rows, method = cloud(30), SupportVectorMachine("linear", 0.2)
    record = learned(method, rows)
    alpha = record.machines[0].alpha.numpy()
    inside = record.machines[0].keys.numpy()[alpha < 0.2]
    gone = rows.ids[np.isin(rows.keys, inside)].tolist()
    step = forgotten(method, record, rows, gone)
    assert step.stats["learned"] == 0
    assert digest(step.record) == digest(learned(method, rows.without(gone)))


def test_all_weights_at_the_bound_and_b_that_hangs_on_a_row_without_weight() -> None:
    rows, method = cloud(20), SupportVectorMachine("rbf", 1e-3)
    record = learned(method, rows)
    assert record.machines[0].inside == 0
    for ids in ([0, 1], [2, 5], [4]):
        step = forgotten(method, record, rows, ids)
        assert digest(step.record) == digest(learned(method, rows.without(ids)))
    # both weights at the bound 0.3, w = 0.3; x = 6 keeps b above -0.8, and without it b may be as low as -0.85
    rows = Rows.of([[-0.5], [0.5], [6.0], [6.5]], [0, 1, 1, 1], classes=2)
    linear = SupportVectorMachine("linear", 0.3)
    record = learned(linear, rows)
    assert (record.machines[0].inside, len(record.machines[0].keys)) == (0, 2)
    step = forgotten(linear, record, rows, [2])
    assert step.record.machines[0].b < record.machines[0].b - 0.01
    assert digest(step.record) == digest(learned(linear, rows.without([2])))


def test_a_machine_in_doubt_is_learned_from_nothing() -> None:
    x = [[-1.0, 0.0], [1.0, 1.0], [1.0, -1.0], [3.0, 0.0], [1.0, 0.0], [4.0, 1.0]]
    rows, method = Rows.of(x, [0, 1, 1, 1, 1, 1], classes=2), SupportVectorMachine("linear", 9.0)
    record = learned(method, rows)
    assert not record.machines[0].clear  # three rows on the margin share what two can carry
    for ids in ([5], [3, 5], [4], [1]):
        step = forgotten(method, record, rows, ids)
        assert step.stats["learned"] == 1
        assert digest(step.record) == digest(learned(method, rows.without(ids)))
    assert learned(method, rows.without([4])).machines[0].clear
    assert learned(method, rows.without([4])).machines[0].inside == 3


def test_a_large_cost_on_separable_rows_is_the_hard_margin() -> None:
    rows = Rows.of([[-1.0, 0.0], [-3.0, 2.0], [1.0, 1.0], [1.0, -1.0], [4.0, 0.0]], [0, 0, 1, 1, 1], classes=2)
    method = SupportVectorMachine("linear", 1e6)
    record = learned(method, rows)
    release = method.release(record)
    assert torch.allclose(release.tensors["weights"], torch.tensor([[1.0, 0.0]]).double(), atol=1e-9)
    assert abs(float(release.tensors["b"])) < 1e-9
    assert sorted(with_weight(rows, record)) == ["0", "2", "3"]


def test_two_rows_are_enough_and_one_side_alone_is_its_answer() -> None:
    rows, method = Rows.of([[-1.0], [1.0], [2.0]], [0, 1, 1], classes=2), SupportVectorMachine("linear", 5.0)
    record = learned(method, rows)
    two = forgotten(method, record, rows, [2])
    release = method.release(two.record)
    assert np.isclose(float(release.tensors["weights"]), 1.0)
    one = forgotten(method, two.record, rows.without([2]), [0])
    assert digest(one.record) == digest(learned(method, rows.only([1])))
    scores = method.predict(method.release(one.record), {"x": np.array([[-5.0], [5.0]])})
    assert (scores.argmax(1) == 1).all()
    with pytest.raises(MustRetrain, match="No row is left"):
        method.forget(one.record, rows.select(np.zeros(3, dtype=bool)), rows.only([1]), noise=NOISE)
    again = method.extend(one.record, rows.only([1]), rows.only([0, 2]), noise=NOISE)
    assert digest(again.record) == digest(record)


def test_the_last_row_of_a_class_of_three_can_leave() -> None:
    generator = np.random.default_rng(0)
    rows = Rows.of(generator.normal(size=(21, 2)), [0, 1] * 10 + [2], classes=3)
    for kernel in KERNELS:
        method = SupportVectorMachine(kernel)
        step = forgotten(method, learned(method, rows), rows, [20])
        assert digest(step.record) == digest(learned(method, rows.without([20])))
        scores = method.predict(method.release(step.record), rows.columns)
        assert torch.isfinite(scores).all()
        assert not (scores.argmax(1) == 2).any()


def test_requests_of_one_class_leave_the_machines_of_the_others_alone() -> None:
    rows, method = cloud(90, classes=3), SupportVectorMachine()
    record = learned(method, rows)
    gone = [one for one in with_weight(rows, record) if rows.y[int(one)] == 0][:2]
    step = forgotten(method, record, rows, gone)
    assert step.record.machines[2] is record.machines[2]
    assert step.stats["on_path"] + step.stats["unchanged"] == 2


def test_through_a_pipeline_with_public_statistics() -> None:
    generator = np.random.default_rng(1)
    age = generator.normal(40, 9, 60)
    job = np.array(["cook", "smith"])[generator.integers(0, 2, 60)]
    rows = Rows.of({"age": age, "job": job}, ((age > 40) ^ (job == "cook")).astype(int), classes=2)
    method = Pipeline(tabular(rows, statistics="public"), SupportVectorMachine())
    step = method.forget(method.learn(rows, seed=0, noise=NOISE), rows.without([3, 4]), rows.only([3, 4]), noise=NOISE)
    assert digest(step.record) == digest(method.learn(rows.without([3, 4]), seed=0, noise=NOISE))


def test_rows_and_settings_that_cannot_be_are_refused() -> None:
    for wrong in (
        {"cost": 0.0},
        {"cost": np.inf},
        {"gamma": -1.0},
        {"degree": 0},
        {"tol": 0.0},
        {"kernel": "sigmoid"},
        {"coef0": -1.0},
        {"bucket_rows": 0},
    ):
        with pytest.raises(InputError, match="was given"):
            SupportVectorMachine(**wrong)  # type: ignore[arg-type]
    method = SupportVectorMachine()
    for rows, told in (
        (Rows.of([[0.0], [1.0]], [0.5, 1.5]), "The target holds numbers"),
        (Rows.of({"x": np.array(["a", "b"])}, [0, 1]), "holds text.*Pipeline"),
        (Rows.of([[np.nan], [1.0]], [0, 1]), "holds NaN.*Pipeline"),
        (Rows.of([[1e200], [1.0]], [0, 1]), "scale the columns"),
        (Rows.of([[1.0], [1.0]]), "no target"),
        (Rows.of([[1.0], [1.0]], [0, 0], classes=1), "one class only"),
    ):
        with pytest.raises(InputError, match=told):
            learned(method, rows)
    rows = cloud(20)
    record = learned(method, rows)
    with pytest.raises(InputError, match="have 2 columns; those learned from have 3"):
        method.predict(method.release(record), {"x": np.zeros((1, 2))})
    with pytest.raises(InputError, match="give all the rows it was learned from"):
        method.forget(record, rows.without([1, 2]), rows.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="never learned, or is gone"):
        method.forget(record, rows.without([1]), Rows.of(np.zeros((1, 3)), [0], ids=["s"], classes=2), noise=NOISE)
    with pytest.raises(DuplicateRows):
        method.extend(record, rows, rows.only([1]), noise=NOISE)
