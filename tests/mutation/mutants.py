"""Planted bugs: one-line edits of the package, each with the test that must catch it.

`old` must stand in the file exactly `times` times, so that a mutant cannot rot into a no-op.
"""

from __future__ import annotations

from .attacks import ATTACKS
from .attribution import ATTRIBUTION
from .clustering import CLUSTERING
from .comparisons import COMPARISONS
from .deep_obliviate import DEEP_OBLIVIATE
from .delta_grad import DELTA_GRAD
from .dependence import DEPENDENCE, L_FOCI
from .exact_classics import EXACT_CLASSICS
from .forest import FOREST
from .kept_rows import KEPT_ROWS
from .mutant import Mutant
from .scores import SCORES
from .second_order import SECOND_ORDER
from .sharded import SHARDED

CONTRACT = "tests/contract/test_contract.py::test_method_keeps_the_contract"
ORACLE = "tests/oracles/test_certified_newton_oracle.py"
NEWTON = "methods/certified_newton.py"
SOFTMAX = f"{CONTRACT}[certified_newton-softmax]"


CERTIFIED_NEWTON = (
    Mutant(
        "noise is drawn from the public seed",
        NEWTON,
        "weights = add_noise(solved.x.reshape(record.weights.shape), self.noise_std, noise)",
        "weights = add_noise(solved.x.reshape(record.weights.shape), self.noise_std, NoiseKey(b'7' * 32, 1))",
        SOFTMAX,
    ),
    Mutant(
        "no noise at all",
        NEWTON,
        "weights = add_noise(solved.x.reshape(record.weights.shape), self.noise_std, noise)",
        "weights = solved.x.reshape(record.weights.shape)",
        SOFTMAX,
    ),
    Mutant(
        "one noise for every release",
        "noise.py",
        'label = f"{self.release}:{purpose}".encode()',
        'label = f"{purpose}".encode()',
        "tests/test_noise.py",
    ),
    Mutant(
        "noiseless weights in the record",
        NEWTON,
        "return replace(record, weights=weights, number=noise.release), stats",
        "return replace(record, weights=weights, number=noise.release, anchor=Anchor(solved.x, weights, 1)), stats",
        SOFTMAX,
        also=(
            NEWTON,
            "        return replace(record, anchor=anchor)",
            "        return record",
        ),
    ),
    Mutant(
        "a stale factor and the old release kept past the purge",
        NEWTON,
        "        return replace(record, anchor=anchor)",
        "        return replace(record, anchor=record.anchor or anchor)",
        SOFTMAX,
    ),
    Mutant(
        "the whole distance on one side",
        "maths/privacy.py",
        "return strong_convexity * noise_std * mu / 2",
        "return strong_convexity * noise_std * mu",
        f"{ORACLE}::test_the_tolerance_is_half_the_tightening_budget",
    ),
    Mutant(
        "the schedule does not tighten",
        "budget.py",
        "return self.noise_std * self.mu(coordinates) * release_share(release)",
        "return self.noise_std * self.mu(coordinates)",
        SOFTMAX,
    ),
    Mutant(
        "an unpenalised intercept",
        "objective/linear.py",
        "self.l2 * w",
        "self.l2 * torch.cat([self.matrix(w)[:, :-1], 0 * self.matrix(w)[:, -1:]], 1).reshape(-1)",
        f"{ORACLE}::test_the_minimiser_penalises_every_parameter",
        times=3,
    ),
    Mutant(
        "the l2 term is missing from the gradient",
        "objective/linear.py",
        "self.l2 * w",
        "0.0 * w",
        f"{ORACLE}::test_the_minimiser_penalises_every_parameter",
        times=3,
    ),
    Mutant(
        "the l2 term is missing from the Hessian",
        "objective/linear.py",
        "        H.diagonal().add_(self.l2)\n        return flat",
        "        return flat",
        f"{ORACLE}::test_squared_loss_is_ridge_in_closed_form",
    ),
    Mutant(
        "the sign of the Newton step",
        "maths/chord_newton.py",
        "step = -scale * two_loop(pairs, g, solve)",
        "step = scale * two_loop(pairs, g, solve)",
        f"{ORACLE}::test_squared_loss_is_ridge_in_closed_form",
    ),
    Mutant(
        "the Hessian keeps the forgotten rows",
        NEWTON,
        "solve = anchor.without(objective, forgotten) if anchor else None",
        "solve = anchor.solve if anchor else None",
        f"{ORACLE}::test_squared_loss_is_ridge_in_closed_form",
    ),
    Mutant(
        "forgetting solves on all rows",
        NEWTON,
        "after, stats = self._solved(record, retained, noise, solve)",
        "after, stats = self._solved(record, retained.and_rows(forgotten), noise, solve)",
        SOFTMAX,
    ),
    Mutant(
        "the old record is returned",
        NEWTON,
        "        return Forgetting(after, promise, stats)",
        "        return Forgetting(record, promise, stats)",
        SOFTMAX,
    ),
    Mutant(
        "an unconverged solve is believed",
        "maths/newton.py",
        "return NewtonSolution(x, residual, residual <= tol, passes)",
        "return NewtonSolution(start, 0.0, True, passes)",
        SOFTMAX,
    ),
    Mutant(
        "rows are mutated in place",
        NEWTON,
        "        check_step(retained, forgotten)\n",
        "        check_step(retained, forgotten)\n        forgotten.blocks[0].read().columns['x'][:] = 0.0\n",
        SOFTMAX,
    ),
    Mutant(
        "the record is mutated in place",
        NEWTON,
        "        if noise.release <= record.number:\n",
        "        record.weights.mul_(1.0 + 1e-9)\n        if noise.release <= record.number:\n",
        SOFTMAX,
    ),
)

SISA = "methods/sisa.py"
NETWORK = f"{CONTRACT}[sisa-network]"
CHECKPOINT = "(None, *record.checkpoints[s])[r]"

EXACT = (
    Mutant(
        "SISA restarts one slice late",
        SISA,
        CHECKPOINT,
        "(None, *record.checkpoints[s])[min(r + 1, len(record.checkpoints[s]))]",
        NETWORK,
    ),
    Mutant("SISA starts warm", SISA, CHECKPOINT, "(None, *record.checkpoints[s])[-1]", NETWORK),
    Mutant(
        "SISA trains the new slice only",
        SISA,
        "slices <= r",
        "slices == r",
        "tests/methods/test_sisa.py::test_step_r_trains_on_slices_one_to_r_for_its_epochs",
    ),
    Mutant(
        "SISA still trains on the forgotten rows",
        SISA,
        "return self._train(record, retained, self._dealing(record.seed).first_slices(forgotten))",
        "return self._train(record, retained.and_rows(forgotten), self._dealing(record.seed).first_slices(forgotten))",
        NETWORK,
    ),
    Mutant(
        "SISA skips the tail of a shard",
        "learners/dealing.py",
        "                first[int(shard)] = min(",
        "                if piece < self.slices - 1:\n                    first[int(shard)] = min(",
        "tests/methods/test_sisa.py::test_forgetting_equals_learning_without",
    ),
    Mutant(
        "SISA deals rows by their position",
        "learners/dealing.py",
        'return keyed.integers(self.seed, ("sisa", "shard"), owners, self.shards - self.prone_shards)',
        "return np.arange(len(owners)) % self.shards",
        NETWORK,
    ),
    Mutant(
        "a subject's rows are dealt one by one",
        "learners/dealing.py",
        '        names = table.owners if self.by == "owner" else table.keys',
        "        names = table.keys",
        "tests/methods/test_sisa.py::test_a_subject_is_forgotten_in_one_shard",
    ),
    Mutant(
        "a checkpoint without the optimiser's moments",
        "learners/sgd.py",
        "state = {name: tensor.clone() for name, tensor in training.tensors.items()}",
        "state = {n: torch.zeros_like(t) if n == 'momentum' else t.clone() for n, t in training.tensors.items()}",
        "tests/learners/test_sgd.py::test_training_in_two_calls_equals_training_in_one",
    ),
    Mutant(
        "retraining keeps the forgotten rows",
        "methods/retrain.py",
        "        return self._again(record, retained, noise)",
        "        return self._again(record, retained.and_rows(forgotten), noise)",
        f"{CONTRACT}[retrain-network]",
    ),
    Mutant(
        "training depends on where rows stand",
        "learners/inputs.py",
        "return table.take(np.argsort(table.keys))",
        "return table",
        "tests/learners/test_convex.py::test_the_order_and_type_of_the_rows_do_not_matter",
    ),
)

FROZEN = "tests/vault/test_frozen_batch.py"
LIFE = "tests/vault/test_vault.py"
PIPELINE = "tests/features/test_pipeline.py"

VAULT = (
    Mutant(
        "a batch that changes after a crash",
        "vault/work.py",
        "tuple(request for request in parts.pending() if request.batch == batch.number)",
        "tuple(parts.pending())",
        FROZEN,
    ),
    Mutant(
        "a resumed batch draws its noise again",
        "vault/batches.py",
        'NoiseKey(row["noise"], row["release"])',
        'NoiseKey.fresh(row["release"])',
        FROZEN,
    ),
    Mutant(
        "the noise key is kept after the commit",
        "vault/commit.py",
        "SET state = 'committed', noise = NULL,",
        "SET state = 'committed', noise = randomblob(0) || noise,",
        f"{LIFE}::test_the_noise_key_is_gone_after_the_step",
        also=("vault/commit.py", "SET noise = zeroblob(length(noise))", "SET noise = noise"),
    ),
    Mutant(
        "the purge settles nothing",
        "vault/purge.py",
        "    settle(parts, progress)\n",
        "",
        f"{LIFE}::test_the_purge_settles_caches_and_drops_the_old_release",
    ),
    Mutant(
        "the purge leaves the old chunks",
        "vault/purge.py",
        "    parts.chunks.keep_only(set(parts.in_use()))\n",
        "",
        f"{LIFE}::test_nothing_of_a_forgotten_row_is_left",
    ),
    Mutant(
        "purged is said with a reader in the way",
        "vault/purge.py",
        "    if not parts.ledger.truncate_log():\n        return False\n",
        "    parts.ledger.truncate_log()\n",
        f"{LIFE}::test_a_reader_delays_purged_and_not_forgotten",
    ),
    Mutant(
        "a contradicted certificate is committed",
        "vault/outcome.py",
        "            if not why:\n                return outcome\n",
        "            return outcome\n",
        f"{LIFE}::test_a_contradicted_certificate_is_void_and_the_model_learned_again",
    ),
    Mutant(
        "features keep the forgotten rows' statistics",
        "features/pipeline.py",
        "states = fitting.without_rows(record.states, fitting.accumulated(self.features, forgotten))",
        "states = record.states",
        f"{PIPELINE}::test_after_forgetting_everything_equals_learning_without_the_rows_bit_for_bit",
    ),
    Mutant(
        "exact statistics keep the transcript view",
        "features/pipeline.py",
        'view = View.ONE_RELEASE if self.statistics == "exact" else certificate.view',
        "view = certificate.view",
        f"{PIPELINE}::test_exact_statistics_limit_a_certificate_to_one_release",
    ),
    Mutant(
        "unchanged weights are signed as forgotten",
        "vault/outcome.py",
        "if not may_stay(outcome.certificate) and record.digest(outcome.release) == record.digest(before):",
        "if False:",
        f"{LIFE}::test_unchanged_weights_are_not_signed_as_forgotten",
    ),
)

MUTANTS = (
    *CERTIFIED_NEWTON,
    *SECOND_ORDER,
    *EXACT,
    *VAULT,
    *EXACT_CLASSICS,
    *CLUSTERING,
    *COMPARISONS,
    *SHARDED,
    *DEEP_OBLIVIATE,
    *KEPT_ROWS,
    *DELTA_GRAD,
    *DEPENDENCE,
    *L_FOCI,
    *FOREST,
    *ATTRIBUTION,
    *SCORES,
    *ATTACKS,
)
