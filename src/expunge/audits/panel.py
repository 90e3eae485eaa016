"""The models of one audit side by side, and how a figure of each becomes one `Measure` with its null and calibration.

`before` is doing nothing, `after` the model under audit, `retrained` learned without the rows on the same seed, the
references the same with independent seeds and fresh noise; `repeats` are more models made to forget the same rows, each
with its model before. Nothing here knows how any of them was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from expunge.audits.audit import Measure
from expunge.audits.calibration import calibrate, calibrate_distances
from expunge.audits.candidates import Candidate, Outputs, outputs
from expunge.audits.metrics import Band, Floats
from expunge.errors import InputError
from expunge.rows import Rows


@dataclass(frozen=True, eq=False)
class Subject:
    """The models of one audit; `references` may be empty, `retrained` None where nobody learned again.

    `repeats`: more models (before, after) that were made to forget the same rows, under seeds of their own.
    """

    before: Candidate
    after: Candidate
    retrained: Candidate | None
    references: Sequence[Candidate]
    repeats: Sequence[tuple[Candidate, Candidate]] = ()


@dataclass(frozen=True, eq=False)
class Seen:
    """What one model says of each set of rows ("retained", "forgotten", perhaps "test"), and its tensors."""

    candidate: Candidate
    on: Mapping[str, Outputs]


@dataclass(frozen=True, eq=False)
class Panel:
    """The models of a `Subject`, each asked about every set of rows."""

    before: Seen
    after: Seen
    retrained: Seen | None
    references: Sequence[Seen]
    repeats: Sequence[tuple[Seen, Seen]]

    @property
    def audited(self) -> list[Seen]:
        """The model under audit, then the repeats of it."""
        return [self.after, *(after for _, after in self.repeats)]

    @property
    def pool(self) -> list[Seen]:
        """The audited models, then the references: exchangeable if forgetting gives what learning again gives."""
        return [*self.audited, *self.references]

    @property
    def everyone(self) -> list[Seen]:
        """All models there are."""
        befores = [self.before, *(before for before, _ in self.repeats)]
        return [*befores, *([] if self.retrained is None else [self.retrained]), *self.pool]

    def alone(self, name: str, of: Callable[[Seen], float], pooled: Callable[[int], float] | None = None) -> Measure:
        """A figure that each model has for itself.

        Args:
            pooled: the figure of the i-th of `pool` in which all of the pool play one part, where `of` compares the
                model with the references: only a symmetric figure is exchangeable, so the p-value is of it. Interval
                and least effect stay those of `of`: audited models that stand out shift every pooled figure.
        """
        again = None if self.retrained is None else of(self.retrained)
        null, count = [of(seen) for seen in self.references], len(self.audited)
        after = of(self.after)
        calibration = calibrate([after, *(of(seen) for seen in self.audited[1:])], null)
        if pooled is not None and calibration is not None:
            values = [pooled(i) for i in range(len(self.pool))]
            exchangeable = calibrate(values[:count], values[count:])
            calibration = None if exchangeable is None else replace(calibration, p_value=exchangeable.p_value)
        return Measure(name, of(self.before), after, again, Band.of(null), calibration)

    def pair(
        self,
        name: str,
        of: Callable[[Seen, Seen], float | None],
        nearer: Literal["low", "high"] = "low",
        *,
        symmetric: bool = True,
    ) -> Measure | None:
        """A figure of two models: against the references (else the retrained model), the median.

        The null is each reference against the others. None where the two cannot be compared.

        Args:
            nearer: whether low or high figures say that two models are alike.
            symmetric: whether the order of the two models means nothing.
        """
        against = self.references or ([] if self.retrained is None else [self.retrained])

        def median(seen: Seen) -> float | None:
            values = [of(seen, other) for other in against if other is not seen]
            known = [value for value in values if value is not None]
            return float(np.median(known)) if known else None

        table = self._table(of, symmetric)
        if table is None:
            after, null = median(self.after), []
        else:
            count = len(self.audited)
            after, among = float(np.median(table[0, count:])), table[count:, count:]
            null = [float(np.median(np.delete(row, place))) for place, row in enumerate(among)]
        if after is None:
            return None
        calibration = None
        if table is not None:
            further: Literal["greater", "less"] = "greater" if nearer == "low" else "less"
            calibration = calibrate_distances(table, len(self.audited), further)
        again = None if self.retrained is None else median(self.retrained)
        return Measure(name, median(self.before), after, again, Band.of(null), calibration)

    def _table(self, of: Callable[[Seen, Seen], float | None], symmetric: bool) -> Floats | None:
        """The figure of every two models of the pool; None with fewer than two references or an unknown figure."""
        if len(self.references) < 2:
            return None
        pool = self.pool
        found = np.zeros((len(pool), len(pool)))
        for i, one in enumerate(pool):
            for j, other in enumerate(pool):
                if symmetric and j < i:
                    found[i, j] = found[j, i]
                elif i != j:
                    value = of(one, other)
                    if value is None:
                        return None
                    found[i, j] = value
        return found


def panel_of(subject: Subject, retained: Rows, forgotten: Rows, test: Rows | None) -> Panel:
    """Ask every model about every set of rows.

    Raises:
        InputError: there is nothing to compare on: no retained or no forgotten row.
    """
    if not len(retained) or not len(forgotten):
        raise InputError(
            f"{len(retained)} retained and {len(forgotten)} forgotten rows were given; an audit needs both."
        )
    sets = {"retained": retained, "forgotten": forgotten} | ({"test": test} if test is not None and len(test) else {})

    def see(candidate: Candidate) -> Seen:
        return Seen(candidate, {name: outputs(candidate, rows) for name, rows in sets.items()})

    return Panel(
        see(subject.before),
        see(subject.after),
        None if subject.retrained is None else see(subject.retrained),
        [see(candidate) for candidate in subject.references],
        [(see(before), see(after)) for before, after in subject.repeats],
    )
