"""How many rows Sekhari's one step forgets, one by one, before its bound asks to learn again.

    python benchmarks/sekhari_capacity.py

Digits, odd against even, rows of norm 1, logistic loss, 65 parameters; epsilon 1, delta 1e-5 for all releases together.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from second_order_digits import digits

from expunge import NoiseKey, Rows
from expunge.errors import MustRetrain
from expunge.methods.sekhari import Sekhari


def capacity(rows: Rows) -> None:
    """Deletions, one by one, until the bound asks to learn again; at most 300."""
    print("deletions one by one, epsilon 1, delta 1e-5, until the capacity is used up (at most 300)")
    for l2 in (1e-3, 1e-2, 1e-1):
        for noise_std in (0.01, 0.1, 1.0):
            reached = []
            for bound in ("published", "measured"):
                for noise in ("independent", "carried"):
                    method = Sekhari(
                        loss="logistic", l2=l2, noise_std=noise_std, bound=bound, row_norm=1.0, noise=noise
                    )
                    record, remaining, count = method.learn(rows, seed=0, noise=NoiseKey.fresh(1)), rows, 0
                    try:
                        for count in range(300):
                            one = [str(count)]
                            left, key = remaining.without(one), NoiseKey.fresh(count + 2)
                            record = method.forget(record, left, remaining.only(one), noise=key).record
                            remaining = left
                        count = 300
                    except MustRetrain:
                        pass
                    reached.append(f"{bound}, {noise} {count}")
            print(f"  l2 {l2:g}, noise {noise_std:g}: {'; '.join(reached)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    capacity(digits()[0])
