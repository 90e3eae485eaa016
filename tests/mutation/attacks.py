"""Planted bugs of the attacks: each a defect that published code has, or a way to accuse or acquit wrongly."""

from __future__ import annotations

from .mutant import Mutant

LIRA, RMIA, U_LIRA = "tests/audits/test_lira.py", "tests/audits/test_rmia.py", "tests/audits/test_u_lira.py"

ATTACKS = (
    Mutant(
        "U-LiRA judges models that its normals were fitted to",
        "audits/attacks/u_lira.py",
        "lira.fit(world[chosen != fold], variance=variance, floor=floor)",
        "lira.fit(world, variance=variance, floor=floor)",
        f"{U_LIRA}::test_targets_are_never_among_the_models_fitted_to",
    ),
    Mutant(
        "the shared spread takes the difficulty of rows for noise",
        "audits/attacks/lira.py",
        "squares = own / (count - 1) if by_row else np.full(len(mean), own.sum() / (count - 1).sum())",
        "squares = own / (count - 1) if by_row else np.full(len(mean), phi[used].var())",
        f"{LIRA}::test_shared_spread_pools_within_rows",
    ),
    Mutant(
        "offline LiRA looks at models that learned the row",
        "audits/attacks/lira.py",
        "fit(phi, None if inside is None else ~inside, variance=variance, floor=floor)",
        "fit(phi, None, variance=variance, floor=floor)",
        f"{LIRA}::test_offline_uses_only_models_without_the_row",
    ),
    Mutant(
        "the population of RMIA is not interpolated as the rows are",
        "audits/attacks/rmia.py",
        "for p in (p_out, np.exp(references_z).mean(axis=0)))\n    return _score(target, p_x, target_z, p_z, gamma)",
        "for p in (p_out, np.exp(references_z).mean(axis=0)))\n"
        "    return _score(target, p_x, target_z, np.exp(references_z).mean(axis=0), gamma)",
        f"{RMIA}::test_offline_is_the_definition_with_interpolated_probabilities",
    ),
    Mutant(
        "equal scores count as found",
        "audits/attacks/roc.py",
        "return float(np.mean(members > threshold))",
        "return float(np.mean(members >= threshold))",
        "tests/audits/test_roc.py::test_a_hundred_others_resolve_one_per_cent_and_no_less",
    ),
    Mutant(
        "a threshold judges the rows it was chosen on",
        "audits/attacks/thresholds.py",
        "judged = halves[place] != own",
        "judged = halves[place] == own",
        "tests/audits/test_thresholds.py::test_a_threshold_that_judges_its_own_rows_is_too_good",
    ),
    Mutant(
        "rows that were exposed before are blamed on forgetting",
        "audits/collateral.py",
        "    rows = rows[second[rows] > first[rows]]\n",
        "",
        "tests/audits/test_collateral.py"
        "::test_rows_that_rose_are_found_and_those_that_were_exposed_before_are_not_blamed_on_forgetting",
    ),
    Mutant(
        "both halves of a pair of shadows are drawn apart",
        "audits/shadows.py",
        "for side in (1, 0)]",
        "for side in (1, 1)]",
        "tests/audits/test_shadows.py::test_every_row_is_in_one_model_of_each_pair",
    ),
    Mutant(
        "a wrong label may be the right one",
        "audits/planted.py",
        'shift = 1 + keyed.integers(seed, ("planted", "label"), keys, rows.classes - 1)',
        'shift = keyed.integers(seed, ("planted", "label"), keys, rows.classes)',
        "tests/audits/test_forget_sets.py::test_mislabelled_rows_all_have_another_label_and_the_rest_is_untouched",
    ),
)
