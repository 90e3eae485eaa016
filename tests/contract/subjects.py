"""What the contract is held against: for every method file, at least one method with rows it can learn.

`SUBJECTS` is one of four lists that must agree: files in methods/, the README's table, these keys, the docs' pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from expunge.features import Categorical, Numeric, Pipeline
from expunge.learners.convex import Convex
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import CertifiedNewton, Retrain, Sisa
from expunge.models import Mlp
from expunge.rows import Rows

Subject = tuple[Method[Any], Rows]


def blobs(n: int = 90, classes: int = 3, p: int = 4, seed: int = 3) -> Rows:
    """Three overlapping clouds; ids are words that nothing else in a record could be."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = generator.normal(size=(n, p)) + 1.5 * np.eye(classes, p)[y]
    return Rows.of({"x": x}, y, ids=[f"row-{i}" for i in range(n)], classes=classes)


def line(n: int = 80, p: int = 3, seed: int = 4) -> Rows:
    """A noisy linear regression."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, p))
    y = x @ np.arange(1.0, p + 1) + 0.5 + 0.3 * generator.normal(size=n)
    return Rows.of({"x": x}, y, ids=[f"row-{i}" for i in range(n)])


def persons(n: int = 90) -> Rows:
    """A raw table: a number with gaps, a text, two rows a person."""
    generator = np.random.default_rng(5)
    age = generator.normal(40, 10, size=n)
    job = np.array(["nurse", "smith", "cook"])[generator.integers(0, 3, size=n)]
    y = ((age > 40) ^ (job == "cook")).astype(int)
    age[::7] = np.nan
    columns = {"age": age, "job": job}
    return Rows.of(columns, y, ids=[f"row-{i}" for i in range(n)], subjects=[f"p{i // 2}" for i in range(n)], classes=2)


def _newton(**settings: Any) -> CertifiedNewton:
    return CertifiedNewton(**({"l2": 1e-2, "noise_std": 0.05} | settings))


def _sgd(**settings: Any) -> Sgd:
    return Sgd(
        **({"model": Mlp((5,)), "epochs": 4, "batch_size": 16, "learning_rate": 0.1, "momentum": 0.9} | settings)
    )


def _raw(method: Method[Any]) -> Method[Any]:
    public = (
        Numeric(("age",), statistics="public", bounds=((0.0, 100.0),)),
        Categorical(("job",), levels=(("cook", "nurse", "smith"),)),
    )
    return Pipeline(public, method)


SUBJECTS: dict[str, dict[str, Callable[[], Subject]]] = {
    "certified_newton": {
        "softmax": lambda: (_newton(), blobs()),
        "logistic": lambda: (_newton(loss="logistic"), blobs(classes=2)),
        "squared": lambda: (_newton(loss="squared"), line()),
        "huber": lambda: (_newton(loss="huber"), line()),
        "without a Hessian": lambda: (_newton(dense_limit=1), blobs()),
        "raw table": lambda: (_raw(_newton()), persons()),
    },
    "retrain": {
        "network": lambda: (Retrain(_sgd()), blobs()),
        "convex": lambda: (Retrain(Convex()), blobs()),
        "scikit-learn": lambda: (Retrain(ScikitLearn("GaussianNB")), blobs()),
        "raw table": lambda: (_raw(Retrain(_sgd())), persons()),
    },
    "sisa": {
        "network": lambda: (Sisa(_sgd(), shards=3, slices=2), blobs()),
        "adam": lambda: (Sisa(_sgd(optimiser="adam", learning_rate=0.01), shards=2, slices=3), blobs()),
        "convex": lambda: (Sisa(Convex(), shards=4, slices=1), blobs()),
        "raw table": lambda: (_raw(Sisa(_sgd(), shards=2, slices=2)), persons()),
    },
}
