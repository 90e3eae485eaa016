"""Adult's small cut through the command line: the stream of benchmarks/adult_stream.py, three batches of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "adult_stream.py"
BATCHES, PER_BATCH = 3, 4
HELD_OUT = 1000
POINTS = 0.01  # the noise of a release alone moves 1 or 2 of 1,000 rows


@pytest.fixture(scope="module")
def adult() -> Any:
    """The benchmark, as a module."""
    spec = importlib.util.spec_from_file_location("adult_stream", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def table(adult: Any, shared_data: Path, tmp_path: Path) -> Any:
    return adult.write_table(shared_data / "small" / "adult_5k.npz", tmp_path, HELD_OUT)


def test_certified_newton_forgets_adult_as_its_certificate_says(adult: Any, table: Any, tmp_path: Path) -> None:
    stream = list(adult.certified_stream(tmp_path / "vault", table, BATCHES, PER_BATCH))
    assert [batch.work["rows"] for batch in stream] == [PER_BATCH] * BATCHES
    for batch in stream:
        adult.check_certified(batch, points=POINTS)
    adult.check_noise(torch.stack([batch.noise for batch in stream]))


def test_sisa_forgets_adult_bit_for_bit(adult: Any, table: Any, tmp_path: Path) -> None:
    stream = list(adult.sisa_stream(tmp_path / "vault", table, BATCHES, PER_BATCH))
    assert len({batch.work["digest_after"] for batch in stream}) == BATCHES
    for batch in stream:
        adult.check_sisa(batch)


@pytest.mark.parametrize("share", [0.0, 0.7, 1.4])
def test_the_check_of_noise_finds_another_variance(adult: Any, share: float) -> None:
    noise = torch.randn(20, 109, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert adult.check_noise(noise) == pytest.approx(1.0, abs=0.1)
    with pytest.raises(AssertionError):
        adult.check_noise(share * noise)


def test_the_check_of_noise_finds_noise_drawn_once(adult: Any) -> None:
    noise = torch.randn(1, 109, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(AssertionError):
        adult.check_noise(noise.expand(20, 109))
