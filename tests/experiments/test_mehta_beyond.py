"""The experiments of Mehta et al. (2022) beyond unlearning: quick runs, and facts that hold in them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "mehta2022"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports an experiment from its folder; its neighbours' short names are gone afterwards."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name in {path.stem for path in FOLDER.glob("*.py")}:
            del sys.modules[name]


def test_information_of_normals_is_the_closed_form_and_its_test_tells_conditional_independence(load: Load) -> None:
    information = load("information")
    generator = np.random.default_rng(0)
    z, e = generator.normal(size=(2, 500))
    x, y = z + generator.normal(size=500), z + e
    r = np.corrcoef(x, y)[0, 1]
    assert information.information(x, y) == pytest.approx(-np.log(1 - r**2) / 2, abs=0.05)
    assert abs(information.information(x, y, z)) < 0.05
    assert information.permutation_test(x, y, None, seed=0, permutations=30).p < 0.05
    assert information.permutation_test(x, y, z, seed=0, permutations=30).p > 0.05
    assert information.permutation_test(x, y + x, z, seed=0, permutations=30).p < 0.05


def test_bullseye_on_radii_finds_the_blanket_in_no_time(load: Load) -> None:
    bullseye = load("bullseye")
    y, radii, vectors = bullseye.network(5000, 0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), radii)
    assert bullseye.chosen(y, radii) == bullseye.BLANKET
    assert bullseye.chosen(y, radii, stop="calibrated") <= bullseye.BLANKET
    assert bullseye.chosen(y, vectors) <= bullseye.BLANKET
    maps = bullseye.learned(y[:300], vectors[:300], 0, epochs=1)
    assert maps.shape == (300, 6)
    np.testing.assert_array_equal(maps, bullseye.learned(y[:300], vectors[:300], 0, epochs=1))
    independent = lambda j, others: j not in {2, 3}  # noqa: E731
    assert bullseye.grown(independent, lambda j, others: -abs(j - 2.4)) == {2, 3}
    assert bullseye.shrunk({1, 2, 5}, independent) == {2}


def test_attributes_planted_blankets_are_found_better_than_by_ranking(load: Load) -> None:
    attributes = load("attributes")
    figures = attributes.measured(True)
    ways = figures["graph"]["ways"]
    assert ways["foci"]["true"]["mean"] > ways["mutual information, as many as foci"]["true"]["mean"]
    assert ways["calibrated"]["true"]["mean"] > ways["random, as many as calibrated"]["true"]["mean"]
    assert ways["foci"]["seconds"]["most"] < 60
    assert len(attributes.table(figures)) > 12


def test_blankets_of_the_graph_are_symmetric(load: Load) -> None:
    _, blankets = load("attributes").graph(10, 0)
    assert all(j in blankets[k] for j, blanket in enumerate(blankets) for k in blanket)


def test_sensitivity_maps_delete_better_than_chance(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensitivity = load("sensitivity")
    monkeypatch.setattr(sensitivity, "OUT", tmp_path / "out")
    figures = sensitivity.measured(True)
    ways = figures["data"]["digits"]["ways"]
    for way in ("rank coefficient, noise", "rank coefficient, replaced", "gradient"):
        assert ways[way]["mean"]["average"] < ways["random"]["mean"]["average"]
    assert (tmp_path / "out" / "sensitivity_digits_0.png").stat().st_size > 1000
    assert len(sensitivity.grids(28, 4)) == 16
    assert all(grid.max() + 1 == len(np.unique(grid)) for grid in sensitivity.grids(9, 4))


def test_spurious_attributes_are_found_and_a_reversed_gradient_is_turned_round(load: Load) -> None:
    import torch

    spurious = load("spurious")
    at = torch.ones(3, requires_grad=True)
    spurious.Reversed.apply(at, 0.5).sum().backward()
    assert at.grad is not None
    assert at.grad.tolist() == [-0.5] * 3
    figures = spurious.measured(True)
    assert figures["content"]["chosen by foci"] == [[0, 1, 2]]
    ways = figures["content"]["ways"]
    assert ways["none"]["agreeing"]["median"] > ways["none"]["disagreeing"]["median"] + 0.2
    assert ways["none, trained on unbiased rows"]["accuracy"]["median"] > ways["none"]["accuracy"]["median"]
    assert len(spurious.table(figures)) > 10


def test_rounds_of_blocks_come_nearer_and_the_bound_is_a_rate(load: Load) -> None:
    blocks = load("blocks")
    figures = blocks.measured(True)
    softmax = figures["softmax"]["ways"]
    assert softmax["all (full Newton)"]["2"]["median"] < 0.01
    assert softmax["random, 1 of 10"]["2"]["median"] < 1
    assert 0 < figures["softmax"]["bounds"]["random, 1 of 10"] < 1
    assert (
        figures["network"]["ways"]["l_foci"]["2"]["median"]
        > figures["network"]["ways"]["l_foci_per_layer"]["2"]["median"]
    )
    assert len(blocks.table(figures)) > 8
