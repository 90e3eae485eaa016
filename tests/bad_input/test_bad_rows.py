"""Files of rows that cannot be learned, added, predicted or audited: nothing is made, and nothing changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from expunge.errors import DuplicateRows, ExpungeError, InputError, Resurrection, SchemaError
from expunge.load import rows_from_csv, rows_from_file, rows_from_images
from expunge.methods import CertifiedNewton, Retrain
from expunge.rows import Rows
from expunge.vault import Vault
from tests.cli.conftest import LEARN, people

from .conftest import Run, Told, cell, still_works, table

Edit = Callable[[pd.DataFrame], pd.DataFrame]
Refused = Callable[..., object]
NEW = slice(120, 130)


@pytest.mark.parametrize(
    ("edit", "learn", "error", "told"),
    [
        (
            cell("age", np.inf),
            LEARN,
            None,  # only features look at numbers
            Told("'age' holds an infinite number in 1 row", "NaN for a missing value", "leave these rows out"),
        ),
        (
            cell("income", ""),
            LEARN,
            InputError,
            Told("ids 'p4'", "target is missing in 1 row", "leave these rows out"),
        ),
        (
            lambda frame: cell("income", "nan")(frame.assign(income=0.5)),
            ("--target", "income", "--id", "id", "--method"),
            InputError,
            Told("ids 'p4'", "target is missing in 1 row", "leave these rows out"),
        ),
        (
            lambda frame: cell("income", "-inf")(frame.assign(income=0.5)),
            ("--target", "income", "--id", "id", "--method"),
            InputError,
            Told("ids 'p4'", "NaN or infinite", "leave these rows out"),
        ),
        (
            lambda frame: cell("income", "much")(frame.assign(income=0.5)),
            ("--target", "income", "--id", "id", "--method"),
            SchemaError,
            Told("'much', rows 'p4'", "numbers were expected", "mend or leave out these rows"),
        ),
        (
            lambda frame: frame,
            ("--target", "income", "--id", "id", "--method"),
            SchemaError,
            Told("The target is text ('high', 'low')", "in the order of their codes", "Declare its classes"),
        ),
        (
            lambda frame: frame,
            ("--target", "income", "--id", "id", "--classes", "0", "--method"),
            SchemaError,
            Told(
                "holds text in 120 place(s) ('high', 'low'", "numbers were expected", "declare the names of its classes"
            ),
        ),
        (
            cell("income", "mid"),
            LEARN,
            SchemaError,
            Told("The target holds 'mid'", "['low', 'high']", "the classes declared"),
        ),
        (
            lambda frame: frame.rename(columns={"income": "wage"}),
            LEARN,
            SchemaError,
            Told("no column 'income'", "the columns are ['id', 'who', 'age', 'job', 'hours', 'wage']", "There is no"),
        ),
        (
            lambda frame: frame.rename(columns={"id": "ids"}),
            LEARN,
            SchemaError,
            Told("no column 'id'", "the columns are", "Did you mean 'ids'?"),
        ),
        (
            cell("id", "p0"),
            LEARN,
            DuplicateRows,
            Told("stand twice: 'p0'.", "an id of its own", "Leave out what is there twice"),
        ),
        (cell("id", ""), LEARN, InputError, Told("at places [4]", "names rows", "is empty in 1")),
        (
            lambda frame: frame.assign(income="low"),
            LEARN,
            None,  # a table of one class can be read, and not learned
            Told("All 120 rows are of the one class 'low'", "rows of two", "a classification needs"),
        ),
        (lambda frame: frame[:0], LEARN, None, Told("bad.csv holds no rows", "then rows", "were expected")),
    ],
    ids=[
        "an infinite feature",
        "no target",
        "a target that is NaN",
        "an infinite target",
        "a word among numbers",
        "a target of text",
        "text declared as numbers",
        "an undeclared class",
        "no such target",
        "no such id",
        "an id twice",
        "an empty id",
        "one class only",
        "a header alone",
    ],
)
def test_rows_that_cannot_be_learned_leave_nothing(
    edit: Edit, learn: tuple[str, ...], error: type[ExpungeError] | None, told: Told, refused: Refused, run: Run
) -> None:
    table("bad.csv", edit)
    refused(("learn", "w", "--rows", "bad.csv", *learn, "certified-newton"), 1, told)
    if error is not None:
        given = {name.removeprefix("--"): value for name, value in zip(learn[:-1:2], learn[1::2], strict=True)}
        names = given.get("classes", "").split(",") if "," in given.get("classes", "") else None
        classes = names or (0 if "classes" in given else None)
        with pytest.raises(error):
            rows_from_csv("bad.csv", target=given["target"], id=given["id"], classes=classes)
    assert run("learn", "w", "--rows", "people.csv", *LEARN, "certified-newton").code == 0


@pytest.mark.parametrize(("value", "missing"), [("nan", True), ("NaN", True), ("", True), ("None", False)])
def test_nan_is_missing_and_never_a_word(value: str, missing: bool, folder: Path, run: Run) -> None:
    del folder
    table("gap.csv", cell("hours", value))
    column = rows_from_csv("gap.csv", target="income", id="id", subject="who", classes=["low", "high"]).columns["hours"]
    assert (column.dtype.kind == "f") is missing
    assert not missing or np.flatnonzero(np.isnan(column)).tolist() == [4]
    assert run("learn", "w", "--rows", "gap.csv", *LEARN, "certified-newton").code == 0 or not missing


@pytest.mark.parametrize("method", ["certified-newton", "retrain", "sisa"])
def test_arrays_that_are_not_finite_are_refused_by_every_method(method: str, refused: Refused, run: Run) -> None:
    x, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    np.savez("good.npz", x=x, y=y)
    np.savez("bad.npz", x=np.where(np.arange(90).reshape(30, 3) == 7, np.nan, x), y=y)
    words = (
        "--target",
        "y",
        "--method",
        method,
        *(("--set", "learner.epochs=1") if method != "certified-newton" else ()),
    )
    refused(
        ("learn", "w", "--rows", "bad.npz", *words),
        1,
        Told("Column 'x'", "NaN", "numbers of 'x'" if words[4:] else "drop"),
    )
    assert run("learn", "w", "--rows", "good.npz", *words).code == 0
    with pytest.raises(InputError, match="NaN"):
        Vault.create("api", rows_from_file("bad.npz", target="y"), CertifiedNewton() if not words[4:] else Retrain())
    assert not Path("api").exists()


@pytest.mark.parametrize(
    ("edit", "error", "told"),
    [
        (
            lambda frame: frame.drop(columns="hours"),
            SchemaError,
            Told("['hours'] are missing", "declared with ['age', 'hours', 'job']", "Column(s)"),
        ),
        (
            lambda frame: frame.assign(hours="many"),
            SchemaError,
            Told("Column 'hours'", "was declared as numbers", "holds text"),
        ),
        (cell("income", "mid"), SchemaError, Told("'mid'", "['low', 'high']", "classes declared")),
        (
            lambda frame: frame.drop(columns="who"),
            SchemaError,
            Told("no column 'who'", "the columns are", "There is no column"),
        ),
        (
            cell("id", "p5"),
            DuplicateRows,
            Told("['p5']", "ids of their own", "request the old one to be forgotten"),
        ),
        (cell("id", "p121"), DuplicateRows, Told("'p121'", "an id of its own", "Leave out what is there twice")),
        (
            cell("hours", np.inf),
            SchemaError,
            Told("'hours' is infinite", "'p124'", "finite"),
        ),
        (lambda frame: frame[:0], InputError, Told("bad.csv holds no rows", "then rows", "were expected")),
    ],
    ids=["missing", "retyped", "class", "no subjects", "id in the vault", "id twice", "infinite", "no rows"],
)
def test_an_extension_of_another_form_changes_nothing(
    edit: Edit, error: type[ExpungeError], told: Told, refused: Refused, run: Run
) -> None:
    table("bad.csv", edit, NEW)
    refused(("extend", "v", "--rows", "bad.csv"), 1, told)
    with Vault.open("v") as vault, pytest.raises(error):
        vault.extend(
            rows_from_csv("bad.csv", target="income", id="id", subject="who", schema=vault.schema)
            if len(pd.read_csv("bad.csv"))
            else Rows([], vault.schema)
        )
    assert run("extend", "v", "--rows", "more.csv", "--json").json["rows"] == 130


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda frame: frame.drop(columns="hours"), Told("['hours'] are missing", "declared with", "Column(s)")),
        (lambda frame: frame.assign(hours="many"), Told("'hours'", "declared as numbers", "holds text")),
        (lambda frame: frame[:0], Told("bad.csv holds no rows", "then rows", "were expected")),
        (lambda frame: frame.drop(columns="id"), Told("no column 'id'", "the columns are", "There is no column")),
        (cell("hours", np.inf), Told("'hours'", "NaN for a missing value", "leave these rows out")),
    ],
    ids=["missing", "retyped", "no rows", "no id", "infinite"],
)
@pytest.mark.parametrize("command", ["predict", "work", "audit"])
def test_rows_of_another_form_are_neither_predicted_nor_audited(
    command: str, edit: Edit, told: Told, refused: Refused, run: Run
) -> None:
    table("bad.csv", edit, slice(130, 160))
    run("request", "v", "--ids", "p1")
    words = {
        "predict": ("predict", "v", "--rows", "bad.csv", "--out", "p.csv"),
        "work": ("work", "v", "--audit", "--test", "bad.csv", "--references", 2),
        "audit": ("audit", "v", "--test", "bad.csv", "--references", 2),
    }[command]
    frozen = command == "work" and told.expected == "NaN for a missing value"  # seen in the step, not in the file
    refused(words, 1, told, untouched=not frozen)
    assert run("predict", "v", "--rows", "test.csv", "--out", "p.csv").code == 0
    assert run("ledger", "v", "--json").json[0]["state"] == ("frozen" if frozen else "pending")
    still_works(run)


def test_columns_beside_the_declared_ones_are_left_out(folder: Path, run: Run) -> None:
    del folder
    table("wide.csv", lambda frame: frame.assign(more=1), NEW)
    assert run("predict", "v", "--rows", "more.csv", "--out", "p.csv").code == 0
    assert run("predict", "v", "--rows", "wide.csv", "--out", "q.csv").code == 0
    assert Path("p.csv").read_bytes() == Path("q.csv").read_bytes()
    assert run("extend", "v", "--rows", "wide.csv", "--json").json["rows"] == 130
    with Vault.open("v") as vault:
        assert [column.name for column in vault.schema.columns] == ["age", "hours", "job"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", b"", Told("empty.csv is empty", "the names of the columns", "were expected")),
        ("bytes.csv", bytes(range(128, 256)) * 9, Told("bytes.csv", "codec can't decode", "cannot be read")),
        ("ragged.csv", b"id,who,income\n1,2\n1,2,3,4,5\n", Told("ragged.csv", "Expected 3 fields", "saw 5")),
        ("text.csv", b"Dear reader,\nthis is a letter.\n", Told("no column 'income'", "the columns are", "There is")),
        ("rows.xlsx", b"PK", Told("rows.xlsx has the suffix '.xlsx'", "'.csv'", "was expected")),
        ("rows.npz", b"hello", Told("rows.npz", "npz of plain arrays", "cannot be read")),
        ("rows.parquet", b"hello", Told("rows.parquet", "parquet", "cannot be read")),
        ("rows.jsonl", b"hello\n", Told("rows.jsonl", "Expecting value", "cannot be read")),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00cut", Told("cut.csv.gz", "ended", "cannot be read")),
    ],
)
def test_a_file_that_is_no_table_of_rows_is_named(
    name: str, content: bytes, told: Told, refused: Refused, folder: Path, run: Run
) -> None:
    (folder / name).write_bytes(content)
    for words in (("learn", "w", "--rows", name, *LEARN, "certified-newton"), ("extend", "v", "--rows", name)):
        refused(words, 1, told)
    with pytest.raises(InputError):
        rows_from_file(name, target="income", id="id", classes=["low", "high"])
    still_works(run)


def test_a_folder_of_images_that_cannot_be_read_is_named(refused: Refused, folder: Path, run: Run) -> None:
    image = pytest.importorskip("PIL.Image")
    learn = ("learn", "w", "--rows", "pictures", "--method", "certified-newton")
    for place in range(12):
        drawn = np.random.default_rng(place).integers(0, 255, (6, 6), dtype=np.uint8)
        path = folder / "pictures" / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(drawn).save(path)
    broken = folder / "pictures" / "a" / "broken.png"
    broken.write_bytes(b"no image")
    refused(learn, 1, Told("a/broken.png", "as an image", "cannot be read"))
    broken.unlink()
    broken.symlink_to("nowhere.png")
    refused(learn, 1, Told("a/broken.png", "as an image", "cannot be read"))
    with pytest.raises(InputError, match="cannot be read"):
        rows_from_images("pictures")
    broken.unlink()
    Path("bare/a").mkdir(parents=True)
    refused((*learn[:3], "bare", *learn[4:]), 1, Told("bare", "folder/class/name.png", "holds no images"))
    refused(
        (*learn, "--target", "y"), 1, Told("folder of images", "the names of the files", "its classes and ids come")
    )
    assert run(*learn).code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_named(refused: Refused, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0)
    refused(("learn", "w", "--rows", "closed", "--method", "retrain"), 1, Told("closed", "Permission", "denied"))


def renamed(frame: pd.DataFrame, **names: str) -> pd.DataFrame:
    return frame.assign(**{column: [f"{name}{k}" for k in range(len(frame))] for column, name in names.items()})


def test_what_was_forgotten_is_not_let_back(folder: Path, refused: Refused, run: Run) -> None:
    run("request", "v", "--ids", "p8")
    run("request", "v", "--subjects", "w3")
    assert run("work", "v", "--json").json[0]["rows"] == 1 + 3
    old, fresh = people()[8:9], people()[120:121]
    family = people()[3:4]
    back = {
        "id": (fresh.assign(id="p8"), Told("The id 'p8'", "forgotten by request 1 and is offered again", "new id")),
        "subject": (fresh.assign(who="w3"), Told("subject 'w3'", "by request 2 and is offered", "a new subject")),
        "content": (
            renamed(old, id="n", who="m"),
            Told("'n0' has the content", "forgotten by request 1", "leave it out"),
        ),
        "family": (renamed(family, id="n", who="m"), Told("'n0' has the content", "by request 2", "leave it out")),
    }
    for name, (frame, told) in back.items():
        frame.to_csv(f"{name}.csv", index=False)
        refused(("extend", "v", "--rows", f"{name}.csv"), 1, told)
        with Vault.open("v") as vault, pytest.raises(Resurrection):
            vault.extend(rows_from_csv(f"{name}.csv", target="income", id="id", subject="who", schema=vault.schema))
    admitted = run("extend", "v", "--rows", "content.csv", "--allow-equal-content", "--json")
    assert admitted.json["rows"] == 117
    table("others.csv", lambda frame: frame, slice(124, 130))
    assert run("extend", "v", "--rows", "others.csv", "--json").json["rows"] == 123


def test_a_fresh_learn_never_takes_the_place_of_a_vault(folder: Path, refused: Refused, run: Run) -> None:
    run("request", "v", "--ids", "p8")
    run("work", "v")
    learn = ("learn", "v", "--rows", "people.csv", *LEARN, "certified-newton")
    refused(learn, 1, Told("There is a vault at v already", "expunge extend", "name a new folder"))
    still_works(run)
    key = (folder / "v.key").read_bytes()
    shutil.rmtree(folder / "v")  # even then its receipts stay verifiable
    refused(learn, 1, Told("v.key already", "never overwritten", "Name another place"), untouched=False)
    assert (folder / "v.key").read_bytes() == key
    assert run("learn", "w", *learn[2:]).code == 0
