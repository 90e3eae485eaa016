"""Planted bugs of DeepObliviate: the defects of the published algorithm and code, and what its answers rest on."""

from __future__ import annotations

from .mutant import Mutant

METHOD = "methods/deep_obliviate.py"
FLUCTUATION = "maths/fluctuation.py"
SURVIVAL = "maths/survival.py"
TESTS = "tests/methods/test_deep_obliviate.py"
ORACLE = (
    "tests/oracles/test_deep_obliviate_oracle.py"
    "::test_request_after_request_the_checkpoints_are_those_of_the_repaired_algorithm"
)
SERIES = "tests/maths/test_fluctuation.py"
CHANGES = "tests/maths/test_survival.py"
EXACT = "tests/oracles/test_deep_obliviate_oracle.py::test_the_record_knows_which_of_its_checkpoints_are_exact"
ORDER = f"{TESTS}::test_training_starts_before_the_block_of_the_row_and_goes_on_block_after_block_without_it"
STITCH = f"{TESTS}::test_the_release_is_the_retrained_end_plus_what_the_old_training_did_after_it"
WORTH = f"{TESTS}::test_stitching_loses_to_doing_nothing_where_later_blocks_would_have_worn_the_change_down"

DEEP_OBLIVIATE = (
    Mutant(
        "it starts after the block that holds the row",
        METHOD,
        "new, residuals, slope = [old[first - 1]]",
        "new, residuals, slope = [old[first]]",
        ORDER,
    ),
    Mutant(
        "later checkpoints are left stale",
        METHOD,
        "stitched = [self.learner.shifted(later, change) for later in old[block + 1 :]]",
        "stitched = [self.learner.shifted(j, change) if j is old[-1] else j for j in old[block + 1 :]]",
        STITCH,
    ),
    Mutant(
        "the release is the old end",
        METHOD,
        "self.learner.shifted(later, change)",
        "self.learner.shifted(later, 0 * change)",
        STITCH,
    ),
    Mutant(
        "the release is the retrained checkpoint, without the old training after it",
        METHOD,
        "(*old[:first], *new[1:], *stitched))",
        "(*old[:first], *new[1:], *(new[-1] for _ in stitched)))",
        STITCH,
    ),
    Mutant(
        "the index counts from the first block of all",
        METHOD,
        ".slope(len(residuals))",
        ".slope(block)",
        f"{TESTS}::test_the_place_in_the_order_does_not_change_the_rule",
    ),
    Mutant(
        "an L2 norm",
        METHOD,
        "delta = float((before - after).abs().sum())",
        "delta = float((before - after).norm())",
        f"{TESTS}::test_the_residual_is_the_l1_norm_of_the_difference_of_differences_over_that_of_the_old_one",
    ),
    Mutant(
        "an absolute residual where a normalised one is asked for",
        METHOD,
        'return [delta / length if self.residuals == "normalised" else delta]',
        "return [delta]",
        f"{TESTS}::test_the_residual_is_the_l1_norm_of_the_difference_of_differences_over_that_of_the_old_one",
    ),
    Mutant(
        "it compares weights, not what a block did to them",
        METHOD,
        "flat(new[-1]) - flat(new[-2]))",
        "flat(new[-1]) - flat(old[block - 1]))",
        ORACLE,
    ),
    Mutant(
        "it stops before the last block that held a row",
        METHOD,
        "if block >= max(affected) and slope < self.threshold:",
        "if slope < self.threshold:",
        f"{TESTS}::test_training_does_not_stop_before_the_last_block_that_held_a_row",
    ),
    Mutant(
        "it trains on the forgotten rows",
        METHOD,
        "return self._again(record, retained, forgotten)",
        "return self._again(record, retained.and_rows(forgotten), forgotten)",
        ORDER,
    ),
    Mutant(
        "exact after a start that was stitched",
        METHOD,
        "exact = block + 1 if first <= record.exact else record.exact",
        "exact = block + 1",
        EXACT,
    ),
    Mutant(
        "checkpoints stay exact after they were moved",
        METHOD,
        "exact = block + 1 if first <= record.exact else record.exact",
        "exact = max(record.exact, block + 1)",
        EXACT,
    ),
    Mutant(
        "an emptied block does not pass its epochs",
        METHOD,
        "epochs=training.epochs + self.learner.epochs",
        "epochs=training.epochs",
        f"{TESTS}::test_a_block_without_rows_passes_its_epochs",
    ),
    Mutant(
        "the moments of a stitched checkpoint are lost",
        "learners/sgd.py",
        'tensors={**training.tensors, "weights": weights})',
        'tensors={**{n: 0 * t for n, t in training.tensors.items()}, "weights": weights})',
        "tests/learners/test_differentiable.py::test_a_shifted_training_has_other_weights_and_nothing_else",
    ),
    Mutant(
        "the guard's word is the other one",
        METHOD,
        "(NEARER if ratio <= NEAR else NO_BETTER)",
        "(NO_BETTER if ratio <= NEAR else NEARER)",
        WORTH,
    ),
    Mutant(
        "the guard looks ahead to the wrong block",
        METHOD,
        "end = self.blocks - first + 1",
        "end = len(new)",
        WORTH,
    ),
    Mutant(
        "survival is a share of the later change",
        SURVIVAL,
        "square = float(earlier @ earlier)",
        "square = float(later @ later)",
        f"{CHANGES}::test_stitching_beats_doing_nothing_just_where_more_than_half_survives",
    ),
    Mutant(
        "survival by age alone",
        SURVIVAL,
        "math.exp(-k * (end - n))",
        "1.0",
        f"{CHANGES}::test_changes_that_shrink_by_one_factor_a_block_are_judged_rightly",
    ),
    Mutant(
        "growth is not reckoned with",
        SURVIVAL,
        "(2 * survives - 1) / growth**2",
        "(2 * survives - 1)",
        f"{CHANGES}::test_stitching_beats_doing_nothing_just_where_more_than_half_survives",
    ),
    Mutant(
        "the fit has no b",
        FLUCTUATION,
        "np.ones_like(x)],",
        "np.zeros_like(x)],",
        f"{SERIES}::test_a_power_law_is_recovered_with_its_derivative",
    ),
    Mutant(
        "the derivative of another power",
        FLUCTUATION,
        "x ** (-self.exponent - 1)",
        "x ** (-self.exponent)",
        f"{SERIES}::test_a_power_law_is_recovered_with_its_derivative",
    ),
    Mutant(
        "the series is not summed up before its fluctuation is taken",
        FLUCTUATION,
        "profile = np.cumsum(x - x.mean())",
        "profile = x - x.mean()",
        f"{SERIES}::test_white_noise_has_one_half_and_its_running_sum_one_more",
    ),
    Mutant(
        "windows are not freed of their line",
        FLUCTUATION,
        "windows - windows @ line @ line.T",
        "windows - windows.mean(axis=1, keepdims=True)",
        f"{SERIES}::test_white_noise_has_one_half_and_its_running_sum_one_more",
    ),
    Mutant(
        "a constant series has an exponent",
        FLUCTUATION,
        "moving = roots > NOTHING * np.abs(x).max()",
        "moving = roots >= 0",
        f"{SERIES}::test_a_constant_series_has_no_exponent_and_says_so",
    ),
)
