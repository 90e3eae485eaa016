"""DeepObliviate: train again from the block of the row until its influence is stationary, then stitch [He et al. 2021].

The rows are dealt into blocks D_1..D_B, on which training goes on from checkpoint to checkpoint, theta_j after D_j. To
forget rows, the first of which lies in D_d, training starts again at theta^U_{d-1} = theta_{d-1} and runs through D_d,
D_{d+1}, .. without the rows. After block d + t it compares what the block did to the weights, then and now,

    Delta_t = |V - V^U|_1 / |V|_1,    V = theta_{d+t} - theta_{d+t-1},    V^U likewise    (temporal residual memory),

takes the exponent alpha of Delta_0..Delta_t by detrended fluctuation analysis, fits Y(x) = a x^-alpha + b by least
squares on x = 1..t+1 (maths/fluctuation.py), and stops when |Y'(t+1)| is below the threshold, though never before the
last block that held a forgotten row. What is left of the old training is added unchanged,

    h^U = theta^U_{d+t} + (theta_B - theta_{d+t})                                             (algorithm 9, line 19).

It is nearer to retraining than the untouched model just where more than half of the change theta^U_{d+t} - theta_{d+t}
would have survived the blocks left out, and by little where they would have added much. The guard forecasts the ratio
of the distances (maths/survival.py). Without a stop this is sequential retraining, exact from an exact checkpoint on.

Differs from the paper in:
1. Delta is divided by |V|_1 (`residuals="absolute"` is the paper's): an L1 norm grows with the number of weights and
   with the learning rate, and so does a threshold on it.
2. x counts from 1 at block d, so that the fit does not depend on where in the order the rows lie; theta_0 is kept, so
   that d = 1 has a start; to theta^U_B, where no stop came, nothing is added.
3. After a stop every later theta_j is moved by theta^U_{d+t} - theta_{d+t}; moments, running statistics and counters
   stay. The paper leaves theta_j stale: the next request would add a difference of old and new checkpoints.
4. Several rows may leave at once, in several blocks. Blocks are keyed hashes of owners; the order in them is keyed.
5. Ten residuals at least, as fewer have no exponent; blocks without rows have none.
6. It cannot adopt a model trained elsewhere: there is no checkpoint of it to start from.

Guarantee: none where it stitches (audited only); exact where training ran to the end from an exact checkpoint
Models: networks (Sgd) and linear models (Convex), trained block after block
Strong: the rest of the training is left out once the change looks stationary
Weak: what is stitched still knows the forgotten rows, and need not be nearer to retraining than doing nothing
Paper: He et al. 2021
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from torch import Tensor

from expunge.certificate import Certificate, Uncertified
from expunge.errors import InputError
from expunge.keyed import Purpose
from expunge.learners.dealing import Dealing
from expunge.learners.differentiable import Differentiable
from expunge.learners.inputs import in_memory
from expunge.learners.learner import Training
from expunge.learners.sgd import Sgd
from expunge.maths import fluctuation
from expunge.maths.survival import distance_ratio, growth_to, survival, survival_to
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import EXACT
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE: Purpose = ("deep-obliviate",)
STITCHED = (
    "The release is, or was trained on from, a sum of old and new checkpoints, and so are checkpoints that are kept: "
    "they still know the forgotten rows, and nothing was proved of what is left of them."
)
NEAR = 0.9  # of doing nothing's distance: what is above, the guard calls no better
NEARER = " By the guard's estimate it is nearer to retraining than the untouched model."
NO_BETTER = " By the guard's estimate stitching was no better than doing nothing, or hardly."


@dataclass(frozen=True, eq=False)
class DeepObliviateRecord:
    """`checkpoints`: theta_0..theta_B. `exact`: how many of the first equal those that the rows alone would give."""

    seed: int
    size: int
    exact: int
    checkpoints: tuple[Training, ...]


@dataclass(frozen=True)
class DeepObliviate(Method[DeepObliviateRecord]):
    """Retrain block after block until the change is stationary; add the rest of the old training.

    Args:
        learner: its epochs are those on each block. blocks: B.
        threshold: epsilon of |Y'| < epsilon; 0 never stops: sequential retraining, exact.
        residuals: "normalised" by |V|_1, or "absolute" as published; the threshold is in their units, per block.
    """

    features_may_change: ClassVar[bool] = False  # the checkpoints were trained on the features of then
    learner: Differentiable = field(default_factory=lambda: Sgd(epochs=1))
    blocks: int = 60
    threshold: float = 1e-3
    residuals: Literal["normalised", "absolute"] = "normalised"

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise InputError(f"blocks={self.blocks} was given, and at least 1 was expected.")
        if not self.threshold >= 0:
            raise InputError(f"threshold={self.threshold} was given; give 0 (never stop) or more, such as 1e-3.")
        if self.residuals not in ("normalised", "absolute"):
            raise InputError(f"residuals={self.residuals!r} was given; expected 'normalised' or 'absolute'.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> DeepObliviateRecord:
        """Train block after block, and keep every checkpoint. No noise is used.

        Raises:
            InputError: no row, no target, one class only, or a column that cannot be read.
        """
        del noise
        check_learnable(rows)
        checkpoints = [self.learner.start(rows.schema, seed, PURPOSE)]
        for _, part in self._parts(seed, rows, 1, self.blocks):
            checkpoints.append(self._trained(checkpoints[-1], part, seed))
        return DeepObliviateRecord(seed, len(rows), len(checkpoints), tuple(checkpoints))

    def forget(
        self, record: DeepObliviateRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey
    ) -> Forgetting[DeepObliviateRecord]:
        """Train again without the rows, from the checkpoint before the first block that holds one.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(record.size, retained, forgotten)
        return self._again(record, retained, forgotten)

    def extend(
        self, record: DeepObliviateRecord, retained: Rows, added: Rows, *, noise: NoiseKey
    ) -> Forgetting[DeepObliviateRecord]:
        """Train again with the rows, from the checkpoint before the first block that gets one, by the same rule.

        Raises:
            InputError: these are not the record's rows, or an id is among them already.
        """
        del noise
        check_size(record.size, retained)
        return self._again(record, retained.and_rows(added), added)

    def release(self, record: DeepObliviateRecord) -> Release:
        """The last checkpoint's weights; the others stay."""
        return self.learner.release(record.checkpoints[-1])

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs)."""
        return self.learner.predict(release, columns)

    def _again(self, record: DeepObliviateRecord, rows: Rows, changed: Rows) -> Forgetting[DeepObliviateRecord]:
        """Algorithm 9, on `rows`, which now lack or have those that `changed`."""
        affected = [block + 1 for block in Dealing(record.seed, self.blocks, 1).first_slices(changed)]
        if not affected:
            return Forgetting(record, _promise(record), {"rows_visited": 0.0})
        first, old, flat = min(affected), record.checkpoints, self.learner.flat
        new, residuals, slope = [old[first - 1]], list[float](), math.inf
        for block, part in self._parts(record.seed, rows, first, fluctuation.SHORTEST):
            new.append(self._trained(new[-1], part, record.seed))
            residuals += self._residual(flat(old[block]) - flat(old[block - 1]), flat(new[-1]) - flat(new[-2]))
            if len(residuals) >= fluctuation.SHORTEST:
                slope = abs(fluctuation.power_law(residuals).slope(len(residuals)))
            if block >= max(affected) and slope < self.threshold:
                break
        change = flat(new[-1]) - flat(old[block])
        stitched = [self.learner.shifted(later, change) for later in old[block + 1 :]]
        exact = block + 1 if first <= record.exact else record.exact
        after = DeepObliviateRecord(record.seed, len(rows), exact, (*old[:first], *new[1:], *stitched))
        stats = {"rows_visited": float(new[-1].visits - new[0].visits), "first_block": float(first)}
        stats |= {"last_block": float(block), "residual": residuals[-1] if residuals else math.nan, "slope": slope}
        if not stitched:
            return Forgetting(after, _promise(after), stats)
        changes = (flat(now) - flat(then) for now, then in zip(new[1:], old[first:], strict=False))
        known, lengths = zip(*((survival(e, change), float(e.norm())) for e in changes), strict=True)
        end = self.blocks - first + 1
        stats |= {"survival": survival_to(end, known), "growth": growth_to(end, lengths)}
        ratio = distance_ratio(stats["survival"], stats["growth"])
        return Forgetting(after, _promise(after, ratio), stats | {"distance_ratio": ratio})

    def _residual(self, before: Tensor, after: Tensor) -> list[float]:
        """Delta of one block; nothing where the old training made no step."""
        length = float(before.abs().sum())
        delta = float((before - after).abs().sum())
        return [delta / length if self.residuals == "normalised" else delta] if length else []

    def _parts(self, seed: int, rows: Rows, first: int, run: int) -> Iterator[tuple[int, Rows]]:
        """Each block from `first` on and its rows: `run` blocks from one reading of `rows`, then twice as many, .."""
        while first <= self.blocks:
            parts = Dealing(seed, self.blocks, 1).parts(rows, range(first - 1, min(first - 1 + run, self.blocks)))
            yield from ((block + 1, in_memory([part], rows.schema)) for block, part in parts.items())
            first, run = first + run, 2 * run

    def _trained(self, training: Training, part: Rows, seed: int) -> Training:
        """The state after one more block; one without rows passes its epochs: the later ones keep their order."""
        if not len(part):
            return replace(training, epochs=training.epochs + self.learner.epochs)
        return self.learner.train(training, part, seed=seed, purpose=PURPOSE)


def _promise(record: DeepObliviateRecord, ratio: float = math.nan) -> Certificate:
    """Exact where every checkpoint is; else why not, and the guard's word without its figure, which is of the rows."""
    if record.exact == len(record.checkpoints):
        return EXACT
    return Uncertified(STITCHED if math.isnan(ratio) else STITCHED + (NEARER if ratio <= NEAR else NO_BETTER))
