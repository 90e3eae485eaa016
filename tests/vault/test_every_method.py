"""Every method in a vault, from learning to a receipt that a stranger verifies; what it holds, reopened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.contract.subjects import SUBJECTS

from expunge import record
from expunge.certificate import Certified, Exact, Uncertified, may_stay
from expunge.features import FrozenNetwork, Pipeline
from expunge.learners.convex import Convex
from expunge.methods import DifferentialPrivacy, Retrain
from expunge.models import Mlp
from expunge.vault import Vault
from expunge.vault.replay import Answer, replay
from expunge.vault.verify import verify_chain

WEIGHTS = Mlp((3,)).build(SUBJECTS["retrain"]["convex"]()[1].schema).state_dict()
CASES = [(method, next(iter(subjects))) for method, subjects in SUBJECTS.items()]


@pytest.mark.parametrize(("method", "name"), CASES, ids=[method for method, _ in CASES])
def test_a_method_goes_from_request_to_receipt(method: str, name: str, folder: Path) -> None:
    subject, rows = SUBJECTS[method][name]()
    with Vault.create(folder / "v", rows, subject, seed=3) as vault:
        before = str(vault.status()["release"]["digest"])
        for ids in (["row-3", "row-4"], ["row-17"]):
            vault.request(ids=ids)
            (done,) = vault.work()
            assert done.purged
            assert may_stay(done.certificate) or done.after != before
            before = done.after
    with Vault.open(folder / "v") as again:
        assert again.method == subject
        assert record.digest(again.release()) == before
        predicted = again.predict(rows.columns)
        assert torch.isfinite(predicted).all()
        assert len(predicted) == len(rows)
        chain = verify_chain(again.receipts(), again.public_key())
        assert [link.request for link in chain if link.certificate is not None] == [1, 2]
        promised = [link.certificate for link in chain if link.certificate is not None]
        assert all(type(p) is type(done.certificate) or done.relearned for p in promised[1:])
        found = replay(again)
        assert found.answer is not Answer.DIFFERENT, found.why
        if isinstance(done.certificate, Certified | Uncertified):
            return
        assert found.answer is Answer.EQUAL


def test_learning_again_does_not_clear_a_network_that_was_trained_on_the_rows(folder: Path) -> None:
    rows = SUBJECTS["retrain"]["convex"]()[1]
    known = FrozenNetwork(Mlp((3,)), origin="private", weights=WEIGHTS, outputs=3, mu=0.01, max_forgotten=3)
    head = DifferentialPrivacy(noise_std=50.0, l2=0.1, row_norm=2.0, max_epsilon=1.2)
    with Vault.create(folder / "v", rows, Pipeline((known,), head), seed=3) as vault:
        vault.request(ids=[f"row-{i}" for i in range(60)])
        (done,) = vault.work()
        assert done.relearned
        assert isinstance(done.certificate, Uncertified)
        assert "its frozen network was trained on the forgotten rows" in done.certificate.why
        assert vault.record().gone == 60
    plain = Pipeline((FrozenNetwork(Mlp((3,)), origin="random"),), Retrain(Convex()))
    with Vault.create(folder / "w", rows, plain, seed=3) as vault:
        vault.request(ids=["row-1"])
        (done,) = vault.work()
        assert isinstance(done.certificate, Exact)
