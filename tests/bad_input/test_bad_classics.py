"""What naive Bayes, ridge and discriminant analysis cannot take, as a user of the command line sees it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import LEARN, people

from .conftest import Run, Told, explained, names_in

PEOPLE = ("learn", "w", "--rows", "people.csv", *LEARN)


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """people.csv, with a gap in its numbers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXPUNGE_KEY_FILE", raising=False)
    people(40).to_csv("people.csv", index=False)
    return tmp_path


def words_of(method: str, *settings: str) -> tuple[str, ...]:
    return (*PEOPLE, method, *(word for setting in settings for word in ("--set", setting)))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("naive-bayes", "model=poisson"), Told("'poisson'", "gaussian|multinomial", "model is")),
        (("naive-bayes", "smoothing=0"), Told("smoothing=0.0", "a positive number", "was expected")),
        (("naive-bayes", "variance_smoothing=0"), Told("(0.0, 0.0)", "not both 0", "was expected")),
        (("naive-bayes", "prior=flat"), Told("'flat'", "counted|uniform", "prior is")),
        (("ridge", "l2=-1"), Told("l2=-1.0", "at least 0", "was expected")),
        (("discriminant-analysis", "shrinkage=2"), Told("shrinkage=2.0", "in [0, 1]", "were expected")),
        (("discriminant-analysis", "covariance=tied"), Told("'tied'", "pooled|each", "covariance is")),
    ],
)
def test_a_setting_that_makes_no_sense(words: tuple[str, ...], told: Told, tables: Path, run: Run) -> None:
    before = names_in(tables)
    explained(run(*words_of(*words)), 2, told)
    assert names_in(tables) == before


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("model=gaussian", Told("Column 'job' holds text", "numbers were expected", "model='mixed'")),
        ("model=categorical", Told("Column 'hours' holds", "whole numbers", "round or bin it")),
    ],
)
def test_a_table_that_a_model_cannot_read(setting: str, told: Told, tables: Path, run: Run) -> None:
    explained(run(*words_of("naive-bayes", setting)), 1, told)


def test_a_raw_table_goes_to_naive_bayes_as_it_is(tables: Path, run: Run) -> None:
    ran = run("learn", "v", "--rows", "people.csv", *LEARN, "naive-bayes")
    assert ran.code == 0, ran.err
    assert run("request", "v", "--ids", "p1,p3").code == 0
    ran = run("work", "v")
    assert ran.code == 0
    assert "exact" in ran.out
    pd.read_csv("people.csv").drop(columns=["income"])[:5].to_csv("new.csv", index=False)
    ran = run("predict", "v", "--rows", "new.csv", "--out", "p.csv")
    assert ran.code == 0, ran.err
