"""The commands, from a table to a receipt, and what they say when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from expunge.cli import COMMANDS, choosing
from expunge.vault import Vault

from .conftest import LEARN, Run, people


def test_the_whole_way_from_rows_to_a_verified_receipt(vault: Path, run: Run) -> None:
    assert run("extend", vault, "--rows", "more.csv", "--json").json["rows"] == 130
    assert run("request", vault, "--ids", "p1,p2", "--reason", "asked").out == "1\n"
    assert run("request", vault, "--subjects", "w7", "--json").json == {"request": 2}
    worked = run("work", vault, "--audit", "--test", "test.csv", "--references", 2, "--out", "w.html", "--json")
    (step,) = worked.json
    assert step["requests"] == [1, 2]
    assert step["rows"] == 2 + 4
    assert step["certificate"]["type"] == "Certified"
    assert step["audit"]["contradictions"] == []
    assert step["purged"] is True
    assert "<html" in Path("w.html").read_text()
    status = run("status", vault, "--json").json
    assert status["rows"] == 124
    assert [entry["state"] for entry in run("ledger", vault, "--json").json] == ["purged", "purged"]

    assert run("receipt", vault, 2, "--out", "r.json").code == 0
    assert run("public-key", vault, "--out", "k.pem").code == 0
    verified = run("verify", "r.json", "--public-key", "k.pem", "--vault", vault, "--replay", "--json").json
    assert verified["verified"] is True
    assert verified["request"] == 2
    assert verified["replay"] == "equal"
    assert verified["digest_after"] == status["release"]["digest"]


def test_a_changed_receipt_or_another_key_is_refused(vault: Path, run: Run) -> None:
    run("request", vault, "--ids", "p1")
    run("work", vault)
    run("receipt", vault, 1, "--out", "r.json")
    run("public-key", vault, "--out", "k.pem")
    assert run("verify", "r.json", "--public-key", "k.pem").code == 0
    envelope = json.loads(Path("r.json").read_text())
    envelope["payload"] = envelope["payload"][:-8] + "AAAA" + envelope["payload"][-4:]
    Path("forged.json").write_text(json.dumps(envelope))
    forged = run("verify", "forged.json", "--public-key", "k.pem")
    assert (forged.code, forged.err[:7]) == (1, "Error: ")
    Path("text.json").write_text("hello")
    assert run("verify", "text.json", "--public-key", "k.pem").code == 1
    assert run("verify", "r.json", "--public-key", "k.pem", "--replay").code == 2


def test_predictions_come_from_the_release_whatever_the_suffix(vault: Path, run: Run) -> None:
    for name in ("p.csv", "p.json", "p.npz"):
        assert run("predict", vault, "--rows", "test.csv", "--out", name).code == 0
    table, test = pd.read_csv("p.csv"), pd.read_csv("test.csv")
    assert table["id"].tolist() == test["id"].tolist()
    assert np.allclose(table["p(low)"] + table["p(high)"], 1)
    assert (table["prediction"] == test["income"]).mean() > 0.8
    assert [entry["prediction"] for entry in json.loads(Path("p.json").read_text())] == table["prediction"].tolist()
    with np.load("p.npz", allow_pickle=False) as held:
        assert held["prediction"].tolist() == table["prediction"].tolist()
    people()[130:].drop(columns="income").to_csv("unlabelled.csv", index=False)
    assert run("predict", vault, "--rows", "unlabelled.csv", "--out", "q.csv").code == 0
    assert Path("q.csv").read_bytes() == Path("p.csv").read_bytes()
    assert run("predict", vault, "--rows", "test.csv", "--out", "p.txt").code == 2


def test_an_export_predicts_what_the_vault_predicts_and_holds_no_record(vault: Path, run: Run) -> None:
    report = run("export", vault, "--out", "release", "--json").json
    assert report["files"] == ["MODEL_CARD.md", "release.json", "release.safetensors", "scikit_learn.npz"]
    assert report["digest"] == run("status", vault, "--json").json["release"]["digest"]
    run("predict", vault, "--rows", "test.csv", "--out", "p.csv")
    model = LogisticRegression()
    with np.load("release/scikit_learn.npz") as held:
        model.coef_, model.intercept_, model.classes_ = held["coef_"], held["intercept_"], held["classes_"]
    with Vault.open(vault) as opened:
        rows = choosing_rows(opened, "test.csv")
    ours = pd.read_csv("p.csv")["p(high)"].to_numpy()
    np.testing.assert_allclose(model.predict_proba(rows)[:, 1], ours, atol=1e-12)


def choosing_rows(vault: Vault, name: str) -> np.ndarray:
    """The features that reach the linear model."""
    from expunge.cli.files import read_test
    from expunge.features import fitting

    method = vault.method
    rows = read_test(Path(name), vault)
    forms = method._forms(vault.release())
    return fitting.transformed(method.features, forms, rows.columns)


def test_the_live_state_and_two_checkpoints_are_audited(vault: Path, run: Run) -> None:
    live = run("audit", vault, "--test", "test.csv", "--references", 2, "--out", "a.html", "--json").json
    assert {measure["name"] for measure in live["measures"]} >= {"accuracy on test", "kl on test", "weight distance"}
    assert "<html" in Path("a.html").read_text()
    generator = np.random.default_rng(0)
    table = pd.read_csv("people.csv")
    ids = np.concatenate([table["id"], pd.read_csv("test.csv")["id"]]).astype(str)
    for name in ("before", "after", "c1", "c2"):
        np.savez(f"{name}.npz", ids=ids, scores=generator.normal(size=(len(ids), 2)))
    table.assign(income=(table["income"] == "high").astype(int)).to_csv("coded.csv", index=False)
    two = ("audit", "--before", "before.npz", "--after", "after.npz", "--rows", "coded.csv", "--target", "income")
    found = run(
        *two, "--id", "id", "--ids", "p1,p2,p3", "--retrained", "c1.npz", "--retrained", "c2.npz", "--json"
    ).json
    assert found["forgotten"] == 3
    assert found["references"] == 2
    assert run("audit", "--before", "before.npz").code == 2
    assert run("audit").code == 2


def test_a_step_is_audited_beside_repeats_of_it(vault: Path, run: Run) -> None:
    assert run("work", vault, "--repeats", 1).code == 2  # without --audit
    run("request", vault, "--ids", "p1,p2")
    audited = ("--audit", "--test", "test.csv", "--references", 2, "--repeats", 1, "--out", "step.html")
    assert run("work", vault, *audited).code == 0
    assert "A p-value is the chance that 2 of 4 retrained models" in Path("step.html").read_text()
    assert not list(vault.glob("**/*unlearned*/*"))  # models that remember the rows went with the purge


def test_a_method_of_ones_own_is_named_by_its_file(folder: Path, run: Run) -> None:
    text = (
        "from expunge.methods.retrain import Retrain\n"
        "from expunge.learners.convex import Convex\n\n"
        "mine = Retrain(Convex(l2=0.5))\n"
    )
    (folder / "mine.py").write_text(text)
    assert run("learn", "v", "--rows", "people.csv", *LEARN, "mine.py:mine", "--set", "learner.tol=1e-6").code == 0
    method = run("status", "v", "--json").json["method"]
    assert method["hyperparameters"]["method"]["learner"]["l2"] == 0.5
    assert method["hyperparameters"]["method"]["learner"]["tol"] == 1e-6


def test_the_assumption_about_a_tables_statistics_is_said(folder: Path, run: Run) -> None:
    del folder
    words = ("learn", "v", "--rows", "people.csv", *LEARN, "certified-newton")
    assert "declared public" in run(*words).err
    exact = run(*words[:1], "v2", *words[2:], "--statistics", "exact")
    assert "one release only" in exact.err
    assert run(*words[:1], "v3", *words[2:], "--bounds", "age").code == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("request", "v", "--ids", "nobody"), 1, "nobody"),
        (("request", "v", "--ids", " , "), 1, "empty"),
        (("request", "v"), 2, "exactly one"),
        (("request", "v", "--ids", "p1", "--subjects", "w1"), 2, "exactly one"),
        (("request", "nowhere", "--ids", "p1"), 1, "nowhere"),
        (("work", "v", "--audit"), 2, "--test"),
        (("work", "v", "--out", "x.html"), 2, "--audit"),
        (("learn", "v", "--rows", "people.csv", *LEARN, "retrain"), 1, "already"),
        (("learn", "w", "--rows", "absent.csv", *LEARN, "retrain"), 2, "absent.csv"),
        (("learn", "w", "--rows", "people.csv", *LEARN, "retrian"), 2, "did you mean 'retrain'"),
        (("learn", "w", "--rows", "people.csv", *LEARN, "retrain", "--set", "learnr=x"), 2, "did you mean 'learner'"),
        (("learn", "w", "--rows", "people.csv", "--target", "wage", "--method", "retrain"), 1, "wage"),
        (("learn", "w", "--rows", "people.csv", "--target", "income", "--method", "retrain"), 1, "classes"),
        (("extend", "v", "--rows", "people.csv"), 1, "p0"),
        (("predict", "v", "--rows", "narrow.csv", "--out", "p.csv"), 1, "hours"),
        (("receipt", "v", "7"), 1, "7"),
        (("demo", "--out", "."), 2, "earlier demo"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    words: tuple[str, ...], code: int, says: str, vault: Path, run: Run
) -> None:
    pd.read_csv("people.csv").drop(columns="hours").to_csv("narrow.csv", index=False)
    before = sorted(path.name for path in vault.iterdir())
    ran = run(*words)
    assert ran.code == code
    assert says in ran.err
    assert ran.err.startswith("Error: ")
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert sorted(path.name for path in vault.iterdir()) == before
    assert run("status", vault, "--json").json["rows"] == 120


def test_a_missing_key_file_is_named(vault: Path, run: Run) -> None:
    vault.with_suffix(".key").rename("elsewhere.key")
    ran = run("public-key", vault)
    assert ran.code == 1
    assert "v.key" in ran.err
    assert run("public-key", vault, "--key-file", "elsewhere.key").code == 0


def test_requests_are_read_from_a_file_and_nothing_pending_is_no_failure(vault: Path, run: Run) -> None:
    Path("ids.txt").write_text("p5\np6\n\n")
    assert run("work", vault).out == "Nothing to do: no request is pending.\n"
    assert run("request", vault, "--ids-file", "ids.txt").out == "1\n"
    assert "2 rows forgotten" in run("work", vault).out
    again = run("request", vault, "--ids", "p5")
    assert again.code == 1
    assert "request 1" in again.err


def test_methods_are_listed_for_people_and_machines(run: Run) -> None:
    cards = run("methods", "--json").json
    assert [card["name"] for card in cards] == choosing.names()
    assert all(card[key] for card in cards for key in choosing.CARD)
    assert {card["name"]: card["adopts"] for card in cards}["sisa"] is False
    assert "certified-newton" in run("methods").out


def test_every_command_has_help_and_options_that_are_explained(run: Run) -> None:
    for name in COMMANDS:
        ran = run(name, "--help")
        assert ran.code == 0
        assert "Usage: expunge " + name in ran.out


def process(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment
    )


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from expunge.cli import main\n"
        "try:\n    main(['learn', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'sklearn', 'matplotlib', 'joblib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = process("-c", script)
    assert done.returncode == 0, done.stderr


def test_the_installed_command_answers_without_a_terminal() -> None:
    done = process("-m", "expunge.cli", "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == __import__("expunge").__version__


def test_a_column_that_marks_core_rows_stands_beside_the_features(tmp_path: Path, run: Run) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2))
    lines = [f"r{i},{a:.3f},{b:.3f},{i % 2},{int(i >= 30)},{int(a > b)}" for i, (a, b) in enumerate(x)]
    rows, vault = tmp_path / "marked.csv", tmp_path / "marked"
    rows.write_text("id,a,b,c,core,y\n" + "\n".join(lines) + "\n")
    settings = ["core.epochs=2", "layers=parts.2", "rank=5", "noise_std=0.1"]
    chosen = ["--method", "mixed-linear", *(word for text in settings for word in ("--set", text))]
    assert run("learn", vault, "--rows", rows, "--target", "y", "--classes", "0,1", "--id", "id", *chosen).code == 0
    assert run("request", vault, "--ids", "r3").code == 0
    assert "certified" in run("work", vault).out
    assert run("request", vault, "--ids", "r40").code == 0
    assert "Core rows are among these" in run("work", vault).out
