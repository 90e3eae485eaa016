"""Support vector machine whose rows leave on a path (Cauwenberghs & Poggio 2001; Karasuyama & Takeuchi 2009).

For each pair of classes (one against one), with y = +1 for the later of the two:

    minimise 1/2 a'Qa - 1'a    over    0 <= a <= C, y'a = 0,        Q_ij = y_i y_j K(x_i, x_j)
    f(x) = sum_i a_i y_i K(x_i, x) + b,        g_i = y_i f(x_i) - 1

To forget rows, their weights go to 0 on one straight line, and the weights on the margin follow, so that the others
keep their conditions (g = 0 on the margin S, g < 0 at the bound E, g > 0 without weight); rows change sides at events
(`maths.decremental_path`). A row without weight leaves and changes nothing.

A path does not end at the bits that learning from nothing ends at; the optimum's sets are the same. So both recompute
weights and b from the sets alone, in the order of the keys, and where the sets are beyond doubt the bits are equal
(`maths.margin_solution` derives when). Where they are not (a row with g = 0 and no weight, a singular margin), `forget`
learns from nothing on the rows that stay, and its certificate is as true; `stats` say which road each machine took.

Differs from the papers in:
1. The end is recomputed from the sets and checked; a path that fails (empty or singular S) falls back to a descent
   from the old weights, and then to learning from nothing.
2. Rows that are equal, class included, are one row with C times their number as bound: their shares are not arbitrary.
3. Where S is empty, b is the middle of what the conditions allow.
4. Several classes: one against one, votes, ties by confidence. A class without rows loses every pair.
5. New rows come in by a descent from the old weights instead of the incremental path.

Guarantee: exact, bit for bit; with a kernel the release holds the support vectors, which are rows
Models: support vector machines for classes; linear, polynomial and rbf kernels
Strong: rows without weight leave at no cost, and one path takes out any batch
Weak: no fewer kernel columns than a warm start needs; where the optimum is in doubt, it learns from nothing
Paper: Cauwenberghs & Poggio 2001, Karasuyama & Takeuchi 2009
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from torch import Tensor

from expunge.errors import InputError
from expunge.keyed import Keys
from expunge.learners.class_pairs import decisions, nobody, pairs, scores, sides, support, weighted_support
from expunge.learners.inputs import inputs_and_outputs
from expunge.learners.kept_rows import Bucket, Buckets, bucketed, in_order, rows_at, size, with_rows, without
from expunge.learners.learner import one_thread
from expunge.maths.kernel_function import KINDS, KernelFunction
from expunge.maths.margin_machine import Machine, Training
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import EXACT
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

SUPPORT_RELEASED = "The release holds support vectors, which are rows: an earlier release still holds those that left."
SETS = (
    "Rounding hides at most 8 sqrt(n) units in the last place of a sum of n terms, as if its errors were independent."
)


@dataclass(frozen=True, eq=False)
class SupportVectorMachineRecord:
    """`buckets`: the rows, by the first bits of their keys. `machines`: one for each pair of classes, in order."""

    buckets: Buckets
    machines: tuple[Machine, ...]
    columns: int
    classes: int


@dataclass(frozen=True)
class SupportVectorMachine(Method[SupportVectorMachineRecord]):
    """Exact forgetting for support vector machines.

    Args:
        kernel: "rbf", "polynomial" or "linear". cost: C. gamma: of the first two; None for 1 / columns.
        coef0, degree: of the polynomial. tol: violation of the conditions that a descent reaches at worst.
        bucket_rows: the most rows that one tensor of the record holds.
    """

    kernel: Literal["rbf", "polynomial", "linear"] = "rbf"
    cost: float = 1.0
    gamma: float | None = None
    coef0: float = 1.0
    degree: int = 3
    tol: float = 1e-10
    bucket_rows: int = 1024

    def __post_init__(self) -> None:
        gamma = 1.0 if self.gamma is None else self.gamma
        for name, value in (("cost", self.cost), ("gamma", gamma), ("degree", self.degree), ("tol", self.tol)):
            if not (value > 0 and math.isfinite(value)):
                raise InputError(f"{name}={value} was given, and a positive number was expected.")
        if self.kernel not in KINDS:
            raise InputError(f"kernel={self.kernel!r} was given; expected one of {KINDS}.")
        if not (self.coef0 >= 0 and math.isfinite(self.coef0)):
            raise InputError(f"coef0={self.coef0} was given; below 0 the polynomial is no kernel: give 0 or more.")
        if self.bucket_rows < 1:
            raise InputError(f"bucket_rows={self.bucket_rows} was given, and at least 1 was expected.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> SupportVectorMachineRecord:
        """Learn every pair of classes. Nothing is drawn.

        Raises:
            InputError: no row, no target or classes, or a column that is not finite numbers. NotConverged: see `tol`.
        """
        del seed, noise
        check_learnable(rows)
        if not rows.classes:
            raise InputError(
                "The target holds numbers, and a support vector machine tells classes apart: declare them."
            )
        columns, _ = inputs_and_outputs(rows.schema)
        buckets, training = bucketed(rows, self.bucket_rows), self._training(columns)
        everything = in_order(buckets)
        with one_thread():
            machines = [training.learn(sides(everything, pair))[0] for pair in pairs(rows.classes)]
        return SupportVectorMachineRecord(buckets, tuple(machines), columns, rows.classes)

    def forget(
        self, record: SupportVectorMachineRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[SupportVectorMachineRecord]:
        """Take the rows out of the machines of their classes. No row is read: the record has them by their keys.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows. NotConverged: see `tol`.
        """
        del noise
        check_step(retained, forgotten)
        check_size(size(record.buckets), retained, forgotten)
        after = without(record.buckets, forgotten.keys, self.bucket_rows)
        return self._step(record, after, forgotten.keys, record.buckets)

    def extend(
        self, record: SupportVectorMachineRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[SupportVectorMachineRecord]:
        """Take rows into the machines of their classes: as if all were learned together, bit for bit.

        Raises:
            InputError: these are not the record's rows, an id is among them already, or see `learn`.
        """
        del noise
        check_size(size(record.buckets), retained)
        if not len(added):
            return self._step(record, record.buckets, added.keys, record.buckets)
        retained.and_rows(added)  # refuses another schema, and ids that are there
        after = with_rows(record.buckets, added, self.bucket_rows)
        return self._step(record, after, added.keys, after)

    def release(self, record: SupportVectorMachineRecord) -> Release:
        """`b` (pairs,); `weights` (pairs, p) if linear, else the support: `x` (k, p), `coefficients` (pairs, k)."""
        x, coefficients, b = weighted_support(record.buckets, record.machines, record.classes, record.columns)
        with one_thread():
            linear = {"weights": coefficients @ x}
        tensors = {"b": b} | (linear if self.kernel == "linear" else {"x": x, "coefficients": coefficients})
        k = self._training(record.columns).kernel
        settings = {"kernel": k.kind, "gamma": k.gamma, "coef0": k.coef0, "degree": k.degree}
        return Release(tensors, settings | {"columns": record.columns, "classes": record.classes})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, classes), not calibrated: the logistic function of f, or softmax of votes.

        Raises:
            InputError: the column `x` is absent, not finite, or not as wide as the rows.
        """
        with one_thread():
            return scores(decisions(release, columns), release.settings["classes"])

    def _training(self, columns: int) -> Training:
        gamma = 1.0 / max(columns, 1) if self.gamma is None else self.gamma
        return Training(self.cost, KernelFunction(self.kernel, gamma, self.coef0, self.degree), self.tol)

    def _step(
        self, record: SupportVectorMachineRecord, after: Buckets, changed: Keys, larger: Buckets
    ) -> Forgetting[SupportVectorMachineRecord]:
        """The record of the rows `after`; `changed` came or left, and `larger` holds them and all others."""
        training, machines, costs = self._training(record.columns), list(record.machines), Counter[str]()
        moved = rows_at(larger, changed) if len(changed) else nobody(record.columns)
        everything: Bucket | None = None
        for place, pair in enumerate(pairs(record.classes)):
            machine, those = record.machines[place], sides(moved, pair)
            if not len(those):
                continue
            leaving = larger is record.buckets
            if leaving and training.untouched(machine, support(larger, machine, pair), those):
                costs["unchanged"] += 1
                continue
            everything = in_order(larger) if everything is None else everything
            rows = sides(everything, pair)
            run = training.forget if leaving else training.extend
            with one_thread():
                machines[place], cost = run(machine, rows, np.isin(rows.keys, changed))
            costs.update(cost)
        stats = {"rows_visited": 0, "unchanged": 0, "on_path": 0, "warm": 0, "learned": 0, "events": 0} | costs
        assumption = (SETS,) if self.kernel == "linear" else (SETS, SUPPORT_RELEASED)
        certificate = replace(EXACT, assumptions=(*EXACT.assumptions, *assumption))
        return Forgetting(replace(record, buckets=after, machines=tuple(machines)), certificate, stats)
