"""Streams of removals: one request after another through a method, with what is measured of the model between them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from expunge import NoiseKey, Rows
from expunge.errors import MustRetrain, NotConverged
from expunge.learners.differentiable import Differentiable
from expunge.learners.learner import Training
from expunge.methods import LFoci
from expunge.methods.l_foci import LFociRecord
from expunge.models import Model
from expunge.schema import Schema

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"
EXPECTED = Path(__file__).resolve().with_name("expected.json")
Figures = dict[str, float]


@dataclass(frozen=True)
class Built(Model):
    """A model from a function of the number of outputs: `make(outputs) -> module`."""

    make: Callable[[int], nn.Module]

    @override
    def build(self, schema: Schema, outputs: int | None = None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make(outputs or len(schema.classes) or int(np.prod(schema.target.shape)))  # type: ignore[union-attr]


@dataclass(frozen=True)
class State:
    """A model after `removed` rows have left: `left` and `gone` are all rows that stay and that do not."""

    removed: int
    record: LFociRecord
    left: Rows
    gone: Rows
    slices: int = 0
    refused: int = 0

    def training(self) -> Training:
        """What is released."""
        return self.record.released or self.record.training


def mask_of(rows: Rows, ids: Sequence[Any]) -> NDArray[np.bool_]:
    """Which rows have these ids."""
    return np.isin(rows.ids, np.asarray(ids).astype(rows.ids.dtype))


def stream(
    method: LFoci,
    record: LFociRecord,
    rows: Rows,
    requests: Sequence[Sequence[Any]],
    *,
    counts: Sequence[int] | None = None,
    noise_is_kept: bool = False,
    of_slices_only: bool = False,
) -> Iterator[State]:
    """The state after each request.

    Args:
        counts: slices of each request, for selectors that take a number.
        noise_is_kept: the noisy weights are the next step's start, as published; else the record stays without noise.
        of_slices_only: noise only where the step moved weights, as in the published code.

    A request that is refused (`MustRetrain`, or the solver does not end) leaves the model as it was, and is counted.
    """
    gone, done, refused = np.zeros(len(rows), bool), 0, 0
    for number, request in enumerate(requests):
        leaving = mask_of(rows, request)
        stays = ~(gone | leaving)
        left, forgotten = rows.select(stays), rows.select(leaving)
        how = method
        if counts is not None:
            how = replace(method, selection=replace(method.selection, count=max(1, counts[number])))
        slices = 0
        try:
            step = how.forget(record, left, forgotten, noise=NoiseKey.fresh(number + 2))
            before, record, slices = record, step.record, int(step.stats["slices"])
            if noise_is_kept and record.released is not None:
                noisy = method.learner.flat(record.released)
                if of_slices_only:
                    still = method.learner.flat(before.training) == method.learner.flat(record.training)
                    noisy = torch.where(still, method.learner.flat(before.training), noisy)
                record = replace(record, training=method.learner.moved(record.training, noisy), released=None)
        except (MustRetrain, NotConverged):
            refused += 1
            record = replace(record, size=len(left))
        gone, done = gone | leaving, done + len(forgotten)
        yield State(done, record, left, rows.select(gone), slices, refused)


def noised(learner: Differentiable, record: LFociRecord, std: float, generator: torch.Generator) -> LFociRecord:
    """The same model with noise on every weight: what a release costs that forgets nothing."""
    w = learner.flat(record.training)
    added = w + std * torch.randn(len(w), generator=generator, dtype=w.dtype)
    return replace(record, training=learner.moved(record.training, added))


def published_noise(rows: int, l2: float, epsilon: float, delta: float, removed: int = 1) -> float:
    """Their sigma: (gamma/epsilon) sqrt(2 ln(1.25/delta)), gamma = 2 M L^2 u^2 / (n^2 l2^3), M = 1/4, L = 1."""
    gamma = 2 * 0.25 * removed**2 / (rows**2 * l2**3)
    return float(gamma / epsilon * np.sqrt(2 * np.log(1.25 / delta)))


def outputs_of(learner: Differentiable, training: Training, rows: Rows) -> NDArray[np.float64]:
    """Probabilities (rows, classes)."""
    scores = learner.predict(learner.release(training), rows.columns)
    return np.exp(scores.double().numpy())


def accuracy(learner: Differentiable, training: Training, rows: Rows) -> float:
    """The share of rows whose class is predicted."""
    return float((outputs_of(learner, training, rows).argmax(1) == rows.y).mean())


def apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How far two models' predictions are: the mean total variation, between 0 and 1."""
    return float(np.abs(a - b).sum(1).mean() / 2)


def sample_gradient(learner: Differentiable, training: Training, rows: Rows) -> float:
    """The mean norm of the single rows' loss gradients (theirs: "sample gradient norm")."""
    objective, w = learner.objective(training), learner.flat(training)
    norms = [torch.linalg.vector_norm(objective.row_gradients(w, Rows.from_table(t, rows.schema.classes)), dim=1)
             for t in rows.batches(64)]  # fmt: skip
    return float(torch.cat(norms).mean())


def residual_gradient(learner: Differentiable, training: Training, rows: Rows) -> float:
    """The norm of the objective's gradient over rows: zero at a minimum."""
    return float(torch.linalg.vector_norm(learner.objective(training).gradient(learner.flat(training), rows)))


def share(after: Tensor, before: Tensor, target: Tensor) -> float:
    """The distance to the retrained model as a share of doing nothing."""
    return float((after - target).norm() / (before - target).norm())


def have(*names: str) -> bool:
    """Whether the data are there; a line says so where they are not."""
    missing = [name for name in names if not (FOLDER / name).exists()]
    if missing:
        print(f"skipped: {', '.join(missing)} is not here")
    return not missing


def arguments(doc: str | None, *choices: str) -> argparse.Namespace:
    """`--quick`, which parts to run, and `--out`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", choices=[*choices, []] if choices else None, default=[])
    parser.add_argument("--quick", action="store_true", help="less data and fewer removals, under a minute")
    parser.add_argument("--keep", action="store_true", help="write the figures into expected.json")
    parser.add_argument("--pictures", type=Path, default=None, help="a folder for pictures, where there are some")
    given = parser.parse_args()
    given.part = given.part or list(choices)
    torch.set_num_threads(1)
    return given


def keep(name: str, figures: Any) -> None:
    """Put an experiment's figures into expected.json."""
    whole = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    EXPECTED.write_text(json.dumps(dict(sorted({**whole, name: _short(figures)}.items())), indent=1) + "\n")


def _short(figures: Any) -> Any:
    match figures:
        case dict():
            return {str(key): _short(value) for key, value in figures.items()}
        case list() | tuple():
            return [_short(value) for value in figures]
        case float():
            return float(f"{figures:.3g}") if np.isfinite(figures) else None
    return figures


def show(title: str, table: dict[str, dict[int, Figures]], columns: Sequence[str]) -> None:
    """Print {arm: {removed: figures}} as one table."""
    print(f"\n{title}\n| removed | arm | " + " | ".join(columns) + " |\n|" + "---|" * (2 + len(columns)))
    for removed in sorted({k for arm in table.values() for k in arm}):
        for arm, found in table.items():
            if removed in found:
                cells = [f"{found[removed][c]:.3g}" if c in found[removed] else "" for c in columns]
                print(f"| {removed} | {arm} | " + " | ".join(cells) + " |")
    sys.stdout.flush()
