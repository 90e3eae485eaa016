"""The objective on real rows: every quantity against brute force, independence of batches, guards, devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from expunge.errors import InputError
from expunge.maths.losses import CrossEntropy
from expunge.models import Linear, Mlp, SmallConvNet
from expunge.objective import LinearObjective, ModuleObjective, Objective, loss_for, outputs
from expunge.rows import Rows

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
N, K, L2 = 9, 3, 0.05


class Attending(nn.Module):
    """Tokens and a mask to scores, through nn.MultiheadAttention."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, K)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, scale: float = 1.0) -> Tensor:
        h = self.embedding(input_ids)
        mask = attention_mask == 0
        h = self.norm(h + self.attention(h, h, h, key_padding_mask=mask, need_weights=False)[0])
        return self.head((h * ~mask[..., None]).sum(1)) * scale


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(2, 3, batch_first=True)
        self.head = nn.Linear(3, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


def tied() -> nn.Module:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), nn.Linear(4, K))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=5, dropout=0.3, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 1), nn.Flatten(), nn.Linear(12, K))


def normed() -> nn.Module:
    norm = nn.BatchNorm1d(4)
    norm.running_mean, norm.running_var = torch.arange(4.0), torch.arange(1.0, 5.0)
    return nn.Sequential(nn.Linear(4, 4), norm, nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, K))


def classes(generator: np.random.Generator, n: int = N) -> np.ndarray:
    return np.concatenate([np.arange(K), generator.integers(0, K, n - K)])


def dense_rows(*shape: int) -> Callable[[np.random.Generator], Rows]:
    return lambda g: Rows.of(g.normal(size=(N, *shape)), classes(g))


def token_rows(g: np.random.Generator) -> Rows:
    mask = np.ones((N, 3), dtype=bool)
    mask[::2, 2] = False
    return Rows.of({"input_ids": g.integers(0, 7, (N, 3)), "attention_mask": mask}, classes(g))


BUILDS: Mapping[str, tuple[Callable[[Rows], nn.Module], Callable[[np.random.Generator], Rows]]] = {
    "mlp": (lambda rows: Mlp((4,)).build(rows.schema), dense_rows(2)),
    "conv": (lambda rows: SmallConvNet((2,), "tanh").build(rows.schema), dense_rows(4, 4)),
    "attention": (lambda _: Attending(), token_rows),
    "encoder": (lambda _: encoder(), dense_rows(3, 4)),
    "batch norm": (lambda _: normed(), dense_rows(4)),
    "recurrent": (lambda _: Recurrent(), dense_rows(3, 2)),
    "tied": (lambda _: tied(), dense_rows(4)),
}


def inputs_of(rows: Rows, w: Tensor) -> dict[str, Tensor]:
    tensors = {name: torch.tensor(column) for name, column in rows.columns.items()}
    return {name: (t.to(w.dtype) if t.is_floating_point() else t).to(w.device) for name, t in tensors.items()}


def plain_loss(module: nn.Module, rows: Rows, w: Tensor) -> Callable[[Tensor], Tensor]:
    """The row losses (n,) as a function of w, written without the library's own derivatives."""
    module = module.to(w.device, w.dtype).eval()
    shapes = {name: p.shape for name, p in module.named_parameters()}
    inputs, y = list(inputs_of(rows, w).values()), torch.tensor(rows.y, device=w.device)
    if isinstance(module, Attending):
        inputs = [inputs_of(rows, w)[name] for name in ("input_ids", "attention_mask")]

    def losses(at: Tensor) -> Tensor:
        parts = torch.split(at, [s.numel() for s in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            s = torch.func.functional_call(module, named, tuple(inputs))
        return torch.nn.functional.cross_entropy(s, y, reduction="none")

    return losses


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", BUILDS)
def test_a_module_objective_equals_brute_force(name: str, device: str, generator: np.random.Generator) -> None:
    build, make = BUILDS[name]
    rows = make(generator)
    module = build(rows)
    objective = ModuleObjective(module, "cross_entropy", L2, micro_batch=4)
    w = objective.start(1).to(device)
    v = torch.tensor(generator.normal(size=objective.dimension), device=device)
    losses = plain_loss(module, rows, w)

    def F(at: Tensor) -> Tensor:
        return losses(at).mean() + L2 / 2 * (at @ at)

    gradient = torch.autograd.functional.jacobian(F, w)
    H = torch.autograd.functional.hessian(F, w)
    by_row = torch.autograd.functional.jacobian(losses, w)
    torch.testing.assert_close(objective.value(w, rows), F(w))
    torch.testing.assert_close(objective.gradient(w, rows), gradient)
    torch.testing.assert_close(objective.value_and_gradient(w, rows), (F(w), gradient))
    torch.testing.assert_close(objective.gradient_and_hessian(w, rows), (gradient, H))
    torch.testing.assert_close(objective.hessian(w, rows), H)
    torch.testing.assert_close(objective.hvp(w, rows)(v), H @ v)
    torch.testing.assert_close(objective.row_gradients(w, rows), by_row)
    torch.testing.assert_close(objective.row_products(w, rows, v), by_row @ v)
    torch.testing.assert_close(objective.gradient_sum(w, rows), by_row.sum(0))

    scores = objective.scores(w, rows.columns)
    assert scores.shape == (N, K)
    p = scores.softmax(1)
    C = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    pulled = [ModuleObjective(module, loss, 0, micro_batch=N).row_gradients(w, rows) for loss in picks()]
    J = torch.stack(pulled, dim=1)
    G = torch.einsum("mad,mab,mbe->de", J, C, J) / N + L2 * torch.eye(len(w), dtype=w.dtype, device=device)
    torch.testing.assert_close(objective.ggn(w, rows)(v), G @ v)


def picks() -> list[Callable[[Tensor, Tensor], Tensor]]:
    """Losses that are one score each: their row gradients are the Jacobian."""
    return [lambda s, _, k=k: s[:, k] for k in range(K)]


LINEAR = {
    "cross_entropy": (K, classes),
    "logistic": (1, lambda g: g.integers(0, 2, N)),
    "multilabel_logistic": (2, lambda g: g.integers(0, 2, (N, 2))),
    "squared": (2, lambda g: g.normal(size=(N, 2))),
    "huber": (1, lambda g: g.normal(size=N) * 3),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", LINEAR)
def test_closed_forms_equal_the_same_linear_module(
    loss: str, intercept: bool, dtype: torch.dtype, device: str, generator: np.random.Generator
) -> None:
    k, targets = LINEAR[loss]
    rows = Rows.of(generator.normal(size=(N, 2, 2)), targets(generator))
    linear = LinearObjective(loss, L2, 4, k, intercept=intercept)
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, k, bias=intercept))
    slow = ModuleObjective(module, loss, L2, micro_batch=4)
    assert linear.dimension == slow.dimension == k * (4 + intercept)
    w, v = torch.tensor(generator.normal(size=(2, linear.dimension)), dtype=dtype, device=device)

    def as_module(flat: Tensor) -> Tensor:
        """Weights then biases, where the linear objective keeps each intercept beside its weights."""
        return torch.cat([part.reshape(-1) for part in linear.coefficients(flat)][: 1 + intercept])

    P = torch.stack([as_module(e) for e in torch.eye(linear.dimension, dtype=dtype, device=device)])
    u, x = as_module(w), as_module(v)
    close = torch.testing.assert_close
    close(linear.value(w, rows), slow.value(u, rows))
    close(linear.gradient(w, rows), P @ slow.gradient(u, rows))
    value, gradient = linear.value_and_gradient(w, rows)
    close((value, P.T @ gradient), slow.value_and_gradient(u, rows))
    gradient, H = linear.gradient_and_hessian(w, rows)
    close((P.T @ gradient, P.T @ H @ P), slow.gradient_and_hessian(u, rows))
    close(linear.hessian(w, rows), H)
    some = torch.tensor([0, linear.dimension - 1, 3], device=device)
    close(linear.hessian_block(w, rows, some), H[some][:, some])
    close(linear.hvp(w, rows)(v), P @ slow.hvp(u, rows)(x))
    close(linear.ggn(w, rows)(v), P @ slow.ggn(u, rows)(x))
    close(linear.row_gradients(w, rows), slow.row_gradients(u, rows) @ P.T)
    close(linear.row_products(w, rows, v), slow.row_products(u, rows, x))
    close(linear.gradient_sum(w, rows), P @ slow.gradient_sum(u, rows))
    close(linear.scores(w, rows.columns), slow.scores(u, rows.columns))
    root = linear.hessian_root(w, rows)
    eye = torch.eye(linear.dimension, dtype=dtype, device=device)
    close(root @ root.T / N + L2 * eye, H, rtol=1e-4 if dtype == torch.float32 else 1e-7, atol=1e-6)
    assert gradient.dtype == H.dtype == dtype


@pytest.mark.parametrize("kind", ["linear", "module"])
def test_results_do_not_depend_on_how_rows_are_cut(kind: str, generator: np.random.Generator) -> None:
    rows = Rows.of(generator.normal(size=(N, 4)), classes(generator))
    cut = Rows([b.take(np.arange(len(b))[s]) for b in rows.blocks for s in (slice(0, 2), slice(2, None))], rows.schema)
    assert [len(block) for block in cut.blocks] == [2, 7]

    def objective(size: int) -> Objective:
        if kind == "linear":
            return LinearObjective("cross_entropy", L2, 4, K)
        return ModuleObjective(Mlp((3,)).build(rows.schema), "cross_entropy", L2, micro_batch=size)

    whole, w = objective(N), torch.tensor(generator.normal(size=objective(N).dimension))
    for size in (1, 4):
        parts = objective(size)
        for given in (rows, cut):
            torch.testing.assert_close(parts.value(w, given), whole.value(w, rows))
            torch.testing.assert_close(parts.gradient_and_hessian(w, given), whole.gradient_and_hessian(w, rows))
            torch.testing.assert_close(parts.hvp(w, given)(w), whole.hvp(w, rows)(w))
            torch.testing.assert_close(parts.ggn(w, given)(w), whole.ggn(w, rows)(w))
            torch.testing.assert_close(parts.row_gradients(w, given), whole.row_gradients(w, rows))
            torch.testing.assert_close(parts.row_products(w, given, w), whole.row_products(w, rows, w))


class Counting(nn.Module):
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, K)

    def forward(self, x: Tensor) -> Tensor:
        Counting.calls += 1
        return self.layer(x).tanh()


@pytest.mark.parametrize("product", ["hvp", "ggn"])
def test_graphs_are_kept_only_while_the_budget_lasts(product: str, generator: np.random.Generator) -> None:
    rows = Rows.of(generator.normal(size=(10, 4)), classes(generator, 10))
    results, again = [], []
    one = ModuleObjective(Counting(), "cross_entropy", L2, micro_batch=2)
    w = torch.tensor(generator.normal(size=one.dimension))
    size = size_of_a_graph(one, w, rows)
    for budget in (0, 3 * size, 5 * size):
        objective = ModuleObjective(one.module, "cross_entropy", L2, micro_batch=2, graph_budget=budget)
        apply = getattr(objective, product)(w, rows)
        Counting.calls = 0
        results.append(apply(w))
        again.append(Counting.calls)
    assert again == [5, 2, 0]
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], results[2])


def size_of_a_graph(objective: ModuleObjective, w: Tensor, rows: Rows) -> int:
    from expunge.maths.derivatives import graph_bytes

    columns = {"x": rows.columns["x"][:2]}
    size = graph_bytes(lambda at: objective._explained(at, objective._inputs(columns, at)), w)
    assert size > 0
    return size


def test_a_product_keeps_its_weights(generator: np.random.Generator) -> None:
    rows = dense_rows(4)(generator)
    for objective in (LinearObjective("cross_entropy", L2, 4, K), ModuleObjective(tied(), "cross_entropy", L2)):
        w = torch.tensor(generator.normal(size=objective.dimension))
        v = w.clone()
        product = objective.hvp(w, rows)
        before = product(v)
        w.zero_()
        torch.testing.assert_close(product(v), before)


def test_gauss_newton_is_the_hessian_of_linear_softmax(generator: np.random.Generator) -> None:
    rows = dense_rows(4)(generator)
    objective = ModuleObjective(Linear().build(rows.schema), "cross_entropy", L2)
    w, v = torch.tensor(generator.normal(size=(2, objective.dimension)))
    torch.testing.assert_close(objective.ggn(w, rows)(v), objective.hvp(w, rows)(v))


def test_strong_convexity_is_claimed_by_structure_only(generator: np.random.Generator) -> None:
    for loss in LINEAR:
        assert LinearObjective(loss, 0.1, 4, LINEAR[loss][0]).strong_convexity == 0.1
    assert LinearObjective("squared", 0.0, 4, 1).strong_convexity == 0.0
    assert LinearObjective(lambda s, y: (s[:, 0] - y) ** 2, 0.1, 4, 1).strong_convexity == 0.0
    assert ModuleObjective(nn.Linear(4, 1), "squared", 0.1).strong_convexity == 0.0
    rows = Rows.of(generator.normal(size=(N, 4)) * 0, classes(generator))
    H = LinearObjective("cross_entropy", 0.1, 4, K).hessian(torch.zeros(15, dtype=torch.float64), rows)
    assert torch.linalg.eigvalsh(H).min() == pytest.approx(0.1)


def test_huge_scores_give_finite_derivatives(generator: np.random.Generator) -> None:
    rows = Rows.of(generator.normal(size=(N, 4)) * 1e6, generator.integers(0, 2, N))
    for objective in (LinearObjective("logistic", L2, 4, 1), ModuleObjective(nn.Linear(4, 1), "logistic", L2)):
        w = torch.ones(5, dtype=torch.float64)
        assert torch.isfinite(objective.value(w, rows))
        gradient, H = objective.gradient_and_hessian(w, rows)
        assert torch.isfinite(gradient).all()
        torch.testing.assert_close(H, L2 * torch.eye(5, dtype=torch.float64))
        torch.testing.assert_close(objective.hvp(w, rows)(w), L2 * w)


def test_your_own_loss_is_a_function(generator: np.random.Generator) -> None:
    rows = Rows.of(generator.normal(size=(N, 4)), generator.normal(size=N))

    def half_squared(scores: Tensor, y: Tensor) -> Tensor:
        return (scores[:, 0] - y) ** 2 / 2

    w = torch.tensor(generator.normal(size=5))
    for make in (lambda loss: LinearObjective(loss, L2, 4, 1), lambda loss: ModuleObjective(nn.Linear(4, 1), loss, L2)):
        yours, ours = make(half_squared), make("squared")
        torch.testing.assert_close(yours.gradient_and_hessian(w, rows), ours.gradient_and_hessian(w, rows))
        torch.testing.assert_close(yours.ggn(w, rows)(w), ours.ggn(w, rows)(w))
        torch.testing.assert_close(yours.row_gradients(w, rows), ours.row_gradients(w, rows))


def test_integers_stay_integers_and_pixels_are_not_scaled(generator: np.random.Generator) -> None:
    pixels = generator.integers(0, 256, (N, 2, 2)).astype(np.uint8)
    y = classes(generator)
    linear = LinearObjective("cross_entropy", L2, 4, K)
    w = torch.tensor(generator.normal(size=15) * 1e-2)
    assert torch.equal(linear.gradient(w, Rows.of(pixels, y)), linear.gradient(w, Rows.of(pixels.astype(float), y)))
    ours = ModuleObjective(Linear().build(Rows.of(pixels, y).schema), "cross_entropy", L2)
    both = [ours.gradient(w, Rows.of(images, y)) for images in (pixels, pixels.astype(float))]
    assert torch.equal(*both)
    theirs = ModuleObjective(nn.Sequential(nn.Flatten(), nn.Linear(4, K)), "cross_entropy", L2)
    with pytest.raises(InputError, match=r"int64 \(9, 2, 2\).*Integers are handed over as they are"):
        theirs.value(w, Rows.of(pixels, y))


def test_read_only_and_reversed_arrays_are_read(generator: np.random.Generator) -> None:
    x, y = generator.normal(size=(N, 4)), classes(generator)
    objective, w = LinearObjective("cross_entropy", L2, 4, K), torch.tensor(generator.normal(size=15))
    frozen, reversed_, swapped = x.copy(), x[::-1].copy()[::-1], x.astype(">f8")
    frozen.flags.writeable = False
    for same in (frozen, reversed_, swapped):
        torch.testing.assert_close(objective.gradient(w, Rows.of(same, y)), objective.gradient(w, Rows.of(x, y)))


def test_the_user_s_module_is_left_as_it_was() -> None:
    module = normed().train()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    fast = torch.backends.mha.get_fastpath_enabled()
    objective = ModuleObjective(module, "cross_entropy", L2)
    rows = Rows.of(np.ones((N, 4)), classes(np.random.default_rng(0)))
    w = objective.start(0)
    assert torch.equal(objective.gradient(w, rows), objective.gradient(w, rows))
    objective.hvp(w, rows)(w)
    assert module.training
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_frozen_parameters_and_buffers_are_constants(generator: np.random.Generator) -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, K))
    module[0].requires_grad_(False)
    objective = ModuleObjective(module, "cross_entropy", L2)
    assert objective.dimension == 10 + 5 * K + K
    assert set(objective.weights(objective.start(0))) == {"1.weight", "1.bias", "2.weight", "2.bias"}
    rows = dense_rows(4)(generator)
    assert torch.isfinite(objective.hvp(objective.start(0), rows)(objective.start(1))).all()


def test_weights_are_named_and_flattened_without_loss() -> None:
    objective = ModuleObjective(Attending(), "cross_entropy", L2)
    w = objective.start(4)
    named = objective.weights(w)
    assert list(named) == [name for name, _ in Attending().named_parameters()]
    assert torch.equal(objective.flat(named), w)
    assert torch.equal(objective.start(4), w)
    assert not torch.equal(objective.start(5), w)
    with pytest.raises(InputError, match="head"):
        objective.flat({name: t for name, t in named.items() if not name.startswith("head")})


def test_a_linear_start_is_zero_and_its_coefficients_are_scikit_learn_s(generator: np.random.Generator) -> None:
    objective = LinearObjective("cross_entropy", L2, 4, K)
    assert torch.equal(objective.start(0), torch.zeros(15, dtype=torch.float64))
    w = torch.tensor(generator.normal(size=15))
    coefficients, intercepts = objective.coefficients(w)
    x = generator.normal(size=(N, 4))
    torch.testing.assert_close(objective.scores(w, {"x": x}), torch.tensor(x) @ coefficients.T + intercepts)


def test_outputs_are_predictions(generator: np.random.Generator) -> None:
    scores = torch.tensor(generator.normal(size=(N, 1)))
    assert outputs(scores, "logistic").shape == (N, 2)
    assert torch.equal(outputs(scores, "squared"), scores)
    assert loss_for("cross_entropy") == CrossEntropy()
    with pytest.raises(InputError, match=r"no loss 'hinge'.*cross_entropy"):
        loss_for("hinge")


def with_value(value: float, *, rows: int = N) -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(rows, 4))
    x[5, 2] = value
    return x


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["linear", "module"])
def test_nan_and_infinity_in_a_column_are_named(kind: str, at: float, value: float) -> None:
    rows = Rows.of(with_value(value), classes(np.random.default_rng(0)))
    make = {
        "linear": lambda: LinearObjective("cross_entropy", L2, 4, K),
        "module": lambda: ModuleObjective(nn.Linear(4, K), "cross_entropy", L2),
    }
    objective = make[kind]()
    w = torch.full((15,), at, dtype=torch.float64)
    calls: list[Callable[[], object]] = [
        lambda: objective.gradient(w, rows),
        lambda: objective.gradient_and_hessian(w, rows),
        lambda: objective.value_and_gradient(w, rows),
        lambda: objective.hvp(w, rows)(torch.ones_like(w)),
        lambda: objective.row_gradients(w, rows),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"Column 'x' holds NaN or infinity in 1 row\(s\), the first at 5"):
            call()


@pytest.mark.parametrize("kind", ["linear", "module"])
def test_bad_input_is_refused_with_the_remedy(kind: str, generator: np.random.Generator) -> None:
    x, y = generator.normal(size=(N, 4)), classes(generator)

    def objective(loss: str = "cross_entropy", l2: float = L2, k: int = K) -> Objective:
        return LinearObjective(loss, l2, 4, k) if kind == "linear" else ModuleObjective(nn.Linear(4, k), loss, l2)

    w = torch.ones(15, dtype=torch.float64)
    good = Rows.of(x, y)
    for rows, message in (
        (good.select(np.zeros(N, dtype=bool)), "no rows"),
        (Rows.of(x), "no target"),
        (Rows.of({"z": x}, y), r"reads column 'x'.*\['z'\]"),
        (Rows.of({"x": ["text"] * N}, y), "encode it first"),
        (Rows.of(x, y + 1, classes=4), "codes from 1 to 3"),
    ):
        with pytest.raises(InputError, match=message):
            objective().gradient(w, rows)
    with pytest.raises(InputError, match="built for 4" if kind == "linear" else r"\(9, 3\)"):
        objective().value(w, Rows.of(x[:, :3], y))
    with pytest.raises(InputError, match=r"\(15,\) was expected"):
        objective().gradient(w[:3], good)
    with pytest.raises(InputError, match="reads one output"):
        objective("logistic").value(w, Rows.of(x, y % 2))
    for l2 in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="at least 0"):
            objective(l2=l2)
    assert torch.equal(objective().gradient_sum(w, good.select(np.zeros(N, dtype=bool))), torch.zeros_like(w))


def test_linear_weights_that_diverged_are_told_from_bad_columns(generator: np.random.Generator) -> None:
    rows = dense_rows(4)(generator)
    objective = LinearObjective("cross_entropy", L2, 4, K)
    w = torch.ones(15, dtype=torch.float64)
    w[3] = math.nan
    with pytest.raises(InputError, match="weights hold NaN"):
        objective.gradient(w, rows)
    huge = Rows.of(np.full((N, 4), 1e308), classes(generator))
    with pytest.raises(InputError, match="overflow"):
        objective.gradient(torch.ones(15, dtype=torch.float64), huge)


def test_modules_whose_rows_depend_on_each_other_are_refused() -> None:
    with pytest.raises(InputError, match=r"'1' normalises by the statistics of its batch"):
        ModuleObjective(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)), "squared", L2)
    with pytest.raises(InputError, match="lazy parameters"):
        ModuleObjective(nn.LazyLinear(3), "squared", L2)
    with pytest.raises(InputError, match="no trainable parameter"):
        ModuleObjective(nn.Tanh(), "squared", L2)
    with pytest.raises(InputError, match="micro_batch=0"):
        ModuleObjective(nn.Linear(4, 1), "squared", L2, micro_batch=0)
    with pytest.raises(InputError, match="at least one input"):
        LinearObjective("squared", L2, 0, 1)
    custom = LinearObjective(lambda s, y: s[:, 0] * y, L2, 4, 1)
    with pytest.raises(InputError, match="listed one"):
        custom.hessian_root(custom.start(0), Rows.of(np.ones((2, 4)), np.ones(2)))


def test_scores_of_a_wrong_shape_are_refused(generator: np.random.Generator) -> None:
    rows = dense_rows(3, 4)(generator)
    objective = ModuleObjective(nn.Linear(4, K), "cross_entropy", L2)
    with pytest.raises(InputError, match=r"gave \(9, 3, 3\)"):
        objective.value(objective.start(0), rows)


def test_columns_are_taken_by_the_names_of_the_forward_s_arguments(generator: np.random.Generator) -> None:
    rows = token_rows(generator)
    objective = ModuleObjective(Attending(), "cross_entropy", L2)
    w = objective.start(0)
    halved = Rows.of({**rows.columns, "scale": np.zeros((N, 1))}, rows.y)
    torch.testing.assert_close(objective.scores(w, halved.columns), torch.zeros((N, K), dtype=torch.float64))
    extra = {**rows.columns, "unused": np.zeros(N)}
    assert torch.equal(objective.scores(w, extra), objective.scores(w, rows.columns))
    with pytest.raises(InputError, match="reads column 'attention_mask'"):
        objective.scores(w, {"input_ids": rows.columns["input_ids"]})
    with pytest.raises(InputError, match="index out of range"):
        objective.scores(w, {**rows.columns, "input_ids": rows.columns["input_ids"] + 100})
