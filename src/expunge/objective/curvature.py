"""The curvature of an objective at given weights, in one of four forms, and noise shaped by it.

    exact       Fisher information = Gauss-Newton matrix; a matrix up to `dense_limit` weights, products above
    empirical   second moment of the rows' gradients at their given labels: another matrix, kept for comparison
    diagonal    the diagonal of the exact one
    kronecker   the exact one's blocks of layers, each a Kronecker product (K-FAC, expanded over positions)

All are of the mean loss, and hold l2 and the damping in every direction. The diagonal and the factors are exact over
the outputs (one backward pass each), not sampled, and take memory for a micro-batch and the result.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from expunge import keyed
from expunge.errors import InputError
from expunge.maths import derivatives, fisher_information
from expunge.maths.curvature import Curvature, Diagonal, MatrixFree, dense, factored, positive
from expunge.maths.curvature_noise import NoiseLaw, scrubbing_shape
from expunge.maths.kronecker import Factors, kronecker
from expunge.noise import GRID_BITS, NoiseKey
from expunge.objective.layer_traces import Trace, last_and_thin, layer_positions, probes, visit_layers
from expunge.objective.linear import LinearObjective
from expunge.objective.objective import Objective, counted
from expunge.rows import Rows

FORMS = ("exact", "empirical", "diagonal", "kronecker")
PURPOSE: keyed.Purpose = ("curvature",)
GRADIENT_BYTES = 64 * 2**20  # of row gradients held at once


def curvature(
    objective: Objective,
    w: Tensor,
    rows: Rows,
    *,
    form: str,
    damping: float,
    dense_limit: int,
    eigenvectors: bool = True,
    most: int = 0,
) -> Curvature:
    """The curvature at `w` (d,) over `rows`, with `objective.l2 + damping` on its diagonal.

    Args:
        form: see the module. damping: kappa of B + kappa I. dense_limit: weights up to which a (d, d) matrix is made.
        eigenvectors: of such a matrix; a Cholesky factor is cheaper where few of its powers are needed.
        most: rows it is taken over, a sample keyed by the rows' ids; 0 for all.

    Raises:
        InputError: there is no such form, or it does not fit the model. NotConverged: it is not positive definite.
    """
    if 0 < most < counted(rows):
        chosen = keyed.k_smallest(0, PURPOSE, rows.keys, most)
        rows = rows.select(np.isin(np.arange(len(rows)), chosen))
    n = counted(rows)
    made = dense if eigenvectors else factored
    match form:
        case "exact" if objective.dimension > dense_limit:
            product = objective.ggn(w, rows)
            return MatrixFree(lambda v: product(v) + damping * v)
        case "exact" if isinstance(objective, LinearObjective):
            return made(objective.hessian(w, rows), damping)
        case "exact":
            return made(derivatives.dense(objective.ggn(w, rows), w), damping)
        case "empirical" if objective.dimension > dense_limit:
            raise InputError(
                f"The empirical Fisher is made as a matrix, and {objective.dimension} weights are more than "
                f"dense_limit={dense_limit}: take form='exact', 'diagonal' or 'kronecker'."
            )
        case "empirical":
            moment = w.new_zeros((objective.dimension, objective.dimension))
            for part in _few(rows, objective.dimension):
                moment += fisher_information.empirical_fisher(objective.row_gradients(w, part))
            return made(moment / n, objective.l2 + damping)
        case "diagonal":
            return Diagonal(positive(_diagonal(objective, w, rows) / n + objective.l2 + damping))
        case "kronecker":
            return kronecker(layer_factors(objective, w, rows), objective.l2 + damping)
        case _:
            raise InputError(f"There is no form {form!r}; choose one of {', '.join(FORMS)}.")


def layer_factors(objective: Objective, w: Tensor, rows: Rows) -> list[Factors]:
    """The factors of every layer: A the mean of `sum_t a a^T`, G that of `sum_o sum_t s s^T / T` (KFC, "expand").

    a are a layer's inputs and s its rooted slopes at the T places where its weights are used. G x A is the layer's
    block where slopes and inputs do not go together: for one row and T = 1, and for linear layers under squared loss.

    Raises:
        InputError: a layer is of another kind; it is named.
    """
    positions = layer_positions(objective)
    inputs = {name: w.new_zeros((places.shape[1], places.shape[1])) for name, places in positions.items()}
    outputs = {name: w.new_zeros((places.shape[0], places.shape[0])) for name, places in positions.items()}

    def visit(trace: Trace) -> None:
        if trace.output == 0:
            a = trace.inputs.flatten(0, 1)
            inputs[trace.layer].addmm_(a.T, a)
        s = trace.slopes.flatten(0, 1)
        outputs[trace.layer].addmm_(s.T, s, alpha=1 / trace.slopes.shape[1])

    visit_layers(objective, w, rows, visit)
    n = counted(rows)
    return [Factors(inputs[name] / n, outputs[name] / n, places) for name, places in positions.items()]


def scrubbed(objective: Objective, F: Diagonal) -> Diagonal:
    """The curvature whose noise is that of F with its variances clamped by layer, for a scrubbing."""
    last, thin = last_and_thin(objective)
    return scrubbing_shape(F.values, last.to(F.values.device), thin.to(F.values.device))


def shaped_noise(w: Tensor, B: Curvature, law: NoiseLaw, noise: NoiseKey, purpose: str = "release") -> Tensor:
    """`w` plus a sample of `law` under B, rounded to a grid 2^-20 of the sample's root mean square."""
    xi = torch.from_numpy(noise.normals(purpose, tuple(w.shape))).to(w.device)
    sample = law.sample(B, xi)
    size = float(sample.square().mean().sqrt())
    grid = 2.0 ** (math.floor(math.log2(size)) - GRID_BITS)
    return torch.round((w + sample) / grid) * grid


def _diagonal(objective: Objective, w: Tensor, rows: Rows) -> Tensor:
    """The sum over rows of the diagonal, (d,): layer by layer where all layers are plain, else from row gradients."""
    total = torch.zeros_like(w)
    try:
        positions = layer_positions(objective)

        def visit(trace: Trace) -> None:
            total[positions[trace.layer]] += fisher_information.layer_diagonal(trace.inputs, trace.slopes)

        visit_layers(objective, w, rows, visit)
    except InputError:  # a layer of another kind, or one used twice; what else is wrong is said again here
        total.zero_()
        for part in _few(rows, objective.dimension):
            for _, probe in probes(objective, w, part):
                total += fisher_information.fisher_diagonal(probe.row_gradients(w, part))
    return total


def _few(rows: Rows, dimension: int) -> list[Rows]:
    """The rows in parts whose gradients (m, d) fit `GRADIENT_BYTES`."""
    size = max(1, GRADIENT_BYTES // (8 * dimension))
    return [Rows.from_table(table, rows.schema.classes) for table in rows.batches(size)]
