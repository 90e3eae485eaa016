"""Losses of scores: slopes and curvatures against autograd, stability at huge scores, guards on targets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.losses import CrossEntropy, Custom, Huber, Logistic, Loss, MultilabelLogistic, Squared


def quartic(scores: Tensor, y: Tensor) -> Tensor:
    return ((scores.sum(1) - y) ** 4) / 4 + scores.prod(1)


CASES: dict[str, tuple[Loss, int]] = {
    "cross_entropy": (CrossEntropy(), 4),
    "logistic": (Logistic(), 1),
    "multilabel_logistic": (MultilabelLogistic(), 3),
    "squared": (Squared(), 2),
    "huber": (Huber(0.7), 2),
    "custom": (Custom(quartic), 3),
}


def given(name: str, m: int = 7) -> tuple[Loss, Tensor, Tensor]:
    loss, k = CASES[name]
    g = torch.Generator().manual_seed(3)
    scores = torch.randn((m, k), generator=g, dtype=torch.float64) * 2
    raw = {
        "cross_entropy": torch.randint(0, k, (m,), generator=g),
        "logistic": torch.randint(0, 2, (m,), generator=g),
        "multilabel_logistic": torch.randint(0, 2, (m, k), generator=g),
        "squared": torch.randn((m, k), generator=g, dtype=torch.float64),
        "huber": torch.randn((m, k), generator=g, dtype=torch.float64),
        "custom": torch.randn(m, generator=g, dtype=torch.float64),
    }[name]
    return loss, scores, loss.targets(raw, k, torch.float64)


def full(loss: Loss, curvature: Tensor) -> Tensor:
    return torch.diag_embed(curvature) if loss.separable else curvature


@pytest.mark.parametrize("name", CASES)
def test_slopes_and_curvatures_equal_autograd(name: str) -> None:
    loss, scores, y = given(name)
    curvature = full(loss, loss.curvature(scores, y))
    direction = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for i in range(len(scores)):

        def one(s: Tensor, i: int = i) -> Tensor:
            return loss.values(s[None], y[i : i + 1])[0]

        torch.testing.assert_close(loss.slopes(scores, y)[i], torch.func.grad(one)(scores[i]))
        torch.testing.assert_close(curvature[i], torch.func.jacrev(torch.func.grad(one))(scores[i]))
    expected = torch.einsum("mij,mj->mi", curvature, direction)
    torch.testing.assert_close(loss.curve(scores, y, direction), expected)


def test_values_have_their_textbook_form() -> None:
    s = torch.tensor([[0.3], [-1.2]], dtype=torch.float64)
    y = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    expected = [-math.log(1 / (1 + math.exp(-0.3))), -math.log(1 - 1 / (1 + math.exp(1.2)))]
    torch.testing.assert_close(Logistic().values(s, y).tolist(), expected)
    r = torch.tensor([[3.0], [0.5]], dtype=torch.float64)
    zero = torch.zeros_like(r)
    assert Squared().values(r, zero).tolist() == [4.5, 0.125]
    assert Huber(1.0).values(r, zero).tolist() == [2.5, 0.125]
    two = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
    torch.testing.assert_close(CrossEntropy().values(two, torch.tensor([0])).item(), math.log(4.0))


def test_cross_entropy_of_two_outputs_is_logistic_of_their_difference() -> None:
    loss, scores, y = given("logistic")
    pair = torch.cat([torch.zeros_like(scores), scores], dim=1)
    torch.testing.assert_close(CrossEntropy().values(pair, y[:, 0].long()), loss.values(scores, y))
    torch.testing.assert_close(CrossEntropy().outputs(pair), loss.outputs(scores))


@pytest.mark.parametrize("name", [n for n in CASES if n != "custom"])
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_huge_scores_stay_finite_and_exact(name: str, size: float) -> None:
    loss, scores, y = given(name)
    huge = (scores * size).requires_grad_()
    values, slopes = loss.values(huge, y), loss.slopes(huge, y)
    assert torch.isfinite(values).all()
    assert torch.isfinite(loss.curvature(huge, y)).all()
    torch.testing.assert_close(torch.autograd.grad(values.sum(), huge, retain_graph=True)[0], slopes)
    assert torch.isfinite(torch.autograd.grad(slopes.sum(), huge)[0]).all()


def test_logistic_is_exact_where_softplus_is_rounded() -> None:
    s = torch.tensor([[25.0]], dtype=torch.float64)
    value = Logistic().values(s, torch.ones_like(s)).item()
    assert value == pytest.approx(math.log1p(math.exp(-25.0)), rel=1e-4)


def test_outputs_are_log_probabilities_or_values() -> None:
    _, scores, _ = given("cross_entropy")
    torch.testing.assert_close(CrossEntropy().outputs(scores).exp().sum(1), torch.ones(7, dtype=torch.float64))
    one = scores[:, :1]
    torch.testing.assert_close(Logistic().outputs(one).exp()[:, 1], one[:, 0].sigmoid())
    torch.testing.assert_close(Logistic().outputs(one).exp().sum(1), torch.ones(7, dtype=torch.float64))
    torch.testing.assert_close(MultilabelLogistic().outputs(scores).exp(), scores.sigmoid())
    assert torch.equal(Squared().outputs(scores), scores)
    assert torch.equal(Huber().outputs(scores), scores)


def test_targets_are_taken_as_codes_columns_or_booleans() -> None:
    f = torch.float64
    assert CrossEntropy().targets(torch.tensor([0.0, 2.0]), 3, f).tolist() == [0, 2]
    assert Logistic().targets(torch.tensor([True, False]), 1, f).tolist() == [[1.0], [0.0]]
    assert Squared().targets(torch.tensor([1, 2]), 1, f).shape == (2, 1)
    assert Custom(quartic).targets(torch.tensor([1, 2], dtype=torch.uint8), 1, f).dtype == torch.int64


@pytest.mark.parametrize(
    ("loss", "y", "outputs", "message"),
    [
        (CrossEntropy(), [0, 3], 3, "codes from 0 to 3"),
        (CrossEntropy(), [-1, 1], 3, "codes from -1 to 1"),
        (CrossEntropy(), [0.5, 1.0], 3, "not whole"),
        (CrossEntropy(), [math.nan, 1.0], 3, "NaN"),
        (CrossEntropy(), [[0, 1]], 3, "rows of shape"),
        (Logistic(), [0, 1], 2, "reads one output"),
        (Logistic(), [0, 2], 1, "only 0 and 1"),
        (Logistic(), [-1, 1], 1, "only 0 and 1"),
        (Logistic(), [0.0, math.nan], 1, "NaN"),
        (MultilabelLogistic(), [0, 1], 2, "must agree"),
        (Squared(), [0.0, math.inf], 1, "infinity"),
        (Squared(), [[0.0, 1.0]], 1, "must agree"),
        (Huber(), [0.0, math.nan], 1, "NaN"),
        (Custom(quartic), [0.0, math.nan], 1, "NaN"),
    ],
)
def test_unfit_targets_are_refused(loss: Loss, y: list[float], outputs: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loss.targets(torch.tensor(y), outputs, torch.float64)


def test_a_custom_loss_that_averages_is_refused() -> None:
    loss = Custom(lambda s, y: ((s[:, 0] - y) ** 2).mean())
    with pytest.raises(InputError, match="one value a row"):
        loss.values(torch.zeros((3, 1)), torch.zeros(3))


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.inf, math.nan])
def test_a_huber_threshold_is_positive(threshold: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        Huber(threshold)
