"""What `expunge demo` does: real data, real vaults, requests, audits, receipts; `demo.py` shows it.

The data come with scikit-learn. Handwritten digits: 1,797 pictures; who wrote which is not told, so they are dealt to
120 people by a keyed draw. Breast cancer: 569 patients, one row each. Of the training rows 50 get a wrong label before
anything is learned: the second request asks to forget them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from expunge import keyed
from expunge.audits import Audit, AuditSummary, Step, audit_step
from expunge.cli.linear_form import linear_form
from expunge.features import Pipeline, tabular
from expunge.learners.sgd import Sgd
from expunge.method import Adopts, Method
from expunge.methods.certified_newton import CertifiedNewton
from expunge.methods.retrain import PURPOSE, Retrain
from expunge.methods.sisa import Sisa
from expunge.models import Mlp
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array
from expunge.vault import Vault
from expunge.vault.verify import verify

SEED = 2024
PEOPLE = 120
MISLABELLED = 50
TEST_SHARE = 0.25
# Wide, long and unpenalised: it learns wrong labels by heart, so that there is something to forget.
NETWORK = Sgd(Mlp(hidden=(128,), activation="relu"), epochs=80, batch_size=16, learning_rate=0.1, l2=0.0)

Tell = Callable[[str, int, int], None]
Finding = tuple[str, str, Audit]  # method, request in words, audit


@dataclass(frozen=True, eq=False)
class Data:
    """Rows to learn, rows never learned, one person among the former, and the ids of those with a wrong label."""

    name: str
    owner: str
    train: Rows
    test: Rows
    person: str
    mislabelled: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """One vault of the demonstration."""

    folder: str
    label: str
    data: Data
    method: Method[Any]


def scenes() -> list[Scene]:
    """Three methods on the digits, and one on the patients."""
    digits, patients = handwritten_digits(), breast_cancer()
    newton = CertifiedNewton(epsilon=1.0, delta=1e-5, l2=1e-3)
    return [
        Scene("digits-certified-newton", "certified Newton", digits, newton),
        Scene("digits-sisa", "SISA", digits, Sisa(NETWORK, shards=5, slices=5)),
        Scene("digits-retrain", "retraining", digits, Retrain(NETWORK)),
        Scene(
            "patients-certified-newton",
            "certified Newton",
            patients,
            Pipeline(tabular(patients.train, statistics="public"), newton),
        ),
    ]


def play(scene: Scene, folder: Path, references: int, tell: Tell) -> list[Finding]:
    """Learn, take two requests, honour each with an audit, verify both receipts.

    Raises:
        VerificationError: a receipt does not verify.
    """
    findings: list[Finding] = []
    data = scene.data

    def auditor(step: Step) -> AuditSummary:
        audit = audit_step(
            step,
            data.test,
            references=references,
            scratch=vault.scratch,
            jobs=2,
            warm=_warm(step),
            progress=tell,
        )
        findings.append((scene.label, words, audit))
        return audit.summary()

    with Vault.create(folder, data.train, scene.method, seed=SEED, progress=tell) as vault:
        words = f"{data.name}: one {data.owner}"
        vault.request(subjects=[data.person], reason="asked by the person")
        vault.work(audit=auditor, progress=tell)
        words = f"{data.name}: {len(data.mislabelled)} mislabelled"
        vault.request(ids=data.mislabelled, reason="wrong labels found in review")
        vault.work(audit=auditor, progress=tell)
        _verify(vault, folder, len(findings))
    return findings


def handwritten_digits() -> Data:
    """Softmax regression over ten classes, or a small network."""
    bunch = load_digits()
    ids = [f"digit-{i:04d}" for i in range(len(bunch.target))]
    owners = keyed.integers(SEED, ("demo", "people"), keyed.keys_of(ids), PEOPLE)
    subjects = [f"person-{owner:03d}" for owner in owners]
    return _data(
        ("digits", "person"), {"x": bunch.data / 16.0}, bunch.target, ids, subjects, [str(k) for k in range(10)]
    )


def breast_cancer() -> Data:
    """Thirty columns of numbers, two classes."""
    bunch = load_breast_cancer()
    columns = {str(name): bunch.data[:, k] for k, name in enumerate(bunch.feature_names)}
    ids = [f"patient-{i:03d}" for i in range(len(bunch.target))]
    return _data(("tumours", "patient"), columns, bunch.target, ids, ids, [str(name) for name in bunch.target_names])


def _data(
    names: tuple[str, str],
    columns: dict[str, Array],
    y: Array,
    ids: Sequence[str],
    subjects: Sequence[str],
    classes: list[str],
) -> Data:
    keys = keyed.keys_of(ids)
    order = keyed.permutation(SEED, ("demo", "split"), keys)
    test, train = np.split(order, [int(TEST_SHARE * len(order))])
    person = subjects[train[0]]
    others = np.array([place for place in train if subjects[place] != person])
    wrong = others[keyed.k_smallest(SEED, ("demo", "mislabelled"), keys[others], MISLABELLED)]
    labels = y.astype(np.int64)
    shift = 1 + keyed.integers(SEED, ("demo", "wrong label"), keys[wrong], len(classes) - 1)
    labels[wrong] = (labels[wrong] + shift) % len(classes)

    def rows(places: Array) -> Rows:
        return Rows.of(
            {key: column[places] for key, column in columns.items()},
            labels[places],
            ids=[ids[place] for place in places],
            subjects=[subjects[place] for place in places],
            classes=classes,
        )

    return Data(*names, rows(train), rows(test), person, tuple(ids[place] for place in wrong))


def _warm(step: Step) -> Callable[[], object] | None:
    """Learning again from the old model instead of from nothing, where the method can."""
    method, before, retained = step.method, step.before, step.retained
    linear = linear_form(method, before)
    if linear is not None and isinstance(method, Adopts):
        weights = {"weight": linear[0], "bias": linear[1]}
        noise = NoiseKey.fresh(1)
        return lambda: method.adopt(weights, retained, seed=step.seed, noise=noise)
    if isinstance(method, Retrain):
        learner = method.learner
        start = learner.adopt(retained.schema, before.tensors)
        return lambda: learner.train(start, retained, seed=step.seed, purpose=PURPOSE)
    return None


def _verify(vault: Vault, folder: Path, requests: int) -> None:
    """Write the receipts and the public key beside the vault, and check them as a stranger would."""
    pem = vault.public_key()
    folder.with_suffix(".pem").write_bytes(pem)
    for number in range(1, requests + 1):
        file = folder.with_name(f"{folder.name}-receipt-{number}.json")
        file.write_text(json.dumps(vault.receipt(number), indent=2) + "\n")
        verify(json.loads(file.read_text()), pem)
