"""Several models' answers as one."""

from __future__ import annotations

import torch

from expunge.maths import aggregation

SCORES = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.3, 0.7]], [[0.6, 0.4], [0.45, 0.55]]]).double().log()


def test_majority_goes_with_the_votes_against_the_mean() -> None:
    scores = torch.tensor([[[0.99, 0.01]], [[0.4, 0.6]], [[0.4, 0.6]]]).double().log()
    assert aggregation.mixture(scores, torch.ones(3)).argmax(1).tolist() == [0]
    assert aggregation.majority(scores).argmax(1).tolist() == [1]


def test_majority_is_a_distribution_of_shares_of_votes() -> None:
    p = aggregation.majority(SCORES).exp()
    torch.testing.assert_close(p.sum(1), torch.ones(2).double())
    mean = SCORES.exp().mean(0)
    torch.testing.assert_close(p, (torch.tensor([[2.0, 1.0], [1.0, 2.0]]) + mean) / 4)


def test_ties_go_to_the_more_confident_side_in_any_order() -> None:
    scores = torch.tensor([[[0.3, 0.7]], [[0.8, 0.2]]]).double().log()
    assert aggregation.majority(scores).argmax(1).tolist() == [0]
    assert aggregation.majority(scores.flip(0)).argmax(1).tolist() == [0]


def test_confidence_cannot_overrule_a_lead_of_one_vote() -> None:
    scores = torch.tensor([[[1.0, 0.0]], [[0.49, 0.51]], [[0.49, 0.51]]]).double().clamp(min=1e-300).log()
    assert aggregation.majority(scores).argmax(1).tolist() == [1]


def test_no_votes_is_a_finite_log_probability() -> None:
    assert torch.isfinite(aggregation.majority(SCORES[:1])).all()


def test_weights_are_shares() -> None:
    weights = torch.tensor([1.0, 2.0, 5.0]).double()
    expected = (SCORES.exp() * (weights / 8)[:, None, None]).sum(0).log()
    torch.testing.assert_close(aggregation.mixture(SCORES, weights), expected)
    torch.testing.assert_close(aggregation.mean(SCORES, weights), (SCORES * (weights / 8)[:, None, None]).sum(0))
