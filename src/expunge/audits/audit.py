"""What an audit found, as data: measured figures beside doing nothing and beside retraining, and what contradicts.

A certificate is proved, an audit is measured; an audit can void a certificate and never issue one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expunge.audits.calibration import Calibration
from expunge.audits.epsilon_bound import EpsilonBound
from expunge.audits.json_tree import from_tree, to_tree
from expunge.audits.metrics import Band
from expunge.audits.scores.efficiency import break_even, speed_up_after, storage_ratio
from expunge.audits.scores.information import information_bound
from expunge.audits.step import AuditSummary
from expunge.certificate import Certificate
from expunge.errors import InputError

VERSION = 2  # 1 had no calibration, no scores and no repeats


@dataclass(frozen=True)
class Measure:
    """One figure of three models: `before` (doing nothing), `after` forgetting, `retrained` without the rows.

    For a measure of two models (a distance, say) the second one is each of the K references, and the figure their
    median. `null` holds the references themselves, each against the others: what honest retraining gives, and
    `calibration` how surprising `after` (and its repeats) would be as one of them.
    """

    name: str
    before: float | None
    after: float
    retrained: float | None
    null: Band | None
    calibration: Calibration | None = None

    @property
    def where(self) -> str | None:
        """Where `after` lies of what one more retrained model would give: "below", "within", "above"; else None."""
        if self.null is None:
            return None
        low, high = self.null.interval
        return "below" if self.after < low else "above" if self.after > high else "within"


@dataclass(frozen=True)
class OverModels:
    """A figure of many models that forgot (`after`) or did not (`before`); `null` is its mean for two equal laws."""

    name: str
    before: float
    after: float
    null: float


@dataclass(frozen=True)
class Attack:
    """Membership inference by one feature: the area under the ROC curve of forgotten against never-seen rows.

    `interval` is DeLong's 95 % interval of `auc.after` over the draw of rows; `smallest_detectable` the least distance
    from chance that so few rows could show. How much more the models themselves vary is what `auc.null` says.
    """

    feature: str
    auc: Measure
    interval: tuple[float, float]
    smallest_detectable: float

    @property
    def has_power(self) -> bool:
        """Whether any area could lie far enough from chance to be told from it."""
        return self.smallest_detectable < 0.5


@dataclass(frozen=True)
class Apart:
    """How far the model lies from retraining on the same seed: `after` forgetting and after doing `nothing`."""

    what: str
    after: float
    nothing: float

    @property
    def share(self) -> float | None:
        """`after` as a share of `nothing`: 0 is retraining, 1 is doing nothing."""
        return self.after / self.nothing if self.nothing > 0 else None


@dataclass(frozen=True)
class Claim:
    """The certificate held against the facts: `confirmed`, contradicted (False), or not checkable (None).

    Attributes:
        how: what was done, in words. distance: from the noiseless centre of `after` to the minimiser on the retained
            rows. retrained_distance: the same for learning again. budget: what each may be at most.
        noise_variance: of the noise found in the release, as a share of what the certificate says; about 1.
    """

    confirmed: bool | None
    how: str
    distance: float | None = None
    retrained_distance: float | None = None
    budget: float | None = None
    noise_variance: float | None = None


@dataclass(frozen=True)
class Costs:
    """Seconds, all measured in this run: forgetting, learning again from nothing (cold) and from `before` (warm).

    `preparation` is what `learn` cost over plain training, where the caller measured it; `record_bytes` what is kept in
    order to be able to forget, beside the `release_bytes` that are served.
    """

    forget: float | None
    cold: float | None
    warm: float | None = None
    preparation: float | None = None
    record_bytes: int | None = None
    release_bytes: int | None = None

    @property
    def speed_up(self) -> float | None:
        """Efficiency: cold seconds over forgetting seconds."""
        return _ratio(self.cold, self.forget)

    @property
    def warm_speed_up(self) -> float | None:
        """Warm seconds over forgetting seconds."""
        return _ratio(self.warm, self.forget)

    @property
    def break_even(self) -> float | None:
        """After how many deletions the preparation has paid off; None where it was not measured or never does."""
        if self.preparation is None or self.forget is None or self.cold is None or self.cold <= self.forget:
            return None
        return break_even(self.preparation, self.cold, self.forget)

    @property
    def storage(self) -> float | None:
        """Bytes of the record over bytes of the release; 1 keeps nothing more than the model."""
        if self.record_bytes is None or not self.release_bytes:
            return None
        return storage_ratio(self.record_bytes, self.release_bytes)

    def speed_up_after(self, requests: int) -> float | None:
        """Speed-up over so many requests, with the preparation charged."""
        if self.preparation is None or self.forget is None or self.cold is None:
            return None
        return speed_up_after(requests, self.preparation, self.cold, self.forget)


@dataclass(frozen=True)
class Exposure:
    """Each forgotten row's loss in three models, in one order and without ids, and how it ranks among references.

    `ranks` is the share of references that are less sure of the row: near 1 for a row that is still remembered.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    retrained: tuple[float, ...]
    ranks_before: tuple[float, ...] = ()
    ranks_after: tuple[float, ...] = ()


@dataclass(frozen=True)
class Audit:
    """One audit. `contradictions` void the certificate; `flags` are failures short of that.

    Attributes:
        subject: what was audited, in words. certificate: what was claimed; None for two bare checkpoints.
        retained, forgotten, test: how many rows; test 0 where none were given.
        references: how many models were retrained with independent seeds.
        scores: of the literature; empty where the model is broken. repeats: how many more models were made to forget,
            with seeds of their own. over_models: figures of them all. bound: what they prove about epsilon.
    """

    subject: str
    certificate: Certificate | None
    retained: int
    forgotten: int
    test: int
    references: int
    measures: tuple[Measure, ...]
    attacks: tuple[Attack, ...]
    apart: tuple[Apart, ...]
    claim: Claim
    costs: Costs
    exposure: Exposure | None
    contradictions: tuple[str, ...]
    flags: tuple[str, ...]
    verdict: str
    scores: tuple[Measure, ...] = ()
    repeats: int = 0
    over_models: tuple[OverModels, ...] = ()
    bound: EpsilonBound | None = None
    version: int = VERSION

    def measure(self, name: str) -> Measure | None:
        """The measure or score of this name ("accuracy on test", "tug of war", ...), or None."""
        return next((measure for measure in (*self.measures, *self.scores) if measure.name == name), None)

    def information(self, entropy: float = math.inf) -> float:
        """What forgotten rows and release can have in common at most, in nats, by the certificate; infinite if void.

        Args:
            entropy: of the forgotten rows in nats, where it is known (at most ln k for one of k possibilities).
        """
        return entropy if self.contradictions else information_bound(self.certificate, entropy)

    def attack(self, feature: str = "") -> Attack | None:
        """The attack by this feature; without a name the one that verdicts rest on."""
        return next((attack for attack in self.attacks if attack.feature == feature or not feature), None)

    def summary(self) -> AuditSummary:
        """What a vault keeps: pass or fail, and nothing measured on the forgotten rows.

        A vault that stored their losses would keep part of what it was asked to forget.
        """
        attack = self.attack()
        names = ("accuracy on test", "rmse on test", "distance on test")
        utility = next((measure for name in names if (measure := self.measure(name)) is not None), None)
        return {
            "version": self.version,
            "contradictions": list(self.contradictions),
            "flags": list(self.flags),
            "certificate_confirmed": self.claim.confirmed,
            "references": self.references,
            "attack_within_null_band": None if attack is None else _within(attack.auc.where),
            "test": None
            if utility is None
            else {"measure": utility.name, "after": utility.after, "within_null_band": _within(utility.where)},
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """The whole audit as JSON."""
        return json.dumps(to_tree(self), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """The audit that `to_json` wrote.

        Raises:
            InputError: the text is no audit of this version.
        """
        try:
            tree: Mapping[str, Any] = json.loads(text)
            version = tree["version"]
        except (ValueError, TypeError, KeyError) as error:
            raise InputError("This is no audit in JSON: expunge audit --json writes one.") from error
        if version != VERSION:
            what = "it is older: run the audit again" if version in range(1, VERSION) else "it is not of this expunge"
            raise InputError(f"The audit is of version {version}, and version {VERSION} is read; {what}.")
        audit = from_tree(cls, tree)
        assert isinstance(audit, cls)
        return audit


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None


def _within(where: str | None) -> bool | None:
    return None if where is None else where == "within"
