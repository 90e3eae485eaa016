"""Naive Bayes, ridge and discriminant analysis: what one deletion costs beside scikit-learn's refits, and what is left.

    python benchmarks/exact_classics.py cost       one deletion among 1,000 to 1,000,000 rows
    python benchmarks/exact_classics.py requests   thousands of requests, and rows of scale a million
    python benchmarks/exact_classics.py adult      (needs adult.npz)
    python benchmarks/exact_classics.py mnist      (needs mnist.npz)

CPU time on one thread, medians; a deletion is `forget` and `release`, and every retained row refuses to be read. The
files are read from ../shared/data, or from the folder in EXPUNGE_DATA. Without an argument: cost and requests.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn import linear_model
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, GaussianNB, MultinomialNB

from expunge import NoiseKey, Rows
from expunge.method import check_step
from expunge.methods import DiscriminantAnalysis, NaiveBayes, Ridge
from expunge.record import digest
from expunge.rows import Table

DATA = Path(os.environ.get("EXPUNGE_DATA", Path(__file__).parents[2] / "shared" / "data"))
KEY = NoiseKey(bytes(32), 1)
ONE, BATCH = 21, 100  # deletions timed one by one; rows of the batch whose effect is shown


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    made = work()
    return made, (time.process_time() - start) * 1e3


def median(work: Callable[[], Any], times: int) -> float:
    return statistics.median(timed(work)[1] for _ in range(times))


def unreadable(table: Table) -> Table:
    raise AssertionError(f"{len(table)} retained rows were read.")


def retained(rows: Rows, ids: list[int]) -> Rows:
    """The rows without these ids; they refuse to be read."""
    kept = rows.without(ids).map(unreadable, rows.schema, keep=False)
    assert len(kept.keys) == len(kept)
    return kept


def deletion(method: Any, record: Any, rows: Rows) -> float:
    """Milliseconds of one deletion, the median over single rows."""
    spent = []
    for row in np.random.default_rng(1).choice(len(rows), ONE, replace=False).tolist():
        kept, gone = retained(rows, [row]), rows.only([row])
        step, ms = timed(lambda kept=kept, gone=gone: method.forget(record, kept, gone, noise=KEY))
        assert step.stats == {"rows_visited": 1}
        spent.append(ms + timed(lambda step=step: method.release(step.record))[1])
    return statistics.median(spent)


def checked(method: Any, record: Any, rows: Rows, ids: list[int]) -> Any:
    """The record without these rows, which is, bit for bit, the one learned without them."""
    step = method.forget(record, retained(rows, ids), rows.only(ids), noise=KEY)
    clean = method.learn(rows.without(ids), seed=0, noise=KEY)
    assert digest(step.record) == digest(clean) != digest(record)
    return step.record


def cost() -> None:
    print(
        "one deletion, 50 float32 columns: milliseconds, and how many fit into one refit of scikit-learn's estimator;"
    )
    print("keys: of which holding the request against the retained rows' keys, the part that is linear in them")
    print("rows       method                 learn    deletion   keys    refit    refit/deletion  doing nothing")
    for n in (1_000, 10_000, 100_000, 1_000_000):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(n, 50)).astype(np.float32)
        x[7] *= 30  # an unusual row
        y = (x[:, 0] + rng.normal(size=n) > 0).astype(int)
        target = (x @ rng.normal(size=50) + rng.normal(size=n)).astype(np.float64)
        labelled, numbers, wide = Rows.of(x, y, classes=2), Rows.of(x, target), x.astype(np.float64)
        cases = (
            ("naive Bayes", NaiveBayes("gaussian"), labelled, GaussianNB(), y, "mean"),
            ("ridge", Ridge(), numbers, linear_model.Ridge(1e-3 * n, solver="cholesky"), target, "weights"),
            ("linear discriminant", DiscriminantAnalysis(), labelled, LinearDiscriminantAnalysis("lsqr"), y, "mean"),
        )
        for name, method, rows, estimator, goal, shown in cases:
            record, learning = timed(lambda method=method, rows=rows: method.learn(rows, seed=0, noise=KEY))
            one = deletion(method, record, rows)
            part, labels = wide[1:], goal[1:]
            refit = median(lambda e=estimator, a=part, b=labels: e.fit(a, b), 5 if n < 1_000_000 else 3)
            after = checked(method, record, rows, [7])
            kept, gone = retained(rows, [7]), rows.only([7])
            keys = median(lambda kept=kept, gone=gone: check_step(kept, gone), ONE)
            moved = method.release(record).tensors[shown] - method.release(after).tensors[shown]
            print(
                f"{n:<10,} {name:<22} {learning:>8,.0f} {one:>8.2f} {keys:>8.2f} {refit:>8,.1f}"
                f" {refit / one:>12.1f}            {float(moved.abs().max()):.1e}"
            )


def requests() -> None:
    """20,000 rows of 50 columns; thousands of single requests in random order; rows of scale 1e6."""
    rng = np.random.default_rng(0)
    n, p, singles = 20_000, 50, 2_500
    x = rng.normal(size=(n, p)).astype(np.float32)
    y = x @ rng.normal(size=p) + rng.normal(size=n)
    order = rng.permutation(n)
    for name, method, rows in (
        ("ridge", Ridge(), Rows.of(x, y)),
        ("naive Bayes", NaiveBayes("gaussian"), Rows.of(x, (y > 0).astype(int), classes=2)),
    ):
        record, kept = method.learn(rows, seed=0, noise=KEY), rows
        for row in order[:singles].tolist():
            gone, kept = kept.only([row]), kept.without([row])
            record = method.forget(record, kept, gone, noise=KEY).record
        rest = order[singles:18_000].tolist()
        record = method.forget(record, kept.without(rest), kept.only(rest), noise=KEY).record
        clean = method.learn(rows.without(order[:18_000].tolist()), seed=0, noise=KEY)
        assert digest(record) == digest(clean)
        print(f"{name}: {singles:,} single requests in random order, then {len(rest):,} rows at once: digest equal")
    print("relative error of ridge weights against a refit in float64, p = 50: 20 rows of scale 1e6 forgotten")
    x = x.astype(np.float64)
    x[:20] *= 1e6
    y = x @ rng.normal(size=p) + rng.normal(size=n)
    rows, method = Rows.of(x, y), Ridge(1e-3, penalise_intercept=True)
    record = method.learn(rows, seed=0, noise=KEY)
    after = method.release(checked(method, record, rows, list(range(20)))).tensors["weights"][0].numpy()
    z = np.concatenate([x, np.ones((n, 1))], axis=1)
    penalty = 1e-3 * (n - 20) * np.eye(p + 1)
    refit = np.linalg.solve(z[20:].T @ z[20:] + penalty, z[20:].T @ y[20:])
    gram, right = z.T @ z + penalty, z.T @ y
    inverse = np.linalg.inv(gram)
    for row, target in zip(z[:20], y[:20], strict=True):
        moved = inverse @ row
        inverse = inverse + np.outer(moved, moved) / (1 - row @ moved)
        gram, right = gram - np.outer(row, row), right - target * row
    untouched = method.release(record).tensors["weights"][0].numpy()
    answers = {
        "exact sums": after,
        "Gram matrix in float64": np.linalg.solve(gram, right),
        "Sherman-Morrison": inverse @ right,
        "doing nothing": untouched,
    }
    for name, weights in answers.items():
        print(f"  {name:<24} {np.linalg.norm(weights - refit) / np.linalg.norm(refit):.1e}")


def compared(name: str, method: Any, estimator: Any | None, x: Any, xt: Any, y: Any, yt: Any, **other: Any) -> None:
    """One line: accuracy beside scikit-learn's, costs, and how far the untouched model is after a batch of requests."""
    columns = other.get("columns", {"x": x})
    test = other.get("test", {"x": xt})
    classes = int(y.max()) + 1
    rows = Rows.of(columns, y, classes=classes)
    record, learning = timed(lambda: method.learn(rows, seed=0, noise=KEY))
    one = deletion(method, record, rows)
    gone = list(range(BATCH))
    release = method.release(checked(method, record, rows, gone))
    before, after = (method.predict(r, test).exp() for r in (method.release(record), release))
    accuracy = float((before.argmax(1).numpy() == yt).mean())
    nothing = float((before - after).abs().max())
    line = f"{name:<34} {accuracy:.4f}"
    if estimator is None:
        print(f"{line}        {learning:>8,.0f} {one:>9.2f}                          {nothing:.1e}")
        return
    times = [timed(lambda: estimator.fit(x, y))[1] for _ in range(3)]
    theirs = float((estimator.predict(xt) == yt).mean())
    estimator.fit(x[BATCH:], y[BATCH:])
    if isinstance(estimator, linear_model.RidgeClassifier):
        scores = estimator.decision_function(xt)  # targets -1 and 1: of one column where there are two classes
        both = np.stack([-scores, scores], 1) if scores.ndim == 1 else scores
        gap = np.abs((both + 1) / 2 - linear_scores(release, xt)).max()
    else:
        gap = np.abs(estimator.predict_proba(xt) - after.numpy()).max()
    refit = statistics.median(times)
    costs = f"{learning:>8,.0f} {one:>9.2f} {refit:>9,.1f} {refit / one:>8.1f}"
    print(f"{line} {theirs:.4f} {costs}    {gap:.1e}  {nothing:.1e}")


def linear_scores(release: Any, x: Any) -> Any:
    weights = release.tensors["weights"].numpy()
    return x @ weights[:, :-1].T + weights[:, -1]


HEAD = (
    "method                              accuracy        milliseconds                 refit/    after a batch of 100\n"
    "                                    ours  theirs     learn  deletion     refit deletion    to refit  doing nothing"
)


def adult() -> None:
    with np.load(DATA / "adult.npz", allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    levels = [data[f"cat_levels_{place}"] for place in range(len(data["cat_names"]))]
    numbers, codes, y, is_test = data["X_num"].astype(np.float64), data["X_cat"], data["y"].astype(int), data["is_test"]
    train, test = is_test == 0, is_test == 1
    one_hot = np.concatenate([np.eye(len(names))[codes[:, j]] for j, names in enumerate(levels)], axis=1)
    wide = np.concatenate([numbers, one_hot], axis=1)
    table: dict[str, Any] = {str(name): numbers[:, j] for j, name in enumerate(data["num_names"])}
    table |= {str(name): levels[j][codes[:, j]] for j, name in enumerate(data["cat_names"])}
    print(f"Adult: {train.sum():,} rows to learn from, {test.sum():,} to test on; 6 numbers, 8 texts, one-hot 108 wide")
    print(HEAD)
    split: dict[str, Any] = {"y": y[train], "yt": y[test]}

    def of(x: Any) -> dict[str, Any]:
        return {"x": x[train], "xt": x[test], **split}

    everything = {name: column[train] for name, column in table.items()}
    held_out = {name: column[test] for name, column in table.items()}
    texts = [str(name) for name in data["cat_names"]]
    declared = {name: tuple(map(str, levels[j])) for j, name in enumerate(texts)}
    compared("naive Bayes, mixed, raw table", NaiveBayes(), None, **of(wide), columns=everything, test=held_out)
    compared(
        "naive Bayes, categorical, 8 texts",
        NaiveBayes("categorical", levels=declared),
        CategoricalNB(min_categories=[len(names) for names in levels]),
        **of(codes),
        columns={name: everything[name] for name in texts},
        test={name: held_out[name] for name in texts},
    )
    compared("naive Bayes, Gaussian, 6 numbers", NaiveBayes("gaussian"), GaussianNB(), **of(numbers))
    compared("naive Bayes, Bernoulli, one-hot", NaiveBayes("bernoulli"), BernoulliNB(), **of(one_hot))
    alpha = 1e-3 * int(train.sum() - BATCH)
    compared("ridge, one-hot", Ridge(1e-3), linear_model.RidgeClassifier(alpha, solver="cholesky"), **of(wide))
    linear = LinearDiscriminantAnalysis("lsqr", shrinkage=0.01)
    scaled = (wide - wide[train].mean(0)) / np.maximum(wide[train].std(0), 1e-9)
    compared("linear discriminant, scaled", DiscriminantAnalysis(shrinkage=0.01), linear, **of(scaled))
    compared(
        "quadratic discriminant, 6 numbers",
        DiscriminantAnalysis("each"),
        QuadraticDiscriminantAnalysis(),
        **of(numbers),
    )


def mnist() -> None:
    with np.load(DATA / "mnist.npz", allow_pickle=False) as file:
        x, y, xt, yt = (file[name] for name in ("X_train", "y_train", "X_test", "y_test"))
    x, xt = x.reshape(len(x), -1), xt.reshape(len(xt), -1)
    wide: dict[str, Any] = {"x": x.astype(np.float64), "xt": xt.astype(np.float64), "y": y.astype(int), "yt": yt}
    small = {"columns": {"x": x}, "test": {"x": xt}}
    print(f"MNIST: {len(x):,} rows to learn from, {len(xt):,} to test on; 784 whole numbers")
    print(HEAD)
    compared("naive Bayes, multinomial", NaiveBayes("multinomial"), MultinomialNB(), **wide, **small)
    bernoulli = NaiveBayes("bernoulli", threshold=127)
    compared("naive Bayes, Bernoulli", bernoulli, BernoulliNB(binarize=127), **wide, **small)
    alpha = 100.0 * (len(x) - BATCH)
    ridge = linear_model.RidgeClassifier(alpha, solver="cholesky")
    compared("ridge, 784 columns", Ridge(100.0), ridge, **wide, **small)
    linear = LinearDiscriminantAnalysis("lsqr", shrinkage=0.1)
    compared("linear discriminant, 784 columns", DiscriminantAnalysis(shrinkage=0.1), linear, **wide, **small)


PARTS = {"cost": cost, "requests": requests, "adult": adult, "mnist": mnist}


def main() -> None:
    """Run the parts that were named."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or ("cost", "requests"):
        if name in ("adult", "mnist") and not (DATA / f"{name}.npz").is_file():
            print(f"{name}: {name}.npz is not in {DATA.name}; skipped")
            continue
        PARTS[name]()


if __name__ == "__main__":
    main()
