"""Planted bugs of the certified and second-order family. As in `mutants`: an edit, and the test that must catch it."""

from __future__ import annotations

from .mutant import Mutant

PRIVATE = "tests/methods/test_differential_privacy.py"
PRIVATE_ORACLE = "tests/oracles/test_differential_privacy_oracle.py"
ASCENT = "tests/methods/test_gradient_ascent.py"
FINE_TUNE = "tests/methods/test_fine_tune.py"
DEEP = "tests/methods/test_certified_deep.py"
REMOVAL = "tests/methods/test_certified_removal.py"
REMOVAL_ORACLE = "tests/oracles/test_certified_removal_oracle.py"
SEKHARI_TESTS = "tests/methods/test_sekhari.py"
DESCENT_TESTS = "tests/methods/test_descent_to_delete.py"
FROZEN = "tests/features/test_frozen_network.py"
MIXED = "tests/methods/test_mixed_linear.py"
MIXED_ORACLE = "tests/oracles/test_mixed_linear_oracle.py"
REWIND = "tests/methods/test_rewind.py"

DIFFERENTIAL_PRIVACY = (
    Mutant(
        "half the sensitivity",
        "maths/sensitivity.py",
        "math.sqrt(2 * l2 * at_zero))) / (l2 * rows)",
        "math.sqrt(2 * l2 * at_zero))) / (2 * l2 * rows)",
        f"{PRIVATE_ORACLE}::test_the_sensitivity_is_written_out",
    ),
    Mutant(
        "long rows are not scaled down",
        "maths/sensitivity.py",
        "return torch.where(norm * largest > row_norm,",
        "return torch.where(norm * largest > 1e300 * row_norm,",
        f"{PRIVATE_ORACLE}::test_the_centre_is_the_minimiser_of_scaled_rows_and_a_row_substituted_moves_it_no_further",
    ),
    Mutant(
        "only the newest request counts",
        "methods/differential_privacy.py",
        "forgotten=record.forgotten + len(forgotten))",
        "forgotten=len(forgotten))",
        f"{PRIVATE}::test_batch_and_one_by_one_cost_the_same_and_ever_more",
    ),
    Mutant(
        "earlier releases are free",
        "methods/differential_privacy.py",
        "sqrt(releases) * distance / self.noise_std",
        "distance / self.noise_std",
        f"{PRIVATE}::test_each_earlier_release_that_may_have_held_a_row_is_charged",
    ),
    Mutant(
        "half the private noise",
        "methods/differential_privacy.py",
        "add_noise(objective.matrix(solved.x), self.noise_std, noise)",
        "add_noise(objective.matrix(solved.x), self.noise_std / 2, noise)",
        f"{PRIVATE}::test_noise_is_drawn_and_has_the_stated_deviation",
    ),
)

AS_PEOPLE_DO = (
    Mutant(
        "descent in place of ascent",
        "methods/gradient_ascent.py",
        "moved = w + self.learning_rate * direction",
        "moved = w - self.learning_rate * direction",
        f"{ASCENT}::test_one_step_is_the_formula",
    ),
    Mutant(
        "no limit to the ascent",
        "methods/gradient_ascent.py",
        "if not (isfinite(after) and after <= limit):",
        "if not isfinite(after):",
        f"{ASCENT}::test_the_loss_climbs_and_never_passes_the_limit",
    ),
    Mutant(
        "fine-tuning on the forgotten rows too",
        "methods/fine_tune.py",
        "return self._trained_on(record, retained) if",
        "return self._trained_on(record, retained.and_rows(forgotten)) if",
        f"{FINE_TUNE}::test_a_step_is_the_training_gone_on_with",
    ),
    Mutant(
        "rewinding on all rows",
        "methods/rewind.py",
        "return self._again(record, retained)\n",
        "return self._again(record, retained.and_rows(forgotten))\n",
        f"{REWIND}::test_the_last_epochs_are_run_again_from_the_checkpoint_in_the_order_of_the_reference",
    ),
    Mutant(
        "a checkpoint that saw the rows is exact",
        "methods/rewind.py",
        "UNCERTIFIED if record.checkpoint.epochs else exact(learner)",
        "exact(learner)",
        f"{REWIND}::test_a_checkpoint_that_saw_the_rows_is_never_exact_and_says_that_it_is_kept",
    ),
)

CERTIFIED_DEEP = (
    Mutant(
        "noise at the first release only",
        "methods/certified_deep.py",
        "add_noise(centre, self.noise_std, noise)",
        "add_noise(centre, 0.0 if record.number else self.noise_std, noise)",
        f"{DEEP}::test_noise_is_added_at_every_one_of_several_requests",
    ),
    Mutant(
        "no damping",
        "objective/newton_step.py",
        "return lambda v: H(v) + damping * v",
        "return H",
        f"{DEEP}::test_the_step_is_the_damped_newton_step_on_the_retained_rows",
    ),
    Mutant(
        "the deep bound takes the whole distance",
        "objective/step_bound.py",
        "if self.distance <= distance / 2:",
        "if self.distance <= distance:",
        f"{DEEP}::test_more_noise_is_asked_for_by_name_where_the_bound_does_not_fit",
    ),
    Mutant(
        "nothing is vacuous",
        "objective/step_bound.py",
        "return not self.distance < self.doing_nothing",
        "return False",
        f"{DEEP}::test_a_useful_network_is_flagged_vacuous_with_both_numbers",
    ),
    Mutant(
        "a refuted constant is believed",
        "objective/step_bound.py",
        "if lipschitz > hessian_lipschitz:",
        "if lipschitz < 0:",
        f"{DEEP}::test_an_asserted_constant_that_two_points_refute_is_refused",
    ),
    Mutant(
        "Ritz values are taken for bounds",
        "maths/lanczos.py",
        "smallest - out, largest + out",
        "smallest, largest",
        "tests/maths/test_lanczos.py::test_ritz_values_lie_inside_and_the_bounds_outside",
    ),
    Mutant(
        "the weights leave the ball",
        "learners/sgd.py",
        "if self.norm_bound < math.inf:",
        "if self.norm_bound < 0:",
        "tests/learners/test_projection.py::test_the_weights_end_in_the_ball",
    ),
)

CERTIFIED_REMOVAL = (
    Mutant(
        "half the Taylor remainder",
        "maths/newton_residual.py",
        "_up(third / 2 * float(torch.linalg.vector_norm(cubic)), sums.rows)",
        "_up(third / 4 * float(torch.linalg.vector_norm(cubic)), sums.rows)",
        f"{REMOVAL_ORACLE}::test_one_step_and_all_its_bounds",
    ),
    Mutant(
        "a spectral norm from below",
        "maths/newton_residual.py",
        "max(float(torch.linalg.eigvalsh(gram)[-1]), 0.0) + slack)",
        "max(float(torch.linalg.eigvalsh(gram)[-1]), 0.0) - slack)",
        "tests/maths/test_newton_residual.py::test_the_spectral_norm_is_never_bounded_from_below",
    ),
    Mutant(
        "the rows' share of the penalty stays",
        "objective/newton_removal.py",
        "m * objective.l2 * w) / n",
        "0 * m * objective.l2 * w) / n",
        f"{REMOVAL}::test_the_papers_algorithm_by_hand",
    ),
    Mutant(
        "spent residual is forgotten",
        "objective/removal_account.py",
        "self.betas[name] + bound + taken.arithmetic",
        "bound + taken.arithmetic",
        f"{REMOVAL}::test_new_rows_come_by_the_same_step_and_leave_again",
    ),
    Mutant(
        "an exhausted budget goes on",
        "objective/removal_account.py",
        "if not account.betas[bound] <= budget:",
        "if not account.betas[bound] <= 1e9 * budget:",
        f"{REMOVAL}::test_an_exhausted_budget_solves_again_under_the_same_b",
    ),
    Mutant(
        "removal spends the whole distance on one side",
        "methods/certified_removal.py",
        "distance(noise.release, objective.dimension) / 2",
        "distance(noise.release, objective.dimension)",
        f"{REMOVAL_ORACLE}::test_the_bound_over_lambda_n_contains_the_minimiser",
    ),
)

SEKHARI = (
    Mutant(
        "one step spends the whole distance on one side",
        "methods/sekhari.py",
        "allowed = self._distance(noise.release, len(step)) / 2",
        "allowed = self._distance(noise.release, len(step))",
        f"{SEKHARI_TESTS}::test_a_carried_release_adds_an_increment_only",
    ),
    Mutant(
        "rows longer than declared are taken",
        "methods/sekhari.py",
        "(row := magnitudes(rows).row) > self._longest()",
        "(row := magnitudes(rows).row) > 2 * self._longest()",
        f"{SEKHARI_TESTS}::test_rows_beyond_the_declared_norm_are_refused",
    ),
    Mutant(
        "the Hessian keeps the rows that left",
        "objective/down_dated.py",
        "hessian = (self.size * self.hessian - k * objective.hessian(w, forgotten)) / size",
        "hessian = self.hessian",
        "tests/oracles/test_sekhari_oracle.py::test_the_centre_is_the_step_written_out",
    ),
    Mutant(
        "softmax has the constant of two classes in one score",
        "maths/one_step.py",
        "return 2 * math.sqrt(2) * THIRD_LOGISTIC",
        "return THIRD_LOGISTIC",
        "tests/maths/test_one_step.py::test_no_curvature_changes_faster_than_its_constant",
    ),
    Mutant(
        "carried noise on the schedule of fresh noise",
        "maths/transcripts.py",
        "return release_share(release + 1) ** 2 / 2",
        "return release_share(release + 1) / 2",
        "tests/maths/test_transcripts.py::test_the_schedule_stays_within_the_budget_for_every_deletion",
    ),
    Mutant(
        "carried noise is not carried",
        "carried.py",
        "Carried(before.units + units, unit, noise.release, std)",
        "Carried(units, unit, noise.release, std)",
        f"{SEKHARI_TESTS}::test_a_carried_release_adds_an_increment_only",
    ),
)

INFLUENCE = (
    Mutant(
        "a mean over the wrong rows",
        "methods/influence.py",
        "objective.l2 * w) / len(left)",
        "objective.l2 * w) / len(leaving)",
        "tests/oracles/test_influence_oracle.py::test_means_with_their_factor_are_the_algorithm_for_sums",
    ),
)

DESCENT = (
    Mutant(
        "below the floor of float64 all is well",
        "objective/projected_descent.py",
        "    if not distance > floor:",
        "    if not distance > -floor:",
        f"{DESCENT_TESTS}::test_below_the_floor_of_float64_nothing_is_promised",
    ),
    Mutant(
        "no projection",
        "objective/projected_descent.py",
        "return w * (self.radius / norm) if norm > self.radius else w",
        "return w",
        f"{DESCENT_TESTS}::test_one_forget_by_hand",
    ),
    Mutant(
        "one gradient step fewer",
        "objective/projected_descent.py",
        "    for _ in range(iterations):",
        "    for _ in range(1, iterations):",
        f"{DESCENT_TESTS}::test_one_forget_by_hand",
    ),
    Mutant(
        "the perfect variant keeps its noiseless weights",
        "methods/descent_to_delete.py",
        'None if self.variant == "perfect" else w)',
        "w)",
        f"{DESCENT_TESTS}::test_every_release_of_a_sequence_is_within_its_half[perfect-tight]",
    ),
    Mutant(
        "slots of a forgotten row go to its neighbour",
        "maths/reservoir.py",
        "np.where(anew, drawn(uniforms, len(survivors)), np.searchsorted(survivors, held))",
        "np.searchsorted(survivors, held)",
        "tests/maths/test_descent.py::test_slots_that_held_no_forgotten_row_hold_the_row_they_held",
    ),
    Mutant(
        "a public bootstrap",
        "methods/distributed_descent.py",
        "ndtr(noise.normals(purpose, shape))",
        'ndtr(NoiseKey(b"7" * 32, 1).normals(purpose, shape))',
        "tests/methods/test_distributed_descent.py::test_the_bootstrap_is_secret_and_names_nobody",
    ),
)

FISHER = (
    Mutant(
        "noise has the covariance's exponent",
        "maths/curvature_noise.py",
        "-(1 + ERRORS[error]) / 4",
        "-(1 + ERRORS[error]) / 2",
        "tests/maths/test_curvature_noise.py",
    ),
    Mutant(
        "the trade-off is left out",
        "maths/curvature_noise.py",
        "(tradeoff * error_std**2) ** 0.25",
        "(error_std**2) ** 0.25",
        "tests/maths/test_curvature_noise.py",
    ),
    Mutant(
        "the first Fisher release has no noise",
        "methods/fisher.py",
        "return self.settle(self._kept(training, shaped_noise(w, shape, law, noise)), rows)",
        "return self.settle(self._kept(training, w), rows)",
        "tests/oracles/test_fisher_oracle.py",
    ),
    Mutant(
        "mini-batches are late by one",
        "methods/fisher.py",
        "forgotten.select(rank >= end)",
        "forgotten.select(rank >= end + self.batch_size)",
        "tests/oracles/test_fisher_oracle.py",
    ),
    Mutant(
        "the shift releases its centre",
        "methods/newton_shift.py",
        "after = self._kept(training, shaped_noise(centre, B, law, noise))",
        "after = self._kept(training, centre)",
        "tests/methods/test_newton_shift.py",
    ),
    Mutant(
        "Kronecker factors are not averaged over positions",
        "objective/curvature.py",
        "addmm_(s.T, s, alpha=1 / trace.slopes.shape[1])",
        "addmm_(s.T, s)",
        "tests/test_curvature_forms.py",
    ),
)

MIXED_LINEAR = (
    Mutant(
        "the linear term with the wrong sign",
        "objective/linearised.py",
        "product, -linear, tol=tolerance",
        "product, linear, tol=tolerance",
        f"{MIXED_ORACLE}::test_the_minimiser_is_that_of_the_written_out_jacobian",
    ),
    Mutant(
        "mixed-linear releases its centre",
        "methods/mixed_linear.py",
        "weights=add_noise(solved.x, self.noise_std, noise)",
        "weights=solved.x",
        f"{MIXED}::test_requests_follow_each_other_with_tightening_tolerances_and_fresh_noise",
    ),
    Mutant(
        "later releases of a network are not charged",
        "methods/mixed_linear.py",
        "distance(noise.release, len(record.weights))",
        "distance(1, len(record.weights))",
        f"{MIXED}::test_requests_follow_each_other_with_tightening_tolerances_and_fresh_noise",
    ),
    Mutant(
        "core rows may leave",
        "learners/marked_rows.py",
        "if len(parted(changed, column, optional=not core_rows)[0]):",
        "if len(parted(changed, column, optional=not core_rows)[0]) < 0:",
        f"{MIXED}::test_a_core_row_is_never_forgotten_nor_learned",
    ),
    Mutant(
        "a row's features depend on its neighbours",
        "features/frozen_network.py",
        "together = BATCH if _places_are_alike(self, kinds, torch.get_num_threads()) else 1",
        "together = BATCH",
        f"{FROZEN}::test_a_row_becomes_the_same_whatever_is_beside_it",
    ),
    Mutant(
        "a private network forgets whom it has shown",
        "features/pipeline.py",
        "gone = record.gone + len(forgotten) if",
        "gone = len(forgotten) if",
        f"{FROZEN}::test_a_private_network_costs_mu_for_each_row_and_is_covered_up_to_a_number_of_them",
    ),
)

RECONSTRUCTION = (
    Mutant(
        "the attack adds the penalty",
        "audits/attacks/reconstruction.py",
        "retained * curved - forgotten * objective.l2 * first",
        "retained * curved + forgotten * objective.l2 * first",
        "tests/audits/test_reconstruction.py::test_ridge_by_hand",
    ),
    Mutant(
        "the attack takes the curvature at one end",
        "audits/attacks/reconstruction.py",
        "objective.hvp((first + second) / 2, rows)",
        "objective.hvp(first, rows)",
        "tests/audits/test_reconstruction.py::test_curvature_half_way_is_right_to_second_order",
    ),
)

REVIEWED = (
    Mutant(
        "only the newest number of rows counts",
        "methods/differential_privacy.py",
        "self.sensitivity(record.least,",
        "self.sensitivity(record.size,",
        "tests/adversarial/test_second_order_certificates.py",
    ),
    Mutant(
        "an account that the residual contradicts is believed",
        "objective/removal_account.py",
        "(least := 2 * measured - most) > beta",
        "(least := 2 * measured - most) > math.inf",
        "tests/adversarial/test_second_order_certificates.py::test_rows_that_stay_must_be_those_of_before",
    ),
)

SECOND_ORDER = REVIEWED + (
    MIXED_LINEAR
    + RECONSTRUCTION
    + (
        FISHER
        + DESCENT
        + SEKHARI
        + INFLUENCE
        + CERTIFIED_REMOVAL
        + DIFFERENTIAL_PRIVACY
        + AS_PEOPLE_DO
        + CERTIFIED_DEEP
    )
)
