"""Planted bugs of what ranks rows and predicts their removal."""

from __future__ import annotations

from .mutant import Mutant

TEST = "tests/attribution/test_attribution.py"

ATTRIBUTION = (
    Mutant(
        "the harmless rows come first",
        "attribution/influence.py",
        "(-products / (len(rows) - 1))",
        "(products / (len(rows) - 1))",
        f"{TEST}::test_mislabelled_rows_come_first_and_forgetting_them_helps_as_predicted",
    ),
    Mutant(
        "a row leaves its share of the penalty behind",
        "attribution/influence.py",
        "objective.row_products(w, seen, s) + objective.l2 * (s @ w)",
        "objective.row_products(w, seen, s)",
        f"{TEST}::test_the_sum_of_all_influences_is_the_gradient_of_the_objective_at_w_and_so_nothing_at_the_minimum",
    ),
    Mutant(
        "a prediction moves by the mean gradient of the rows that leave",
        "attribution/removal.py",
        "* objective.l2 * w) / len(staying)",
        "* objective.l2 * w) / len(going)",
        f"{TEST}::test_a_removal_of_a_quadratic_model_is_predicted_exactly",
    ),
    Mutant(
        "the curvature still counts the rows that leave",
        "attribution/removal.py",
        "curvature.inverse(objective, w, model.seen(staying))(slope)",
        "curvature.inverse(objective, w, model.seen(staying.and_rows(going)))(slope)",
        f"{TEST}::test_a_removal_of_a_quadratic_model_is_predicted_exactly",
    ),
    Mutant(
        "probes have the curvature as covariance, not its inverse",
        "attribution/curvature.py",
        "list(torch.linalg.solve_triangular(factor.T, normals.T, upper=True).T)",
        "list((factor @ normals.T).T)",
        f"{TEST}::test_self_influence_estimates_the_closed_form",
    ),
)
