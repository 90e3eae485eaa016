"""Planted bugs of DeltaGrad: those of the paper and its code, and what its certificates and recordings rest on."""

from __future__ import annotations

from .mutant import Mutant

TESTS = "tests/methods/test_delta_grad.py"
ORACLE = "tests/oracles/test_delta_grad_oracle.py"
RECORDING = "tests/learners/test_recording.py"
COMPACT = "tests/maths/test_compact_bfgs.py"
LARGE = "tests/vault/test_large_records.py"
DERIVED = f"{ORACLE}::test_forgetting_is_the_algorithm_derived_again[2-3]"
MEASURED = f"{TESTS}::test_measured_ends_where_the_residual_meets_its_half_of_the_distance"
FOLLOWED = "learners/followed_descent.py"
ENDING = "learners/noised_descent.py"
CHANGED = "maths/changed_rows.py"

DELTA_GRAD = (
    Mutant(
        "pairs from the kept rows only",
        FOLLOWED,
        "true = (total.double() + sign * part) / before",
        "true = total.double() / after",
        DERIVED,
    ),
    Mutant(
        "the cached step is not passed over with an emptied batch",
        FOLLOWED,
        "            if before:\n                learner.stepped(w, g)",
        "            if before and after:\n                learner.stepped(w, g)",
        f"{TESTS}::test_a_batch_that_loses_all_its_rows_is_skipped_and_the_old_training_goes_on",
    ),
    Mutant(
        "a batch that lost no row is taken as it was",
        FOLLOWED,
        "            elif apart or gone:",
        "            elif gone:",
        DERIVED,
    ),
    Mutant(
        "the cache is not refreshed",
        FOLLOWED,
        "return Trajectory(old.start, new.finished(), torch.tensor(counts)), u, figures",
        "return Trajectory(old.start, old.gradients, torch.tensor(counts)), u, figures",
        f"{TESTS}::test_the_new_record_holds_gradients_of_the_retained_rows_alone",
    ),
    Mutant(
        "added rows are subtracted",
        CHANGED,
        "alpha=(1.0 if gone > 0 else -1.0) / before",
        "alpha=1.0 / before",
        f"{ORACLE}::test_learning_more_is_the_algorithm_with_the_other_sign[1]",
    ),
    Mutant(
        "no rescaling to the rows that are left",
        CHANGED,
        ".mul_(before / (before - gone))",
        "",
        DERIVED,
    ),
    Mutant(
        "l2 is not taken out of the product",
        CHANGED,
        "return torch.add(product, g).sub_(v, alpha=l2)",
        "return torch.add(product, g)",
        DERIVED,
    ),
    Mutant(
        "l2 is not in the pairs",
        CHANGED,
        "return torch.sub(mean, g).add_(v, alpha=l2)",
        "return torch.sub(mean, g)",
        DERIVED,
    ),
    Mutant(
        "the triangle of the compact form is swapped",
        "maths/compact_bfgs.py",
        "lower = np.tril(sy, -1)",
        "lower = np.triu(sy, 1)",
        f"{COMPACT}::test_the_product_is_that_of_the_dense_recursion[5]",
    ),
    Mutant(
        "the flag of negative curvature is ignored",
        "maths/secants.py",
        "            self._hessian = None\n",
        "",
        f"{COMPACT}::test_without_positive_curvature_products_are_refused_until_a_pair_is_taken_again",
    ),
    Mutant(
        "batches are drawn by position",
        "learners/batch_gradients.py",
        'return keyed.integers(seed, (*purpose, "batch", epoch), keys, batches)',
        "return np.arange(len(keys)) % batches",
        "tests/learners/test_plain_descent.py::test_without_some_rows_every_batch_is_the_old_one_less_those",
    ),
    Mutant(
        "files of other rows are gone on from",
        "learners/recording.py",
        'if identity is None or not note.exists() or note.read_text(encoding="utf-8") != identity:',
        "if identity is None or not note.exists():",
        f"{RECORDING}::test_a_recording_of_other_rows_does_not_go_on_from_the_files",
    ),
    Mutant(
        "scratch outlives the learn",
        "vault/creation.py",
        "    empty(parts.scratch)\n",
        "",
        f"{LARGE}::test_the_gradients_go_through_the_vaults_scratch_and_nothing_stays_there",
    ),
    Mutant(
        "measured weights are not solved further",
        ENDING,
        "w, stats = solved.x, {",
        "stats = {",
        MEASURED,
    ),
    Mutant(
        "one side takes the whole distance",
        ENDING,
        "residual_tolerance(self.budget.distance(noise.release, len(w)), 1.0, self.learner.l2)",
        "residual_tolerance(2 * self.budget.distance(noise.release, len(w)), 1.0, self.learner.l2)",
        MEASURED,
    ),
    Mutant(
        "the first release's distance for all",
        ENDING,
        "self.budget.distance(noise.release, len(w)), 1.0",
        "self.budget.distance(1, len(w)), 1.0",
        MEASURED,
    ),
    Mutant(
        "asserted errors do not add up",
        ENDING,
        "if not requests * self.error_bound <= allowed:",
        "if not self.error_bound <= allowed:",
        f"{TESTS}::test_an_asserted_bound_is_certified_as_assumed_and_adds_up_until_it_no_longer_fits",
    ),
    Mutant(
        "a refuted assertion is certified",
        ENDING,
        "        if error > self.error_bound:\n",
        "        if error < 0:\n",
        f"{TESTS}::test_an_asserted_bound_that_the_steps_refute_is_not_certified",
    ),
    Mutant(
        "no noise on a followed model",
        ENDING,
        "return add_noise(w, self.budget.noise_std, noise), stats",
        "return w.clone(), stats",
        MEASURED,
    ),
    Mutant(
        "the stored state is promised too",
        ENDING,
        "release, len(weights), MEASURED, view=View.TRANSCRIPT,",
        "release, len(weights), MEASURED, view=View.STATE,",
        MEASURED,
    ),
)
