"""Is the null honest? Audits of models that are nothing but retrained, a hundred times: p-values, bands, flags.

    python benchmarks/honest_null.py [REPETITIONS]

Each repetition draws rows, learns one model of all of them (doing nothing), and T + K models of the retained rows, all
with seeds and noise of their own. T of the latter are passed off as models that forgot. So every p-value must be
uniform, where its statistic has no ties (each is spread over its last step by an independent uniform), and never too
small, where it has; and an attack may fall out of its band, in which 99 of 100 models lie, only rarely. The same is
printed for doing nothing passed off as forgetting: what is no alarm there shows nothing here.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from scipy.stats import kstest

from expunge import NoiseKey, Rows
from expunge.audits import released
from expunge.audits.comparison import compare
from expunge.audits.panel import Subject
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import CertifiedNewton, Retrain
from expunge.models import Mlp

REFERENCES, GONE = 20, 30
TIED = ("accuracy", "effectiveness", "certifiability", "equal predictions", "tug of war", "average gap", "adaptive")
METHODS: dict[str, Method] = {  # type: ignore[type-arg]
    "network, retrained": Retrain(Sgd(Mlp((16,)), epochs=10, learning_rate=0.2)),
    "certified-newton, noise only": CertifiedNewton(l2=1e-2, noise_std=0.05),
}


def rows_of(seed: int) -> tuple[Rows, Rows, Rows]:
    """150 rows in three noisy classes, of which 30 mislabelled ones are to be forgotten, and 150 test rows."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, 300)
    x = 0.8 * generator.normal(size=(300, 4))
    x[np.arange(300), y] += 1.5
    y[:GONE] = (y[:GONE] + 1) % 3
    rows = Rows.of(x, y, ids=range(300), classes=3)
    return rows.only(range(GONE, 150)), rows.only(range(GONE)), rows.only(range(150, 300))


def repetition(method: Method, seed: int, audited: int, *, no_op: bool) -> dict[str, tuple[float, float, bool]]:  # type: ignore[type-arg]
    """(p-value, its least value, whether within the band) of every measure, attack and score."""
    retained, forgotten, test = rows_of(seed)

    def learn(rows: Rows, k: int) -> object:
        return released(method, method.release(method.learn(rows, seed=1000 * seed + k, noise=NoiseKey.fresh())))

    everything = retained.and_rows(forgotten)
    before = [learn(everything, k) for k in range(audited)]
    after = before if no_op else [learn(retained, 100 + k) for k in range(audited)]
    references = [learn(retained, 200 + k) for k in range(REFERENCES)]
    repeats = list(zip(before[1:], after[1:], strict=True))
    found = compare(Subject(before[0], after[0], None, references, repeats), retained, forgotten, test)  # type: ignore[arg-type]
    measures = [*found.measures, *(attack.auc for attack in found.attacks), *found.scores]
    return {
        m.name: (m.calibration.p_value, m.calibration.least_p, m.where == "within")
        for m in measures
        if m.calibration is not None
    }


def main(repetitions: int) -> None:
    """Run and print; raise where the null is not honest."""
    torch.set_num_threads(1)
    spread = np.random.default_rng(0)
    for name, method in METHODS.items():
        for audited in (1, 3):
            values = defaultdict(list)
            beyond = 0
            for seed in range(repetitions):
                found = repetition(method, seed, audited, no_op=False)
                beyond += any(not within for what, (_, _, within) in found.items() if what.startswith("auc"))
                for what, (p, least, _) in found.items():
                    values[what].append(p if what.startswith(TIED) else p - least * spread.random())
            idle = [repetition(method, seed, audited, no_op=True) for seed in range(20)]
            print(f"{name}: {audited} audited, {REFERENCES} references, {repetitions} repetitions")
            print(f"an attack beyond its band: {beyond} of {repetitions}")
            print("measure                                  KS distance  p of uniform  share p <= 0.05   doing nothing")
            for what, ps in values.items():
                tied = what.startswith(TIED)
                test = kstest(ps, "uniform", alternative="greater" if tied else "two-sided")
                small = float(np.mean(np.asarray(ps) <= 0.05))
                small_idle = [one[what][0] <= 0.05 for one in idle if what in one]  # a broken model has no scores
                seen = f"{np.mean(small_idle):.2f}" if small_idle else "broken"
                note = " (ties)" if tied else ""
                print(f"{what + note:<40} {test.statistic:>11.3f} {test.pvalue:>13.2f} {small:>16.2f} {seen:>15}")
                assert test.pvalue > 0.05 / len(values) / 4, f"{what} is not calibrated"
            assert beyond <= max(0.05 * repetitions, 1), "attacks accuse honest models"
            print()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
