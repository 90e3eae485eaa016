"""Where the spread of an audit's figures comes from: seeds of training, of unlearning, of evaluation, on the digits.

    python benchmarks/variance_parts.py

Test accuracy and the mean loss of the forgotten rows, of 8 models, each made to forget 50 mislabelled rows 3 times,
each evaluated on 20 bootstrap samples of its rows. Standard deviations of the parts, and the error of the mean.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.datasets import load_digits

from expunge import Rows
from expunge.audits import metrics, released
from expunge.audits.candidates import Outputs, outputs
from expunge.audits.variance_parts import VarianceParts, repeated, variance_parts
from expunge.learners.sgd import Sgd
from expunge.method import Method, Release
from expunge.methods import CertifiedNewton, FineTune, Retrain
from expunge.models import Mlp

TRAININGS, UNLEARNINGS, EVALUATIONS, GONE = 8, 3, 20, 50
NETWORK = Sgd(Mlp((32,)), epochs=10)
METHODS: dict[str, Method] = {  # type: ignore[type-arg]
    "retrain": Retrain(NETWORK),
    "fine-tune": FineTune(NETWORK, epochs=2),
    "certified-newton": CertifiedNewton(l2=1e-2, noise_std=0.05),
}


def digits() -> tuple[Rows, Rows]:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.data[order] / 16.0, data.target[order]
    y[:GONE] = (y[:GONE] + 1) % 10
    return Rows.of(x[:1437], y[:1437], classes=10), Rows.of(x[1437:], y[1437:], classes=10)


def parts_of(method: Method, rows: Rows, forgotten: Rows, asked: Rows, figure: str) -> VarianceParts:  # type: ignore[type-arg]
    last: list[tuple[Release, Outputs]] = []  # the evaluations of one release follow each other

    def evaluate(release: Release, seed: int) -> float:
        if not last or last[0][0] is not release:
            last[:] = [(release, outputs(released(method, release), asked))]
        seen = last[0][1]
        drawn = np.random.default_rng(seed).integers(0, len(asked), len(asked))
        of = metrics.accuracy if figure == "accuracy on test" else metrics.mean_loss
        return of(seen.values[drawn], seen.y[drawn])

    counts = {"trainings": TRAININGS, "unlearnings": UNLEARNINGS, "evaluations": EVALUATIONS}
    return variance_parts(repeated(method, rows, forgotten, evaluate, **counts))  # type: ignore[arg-type]


def main() -> None:
    """Run and print."""
    torch.set_num_threads(1)
    rows, test = digits()
    forgotten = rows.only(range(GONE))
    print(
        f"digits, {len(rows)} rows; {GONE} mislabelled ones are forgotten; {TRAININGS} x {UNLEARNINGS} x {EVALUATIONS}"
    )
    print("method            figure               mean  training  unlearning  evaluation  error of the mean")
    for name, method in METHODS.items():
        for figure, asked in (("accuracy on test", test), ("loss on forgotten", forgotten)):
            found = parts_of(method, rows, forgotten, asked, figure)
            assert found.training is not None
            assert found.error is not None
            print(
                f"{name:<17} {figure:<18} {found.mean:>6.3f}  {found.training:>8.4f}  {found.unlearning:>10.4f}"
                f"  {found.evaluation:>10.4f}  {found.error:>17.4f}"
            )


if __name__ == "__main__":
    main()
