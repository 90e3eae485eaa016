"""Raw columns in, predictions out: fitted features and a method, forgetting together.

The reference process is the whole pipeline run on the rows that stay. On every step the accumulators give up the
forgotten rows (no pass over the others), the features are fitted again, and the method works on the re-fitted features.
What the release holds is enough to transform raw columns.

What was done to the columns before they came here (an upstream scaler, an encoder trained on them) cannot be seen and
is no part of any guarantee: a certificate on such columns assumes that it was public.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import hypot
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from expunge.certificate import Certificate, Certified, Exact, Uncertified, View
from expunge.errors import InputError, MustRetrain, Refused
from expunge.features import fitting
from expunge.features.feature import STATISTICS, Feature, Fitted, State
from expunge.features.frozen_network import FrozenNetwork
from expunge.features.numeric import Numeric
from expunge.maths import privacy
from expunge.method import Adopts, Checkable, Extends, Forgetting, Method, Release, Remembers, Settles, check_step
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

PREFIX = fitting.PREFIX
FRESH = "Noised statistics are drawn anew for every release: equal bit for bit under one key, else in distribution."


@runtime_checkable
class Budgeted(Protocol):
    """A method with a budget (epsilon, delta) and an epsilon above which nothing is certified."""

    @property
    def epsilon(self) -> float: ...  # noqa: D102

    @property
    def delta(self) -> float: ...  # noqa: D102

    @property
    def max_epsilon(self) -> float: ...  # noqa: D102


@runtime_checkable
class Tailed(Protocol):
    """A method that spends the share `tail` of delta on an event: no mu says all that it promises."""

    @property
    def tail(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class PipelineRecord:
    """`states`: exact accumulators over the rows in use. `fitted`: their public form. `inner`: the method's record.

    `gone`: how many rows were forgotten so far, where a feature's network was trained on them (private); else 0.
    """

    states: tuple[State, ...]
    fitted: tuple[Fitted, ...]
    inner: Any
    gone: int = 0


@dataclass(frozen=True)
class Pipeline(Method[PipelineRecord]):
    """A method on features of raw columns. It offers what its method offers: ask `offers(pipeline, Protocol)`.

    Args:
        features: column transforms; one keeps its shape (images), several stand side by side in the column `x`.
        method: what learns from them. Unless it says `features_may_change`, a step that changes the fitted features
            raises MustRetrain; declare statistics public to avoid that.
        beside: raw columns that the method gets as they are, beside the features: marks of core rows, say.
    """

    features: tuple[Feature, ...]
    method: Method[Any]
    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.features or not all(isinstance(feature, Feature) for feature in self.features):
            raise InputError(
                f"A Pipeline needs a tuple of features, for instance tabular(rows); given: {self.features!r}."
            )
        if not isinstance(self.method, Method) or isinstance(self.method, Pipeline):
            raise InputError(
                f"A Pipeline needs a Method after its features, and not a Pipeline again (put all features into one); "
                f"given: {self.method!r}."
            )

    @property
    def statistics(self) -> str:
        """The weakest of the features': "public", "noised" or "exact"."""
        return max((feature.statistics for feature in self.features), key=STATISTICS.index)

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> PipelineRecord:
        """Fit the features, and learn from them.

        Raises:
            InputError: a column cannot be used. Refused: weights and noised statistics together exceed the method's
                largest epsilon.
        """
        self._check_budget()
        states = fitting.accumulated(self.features, rows)
        forms = fitting.fitted(self.features, states, noise)
        inner = self.method.learn(self._mapped(forms, rows), seed=seed, noise=noise)
        return PipelineRecord(states, forms, inner)

    def forget(
        self, record: PipelineRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[PipelineRecord]:
        """Take the rows out of the statistics, fit again, and let the method forget.

        The forgotten rows reach the method under the features they were learned with, as that is how they stand in a
        cached curvature; the retained ones under the new.

        Raises:
            MustRetrain: the fitted features changed and the method cannot follow, or their width changed.
        """
        check_step(retained, forgotten)
        states = fitting.without_rows(record.states, fitting.accumulated(self.features, forgotten))
        before = self._mapped(record.fitted, forgotten)
        if len(forgotten):
            forms, after = self._refitted(record, states, retained, noise)
        else:  # noised statistics would be drawn anew
            forms, after = record.fitted, self._mapped(record.fitted, retained)
        step = self.method.forget(record.inner, after, before, noise=noise)
        gone = record.gone + len(forgotten) if self._private() else 0
        return replace(
            step,
            record=PipelineRecord(states, forms, step.record, gone),
            certificate=self._certificate(step.certificate, len(forgotten), gone),
        )

    def release(self, record: PipelineRecord) -> Release:
        """The method's release, with the fitted statistics under `features/<place>/<name>` and how they are known."""
        inner = self.method.release(record.inner)
        named = fitting.named(record.fitted)
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        settings = {name: value for name, value in named.items() if name not in tensors}
        return Release({**inner.tensors, **tensors}, {**inner.settings, **settings, "statistics": self.statistics})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores of raw columns, from the release alone."""
        x = fitting.transformed(self.features, self._forms(release), columns)
        return self.method.predict(_inner(release), {"x": x})

    def extend(
        self, record: PipelineRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[PipelineRecord]:
        """Take new rows into the statistics, fit again, and let the method extend.

        Raises:
            MustRetrain: the method does not extend, or cannot follow features that changed.
        """
        if not isinstance(self.method, Extends):
            raise MustRetrain(f"{type(self.method).__name__} does not learn new rows without starting again.")
        states = fitting.with_rows(record.states, fitting.accumulated(self.features, added))
        forms, after = self._refitted(record, states, retained, noise)
        step = self.method.extend(record.inner, after, self._mapped(forms, added), noise=noise)
        return replace(
            step,
            record=PipelineRecord(states, forms, step.record, record.gone),
            certificate=self._certificate(step.certificate, len(added), record.gone),
        )

    def adopt(self, weights: Mapping[str, Tensor], rows: Rows, *, seed: int, noise: NoiseKey) -> PipelineRecord:
        """Start from a model trained elsewhere on these features of these rows.

        Raises:
            Refused: the method adopts no model.
        """
        if not isinstance(self.method, Adopts):
            raise Refused(f"{type(self.method).__name__} adopts no model trained elsewhere; let it learn.")
        self._check_budget()
        states = fitting.accumulated(self.features, rows)
        forms = fitting.fitted(self.features, states, noise)
        after = self._mapped(forms, rows)
        return PipelineRecord(states, forms, self.method.adopt(weights, after, seed=seed, noise=noise))

    def settle(self, record: PipelineRecord, retained: Rows) -> PipelineRecord:
        """The method's caches recomputed; the features hold none of an earlier step."""
        if not isinstance(self.method, Settles):
            return record
        after = self._mapped(record.fitted, retained)
        return replace(record, inner=self.method.settle(record.inner, after))

    def remember(self, learned: PipelineRecord, before: PipelineRecord) -> PipelineRecord:
        """What the method's later certificates must know of the record before."""
        if not isinstance(self.method, Remembers):
            return learned
        return replace(learned, inner=self.method.remember(learned.inner, before.inner))

    def minimiser(self, rows: Rows, *, tol: float = 1e-12) -> Tensor:
        """The method's minimiser on the features fitted on these rows.

        Raises:
            Refused: the method has none, or the statistics are noised (their noise is not known here).
        """
        if not isinstance(self.method, Checkable) or self.statistics == "noised":
            raise Refused("No minimiser to compare with: the method is not convex, or its features are noised.")
        forms = fitting.fitted(self.features, fitting.accumulated(self.features, rows), None)
        return self.method.minimiser(self._mapped(forms, rows), tol=tol)

    def centre(self, release: Release, noise: NoiseKey) -> Tensor:
        """The method's weights without their noise."""
        if not isinstance(self.method, Checkable):
            raise Refused(f"{type(self.method).__name__} adds no noise that could be taken off.")
        return self.method.centre(_inner(release), noise)

    def inside(self, release: Release) -> Release:
        """What the method inside released, without the fitted statistics."""
        return _inner(release)

    def mapped(self, release: Release, rows: Rows) -> Rows:
        """Raw rows as the method inside sees them, under the statistics of a release."""
        return self._mapped(self._forms(release), rows)

    def _refitted(
        self, record: PipelineRecord, states: tuple[State, ...], retained: Rows, noise: NoiseKey
    ) -> tuple[tuple[Fitted, ...], Rows]:
        forms = fitting.fitted(self.features, states, noise)
        after = self._mapped(forms, retained)
        if fitting.same(forms, record.fitted):
            return forms, after
        if after.schema.columns != self._mapped(record.fitted, retained).schema.columns:
            raise MustRetrain("A level came or went with these rows, and the features have another width without it.")
        if not self.method.features_may_change:
            raise MustRetrain(
                f"{type(self.method).__name__} needs features that stay as they were, and their {self.statistics} "
                "statistics changed with these rows. Declared public statistics (declare_public) would not; SISA can "
                "fit them in each shard (learners.featured.Featured)."
            )
        return forms, after

    def _certificate(self, certificate: Certificate, changed_rows: int, gone: int) -> Certificate:
        notes = declared(self)
        if gone > min((feature.max_forgotten for feature in self._private()), default=gone):
            return Uncertified("More rows were forgotten than the frozen network's max_forgotten covers.")
        match certificate:
            case Uncertified():
                return certificate
            case Exact() if self._private():
                return Uncertified("The method is exact, but its frozen network was trained on the forgotten rows.")
            case Exact():
                drawn = (FRESH,) if self._noised() else ()
                return replace(
                    certificate,
                    conditions=(*certificate.conditions, *drawn),
                    assumptions=(*certificate.assumptions, *notes),
                )
            case Certified():
                return self._composed(
                    replace(certificate, assumptions=(*certificate.assumptions, *notes)), changed_rows
                )

    def _composed(self, certificate: Certified, changed_rows: int) -> Certificate:
        """The certificate for weights and statistics together: `mu^2 = mu_weights^2 + mu_features^2`."""
        view = View.ONE_RELEASE if self.statistics == "exact" else certificate.view
        if changed_rows > min((feature.max_batch for feature in self._noised()), default=changed_rows):
            return Uncertified("This step changed more rows than the noised statistics' max_batch covers.")
        share = self._share()
        if not share:
            return replace(certificate, view=view)
        # mu lies a little under its epsilon's curve, which pays for machine noise: epsilon is composed from the curve.
        whole = privacy.compose([privacy.mu_of(certificate.epsilon, certificate.delta), share])
        epsilon = max(certificate.epsilon, privacy.epsilon_of(whole, certificate.delta))
        return replace(certificate, view=view, mu=privacy.compose([certificate.mu, share]), epsilon=epsilon)

    def _noised(self) -> list[Numeric]:
        return [f for f in self.features if isinstance(f, Numeric) and f.statistics == "noised"]

    def _mapped(self, forms: tuple[Fitted, ...], rows: Rows) -> Rows:
        if "x" in self.beside:
            raise InputError("The column x is where the features go; another one may stand beside it, not x itself.")
        if missing := set(self.beside) - {column.name for column in rows.schema.columns}:
            raise InputError(f"The columns {sorted(missing)} are to stand beside the features, and the rows have none.")
        return fitting.mapped(self.features, forms, rows, self.beside)

    @property
    def knows_rows(self) -> bool:
        """Whether a feature's network was trained on the rows, and learning again does not change it."""
        return bool(self._private())

    def _private(self) -> list[FrozenNetwork]:
        return [f for f in self.features if isinstance(f, FrozenNetwork) and f.origin == "private"]

    def _share(self) -> float:
        """The mu of the noised statistics for a step of at most `max_batch` rows, and of networks trained on rows."""
        return hypot(*(feature.mu for feature in self._noised()), *(network.share for network in self._private()))

    def _check_budget(self) -> None:
        share = self._share()
        if share and isinstance(self.method, Tailed) and self.method.tail:
            raise Refused(f"tail={self.method.tail} does not compose with noised or private features: set it to 0.")
        if not share or not isinstance(self.method, Budgeted):
            return
        mu = privacy.compose([privacy.mu_of(self.method.epsilon, self.method.delta), share])
        epsilon = privacy.epsilon_of(mu, self.method.delta)
        if epsilon > self.method.max_epsilon:
            raise Refused(
                f"Weights (epsilon {self.method.epsilon:g}) and features (mu {share:.3g}) together spend "
                f"epsilon {epsilon:.3g}; max_epsilon is {self.method.max_epsilon:g}. Lower epsilon or mu, or raise it."
            )

    def _forms(self, release: Release) -> tuple[Fitted, ...]:
        return fitting.forms_in({**release.tensors, **release.settings}, len(self.features))


def offers(method: Method[Any], protocol: type) -> bool:
    """Whether a method offers a protocol of `expunge.method` (`Extends`, `Settles`, ...), seen through a Pipeline.

    A Pipeline has all their functions; what they can do depends on the method inside.
    """
    if not isinstance(method, Pipeline):
        return isinstance(method, protocol)
    if protocol is Checkable and method.statistics == "noised":
        return False
    return offers(method.method, protocol)


def needs_target(method: Method[Any]) -> bool:
    """Whether a method learns to predict a target, seen through a Pipeline; a clustering does not."""
    return needs_target(method.method) if isinstance(method, Pipeline) else method.needs_target


def learned_again(
    method: Method[Any], before: Any, learned: Any, forgotten: int, certificate: Certificate
) -> tuple[Any, Certificate]:
    """The record `learned` anew, with what it must remember, and its certificate.

    `Uncertified` where a frozen network was trained on the rows and stays.

    Args:
        before: the record that was replaced. forgotten: rows that left with the step.
    """
    if offers(method, Remembers):
        learned = method.remember(learned, before)  # type: ignore[attr-defined]
    if not isinstance(method, Pipeline) or not method.knows_rows:
        return learned, certificate
    why = "The model was learned again, but its frozen network was trained on the forgotten rows and stays."
    return replace(learned, gone=before.gone + forgotten), Uncertified(why)


def declared(method: Method[Any]) -> tuple[str, ...]:
    """What any certificate on a method's features assumes, in words; nothing where it has none."""
    if not isinstance(method, Pipeline):
        return ()
    return tuple(note for feature in method.features for note in feature.assumptions())


def _inner(release: Release) -> Release:
    return Release(
        {name: tensor for name, tensor in release.tensors.items() if not name.startswith(PREFIX)},
        {
            name: value
            for name, value in release.settings.items()
            if not name.startswith(PREFIX) and name != "statistics"
        },
    )
