"""The vault from learning to purging, seen from outside."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from toy_methods import Idle, Noisy, Totals
from vault_rows import people, traces

from expunge import record
from expunge.audits.step import Step
from expunge.certificate import Certified, Exact
from expunge.errors import ExpungeError, Refused
from expunge.method import Forgetting
from expunge.methods.certified_newton import CertifiedNewton
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.vault import Vault, compaction
from expunge.vault.ledger import Ledger
from expunge.vault.verify import verify_chain


def digest(vault: Vault) -> str:
    return str(vault.status()["release"]["digest"])


def test_what_was_learned_survives_reopening(vault: Vault) -> None:
    learned = Totals().learn(people(40), seed=7, noise=NoiseKey.fresh())
    vault.close()
    with Vault.open(vault.path) as again:
        assert again.method == Totals()
        assert again.seed == 7
        assert again.schema == people(40).schema
        assert record.digest(again.record()) == record.digest(learned)
        assert digest(again) == record.digest(Totals().release(learned))
        np.testing.assert_array_equal(again.rows().ids, people(40).ids)


def test_rows_on_disk_equal_the_rows_given(vault: Vault) -> None:
    given, kept = people(40).table(), vault.rows().table()
    for name in ("ids", "keys", "owners", "subjects", "y"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(given, name))
    for name, column in given.columns.items():
        np.testing.assert_array_equal(kept.columns[name], column)
        assert kept.columns[name].dtype == column.dtype
    assert [len(block) for block in vault.rows().blocks] == [16, 16, 8]


def test_forgetting_equals_learning_without_the_rows(vault: Vault) -> None:
    ids = ["person-00002-q", "person-00017-q"]
    vault.request(ids=ids)
    (done,) = vault.work()
    learned = Totals().learn(people(40).without(ids), seed=7, noise=NoiseKey.fresh())
    assert done.after == digest(vault) == record.digest(Totals().release(learned))
    assert (done.kind, done.requests, done.rows, done.release, done.purged) == ("forget", (1,), 2, 2, True)
    assert not done.relearned
    assert set(vault.rows().ids) == set(people(40).without(ids).ids)


def test_several_requests_make_one_step(vault: Vault) -> None:
    numbers = [vault.request(ids=[f"person-{i:05d}-q"]) for i in (1, 5, 20)]
    assert [done.requests for done in vault.work()] == [tuple(numbers)]
    assert vault.work() == []
    assert vault.status()["release"]["number"] == 2


def test_a_subject_means_all_its_rows(vault: Vault) -> None:
    vault.request(subjects=["family-00004-w"])
    (done,) = vault.work()
    assert done.rows == 2
    assert not traces(vault.path, people(40).only(["person-00008-q", "person-00009-q"]).table())


def test_a_subject_with_a_row_requested_before_brings_the_rest(vault: Vault) -> None:
    vault.request(ids=["person-00008-q"])
    vault.request(subjects=["family-00004-w"])
    assert [entry["rows"] for entry in vault.ledger()] == [1, 1]
    assert [done.rows for done in vault.work()] == [2]


def test_one_id_is_an_id_and_not_its_letters(vault: Vault) -> None:
    vault.request(ids="person-00008-q")
    assert vault.ledger()[0]["rows"] == 1


def test_an_id_named_twice_in_one_request_counts_once(vault: Vault) -> None:
    vault.request(ids=["person-00008-q", "person-00008-q"])
    assert vault.ledger()[0]["rows"] == 1


def test_only_touched_blocks_and_tensors_are_rewritten(vault: Vault) -> None:
    def files() -> set[str]:
        return {file.name for file in (vault.path / "chunks").iterdir()}

    before = files()
    vault.request(ids=["person-00001-q"])  # of class 1, in the first block
    vault.work()
    new = files() - before
    # index and data of one block; one part, the record's tree; means, counts, the release's tree
    assert len(new) == 7
    parts = vault.record().parts
    assert [int(part) for part in parts] == [14, 12, 13]


def test_nothing_of_a_forgotten_row_is_left(vault: Vault) -> None:
    gone = people(40).only(["person-00008-q", "person-00009-q"]).table()
    assert len(traces(vault.path, gone)) > 10
    vault.request(subjects=["family-00004-w"])
    vault.work()
    assert not traces(vault.path, gone)


def test_the_noise_key_is_gone_after_the_step(folder: Path) -> None:
    secrets = []

    def keep(step: Step) -> dict[str, Any]:
        assert step.noise is not None
        secrets.append(step.noise.secret)
        assert step.noise.release == 2
        assert found(step.noise.secret)
        return {"contradictions": []}

    def found(secret: bytes) -> bool:
        return any(secret in file.read_bytes() for file in (folder / "v").rglob("*") if file.is_file())

    with Vault.create(folder / "v", people(40), Noisy()) as vault:
        vault.request(ids=["person-00008-q"])
        vault.work(keep)
    assert not found(secrets[0])


def test_the_purge_settles_caches_and_drops_the_old_release(folder: Path) -> None:
    with Vault.create(folder / "v", people(40), Noisy()) as vault:
        old = vault.release().tensors["weights"].numpy().tobytes()
        assert any(old in file.read_bytes() for file in (folder / "v").rglob("*") if file.is_file())
        vault.request(ids=["person-00008-q"])
        (done,) = vault.work()
        assert isinstance(done.certificate, Certified)
        kept = vault.record()
        assert torch.equal(kept.anchor, kept.weights)
        assert not any(old in file.read_bytes() for file in (folder / "v").rglob("*") if file.is_file())


def test_a_settle_that_changes_the_release_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vault.create(folder / "v", people(40), Noisy()) as vault:
        vault.request(ids=["person-00008-q"])
        learn = Noisy.learn
        monkeypatch.setattr(Noisy, "settle", lambda self, _, rows: learn(self, rows, seed=0, noise=NoiseKey.fresh()))
        with pytest.raises(ExpungeError, match="settle changed the release"):
            vault.work()
        assert vault.ledger()[0]["state"] == "forgotten"


def test_must_retrain_is_answered_by_learning_again(folder: Path) -> None:
    with Vault.create(folder / "v", people(40), Totals(stubborn=True)) as vault:
        vault.request(ids=["person-00008-q"])
        (done,) = vault.work()
        assert done.relearned == "MustRetrain: stubborn"
        assert isinstance(done.certificate, Exact)
        learned = Totals().learn(people(40).without(["person-00008-q"]), seed=0, noise=NoiseKey.fresh())
        assert done.after == record.digest(Totals().release(learned))
        assert vault.ledger()[0]["relearned"] == "MustRetrain"  # the rest may hold figures of the rows that left


def test_a_refused_guarantee_is_answered_by_learning_again(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Forgetting[Any]:
        raise Refused("epsilon too large")

    monkeypatch.setattr(Totals, "forget", refuse)
    vault.request(ids=["person-00008-q"])
    assert vault.work()[0].relearned == "Refused: epsilon too large"


def test_unchanged_weights_are_not_signed_as_forgotten(folder: Path) -> None:
    with Vault.create(folder / "v", people(40), Idle()) as vault:
        vault.request(ids=["person-00008-q"])
        (done,) = vault.work()
        assert done.relearned.startswith("The release did not change")
        assert done.before != done.after


def test_an_audit_sees_the_step_and_its_summary_is_kept(vault: Vault) -> None:
    seen: list[Step] = []

    def audit(step: Step) -> dict[str, Any]:
        seen.append(step)
        assert vault.status()["release"]["number"] == 1
        return {"contradictions": [], "accuracy": 0.5}

    vault.request(ids=["person-00008-q"])
    (done,) = vault.work(audit)
    (step,) = seen
    assert done.audit == vault.ledger()[0]["audit"] == {"contradictions": [], "accuracy": 0.5}
    assert (len(step.retained), len(step.forgotten)) == (39, 1)
    assert (record.digest(step.before), record.digest(step.after)) == (done.before, done.after)
    assert step.stats["seconds"] >= 0


def test_a_contradicted_certificate_is_void_and_the_model_learned_again(vault: Vault) -> None:
    answers = iter([{"contradictions": ["reference outside the distance"]}, {"contradictions": []}])
    vault.request(ids=["person-00008-q"])
    (done,) = vault.work(lambda _: next(answers))
    assert "reference outside the distance" in done.relearned
    assert done.audit == {"contradictions": []}


def test_a_contradiction_after_learning_again_blocks_the_commit(vault: Vault) -> None:
    vault.request(ids=["person-00008-q"])
    with pytest.raises(Refused, match="stay frozen"):
        vault.work(lambda _: {"contradictions": ["no"]})
    assert vault.ledger()[0]["state"] == "frozen"
    assert vault.status()["release"]["number"] == 1
    assert len(vault.work()) == 1


def test_new_rows_are_learned_as_if_they_had_been_there(vault: Vault) -> None:
    done = vault.extend(people(20, first=100))
    both = people(40).and_rows(people(20, first=100))
    learned = Totals().learn(both, seed=7, noise=NoiseKey.fresh())
    assert done.after == record.digest(Totals().release(learned))
    assert (done.kind, done.rows, done.release, done.requests) == ("extend", 20, 2, ())
    assert len(vault.rows()) == 60


def test_a_method_that_cannot_extend_learns_again(folder: Path) -> None:
    with Vault.create(folder / "v", people(40), Noisy()) as vault:
        done = vault.extend(people(20, first=100))
        assert "cannot learn new rows" in done.relearned
        assert len(vault.rows()) == 60
        vault.request(ids=["person-00101-q"])
        assert vault.work()[0].release == 3


def test_a_reader_delays_purged_and_not_forgotten(vault: Vault) -> None:
    vault.request(ids=["person-00008-q"])
    with closing(sqlite3.connect(vault.path / "ledger.sqlite", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM requests").fetchall()
        (done,) = vault.work()
        assert not done.purged
        assert vault.ledger()[0]["state"] == "forgotten"
        assert vault.status()["views"] == ["one release", "transcript of releases"]
        assert vault.status()["unfinished"] == [{"batch": 1, "kind": "forget", "state": "committed"}]
    assert vault.work() == []
    assert vault.ledger()[0]["state"] == "purged"
    assert "stored state" in vault.status()["views"]


def test_status_and_ledger_are_json_without_ids(vault: Vault) -> None:
    vault.request(ids=["person-00008-q"], reason="article 17")
    pending = json.dumps([vault.status(), vault.ledger()])
    assert vault.status()["pending"] == {"requests": 1, "rows": 1}
    vault.work()
    after = json.dumps([vault.status(), vault.ledger()])
    assert "person" not in pending + after
    assert vault.ledger()[0]["reason"] == "article 17"
    assert vault.status()["pending"] == {"requests": 0, "rows": 0}
    assert vault.status()["forgotten"] == {"requests": 1, "rows": 1}
    assert vault.status()["method"] == {"name": "Totals", "hyperparameters": {"type": "Totals", "stubborn": False}}


def test_receipts_are_one_chain_over_requests_and_purges(vault: Vault) -> None:
    for i in (1, 2, 3):
        vault.request(ids=[f"person-0000{i}-q"])
        vault.work()
    chain = verify_chain(vault.receipts(), vault.public_key())
    assert [(r.request, str(r.event)) for r in chain] == [(i, e) for i in (1, 2, 3) for e in ("forgotten", "purged")]
    assert vault.receipt(2) == vault.receipts()[2]
    assert vault.receipt(2, "purged") == vault.receipts()[3]


def test_predictions_come_from_the_release_alone(folder: Path) -> None:
    with Vault.create(folder / "v", people(40), Noisy()) as vault:
        x = people(4, first=200).columns["x"]
        expected = torch.from_numpy(x) @ vault.release().tensors["weights"]
        assert torch.equal(vault.predict({"x": x}), expected)


def test_progress_is_told_stage_by_stage(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with Vault.create(folder / "v", people(40), Noisy(), progress=lambda *step: told.append(step)) as vault:
        assert told == [*(("store rows", n, 40) for n in (16, 32, 40)), ("learn", 0, 1), ("learn", 1, 1)]
        told.clear()
        vault.request(ids=["person-00008-q"])
        vault.work(progress=lambda *step: told.append(step))
    assert [stage for stage, done, total in told if done == total] == ["forget", "settle", "purge"]


def test_rows_without_subjects_or_classes_do_as_well(folder: Path) -> None:
    rows = Rows.of(np.arange(20.0).reshape(10, 2), np.arange(10.0))

    class_free = Vault.create(folder / "v", rows, Noisy())
    with class_free as vault:
        vault.request(ids=[3])
        assert [done.rows for done in vault.work()] == [1]
        assert "3" not in vault.rows().ids


def test_many_small_extensions_do_not_leave_many_blocks(vault: Vault) -> None:
    for first in range(100, 120):
        vault.extend(people(1, first=first))
    sizes = [len(block) for block in vault.rows().blocks]
    assert sum(sizes) == 60
    assert len(sizes) < 4 + compaction.SLACK
    assert vault.rows().ids.tolist() == people(40).ids.tolist() + people(20, first=100).ids.tolist()
    expected = np.concatenate([people(40).y, *(people(1, first=first).y for first in range(100, 120))])
    np.testing.assert_array_equal(vault.rows().y, expected)


def test_the_purge_rebuilds_the_ledger(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    rebuilt = []
    rebuild = Ledger.rebuild
    monkeypatch.setattr(Ledger, "rebuild", lambda self: rebuilt.append(rebuild(self)))
    vault.work()
    assert not rebuilt
    vault.request(ids=["person-00001-q"])
    vault.work()
    assert len(rebuilt) == 1


def test_the_scratch_folder_is_emptied(vault: Vault) -> None:
    (vault.scratch / "references").mkdir()
    (vault.scratch / "references" / "one").write_text("derived from a row")
    vault.request(ids=["person-00001-q"])
    vault.work()
    assert not [path for path in vault.scratch.rglob("*") if path.is_file()]


def test_joblib_writes_nothing_outside_the_vault(vault: Vault) -> None:
    seen = []

    def audit(_: Step) -> dict[str, Any]:
        seen.append(joblib.Parallel(n_jobs=1)._backend_kwargs["temp_folder"])
        return {"contradictions": []}

    vault.request(ids=["person-00001-q"])
    vault.work(audit)
    assert seen == [str(vault.scratch)]


def test_a_model_trained_elsewhere_is_adopted(folder: Path) -> None:
    rows = Rows.of(np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2, classes=2)
    weights = {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    with Vault.create(folder / "v", rows, CertifiedNewton(), weights=weights) as vault:
        vault.request(ids=[3])
        (done,) = vault.work()
        assert isinstance(done.certificate, Certified)
        assert not done.relearned


def test_a_block_that_loses_every_row_is_gone(vault: Vault) -> None:
    first = [f"person-{i:05d}-q" for i in range(16)]
    vault.request(ids=first)
    vault.work()
    assert [len(block) for block in vault.rows().blocks] == [16, 8]
    assert vault.rows().ids.tolist() == people(40).without(first).ids.tolist()
    assert vault.extend(people(2, first=100)).rows == 2
    assert vault.rows().ids.tolist()[-2:] == ["person-00100-q", "person-00101-q"]


def test_learning_uses_the_seed_and_a_fresh_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[int, NoiseKey]] = []
    learn = Totals.learn

    def spied(self: Totals, rows: Rows, *, seed: int, noise: NoiseKey) -> object:
        used.append((seed, noise))
        return learn(self, rows, seed=seed, noise=noise)

    monkeypatch.setattr(Totals, "learn", spied)
    for name in "vw":
        with Vault.create(folder / name, people(40), Totals(stubborn=True), seed=7) as vault:
            vault.request(ids=["person-00001-q"])
            vault.work()
            vault.extend(people(1, first=100))
    assert [(seed, noise.release) for seed, noise in used] == [(7, 1), (7, 2), (7, 3)] * 2
    assert len({noise.secret for _, noise in used}) == 6


def test_a_seed_is_drawn_where_none_is_given(folder: Path) -> None:
    seeds = set()
    for name in "vw":
        with Vault.create(folder / name, people(40), Totals()) as vault:
            seeds.add(vault.seed)
    assert len(seeds) == 2
