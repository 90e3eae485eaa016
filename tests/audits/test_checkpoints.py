"""Two checkpoints of any model, without a vault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from audit_toys import Overfit, rows_of

from expunge.audits import Candidate, audit_models, predictor, read_checkpoint, released
from expunge.audits.references import retrain
from expunge.audits.verdict import RECOGNISED, UNCHANGED
from expunge.errors import InputError
from expunge.noise import NoiseKey
from expunge.rows import Rows

ROWS, TEST = rows_of(200, 1, mislabelled=30), rows_of(300, 9, first=10_000)
FORGOTTEN, RETAINED = ROWS.only(range(30)), ROWS.without(range(30))
BUILDER = "from torch import nn\n\n\ndef build():\n    return nn.Linear(4, 3)\n"


def overfit(rows: Rows, seed: int) -> Candidate:
    method = Overfit()
    record = method.learn(rows, seed=seed, noise=NoiseKey.fresh())
    return released(method, method.release(record))


def test_checkpoint_that_forgot_is_told_from_one_that_did_not() -> None:
    others = [released(Overfit(), one.release) for one in retrain(Overfit(), RETAINED, seed=5, count=8)]
    before = overfit(ROWS, 3)
    sets = {"retained": RETAINED, "forgotten": FORGOTTEN, "test": TEST, "references": others}
    honest = audit_models(before, overfit(RETAINED, 3), **sets)  # type: ignore[arg-type]
    unchanged = audit_models(before, before, **sets)  # type: ignore[arg-type]
    assert honest.flags == ()
    assert {RECOGNISED, UNCHANGED} <= set(unchanged.flags)
    assert honest.certificate is None
    assert honest.contradictions == ()


def test_without_references_there_is_a_figure_and_no_judgement() -> None:
    audit = audit_models(overfit(ROWS, 3), overfit(RETAINED, 3), retained=RETAINED, forgotten=FORGOTTEN, test=TEST)
    assert audit.attacks
    assert audit.attacks[0].auc.null is None
    assert "no band to judge it by" in audit.verdict
    assert audit.exposure is None


def test_weights_in_safetensors_and_a_builder_make_a_model(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(BUILDER)
    tensors = {"weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), "bias": torch.zeros(3)}
    safetensors.torch.save_file(tensors, tmp_path / "a.safetensors")
    model = read_checkpoint(tmp_path / "a.safetensors", f"{tmp_path / 'net.py'}:build", ROWS.schema)
    expected = ROWS.columns["x"] @ tensors["weight"].double().numpy().T
    np.testing.assert_allclose(model.scores(ROWS), expected, atol=1e-6)
    audit = audit_models(model, model, retained=RETAINED, forgotten=FORGOTTEN, test=TEST)
    assert UNCHANGED in audit.flags


def test_scores_in_npz_make_a_model(tmp_path: Path) -> None:
    both = RETAINED.and_rows(FORGOTTEN).and_rows(TEST)
    scores = np.random.default_rng(0).normal(size=(len(both), 3))
    np.savez(tmp_path / "a.npz", ids=np.array([str(name) for name in both.ids]), scores=scores)
    model = read_checkpoint(tmp_path / "a.npz", None, ROWS.schema)
    np.testing.assert_array_equal(model.scores(FORGOTTEN), scores[len(RETAINED) : len(RETAINED) + 30])
    audit = audit_models(model, model, retained=RETAINED, forgotten=FORGOTTEN, test=TEST)
    assert audit.measure("weight distance") is None
    np.savez(tmp_path / "few.npz", ids=np.array(["0", "1"]), scores=scores[:2])
    with pytest.raises(InputError, match="rows have no score"):
        read_checkpoint(tmp_path / "few.npz", None, ROWS.schema).scores(FORGOTTEN)


def test_bad_checkpoints_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(BUILDER)
    builder = f"{tmp_path / 'net.py'}:build"
    safetensors.torch.save_file({"weight": torch.zeros(3, 4)}, tmp_path / "part.safetensors")
    safetensors.torch.save_file({"weight": torch.zeros(3, 5), "bias": torch.zeros(3)}, tmp_path / "wide.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x00\x01")
    (tmp_path / "torn.npz").write_bytes(b"PK")
    np.savez(tmp_path / "nameless.npz", scores=np.zeros((3, 3)))
    for name, model, message in [
        ("a.pt", None, "neither"),
        ("part.safetensors", None, "path.py:name"),
        ("part.safetensors", builder, "differ in their tensors"),
        ("wide.safetensors", builder, r"\(3, 5\), not \(3, 4\)"),
        ("torn.safetensors", builder, "could not be read"),
        ("absent.safetensors", builder, "could not be read"),
        ("torn.npz", None, "needs the arrays"),
        ("nameless.npz", None, "needs the arrays"),
    ]:
        with pytest.raises(InputError, match=message):
            read_checkpoint(tmp_path / name, model, ROWS.schema)


def test_regression_is_audited_by_its_errors() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 2))
    rows = Rows.of(x, x @ [1.0, 2.0] + 0.1 * generator.normal(size=120))

    def linear(*slopes: float) -> Candidate:
        w = torch.tensor(slopes, dtype=torch.float64)
        return predictor(lambda columns: torch.from_numpy(columns["x"]) @ w, {"w": w})

    audit = audit_models(
        linear(0.0, 0.0),
        linear(1.0, 2.0),
        retained=rows.only(range(80)),
        forgotten=rows.only(range(80, 100)),
        test=rows.only(range(100, 120)),
        references=[linear(1.0, 2.01), linear(1.01, 2.0), linear(1.0, 1.99)],
    )
    rmse, gap = audit.measure("rmse on test"), audit.measure("prediction gap on test")
    assert rmse is not None
    assert gap is not None
    assert rmse.after == pytest.approx(0.1, abs=0.05)
    assert rmse.before is not None
    assert rmse.before > 1
    assert gap.after < 0.05
    assert [attack.feature for attack in audit.attacks] == ["calibrated margin", "loss"]
    assert set(audit.flags) <= {"attack passes doing nothing too", "attack has no power"}


def test_single_score_of_two_classes_is_a_logit() -> None:
    rows = Rows.of(np.array([[-1.0], [2.0]]), [0, 1])
    model = predictor(lambda columns: torch.from_numpy(columns["x"][:, 0]))
    audit = audit_models(model, model, retained=rows.only([0]), forgotten=rows.only([1]))
    loss = audit.measure("loss on forgotten")
    assert loss is not None
    assert loss.after == pytest.approx(np.log1p(np.exp(-2.0)))


def test_wrong_number_of_scores_is_refused() -> None:
    model = predictor(lambda columns: torch.zeros(len(columns["x"]), 5))
    with pytest.raises(InputError, match="5 scores"):
        audit_models(model, model, retained=RETAINED, forgotten=FORGOTTEN)


def test_audit_of_no_row_is_refused() -> None:
    model = overfit(ROWS, 3)
    with pytest.raises(InputError, match="0 forgotten"):
        audit_models(model, model, retained=ROWS, forgotten=ROWS.select(np.zeros(200, dtype=bool)))
