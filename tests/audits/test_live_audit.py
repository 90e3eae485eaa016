"""The live state beside models retrained on its rows."""

from __future__ import annotations

import numpy as np
import pytest

from expunge.audits.audit import Claim
from expunge.audits.live_audit import audit_live
from expunge.audits.verdict import UTILITY
from expunge.learners.sgd import Sgd
from expunge.methods import Retrain
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.rows import Rows

METHOD = Retrain(Sgd(Mlp((8,)), epochs=5))


def clouds(n: int, seed: int, flip: float = 0.0) -> Rows:
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, n)
    x = generator.normal(size=(n, 3)) + 1.5 * y[:, None]
    return Rows.of(x, np.where(generator.random(n) < flip, 1 - y, y), ids=[f"{seed}-{i}" for i in range(n)], classes=2)


@pytest.mark.parametrize(("learned", "worse"), [(clouds(200, 1), False), (clouds(200, 1, flip=0.6), True)])
def test_only_a_model_of_other_rows_falls_out_of_the_band(learned: Rows, worse: bool) -> None:
    release = METHOD.release(METHOD.learn(learned, seed=1, noise=NoiseKey.fresh(1)))
    claim = Claim(None, "Nothing was replayed.")
    audit = audit_live(
        METHOD,
        release,
        clouds(200, 1),
        clouds(300, 2),
        seed=5,
        number=1,
        certificate=None,
        claim=claim,
        references=5,
    )
    assert (UTILITY in audit.flags) == worse
    assert (audit.measure("kl on test").where == "above") == worse
    assert audit.forgotten == 0
    assert audit.attacks == ()
    assert audit.contradictions == ()


def test_a_replay_that_differs_contradicts() -> None:
    rows = clouds(60, 1)
    release = METHOD.release(METHOD.learn(rows, seed=1, noise=NoiseKey.fresh(1)))
    claim = Claim(False, "Replay, different.")
    audit = audit_live(METHOD, release, rows, None, seed=5, number=1, certificate=None, claim=claim, references=2)
    assert audit.contradictions == ("Replay, different.",)
    assert audit.verdict.startswith("VOID")
    assert audit.measure("accuracy on test") is None
