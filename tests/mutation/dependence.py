"""Planted bugs of CODEC, FOCI and L-FOCI: mostly what the published code does. As in `mutants`."""

from __future__ import annotations

from .mutant import Mutant

CODEC_TESTS = "tests/maths/test_conditional_dependence.py"
FOCI_TESTS = "tests/maths/test_feature_ordering.py"
SEARCH_TESTS = "tests/maths/test_rank_minima.py"
CODEC, FOCI = "maths/conditional_dependence.py", "maths/feature_ordering.py"

DEPENDENCE = (
    Mutant(
        "equal targets are ranked by the order of their rows",
        "maths/neighbour_sums.py",
        "up, down = np.cumsum(count)[code], np.cumsum(count[::-1])[::-1][code]",
        "up = np.argsort(np.argsort(code, kind='stable')) + 1\n    down = len(up) + 1 - up",
        f"{CODEC_TESTS}::test_functions_of_repeated_atoms_give_one_and_exclusive_or_only_jointly",
    ),
    Mutant(
        "noise is the inverse of the largest distance",
        CODEC,
        "smallest_gaps(columns)[:, None] * scale",
        "(1 / np.ptp(columns, axis=1))[:, None]",
        f"{CODEC_TESTS}::test_noise_is_a_share_of_the_smallest_gap_so_a_fine_grid_keeps_its_order",
    ),
    Mutant(
        "the target is noised too",
        CODEC,
        "    if noise_target:\n",
        "    if noise_target or ties == 'noise':\n",
        f"{CODEC_TESTS}::test_noise_is_a_share_of_the_smallest_gap_so_a_fine_grid_keeps_its_order",
    ),
    Mutant(
        "several neighbours meet the threshold of one",
        FOCI,
        "several=n_neighbors)",
        "several=1)",
        f"{FOCI_TESTS}::test_the_calibrated_stop_asks_less_of_several_neighbours_and_still_refuses_noise",
    ),
    Mutant(
        "a row is its own neighbour",
        "kernels/rank_minima.py",
        "    squares[i] = np.inf\n",
        "",
        f"{SEARCH_TESTS}::test_a_drawn_neighbour_is_one_of_the_nearest_and_every_one_is_drawn",
    ),
    Mutant(
        "of equally near rows only those in the list count",
        "kernels/rank_minima.py",
        "if best >= reach[g]:",
        "if best > reach[g]:",
        f"{SEARCH_TESTS}::test_equally_near_points_beyond_the_list_count",
    ),
    Mutant(
        "a degenerate coefficient is some number",
        "maths/neighbour_sums.py",
        "+ (both[1] - given[1]) / SHARES) / left if left else np.nan",
        "+ (both[1] - given[1]) / SHARES) / (left or -1e-3)",
        f"{CODEC_TESTS}::test_degenerate_targets_say_so_and_are_no_number",
    ),
    Mutant(
        "the first feature is always chosen",
        FOCI,
        "if step > needed:",
        "if step > needed or base is None:",
        f"{FOCI_TESTS}::test_it_says_why_it_stops",
    ),
    Mutant(
        "the step is reported as the whole dependence",
        FOCI,
        "cumulative.append(ranks.coefficient(base))",
        "cumulative.append(step)",
        f"{FOCI_TESTS}::test_a_group_is_chosen_as_one",
    ),
    Mutant(
        "columns are not standardised",
        FOCI,
        'standardise: str = "sd"',
        'standardise: str = "no"',
        f"{FOCI_TESTS}::test_a_column_on_a_large_scale_does_not_hide_the_others",
    ),
)

L_FOCI_TESTS = "tests/methods/test_l_foci.py"
SLICE_TESTS = "tests/test_slices.py"
METHOD, SOLVER = "methods/l_foci.py", "objective/slice_block.py"
ROUNDS, ROUNDS_TESTS = "objective/block_rounds.py", "tests/test_block_rounds.py"

L_FOCI = (
    Mutant(
        "the step goes down the loss of the rows that leave",
        ROUNDS,
        "else removed / len(retained)",
        "else -removed / len(retained)",
        f"{L_FOCI_TESTS}::test_all_slices_of_ridge_give_the_retrained_model",
    ),
    Mutant(
        "rows leave without their share of the penalty",
        ROUNDS,
        "removed = slopes + len(forgotten) * objective.l2 * w",
        "removed = slopes",
        f"{L_FOCI_TESTS}::test_all_slices_of_ridge_give_the_retrained_model",
    ),
    Mutant(
        "gradients of a batch are averaged",
        ROUNDS,
        "else removed / len(retained)",
        "else removed / len(retained) / len(forgotten)",
        f"{L_FOCI_TESTS}::test_all_slices_of_ridge_give_the_retrained_model",
    ),
    Mutant(
        "the curvature keeps the forgotten rows",
        METHOD,
        "sampled(retained, record.seed, self.curvature_rows)",
        "sampled(retained.and_rows(forgotten), record.seed, self.curvature_rows)",
        f"{L_FOCI_TESTS}::test_all_slices_of_ridge_give_the_retrained_model",
    ),
    Mutant(
        "every round draws the same block",
        ROUNDS,
        'keyed.subseed(seed, "round", number) if number else seed',
        "seed",
        f"{ROUNDS_TESTS}::test_random_blocks_arrive_at_the_minimiser_no_slower_than_the_bound",
    ),
    Mutant(
        "later rounds follow the rows that left",
        ROUNDS,
        "if how.full or number else",
        "if how.full else",
        f"{ROUNDS_TESTS}::test_the_first_round_is_a_single_one_and_later_ones_follow_what_is_left",
    ),
    Mutant(
        "the features of a group are drawn each by itself",
        "maths/feature_sensitivity.py",
        "drawn = some[:, labels]",
        "drawn = np.resize(some, (len(some), *labels.shape))",
        "tests/maths/test_feature_sensitivity.py::test_groups_change_together",
    ),
    Mutant(
        "a secant over the length of the step, in the unit of a squared Hessian",
        "maths/secant.py",
        "    return 1.0 / along if along > 0 else 0.0\n",
        "    return 1.0 / float(step.abs().sum()) if along > 0 else 0.0\n",
        "tests/maths/test_secant.py::test_a_secant_is_the_hessian_along_its_step_and_scales_with_the_loss",
    ),
    Mutant(
        "the second point of a secant is the first one",
        SOLVER,
        "    away[P] += s\n",
        "",
        f"{L_FOCI_TESTS}::test_the_secant_form_is_equation_13_with_rank_one_terms",
    ),
    Mutant(
        "layers go by their text, and equal ones collide",
        "objective/perturbation.py",
        "register_forward_hook(partial(self._passed, name))",
        "register_forward_hook(partial(self._passed, "
        "next(n for n, p in objective.module.named_modules() if str(p) == str(part))))",
        f"{SLICE_TESTS}::test_layers_go_by_name_however_they_are_called",
    ),
    Mutant(
        "padding counts as tokens",
        "objective/perturbation.py",
        "if self.mask is not None and places.shape[1] == self.mask.shape[1]:",
        "if False:",
        f"{SLICE_TESTS}::test_padding_does_not_count",
    ),
    Mutant(
        "a convolution's slice is an input channel",
        "objective/slices.py",
        "return grouped.transpose(1, 2).reshape(part.out_channels, -1)",
        "return grouped.reshape(part.out_channels, -1)",
        f"{SLICE_TESTS}::test_a_slice_is_the_weights_of_one_output_and_no_other",
    ),
    Mutant(
        "a refused step is taken for a deletion",
        "learners/accuracy_guard.py",
        "    if was - now > most:\n",
        "    if False:\n",
        f"{L_FOCI_TESTS}::test_a_step_that_costs_too_much_accuracy_is_refused",
    ),
    Mutant(
        "token ids are drawn from the largest embedding",
        "objective/perturbation.py",
        "found[name] = min(part.num_embeddings, found.get(name, part.num_embeddings))",
        "found[name] = max(p.num_embeddings for p in objective.module.modules() if isinstance(p, nn.Embedding))",
        f"{SLICE_TESTS}::test_only_token_ids_change_and_stay_in_their_own_vocabulary",
    ),
    Mutant(
        "weights that overflow are taken for a deletion",
        "learners/accuracy_guard.py",
        "    if not all(bool(torch.isfinite(part).all()) for part in after.tensors.values()):\n",
        "    if False:\n",
        f"{L_FOCI_TESTS}::test_weights_that_overflow_are_refused_even_without_a_guard",
    ),
    Mutant(
        "a linear block of other outputs",
        "objective/linear.py",
        "linear_models.add_hessian(H, X, y, W, self.loss, among)",
        "linear_models.add_hessian(H, X, y, W, self.loss, range(len(among)))",
        "tests/test_objective.py::test_closed_forms_equal_the_same_linear_module",
    ),
    Mutant(
        "noise on the changed slices only",
        METHOD,
        "add_noise(w, self.noise_std, noise)",
        "torch.where(w == self.learner.flat(record.released or record.training), w, add_noise(w, 1.0, noise))",
        f"{L_FOCI_TESTS}::test_noise_is_on_every_coordinate",
    ),
    Mutant(
        "a certificate whatever the residual",
        "objective/measured_promise.py",
        "if not bound <= distance / 2:",
        "if False:",
        f"{L_FOCI_TESTS}::test_a_linear_model_is_certified_by_its_measured_residual_or_learned_again",
    ),
    Mutant(
        "the residual is taken for the distance",
        "objective/bounds.py",
        "return residual, residual / objective.strong_convexity",
        "return residual, residual",
        f"{L_FOCI_TESTS}::test_a_linear_model_is_certified_by_its_measured_residual_or_learned_again",
    ),
)
