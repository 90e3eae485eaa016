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
