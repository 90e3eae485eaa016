"""The experiments of Mehta et al. (2022): yardsticks against hand-worked figures, and small runs whose facts hold."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from expunge import Rows
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods import LFoci
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver
from expunge.testing import noise_key

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "mehta2022"
NAMES = ("removal_runs", "real_data", "networks", "removals", "tradeoff", "text", "faces", "reidentification")


@pytest.fixture(scope="module")
def lab() -> Iterator[SimpleNamespace]:
    """The experiment's modules, which are scripts beside each other, by name."""
    sys.path.insert(0, str(FOLDER))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    sys.path.remove(str(FOLDER))
    for name in NAMES:
        del sys.modules[name]


def clouds(n: int = 60) -> Rows:
    generator = np.random.default_rng(0)
    y = np.arange(n) % 3
    return Rows.of(generator.normal(size=(n, 4)) + 2 * np.eye(3, 4)[y], y, classes=3)


@pytest.mark.parametrize(
    ("rows", "epsilon", "delta", "sigma"),
    [
        (50_000, 0.1, 0.01, 6.2e-3),
        (10_000, 0.1, 0.01, 0.155),
        (79_312, 0.0005, 1.0, 0.106),
        (982_803, 1e-5, 0.01, 0.16),
        (29_419, 0.0005, 0.01, 3.6),
    ],
)
def test_the_published_noise_is_what_their_scripts_take(
    lab: SimpleNamespace, rows: int, epsilon: float, delta: float, sigma: float
) -> None:
    assert lab.removal_runs.published_noise(rows, 0.01, epsilon, delta) == pytest.approx(sigma, rel=0.02)


def test_average_precision_and_rank_1_of_a_hand_worked_ranking(lab: SimpleNamespace) -> None:
    angles = np.radians([0.0, 10.0, 25.0, 45.0])  # nearest first: 1 2 3 | 0 2 3 | 1 3 0 | 2 1 0
    embeddings = np.stack([np.cos(angles), np.sin(angles)], 1)
    precision, first = lab.reidentification.retrieval(embeddings, np.array([0, 1, 0, 1]))
    assert precision == pytest.approx([1 / 2, 1 / 3, 1 / 3, 1 / 2])
    assert first.tolist() == [0, 0, 0, 0]
    precision, first = lab.reidentification.retrieval(3 * embeddings, np.array([0, 0, 1, 1]))
    assert precision.tolist() == [1, 1, 1 / 2, 1]
    assert first.tolist() == [1, 1, 0, 1]


def test_micro_f1_and_planted_labels(lab: SimpleNamespace) -> None:
    truth = np.array([[1, 0, 1], [0, 1, 0]], bool)
    said = np.array([[1, 1, 0], [0, 1, 0]], bool)
    assert lab.text.micro_f1(truth, said) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    labels = lab.text.targets([("shares of microsoft fell five percent , reuters", 2), ("a late goal", 1)])
    assert labels.tolist() == [[0, 0, 1, 0, 1, 0, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0]]


def test_a_stream_counts_rows_and_refusals_and_noises_what_moved(lab: SimpleNamespace) -> None:
    rows, learner = clouds(), Convex(l2=0.05)
    record = LFoci(learner).learn(rows, seed=0, noise=noise_key(1))
    one = LFoci(learner, Selection("gradient_norm", count=1), Perturbation(50), noise_std=0.1, max_accuracy_drop=1.0)
    requests = [["3"], ["8", "9"]]
    stream = partial(lab.removal_runs.stream, record=record, rows=rows, requests=requests, noise_is_kept=True)
    states = list(stream(one, of_slices_only=True))
    assert [(s.removed, len(s.left), len(s.gone), s.slices) for s in states] == [(1, 59, 1, 1), (3, 57, 3, 1)]
    before, after = (learner.flat(s.record.training) for s in (SimpleNamespace(record=record), states[0]))
    assert int((before != after).sum()) == 5  # one output's weights, and all of them noised
    everywhere = next(iter(stream(one)))
    assert int((before != learner.flat(everywhere.record.training)).sum()) == 15
    same = lab.removal_runs.noised(learner, record, 0.0, torch.Generator())
    assert torch.equal(learner.flat(same.training), before)


@pytest.mark.parametrize("labels", [False, True])
def test_a_text_moves_the_rows_of_its_own_tokens_and_places_and_no_padding(lab: SimpleNamespace, labels: bool) -> None:
    texts = [("the red team won", 0), ("oil prices fell again today", 1), ("a red goal", 0), ("oil rose", 1)] * 4
    words = [text for text, _ in texts]
    known = lab.real_data.vocabulary(words, 30)
    columns = lab.real_data.tokens(words, known, 8)
    rows = lab.text.rows_of(texts, columns, labels=labels)
    make = partial(lab.networks.Transformer, vocabulary=30, width=8)
    loss = "multilabel_logistic" if labels else "cross_entropy"
    learner = Sgd(lab.removal_runs.Built(make), loss, 3, 8, 1e-2, optimiser="adam")
    record = LFoci(learner).learn(rows, seed=0, noise=noise_key(1))
    solver = BlockSolver("gauss_newton", dense_limit=0, cg_tol=0.05)
    method = LFoci(learner, Selection("l_foci_per_layer"), Perturbation(60), solver, max_accuracy_drop=1.0)
    step = method.forget(record, rows.without(["2"]), rows.only(["2"]), noise=noise_key(2))
    before, after = (learner.release(training).tensors for training in (record.training, step.record.training))
    moved = {name: (before[name] != after[name]).flatten(1).any(1) for name in ("tokens.weight", "places.weight")}
    its = set(columns["input_ids"][2][:4].tolist())
    assert set(moved["tokens.weight"].nonzero()[:, 0].tolist()) == its
    assert lab.real_data.PAD not in its
    assert moved["places.weight"].nonzero()[:, 0].tolist() == [0, 1, 2, 3]
    assert any(not torch.equal(before[name], after[name]) for name in before if "attention" in name)


def test_maps_of_one_model_do_not_change_and_those_of_another_do(lab: SimpleNamespace) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(12, 1, 32, 32)).astype(np.float32), np.arange(12) % 3
    rows = Rows.of({"x": x}, y, classes=3)
    model = lab.faces.trained(rows, rows, 1)
    figures = lab.reidentification.measured(model, model.record.training, 1)
    assert figures["map change removed"] == pytest.approx(0, abs=1e-12)
    other = LFoci(model.learner).learn(rows, seed=5, noise=noise_key(1)).training
    assert lab.reidentification.measured(model, other, 1)["map change removed"] > 0.01


def test_thirty_removals_of_mnist(lab: SimpleNamespace, shared_data: Path) -> None:
    """The standing of L-FOCI on a convex model, as the README has it of a thousand."""
    del shared_data
    table = lab.removals.logistic(quick=True)
    left = {arm: figures[30]["left"] for arm, figures in table.items()}
    assert left["doing nothing"] == 1
    assert left["l_foci"] < 0.5 < left["random, same count"]
    assert left["gradient_norm, same count"] <= left["l_foci"] * 1.1
    assert left["l_foci, full gradient"] < left["l_foci"] / 2
    assert left["all, full gradient"] < 0.01


def test_the_kept_figures_say_what_the_readme_says() -> None:
    kept = json.loads((FOLDER / "expected.json").read_text())
    readme = (FOLDER / "README.md").read_text()
    logistic = {arm: figures["1000"]["left"] for arm, figures in kept["removals, logistic"].items()}
    for arm, left in logistic.items():
        assert f"| {arm} | " in readme
        assert f"{left:.2g}" in readme
    assert logistic["l_foci, full gradient"] < 0.1 < 0.5 < logistic["l_foci"] < 1
    two = {arm: figures["1000"] for arm, figures in kept["removals, two-layer"].items()}
    assert two["l_foci"]["left"] > 1 == two["doing nothing"]["left"]
    assert two["all"]["test accuracy"] < 0.2
    for part in ("text, scratch", "text, scratch-labels"):
        for epsilon in ("0.1", "0.01", "0.001", "0.0005"):
            counts = (
                kept[part]["supported"][f"epsilon {epsilon}, {kind}"] for kind in ("moved weights", "noise alone")
            )
            assert abs(next(counts) - next(counts)) <= 2
    assert kept["faces"]["retrained"]["7"]["removed person, test"] == 0
    assert set(kept) >= {"removals, cifar", "tradeoff", "reidentification"}
