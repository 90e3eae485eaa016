"""Shadow models: who learned what, kept and read back; and models made to forget."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pytest
from audit_toys import LeastSquares, Overfit, rows_of

from expunge import record
from expunge.audits.answers import answers_of
from expunge.audits.attacks import lira, roc
from expunge.audits.shadows import halves, train_shadows
from expunge.audits.unlearned import unlearn
from expunge.errors import InputError, UnknownRows
from expunge.methods.nearest_neighbours import NearestNeighbours
from expunge.rows import Rows

ROWS = rows_of(60, 1)


def test_every_row_is_in_one_model_of_each_pair() -> None:
    inside = halves(ROWS, count=10, seed=4)
    assert (inside[0::2] ^ inside[1::2]).all()
    assert (inside.sum(axis=0) == 5).all()
    assert len({mask.tobytes() for mask in inside}) == 10


def test_a_row_that_leaves_changes_no_other_rows_halves_and_order_does_not_matter() -> None:
    inside, left = halves(ROWS, count=6, seed=4), ROWS.without([3])
    assert (halves(left, count=6, seed=4) == np.delete(inside, 3, axis=1)).all()
    table = ROWS.table()
    turned = Rows.from_table(table.take(np.arange(60)[::-1]), ROWS.schema.classes)
    assert (halves(turned, count=6, seed=4) == inside[:, ::-1]).all()


def test_rows_of_one_subject_stay_together() -> None:
    rows = Rows.of(np.zeros((8, 1)), np.arange(8) % 2, subjects=["ann", "bob"] * 4)
    inside = halves(rows, count=8, seed=0)
    assert (inside[:, 0::2] == inside[:, :1]).all()


def test_models_were_trained_on_their_halves_and_are_read_back(tmp_path: Path) -> None:
    shadows = train_shadows(Overfit(), ROWS, count=4, seed=9, scratch=tmp_path)
    for k, mask in enumerate(shadows.inside):
        half = ROWS.select(mask)
        log_p = Overfit().predict(shadows.models[k].release, half.columns).numpy()
        assert (log_p.argmax(axis=1) == half.y).all()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert len(written) == 4
    again = train_shadows(Overfit(), ROWS, count=6, seed=9, scratch=tmp_path)  # two more; four are there
    assert [record.digest(m.release) for m in again.models[:4]] == [record.digest(m.release) for m in shadows.models]
    assert written.items() <= {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}.items()


def test_lira_recognises_what_an_overfitted_model_learned() -> None:
    shadows = train_shadows(Overfit(), rows_of(80, 2, mislabelled=20), count=16, seed=1)
    said = answers_of(Overfit(), shadows.models, rows_of(80, 2, mislabelled=20))
    scores = lira.each_by_the_others(said.margins, shadows.inside)
    assert roc.auc(scores[shadows.inside], scores[~shadows.inside]) > 0.9


def test_answers_are_log_probabilities_and_margins() -> None:
    shadows = train_shadows(Overfit(), ROWS, count=2, seed=1)
    said = answers_of(Overfit(), shadows.models, ROWS)
    log_p = Overfit().predict(shadows.models[0].release, ROWS.columns).numpy()
    of_y = log_p[np.arange(60), ROWS.y]
    assert said.log_confidences[0].tolist() == pytest.approx(np.maximum(of_y, np.log(1e-12)).tolist())
    odds = np.clip(of_y - np.log(-np.expm1(of_y)), -27.631, 27.631)
    assert said.margins[0].tolist() == pytest.approx(odds.tolist(), rel=1e-6, abs=1e-3)
    assert said.of_rows([1, 2]).margins.shape == (2, 2)
    assert said.of_models([0]).log_confidences.shape == (1, 60)


def test_odd_counts_and_too_few_rows_are_refused() -> None:
    with pytest.raises(InputError, match="even number"):
        halves(ROWS, count=5, seed=0)
    with pytest.raises(InputError, match="one half was empty"):
        train_shadows(Overfit(), ROWS.only([1]), count=2, seed=0)


def test_unlearned_models_are_what_forgetting_gives_and_are_read_back(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    done = unlearn(LeastSquares(), ROWS, [0, 1], seed=5, count=2, scratch=tmp_path, progress=lambda *w: told.append(w))
    assert told[-1] == ("forgetting", 2, 2)
    assert len({record.digest(one.after.release) for one in done}) == 2
    goal = LeastSquares().minimiser(ROWS.without([0, 1]))
    for one in done:
        assert float((one.after.release.tensors["w"] - goal).abs().max()) < 0.05
    again = unlearn(LeastSquares(), ROWS, [0, 1], seed=5, count=2, scratch=tmp_path)
    assert [record.digest(one.after.release) for one in again] == [record.digest(one.after.release) for one in done]
    other = unlearn(LeastSquares(), ROWS, [2], seed=5, count=2, scratch=tmp_path)
    assert record.digest(other[0].after.release) != record.digest(done[0].after.release)


def test_work_in_parallel_gives_the_same_unlearned_models(tmp_path: Path) -> None:
    alone = unlearn(Overfit(), ROWS, [0, 1], seed=5, count=2)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        together = unlearn(Overfit(), ROWS, [0, 1], seed=5, count=2, jobs=None, scratch=tmp_path)
    digests = [[record.digest(one.after.release) for one in done] for done in (alone, together)]
    assert digests[0] == digests[1]


def test_a_method_that_must_retrain_learns_again() -> None:
    class Stubborn(Overfit):
        def forget(self, record, retained, forgotten, *, noise):  # type: ignore[no-untyped-def]
            from expunge.errors import MustRetrain

            raise MustRetrain("never")

    (done,) = unlearn(Stubborn(), ROWS, [0], seed=5, count=1)
    expected = Stubborn().learn(ROWS.without([0]), seed=done.after.release.settings["seed"], noise=None)  # type: ignore[arg-type]
    assert record.digest(done.after.release) == record.digest(Stubborn().release(expected))


def test_unknown_rows_and_negative_counts_are_refused() -> None:
    with pytest.raises(UnknownRows):
        unlearn(NearestNeighbours(), ROWS, ["nobody"], seed=0, count=1)
    with pytest.raises(InputError, match="-1 unlearned"):
        unlearn(NearestNeighbours(), ROWS, [0], seed=0, count=-1)
