r"""Naive Bayes from counts and exact sums [Cao & Yang 2015, sections 4 and 5.4]: forgets by subtracting.

    log P(c | x) = log P(c) + sum_j log P(x_j | c) + const,     P(c) = n_c / n

Each `P(x_j | c)` is made of sums over the rows of class c: of x and x^2 (Gaussian), of x (multinomial), of [x > t]
(Bernoulli), or of the times each level was seen (categorical). A forgotten row is taken out of its class's sums,
`S_c <- S_c - g(x)`, and no other row is read. Sums are exact (`maths.exact_sums`): the record is, bit for bit, the one
that the retained rows give.

    Gaussian      mean = S / n_c,  variance = (n_c sum x^2 - (sum x)^2) / n_c^2 + a V + b
    multinomial   (S_j + s) / (sum_j S_j + p s)
    Bernoulli     (S_j + s) / (n_c + 2 s)
    categorical   (count of the level + s) / (count of all levels + L s)

with V the largest variance of a column over all rows, a = `variance_smoothing`, b = `least_variance`, s = `smoothing`,
p the number of columns, L that of levels. "mixed" is Gaussian in columns of numbers, categorical in those of text.

Differs from the paper, and from scikit-learn's estimators, in:
1. Sums are exact; the variance does not cancel. Where no column varies and b = 0, it is 1, not 0.
2. L counts the levels of the retained rows (or the declared `levels`), not up to the largest code: a level whose last
   row is forgotten is as one that never was. An unknown level says nothing at prediction. Neither does a missing value
   (""; NaN, in "mixed" for numbers too), which is not counted: n_c is the number of rows that have the column.
3. Classes are declared; one without rows, or whose last row was forgotten, has the probability 1e-12.

It adopts no model trained elsewhere: parameters do not tell the sums that they came from.

Guarantee: exact, bit for bit
Models: naive Bayes: Gaussian, multinomial, Bernoulli, categorical, and numbers mixed with text
Strong: a request costs a few subtractions, whatever the number of rows, and reads no retained row
Weak: columns are taken as independent; two releases together give a row away
Paper: Cao & Yang 2015, section 4 (summation form)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add, sub
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.learners import summation
from expunge.learners.learner import one_thread
from expunge.maths import class_likelihoods
from expunge.maths.class_statistics import ClassStatistics
from expunge.method import Forgetting, Method, Release, check_size, check_step
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

Model = Literal["gaussian", "multinomial", "bernoulli", "categorical", "mixed"]
READINGS: Mapping[str, Mapping[str, str]] = {
    "gaussian": {"": "numbers"},
    "multinomial": {"": "numbers"},
    "bernoulli": {"": "numbers"},
    "categorical": {"": "levels", "T": "levels"},
    "mixed": {"": "numbers", "T": "levels"},
}


@dataclass(frozen=True, eq=False)
class NaiveBayesRecord:
    """How each column is read, and exact statistics of the rows."""

    columns: summation.Declared
    statistics: ClassStatistics


@dataclass(frozen=True)
class NaiveBayes(Method[NaiveBayesRecord]):
    """Exact forgetting at a cost that does not grow with the rows.

    Args:
        model: "gaussian", "multinomial" (counts), "bernoulli", "categorical", or "mixed": numbers Gaussian, text
            categorical.
        smoothing: s, the pseudo-count of every category. prior: "counted" (n_c / n) or "uniform" over the classes seen.
        variance_smoothing: a, the share of the largest variance that is added to every variance. least_variance: b, a
            constant that is added too.
        threshold: t of the Bernoulli model. levels: alphabets by column name; a column without one has the levels seen.
    """

    reads_tables: ClassVar[bool] = True
    model: Model = "mixed"
    smoothing: float = 1.0
    prior: Literal["counted", "uniform"] = "counted"
    variance_smoothing: float = 1e-9
    least_variance: float = 0.0
    threshold: float = 0.0
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model not in READINGS:
            raise InputError(f"model={self.model!r} was given; expected one of {sorted(READINGS)}.")
        if self.prior not in ("counted", "uniform"):
            raise InputError(f"prior={self.prior!r} was given; expected 'counted' or 'uniform'.")
        if not 0 < self.smoothing < math.inf:
            raise InputError(f"smoothing={self.smoothing} was given, and a positive number was expected.")
        amounts = (self.variance_smoothing, self.least_variance)
        if not (all(0 <= amount < math.inf for amount in amounts) and any(amounts)):
            raise InputError(f"variance_smoothing and least_variance are {amounts}; >= 0, not both 0, was expected.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> NaiveBayesRecord:
        """Count and sum, block by block. Nothing is drawn.

        Raises:
            InputError: no row, no classes, or a value that the model cannot read.
        """
        del seed, noise
        summation.check_classes(rows, self)
        columns = summation.declared(rows.schema, READINGS[self.model])
        names = summation.level_names(columns)
        if unknown := sorted(set(self.levels) - set(names)):
            raise InputError(f"levels are declared for {unknown}; the columns of levels here are {sorted(names)}.")
        nothing = ClassStatistics.none(rows.classes, summation.width_of_numbers(columns), names)
        return NaiveBayesRecord(columns, reduce(add, self._counted(columns, rows), nothing))

    def forget(
        self, record: NaiveBayesRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[NaiveBayesRecord]:
        """Take the rows out of the counts and sums; no retained row is read.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(int(record.statistics.counts.sum()), retained, forgotten)
        left = reduce(sub, self._counted(record.columns, forgotten), record.statistics)
        return Forgetting(replace(record, statistics=left), summation.EXACT, {"rows_visited": len(forgotten)})

    def extend(
        self, record: NaiveBayesRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[NaiveBayesRecord]:
        """Add the rows to the counts and sums; no retained row is read.

        Raises:
            InputError: these are not the record's rows, an id is among them already, or a value cannot be read.
        """
        del noise
        check_size(int(record.statistics.counts.sum()), retained)
        retained.and_rows(added)
        both = reduce(add, self._counted(record.columns, added), record.statistics)
        return Forgetting(replace(record, statistics=both), summation.EXACT, {"rows_visited": len(added)})

    def release(self, record: NaiveBayesRecord) -> Release:
        """Log priors (K,) and the parameters of each model: functions of the exact sums."""
        known = record.statistics
        counts, sums = known.counts.numpy(), known.sums
        prior = class_likelihoods.prior(known.counts, self.prior == "uniform")
        tensors = {"log_prior": prior, "present": known.counts > 0}
        match self.model:
            case "multinomial":
                tensors["log_probability"] = class_likelihoods.multinomial(sums, self.smoothing)
            case "bernoulli":
                tensors["log_probability"] = class_likelihoods.bernoulli(counts, sums, self.smoothing)
            case "gaussian" | "mixed":
                added, numbers = (self.variance_smoothing, self.least_variance), known.numbers.numpy()
                mean, variance = class_likelihoods.gaussian(numbers, sums, known.squares, *added)
                tensors |= {"mean": mean, "variance": variance}
        alphabets = {name: self.levels.get(name, seen.levels) for name, seen in known.levels.items()}
        for name, alphabet in alphabets.items():
            tensors[f"levels/{name}"] = class_likelihoods.categorical(known.levels[name], alphabet, self.smoothing)
        return Release(tensors, {"model": self.model, "columns": record.columns, "levels": alphabets})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Log-probabilities (m, K).

        Raises:
            SchemaError: a column is absent or of another width. InputError: a value that the model cannot read.
        """
        tensors, reading = release.tensors, release.settings["columns"]
        x = torch.from_numpy(self._numbers(columns, reading))
        with one_thread():
            joint = tensors["log_prior"] + class_likelihoods.of_numbers(release.settings["model"], x, tensors)
            for name, texts in summation.level_columns(columns, reading).items():
                alphabet = tuple(release.settings["levels"][name])
                joint = joint + class_likelihoods.level_log_likelihood(texts, alphabet, tensors[f"levels/{name}"])
            return class_likelihoods.posterior(joint, tensors["present"])

    def _counted(self, columns: summation.Declared, rows: Rows) -> Iterator[ClassStatistics]:
        """The statistics of each block of rows."""
        squares = self.model in ("gaussian", "mixed")
        for table in rows.tables():
            x, levels = self._numbers(table.columns, columns), summation.level_columns(table.columns, columns)
            for name, alphabet in self.levels.items():
                summation.check_alphabet(name, levels[name], alphabet)
            codes = summation.class_codes(table)
            yield ClassStatistics.of(x, levels, codes, rows.classes, with_squares=squares)

    def _numbers(self, columns: Mapping[str, Array], reading: summation.Declared) -> summation.Floats:
        x = summation.number_columns(columns, reading, missing=self.model == "mixed")
        if self.model == "multinomial" and (x < 0).any():
            raise InputError(f"The multinomial model counts, and {x.min():g} was given: no number may be negative.")
        return (x > self.threshold).astype(np.float64) if self.model == "bernoulli" else x
