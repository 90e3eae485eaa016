"""Weights without noise travel as bits, and come back as they were."""

from __future__ import annotations

import torch

from expunge.learners.public_weights import as_bits, from_bits


def test_weights_come_back_bit_for_bit_and_no_floating_number_travels() -> None:
    weights = {
        "a.weight": torch.tensor([[1.5, -0.0], [float("nan"), 3e-40]]),
        "b/odd name": torch.tensor(2.5, dtype=torch.float64),
        "steps": torch.tensor(3),
    }
    made = as_bits(weights)
    assert not any(part.is_floating_point() for part in made.values())
    back = from_bits({**made, "weights": torch.ones(2)})
    assert set(back) == set(weights)
    for name, part in weights.items():
        assert back[name].dtype == part.dtype
        assert torch.equal(torch.isnan(back[name]), torch.isnan(part))
        assert as_bits({name: back[name]}).keys() == as_bits({name: part}).keys()
        assert torch.equal(*(next(iter(as_bits({name: w}).values())) for w in (back[name], part)))
