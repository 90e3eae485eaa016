"""The linear model inside a release, as coefficients and intercepts; None where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from expunge.method import Method, Release


def linear_form(method: Method[Any], release: Release) -> tuple[Tensor, Tensor] | None:
    """Coefficients (k, p) and intercepts (k,) of a linear model on the features that reach it."""
    from expunge.features import Pipeline
    from expunge.learners.convex import Convex
    from expunge.methods.certified_newton import CertifiedNewton
    from expunge.methods.retrain import Retrain

    match method:
        case Pipeline():
            return linear_form(method.method, release)
        case CertifiedNewton():
            weights = release.tensors["weights"]  # intercepts last
            return weights[:, :-1], weights[:, -1]
        case Retrain(learner=Convex()):
            return release.tensors["weight"], release.tensors["bias"]
        case _:
            return None
