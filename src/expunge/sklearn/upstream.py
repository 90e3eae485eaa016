"""What stood before an estimator in a Pipeline, or around it in a search, and still knows forgotten rows."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion
from sklearn.pipeline import Pipeline as Steps
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from expunge.certificate import Uncertified
from expunge.errors import InputError
from expunge.sklearn.estimators import Forgets, Names


def forget_in(model: Any, ids: Names = None, *, subjects: Names = None) -> Any:
    """Forget in the last step of a fitted scikit-learn Pipeline (or search), and say what the other steps still know.

    Steps that were fitted (a scaler, a selection) saw the forgotten rows and keep them; so does the choice of a search.
    Then the estimator's `certificate_` is `Uncertified` and names them. Steps without a state do no harm.

    Args:
        model: a Pipeline, a search such as GridSearchCV, or an estimator of this module.

    Raises:
        InputError: it does not end in an estimator of this module; else see `forget`.
    """
    estimator, knows = _ending(model)
    estimator.forget(ids, subjects=subjects)
    if knows:
        estimator.certificate_ = Uncertified(
            f"{', '.join(knows)} saw the forgotten rows before this estimator did, and still know them: give the raw "
            "columns to the estimator, whose features forget, or fit the whole again on the rows that stay."
        )
    return model


def _ending(model: Any) -> tuple[Forgets, list[str]]:
    """The estimator that a model ends in, and what before it was fitted on its rows."""
    match model:
        case Forgets():
            return model, []
        case Steps():
            estimator, inner = _ending(model.steps[-1][1])
            return estimator, [part for name, step in model.steps[:-1] for part in _fitted_parts(name, step)] + inner
        case BaseSearchCV():
            check_is_fitted(model, "best_estimator_")
            estimator, inner = _ending(model.best_estimator_)
            return estimator, [f"the settings that {type(model).__name__} chose", *inner]
    raise InputError(f"{type(model).__name__} does not end in a Forgetting estimator, so nothing in it can forget.")


def _fitted_parts(name: str, step: Any) -> list[str]:
    """The parts of a step that keep something of the rows they were fitted on."""
    match step:
        case None | "passthrough" | "drop":
            return []
        case Steps():
            parts = step.steps
        case FeatureUnion():
            parts = step.transformer_list
        case ColumnTransformer():
            parts = [(part, inner) for part, inner, _ in step.transformers]
        case _:
            return [f"{type(step).__name__} ({name})"] if get_tags(step).requires_fit else []
    return [found for part, inner in parts for found in _fitted_parts(f"{name}.{part}", inner)]
