"""Planted bugs of the exact sums and of the methods made of them."""

from __future__ import annotations

from .mutant import Mutant

SUMS, SUMS_TEST = "maths/exact_sums.py", "tests/maths/test_exact_sums.py"
BAYES_TEST, RIDGE_TEST = "tests/methods/test_naive_bayes.py", "tests/methods/test_ridge.py"
DISCRIMINANT_TEST = "tests/methods/test_discriminant_analysis.py"

EXACT_CLASSICS = (
    Mutant(
        "places that only forgotten rows used stay in the sum",
        SUMS,
        "return ExactSums(torch.from_numpy(np.stack(digits[used[0] : used[-1] + 1])), place + used[0])",
        "return ExactSums(torch.from_numpy(np.stack(digits)), place)",
        f"{SUMS_TEST}::test_a_huge_row_that_left_is_not_in_the_form",
    ),
    Mutant(
        "so many products are added that float64 rounds",
        SUMS,
        "CHUNK_ROWS = 1 << (53 - 2 * BASE_BITS)",
        "CHUNK_ROWS = 1 << (57 - 2 * BASE_BITS)",
        f"{SUMS_TEST}::test_chunks_of_the_largest_digits_do_not_round",
    ),
    Mutant(
        "a quotient is rounded twice",
        SUMS,
        "return nearest(quotient, BASE_BITS * (self.place - extra), np.broadcast_to(negative, shape), rest > 0)",
        "return self.rounded() / np.asarray(counts)",
        f"{SUMS_TEST}::test_halves_go_to_even_and_one_bit_far_below_decides",
    ),
    Mutant(
        "a bit far below a half is lost",
        "maths/correct_rounding.py",
        "word |= rest | below.reshape(-1)",
        "word |= below.reshape(-1)",
        f"{SUMS_TEST}::test_halves_go_to_even_and_one_bit_far_below_decides",
    ),
    Mutant(
        "squares of forgotten rows stay",
        "maths/class_statistics.py",
        "self.squares - other.squares",
        "self.squares",
        f"{BAYES_TEST}::test_a_class_whose_last_row_leaves_is_as_one_that_never_was[gaussian]",
    ),
    Mutant(
        "a variance from two rounded sums",
        "maths/class_likelihoods.py",
        "spread.rounded() / each / each",
        "squares.over(each) - sums.over(each) ** 2",
        f"{BAYES_TEST}::test_the_variance_does_not_cancel",
    ),
    Mutant(
        "a level without rows keeps its place in the alphabet",
        "maths/level_counts.py",
        "if level and each.any()",
        "if level",
        f"{BAYES_TEST}::test_a_level_without_rows_is_gone_unless_it_was_declared",
    ),
    Mutant(
        "a class without rows keeps a probability",
        "maths/class_likelihoods.py",
        "joint.masked_fill(~present, -math.inf), 1)",
        "joint, 1)",
        f"{BAYES_TEST}::test_a_class_whose_last_row_leaves_is_as_one_that_never_was[gaussian]",
    ),
    Mutant(
        "the certificate is silent about two releases",
        "learners/summation.py",
        "        TWO_RELEASES,\n",
        "",
        f"{BAYES_TEST}::test_the_certificate_says_that_two_releases_give_the_row_away_and_they_do",
    ),
    Mutant(
        "targets of forgotten rows stay",
        "methods/ridge.py",
        "self.cross - other.cross",
        "self.cross",
        f"{RIDGE_TEST}::test_duplicates_leave_one_at_a_time",
    ),
    Mutant(
        "retained rows are summed again",
        "methods/ridge.py",
        "left = reduce(RidgeRecord.minus, _summed(forgotten), record)",
        "left = self.learn(retained, seed=0, noise=NoiseKey(bytes(32), 1))",
        f"{RIDGE_TEST}::test_duplicates_leave_one_at_a_time",
    ),
    Mutant(
        "the penalty keeps the number of rows that was",
        "maths/least_squares.py",
        "shrunk = l2 * (self.rows - size) / self.rows",
        "shrunk = l2",
        f"{RIDGE_TEST}::test_rows_left_out_in_closed_form_are_the_residuals_after_forgetting",
    ),
    Mutant(
        "singular equations are solved all the same",
        "maths/least_squares.py",
        ">= len(matrix) * EPS",
        ">= 0",
        f"{RIDGE_TEST}::test_singular_equations_have_the_least_norm_solution_and_say_so",
    ),
    Mutant(
        "the centred matrix is formed in float64",
        "maths/least_squares.py",
        "matrix, right = (_aligned(part.rounded() / rows / rows) for part in (spread, shared))",
        "matrix, right = (_aligned(part.rounded() / rows / rows) for part in (spread, shared))\n"
        "        mean = _aligned(x.over(rows))\n"
        "        matrix = _aligned(gram[1:, 1:].over(rows)) - torch.outer(mean, mean)",
        f"{RIDGE_TEST}::test_columns_far_from_zero_lose_no_digit",
    ),
    Mutant(
        "no floor under a covariance",
        "maths/discriminants.py",
        "values = values.clamp(min=floor)",
        "values = values + 0",
        f"{DISCRIMINANT_TEST}::test_a_class_whose_last_row_leaves_is_as_one_that_never_was[each]",
    ),
    Mutant(
        "remainders of rounded class means are dropped",
        "maths/discriminants.py",
        "(within.rounded() - rest.T @ (rest / each[:, None]))",
        "within.rounded()",
        f"{DISCRIMINANT_TEST}::test_columns_far_from_zero_lose_no_digit",
    ),
    Mutant(
        "products of forgotten rows stay",
        "methods/discriminant_analysis.py",
        "self.products - other.products",
        "self.products",
        f"{DISCRIMINANT_TEST}::test_a_class_whose_last_row_leaves_is_as_one_that_never_was[each]",
    ),
)
