"""SISA's shards on the command line: features of each shard, marked rows, and a word on how rows were dealt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from expunge.certificate import Exact
from expunge.features import Pipeline
from expunge.learners.featured import Featured
from expunge.methods import Sisa
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.vault import Vault

from .conftest import LEARN, Run, people

SMALL = ("--set", "shards=3", "--set", "slices=2", "--set", "learner.epochs=2", "--set", "learner.model.hidden=4")
BY_SHARD = (*LEARN, "sisa", "--statistics", "shard", *SMALL, "--seed", 3)


def learned_again(vault: Vault) -> str:
    return digest(vault.method.learn(vault.rows(), seed=vault.seed, noise=NoiseKey(bytes(32), 1)))


def test_a_vault_with_features_of_each_shard_forgets_bit_for_bit(folder: Path, run: Run) -> None:
    done = run("learn", "v", "--rows", "people.csv", *BY_SHARD)
    assert done.code == 0, done.err
    assert "fitted in each shard" in done.err
    assert run("request", "v", "--subjects", "w20").code == 0
    (step,) = run("work", "v", "--json").json
    assert step["stats"]["shards_retrained"] == 1
    assert not step["relearned"]
    with Vault.open(folder / "v") as vault:
        assert isinstance(vault.method, Sisa)
        assert isinstance(vault.method.learner, Featured)
        assert digest(vault.record()) == learned_again(vault)
    assert run("extend", "v", "--rows", "more.csv").code == 0
    with Vault.open(folder / "v") as vault:
        assert digest(vault.record()) == learned_again(vault)
    assert run("predict", "v", "--rows", "test.csv", "--out", "said.csv").code == 0
    assert run("request", "v", "--ids", "p9").code == 0
    (audited,) = run("work", "v", "--audit", "--test", "test.csv", "--references", "2", "--json").json
    assert not audited["audit"]["contradictions"]
    exported = run("export", "v", "--out", "out", "--json").json
    assert exported["features"] == ["Numeric", "Categorical"]


def test_exact_features_of_all_rows_learn_again_where_those_of_shards_do_not(folder: Path, run: Run) -> None:
    words = (*LEARN, "sisa", "--statistics", "exact", *SMALL, "--seed", 3)
    assert run("learn", "v", "--rows", "people.csv", *words).code == 0
    assert run("request", "v", "--ids", "p5").code == 0
    (step,) = run("work", "v", "--json").json
    assert "MustRetrain" in step["relearned"]


def test_bounds_and_levels_may_be_declared_beside_features_of_each_shard(folder: Path, run: Run) -> None:
    declared = ("--bounds", "age=0:120", "--levels", "job=clerk,nurse,None")
    assert run("learn", "v", "--rows", "people.csv", *BY_SHARD, *declared).code == 0
    assert run("request", "v", "--ids", "p5").code == 0
    (step,) = run("work", "v", "--json").json
    assert any("levels of column(s) job" in note for note in step["certificate"]["assumptions"])


@pytest.mark.parametrize("method", ["certified-newton", "retrain", "fine-tune"])
def test_only_a_method_with_shards_fits_features_in_each(folder: Path, run: Run, method: str) -> None:
    refused = run("learn", "v", "--rows", "people.csv", *LEARN, method, "--statistics", "shard")
    assert refused.code == 2
    assert "of sisa" in refused.err
    assert "take exact" in refused.err
    assert not (folder / "v").exists()


def test_marked_rows_have_shards_of_their_own_and_are_no_feature(folder: Path, run: Run) -> None:
    frame = people()[:120].assign(leaver=lambda f: (f["hours"] > 45).astype(int))
    frame.to_csv("marked.csv", index=False)
    marks = ("--set", "prone_column=leaver", "--set", "prone_shards=1")
    for number, statistics in enumerate(("shard", "public")):
        words = (*LEARN, "sisa", "--statistics", statistics, *SMALL, *marks, "--seed", 3)
        assert run("learn", f"v{number}", "--rows", "marked.csv", *words).code == 0
        name = frame["id"][frame["leaver"] == 1].iloc[0]
        assert run("request", f"v{number}", "--ids", name).code == 0
        (step,) = run("work", f"v{number}", "--json").json
        assert any("'leaver'" in note for note in step["certificate"]["assumptions"])
        with Vault.open(folder / f"v{number}") as vault:
            method = vault.method
            inner = method.method if isinstance(method, Pipeline) else method
            assert isinstance(inner, Sisa)
            features = method.features if isinstance(method, Pipeline) else inner.learner.features  # type: ignore[attr-defined]
            assert "leaver" not in {column for feature in features for column in feature.columns}
            record = vault.record().inner if isinstance(method, Pipeline) else vault.record()
            assert record.sizes[2] == (frame["leaver"] == 1).sum() - 1
            assert digest(vault.record()) == learned_again(vault)


def test_what_is_wrong_with_marks_is_explained(folder: Path, run: Run) -> None:
    for settings, code, says in (
        (("prone_column=leaver", "prone_shards=1"), 1, "'leaver' marks rows"),
        (("prone_column=job", "prone_shards=1"), 1, "'job' marks rows"),
        (("prone_shards=1",), 2, "give both or neither"),
        (("prone_column=job", "prone_shards=3"), 2, "leave some"),
        (("deal_by=person",), 2, "owner|row"),
        (("least_rows=0",), 2, "Positive numbers"),
        (("least_rows=1000",), 1, "least_rows=1000"),
        (("learner=featured",), 2, "convex"),
    ):
        words = [word for setting in settings for word in ("--set", setting)]
        refused = run("learn", "v", "--rows", "people.csv", *LEARN, "sisa", *SMALL[:4], *words)
        assert (refused.code, says in refused.err) == (code, True), refused
        assert refused.err.count("\n") == 1
        assert not (folder / "v").exists()


def test_how_rows_were_dealt_is_said_where_it_is_uneven(folder: Path, run: Run) -> None:
    frame = people()[:120]
    frame["who"] = np.where(np.arange(120) < 60, "everyman", frame["who"])
    frame.to_csv("heavy.csv", index=False)
    words = ("learn", "v", "--rows", "heavy.csv", *LEARN, "sisa", *SMALL, "--seed", 3)
    assert "One owner has 60 rows" in run(*words).err


def test_the_certificate_of_a_vault_with_shard_features_is_exact(folder: Path, run: Run) -> None:
    assert run("learn", "v", "--rows", "people.csv", *BY_SHARD).code == 0
    with Vault.open(folder / "v") as vault:
        vault.request(ids=["p5", "p6"])
        (done,) = vault.work()
        assert isinstance(done.certificate, Exact)
        assert any("mean and scale" in note for note in done.certificate.assumptions)
