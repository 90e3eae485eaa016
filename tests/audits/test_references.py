"""Retrained references: independent, cached by content, and equal however they are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audit_toys import LeastSquares, Overfit, rows_of

from expunge import record
from expunge.audits.references import retrain
from expunge.errors import InputError
from expunge.rows import Rows

ROWS = rows_of(60, 1)


def digests(learned: list[Any]) -> list[str]:
    return [record.digest(one.release) for one in learned]


def test_references_have_independent_seeds_and_noise() -> None:
    assert len(set(digests(retrain(Overfit(), ROWS, seed=3, count=4)))) == 4
    assert len(set(digests(retrain(LeastSquares(), ROWS, seed=3, count=4)))) == 4


def test_fresh_noise_differs_between_runs_and_a_seed_repeats() -> None:
    first, second = (digests(retrain(LeastSquares(), ROWS, seed=3, count=2)) for _ in range(2))
    assert not set(first) & set(second)
    first, second = (digests(retrain(Overfit(), ROWS, seed=3, count=2)) for _ in range(2))
    assert first == second


def test_references_are_read_back_from_scratch(tmp_path: Path) -> None:
    first = digests(retrain(LeastSquares(), ROWS, seed=3, count=3, scratch=tmp_path))
    assert digests(retrain(LeastSquares(), ROWS, seed=3, count=3, scratch=tmp_path)) == first
    assert digests(retrain(LeastSquares(), ROWS, seed=3, count=4, scratch=tmp_path))[:3] == first
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("change", ["method", "rows", "value", "label", "seed", "number"])
def test_cache_is_missed_when_anything_changes(tmp_path: Path, change: str) -> None:
    first = digests(retrain(LeastSquares(), ROWS, seed=3, count=1, scratch=tmp_path))
    table = ROWS.table()
    x, y = table.columns["x"].copy(), ROWS.y.copy()
    x[5, 1] += 1e-9 if change == "value" else 0
    y[5] = (y[5] + 1) % 3 if change == "label" else y[5]
    rows = ROWS.without([0]) if change == "rows" else Rows.of(x, y, ids=table.ids, classes=3)
    method = LeastSquares(l2=0.2) if change == "method" else LeastSquares()
    second = retrain(
        method,
        rows,
        seed=4 if change == "seed" else 3,
        count=1,
        number=2 if change == "number" else 1,
        scratch=tmp_path,
    )
    assert digests(second) != first
    assert len(list(tmp_path.rglob("*.json"))) == 2


def test_cache_is_hit_for_equal_content_under_another_object(tmp_path: Path) -> None:
    first = digests(retrain(LeastSquares(), ROWS, seed=3, count=1, scratch=tmp_path))
    again = Rows.of(ROWS.columns["x"].copy(), ROWS.y.copy(), ids=ROWS.ids, classes=3)
    assert digests(retrain(LeastSquares(), again, seed=3, count=1, scratch=tmp_path)) == first


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_damaged_reference_is_learned_again(tmp_path: Path, suffix: str) -> None:
    first = digests(retrain(Overfit(), ROWS, seed=3, count=1, scratch=tmp_path))
    (damaged,) = tmp_path.rglob(f"*{suffix}")
    content = bytearray(damaged.read_bytes())
    content[-9] ^= 1
    damaged.write_bytes(bytes(content))
    assert digests(retrain(Overfit(), ROWS, seed=3, count=1, scratch=tmp_path)) == first
    damaged.write_bytes(b"")
    assert digests(retrain(Overfit(), ROWS, seed=3, count=1, scratch=tmp_path)) == first


def test_processes_give_the_same_references_and_leave_nothing_outside(tmp_path: Path, tmp_path_factory: Any) -> None:
    alone = digests(retrain(Overfit(), ROWS, seed=3, count=2))
    together = digests(retrain(Overfit(), ROWS, seed=3, count=2, jobs=2, scratch=tmp_path))
    assert alone == together


def test_text_columns_enter_the_key(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4))
    texts = [["a", "bc"] * 10, ["ab", "c"] * 10]
    for text in texts:
        rows = Rows.of({"x": x, "word": np.array(text)}, np.arange(20) % 3, classes=3)
        retrain(LeastSquares(), rows, seed=3, count=1, scratch=tmp_path)
    assert len(list(tmp_path.rglob("*.json"))) == 2


def test_threads_are_left_as_they_were() -> None:
    before = torch.get_num_threads()
    retrain(Overfit(), ROWS, seed=3, count=1)
    assert torch.get_num_threads() == before


def test_negative_count_is_refused() -> None:
    with pytest.raises(InputError, match="-1 references"):
        retrain(Overfit(), ROWS, seed=3, count=-1)
