"""The price of differential privacy beside certified Newton at the same epsilon: digits, odd against even.

    python benchmarks/differential_privacy_digits.py

Rows of norm 1, the logistic loss, delta 1e-5. The noise of differential privacy is the least that its setting takes;
accuracies on test rows are means over 100 noise keys (least). "rows in the budget": how many may be forgotten before
epsilon 10 is passed and the model must be learned again.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from digits import odd_or_even

from expunge import NoiseKey
from expunge.errors import MustRetrain
from expunge.maths.privacy import mu_of
from expunge.method import Method
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.differential_privacy import DifferentialPrivacy

DELTA = 1e-5


def private(l2: float, n: int, rows: int, epsilon: float = 1.0) -> DifferentialPrivacy:
    """With the least noise for which `rows` rows together cost epsilon."""
    bare = DifferentialPrivacy(loss="logistic", l2=l2, delta=DELTA)
    noise_std = rows * bare.sensitivity(n, 1) / (mu_of(epsilon, DELTA) - 3e-4)
    return DifferentialPrivacy(loss="logistic", l2=l2, delta=DELTA, epsilon=epsilon, noise_std=noise_std)


def main() -> None:
    """Run and print both tables."""
    torch.set_num_threads(1)
    rows, test = odd_or_even()

    def accuracy(method: Method[Any]) -> str:
        found = []
        for _ in range(100):
            release = method.release(method.learn(rows, seed=0, noise=NoiseKey.fresh(1)))
            found.append(float((method.predict(release, test.columns).argmax(1).numpy() == test.y).mean()))
        return f"{statistics.mean(found):.3f} ({min(found):.3f})"

    def lasting(method: DifferentialPrivacy) -> int:
        first = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        for count in range(1, 1000):
            gone = list(range(count))
            try:
                method.forget(first, rows.without(gone), rows.only(gone), noise=NoiseKey.fresh(2))
            except MustRetrain:
                return count - 1
        return 1000

    print("l2, minimiser, certified Newton, noise for one row, accuracy, rows in the budget, noise for ten, accuracy")
    for l2 in (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0):
        nearly = CertifiedNewton(loss="logistic", l2=l2, noise_std=1e-5)
        newton = CertifiedNewton(loss="logistic", l2=l2, noise_std=0.01)
        one, ten = private(l2, len(rows), 1), private(l2, len(rows), 10)
        print(
            f"| {l2:g} | {accuracy(nearly).split()[0]} | {accuracy(newton)} | {one.noise_std:.2g} | {accuracy(one)} | "
            f"{lasting(one)} | {ten.noise_std:.2g} | {accuracy(ten)} |"
        )
    print("seconds to forget one row, medians of five")
    both: list[Method[Any]] = [CertifiedNewton(loss="logistic", l2=1e-1), private(1e-1, len(rows), 1)]
    for method in both:
        record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            method.forget(record, rows.without([0]), rows.only([0]), noise=NoiseKey.fresh(2))
            taken.append(time.perf_counter() - start)
        print(f"| {type(method).__name__} | {statistics.median(taken):.5f} |")


if __name__ == "__main__":
    main()
