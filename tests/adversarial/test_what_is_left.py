"""What is left of a forgotten row: in the releases seen together, in the settled record, in the vault's folder."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from expunge.certificate import Exact
from expunge.features import Numeric, Pipeline, tabular
from expunge.learners.convex import Convex
from expunge.method import Method
from expunge.methods import CertifiedNewton, Retrain
from expunge.methods.certified_newton import CertifiedNewtonRecord
from expunge.noise import NoiseKey
from expunge.objective import LinearObjective
from expunge.record import digest as record_digest
from expunge.record import encode
from expunge.rows import Rows
from expunge.vault import Vault
from expunge.vault.disclosure import exposure

Vector = NDArray[np.float64]
P = 6


def problem(row: Vector | None = None, n: int = 150) -> Rows:
    """Two classes; row "0" is the one to be forgotten, with the values given."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(n, P))
    y = (x[:, 0] + generator.normal(size=n) > 0).astype(int)
    if row is not None:
        x[0], y[0] = row, 1
    return Rows.of(x, y, classes=2)


def recovered(before: torch.Tensor, after: torch.Tensor, retained: Rows, l2: float) -> Vector:
    """The two-release attack: the difference times the retained Hessian points along the deleted row's gradient."""
    objective = LinearObjective("logistic", l2, P, 1)
    hessian = objective.hessian(after.reshape(-1), retained)
    return (hessian @ (before - after).reshape(-1)).numpy()[:P]


def cosine(a: Vector, b: Vector) -> float:
    return float(abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize(("noise_std", "found"), [(1e-6, True), (0.3, False)])
def test_two_releases_give_the_row_away_and_the_receipt_says_so(noise_std: float, found: bool) -> None:
    row = np.random.default_rng(9).normal(size=P) - np.r_[2.0, np.zeros(P - 1)]  # of class 1, on the other side
    rows = problem(row)
    method = CertifiedNewton(loss="logistic", l2=1e-2, noise_std=noise_std)
    before = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    step = method.forget(before, rows.without(["0"]), rows.only(["0"]), noise=NoiseKey.fresh(2))
    guess = recovered(before.weights, step.record.weights, rows.without(["0"]), 1e-2)
    told = exposure(method.release(before), method.release(step.record), step.certificate)
    if found:
        assert cosine(guess, row) > 0.99
        assert told > 100
    else:
        assert told < math.sqrt(P + 1) + 4  # the noise itself, of that many coordinates
    assert cosine(guess, row) < 0.99 or told > 100


def test_exact_retraining_leaks_the_same_way_and_its_exposure_is_infinite() -> None:
    row = np.random.default_rng(9).normal(size=P) - np.r_[2.0, np.zeros(P - 1)]
    rows, retained = problem(row), problem(row).without(["0"])
    method = Retrain(Convex(loss="logistic", l2=1e-2, tol=1e-10))
    key = NoiseKey.fresh(1)
    releases = [method.release(method.learn(r, seed=0, noise=key)).tensors for r in (rows, retained)]
    weights = [torch.cat([t["weight"].reshape(-1), t["bias"]]) for t in releases]
    assert cosine(recovered(weights[0], weights[1], retained, 1e-2), row) > 0.99
    step = method.forget(method.learn(rows, seed=0, noise=key), retained, rows.only(["0"]), noise=key)
    assert isinstance(step.certificate, Exact)
    releases = [method.release(method.learn(rows, seed=0, noise=key)), method.release(step.record)]
    assert exposure(releases[0], releases[1], step.certificate) == math.inf


WORLDS = 150
SURPRISING = 5.5  # standard errors: of some thousand correlations none goes beyond, but for one run in ten thousand


def largest_correlation(kept: Callable[[Rows], Any]) -> float:
    """Over many forgotten rows: the largest correlation of a stored number with a number of the row, in std. errors."""
    generator = np.random.default_rng(17)
    gone = generator.normal(size=(WORLDS, P)) * 3
    stored = np.stack([_numbers(kept(problem(row))) for row in gone])
    moving = stored[:, stored.std(axis=0) > 1e-12 * (1 + np.abs(stored).max(axis=0))]
    if not moving.shape[1]:
        return 0.0
    standard = (moving - moving.mean(axis=0)) / moving.std(axis=0)
    row = (gone - gone.mean(axis=0)) / gone.std(axis=0)
    correlations = np.concatenate([standard.T @ row, standard.T @ np.abs(row)]) / WORLDS
    return float(np.abs(correlations).max() * math.sqrt(WORLDS))


def _numbers(record: Any) -> Vector:
    tensors = encode(record)[1]
    return np.concatenate([t.double().reshape(-1).numpy() for _, t in sorted(_placed(record, tensors))])


def _placed(value: Any, tensors: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    """The tensors of a record in the order of its fields, not of their digests."""
    found: list[tuple[str, torch.Tensor]] = []

    def walk(tree: Any, path: str) -> None:
        match tree:
            case {"tensor": str(digest)}:
                found.append((path, tensors[digest]))
            case dict():
                for name, part in tree.items():
                    walk(part, f"{path}/{name}")
            case list():
                for place, part in enumerate(tree):
                    walk(part, f"{path}/{place}")

    walk(encode(value)[0], "")
    return found


METHOD = CertifiedNewton(loss="logistic", l2=1e-2, noise_std=0.05)


def stepped(rows: Rows, method: Method[Any] = METHOD) -> Any:
    record = method.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    return method.forget(record, rows.without(["0"]), rows.only(["0"]), noise=NoiseKey.fresh(2)).record


def test_nothing_in_the_settled_record_correlates_with_the_forgotten_row() -> None:
    assert largest_correlation(lambda rows: METHOD.settle(stepped(rows), rows.without(["0"]))) < SURPRISING


def test_the_scan_sees_a_factor_that_is_not_settled() -> None:
    """Positive control: before the purge the cached curvature holds the row, as docs/certificates.md says."""
    assert largest_correlation(stepped) > SURPRISING


def test_the_scan_sees_doing_nothing() -> None:
    """Positive control: weights learned with the row, under noise small enough for 150 worlds to show it."""
    method = CertifiedNewton(loss="logistic", l2=1e-2, noise_std=1e-3)
    learned = largest_correlation(lambda rows: method.learn(rows, seed=0, noise=NoiseKey.fresh(1)).weights)
    assert learned > SURPRISING
    forgotten = largest_correlation(lambda rows: stepped(rows, method).weights)
    assert forgotten < SURPRISING


def test_an_exact_record_does_not_move_at_all() -> None:
    exact = Retrain(Convex(loss="logistic", l2=1e-2))
    assert largest_correlation(lambda rows: stepped(rows, exact)) == 0.0


def test_exact_statistics_do_not_move_either() -> None:
    """The accumulators and what is fitted from them are those of the retained rows, bit for bit, in every world."""

    def kept(rows: Rows) -> Any:
        columns = {f"c{place}": rows.columns["x"][:, place] for place in range(P)}
        raw = Rows.of(columns, rows.y, classes=2)
        method = Pipeline((Numeric(tuple(columns)),), METHOD)
        record = stepped(raw, method)
        return (record.fitted, torch.tensor([hash(state) for state in record.states]))

    assert largest_correlation(kept) == 0.0


@pytest.mark.parametrize("statistics", ["public", "exact"])
def test_no_value_of_a_forgotten_row_stays_in_the_folder_or_on_a_receipt(tmp_path: Path, statistics: str) -> None:
    generator = np.random.default_rng(0)
    n = 80
    job = np.array(["cook", "smith"], dtype=object)[generator.integers(0, 2, n)]
    job[7] = "keeper of the last unicorn"
    wage = generator.normal(40, 10, n)
    rows = Rows.of({"wage": wage, "job": job}, np.arange(n) % 2, ids=[f"person-{i}" for i in range(n)], classes=2)
    traces = [b"unicorn", b"person-7\x00", np.float64(wage[7]).tobytes(), rows.keys[7].tobytes()]
    traces.append(b"person-7")  # no other id begins like it
    rows = rows.without([f"person-{i}" for i in range(70, 80)])
    folder = tmp_path / "vault"
    method = Pipeline(tabular(rows, statistics=statistics), CertifiedNewton(l2=1e-2, noise_std=0.05))
    with Vault.create(folder, rows, method) as vault:
        assert _found(folder, traces)  # the scan can see
        number = vault.request(ids=["person-7"])
        (done,) = vault.work()
        assert done.purged
        receipts = [base64.b64decode(vault.receipt(number, event)["payload"]) for event in ("forgotten", "purged")]
    assert not _found(folder, traces)
    assert not [trace for trace in traces for receipt in receipts if trace in receipt]
    release_key = CertifiedNewtonRecord  # the record of the weights keeps nothing but these
    assert set(release_key.__dataclass_fields__) == {"weights", "anchor", "number"}


def _found(folder: Path, traces: list[bytes]) -> list[tuple[str, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [(path.name, trace) for path in files for trace in traces if trace in path.read_bytes()]


def guesses_confirmed(folder: Path, method: Method[Any]) -> list[int]:
    """From a receipt and the retained rows: which age gives the digest of the release before."""
    generator = np.random.default_rng(1)
    ages = generator.integers(20, 60, size=(60, 1)).astype(float)
    rows = Rows.of(ages / 60, np.arange(60) % 2, classes=2)
    with Vault.create(folder, rows, method, seed=12345) as vault:
        number = vault.request(ids=["7"])
        vault.work()
        receipt = json.loads(base64.b64decode(vault.receipt(number)["payload"]))["predicate"]
    found = []
    for age in range(20, 60):
        guess = Rows.of(np.array([[age / 60]]), [1], ids=["7"], classes=2)
        model = method.learn(rows.without(["7"]).and_rows(guess), seed=0, noise=NoiseKey.fresh(1))
        if record_digest(method.release(model)) == receipt["release"]["before"]:
            found.append(age)
    return found if found != [int(ages[7, 0])] else [-1]  # -1: the true one, and no other


def test_a_receipt_confirms_guesses_only_where_no_noise_was_drawn(tmp_path: Path) -> None:
    """What docs/receipts.md warns of; it is inherent in a digest of an exact release that draws nothing."""
    assert guesses_confirmed(tmp_path / "exact", Retrain(Convex(loss="logistic"))) == [-1]
    assert guesses_confirmed(tmp_path / "certified", METHOD) == []
