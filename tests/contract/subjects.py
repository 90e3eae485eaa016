"""What the contract is held against: for every method file, at least one method with rows it can learn.

`SUBJECTS` is one of four lists that must agree: files in methods/, the README's table, these keys, the docs' pages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from expunge.features import Categorical, FrozenNetwork, Numeric, Pipeline
from expunge.learners.convex import Convex
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import (
    CertifiedDeep,
    CertifiedNewton,
    CertifiedRemoval,
    DareForest,
    DescentToDelete,
    DifferentialPrivacy,
    DistributedDescent,
    FineTune,
    Fisher,
    GradientAscent,
    Influence,
    MixedLinear,
    NewtonShift,
    Retrain,
    Rewind,
    Sekhari,
    Sisa,
)
from expunge.models import Linear, Mlp
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


def unit(classes: int = 3) -> Rows:
    """`blobs`, every row of norm below 1."""
    rows = blobs(classes=classes)
    return Rows.of({"x": rows.columns["x"] / 12}, rows.y, ids=[f"row-{i}" for i in range(len(rows))], classes=classes)


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


def _deep(**settings: Any) -> CertifiedDeep:
    return CertifiedDeep(**({"learner": _sgd(norm_bound=20.0)} | settings))


def _descent(**settings: Any) -> DescentToDelete:
    return DescentToDelete(**({"l2": 0.5, "noise_std": 0.5, "row_norm": 8.0, "radius": 5.0} | settings))


def _distributed(**settings: Any) -> DistributedDescent:
    shape = {"l2": 0.5, "noise_std": 0.5, "row_norm": 8.0, "radius": 5.0, "subsets": 4}
    return DistributedDescent(**(shape | settings))


def _marked(rows: Rows) -> Rows:
    """The rows from the fiftieth on are core rows."""
    table = rows.table()
    columns = {**table.columns, "core": np.arange(len(table)) >= 50}
    return Rows.of(columns, table.y, ids=table.ids.tolist(), classes=rows.classes or None)


def _mixed(**settings: Any) -> MixedLinear:
    return MixedLinear(**({"core": _sgd(), "l2": 1e-2, "noise_std": 0.05} | settings))


def _converged() -> Sgd:
    return _sgd(epochs=200, l2=5e-2, batch_size=128, learning_rate=0.2)


def _published(**settings: Any) -> Sekhari:
    return Sekhari(**({"bound": "published", "noise_std": 1.0, "row_norm": 2.0} | settings))


def _removal(**settings: Any) -> CertifiedRemoval:
    return CertifiedRemoval(**({"l2": 1e-2, "noise_std": 0.05} | settings))


def _in_ball(**settings: Any) -> Sgd:
    linear = {"model": Linear(), "epochs": 60, "batch_size": 90, "learning_rate": 0.3, "l2": 0.05, "norm_bound": 20.0}
    return _sgd(**(linear | settings))


def _fitting() -> CertifiedDeep:
    """So strong a penalty that the bound certifies."""
    strong = {"loss": "logistic", "epochs": 40, "learning_rate": 0.05, "momentum": 0.0, "l2": 10.0, "norm_bound": 0.1}
    learner = _in_ball(**strong, precision="float64")
    return CertifiedDeep(learner, damping=0.0, hessian_lipschitz=12.0, gradient_bound=1e-3, noise_std=0.6)


def _forest(**settings: Any) -> DareForest:
    return DareForest(**({"trees": 5, "max_depth": 6, "candidates": 5, "cut": 2} | settings))


def _weighed(rows: Rows) -> Rows:
    """Each row with a weight of 1 to 3."""
    table = rows.table()
    columns = {**table.columns, "weight": np.arange(len(table)) % 3 + 1}
    return Rows.of(columns, table.y, ids=table.ids.tolist(), classes=rows.classes)


def _raw(method: Method[Any]) -> Method[Any]:
    public = (
        Numeric(("age",), statistics="public", bounds=((0.0, 100.0),)),
        Categorical(("job",), levels=(("cook", "nurse", "smith"),)),
    )
    return Pipeline(public, method)


SUBJECTS: dict[str, dict[str, Callable[[], Subject]]] = {
    "certified_deep": {
        "linear": lambda: (_deep(learner=_in_ball(), damping=0.01), blobs()),
        "lissa": lambda: (
            _deep(learner=_in_ball(), damping=0.01, solver="lissa", scale=4.0, depth=60, runs=2, batch_size=60),
            blobs(),
        ),
        "where it certifies": lambda: (_fitting(), blobs(classes=2)),
        "network": lambda: (_deep(), blobs()),
        "raw table": lambda: (_raw(_deep()), persons()),
    },
    "certified_newton": {
        "softmax": lambda: (_newton(), blobs()),
        "logistic": lambda: (_newton(loss="logistic"), blobs(classes=2)),
        "squared": lambda: (_newton(loss="squared"), line()),
        "huber": lambda: (_newton(loss="huber"), line()),
        "without a Hessian": lambda: (_newton(dense_limit=1), blobs()),
        "raw table": lambda: (_raw(_newton()), persons()),
        "random features": lambda: (Pipeline((FrozenNetwork(Mlp((6,)), origin="random"),), _newton()), blobs()),
    },
    "certified_removal": {
        "logistic": lambda: (_removal(), blobs(classes=2)),
        "one against the rest": lambda: (_removal(loss="one_vs_rest"), blobs()),
        "squared": lambda: (_removal(loss="squared"), line()),
        "worst case": lambda: (_removal(bound="worst_case", row_norm=20.0), blobs(classes=2)),
        "without a Hessian": lambda: (_removal(loss="one_vs_rest", dense_limit=1), blobs()),
        "objective": lambda: (_removal(noise_std=1e-2, perturbation="objective"), blobs(classes=2)),
        "raw table": lambda: (_raw(_removal()), persons()),
    },
    "dare_forest": {
        "three classes": lambda: (_forest(), blobs()),
        "two classes, random layers": lambda: (_forest(random_depth=2, max_depth=5, cut=1), blobs(classes=2)),
        "entropy, few candidates": lambda: (_forest(criterion="entropy", candidates=2, min_leaf=2), blobs()),
        "regression": lambda: (_forest(max_features=2), line()),
        "raw table": lambda: (_forest(), persons()),
        "weights": lambda: (_forest(weight_column="weight"), _weighed(blobs())),
    },
    "descent_to_delete": {
        "softmax": lambda: (_descent(), blobs()),
        "tight with a tail": lambda: (_descent(calibration="tight", tail=0.01), blobs()),
        "published, secret": lambda: (
            _descent(calibration="published", variant="secret", loss="logistic"),
            blobs(classes=2),
        ),
        "measured, secret": lambda: (_descent(variant="secret"), blobs()),
        "weak": lambda: (
            _descent(variant="weak_regularised", calibration="tight", l2=4.0, noise_std=2.0),
            blobs(),
        ),
        "squared on the ball": lambda: (_descent(loss="squared", target_norm=30.0, radius=0.7), line()),
        "huber": lambda: (_descent(loss="huber", radius=2.0), line()),
    },
    "differential_privacy": {
        "softmax": lambda: (DifferentialPrivacy(noise_std=5.0, l2=0.1, row_norm=2.0), blobs()),
        "logistic": lambda: (DifferentialPrivacy(loss="logistic", noise_std=5.0, l2=0.1), blobs(classes=2)),
        "huber": lambda: (DifferentialPrivacy(loss="huber", noise_std=9.0, l2=0.1), line()),
        "raw table": lambda: (_raw(DifferentialPrivacy(noise_std=5.0, l2=0.1)), persons()),
    },
    "distributed_descent": {
        "softmax": lambda: (_distributed(), blobs()),
        "tight": lambda: (_distributed(loss="logistic", calibration="tight"), blobs(classes=2)),
    },
    "fine_tune": {
        "network": lambda: (FineTune(_sgd(), epochs=1), blobs()),
        "convex": lambda: (FineTune(Convex()), blobs()),
        "raw table": lambda: (_raw(FineTune(_sgd(), epochs=1)), persons()),
    },
    "fisher": {
        "softmax": lambda: (Fisher(), blobs()),
        "batches": lambda: (Fisher(batch_size=2), blobs()),
        "kronecker": lambda: (Fisher(form="kronecker"), blobs()),
        "diagonal": lambda: (Fisher(form="diagonal"), blobs()),
        "network": lambda: (Fisher(_converged(), damping=0.05), blobs()),
        "network, kronecker": lambda: (Fisher(_converged(), form="kronecker", damping=0.05), blobs()),
        "raw table": lambda: (_raw(Fisher()), persons()),
    },
    "gradient_ascent": {
        "network": lambda: (GradientAscent(_sgd(), steps=3, batch_size=2), blobs()),
        "neggrad+": lambda: (GradientAscent(_sgd(), steps=3, batch_size=2, retain_weight=0.5), blobs()),
        "convex": lambda: (GradientAscent(Convex(), steps=3), blobs()),
        "squared": lambda: (GradientAscent(Convex(loss="squared"), steps=3, max_loss=1.0), line()),
    },
    "influence": {
        "softmax": lambda: (Influence(), blobs()),
        "full, batches": lambda: (Influence(batch_size=3, gradient="full"), blobs()),
        "squared": lambda: (Influence(Convex(loss="squared")), line()),
        "conjugate gradient": lambda: (Influence(dense_limit=1), blobs()),
        "network": lambda: (Influence(_sgd()), blobs()),
        "raw table": lambda: (_raw(Influence()), persons()),
    },
    "mixed_linear": {
        "network": lambda: (_mixed(), _marked(blobs())),
        "last layer": lambda: (_mixed(layers=("parts.2",), rank=5), _marked(blobs())),
        "squared": lambda: (_mixed(core=_sgd(loss="squared", learning_rate=0.02)), _marked(line())),
    },
    "newton_shift": {
        "softmax": lambda: (NewtonShift(), blobs()),
        "squared": lambda: (NewtonShift(Convex(loss="squared"), error="gradient"), line()),
        "products": lambda: (NewtonShift(error="curvature", dense_limit=0), blobs()),
        "network": lambda: (NewtonShift(_converged(), damping=0.05), blobs()),
        "raw table": lambda: (_raw(NewtonShift()), persons()),
    },
    "retrain": {
        "network": lambda: (Retrain(_sgd()), blobs()),
        "convex": lambda: (Retrain(Convex()), blobs()),
        "scikit-learn": lambda: (Retrain(ScikitLearn("GaussianNB")), blobs()),
        "raw table": lambda: (_raw(Retrain(_sgd())), persons()),
    },
    "rewind": {
        "network": lambda: (Rewind(_sgd()), blobs()),
        "adam": lambda: (Rewind(_sgd(optimiser="adam", learning_rate=0.01)), blobs()),
        "everything": lambda: (Rewind(_sgd(), rewind=1.0), blobs()),
        "convex": lambda: (Rewind(Convex()), blobs()),
        "raw table": lambda: (_raw(Rewind(_sgd())), persons()),
    },
    "sekhari": {
        "measured": lambda: (Sekhari(l2=0.1, noise_std=0.5), blobs()),
        "huber": lambda: (Sekhari(loss="huber", l2=0.5, noise_std=0.5), line()),
        "published softmax": lambda: (_published(l2=4.0), unit()),
        "published logistic": lambda: (_published(loss="logistic", l2=3.0, noise_std=0.5), unit(2)),
        "published squared": lambda: (_published(loss="squared", l2=1e-2, noise_std=0.05, row_norm=10.0), line()),
        "carried": lambda: (Sekhari(l2=1.0, noise_std=5.0, noise="carried"), blobs()),
    },
    "sisa": {
        "network": lambda: (Sisa(_sgd(), shards=3, slices=2), blobs()),
        "adam": lambda: (Sisa(_sgd(optimiser="adam", learning_rate=0.01), shards=2, slices=3), blobs()),
        "convex": lambda: (Sisa(Convex(), shards=4, slices=1), blobs()),
        "raw table": lambda: (_raw(Sisa(_sgd(), shards=2, slices=2)), persons()),
    },
}

MAY_LOSE_TO_DOING_NOTHING = {
    "certified_deep": "one damped Newton step does not bring a network that has not converged any nearer",
    "fine_tune": "it goes on training: rows learned by heart stay learned",
    "gradient_ascent": "it goes past what a model that never saw the rows would do",
}
