r"""Fisher information of a model's outputs, from Jacobians of its scores.

With J_i (k, d) the Jacobian of row i's scores and C_i = R_i R_i^T (k, k) the curvature of its loss by them,

    F = (1/n) sum_i J_i^T C_i J_i = (1/n) sum_i sum_o (J_i^T R_i e_o)(J_i^T R_i e_o)^T.

For cross-entropy, logistic and squared losses F is the Fisher information, an expectation over the *model's* labels,
and the generalised Gauss-Newton matrix; for linear scores it is the Hessian. The *empirical* Fisher

    (1/n) sum_i g_i g_i^T,   g_i the gradient at the label that was *given*,

is another matrix: it vanishes where the rows are fitted, however curved the loss is there, and need not be near F even
at the minimiser (Kunstner, Balles & Hennig 2019). Newton steps by it are not Newton steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from expunge.errors import InputError
from expunge.maths.losses import CrossEntropy, Loss


def curvature_root(loss: Loss, scores: Tensor, y: Tensor) -> Tensor:
    """R (m, k, k) with R R^T the curvature of each row's loss by its scores (m, k).

    For cross-entropy R = diag(sqrt p) - p sqrt(p)^T: R R^T = diag(p) - p p^T since the p sum to 1, and no eigenvalue is
    computed.

    Raises:
        InputError: the loss is not convex by its formula.
    """
    if not loss.convex:
        raise InputError("The curvature has a root for convex losses only: name one of the listed losses.")
    if isinstance(loss, CrossEntropy):
        p = scores.softmax(1)
        root = p.sqrt()
        return torch.diag_embed(root) - p[:, :, None] * root[:, None, :]
    if not loss.separable:
        raise InputError(
            "The curvature's root is known for cross-entropy and for losses whose outputs do not interact."
        )
    return torch.diag_embed(loss.curvature(scores, y).sqrt())


def fisher_diagonal(rooted: Tensor) -> Tensor:
    """The sum over rows of one output's share of diag(F): the squares of J_i^T R_i e_o, given as (m, d)."""
    return rooted.square().sum(0)


def layer_diagonal(inputs: Tensor, slopes: Tensor) -> Tensor:
    """`fisher_diagonal` of one layer (out, in) from its inputs (m, T, in) and slopes J^T R e_o at its outputs.

    A row's gradient is the sum over the T places where the layer's weights are used (1 for a plain linear layer, the
    positions of the kernel for a convolution): slopes^T inputs. Slopes are (m, T, out).
    """
    if inputs.shape[1] == 1:
        return slopes[:, 0].square().T @ inputs[:, 0].square()
    return torch.einsum("mto,mti->moi", slopes, inputs).square().sum(0)


def empirical_fisher(row_gradients: Tensor) -> Tensor:
    """Sum of g_i g_i^T, (d, d), from gradients (n, d) at the given labels: *not* the Fisher information."""
    return row_gradients.T @ row_gradients
