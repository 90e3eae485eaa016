"""What the contract is held against: for every method file, at least one method with rows it can learn.

`SUBJECTS` is one of four lists that must agree: files in methods/, the README's table, these keys, the docs' pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from expunge.features import Categorical, FrozenNetwork, Numeric, Pipeline
from expunge.learners.convex import Convex
from expunge.learners.descent import Descent
from expunge.learners.featured import Featured
from expunge.learners.learner import Learner
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.method import Method
from expunge.methods import (
    CertifiedDeep,
    CertifiedNewton,
    CertifiedRemoval,
    DareForest,
    DeepObliviate,
    DeltaGrad,
    DescentToDelete,
    DifferentialPrivacy,
    DiscriminantAnalysis,
    DistributedDescent,
    FineTune,
    Fisher,
    GradientAscent,
    Influence,
    KMeans,
    LFoci,
    MixedLinear,
    NaiveBayes,
    NearestNeighbours,
    NewtonShift,
    Retrain,
    Rewind,
    Ridge,
    Sekhari,
    Sisa,
    SupportVectorMachine,
)
from expunge.models import Linear, Mlp
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection
from expunge.objective.slice_block import BlockSolver
from expunge.rows import Rows

Subject = tuple[Method[Any], Rows]


def blobs(n: int = 90, classes: int = 3, p: int = 4, seed: int = 3) -> Rows:
    """Three overlapping clouds; ids are words that nothing else in a record could be."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = generator.normal(size=(n, p)) + 1.5 * np.eye(classes, p)[y]
    return Rows.of({"x": x}, y, ids=[f"row-{i}" for i in range(n)], classes=classes)


def clouds() -> Rows:
    """`blobs` without their target."""
    rows = blobs()
    return Rows.of(rows.columns, ids=[f"row-{i}" for i in range(len(rows))])


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


def words(n: int = 90) -> Rows:
    """A raw table without gaps in its numbers: a number, a text with missing values, whole numbers."""
    generator = np.random.default_rng(6)
    job = np.array(["nurse", "smith", "cook", ""])[generator.integers(0, 4, size=n)]
    columns = {"age": generator.normal(40, 10, size=n), "job": job, "rooms": generator.integers(0, 5, size=n)}
    return Rows.of(columns, np.arange(n) % 3, ids=[f"row-{i}" for i in range(n)], classes=3)


def counts(n: int = 90, p: int = 5) -> Rows:
    """How often words stand in texts of three classes."""
    generator = np.random.default_rng(7)
    y = np.arange(n) % 3
    x = generator.poisson(1 + 2 * np.eye(3, p)[y])
    return Rows.of({"x": x}, y, ids=[f"row-{i}" for i in range(n)], classes=3)


def _levels_only(rows: Rows) -> Rows:
    columns = {name: rows.columns[name] for name in ("job", "rooms")}
    return Rows.of(columns, rows.y, ids=rows.ids.tolist(), classes=3)


def _two_targets(rows: Rows) -> Rows:
    return Rows.of(rows.columns, np.stack([rows.y, rows.y**2], axis=1), ids=rows.ids.tolist())


def _newton(**settings: Any) -> CertifiedNewton:
    return CertifiedNewton(**({"l2": 1e-2, "noise_std": 0.05} | settings))


def _sgd(**settings: Any) -> Sgd:
    return Sgd(
        **({"model": Mlp((5,)), "epochs": 4, "batch_size": 16, "learning_rate": 0.1, "momentum": 0.9} | settings)
    )


def _one_persons(rows: Rows) -> Rows:
    """The rows that the contract forgets belong to one person, hence lie in one block."""
    own = {"row-3", "row-4", "row-17", "row-40"}
    ids = rows.ids.tolist()
    subjects = ["somebody" if name in own else f"of {name}" for name in ids]
    return Rows.of({"x": rows.columns["x"]}, rows.y, ids=ids, subjects=subjects, classes=rows.classes)


def _stitching(blocks: int = 24, **settings: Any) -> DeepObliviate:
    """Stops at the first block where it can."""
    return DeepObliviate(_sgd(**({"epochs": 2} | settings)), blocks=blocks, threshold=math.inf)


def _deep(**settings: Any) -> CertifiedDeep:
    return CertifiedDeep(**({"learner": _sgd(norm_bound=20.0)} | settings))


def _descent(**settings: Any) -> DescentToDelete:
    return DescentToDelete(**({"l2": 0.5, "noise_std": 0.5, "row_norm": 8.0, "radius": 5.0} | settings))


def _delta(**settings: Any) -> DeltaGrad:
    learner = {"epochs": 30, "precision": "float64", **settings.pop("learner", {})}
    return DeltaGrad(Descent(**learner), **settings)


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


def _l_foci(selector: str = "l_foci", form: str = "hessian", damping: float = 0.1, **settings: Any) -> LFoci:
    solver = BlockSolver(form, damping, dense_limit=settings.pop("dense_limit", 3000))
    return LFoci(
        **({"learner": _sgd()} | settings), selection=Selection(selector), perturbation=Perturbation(200), solver=solver
    )


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


def _by_itself(learner: Learner) -> Featured:
    return Featured((Numeric(("age",)), Categorical(("job",))), learner)


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
    "delta_grad": {
        "softmax": lambda: (_delta(), blobs()),
        "batches": lambda: (_delta(learner={"batches": 3, "epochs": 12}), blobs()),
        "logistic, float32": lambda: (_delta(learner={"loss": "logistic", "precision": "float32"}), blobs(classes=2)),
        "squared": lambda: (_delta(learner={"loss": "squared"}, target_error=0.01), line()),
        "every step exact": lambda: (_delta(learner={"epochs": 5, "batches": 3}, period=1), blobs()),
        "network": lambda: (_delta(learner={"model": Mlp((5,)), "epochs": 16}), blobs()),
        "measured": lambda: (_delta(learner={"l2": 1e-2}, certificate="measured", noise_std=0.05), blobs()),
        "assumed": lambda: (_delta(certificate="assumed", error_bound=1e-3, noise_std=0.5), blobs()),
        "raw table": lambda: (_raw(_delta()), persons()),
    },
    "deep_obliviate": {
        "too few blocks to stop": lambda: (DeepObliviate(_sgd(epochs=1), blocks=3), blobs()),
        "stitched": lambda: (_stitching(), _one_persons(blobs())),
        "stitched, adam": lambda: (_stitching(optimiser="adam", learning_rate=0.01), _one_persons(blobs())),
        "convex": lambda: (DeepObliviate(Convex(), blocks=2), blobs()),
        "raw table": lambda: (_raw(_stitching(blocks=30)), persons()),
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
    "discriminant_analysis": {
        "linear": lambda: (DiscriminantAnalysis(), blobs()),
        "quadratic": lambda: (DiscriminantAnalysis("each", shrinkage=0.1), blobs()),
        "raw table": lambda: (_raw(DiscriminantAnalysis()), persons()),
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
    "k_means": {
        "quantised": lambda: (KMeans(clusters=3, lattice=0.2), clouds()),
        "plain": lambda: (KMeans(clusters=4, lattice=None, gamma=0.0), clouds()),
        "divide and conquer": lambda: (KMeans(clusters=3, lattice=None, width=3), clouds()),
        "quantised leaves": lambda: (KMeans(clusters=3, lattice=0.05, width=2, depth=2), clouds()),
        "with a target": lambda: (KMeans(clusters=3, lattice=0.05), blobs()),
        "raw table": lambda: (_raw(KMeans(clusters=3, lattice=1e-3)), persons()),
    },
    "l_foci": {
        "network": lambda: (_l_foci(), blobs()),
        "per layer, with noise": lambda: (_l_foci("l_foci_per_layer", noise_std=1e-3), blobs()),
        "secant": lambda: (_l_foci("l_foci_per_layer", "secant", 0.5), blobs()),
        "kronecker": lambda: (_l_foci("gradient_norm", "kronecker"), blobs()),
        "block Jacobi": lambda: (_l_foci("all", "slice_diagonal", max_accuracy_drop=0.5), blobs()),
        "products": lambda: (_l_foci("random", "gauss_newton", dense_limit=0), blobs()),
        "rounds": lambda: (_l_foci("random", learner=Convex(), rounds=3), blobs()),
        "softmax": lambda: (_l_foci(learner=Convex()), blobs()),
        "squared": lambda: (_l_foci(learner=Convex(loss="squared")), line()),
        "certified": lambda: (
            _l_foci("all", learner=Convex(l2=0.1), gradient="full", noise_std=0.5, epsilon=1.0),
            blobs(),
        ),
        "raw table": lambda: (_raw(_l_foci("l_foci_per_layer", "gauss_newton", 0.5)), persons()),
    },
    "mixed_linear": {
        "network": lambda: (_mixed(), _marked(blobs())),
        "last layer": lambda: (_mixed(layers=("parts.2",), rank=5), _marked(blobs())),
        "squared": lambda: (_mixed(core=_sgd(loss="squared", learning_rate=0.02)), _marked(line())),
    },
    "naive_bayes": {
        "mixed": lambda: (NaiveBayes(), words()),
        "gaps": lambda: (NaiveBayes(), persons()),
        "gaussian": lambda: (NaiveBayes("gaussian"), blobs()),
        "multinomial": lambda: (NaiveBayes("multinomial", smoothing=0.5), counts()),
        "bernoulli": lambda: (NaiveBayes("bernoulli", prior="uniform"), blobs()),
        "categorical": lambda: (
            NaiveBayes("categorical", levels={"job": ("cook", "nurse", "smith", "none")}),
            _levels_only(words()),
        ),
        "raw table": lambda: (_raw(NaiveBayes()), persons()),
    },
    "nearest_neighbours": {
        "classes": lambda: (NearestNeighbours(), blobs()),
        "values, by distance": lambda: (NearestNeighbours(3, "manhattan", "distance"), line()),
        "small buckets": lambda: (NearestNeighbours(4, "cosine", bucket_rows=7), blobs()),
        "raw table": lambda: (_raw(NearestNeighbours()), persons()),
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
        "features of its learner": lambda: (Retrain(_by_itself(Convex())), persons()),
    },
    "rewind": {
        "network": lambda: (Rewind(_sgd()), blobs()),
        "adam": lambda: (Rewind(_sgd(optimiser="adam", learning_rate=0.01)), blobs()),
        "everything": lambda: (Rewind(_sgd(), rewind=1.0), blobs()),
        "convex": lambda: (Rewind(Convex()), blobs()),
        "raw table": lambda: (_raw(Rewind(_sgd())), persons()),
    },
    "ridge": {
        "regression": lambda: (Ridge(), line()),
        "classification": lambda: (Ridge(), blobs()),
        "two targets, intercept penalised": lambda: (
            Ridge(l2=0.1, penalise_intercept=True),
            _two_targets(line()),
        ),
        "least squares": lambda: (Ridge(l2=0.0), line()),
        "raw table": lambda: (_raw(Ridge(l2=0.0)), persons()),
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
        "features of each shard": lambda: (Sisa(_by_itself(_sgd()), shards=3, slices=2), persons()),
        "marked rows": lambda: (
            Sisa(Convex(), shards=3, slices=1, prone_column="core", prone_shards=1, least_rows=2),
            _marked(blobs()),
        ),
    },
    "support_vector_machine": {
        "rbf": lambda: (SupportVectorMachine(), blobs()),
        "linear": lambda: (SupportVectorMachine("linear", 0.5), blobs(classes=2)),
        "polynomial": lambda: (SupportVectorMachine("polynomial", degree=2, bucket_rows=16), blobs()),
        "weights at the bound": lambda: (SupportVectorMachine(cost=1e-3), blobs(classes=2)),
        "raw table": lambda: (_raw(SupportVectorMachine()), persons()),
    },
}

MAY_LOSE_TO_DOING_NOTHING = {
    "certified_deep": "one damped Newton step does not bring a network that has not converged any nearer",
    "fine_tune": "it goes on training: rows learned by heart stay learned",
    "gradient_ascent": "it goes past what a model that never saw the rows would do",
}
