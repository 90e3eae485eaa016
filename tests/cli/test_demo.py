"""The demonstration: its data, its table, its folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from expunge.cli import demonstration
from expunge.cli.demo import MARK, WIDTH
from expunge.learners.sgd import Sgd
from expunge.methods import Sisa
from expunge.models import Mlp
from expunge.vault.verify import verify

from .conftest import Run


def test_one_person_and_fifty_wrong_labels_are_among_the_rows_to_learn() -> None:
    digits = demonstration.handwritten_digits()
    true = {f"digit-{place:04d}": label for place, label in enumerate(load_digits().target)}
    learned = digits.train.table()
    differ = {name for name, y in zip(learned.ids.tolist(), learned.y, strict=True) if true[name] != y}
    assert differ == set(digits.mislabelled)
    assert len(differ) == 50
    assert all(true[str(name)] == y for name, y in zip(digits.test.ids, digits.test.y, strict=True))
    person = digits.train.of_subjects([digits.person])
    assert 1 < len(person) < 40
    assert not differ & set(person.ids.tolist())
    assert len(digits.train) + len(digits.test) == 1797
    assert not set(digits.train.keys.tolist()) & set(digits.test.keys.tolist())


def test_the_scenes_cover_three_methods_and_two_data_sets() -> None:
    scenes = demonstration.scenes()
    assert {type(scene.method).__name__ for scene in scenes} >= {"CertifiedNewton", "Sisa", "Retrain"}
    assert len({scene.data.name for scene in scenes}) == 2
    assert len({scene.folder for scene in scenes}) == len(scenes)


def test_the_demo_prints_one_table_and_leaves_a_report_and_receipts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    patients = demonstration.scenes()[-1]
    small = Sisa(Sgd(Mlp((4,)), epochs=2), shards=2, slices=2)
    sisa = dataclasses.replace(
        patients, folder="sisa", label="SISA", method=dataclasses.replace(patients.method, method=small)
    )
    monkeypatch.setattr(demonstration, "scenes", lambda: [patients, sisa])
    for _ in range(2):  # the second run replaces the vaults of the first
        ran = run("demo", "--out", "out", "--references", 2)
        assert ran.code == 0, ran.err
    assert max(map(len, ran.out.partition("receipts verified")[0].splitlines())) <= WIDTH
    assert "…" not in ran.out
    for text in ("certified Newton", "SISA", "exact", "50 mislabelled", "one patient", "4 receipts verified"):
        assert text in ran.out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<svg" in page
    assert 'src="http' not in page
    vaults = tmp_path / "out" / "vaults"
    for scene in ("sisa", patients.folder):
        for number in (1, 2):
            receipt = json.loads((vaults / f"{scene}-receipt-{number}.json").read_text())
            assert verify(receipt, (vaults / f"{scene}.pem").read_bytes()).request == number
    assert (tmp_path / "out" / MARK).is_file()


def test_the_demo_never_replaces_a_folder_that_is_not_its_own(tmp_path: Path, run: Run) -> None:
    (tmp_path / "vaults").mkdir()
    (tmp_path / "vaults" / "precious").touch()
    assert run("demo", "--out", tmp_path).code == 2
    assert (tmp_path / "vaults" / "precious").exists()


def test_wrong_labels_stay_inside_the_classes() -> None:
    tumours = demonstration.breast_cancer()
    assert set(np.unique(tumours.train.y).tolist()) == {0, 1}
    assert len(tumours.train.of_subjects([tumours.person])) == 1
