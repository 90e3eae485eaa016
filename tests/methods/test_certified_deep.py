"""One damped Newton step in a ball: what it does, what it counts, when it certifies, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from expunge.certificate import Basis, Certified, Uncertified, View
from expunge.errors import InputError, MustRetrain, NotConverged, Refused
from expunge.learners.sgd import Sgd
from expunge.maths.constrained_newton import into_ball
from expunge.methods.certified_deep import CertifiedDeep, CertifiedDeepRecord
from expunge.models import Linear, Mlp, ModuleFile
from expunge.objective.newton_step import by_conjugate_gradient, by_lissa
from expunge.rows import Block, Rows, Table
from expunge.testing import flat_weights, noise_key

FORGET = ("row-3", "row-4", "row-17", "row-40")


def clouds(n: int = 90, classes: int = 3, p: int = 4) -> Rows:
    generator = np.random.default_rng(3)
    y = np.arange(n) % classes
    x = generator.normal(size=(n, p)) + 1.5 * np.eye(classes, p)[y]
    return Rows.of({"x": x}, y, ids=[f"row-{i}" for i in range(n)], classes=classes)


def network(**settings: Any) -> Sgd:
    return Sgd(**({"model": Mlp((5,)), "epochs": 20, "batch_size": 16, "l2": 1e-3, "norm_bound": 20.0} | settings))


def convex(**settings: Any) -> Sgd:
    """A near-linear model for which the bound fits: full batches, a small ball, and l2 above M C."""
    return Sgd(
        **(
            {"model": Linear(), "loss": "logistic", "epochs": 40, "batch_size": 100, "learning_rate": 0.05}
            | {"momentum": 0.0, "l2": 10.0, "norm_bound": 0.1, "precision": "float64"}
            | settings
        )
    )


def fitting(**settings: Any) -> CertifiedDeep:
    return CertifiedDeep(
        **(
            {"learner": convex(), "damping": 0.0, "hessian_lipschitz": 12.0, "gradient_bound": 1e-3, "noise_std": 0.6}
            | settings
        )
    )


def stepped(method: CertifiedDeep, rows: Rows, ids: tuple[str, ...] = FORGET, release: int = 2) -> Any:
    record = method.learn(rows, seed=7, noise=noise_key(1))
    return method.forget(record, rows.without(ids), rows.only(ids), noise=noise_key(release, release))


def weights(method: CertifiedDeep, record: CertifiedDeepRecord) -> torch.Tensor:
    return method.learner.flat(record.training)


def test_the_step_is_the_damped_newton_step_on_the_retained_rows() -> None:
    """Dense: w - (H + damping I)^-1 grad, with l2 in both, from the last release."""
    rows, method = clouds(), CertifiedDeep(network(precision="float64"), damping=0.5, noise_std=1e-9, tol=1e-12)
    record = method.learn(rows, seed=7, noise=noise_key(1))
    retained = rows.without(FORGET)
    step = method.forget(record, retained, rows.only(FORGET), noise=noise_key(2, 2))
    objective, w = method.learner.objective(record.training), weights(method, record)
    gradient, H = objective.gradient_and_hessian(w, retained)
    expected = w - torch.linalg.solve(H + 0.5 * torch.eye(len(w), dtype=torch.float64), gradient)
    assert torch.allclose(weights(method, step.record), expected, atol=1e-7)
    assert float((expected - w).norm()) > 1e-3


def test_the_penalty_is_squared_its_curvature_along_the_weights_is_l2() -> None:
    """The published code's unsquared norm has none there: only then is the gradient of training zero where it ended."""
    rows, l2 = clouds(), 0.05
    objectives = [network(l2=value).objective(network(l2=value).start(rows.schema, 0, ())) for value in (l2, 0.0)]
    w = objectives[0].start(1) + 0.3
    along = [float(w @ objective.hvp(w, rows)(w) / (w @ w)) for objective in objectives]
    assert along[0] - along[1] == pytest.approx(l2, rel=1e-9)
    learner = network(l2=l2, epochs=300, batch_size=90, learning_rate=0.2, precision="float64")
    trained = learner.train(learner.start(rows.schema, 1, ()), rows, seed=1, purpose=())
    assert float(learner.objective(trained).gradient(learner.flat(trained), rows).norm()) < 1e-3
    assert l2 * float(learner.flat(trained).norm()) > 0.05  # what a step without the squared penalty would see


def spied(rows: Rows) -> tuple[Rows, set[str]]:
    """The same rows, and the ids that were read."""
    seen: set[str] = set()

    def spy(block: Block) -> Block:
        def read() -> Table:
            table = block.read()
            seen.update(str(i) for i in table.ids)
            return table

        return Block(block.keys, read)

    return Rows([spy(block) for block in rows.blocks], rows.schema), seen


@pytest.mark.parametrize("solver", ["cg", "lissa"])
def test_training_and_unlearning_use_the_same_rows(solver: Any) -> None:
    rows, method = clouds(), CertifiedDeep(network(), solver=solver, depth=20, runs=1)
    all_rows, trained_on = spied(rows)
    retained, used = spied(rows.without(FORGET))
    gone, looked_at = spied(rows.only(FORGET))
    record = method.learn(all_rows, seed=7, noise=noise_key(1))
    method.forget(record, retained, gone, noise=noise_key(2, 2))
    assert used == trained_on - set(FORGET)
    assert looked_at == set()


def test_conjugate_gradient_takes_a_handful_of_products() -> None:
    step = stepped(CertifiedDeep(network()), clouds())
    assert step.stats["products"] <= 10
    assert step.stats["residual"] <= 1e-3 * step.stats["gradient"]
    assert math.isnan(step.stats["least_eigenvalue"])  # no constant was asserted, and no eigenvalue computed


def test_a_useful_network_is_flagged_vacuous_with_both_numbers() -> None:
    """C = 20: with any M of a network, the bound exceeds what doing nothing is bounded by."""
    method = CertifiedDeep(network(epochs=5), hessian_lipschitz=50.0, gradient_bound=1.0)
    step = stepped(method, clouds())
    assert isinstance(step.certificate, Uncertified)
    assert "doing nothing is bounded by 40: vacuous." in step.certificate.why
    assert step.stats["bound"] > step.stats["doing_nothing_bound"] == pytest.approx(40.0, rel=1e-5)
    assert f"The bound is {step.stats['bound']:.3g}" in step.certificate.why


def test_without_asserted_constants_there_is_no_bound() -> None:
    why = stepped(CertifiedDeep(network(epochs=2)), clouds()).certificate.why
    assert why == "The bound is inf and doing nothing is bounded by 40: vacuous (no constant was asserted)."


def test_a_case_exists_where_it_certifies_and_the_truth_is_within_the_bound() -> None:
    """l2 = 10 above M C = 1.2 in a ball of 0.1: true, certified, and a model of very little use."""
    rows, method = clouds(classes=2), fitting()
    longest = (np.linalg.norm(np.c_[rows.columns["x"], np.ones(90)], axis=1) ** 3).max() / (6 * math.sqrt(3))
    assert longest < method.hessian_lipschitz  # sup |sigma''| ||(x, 1)||^3: here M is a theorem
    step = stepped(method, rows)
    promise = step.certificate
    assert isinstance(promise, Certified)
    assert (promise.basis, promise.view) == (Basis.ASSUMED, View.ONE_RELEASE)
    assert step.stats["bound"] <= promise.distance / 2
    assert step.stats["bound"] < step.stats["doing_nothing_bound"]
    assert not promise.doing_nothing_meets_it
    silent = fitting(noise_std=1e-9)
    after = weights(silent, stepped(silent, rows).record)
    retrained = weights(silent, silent.learn(rows.without(FORGET), seed=7, noise=noise_key(1)))
    assert float((after - retrained).norm()) <= step.stats["bound"]


def test_more_noise_is_asked_for_by_name_where_the_bound_does_not_fit() -> None:
    rows, method = clouds(classes=2), fitting(noise_std=0.01)
    why = stepped(method, rows).certificate.why
    assert "vacuous at noise_std=0.01, where it takes" in why
    needed = float(why.split("takes ")[1].rstrip("."))
    assert isinstance(stepped(fitting(noise_std=1.01 * needed), rows).certificate, Certified)
    assert isinstance(stepped(fitting(noise_std=0.98 * needed), rows).certificate, Uncertified)


def test_later_releases_ask_for_more() -> None:
    """The share of a release falls as 1/t: one noise carries the second release and not the fiftieth."""
    rows, method = clouds(classes=2), fitting()
    assert isinstance(stepped(method, rows, release=2).certificate, Certified)
    assert isinstance(stepped(method, rows, release=50).certificate, Uncertified)


def test_an_asserted_constant_that_two_points_refute_is_refused() -> None:
    with pytest.raises(Refused, match="hessian_lipschitz=1e-06 was asserted"):
        stepped(fitting(hessian_lipschitz=1e-6), clouds(classes=2))


def test_a_gradient_above_the_asserted_one_certifies_nothing() -> None:
    method = fitting(learner=convex(epochs=3))
    assert stepped(method, clouds(classes=2)).certificate == Uncertified(
        "Learning ended with a gradient above gradient_bound=0.001."
    )


def test_buffers_certify_nothing() -> None:
    """They are released without noise, and training may have put statistics of the forgotten rows into them."""
    source = (
        "import torch\nfrom torch import nn\n"
        "def build(schema):\n"
        "    module = nn.Linear(4, 1).double()\n"
        "    module.register_buffer('seen', torch.zeros(1).double())\n"
        "    return module\n"
    )
    method = fitting(learner=convex(model=ModuleFile("test.py", source, "build")))
    step = stepped(method, clouds(classes=2))
    assert isinstance(step.certificate, Uncertified)
    assert "buffers" in step.certificate.why


def test_noise_is_added_at_every_one_of_several_requests() -> None:
    """No seed enters: the same sequence under other keys, release by release; the published script added none."""
    rows, method = clouds(), CertifiedDeep(network(epochs=5, precision="float64"), noise_std=0.02)
    learned = method.learn(rows, seed=7, noise=noise_key(1))
    record, remaining = learned, rows
    for release, one in enumerate(FORGET, start=2):
        retained, gone = remaining.without([one]), remaining.only([one])
        steps = [method.forget(record, retained, gone, noise=noise_key(100 + k, release)) for k in range(12)]
        drawn = torch.stack([weights(method, step.record) for step in steps])
        spread = float(drawn.var(0).mean().sqrt()) / 0.02
        assert abs(spread - 1) < 6 / math.sqrt(2 * 11 * drawn.shape[1])
        record, remaining = steps[0].record, retained
    assert record.number == 5


def test_the_record_keeps_the_release_and_no_weights_without_noise() -> None:
    rows, method = clouds(), CertifiedDeep(network(), noise_std=0.01)
    record = method.learn(rows, seed=7, noise=noise_key(1))
    assert float(record.training.tensors["momentum"].abs().max()) == 0
    released = flat_weights(method.release(record))
    assert torch.equal(released, flat_weights(method.release(method.learn(rows, seed=7, noise=noise_key(1)))))
    other = method.learn(rows, seed=7, noise=noise_key(2))
    assert float((weights(method, other) - weights(method, record)).std()) == pytest.approx(0.01 * 2**0.5, rel=0.4)


def test_the_step_starts_and_ends_in_the_ball() -> None:
    rows, method = clouds(), CertifiedDeep(network(norm_bound=0.5), damping=1.0, noise_std=1e-9)
    assert float(weights(method, stepped(method, rows).record).norm()) <= 0.5 * (1 + 1e-6)
    free = network(norm_bound=50.0)
    weights_of = free.release(free.train(free.start(rows.schema, 1, ()), rows, seed=1, purpose=())).tensors
    adopted = method.adopt(weights_of, rows, seed=7, noise=noise_key(1))
    assert float(weights(method, adopted).norm()) == pytest.approx(0.5, rel=1e-6)


def test_damping_below_a_negative_curvature_is_an_error_that_names_it() -> None:
    method = CertifiedDeep(network(epochs=1, l2=0.0, learning_rate=0.5), damping=0.0)
    with pytest.raises(NotConverged, match=r"eigenvalue of -[0-9.e-]+ or less \(Lanczos\)"):
        stepped(method, clouds())


def test_a_solve_that_was_stopped_early_is_an_error() -> None:
    with pytest.raises(NotConverged, match="after 1 iterations"):
        stepped(CertifiedDeep(network(), max_iterations=1, tol=1e-9), clouds())


def test_lissa_agrees_with_conjugate_gradient_where_its_condition_holds() -> None:
    rows, learner = clouds(), network(precision="float64")
    w = learner.flat(learner.train(learner.start(rows.schema, 1, ()), rows, seed=1, purpose=()))
    objective = learner.objective(learner.start(rows.schema, 1, ()))
    exact = by_conjugate_gradient(objective, w, rows, damping=1.0, tol=1e-10, max_iterations=100, start=w)
    found = by_lissa(
        objective, w, rows, damping=1.0, scale=5.0, depth=60, runs=1, batch_size=90, seed=0, purpose=("test",)
    )
    assert found.expansions == 0
    assert torch.allclose(found.x, exact.x, atol=1e-4 * float(exact.x.norm()))
    sampled = by_lissa(
        objective, w, rows, damping=1.0, scale=8.0, depth=40, runs=4, batch_size=30, seed=0, purpose=("test",)
    )
    assert 0 < sampled.residual < 0.3 * sampled.gradient


def test_lissa_detects_that_it_diverges() -> None:
    method = CertifiedDeep(network(), solver="lissa", scale=0.55, depth=60, runs=1, batch_size=30)
    with pytest.raises(NotConverged, match="LiSSA diverges"):
        stepped(method, clouds())


def test_lissa_that_leaves_more_than_no_step_is_not_believed() -> None:
    method = CertifiedDeep(network(), solver="lissa", scale=0.55, depth=1, runs=1, batch_size=90)
    with pytest.raises(NotConverged, match="no step at all leaves"):
        stepped(method, clouds())


def test_the_batches_are_keyed_by_rows_and_the_step_by_its_number() -> None:
    rows, method = clouds(), CertifiedDeep(network(), solver="lissa", depth=10, runs=1, batch_size=16, noise_std=1e-9)
    turned = Rows.from_table(rows.table().take(np.arange(90)[::-1]), rows.schema.classes)
    one, other = (weights(method, stepped(method, given).record) for given in (rows, turned))
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"damping": -1.0}, "damping=-1.0"),
        ({"damping": math.nan}, "damping=nan"),
        ({"hessian_lipschitz": -1.0}, "hessian_lipschitz=-1.0"),
        ({"gradient_bound": math.nan}, "gradient_bound=nan"),
        ({"solver": "minres"}, "solver='minres'"),
        ({"scale": 0.0}, "scale=0.0"),
        ({"lanczos_steps": 0}, "lanczos_steps=0"),
        ({"noise_std": 0.0}, "noise_std is 0.0"),
        ({"epsilon": 50.0}, "max_epsilon=10.0"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CertifiedDeep(**settings)


def test_bad_steps_are_refused() -> None:
    rows, method = clouds(), CertifiedDeep(network(epochs=1))
    record = method.learn(rows, seed=7, noise=noise_key(1, 3))
    with pytest.raises(InputError, match="one after 3 is needed"):
        method.forget(record, rows.without(FORGET), rows.only(FORGET), noise=noise_key(2, 3))
    with pytest.raises(MustRetrain):
        method.forget(record, rows.select(np.zeros(90, dtype=bool)), rows, noise=noise_key(2, 4))
    with pytest.raises(InputError, match="learned from 90 rows"):
        method.forget(record, rows.without(FORGET), rows.only(FORGET[:1]), noise=noise_key(2, 4))
    none = method.forget(record, rows, rows.select(np.zeros(90, dtype=bool)), noise=noise_key(2, 4))
    assert none.record is record
    assert isinstance(none.certificate, Uncertified)
    assert into_ball(weights(method, record), 20.0).shape == weights(method, record).shape
