"""scikit-learn's estimators over any Method: fit, predict, score, and forget.

    model = ForgettingClassifier().fit(frame, y)      # the frame's index names the rows
    model.forget(["row-7"]).certificate_              # Exact(...)

An estimator keeps its rows, because a method needs those that stay; a pickle of it holds them too. It counts its
releases and draws a secret for each (`NoiseKey.fresh`), so noise is another after every fit. There is no ledger, no
receipt and no purge: what must be proved to somebody else belongs into a `Vault`.

Differs from scikit-learn in: `fit` takes names of rows and of their owners, and `features="auto"` scales numbers and
encodes text inside, where they forget; what a scikit-learn Pipeline did before is out of sight (see `forget_in`).
"""

from expunge.sklearn.estimators import (
    Forgets,
    ForgettingClassifier,
    ForgettingClusterer,
    ForgettingRegressor,
    LearnedAgain,
)
from expunge.sklearn.upstream import forget_in

__all__ = [
    "Forgets",
    "ForgettingClassifier",
    "ForgettingClusterer",
    "ForgettingRegressor",
    "LearnedAgain",
    "forget_in",
]
