"""L-FOCI: algorithm 1 written out, selectors, forms of the curvature, the guard, noise and certificates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from expunge import keyed
from expunge.certificate import Certified, Uncertified, View
from expunge.errors import InputError, MustRetrain, NotConverged
from expunge.learners.accuracy_guard import guarded
from expunge.learners.convex import Convex
from expunge.learners.sgd import Sgd
from expunge.maths.feature_ordering import foci
from expunge.methods.l_foci import PURPOSE, LFoci, LFociRecord
from expunge.models import Linear, Mlp
from expunge.objective.minimise import minimise
from expunge.objective.perturbation import Perturbation
from expunge.objective.selection import Selection, block_of
from expunge.objective.slice_block import BlockSolver, gauss_newton_block
from expunge.objective.slices import slices_of
from expunge.rows import Rows
from expunge.testing import noise_key

FEW = Perturbation(200)
KEY = noise_key(1)


def clouds(n: int = 60, classes: int = 3, p: int = 4) -> Rows:
    generator = np.random.default_rng(0)
    y = np.arange(n) % classes
    return Rows.of(generator.normal(size=(n, p)) + 2 * np.eye(classes, p)[y], y, classes=classes)


def fitted(learner: Sgd | Convex, rows: Rows) -> LFociRecord:
    """The model at its minimum."""
    record = LFoci(learner).learn(rows, seed=0, noise=KEY)
    objective = learner.objective(record.training)
    found = minimise(objective, rows, learner.flat(record.training), tol=1e-8, dense=False)
    return LFociRecord(learner.moved(record.training, found.x), len(rows), 0)


NETWORK = Sgd(Mlp((5,), activation="tanh"), l2=0.05, epochs=30, precision="float64")


@pytest.fixture(scope="module")
def rows() -> Rows:
    return clouds()


@pytest.fixture(scope="module")
def network(rows: Rows) -> LFociRecord:
    return fitted(NETWORK, rows)


def after(learner: Sgd | Convex, method: LFoci, record: LFociRecord, rows: Rows, ids: list[int]) -> Tensor:
    step = method.forget(record, rows.without(ids), rows.only(ids), noise=KEY)
    return learner.flat(step.record.training)


def far(rows: Rows, record: LFociRecord, learner: Sgd | Convex, w: Tensor, ids: list[int]) -> float:
    """The distance to the retrained model, as a share of doing nothing."""
    before = learner.flat(record.training)
    objective = learner.objective(record.training)
    target = minimise(objective, rows.without(ids), before, tol=1e-8, dense=False).x
    return float((w - target).norm() / (before - target).norm())


def test_algorithm_1_written_out(rows: Rows, network: LFociRecord) -> None:
    """One row: perturb, choose, the Hessian of (13) by automatic differentiation, the step of (14)."""
    m, row, l2 = 200, 7, NETWORK.l2
    x, y = torch.from_numpy(rows.columns["x"]), torch.from_numpy(rows.y)
    w = NETWORK.flat(network.training)
    shapes = [(5, 4), (5,), (3, 5), (3,)]

    def layers(at: Tensor) -> list[Tensor]:
        parts = at.split([int(np.prod(shape)) for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def loss(at: Tensor, some: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        W1, b1, W2, b2 = layers(at)
        a1 = some @ W1.T + b1
        a2 = torch.tanh(a1) @ W2.T + b2
        return nn.functional.cross_entropy(a2, given, reduction="none"), torch.cat([a1, a2], 1)

    def f(at: Tensor, some: Tensor, given: Tensor) -> Tensor:
        return (loss(at, some, given)[0] + l2 / 2 * at @ at).sum()

    seed = keyed.subseed(keyed.subseed(0, *PURPOSE), int(rows.only([row]).keys[0]))
    xi = np.random.default_rng(seed).standard_normal((m, 4), dtype=np.float32)  # one batch is at most 64 rows
    losses, activations = loss(w, x[row] + 0.1 * torch.from_numpy(xi).double(), y[row].repeat(m))
    chosen = foci(losses.numpy(), activations.numpy()).selected
    index = torch.arange(len(w))
    W1, b1, W2, b2 = layers(index)
    of_slice = [torch.cat([W1[j], b1[j : j + 1]]) for j in range(5)]
    of_slice += [torch.cat([W2[j], b2[j : j + 1]]) for j in range(3)]
    P = torch.cat([of_slice[j] for j in sorted(chosen)]).sort().values
    n, z = len(rows), (x[row : row + 1], y[row : row + 1])
    whole = torch.autograd.functional.hessian(lambda at: f(at, x, y) / n, w)[P][:, P]
    single = torch.autograd.functional.hessian(lambda at: f(at, *z), w)[P][:, P]
    H = (n * whole - single) / (n - 1)
    gradient = torch.autograd.functional.jacobian(lambda at: f(at, *z), w)
    expected = w.clone()
    expected[P] += torch.linalg.solve(H, gradient[P]) / (n - 1)

    method = LFoci(NETWORK, Selection(), Perturbation(m), BlockSolver("hessian", damping=0.0))
    found = after(NETWORK, method, network, rows, [row])
    assert 0 < len(chosen) < 8
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)
    untouched = torch.ones(len(w), dtype=torch.bool)
    untouched[P] = False
    assert torch.equal(found[untouched], w[untouched])


def test_all_slices_of_ridge_give_the_retrained_model() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(50, 3))
    rows = Rows.of(x, x @ [1.0, 2.0, 3.0] + 0.1 * generator.normal(size=50))
    learner = Convex(loss="squared", l2=0.05, tol=1e-10)
    record = fitted(learner, rows)
    for form in ("hessian", "gauss_newton"):
        method = LFoci(learner, Selection("all"), FEW, BlockSolver(form))
        for ids in ([3], [3, 4, 5, 9]):
            assert far(rows, record, learner, after(learner, method, record, rows, ids), ids) < 1e-6


def test_the_share_of_the_penalty_and_the_sum_over_rows_matter(rows: Rows) -> None:
    learner = Convex(l2=0.05)
    record = fitted(learner, rows)
    method = LFoci(learner, Selection("all"), FEW)
    for ids in ([0], [0, 1, 2]):
        assert far(rows, record, learner, after(learner, method, record, rows, ids), ids) < 0.05
    full = LFoci(learner, Selection("all"), FEW, gradient="full")
    torch.testing.assert_close(
        after(learner, full, record, rows, [0]), after(learner, method, record, rows, [0]), atol=1e-6, rtol=0
    )


def test_requests_one_by_one_come_as_near_as_together(rows: Rows) -> None:
    learner = Convex(l2=0.05)
    record = fitted(learner, rows)
    method, left, gone = LFoci(learner, Selection("all"), FEW), rows, [0, 1, 2]
    for row in gone:
        record = method.forget(record, left.without([row]), left.only([row]), noise=KEY).record
        left = left.without([row])
    assert record.size == len(left) == len(rows) - 3
    assert far(rows, fitted(learner, rows), learner, learner.flat(record.training), gone) < 0.05


def test_per_layer_reaches_layers_that_the_scores_crowd_out(rows: Rows, network: LFociRecord) -> None:
    objective, w = NETWORK.objective(network.training), NETWORK.flat(network.training)
    gradient = objective.gradient_sum(w, rows.only([5]))
    slices = slices_of(objective)
    counts = {}
    for selector in ("l_foci", "l_foci_per_layer", "cheapest", "gradient_norm", "random", "all"):
        method = LFoci(NETWORK, Selection(selector, count=4), FEW, BlockSolver(damping=0.0))
        step = method.forget(network, rows.without([5]), rows.only([5]), noise=KEY)
        counts[selector] = int(step.stats["slices"])
        changed = (NETWORK.flat(step.record.training) != w).sum()
        assert changed == step.stats["weights"]
        assert step.certificate == Uncertified(step.certificate.why)  # type: ignore[union-attr]
        again = method.forget(network, rows.without([5]), rows.only([5]), noise=KEY)
        assert torch.equal(NETWORK.flat(again.record.training), NETWORK.flat(step.record.training))
    assert counts["cheapest"] == 1
    assert counts["gradient_norm"] == counts["random"] == 4
    assert counts["all"] == len(slices) == 8
    assert counts["l_foci_per_layer"] >= 2
    top = LFoci(NETWORK, Selection("gradient_norm", count=1), FEW, BlockSolver("slice_diagonal"))
    moved = after(NETWORK, top, network, rows, [5]) != w
    largest = slices.norms(gradient + NETWORK.l2 * w).argmax()
    assert set(moved.nonzero()[:, 0].tolist()) == set(slices.of([int(largest)])[0].tolist())


def test_a_batch_changes_the_union_of_its_rows_blankets(rows: Rows, network: LFociRecord) -> None:
    w, method = NETWORK.flat(network.training), LFoci(NETWORK, Selection(), FEW)
    single = [after(NETWORK, method, network, rows, [row]) != w for row in (5, 11)]
    assert torch.equal(after(NETWORK, method, network, rows, [5, 11]) != w, single[0] | single[1])


def test_more_of_the_curvature_comes_nearer(rows: Rows, network: LFociRecord) -> None:
    def share(selector: str, form: str = "hessian") -> float:
        method = LFoci(NETWORK, Selection(selector), FEW, BlockSolver(form, damping=0.0))
        found = [far(rows, network, NETWORK, after(NETWORK, method, network, rows, [row]), [row]) for row in (1, 5, 9)]
        return float(np.median(found))

    assert share("all") < 0.2
    assert share("all") < share("l_foci_per_layer") < 1
    assert share("all") < share("all", "gauss_newton") < 1


def test_more_steps_come_nearer_and_the_first_is_the_same(rows: Rows, network: LFociRecord) -> None:
    solver = BlockSolver("hessian", damping=0.0)
    shares = []
    for steps in (1, 2, 3):
        method = LFoci(NETWORK, Selection("all"), FEW, solver, steps=steps)
        shares.append(far(rows, network, NETWORK, after(NETWORK, method, network, rows, [1]), [1]))
    assert shares[2] < 0.1 * shares[0]
    assert shares[1] < shares[0]
    once, full = (LFoci(NETWORK, Selection("all"), FEW, solver, gradient=kind) for kind in ("removed", "full"))
    torch.testing.assert_close(
        after(NETWORK, once, network, rows, [1]), after(NETWORK, full, network, rows, [1]), atol=1e-5, rtol=0
    )


def test_products_and_matrices_give_one_step(rows: Rows, network: LFociRecord) -> None:
    for form in ("gauss_newton", "hessian"):
        dense, products = (
            LFoci(NETWORK, Selection("all"), FEW, BlockSolver(form, damping=0.1, dense_limit=limit, cg_tol=1e-10))
            for limit in (1000, 0)
        )
        torch.testing.assert_close(
            after(NETWORK, dense, network, rows, [5]), after(NETWORK, products, network, rows, [5]), atol=1e-8, rtol=0
        )


def test_the_gram_matrix_is_the_block_of_the_gauss_newton_matrix(rows: Rows, network: LFociRecord) -> None:
    objective, w = NETWORK.objective(network.training), NETWORK.flat(network.training)
    product = objective.ggn(w, rows)
    whole = torch.stack([product(e) for e in torch.eye(len(w), dtype=w.dtype)])
    P = torch.tensor([0, 3, 11, 30])
    torch.testing.assert_close(gauss_newton_block(objective, w, rows, [P])[0], whole[P][:, P])
    learner = Convex(l2=0.1)
    linear = fitted(learner, rows)
    closed = learner.objective(linear.training)
    at = learner.flat(linear.training)
    torch.testing.assert_close(
        gauss_newton_block(closed, at, rows, [P % 15])[0], closed.hessian(at, rows)[P % 15][:, P % 15]
    )


def test_the_secant_form_is_equation_13_with_rank_one_terms(rows: Rows, network: LFociRecord) -> None:
    objective, w, row = NETWORK.objective(network.training), NETWORK.flat(network.training), 5
    method = LFoci(NETWORK, Selection("all"), FEW, BlockSolver("secant", damping=0.2))
    found = after(NETWORK, method, network, rows, [row])
    n, gone = len(rows), rows.only([row])
    g = (objective.gradient_sum(w, gone) + objective.l2 * w) / (n - 1)
    s = g / g.norm() * 1e-4 * max(1.0, float(w.norm()))
    change = [objective.gradient_sum(w + s, part) - objective.gradient_sum(w, part) for part in (rows, gone)]
    terms = [torch.outer(each, each) / (each @ s) if each @ s > 0 else 0 * torch.outer(each, each) for each in change]
    values, vectors = torch.linalg.eigh((terms[0] - terms[1]) / (n - 1))
    H = vectors @ torch.diag(values.clamp(min=0)) @ vectors.T + (objective.l2 + 0.2) * torch.eye(len(w)).double()
    torch.testing.assert_close(found - w, torch.linalg.solve(H, g), atol=1e-7, rtol=0)
    assert float((found - w) @ g) > 0


def test_a_sample_of_the_curvature_and_an_indefinite_hessian(rows: Rows) -> None:
    early = Sgd(Mlp((5,)), epochs=1, precision="float64", l2=0.0)
    record = LFoci(early).learn(rows, seed=0, noise=KEY)
    bare = LFoci(early, Selection("all"), FEW, BlockSolver("hessian", damping=0.0))
    assert bare.forget(record, rows.without([5]), rows.only([5]), noise=KEY).stats["shift"] > 0
    products = LFoci(early, Selection("all"), FEW, BlockSolver("hessian", damping=0.0, dense_limit=0))
    with pytest.raises(NotConverged, match="positive definite"):
        after(early, products, record, rows, [5])
    sampled = LFoci(early, Selection("all"), FEW, curvature_rows=10)
    whole = LFoci(early, Selection("all"), FEW)
    assert not torch.equal(after(early, sampled, record, rows, [5]), after(early, whole, record, rows, [5]))


def test_a_step_that_costs_too_much_accuracy_is_refused(rows: Rows, network: LFociRecord) -> None:
    wild = BlockSolver("secant", damping=0.0)
    learner = Sgd(Mlp((5,), activation="tanh"), l2=1e-7, epochs=30, precision="float64")
    careful = LFoci(learner, Selection("gradient_norm", count=8), FEW, wild)
    assert careful.max_accuracy_drop == 0.05
    record = LFociRecord(network.training, len(rows), 0)
    unguarded = LFoci(learner, Selection("gradient_norm", count=8), FEW, wild, max_accuracy_drop=1.0)
    assert not torch.equal(after(learner, unguarded, record, rows, [5]), learner.flat(record.training))
    with pytest.raises(MustRetrain, match="rows are not forgotten"):
        after(learner, careful, record, rows, [5])
    mild = LFoci(NETWORK, Selection(), FEW, max_accuracy_drop=0.05)
    step = mild.forget(network, rows.without([5]), rows.only([5]), noise=KEY)
    assert step.stats["accuracy"] >= step.stats["accuracy_before"] - 0.05


def test_weights_that_overflow_are_refused_even_without_a_guard(rows: Rows) -> None:
    learner = Sgd(Mlp((5,)), epochs=1)  # float32
    before = LFoci(learner).learn(rows, seed=0, noise=KEY).training
    after = learner.moved(before, learner.flat(before) * 1e39)
    for most in (0.05, 1.0):
        with pytest.raises(MustRetrain, match="overflows the model's weights"):
            guarded(learner, before, after, rows, most)
    assert guarded(learner, before, before, rows, 1.0) == {}


def test_a_loss_that_depends_on_no_slice_is_an_explicit_failure(rows: Rows) -> None:
    method = LFoci(Sgd(Linear()), Selection(), FEW)
    zero = {"parts.1.weight": torch.zeros(3, 4), "parts.1.bias": torch.zeros(3)}
    names = method.learner.start(rows.schema, 0, ("x",))
    weights = dict(zip(method.learner.release(names).tensors, zero.values(), strict=True))
    record = method.adopt(weights, rows, seed=0, noise=KEY)
    with pytest.raises(MustRetrain, match="depends on no slice"):
        method.forget(record, rows.without([5]), rows.only([5]), noise=KEY)


def test_noise_is_on_every_coordinate(rows: Rows) -> None:
    method = LFoci(NETWORK, Selection("cheapest"), FEW, noise_std=0.01)
    record = method.learn(rows, seed=0, noise=noise_key(1, 1))
    step = method.forget(record, rows.without([5]), rows.only([5]), noise=noise_key(2, 2))
    assert step.record.released is not None
    noise = NETWORK.flat(step.record.released) - NETWORK.flat(step.record.training)
    assert (noise != 0).all()
    assert float(noise.std()) == pytest.approx(0.01, rel=0.3)
    released = torch.cat([part.flatten() for part in method.release(step.record).tensors.values()])
    assert torch.equal(released, NETWORK.flat(step.record.released))
    with pytest.raises(InputError, match="one after 2 is needed"):
        method.forget(step.record, rows.without([5, 6]), rows.only([6]), noise=noise_key(2, 2))


CERTIFIED: dict[str, Any] = {"gradient": "full", "noise_std": 0.5, "epsilon": 1.0}


def test_a_linear_model_is_certified_by_its_measured_residual_or_learned_again(rows: Rows) -> None:
    learner = Convex(l2=0.1)
    method = LFoci(learner, Selection("all"), FEW, **CERTIFIED)
    record = method.learn(rows, seed=0, noise=noise_key(1, 1))
    step = method.forget(record, rows.without([5]), rows.only([5]), noise=noise_key(2, 2))
    assert isinstance(step.certificate, Certified)
    assert step.certificate.view is View.TRANSCRIPT
    objective, w = learner.objective(step.record.training), learner.flat(step.record.training)
    gradient = objective.gradient(w, rows.without([5])).norm()
    assert gradient <= step.stats["residual"] <= gradient + 1e-9
    target = minimise(objective, rows.without([5]), w, tol=1e-12, dense=True).x
    assert (w - target).norm() <= step.stats["bound"] == pytest.approx(step.stats["residual"] / 0.1)
    assert step.stats["bound"] <= step.certificate.distance / 2
    block = LFoci(learner, Selection("cheapest"), FEW, **{**CERTIFIED, "noise_std": 1e-3})
    with pytest.raises(MustRetrain, match="learn again"):
        block.forget(
            block.learn(rows, seed=0, noise=noise_key(1, 1)), rows.without([5]), rows.only([5]), noise=noise_key(2)
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient": "none"}, "gradient='none'"),
        ({"curvature_rows": -1}, "curvature_rows=-1"),
        ({"guard_rows": 0}, "guard_rows=0"),
        ({"steps": 0}, "steps=0"),
        ({"rounds": 0}, "rounds=0"),
        ({"noise_std": -1.0}, "noise_std=-1.0"),
        ({"max_accuracy_drop": 0.0}, "max_accuracy_drop=0.0"),
        ({"epsilon": 1.0}, "noise"),
        ({"epsilon": 1.0, "noise_std": 0.1}, "only a Convex learner"),
    ],
)
def test_bad_settings_are_explained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LFoci(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Selection("best"), "no selector 'best'"),
        (lambda: Selection(stop="soon"), "no stop"),
        (lambda: Selection(ties="lowest"), "no ties"),
        (lambda: Selection(count=0), "count=0"),
        (lambda: BlockSolver("bfgs"), "no curvature 'bfgs'"),
        (lambda: BlockSolver(damping=-1.0), "damping=-1.0"),
    ],
)
def test_bad_parts_are_explained(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_slice_too_wide_for_a_matrix_is_refused(rows: Rows, network: LFociRecord) -> None:
    narrow = LFoci(NETWORK, Selection("all"), FEW, BlockSolver("slice_diagonal", dense_limit=2))
    with pytest.raises(InputError, match="take kronecker"):
        after(NETWORK, narrow, network, rows, [5])
    objective = NETWORK.objective(network.training)
    block = block_of(slices_of(objective), (0, 1))
    assert [len(part) for part in block.slices] == [5, 5]
    assert len(block.positions) == 10
