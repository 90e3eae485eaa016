"""Ridge: any history of requests ends at the bytes of learning anew; huge rows leave no error; rows left out in closed
form; singular equations have an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.audits.attacks.reconstruction import reconstruct
from expunge.certificate import Exact
from expunge.errors import DuplicateRows, InputError, MustRetrain
from expunge.learners.convex import Convex
from expunge.learners.summation import TWO_RELEASES
from expunge.method import Adopts, Extends
from expunge.methods import Retrain, Ridge
from expunge.noise import NoiseKey
from expunge.objective import LinearObjective
from expunge.record import digest
from expunge.rows import Rows, Table

NOISE = NoiseKey(bytes(32), 1)


def some_rows(n: int, p: int = 3, seed: int = 0, outputs: int = 1, **options: Any) -> Rows:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * 10.0 ** rng.integers(-3, 3, size=p)
    y = x @ rng.normal(size=(p, outputs)) + rng.normal(size=(n, outputs)) + 4
    return Rows.of(x, y[:, 0] if outputs == 1 else y, **options)


def learned(method: Ridge, rows: Rows) -> Any:
    return method.learn(rows, seed=0, noise=NOISE)


def weights(method: Ridge, rows: Rows) -> torch.Tensor:
    return method.release(learned(method, rows)).tensors["weights"]


def unreadable(table: Table) -> Table:
    raise AssertionError("A retained row was read.")


def forgotten(method: Ridge, record: Any, rows: Rows, ids: Any) -> tuple[Any, Rows]:
    """The record and the rows without these ids; every retained row refuses to be read."""
    retained = rows.without(ids)
    step = method.forget(record, retained.map(unreadable, rows.schema, keep=False), rows.only(ids), noise=NOISE)
    assert isinstance(step.certificate, Exact)
    assert TWO_RELEASES in step.certificate.conditions
    assert step.stats == {"rows_visited": len(rows) - len(retained)}
    return step.record, retained


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_thousand_deletions_in_any_order_end_at_the_bytes_of_learning_anew(kind: str) -> None:
    rows = some_rows(1100)
    if kind == "classification":
        rows = Rows.of(rows.columns["x"], np.digitize(rows.y, [3, 5]), classes=3)
    method, order = Ridge(), np.random.default_rng(1).permutation(1100)
    record, left, size = learned(method, rows), rows, 5
    for start in range(0, 1000, size):
        record, left = forgotten(method, record, left, order[start : start + size].tolist())
    clean = learned(method, left)
    assert digest(record) == digest(clean)
    assert digest(method.release(record)) == digest(method.release(clean))
    at_once, _ = forgotten(method, learned(method, rows), rows, order[:1000].tolist())
    assert digest(at_once) == digest(clean) != digest(learned(method, rows))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 10), st.integers(1, 2), st.data())
def test_deleting_and_adding_back_leaves_no_trace(seed: int, n: int, outputs: int, data: Any) -> None:
    method, rows = Ridge(), some_rows(n, 2, seed, outputs)
    ids = sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n - 1)))
    record = learned(method, rows)
    without, left = forgotten(method, record, rows, ids)
    assert digest(without) == digest(learned(method, left))
    back = method.extend(without, left, rows.only(ids), noise=NOISE)
    assert digest(back.record) == digest(record)


def test_duplicates_leave_one_at_a_time() -> None:
    x = np.tile(np.array([[0.1, 7.0], [1e9, -1e-9]]), (3, 1))
    rows, method = Rows.of(x, np.array([1.0, 2.0] * 3)), Ridge()
    record, left = forgotten(method, learned(method, rows), rows, [0, 3])
    assert digest(record) == digest(learned(method, left)) == digest(learned(method, rows.without([1, 2])))


def test_twenty_rows_of_scale_a_million_leave_no_error_where_a_rank_one_update_loses_the_weights() -> None:
    rng = np.random.default_rng(0)
    n, p, l2 = 2000, 20, 1e-3
    x = rng.normal(size=(n, p))
    x[:20] *= 1e6
    y = x @ rng.normal(size=p) + rng.normal(size=n)
    rows, method = Rows.of(x, y), Ridge(l2=l2, penalise_intercept=True)
    record, left = forgotten(method, learned(method, rows), rows, list(range(20)))
    clean = weights(method, left)
    assert digest(method.release(record).tensors["weights"]) == digest(clean)
    z = np.concatenate([np.ones((n, 1)), x], axis=1)
    refit = np.linalg.solve(z[20:].T @ z[20:] + l2 * (n - 20) * np.eye(p + 1), z[20:].T @ y[20:])
    assert np.abs(clean[0, [*range(p)]].numpy() - refit[1:]).max() < 1e-11
    inverse, right = np.linalg.inv(z.T @ z + l2 * (n - 20) * np.eye(p + 1)), z.T @ y
    for row, target in zip(z[:20], y[:20], strict=True):
        moved = inverse @ row
        inverse = inverse + np.outer(moved, moved) / (1 - row @ moved)
        right = right - target * row
    assert np.abs(inverse @ right - refit).max() > 1e-3  # Sherman-Morrison in float64


def test_columns_far_from_zero_lose_no_digit() -> None:
    rows = some_rows(200)
    x = np.round(rows.columns["x"] * 2**20) / 2**20
    far = weights(Ridge(0.0), Rows.of(x + 2.0**30, rows.y))
    near = weights(Ridge(0.0), Rows.of(x, rows.y))
    assert torch.allclose(far[:, :-1], near[:, :-1], rtol=1e-9)
    z = np.concatenate([np.ones((200, 1)), x + 2.0**30], axis=1)
    assert not np.allclose(np.linalg.lstsq(z.T @ z, z.T @ rows.y)[0][1:], near[0, :-1].numpy(), rtol=1e-3)


@pytest.mark.parametrize("penalise", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_rows_left_out_in_closed_form_are_the_residuals_after_forgetting(l2: float, penalise: bool) -> None:
    subjects = [f"s{i // 3 if i < 9 else i // 2 if i < 20 else i}" for i in range(40)]
    rows, method = some_rows(40, outputs=2, subjects=subjects), Ridge(l2, penalise)
    record = learned(method, rows)
    closed = method.leave_out(record, rows).numpy()
    for owner in ("s0", "s2", "s7", "s39"):
        mine = np.array([s == owner for s in subjects])
        group = rows.select(mine)
        after = method.forget(record, rows.select(~mine), group, noise=NOISE).record
        residual = group.y - method.predict(method.release(after), group.columns).numpy()
        assert np.allclose(closed[mine], residual, rtol=1e-9, atol=1e-9)


def test_one_row_left_out_of_least_squares_is_the_textbooks_residual_over_one_minus_its_leverage() -> None:
    rows, method = some_rows(30), Ridge(0.0)
    z = np.concatenate([np.ones((30, 1)), rows.columns["x"]], axis=1)
    hat = z @ np.linalg.pinv(z)
    expected = (rows.y - hat @ rows.y) / (1 - np.diag(hat))
    assert np.allclose(method.leave_out(learned(method, rows), rows)[:, 0].numpy(), expected)
    alone = Rows.of(np.ones((2, 1)), np.ones(2), subjects=["a", "a"])
    with pytest.raises(InputError, match="holds all the rows"):
        method.leave_out(learned(method, alone), alone)


def test_singular_equations_have_the_least_norm_solution_and_say_so() -> None:
    method = Ridge(0.0)
    for seed in range(8):  # the last pivot is rounding: in some of them positive
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(12, 4))
        x[:, 3] = x[:, 0] + x[:, 1]
        rows = Rows.of(x, rng.normal(size=12))
        release = method.release(learned(method, rows))
        expected = np.linalg.pinv(x - x.mean(0), rcond=1e-10) @ (rows.y - rows.y.mean())
        assert release.settings["least_norm"]
        assert np.allclose(release.tensors["weights"][0, :-1].numpy(), expected)
    assert not method.release(learned(method, some_rows(12))).settings["least_norm"]
    assert not Ridge(1e-3).release(learned(Ridge(1e-3), rows)).settings["least_norm"]
    record, left = forgotten(method, learned(method, rows), rows, list(range(11)))
    assert digest(record) == digest(learned(method, left))
    release = method.release(record)
    assert release.tensors["weights"][0].tolist() == [0.0, 0.0, 0.0, 0.0, float(rows.y[11])]
    with pytest.raises(MustRetrain):
        method.forget(record, left.select(np.array([False])), left, noise=NOISE)


def test_an_endless_penalty_leaves_the_mean() -> None:
    rows = some_rows(30)
    release = Ridge(1e100).release(learned(Ridge(1e100), rows))
    assert torch.allclose(
        Ridge(1e100).predict(release, rows.columns)[:, 0], torch.full((30,), rows.y.mean(), dtype=torch.float64)
    )


def test_with_its_intercept_penalised_it_minimises_what_the_librarys_convex_learner_does() -> None:
    rows = some_rows(60)
    scaled = Rows.of(rows.columns["x"] / rows.columns["x"].std(0), rows.y)
    method, solver = Ridge(0.1, penalise_intercept=True), Retrain(Convex(loss="squared", l2=0.1, tol=1e-10))
    found = method.predict(method.release(learned(method, scaled)), scaled.columns)
    solved = solver.predict(solver.release(solver.learn(scaled, seed=0, noise=NOISE)), scaled.columns)
    assert torch.allclose(found, solved, atol=1e-8)


def test_a_class_without_rows_has_no_probability_and_probabilities_add_up() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    rows = Rows.of(x, np.where(x[:, 0] > 0, 2, 0), classes=4)
    method = Ridge(0.01)
    scores = method.predict(method.release(learned(method, rows)), rows.columns).exp()
    assert torch.allclose(scores.sum(1), torch.ones(30, dtype=torch.float64))
    assert float(scores[:, [1, 3]].max()) < 1e-11
    assert ((scores.argmax(1) == 2).numpy() == (x[:, 0] > 0)).mean() > 0.9
    record, left = forgotten(method, learned(method, rows), rows, np.flatnonzero(rows.y == 2).tolist())
    assert digest(record) == digest(learned(method, left))
    assert (method.predict(method.release(record), rows.columns).argmax(1) == 0).all()


def test_what_cannot_be_read_is_told() -> None:
    method = Ridge()
    for columns, y, told in (
        ({"x": np.array([[1.0], [np.nan]])}, np.ones(2), "NaN, infinity"),
        ({"x": np.array([[1.0], [1e150]])}, np.ones(2), "above 1e\\+140"),
        ({"x": np.ones((2, 1))}, np.array([1.0, 1e150]), "'y' holds a number above"),
        ({"job": np.array(["a", "b"])}, np.ones(2), "reads the column 'x'"),
        ({"x": np.array(["a", "b"])}, np.ones(2), "holds text"),
        ({"x": np.ones((2, 1))}, None, "no target"),
    ):
        with pytest.raises(InputError, match=told):
            learned(method, Rows.of(columns, y))
    rows = some_rows(5)
    record = learned(method, rows)
    with pytest.raises(InputError, match="2 numbers a row; 3 were"):
        method.predict(method.release(record), {"x": np.ones((1, 2))})
    with pytest.raises(DuplicateRows):
        method.extend(record, rows, rows.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="5 rows"):
        method.forget(record, rows.without([0, 1]), rows.only([1]), noise=NOISE)
    with pytest.raises(InputError, match="still among"):
        method.forget(record, rows, rows.only([1]), noise=NOISE)
    for l2 in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="at least 0"):
            Ridge(l2)


def test_two_releases_give_the_row_that_left_to_whoever_has_the_others() -> None:
    rows, method = some_rows(40), Ridge(0.1, penalise_intercept=True)
    retained, gone = rows.without([5]), rows.only([5])
    record = learned(method, rows)
    after = method.forget(record, retained, gone, noise=NOISE).record
    before_and_after = [method.release(each).tensors["weights"] for each in (record, after)]
    objective = LinearObjective("squared", 0.1, inputs=3, outputs=1)
    found = reconstruct(objective, *before_and_after, retained, retained=39)
    assert found.row is not None
    assert np.allclose(found.row.numpy(), gone.columns["x"][0])


def test_it_extends_and_does_not_adopt() -> None:
    assert issubclass(Ridge, Extends)
    assert not issubclass(Ridge, Adopts)
