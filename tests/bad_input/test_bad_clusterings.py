"""What k-means cannot take, and what it takes although it looks wrong: each says what was given and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from expunge.errors import ExpungeError, InputError
from expunge.methods.k_means import KMeans
from expunge.noise import NoiseKey
from expunge.record import digest
from expunge.rows import Rows
from tests.cli.conftest import people

from .conftest import Run

NOISE = NoiseKey(bytes(32), 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clusters": 0}, ("clusters=0", "at least 1")),
        ({"steps": 0}, ("steps=0", "at least 1")),
        ({"width": 0}, ("width=0", "at least 1")),
        ({"depth": -1}, ("depth=-1", "at least 1")),
        ({"lattice": 0.0}, ("lattice=0.0", "a positive side, or None")),
        ({"lattice": -0.1}, ("lattice=-0.1", "a positive side, or None")),
        ({"lattice": float("nan")}, ("lattice=nan", "a positive side, or None")),
        ({"lattice": float("inf")}, ("lattice=inf", "a positive side, or None")),
        ({"gamma": -0.1}, ("gamma=-0.1", "from 0 to 1")),
        ({"gamma": 1.5}, ("gamma=1.5", "from 0 to 1")),
        ({"width": 2000, "depth": 2}, ("4000000 leaves", "take fewer")),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as refused:
        KMeans(**settings)
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"x": np.array([[1.0], [np.nan]])}, ("'x'", "NaN", "Pipeline")),
        ({"x": np.array([[1.0], [np.inf]])}, ("'x'", "infinity", "Pipeline")),
        ({"x": np.array([[1.0], [1e120]])}, ("beyond 1e+100", "scale the column down")),
        ({"x": np.array(["a", "b"])}, ("'x'", "text", "Pipeline")),
        ({"age": np.array([1.0, 2.0])}, ("'x'", "['age']", "Pipeline")),
        ({"x": np.empty((0, 2))}, ("no row", "at least one")),
    ],
    ids=["nan", "infinity", "huge", "text", "no x", "no row"],
)
def test_rows_that_have_no_distance_are_refused(columns: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as refused:
        KMeans(2).learn(Rows.of(columns), seed=1, noise=NOISE)
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_refused_request_leaves_the_record_as_it_was() -> None:
    rows, method = Rows.of(np.arange(20.0).reshape(10, 2)), KMeans(2)
    record = method.learn(rows, seed=1, noise=NOISE)
    before = digest(record)
    wider = Rows.of(np.zeros((1, 3)), ids=["new"])
    bad = Rows.of(np.array([[np.nan, 0.0]]), ids=["bad"])
    for added in (wider, bad):
        with pytest.raises(ExpungeError):
            method.extend(record, rows, added, noise=NOISE)
    with pytest.raises(InputError, match=r"3 numbers.*have 2.*same columns"):
        method.predict(method.release(record), {"x": np.zeros((4, 3))})
    with pytest.raises(InputError, match=r"3 numbers.*have 2.*same columns"):
        method.forget(record, rows.without([0]), wider, noise=NOISE)
    assert digest(record) == before


def test_more_clusters_than_rows_are_no_error_for_a_deletion_must_not_be_one() -> None:
    method, rows = KMeans(5), Rows.of(np.arange(6.0)[:, None])
    record = method.learn(rows, seed=1, noise=NOISE)
    for gone in range(5):
        record = method.forget(record, rows.without([gone]), rows.only([gone]), noise=NOISE).record
        rows = rows.without([gone])
    assert method.release(record).tensors["centroids"].shape == (1, 1)


def test_the_command_line_says_it_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.chdir(tmp_path)
    people().drop(columns=["income", "job", "who"]).to_csv("people.csv", index=False)
    save_file({"centroids": torch.zeros(8, 2)}, "w.safetensors")
    learn = ("learn", "v", "--rows", "people.csv", "--id", "id", "--method", "k-means")
    for words, told in (
        (("--set", "lattice=0"), "a positive side, or None for none"),
        (("--set", "clusters=x"), "clusters"),
        (("--set", "lattice=none", "--set", "gamma=2"), "from 0 to 1"),
        (("--target", "nothing"), "no column 'nothing'"),
        (("--weights", "w.safetensors"), "cannot start from given weights"),
    ):
        ran = run(*learn, *words)
        assert ran.code in (1, 2), ran
        assert ran.err.splitlines()[-1].count("Error: ") == 1
        assert told in ran.err, ran.err
        assert not (tmp_path / "v").exists()
    assert run(*learn, "--set", "lattice=none").code == 0
