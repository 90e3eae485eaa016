"""What no certificate may be issued for: each case through the public API, over every method that can certify.

The methods are found, not listed: a new one that has an epsilon is held to the same refusals.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from typing import Any

import numpy as np
import pytest

from expunge import methods
from expunge.certificate import Certificate, Certified, Exact, Uncertified, View
from expunge.errors import InputError, MustRetrain, NotConverged, Refused
from expunge.features import Numeric, Pipeline
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.maths import privacy
from expunge.maths.floating_point import RELEASES
from expunge.method import Method
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.fine_tune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.models import Mlp
from expunge.rows import Rows
from expunge.testing import noise_key


def found() -> list[type[Method[Any]]]:
    """Every method class of the package, by file."""
    modules = [importlib.import_module(f"{methods.__name__}.{m.name}") for m in pkgutil.iter_modules(methods.__path__)]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]


def fields(method: type[Method[Any]]) -> set[str]:
    """The names of a method's settings."""
    return {field.name for field in dataclasses.fields(method)}  # type: ignore[arg-type]


METHODS = found()
CERTIFYING = [method for method in METHODS if "epsilon" in fields(method)]
LINEAR = [method for method in CERTIFYING if {"loss", "l2"} <= fields(method)]
REFUSALS = (InputError, Refused)
ASKED: dict[str, dict[str, Any]] = {"LFoci": {"learner": Convex(), "epsilon": 1.0, "noise_std": 0.1}}  # on request only


def some_rows(n: int = 60) -> Rows:
    generator = np.random.default_rng(2)
    y = np.arange(n) % 2
    x = generator.normal(size=(n, 3)) + y[:, None]
    return Rows.of(x / np.linalg.norm(x, axis=1, keepdims=True), y, classes=2)


def answer(method: Method[Any], rows: Rows, release: int) -> Certificate | None:
    """The certificate of forgetting one row when learning made that release; None where the method refuses."""
    try:
        record = method.learn(rows, seed=0, noise=noise_key(1, release))
        return method.forget(record, rows.without([3]), rows.only([3]), noise=noise_key(2, release + 1)).certificate
    except (Refused, MustRetrain, NotConverged):
        return None


def named(method: type[Method[Any]]) -> str:
    return method.__name__


def test_the_methods_are_found() -> None:
    assert {"CertifiedNewton", "DifferentialPrivacy"} <= {named(method) for method in LINEAR}
    assert {"Retrain", "Sisa", "FineTune", "GradientAscent"} <= {named(method) for method in METHODS}


@pytest.mark.parametrize("method", CERTIFYING, ids=named)
@pytest.mark.parametrize(
    "settings",
    [
        {"epsilon": 50.0},
        {"epsilon": 0.0},
        {"epsilon": -1.0},
        {"epsilon": math.nan},
        {"epsilon": 2.0, "max_epsilon": 1.0},
        {"delta": 0.0},
        {"delta": 1.0},
        {"delta": math.nan},
        {"noise_std": 0.0},
        {"noise_std": -0.1},
        {"noise_std": math.inf},
        {"noise_std": math.nan},
    ],
    ids=str,
)
def test_a_budget_that_means_nothing_is_refused(method: type[Method[Any]], settings: dict[str, float]) -> None:
    with pytest.raises(REFUSALS):
        method(**(ASKED.get(named(method), {}) | settings))


@pytest.mark.parametrize("method", CERTIFYING, ids=named)
def test_and_without_them_it_is_not(method: type[Method[Any]]) -> None:
    asked = ASKED.get(named(method), {})
    assert method(**asked) is not None


@pytest.mark.parametrize("method", LINEAR, ids=named)
@pytest.mark.parametrize("l2", [0.0, -1e-3, math.nan, math.inf])
def test_an_unpenalised_model_is_refused(method: type[Method[Any]], l2: float) -> None:
    with pytest.raises(REFUSALS):
        method(l2=l2)  # type: ignore[call-arg]


@pytest.mark.parametrize("method", LINEAR, ids=named)
@pytest.mark.parametrize("loss", ["hinge", "zero_one", "", "CrossEntropy"])
def test_a_loss_not_known_to_be_convex_is_refused(method: type[Method[Any]], loss: str) -> None:
    with pytest.raises(REFUSALS):
        method(loss=loss)  # type: ignore[call-arg]


@pytest.mark.parametrize("method", LINEAR, ids=named)
def test_noise_below_what_float64_can_vouch_for_is_no_certificate(method: type[Method[Any]]) -> None:
    rows = some_rows()
    faint = method(noise_std=1e-16, loss="logistic", l2=1e-2)  # type: ignore[call-arg]
    assert not isinstance(answer(faint, rows, 1), Certified)


@pytest.mark.parametrize("method", LINEAR, ids=named)
def test_a_release_past_those_paid_for_is_no_certificate(method: type[Method[Any]]) -> None:
    rows = some_rows()
    late = method(noise_std=5.0, loss="logistic", l2=0.1)  # type: ignore[call-arg]
    assert isinstance(answer(late, rows, 1), Certified)
    assert not isinstance(answer(late, rows, RELEASES + 1), Certified)


@pytest.mark.parametrize("method", LINEAR, ids=named)
def test_a_certificate_lies_on_the_exact_curve_and_names_its_grounds(method: type[Method[Any]]) -> None:
    """No classic formula: mu at delta means no more than the epsilon printed, for all the method's releases."""
    wide = method(noise_std=5.0, loss="logistic", l2=0.1)  # type: ignore[call-arg]
    promise = answer(wide, some_rows(), 1)
    assert isinstance(promise, Certified)
    assert privacy.epsilon_of(promise.mu, promise.delta) <= promise.epsilon * (1 + 1e-9)
    assert promise.distance <= promise.mu * promise.noise_std * (1 + 1e-9)
    assert promise.assumptions
    assert promise.reference


@pytest.mark.parametrize(
    "method",
    [
        FineTune(Sgd(Mlp((3,)), epochs=1)),
        FineTune(Convex()),
        GradientAscent(Sgd(Mlp((3,)), epochs=1), steps=1),
        GradientAscent(Convex(), steps=1, retain_weight=0.5),
    ],
    ids=["fine-tune", "fine-tune, convex", "ascent", "ascent, convex"],
)
def test_what_nothing_bounds_promises_nothing(method: Method[Any]) -> None:
    rows = some_rows()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    none = rows.select(np.zeros(len(rows), dtype=bool))
    for retained, gone in ((rows.without([3]), rows.only([3])), (rows, none)):
        certificate = method.forget(record, retained, gone, noise=noise_key(2, 2)).certificate
        assert isinstance(certificate, Uncertified)
        assert not isinstance(certificate, Certified | Exact)
        assert certificate.why.endswith(".")
        assert certificate.why.count(". ") == 0  # one plain sentence


def test_noised_statistics_count_towards_the_largest_epsilon() -> None:
    feature = Numeric(("x",), statistics="noised", bounds=((-1.0, 1.0),), mu=3.0)
    x = some_rows().columns["x"][:, 0].copy()
    rows = Rows.of({"x": x}, some_rows().y, classes=2)
    with pytest.raises(Refused, match="together spend"):
        Pipeline((feature,), CertifiedNewton(loss="logistic", noise_std=0.1, epsilon=9.0)).learn(
            rows, seed=0, noise=noise_key(1)
        )


def test_exact_statistics_hold_for_one_release_only() -> None:
    rows = Rows.of({"a": some_rows().columns["x"][:, 0].copy()}, some_rows().y, classes=2)
    method = Pipeline((Numeric(("a",)),), CertifiedNewton(loss="logistic", noise_std=0.1, l2=0.1))
    record = method.learn(rows, seed=0, noise=noise_key(1))
    promise = method.forget(record, rows.without([3]), rows.only([3]), noise=noise_key(2, 2)).certificate
    assert isinstance(promise, Certified)
    assert promise.view is View.ONE_RELEASE
