"""The contract every method keeps, as one function: `check_method`. Public, for other people's methods too.

The checks are those of unlearning's own definition. The sharpest needs no oracle: replace the values of the rows to be
forgotten, learn and forget again; what may differ afterwards is exactly what the certificate allows (substitution).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from expunge.certificate import Certified, Exact, Uncertified, View
from expunge.errors import MustRetrain
from expunge.features import offers
from expunge.features.pipeline import PREFIX
from expunge.maths import privacy
from expunge.method import Checkable, Extends, Forgetting, Method, Release, Settles
from expunge.noise import NoiseKey
from expunge.record import classes_in, decode, digest, encode
from expunge.rows import Rows, Table

Record = TypeVar("Record")
DRAWS = 4  # noise keys beside the step's own, by which its noise is judged


def noise_key(secret: int, release: int = 1) -> NoiseKey:
    """A noise key with a known secret: for tests only; a key of the product comes from `NoiseKey.fresh`."""
    return NoiseKey(hashlib.blake2b(str(secret).encode(), digest_size=32).digest(), release)


class ContractBroken(AssertionError):
    """A method breaks the contract: the message says which clause, and what was seen."""


@dataclass(frozen=True)
class Report:
    """What the contract measured. All gaps are Euclidean distances between release weights.

    Attributes:
        do_nothing_gap: untouched model to the one learned without the rows. gap: after forgetting, likewise.
        ratio: gap / do_nothing_gap. substitution_gap: between the releases of the two lives that differ only in
            the values of the forgotten rows. checks: the clauses that were tried, in order.
    """

    do_nothing_gap: float
    gap: float
    substitution_gap: float
    checks: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Share of the do-nothing gap that is left; nan where doing nothing is exact already."""
        return self.gap / self.do_nothing_gap if self.do_nothing_gap else math.nan


def check_method(
    method: Method[Any],
    rows: Rows,
    forget: tuple[str | int, ...],
    *,
    seed: int = 7,
    may_lose_to_doing_nothing: str = "",
) -> Report:
    """Hold a method against the contract.

    Args:
        method: the method under test. rows: what it learns; small, in memory.
        forget: ids to forget, at least two (they are forgotten at once, and one after the other).
        may_lose_to_doing_nothing: a reason, for a method that is known not to beat the untouched model.

    Raises:
        ContractBroken: with the clause and what was seen.
    """
    trial = _Trial(method, rows, tuple(str(i) for i in forget), seed, may_lose_to_doing_nothing)
    clauses = [
        trial.learning_is_deterministic,
        trial.nothing_is_mutated,
        trial.forgetting_is_repeatable,
        trial.forgetting_nothing_changes_nothing,
        trial.forgetting_everything_is_refused,
        trial.the_certificate_holds,
        trial.it_beats_doing_nothing,
        trial.the_forgotten_are_gone,
        trial.the_record_survives_storage,
        trial.requests_follow_each_other,
        trial.new_rows_are_learned,
        trial.the_forgotten_values_do_not_matter,
    ]
    for clause in clauses:
        clause()
    return Report(trial.do_nothing_gap, trial.gap, trial.substitution_gap, tuple(clause.__name__ for clause in clauses))


class _Trial(Generic[Record]):
    """One method, one set of rows, one request; each clause is a function that raises ContractBroken."""

    def __init__(self, method: Method[Record], rows: Rows, forget: tuple[str, ...], seed: int, excuse: str) -> None:
        self.method, self.rows, self.ids, self.seed, self.excuse = method, rows, forget, seed, excuse
        self.retained, self.forgotten = rows.without(forget), rows.only(forget)
        self.first, self.second = noise_key(1, 1), noise_key(2, 2)
        self.record = method.learn(rows, seed=seed, noise=self.first)
        self.step = self._forget(self.record, self.retained, self.forgotten, self.second)
        self.settled = self._settled(self.step.record, self.retained)
        self.reference = method.learn(self.retained, seed=seed, noise=self.second)
        before, after, clean = (
            self._weights(method.release(record)) for record in (self.record, self.settled, self.reference)
        )
        self.do_nothing_gap, self.gap = _distance(before, clean), _distance(after, clean)
        self.substitution_gap = math.nan

    def learning_is_deterministic(self) -> None:
        again = self.method.learn(self.rows, seed=self.seed, noise=self.first)
        _require(digest(again) == digest(self.record), "learn gave two records under one seed and one noise key")

    def nothing_is_mutated(self) -> None:
        record = self.method.learn(self.rows, seed=self.seed, noise=self.first)
        before, rows = digest(record), _rows_digest(self.rows)
        self._settled(self._forget(record, self.retained, self.forgotten, self.second).record, self.retained)
        self.method.predict(self.method.release(record), self.rows.columns)
        _require(digest(record) == before, "forget, settle or predict changed the record it was given")
        _require(_rows_digest(self.rows) == rows, "the rows were changed")

    def forgetting_is_repeatable(self) -> None:
        again = self._forget(self.record, self.retained, self.forgotten, self.second)
        _require(digest(again.record) == digest(self.step.record), "forget gave two records under one noise key")
        lifelong = isinstance(again.certificate, Certified) and again.certificate.view is View.LIFETIME
        _require(lifelong or again.record is not self.record, "forget returned the record it was given")

    def forgetting_nothing_changes_nothing(self) -> None:
        none = self.rows.select(np.zeros(len(self.rows), dtype=bool))
        after = self.method.forget(self.record, self.rows, none, noise=self.second)
        _require(digest(after.record) == digest(self.record), "forgetting no row changed the record")

    def forgetting_everything_is_refused(self) -> None:
        none = self.rows.select(np.zeros(len(self.rows), dtype=bool))
        try:
            self.method.forget(self.record, none, self.rows, noise=self.second)
        except MustRetrain:
            return
        _require(False, "forgetting every row did not raise MustRetrain")

    def the_certificate_holds(self) -> None:
        match self.step.certificate:
            case Exact():
                _require(
                    digest(self.settled) == digest(self.reference),
                    "the certificate is Exact, but the record differs from the one learned without the rows",
                )
            case Certified() as promise:
                self._certified(promise)
            case Uncertified(why):
                _require(bool(why), "Uncertified needs a reason")

    def it_beats_doing_nothing(self) -> None:
        if (
            isinstance(self.step.certificate, Certified) or self.excuse
        ):  # noisy releases are compared at their centres, in the clause above
            return
        _require(
            self.gap <= self.do_nothing_gap,
            f"forgetting left {self.gap:.3g} to the retrained model, doing nothing {self.do_nothing_gap:.3g}",
        )

    def the_forgotten_are_gone(self) -> None:
        texts = set(_texts(encode(self.settled)[0]))
        _require(not texts & set(self.ids), "the record still names a forgotten row")
        keys = set(self.forgotten.keys.tolist())
        held = {int(v) for t in _tensors(self.settled) if not t.is_floating_point() for v in t.ravel().tolist()}
        _require(not keys & held, "the record still holds a forgotten row's key")

    def the_record_survives_storage(self) -> None:
        tree, tensors = encode(self.record)
        stored = decode(tree, {d: t.clone() for d, t in tensors.items()}, classes_in(self.record))
        _require(digest(stored) == digest(self.record), "the record changed on its way through storage")
        again = self._forget(stored, self.retained, self.forgotten, self.second)
        _require(digest(again.record) == digest(self.step.record), "forget differs on a record that was stored")

    def requests_follow_each_other(self) -> None:
        record, remaining = self.record, self.rows
        for release, one in enumerate(self.ids, start=2):
            retained, forgotten = remaining.without([one]), remaining.only([one])
            step = self._forget(record, retained, forgotten, noise_key(release, release))
            record, remaining = self._settled(step.record, retained), retained
        last = noise_key(len(self.ids) + 1, len(self.ids) + 1)
        match self.step.certificate:
            case Exact():
                clean = self.method.learn(self.retained, seed=self.seed, noise=last)
                _require(digest(record) == digest(clean), "one request after the other is not exact")
            case Certified():
                self._near_minimiser(step.certificate, self.method.release(record), last)
            case Uncertified():
                pass

    def new_rows_are_learned(self) -> None:
        if not offers(self.method, Extends):
            return
        half = self.method.learn(self.retained, seed=self.seed, noise=self.first)
        step = self.method.extend(half, self.retained, self.forgotten, noise=self.second)  # type: ignore[attr-defined]
        record, both = self._settled(step.record, self.retained.and_rows(self.forgotten)), None
        match step.certificate:
            case Exact():
                both = self.method.learn(self.retained.and_rows(self.forgotten), seed=self.seed, noise=self.second)
                _require(digest(record) == digest(both), "extend differs from learning all rows together")
            case Certified():
                everything = self.retained.and_rows(self.forgotten)
                self._near_minimiser(step.certificate, self.method.release(record), self.second, everything)
            case Uncertified():
                pass

    def the_forgotten_values_do_not_matter(self) -> None:
        other = substituted(self.rows, self.ids)
        record = self.method.learn(other, seed=self.seed, noise=self.first)
        step = self._forget(record, other.without(self.ids), other.only(self.ids), self.second)
        settled = self._settled(step.record, self.retained)
        mine, theirs = self.method.release(self.settled), self.method.release(settled)
        self.substitution_gap = _distance(self._weights(mine), self._weights(theirs))
        match self.step.certificate:
            case Exact():
                _require(digest(settled) == digest(self.settled), "the record depends on a forgotten row's values")
            case Certified() as promise:
                _require(
                    self.substitution_gap <= 2 * promise.distance,
                    f"under one noise key the releases differ by {self.substitution_gap:.3g}, "
                    f"more than twice the distance {promise.distance:.3g}",
                )
                if promise.view is View.STATE:
                    self._caches_are_recomputable()
            case Uncertified():
                _require(
                    bool(self.excuse) or self.substitution_gap <= self.do_nothing_gap * 4,
                    f"the forgotten values move the release by {self.substitution_gap:.3g}",
                )

    def _certified(self, promise: Certified) -> None:
        share = 1.0 if promise.view is View.LIFETIME else privacy.release_share(self.second.release)
        whole = privacy.mu_of(promise.epsilon, promise.delta)
        _require(0.99 * whole <= promise.mu <= whole, "mu does not lie just under the curve of epsilon and delta")
        _require(
            promise.distance <= promise.noise_std * whole * share * (1 + 1e-9),
            f"release {self.second.release} claims the distance {promise.distance:.3g}; its share of the budget is "
            f"{promise.noise_std * whole * share:.3g}",
        )
        self._near_minimiser(promise, self.method.release(self.step.record), self.second)
        self._noise_is_secret_and_there(promise)
        if promise.view is View.STATE:
            self._nothing_noiseless_is_kept(promise)

    def _near_minimiser(self, promise: Any, release: Release, noise: NoiseKey, rows: Rows | None = None) -> None:
        carried = isinstance(promise, Certified) and promise.increment_std > 0  # one key does not tell its noise
        if carried or isinstance(promise, Uncertified) or not offers(self.method, Checkable):
            return
        method: Any = self.method
        minimiser = method.minimiser(self.retained if rows is None else rows)
        gap = _distance(method.centre(release, noise), minimiser)
        _require(
            gap <= promise.distance / 2 * (1 + 1e-6),
            f"the centre is {gap:.3g} from the minimiser; its side of the budget is {promise.distance / 2:.3g}",
        )

    def _noise_is_secret_and_there(self, promise: Certified) -> None:
        records = [self.step.record, *(self._drawn(promise, noise_key(99 + k, 2)) for k in range(DRAWS))]
        drawn = torch.stack([self._weights(self.method.release(record)) for record in records])
        spread = float(drawn.var(dim=0).mean().sqrt())
        fresh = promise.increment_std or promise.noise_std
        _require(
            abs(spread / fresh - 1) < 5 / math.sqrt(2 * DRAWS * drawn.shape[1]),
            f"other noise keys give releases with a spread of {spread:.3g}; {fresh:.3g} is promised",
        )
        still = int((drawn.std(dim=0) < fresh / 100).sum())
        _require(not still, f"{still} of {drawn.shape[1]} released numbers have no noise")

    def _nothing_noiseless_is_kept(self, promise: Certified) -> None:
        secrets = {"the release before": self._weights(self.method.release(self.record))}
        if offers(self.method, Checkable):
            method: Any = self.method
            secrets["the weights without their noise"] = method.centre(method.release(self.step.record), self.second)
        for tensor in _tensors(self.settled):
            for what, secret in secrets.items():
                found = tensor.is_floating_point() and holds(tensor, secret, promise.noise_std / 1000)
                _require(not found, f"the settled record holds {what}")

    def _caches_are_recomputable(self) -> None:
        if offers(self.method, Settles):
            again = self._settled(self.settled, self.retained)
            _require(digest(again) == digest(self.settled), "a cache is no function of release and retained rows")

    def _drawn(self, promise: Certified, noise: NoiseKey) -> Record:
        """The record after the step under another key; its noise was drawn by `learn` where no step draws any."""
        if promise.view is not View.LIFETIME:
            return self._forget(self.record, self.retained, self.forgotten, noise).record
        learned = self.method.learn(self.rows, seed=self.seed, noise=noise)
        return self._forget(learned, self.retained, self.forgotten, noise).record

    def _forget(self, record: Record, retained: Rows, forgotten: Rows, noise: NoiseKey) -> Forgetting[Record]:
        return self.method.forget(record, retained, forgotten, noise=noise)

    def _settled(self, record: Record, retained: Rows) -> Record:
        if offers(self.method, Settles):
            settled: Record = self.method.settle(record, retained)  # type: ignore[attr-defined]
            return settled
        return record

    def _weights(self, release: Release) -> Tensor:
        return flat_weights(release)


def flat_weights(release: Release) -> Tensor:
    """All floating tensors of a release but a Pipeline's statistics, by name, as one float64 vector."""
    parts = [release.tensors[name] for name in sorted(release.tensors) if not name.startswith(PREFIX)]
    return torch.cat([part.detach().cpu().double().ravel() for part in parts if part.is_floating_point()])


def holds(tensor: Tensor, secret: Tensor, within: float) -> bool:
    """Whether a run of `tensor` (or of its transpose) is a run of `secret` (d,): the whole of the shorter, two or more.

    A secret cut in pieces, stacked or transposed is found; numbers are equal when they differ by at most `within`.
    """
    held = tensor.detach().cpu().double()
    views = [held, held.T] if held.ndim == 2 else [held]
    rows = [part for view in views for part in (view.reshape(-1), *(view if view.ndim == 2 else ()))]
    return any(_meet(row, secret.reshape(-1), within) for row in rows)


def _meet(one: Tensor, other: Tensor, within: float) -> bool:
    short, long = sorted((one, other), key=len)
    if len(short) < 2 or float(short.abs().max()) <= 100 * within:  # a single number or zeros are anybody's
        return False
    return bool(((long.unfold(0, len(short), 1) - short).abs().amax(1) <= within).any())


def substituted(rows: Rows, ids: tuple[str, ...]) -> Rows:
    """The same rows with other values in these ids: numbers are reflected and scaled, text and classes permuted."""
    table = rows.table()
    where = np.isin(table.ids, np.array(ids, dtype=table.ids.dtype))
    columns = {name: _changed(column, where) for name, column in table.columns.items()}
    y = table.y
    if y is not None:
        y = y.copy()
        y[where] = (y[where] + 1) % rows.classes if rows.classes else -2 * y[where] + 1
    changed = Table(table.ids, table.keys, table.owners, table.subjects, columns, y)
    return Rows.from_table(changed, rows.schema.classes)


def _changed(column: Any, where: Any) -> Any:
    changed = column.copy()
    changed[where] = np.roll(column, 1, axis=0)[where] if column.dtype.kind in "TbuOi" else 0.7 - 1.3 * column[where]
    return changed


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise ContractBroken(broken)


def _distance(a: Tensor, b: Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b)) if a.shape == b.shape else math.inf


def _rows_digest(rows: Rows) -> str:
    table = rows.table()
    parts = [table.keys.tobytes(), b"" if table.y is None else table.y.tobytes()]
    parts += [
        repr(c.tolist()).encode() if c.dtype.kind == "T" else c.tobytes() for _, c in sorted(table.columns.items())
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _texts(tree: Any) -> Iterator[str]:
    match tree:
        case str():
            yield tree
        case list():
            for item in tree:
                yield from _texts(item)
        case dict():
            for key, item in tree.items():
                yield key
                yield from _texts(item)


def _tensors(record: Any) -> list[Tensor]:
    return list(encode(record)[1].values())
