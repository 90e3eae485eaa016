"""Requests that cannot be honoured: refused whole, by the command line and by the library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from expunge.errors import AlreadyForgotten, ExpungeError, InputError, UnknownRows
from expunge.vault import Vault
from tests.cli.conftest import LEARN, people

from .conftest import Run, Told, still_works, table

Refused = Callable[..., object]
EVERYONE = ",".join(f"p{i}" for i in range(120))
OF_CLASS_LOW = ",".join(people()[:120].query("income == 'low'")["id"])


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (("--ids", "p5,nobody"), UnknownRows, Told("'nobody'", "The vault has 120 rows", "Check the spelling")),
        (("--subjects", "w1,nobody"), UnknownRows, Told("'nobody'", "120 rows; nothing was requested", "leave it out")),
        (("--ids", " , "), InputError, Told("empty", "at least one of the ids", "name")),
        (("--subjects", ""), InputError, Told("empty", "at least one of the subjects", "name")),
        (("--ids", EVERYONE), InputError, Told("every row", "a model of nothing", "delete the vault's folder")),
        (("--ids", OF_CLASS_LOW), InputError, Told("one class only ('high')", "needs two", "Extend the vault")),
    ],
    ids=["unknown id", "unknown subject", "empty", "empty subjects", "everything", "a whole class of two"],
)
def test_a_request_is_refused_whole(
    words: tuple[str, str], error: type[ExpungeError], told: Told, refused: Refused, run: Run
) -> None:
    refused(("request", "v", *words), 1, told)
    names = [name.strip() for name in words[1].split(",") if name.strip()]
    with Vault.open("v") as vault, pytest.raises(error):
        vault.request(ids=names) if words[0] == "--ids" else vault.request(subjects=names)
    still_works(run)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--ids-file", "absent.txt"), 2, Told("absent.txt", "file", "There is no")),
        (("--ids-file", "bytes.txt"), 1, Told("bytes.txt", "one id a line", "not text")),
        (("--ids-file", "blank.txt"), 1, Told("empty", "at least one of the ids", "name")),
        ((), 2, Told("--ids", "exactly one", "Give")),
        (("--ids", "p1", "--subjects", "w1"), 2, Told("--subjects", "exactly one", "Give")),
    ],
    ids=["no file", "no text", "an empty file", "nothing named", "two ways"],
)
def test_what_names_the_rows_must_be_one_readable_thing(
    words: tuple[str, ...], code: int, told: Told, refused: Refused, folder: Path, run: Run
) -> None:
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\xfa")
    (folder / "blank.txt").write_text("\n \n")
    refused(("request", "v", *words), code, told)
    still_works(run)


def test_an_id_is_requested_once_pending_or_forgotten(folder: Path, refused: Refused, run: Run) -> None:
    assert run("request", "v", "--ids", "p1,p1").out == "1\n"
    twice = ("request", "v", "--ids", "p2,p1")
    refused(twice, 1, Told("'p1'", "is in request 1 already", "Leave it out; nothing was requested"))
    assert run("work", "v", "--json").json[0]["rows"] == 1
    refused(twice, 1, Told("'p1'", "forgotten already, by request 1", "Leave it out"))
    with Vault.open(folder / "v") as vault, pytest.raises(AlreadyForgotten, match="request 1"):
        vault.request(ids=["p1"])
    still_works(run, "p2")


def test_one_class_of_three_may_be_forgotten(folder: Path, run: Run) -> None:
    names = np.array(["low", "mid", "high"])
    table("three.csv", lambda frame: frame.assign(income=names[np.arange(120) % 3]))
    learn = [*LEARN[:-2], "low,mid,high", "--method"]
    assert run("learn", "w", "--rows", "three.csv", *learn, "certified-newton", "--set", "l2=0.1").code == 0
    assert run("request", "w", "--ids", ",".join(f"p{i}" for i in range(0, 120, 3))).code == 0
    assert run("work", "w", "--json").json[0]["rows"] == 40
    assert run("predict", "w", "--rows", "test.csv", "--out", "p.csv").code == 0
    assert {"p(low)", "p(mid)", "p(high)"} <= set(pd.read_csv("p.csv").columns)
    refused = run("request", "w", "--ids", ",".join(f"p{i}" for i in range(1, 120, 3)))
    assert (refused.code, "one class only ('high')" in refused.err) == (1, True)
    with Vault.open(folder / "w") as vault:
        assert len(vault.rows()) == 80
