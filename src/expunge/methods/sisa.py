"""SISA: sharded, isolated, sliced, aggregated training [Bourtoule et al. 2021, IEEE S&P, section IV].

The rows are dealt into S disjoint shards, each shard into R slices. Shard s is trained on its own: step r trains on
slices 1..r, from the checkpoint of step r-1, for e_r epochs,

    M_{s,r} = TRAIN(M_{s,r-1}; D_{s,1} u ... u D_{s,r}; e_r epochs),    M_{s,0} = init(seed, s)

and the S models M_{s,R} vote. To forget rows, each shard that holds one goes back to the checkpoint before the first
slice that holds one and trains the steps from there on what is left; all others stay as they are. One row costs a share
(2/3 + 1/(3R)) / S of learning, in expectation. The checkpoints replaced are gone.

Differs from the paper and its code in:
1. Shard and slice are hashes of the row's owner (its subject; its id where it has none) under the seed. Nothing is
   reshuffled when rows leave or arrive, new rows can be learned (`extend`), and no tail of a shard is missed. Sizes are
   binomial instead of equal.
2. Order of rows, batches (cut after removal) and initial weights are keyed: the record after forgetting equals, bit for
   bit, the one learned without the rows.
3. A checkpoint is the whole training state: weights, buffers, the optimiser's moments, counters.
4. e_r = max(1, floor(r a) - floor((r-1) a)) with a = 2e/(R+1): about e full epochs of row visits in all. The paper's
   code lacks the max, and with few epochs and many slices never trains some slices, the last one included.
5. Majority voting adds one vote, shared out by the mean of the models' probabilities: ties are broken by confidence,
   and no log-probability is infinite.
6. A shard without rows (or with fewer than `least_rows`) has no vote.
7. Features can be fitted in each shard (`Featured`); the code scales everything by statistics of everybody.

SISA cannot adopt a model trained elsewhere: no checkpoint of it lacks any row.

Guarantee: exact, bit for bit
Models: any learner
Strong: one request trains part of one shard again
Weak: a batch may touch every shard, and shards learn from few rows each
Paper: Bourtoule et al. 2021
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.learners.balance import Balance, balance_of
from expunge.learners.dealing import Dealing
from expunge.learners.ensemble import model_in, released
from expunge.learners.inputs import in_memory
from expunge.learners.learner import Learner, Training
from expunge.learners.parallel import in_parallel
from expunge.learners.sgd import Sgd
from expunge.maths.aggregation import combined
from expunge.maths.sharding import Cost, expected_cost, slice_epochs
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import exact
from expunge.noise import NoiseKey
from expunge.rows import Rows, Table
from expunge.schema import Array, Schema


@dataclass(frozen=True, eq=False)
class SisaRecord:
    """`sizes`: rows of each shard. `checkpoints[s][r]`: the state of shard s after its step r."""

    seed: int
    sizes: tuple[int, ...]
    checkpoints: tuple[tuple[Training, ...], ...]


@dataclass(frozen=True)
class Sisa(Method[SisaRecord]):
    """Exact forgetting for any learner, at the price of retraining the parts that saw the row.

    Shards train through joblib: `joblib.parallel_config(n_jobs=...)` outside changes the time, not a bit of the record.

    Args:
        learner: how one shard is trained. One that starts again at each call (`ScikitLearn`) gains nothing from slices:
            give it slices=1. `Featured(features, learner)` fits features in each shard.
        shards: S. slices: R.
        aggregation: "majority" of votes; "mean" of probabilities (of values, for a regression); "weighted" mean by the
            shards' sizes, which then are part of the release.
        deal_by: "owner" keeps a person's rows together; "row" spreads them, so that none fills a shard.
        prone_column: marks rows that are likely to leave (not 0). They share the last `prone_shards` shards.
        least_rows: a step on fewer trains nothing, and a shard of fewer has no vote.
        timeout: seconds that a shard may take on a parallel backend before `WorkersLost`.
    """

    learner: Learner = field(default_factory=Sgd)
    shards: int = 10
    slices: int = 5
    aggregation: Literal["majority", "mean", "weighted"] = "majority"
    deal_by: Literal["owner", "row"] = "owner"
    prone_column: str = ""
    prone_shards: int = 0
    least_rows: int = 1
    timeout: float = 86_400.0

    def __post_init__(self) -> None:
        self._dealing(0)  # which checks what it is given
        if not (self.least_rows >= 1 and self.timeout > 0):
            raise InputError(f"Positive numbers were expected: least_rows={self.least_rows}, timeout={self.timeout}.")
        if self.aggregation not in ("majority", "mean", "weighted"):
            raise InputError(f"aggregation={self.aggregation!r} was given; expected 'majority', 'mean' or 'weighted'.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> SisaRecord:
        """Train every shard, slice by slice. No noise is used.

        Raises:
            InputError: these rows cannot be learned (so). WorkersLost: a parallel training died or took too long.
        """
        del noise
        check_learnable(rows)
        if self.aggregation == "majority" and not rows.classes:
            raise InputError("A regression has no majority: give aggregation='mean' or 'weighted'.")
        nothing = SisaRecord(seed, (0,) * self.shards, ((),) * self.shards)
        return self._train(nothing, rows, dict.fromkeys(range(self.shards), 0)).record

    def forget(self, record: SisaRecord, retained: Rows, forgotten: Rows, *, noise: NoiseKey) -> Forgetting[SisaRecord]:
        """Retrain the shards that held a forgotten row, from the slice that held the first.

        Raises:
            MustRetrain: no row is left. InputError: these are not the record's rows, it has other shards or slices, or
                no shard has `least_rows` left. WorkersLost: see `learn`.
        """
        del noise
        check_step(retained, forgotten)
        self._check_record(record, retained, forgotten)
        return self._train(record, retained, self._dealing(record.seed).first_slices(forgotten))

    def extend(self, record: SisaRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[SisaRecord]:
        """Retrain the shards that get a row, from the slice that gets the first: as if all were learned together.

        Raises:
            InputError: see `forget`, or an id is among the rows already. WorkersLost: see `learn`.
        """
        del noise
        self._check_record(record, retained)
        return self._train(record, retained.and_rows(added), self._dealing(record.seed).first_slices(added))

    def release(self, record: SisaRecord) -> Release:
        """The last checkpoint's weights of each shard that votes, as "shard/name"."""
        voting = self._voting(record)
        sizes = {"sizes": tuple(record.sizes[s] for s in voting)} if self.aggregation == "weighted" else {}
        models = {shard: self.learner.release(record.checkpoints[shard][-1]) for shard in voting}
        return released(models, sizes | {"shards": voting, "aggregation": self.aggregation})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): the models' aggregated log-probabilities, or values for a regression."""
        models = [model_in(release, shard) for shard in release.settings["shards"]]
        scores = torch.stack([self.learner.predict(model, columns).double() for model in models])
        how, classes = release.settings["aggregation"], bool(models[0].settings["classes"])
        return combined(scores, how, classes, release.settings.get("sizes"))

    def balance(self, rows: Rows, *, seed: int) -> Balance:
        """How evenly these rows would be dealt under a seed, beside what is expected; reads them once."""
        return balance_of(self._dealing(seed), rows)

    def expected_cost(self, rows: int, deletions: int, *, batch: int | None = None, prone: bool = False) -> Cost:
        """What it costs to forget so many of so many rows, `batch` at once; all of them are prone, or none is."""
        shards = self.prone_shards if prone else self.shards - self.prone_shards
        return expected_cost(rows, deletions, shards, self.slices, self.learner.epochs, batch)

    def _dealing(self, seed: int) -> Dealing:
        return Dealing(seed, self.shards, self.slices, self.deal_by, self.prone_column, self.prone_shards)

    def _voting(self, record: SisaRecord) -> tuple[int, ...]:
        return tuple(shard for shard, size in enumerate(record.sizes) if size >= self.least_rows)

    def _check_record(self, record: SisaRecord, *parts: Rows) -> None:
        check_size(sum(record.sizes), *parts)
        if (shape := (len(record.sizes), len(record.checkpoints[0]))) != (self.shards, self.slices):
            raise InputError(f"The record has {shape} shards and slices, the method {self.shards, self.slices}.")

    def _train(self, record: SisaRecord, rows: Rows, first: Mapping[int, int]) -> Forgetting[SisaRecord]:
        """The record with each shard of `first` trained again on `rows`, from that slice on."""
        dealing, jobs = self._dealing(record.seed), sorted(first.items())
        parts = dealing.parts(rows, first)
        work = [(record.seed, (None, *record.checkpoints[s])[r], parts[s], rows.schema, s, r) for s, r in jobs]
        trained = in_parallel(self._train_shard, work, self.timeout)
        sizes, checkpoints, visits = list(record.sizes), list(record.checkpoints), 0
        for (s, r), new in zip(jobs, trained, strict=True):
            visits += new[-1].visits - (checkpoints[s][r - 1].visits if r else 0)
            sizes[s], checkpoints[s] = len(parts[s]), (*checkpoints[s][:r], *new)
        after = SisaRecord(record.seed, tuple(sizes), tuple(checkpoints))
        if not self._voting(after):
            raise InputError(f"No shard of {self.shards} has least_rows={self.least_rows} rows: lower it, or shards.")
        slices = sum(self.slices - r for _, r in jobs)
        stats = {"rows_visited": visits, "shards_retrained": len(jobs), "slices_retrained": slices}
        return Forgetting(after, exact(self.learner, *dealing.assumptions), stats)

    def _train_shard(
        self, seed: int, before: Training | None, part: Table, schema: Schema, shard: int, first: int
    ) -> list[Training]:
        """The states of a shard after each step from `first` on, from the state `before` it (None: the start)."""
        purpose = ("sisa", "shard", shard)
        state = self.learner.start(schema, seed, purpose) if before is None else before
        slices = self._dealing(seed).places(part)[1]
        states = []
        for r, epochs in list(enumerate(slice_epochs(self.learner.epochs, self.slices)))[first:]:
            rows = in_memory([part.take(np.flatnonzero(slices <= r))], schema)
            if len(rows) >= self.least_rows:
                state = self.learner.train(state, rows, seed=seed, purpose=purpose, epochs=epochs)
            states.append(state)
        return states
