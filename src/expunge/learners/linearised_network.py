"""A network trained by `Sgd` and then made linear around its weights: the plumbing between learner and objective."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from expunge.errors import InputError
from expunge.learners.learner import schema_of
from expunge.learners.public_weights import as_bits, from_bits
from expunge.learners.sgd import Sgd
from expunge.method import Release
from expunge.objective import outputs
from expunge.objective.linearised import LinearisedObjective
from expunge.rows import Rows
from expunge.schema import Array

PURPOSE = ("linearised_network",)


def trained(learner: Sgd, rows: Rows, seed: int) -> Release:
    """The network's weights after training on the rows, and the settings that describe what it reads.

    Raises:
        InputError: there are no rows, or the learner cannot read them.
    """
    if not len(rows):
        raise InputError("No row is marked core, and the core trains on such rows alone: mark some by 1, or `adopt`.")
    return learner.release(learner.train(learner.start(rows.schema, seed, PURPOSE), rows, seed=seed, purpose=PURPOSE))


def linearised(learner: Sgd, network: Release, layers: tuple[str, ...], l2: float) -> LinearisedObjective:
    """The objective of u around the network's weights; see `LinearisedObjective`."""
    training = learner.adopt(schema_of(network.settings), network.tensors)
    return LinearisedObjective(learner.objective(training).module, layers, l2)


def released(network: Release, u: Tensor, layers: tuple[str, ...]) -> Release:
    """What predicting needs: u, the network's weights as bits (they carry no noise), settings."""
    return Release({"weights": u, **as_bits(network.tensors)}, {**network.settings, "layers": layers})


def predicted(learner: Sgd, release: Release, columns: Mapping[str, Array]) -> Tensor:
    """The softmax of the linear scores as log-probabilities (m, classes), or the scores (m, outputs) of a regression.

    Args:
        release: from `released`. columns: those that the network reads.
    """
    network = Release(from_bits(release.tensors), release.settings)
    around = linearised(learner, network, tuple(release.settings["layers"]), 0.0)
    scores = around.scores(release.tensors["weights"], columns)
    return outputs(scores, "cross_entropy" if release.settings["classes"] else "squared")
