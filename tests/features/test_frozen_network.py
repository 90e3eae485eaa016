"""A frozen network as a feature: what it computes, what it owes to rows, and what a certificate on it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Basis, Certified, Exact, Uncertified, View
from expunge.errors import InputError, Refused, SchemaError
from expunge.features import FrozenNetwork, Pipeline
from expunge.features.frozen_network import BATCH
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.maths import privacy
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.retrain import Retrain
from expunge.models import Mlp, ModuleFile, SmallConvNet
from expunge.record import decode, digest, encode
from expunge.rows import Rows
from expunge.testing import check_method, noise_key

WEIGHTS = {
    "parts.0.weight": torch.tensor([[1.0, 0.0], [0.5, -1.0], [2.0, 1.0]]),
    "parts.0.bias": torch.tensor([0.0, 0.1, -0.2]),
    "parts.2.weight": torch.ones(4, 3),
    "parts.2.bias": torch.zeros(4),
}
GIVEN: dict[str, Any] = {"model": Mlp((3,)), "weights": WEIGHTS, "outputs": 4}
HEAD = CertifiedNewton(l2=1e-2, noise_std=0.05)


def some_rows(n: int = 60) -> Rows:
    generator = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = generator.normal(size=(n, 2)) + 2 * y[:, None]
    return Rows.of({"x": x}, y, ids=[f"row-{i}" for i in range(n)], classes=2)


def test_the_features_are_the_input_of_the_last_linear_layer() -> None:
    x = np.array([[0.3, -1.0], [2.0, 0.5]])
    feature = FrozenNetwork(**GIVEN)
    W, b = WEIGHTS["parts.0.weight"].double().numpy(), WEIGHTS["parts.0.bias"].double().numpy()
    made = feature.transform(feature.fit((), None, ""), {"x": x})
    np.testing.assert_allclose(made, np.tanh(x @ W.T + b), rtol=1e-12)
    assert made.dtype == np.float64
    scaled = FrozenNetwork(**GIVEN, scale=0.5, columns=("pixels",))
    np.testing.assert_array_equal(scaled.transform({}, {"pixels": 2 * x}), made)
    before = FrozenNetwork(**GIVEN, layer="parts.1")  # the activation's input
    np.testing.assert_allclose(before.transform({}, {"x": x}), x @ W.T + b, rtol=1e-12)


def test_the_features_of_a_trained_network_make_its_own_scores() -> None:
    rows, learner = some_rows(), Sgd(model=Mlp((5,)), epochs=3, precision="float64")
    training = learner.train(learner.start(rows.schema, 0, ("t",)), rows, seed=0, purpose=("t",))
    weights = learner.release(training).tensors
    feature = FrozenNetwork(Mlp((5,)), weights=weights, outputs=2)
    scores = torch.from_numpy(feature.transform({}, rows.columns)) @ weights["parts.2.weight"].T
    scores += weights["parts.2.bias"]
    expected = learner.predict(learner.release(training), rows.columns)
    torch.testing.assert_close(scores.log_softmax(1), expected)


@pytest.mark.parametrize(
    "model", [Mlp((7, 5)), Mlp((64,)), SmallConvNet((3, 4)), SmallConvNet((9,), activation="tanh")]
)
def test_a_row_becomes_the_same_whatever_is_beside_it(model: Any) -> None:
    x = np.random.default_rng(1).normal(size=(2 * BATCH + 5, 8, 8))
    feature = FrozenNetwork(model, origin="random", seed=3)
    whole = feature.transform({}, {"x": x})
    for chosen in (np.arange(len(x))[::-1], np.array([70]), np.arange(len(x)) != 4):
        np.testing.assert_array_equal(feature.transform({}, {"x": x[chosen]}), whole[chosen])
    assert feature.transform({}, {"x": x[:0]}).shape == (0, whole.shape[1])


def test_random_weights_are_a_function_of_the_seed() -> None:
    x = {"x": np.ones((3, 8, 8))}
    one, same, other = (FrozenNetwork(SmallConvNet((3,)), origin="random", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.transform({}, x), same.transform({}, x))
    assert not np.array_equal(one.transform({}, x), other.transform({}, x))
    forms = [feature.fit((), None, "")["network"] for feature in (one, same, other, FrozenNetwork(**GIVEN))]
    assert forms[0] == forms[1]
    assert len(set(forms)) == 3


def test_a_network_of_several_columns() -> None:
    source = (
        "import torch\nclass Two(torch.nn.Module):\n"
        "    def __init__(self, schema):\n        super().__init__()\n        self.head = torch.nn.Linear(3, 1)\n"
        "    def forward(self, a, b):\n        return self.head(torch.cat([2 * a, b.double()], 1))\n"
    )
    feature = FrozenNetwork(ModuleFile("two.py", source, "Two"), columns=("b", "a"), origin="random")
    columns = {"a": np.array([[1.0, 2.0]]), "b": np.array([[3]])}
    np.testing.assert_array_equal(feature.transform({}, columns), [[2.0, 4.0, 3.0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**GIVEN, "origin": "mine"}, "origin is one of"),
        ({**GIVEN, "origin": "random"}, "Weights are given where"),
        ({"model": Mlp((3,))}, "Weights are given where"),
        ({**GIVEN, "outputs": 0}, "both are positive"),
        ({**GIVEN, "scale": 0.0}, "both are positive"),
        ({**GIVEN, "columns": ()}, "tuple of different column names"),
        ({**GIVEN, "origin": "private"}, "mu > 0 and max_forgotten >= 1"),
        ({**GIVEN, "origin": "private", "mu": 0.1}, "mu > 0 and max_forgotten >= 1"),
        ({**GIVEN, "mu": 0.1}, "belong to origin='private'"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FrozenNetwork(**settings)


@pytest.mark.parametrize(
    ("settings", "x", "message"),
    [
        ({**GIVEN, "outputs": 3}, np.ones((2, 2)), "not those of Mlp"),
        (GIVEN, np.ones((2, 5)), "not those of Mlp"),
        ({**GIVEN, "layer": "parts.9"}, np.ones((2, 2)), "no layer 'parts.9'"),
        (GIVEN, np.array([[1.0, np.nan]]), "NaN or infinity"),
        (GIVEN, np.array(["a", "b"], dtype=np.dtypes.StringDType()), "holds text"),
    ],
)
def test_rows_or_weights_that_do_not_fit(settings: dict[str, Any], x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FrozenNetwork(**settings).transform({}, {"x": x})


def test_an_absent_column_is_named() -> None:
    with pytest.raises(SchemaError, match="'x' is absent"):
        FrozenNetwork(**GIVEN).transform({}, {"z": np.ones((1, 2))})


def test_the_settings_survive_storage() -> None:
    tree, tensors = encode(FrozenNetwork(**GIVEN))
    again = decode(tree, tensors)
    assert digest(again) == digest(FrozenNetwork(**GIVEN))
    np.testing.assert_array_equal(
        again.transform({}, {"x": np.ones((1, 2))}), FrozenNetwork(**GIVEN).transform({}, {"x": np.ones((1, 2))})
    )


@pytest.mark.parametrize("origin", ["public", "random"])
def test_a_head_on_a_network_that_owes_nothing_is_certified_as_without_it(origin: str) -> None:
    given = {} if origin == "random" else {"weights": WEIGHTS}
    feature = FrozenNetwork(Mlp((3,)), origin=origin, outputs=4, **given)  # type: ignore[arg-type]
    method = Pipeline((feature,), HEAD)
    report = check_method(method, some_rows(), ("row-3", "row-40"))
    assert report.gap < report.do_nothing_gap
    rows = some_rows()
    record = method.learn(rows, seed=0, noise=noise_key(1))
    assert record.gone == 0
    step = method.forget(record, rows.without(["row-3"]), rows.only(["row-3"]), noise=noise_key(2, 2))
    certificate = step.certificate
    assert isinstance(certificate, Certified)
    assert (certificate.basis, certificate.view, certificate.epsilon) == (Basis.MEASURED, View.STATE, 1.0)
    assert feature.assumptions()[0] in certificate.assumptions
    assert step.record.gone == 0


def test_an_exact_method_stays_exact_on_a_network_that_owes_nothing() -> None:
    method = Pipeline((FrozenNetwork(Mlp((3,)), origin="random"),), Retrain(Convex()))
    check_method(method, some_rows(), ("row-3", "row-40"))


def test_a_private_network_costs_mu_for_each_row_and_is_covered_up_to_a_number_of_them() -> None:
    rows, feature = some_rows(), FrozenNetwork(**GIVEN, origin="private", mu=0.05, max_forgotten=3)
    method = Pipeline((feature,), HEAD)
    record = method.learn(rows, seed=0, noise=noise_key(1))
    inner = HEAD._budget().certificate(2, 8, ()).mu
    seen = []
    for release, ids in ((2, ["row-1", "row-2"]), (3, ["row-3"]), (4, ["row-4"])):
        left = rows.without(ids)
        step = method.forget(record, left, rows.only(ids), noise=noise_key(release, release))
        record, rows = method.settle(step.record, left), left
        seen.append(step.certificate)
    for certificate in seen[:2]:
        assert isinstance(certificate, Certified)
        assert certificate.mu == pytest.approx(np.hypot(inner, 0.15))
        whole = np.hypot(privacy.mu_of(1.0, 1e-5), 0.15)
        assert certificate.epsilon == pytest.approx(privacy.epsilon_of(float(whole), 1e-5))
        assert any("0.05-Gaussian differential privacy" in note for note in certificate.assumptions)
    assert isinstance(seen[2], Uncertified)  # the fourth row in all, though one of its own step
    assert record.gone == 4
    extended = method.extend(record, rows, some_rows(64).only(["row-62"]), noise=noise_key(5, 5))
    assert isinstance(extended.certificate, Uncertified)
    assert extended.record.gone == 4


def test_a_private_network_under_an_exact_method_is_uncertified_and_too_dear_a_one_refused() -> None:
    rows, feature = some_rows(), FrozenNetwork(**GIVEN, origin="private", mu=0.05, max_forgotten=3)
    method = Pipeline((feature,), Retrain(Convex()))
    record = method.learn(rows, seed=0, noise=noise_key(1))
    step = method.forget(record, rows.without(["row-1"]), rows.only(["row-1"]), noise=noise_key(2, 2))
    assert isinstance(step.certificate, Uncertified)
    assert not isinstance(step.certificate, Exact)
    dear = Pipeline((FrozenNetwork(**GIVEN, origin="private", mu=1.0, max_forgotten=30),), HEAD)
    with pytest.raises(Refused, match=r"features \(mu 30\)"):
        dear.learn(rows, seed=0, noise=noise_key(1))
