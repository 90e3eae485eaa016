"""Theorem 1's setting: rounds of Newton steps in randomly drawn blocks of slices, and what they converge to.

    python experiments/mehta2022/blocks.py [--quick] [--out FILE.json]

The theorem says that its algorithm, applied again and again with sampling probabilities nowhere zero, converges
exponentially fast; the algorithm itself samples nothing. `LFoci(rounds=...)` does. Scikit-learn's digits, trained to a
gradient of 1e-9:

    softmax   1,000 rows, l2 = .01, 10 slices: strongly convex. Ten rows leave. The measured rate of ||w - w*||_H^2 per
              round stands beside the bound 1 - mu of `objective.block_rounds`, from all blocks of that size.
    network   tanh 64-12-10, 600 rows, l2 = .003, 22 slices: not convex. One row of high loss leaves.

Blocks are `random`, of the largest gradient left (`gradient_norm`), L-FOCI's blanket, perturbed anew each round,
or drawn with probabilities in proportion to the coefficient T(loss, activation) and a floor of a tenth of their mean
(the sampling that the theorem's text has in mind). Distances are to the minimiser on the retained rows that is reached
from the model before, as a share of doing nothing; medians over requests.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from figures import Figures, called, shown, spread
from sklearn.datasets import load_digits
from torch import Tensor

from expunge import NoiseKey, Rows, codec, keyed
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.methods import LFoci
from expunge.models import Mlp
from expunge.objective import Objective
from expunge.objective.block_rounds import Rounds, walk
from expunge.objective.minimise import minimise
from expunge.objective.perturbation import Perturbation, perturbed
from expunge.objective.selection import Selection, block_of
from expunge.objective.slice_block import BlockSolver
from expunge.objective.slices import slices_of

SOLVER = BlockSolver("hessian", damping=0.0)
PERTURBED = Perturbation(500)
SOFTMAX = Convex(l2=0.01)
NETWORK = Sgd(Mlp((12,), activation="tanh"), l2=3e-3, epochs=60, precision="float64")
MARKS = (1, 2, 5, 10, 20, 40)
FEWER = {"all (full Newton)": 5, "l_foci": 10, "l_foci_per_layer": 20}  # rounds, where no more happens


def digits(n: int) -> Rows:
    data = load_digits()
    order = keyed.permutation(0, ("digits",), np.arange(len(data.target), dtype=np.uint64))[:n]
    return Rows.of(data.data[order] / 16.0, data.target[order], classes=10)


def fitted(learner: Convex | Sgd, rows: Rows) -> tuple[Objective, Tensor]:
    """The objective, and its minimiser on the rows."""
    training = LFoci(learner).learn(rows, seed=0, noise=NoiseKey.fresh(1)).training
    objective = learner.objective(training)
    return objective, minimise(objective, rows, learner.flat(training), tol=1e-9, dense=False).x


def by_loss(objective: Objective, w: Tensor, rows: Rows) -> list[int]:
    """Ids of rows, the highest loss first."""
    scores = objective.scores(w, rows.columns)
    targets = objective.loss.targets(torch.as_tensor(np.asarray(rows.y)), scores.shape[1], scores.dtype)
    return objective.loss.values(scores, targets).argsort(descending=True).tolist()


def weighted(
    objective: Objective, w: Tensor, retained: Rows, forgotten: Rows, count: int, rounds: int, seed: int
) -> Iterator[Tensor]:
    """Rounds in blocks of `count` slices, drawn in proportion to their coefficients and a floor."""
    slices = slices_of(objective)
    strength = np.zeros(len(slices))
    for table in forgotten.batches(1):
        seen = perturbed(objective, w, slices, table, PERTURBED, seed=keyed.subseed(seed, int(table.keys[0])))
        found = [codec(seen.losses, column).statistic for column in seen.activations.T]
        strength += np.maximum(np.nan_to_num(found), 0)
    strength += 0.1 * max(strength.mean(), 1e-12)
    every = np.arange(len(slices), dtype=np.uint64)
    for number in range(rounds):
        clocks = -np.log(keyed.uniforms(seed, ("weighted slices", number), every)) / strength
        block = block_of(slices, sorted(np.argsort(clocks)[:count].tolist()))
        b = -objective.gradient(w, retained)[block.positions]
        w = w.index_add(0, block.positions, SOLVER.step(objective, w, retained, forgotten, block, b).x)
        yield w


def ways(slices: int, counts: Sequence[int], greedy: int) -> dict[str, tuple[Selection, int] | int]:
    """By name a selection with a number of rounds' share, or the count of the weighted draw."""
    found: dict[str, tuple[Selection, int] | int] = {
        f"random, {count} of {slices}": (Selection("random", count=count), count) for count in counts
    }
    found[f"gradient_norm, {greedy} of {slices}"] = (Selection("gradient_norm", count=greedy), greedy)
    found[f"by coefficient, {greedy} of {slices}"] = greedy
    found["l_foci"] = (Selection(), 0)
    if slices > 10:
        found["l_foci_per_layer"] = (Selection("l_foci_per_layer"), 0)
    found["all (full Newton)"] = (Selection("all"), slices)
    return found


def path(
    objective: Objective, w: Tensor, retained: Rows, forgotten: Rows, way: tuple[Selection, int] | int, rounds: int
) -> Iterator[Tensor]:
    """The weights after each round."""
    if isinstance(way, int):
        yield from weighted(objective, w, retained, forgotten, way, rounds, 0)
        return
    how = Rounds(way[0], PERTURBED, SOLVER, rounds=rounds, full=True)
    for end in walk(objective, w, retained, forgotten, retained, how, 0):
        yield end.w


def bound(H: Tensor, positions: Tensor, count: int) -> float:
    """1 - mu: what E||w - w*||_H^2 shrinks by at least in a round of `count` random slices, near w*."""
    mean = torch.zeros_like(H)
    blocks = list(itertools.combinations(range(len(positions)), count))
    for block in blocks:
        P = torch.cat([positions[j] for j in block])
        mean[P[:, None], P] += torch.linalg.inv(H[P][:, P]) / len(blocks)
    L = torch.linalg.cholesky(H)
    return 1 - float(torch.linalg.eigvalsh(L.T @ mean @ L)[0])


def followed(
    learner: Convex | Sgd,
    rows: Rows,
    requests: Callable[[list[int]], list[list[int]]],
    counts: Sequence[int],
    rounds: int,
) -> Figures:
    """Every way over all requests: distances at the marks, the rate per round, seconds."""
    objective, before = fitted(learner, rows)
    slices = slices_of(objective)
    convex, notes = isinstance(learner, Convex), {}
    bounds: dict[int, list[float]] = {}
    for gone in requests(by_loss(objective, before, rows)):
        retained, forgotten = rows.without(gone), rows.only(gone)
        target = minimise(objective, retained, before, tol=1e-9, dense=False).x
        H = objective.hessian(target, retained) if convex else torch.eye(len(before), dtype=before.dtype)
        length = lambda v: float((v @ H @ v) ** 0.5)  # noqa: E731, B023
        for count in counts if convex else ():
            bounds.setdefault(count, []).append(bound(H, slices.layers[0].positions, count))
        for name, way in ways(len(slices), counts, counts[min(1, len(counts) - 1)]).items():
            note = notes.setdefault(name, {"seconds": [], "rate": [], "gradient": [], **{m: [] for m in MARKS}})
            start, lengths, w = time.process_time(), [length(before - target)], before
            shares = []
            most = min(rounds, FEWER.get(name, rounds))
            for w in path(objective, before, retained, forgotten, way, most):
                lengths.append(length(w - target))
                shares.append(float((w - target).norm() / (before - target).norm()))
            note["seconds"].append((time.process_time() - start) / max(1, len(shares)))
            above = [each for each in lengths if each > 1e-6 * lengths[0]]
            if len(above) > 1:
                note["rate"].append((above[-1] / above[0]) ** (2 / (len(above) - 1)))
            left = objective.gradient(w, retained).norm() / objective.gradient(before, retained).norm()
            note["gradient"].append(float(left))
            for mark in MARKS:
                if mark <= len(shares):
                    note[mark].append(shares[mark - 1])
            print(f"{name}: {[f'{share:.2g}' for share in shares[:: max(1, len(shares) // 5)]]}", flush=True)
    figures: Figures = {"slices": len(slices), "weights": len(before), "ways": {}}
    for name, note in notes.items():
        figures["ways"][name] = {str(key): spread(values) for key, values in note.items() if values}
    figures["bounds"] = {f"random, {count} of {len(slices)}": statistics.median(each) for count, each in bounds.items()}
    return figures


def measured(quick: bool) -> Figures:
    """Both models."""
    rounds, several, batch = (4, 1, 2) if quick else (40, 5, 10)

    def batches(ids: list[int]) -> list[list[int]]:
        return [ids[batch * j : batch * j + batch] for j in range(several)]

    def single(ids: list[int]) -> list[list[int]]:
        return [[row] for row in ids[: min(several, 3)]]

    return {
        "softmax": followed(SOFTMAX, digits(200 if quick else 1000), batches, (1,) if quick else (1, 2, 3, 5), rounds),
        "network": followed(NETWORK, digits(150 if quick else 600), single, (3,) if quick else (3, 6, 11), rounds),
    }


def table(figures: Figures) -> list[str]:
    """Distances after so many rounds."""
    heads = [
        "model",
        "block",
        *(f"{mark} rounds" for mark in MARKS),
        "gradient left",
        "rate (at most, in the mean)",
        "s a round",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for model in ("softmax", "network"):
        of = figures[model]
        for name, way in of["ways"].items():
            marks = [f"{way[str(mark)]['median']:.2g}" if str(mark) in way else "-" for mark in MARKS]
            limit = of["bounds"].get(name)
            rate = "-" if "rate" not in way else f"{way['rate']['median']:.2g}"
            rate += "" if limit is None else f" ({limit:.3f})"
            cells = [model, name, *marks, f"{way['gradient']['median']:.1g}", rate, shown(way["seconds"], 3)]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    called("blocks", measured, table)
