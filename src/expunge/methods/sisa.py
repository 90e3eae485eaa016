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
6. A shard without rows has no vote.

SISA cannot adopt a model trained elsewhere: that model was not trained shard by shard, and no checkpoint of it lacks
any row.

Guarantee: exact, bit for bit
Models: any learner
Strong: one request trains part of one shard again
Weak: a batch may touch every shard, and shards learn from few rows each
Paper: Bourtoule et al. 2021
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import joblib
import numpy as np
import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.learners.dealing import Dealing
from expunge.learners.inputs import in_memory
from expunge.learners.learner import Learner, Training, one_thread
from expunge.learners.sgd import Sgd
from expunge.maths import aggregation
from expunge.method import Forgetting, Method, Release, check_learnable, check_size, check_step
from expunge.methods.retrain import EXACT
from expunge.noise import NoiseKey
from expunge.rows import Rows, Table
from expunge.schema import Array, Schema

Aggregation = Literal["majority", "mean", "weighted"]


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
        learner: how one shard is trained. A learner that starts again at each call (`ScikitLearn`) gains nothing from
            slices: give it slices=1.
        shards: S. slices: R.
        aggregation: "majority" of votes; "mean" of probabilities (of values, for a regression); "weighted" mean by the
            shards' sizes, which then are part of the release.
    """

    learner: Learner = field(default_factory=Sgd)
    shards: int = 10
    slices: int = 5
    aggregation: Aggregation = "majority"

    def __post_init__(self) -> None:
        for name, value in (("shards", self.shards), ("slices", self.slices)):
            if value < 1:
                raise InputError(f"{name}={value} was given, and at least 1 was expected.")
        if self.aggregation not in ("majority", "mean", "weighted"):
            raise InputError(f"aggregation={self.aggregation!r} was given; expected 'majority', 'mean' or 'weighted'.")

    def learn(self, rows: Rows, *, seed: int, noise: NoiseKey) -> SisaRecord:
        """Train every shard, slice by slice. No noise is used.

        Raises:
            InputError: no row, no target, one class only, an unreadable column, or a regression by majority.
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
            MustRetrain: no row is left. InputError: these are not the record's rows.
        """
        del noise
        check_step(retained, forgotten)
        check_size(sum(record.sizes), retained, forgotten)
        return self._train(record, retained, self._dealing(record.seed).first_slices(forgotten))

    def extend(self, record: SisaRecord, retained: Rows, added: Rows, *, noise: NoiseKey) -> Forgetting[SisaRecord]:
        """Retrain the shards that get a row, from the slice that gets the first: as if all were learned together.

        Raises:
            InputError: these are not the record's rows, or an id is among them already.
        """
        del noise
        check_size(sum(record.sizes), retained)
        return self._train(record, retained.and_rows(added), self._dealing(record.seed).first_slices(added))

    def release(self, record: SisaRecord) -> Release:
        """The last checkpoint's weights of each shard that has rows, as "shard/name"."""
        holding = tuple(shard for shard, size in enumerate(record.sizes) if size)
        models = {shard: self.learner.release(record.checkpoints[shard][-1]) for shard in holding}
        tensors = {f"{s}/{name}": tensor for s, model in models.items() for name, tensor in model.tensors.items()}
        settings = {f"{s}/{name}": value for s, model in models.items() for name, value in model.settings.items()}
        sizes = {"sizes": tuple(record.sizes[shard] for shard in holding)} if self.aggregation == "weighted" else {}
        return Release(tensors, settings | sizes | {"shards": holding, "aggregation": self.aggregation})

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): the models' aggregated log-probabilities, or values for a regression."""
        shards = release.settings["shards"]
        models = [_model(release, shard) for shard in shards]
        scores = torch.stack([self.learner.predict(model, columns).double() for model in models])
        if release.settings["aggregation"] == "majority":
            return aggregation.majority(scores)
        weights = torch.tensor(release.settings.get("sizes", (1,) * len(shards)), dtype=torch.float64)
        combine = aggregation.mixture if models[0].settings["classes"] else aggregation.mean
        return combine(scores, weights)

    def _dealing(self, seed: int) -> Dealing:
        return Dealing(seed, self.shards, self.slices)

    def _train(self, record: SisaRecord, rows: Rows, first: Mapping[int, int]) -> Forgetting[SisaRecord]:
        """The record with each shard of `first` trained again on `rows`, from that slice on."""
        parts = self._dealing(record.seed).parts(rows, first)
        with one_thread():
            # max_nbytes: joblib would otherwise map large rows to files outside the vault.
            trained = joblib.Parallel(max_nbytes=None)(
                joblib.delayed(self._train_shard)(
                    record.seed, (None, *record.checkpoints[s])[r], parts[s], rows.schema, s, r
                )
                for s, r in sorted(first.items())
            )
        sizes, checkpoints = list(record.sizes), list(record.checkpoints)
        visits = 0
        for (s, r), new in zip(sorted(first.items()), trained, strict=True):
            visits += new[-1].visits - (checkpoints[s][r - 1].visits if r else 0)
            sizes[s], checkpoints[s] = len(parts[s]), (*checkpoints[s][:r], *new)
        slices = sum(self.slices - r for r in first.values())
        stats = {"rows_visited": visits, "shards_retrained": len(first), "slices_retrained": slices}
        return Forgetting(SisaRecord(record.seed, tuple(sizes), tuple(checkpoints)), EXACT, stats)

    def _train_shard(
        self, seed: int, before: Training | None, part: Table, schema: Schema, shard: int, first: int
    ) -> list[Training]:
        """The states of a shard after each step from `first` on, from the state `before` it (None: the start)."""
        purpose = ("sisa", "shard", shard)
        state = self.learner.start(schema, seed, purpose) if before is None else before
        slices = self._dealing(seed).slices_of(part.owners)
        states = []
        for r, epochs in list(enumerate(slice_epochs(self.learner.epochs, self.slices)))[first:]:
            rows = in_memory([part.take(np.flatnonzero(slices <= r))], schema)
            if len(rows):
                state = self.learner.train(state, rows, seed=seed, purpose=purpose, epochs=epochs)
            states.append(state)
        return states


def slice_epochs(epochs: int, slices: int) -> tuple[int, ...]:
    """e_1..e_R: how many epochs step r trains on slices 1..r, at least one; `epochs` full epochs of visits in all."""
    shares = [2 * epochs * r // (slices + 1) for r in range(slices + 1)]
    return tuple(max(1, after - before) for before, after in pairwise(shares))


def _model(release: Release, shard: int) -> Release:
    """The release of one shard's model."""
    prefix = f"{shard}/"
    tensors = {name.removeprefix(prefix): t for name, t in release.tensors.items() if name.startswith(prefix)}
    settings = {name.removeprefix(prefix): v for name, v in release.settings.items() if name.startswith(prefix)}
    return Release(tensors, settings)
