"""A batch that was frozen keeps its members and its noise key, whatever happens before it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_methods import Noisy
from vault_rows import people

from expunge.audits.step import Step
from expunge.noise import NoiseKey
from expunge.vault import Vault


class PowerCut(Exception):
    """Stands for anything that ends a step between its computation and its commit."""


def test_a_resumed_batch_has_its_first_members_and_its_first_noise(folder: Path) -> None:
    seen: list[tuple[NoiseKey, list[str]]] = []

    def keep(step: Step) -> dict[str, Any]:
        assert step.noise is not None
        seen.append((step.noise, step.forgotten.ids.tolist()))
        return {"contradictions": []}

    def fail(step: Step) -> dict[str, Any]:
        keep(step)
        raise PowerCut

    with Vault.create(folder / "v", people(40), Noisy()) as vault:
        first = vault.request(ids=["person-00008-q"])
        with pytest.raises(PowerCut):
            vault.work(fail)
    with Vault.open(folder / "v") as vault:
        second = vault.request(ids=["person-00009-q"])
        done = vault.work(keep)
    assert [d.requests for d in done] == [(first,), (second,)]
    (attempted, first_ids), (resumed, same_ids), (later, other_ids) = seen
    assert attempted == resumed
    assert later.secret != attempted.secret
    assert first_ids == same_ids == ["person-00008-q"]
    assert other_ids == ["person-00009-q"]
