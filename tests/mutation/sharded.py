"""Planted bugs of sharded training (defects of the published SISA code among them) and of the scikit-learn adapter."""

from __future__ import annotations

from .mutant import Mutant

SISA = "methods/sisa.py"
PLACES = "tests/methods/test_sisa.py"
SHARDS = "tests/methods/test_sisa_shards.py"
FEATURED = "learners/featured.py"
DEALING = "learners/dealing.py"
SHARDING = "maths/sharding.py"
COSTS = "tests/maths/test_sharding.py"

PUBLISHED = (
    Mutant(
        "a second request may bring back the rows of the first",
        SISA,
        "        check_size(sum(record.sizes), *parts)\n",
        "",
        f"{PLACES}::test_wrong_requests_are_refused",
    ),
    Mutant(
        "checkpoints of other hyperparameters are used",
        SISA,
        "(len(record.sizes), len(record.checkpoints[0]))) != (self.shards, self.slices):",
        "(len(record.sizes), len(record.checkpoints[0]))) == (0, 0):",
        f"{SHARDS}::test_a_record_of_other_shards_or_slices_is_refused",
    ),
    Mutant(
        "Adam's moments are lost at the restore of a slice",
        "learners/sgd.py",
        "state = {name: tensor.clone() for name, tensor in training.tensors.items()}",
        "state = {n: torch.zeros_like(t) if n == 'second' else t.clone() for n, t in training.tensors.items()}",
        "tests/learners/test_sgd.py::test_training_in_two_calls_equals_training_in_one",
    ),
    Mutant(
        "the last batch is empty",
        "learners/sgd.py",
        "for start in range(0, len(order), size)]",
        "for start in range(0, len(order) + size, size)]",
        "tests/learners/test_sgd.py::test_steps_equal_those_of_torch",
    ),
    Mutant(
        "slices without an epoch",
        SHARDING,
        "tuple(max(1, after - before) for",
        "tuple(after - before for",
        f"{COSTS}::test_no_step_is_left_without_an_epoch",
    ),
)

BY_THEMSELVES = (
    Mutant(
        "features are fitted anew in every step",
        FEATURED,
        "if FITTED in training.settings:",
        "if FITTED in training.settings and training.epochs < 0:",
        "tests/learners/test_featured.py::test_features_stay_those_of_the_first_rows",
    ),
    Mutant(
        "what features assume is not told",
        "methods/retrain.py",
        "*assumptions_of(learner), *more)",
        "*more)",
        f"{SHARDS}::test_the_certificate_tells_what_features_and_marks_assume",
    ),
    Mutant(
        "what marks assume is not told",
        SISA,
        "exact(self.learner, *dealing.assumptions)",
        "exact(self.learner)",
        f"{SHARDS}::test_the_certificate_tells_what_features_and_marks_assume",
    ),
    Mutant(
        "marked rows are spread over all shards",
        DEALING,
        "shards = np.where(self._prone(table), self.shards - self.prone_shards + apart, shards)",
        "shards = np.where(self._prone(table), apart, shards)",
        f"{SHARDS}::test_marked_rows_lie_in_their_own_shards_and_forget_bit_for_bit",
    ),
    Mutant(
        "a worker's draws are not watched",
        "learners/draws.py",
        "    if not alone:\n        sys.setprofile(watch)\n",
        "",
        "tests/learners/test_draws.py::test_a_draw_is_refused_wherever_it_trains",
    ),
    Mutant(
        "the expected cost of slices is that of the shard",
        SHARDING,
        "_touched(r / (shards * slices), leaving)",
        "_touched(1 / shards, leaving)",
        f"{COSTS}::test_expected_costs_are_the_means_of_simulated_dealings",
    ),
)

ADAPTER = "sklearn/estimators.py"
ADAPTED = "tests/test_sklearn.py"

IN_SCIKIT_LEARN = (
    Mutant(
        "what happened before the estimator is not told",
        ADAPTER,
        "return replace(certificate, assumptions=(*certificate.assumptions, OUTSIDE))",
        "return certificate",
        f"{ADAPTED}::test_the_estimator_alone_lists_what_it_cannot_see_as_an_assumption",
    ),
    Mutant(
        "a scaler before the estimator is passed over",
        "sklearn/upstream.py",
        "if get_tags(step).requires_fit else []",
        "if False else []",
        f"{ADAPTED}::test_a_fitted_step_before_it_voids_the_certificate",
    ),
    Mutant(
        "the second forgetting counts as the first",
        ADAPTER,
        "        self.releases_ += 1\n",
        "",
        f"{ADAPTED}::test_every_release_of_a_certified_method_has_its_own_noise_and_number",
    ),
    Mutant(
        "an estimator is not purged",
        ADAPTER,
        "if offers(method, Settles):",
        "if False:",
        f"{ADAPTED}::test_every_release_of_a_certified_method_has_its_own_noise_and_number",
    ),
    Mutant(
        "an unchanged release passes for forgotten",
        ADAPTER,
        "if not may_stay(certificate) and",
        "if False and",
        f"{ADAPTED}::test_a_release_that_did_not_change_without_proof_is_learned_again",
    ),
    Mutant(
        "the caller's array is the estimator's",
        ADAPTER,
        'return {"x": np.array(x)}',
        'return {"x": x}',
        f"{ADAPTED}::test_what_the_caller_does_to_its_arrays_does_not_reach_the_rows",
    ),
)

SHARDED = PUBLISHED + BY_THEMSELVES + IN_SCIKIT_LEARN
