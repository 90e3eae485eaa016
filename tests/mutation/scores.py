"""Planted bugs of scores and calibration: published defects, and what a p-value or a bound rests on."""

from __future__ import annotations

from .mutant import Mutant

AUDITS, TESTS = "audits", "tests/audits"
OVER = f"{TESTS}/test_scores_over_models.py"
BOUND = f"{TESTS}/test_epsilon_bound.py"

SCORES = (
    Mutant(
        "published: the event is judged on the models that chose it",
        f"{AUDITS}/scores/forgetting_quality.py",
        "for choose, judge in (halves, halves[::-1])",
        "for choose, judge in ((halves[0], halves[0]), (halves[1], halves[1]))",
        f"{OVER}::test_held_out_quality_is_near_its_best_for_one_law",
    ),
    Mutant(
        "published: bins by the range of the samples",
        f"{AUDITS}/scores/klom.py",
        "found[row] = rel_entr(_shares(unlearned[:, row], ordered[:, row], cuts), q).sum()",
        "found[row] = klom_as_published(unlearned[:, [row]], oracles[:, [row]])[0]",
        f"{OVER}::test_one_blown_up_margin_hides_a_wrecked_model_from_the_published_bins_only",
    ),
    Mutant(
        "a margin that equals oracles' falls into one bin",
        f"{AUDITS}/scores/klom.py",
        'for side in ("left", "right"))\n    # Mass',
        'for side in ("left", "left"))\n    # Mass',
        f"{OVER}::test_klom_of_equal_deterministic_models_is_zero",
    ),
    Mutant(
        "published: effectiveness has lost its minus",
        f"{AUDITS}/scores/effectiveness.py",
        "abs(own - retrained)",
        "abs(own + retrained)",
        f"{TESTS}/test_audit_metrics.py",
    ),
    Mutant(
        "certifiability of two zeros is no number",
        f"{AUDITS}/scores/certifiability.py",
        "abs(own - retrained) / scale if scale > 0 else 0.0",
        "abs(own - retrained) / scale if scale > 0 else 1.0",
        f"{TESTS}/test_audit_metrics.py",
    ),
    Mutant(
        "a delta without entropy is let pass",
        f"{AUDITS}/scores/information.py",
        "delta * entropy + (1 - delta)",
        "(1 - delta)",
        f"{TESTS}/test_information_bound.py",
    ),
    Mutant(
        "the information of a Gaussian certificate is halved",
        f"{AUDITS}/scores/information.py",
        "mu**2 / 2",
        "mu**2 / 4",
        f"{TESTS}/test_information_bound.py",
    ),
    Mutant(
        "the bound is judged on the models that chose the event",
        f"{AUDITS}/epsilon_bound.py",
        "sides = [side[1::2] for side in (forgot, never_saw)]",
        "sides = [side[0::2] for side in (forgot, never_saw)]",
        f"{BOUND}::test_bound_exceeds_the_truth_no_more_often_than_its_level_says",
    ),
    Mutant(
        "each error rate gets the whole error probability",
        f"{AUDITS}/epsilon_bound.py",
        "one_sided = 1 - (1 - level) / 2",
        "one_sided = level",
        f"{BOUND}::test_laws_far_apart_prove_the_largest_epsilon_in_either_direction",
    ),
    Mutant(
        "the lower limit of an error rate instead of the upper",
        f"{AUDITS}/error_rates.py",
        "betaincinv(k + 1, np.maximum(n - k, 1e-300), level)",
        "betaincinv(np.maximum(k, 1e-300), n - k + 1, 1 - level)",
        f"{BOUND}::test_upper_rate_is_clopper_pearson",
    ),
    Mutant(
        "rows are weighted by the models that judge",
        f"{AUDITS}/epsilon_bound.py",
        "choosing = [side[0::2] for side in (margins, references)]",
        "choosing = [side[1::2] for side in (margins, references)]",
        f"{BOUND}::test_direction_is_found_on_the_choosing_half_alone",
    ),
    Mutant(
        "the observed choice is not counted in the p-value",
        f"{AUDITS}/calibration.py",
        "float(np.mean(statistics >= statistics[0] - slack))",
        "float(np.mean(statistics[1:] >= statistics[0] - slack))",
        f"{TESTS}/test_calibration.py",
    ),
    Mutant(
        "the audited pairs are found once, not for each choice",
        f"{AUDITS}/calibration.py",
        "within = ((1 - is_audited) * to_rest)",
        "within = ((1 - is_audited[:1]) * to_rest)",
        f"{TESTS}/test_calibration.py::test_p_value_of_distances_is_the_share_of_all_choices",
    ),
    Mutant(
        "the interval forgets that the references are few",
        f"{AUDITS}/calibration.py",
        "spread * math.sqrt(1 / len(own) + 1 / len(honest))",
        "spread * math.sqrt(1 / len(honest))",
        f"{TESTS}/test_calibration.py::test_interval_covers_the_effect",
    ),
    Mutant(
        "a model that is broken on retained rows passes",
        f"{AUDITS}/utility.py",
        'GUARDED = ("retained", "test")',
        'GUARDED = ("test",)',
        f"{TESTS}/test_utility_guard.py",
    ),
    Mutant(
        "a broken model is scored",
        f"{AUDITS}/comparison.py",
        "if found.broken:",
        "if False:",
        f"{TESTS}/test_utility_guard.py::test_a_constant_model_recognises_nobody_and_gets_no_score",
    ),
    Mutant(
        "a bound above the claim voids nothing",
        f"{AUDITS}/claims.py",
        "return shown, () if sentence is None else (sentence,),",
        "return shown, (),",
        f"{TESTS}/test_over_models.py::test_exact_no_op_is_disproved_by_its_models_too",
    ),
)
