r"""The Newton step in a block of weights: (H_P + damping I)^-1 b, H_P the retained rows' curvature between its weights.

H_P is what (13) of L-FOCI writes as (n H(w; D) - sum_u h_u(w)) / (n - u): the mean over the rows left, l2 included.

    gauss_newton    exact Gauss-Newton block: a Gram matrix of rooted row gradients, or products above `dense_limit`
    hessian         exact Hessian block from products; its diagonal is raised where it is not positive definite
    kronecker       K-FAC: for each layer the selected outputs by all inputs
    slice_diagonal  exact Gauss-Newton blocks of single slices: block Jacobi
    secant          the paper's finite differences along b: rank one over all rows less rank one over those that leave
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge.errors import InputError, NotConverged
from expunge.maths import woodbury
from expunge.maths.conjugate_gradient import conjugate_gradient
from expunge.maths.kronecker import Factors, kronecker
from expunge.maths.secant import secant_weight, solve_on_diagonal
from expunge.maths.shifted_cholesky import shifted_cholesky
from expunge.objective.curvature import layer_factors
from expunge.objective.layer_traces import probes
from expunge.objective.linear import LinearObjective
from expunge.objective.module import ModuleObjective
from expunge.objective.newton_step import damped
from expunge.objective.objective import Objective, Product, counted
from expunge.rows import Rows

FORMS = ("gauss_newton", "hessian", "kronecker", "slice_diagonal", "secant")
GRADIENT_BYTES = 64 * 2**20  # of row gradients held at once
SECANT_STEP = 1e-4  # of the weights' norm: between the two points of a secant


@dataclass(frozen=True, eq=False)
class Block:
    """`positions` (p,) in the flat w, ascending, and for each slice where its weights are among them."""

    positions: Tensor
    slices: tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class BlockStep:
    """A solution x (p,).

    Attributes:
        products: with the curvature. clamped: directions of negative curvature taken as none (secant).
        shift: what was added to the diagonal beside the damping (hessian), since it was not positive definite.
    """

    x: Tensor
    products: int = 0
    clamped: int = 0
    shift: float = 0.0


@dataclass(frozen=True)
class BlockSolver:
    """How a block is solved.

    Args:
        form: see the module. damping: beside l2; a strongly convex objective takes none.
        dense_limit: weights up to which a matrix is made. cg_tol, cg_iterations: of conjugate gradient beyond.
    """

    form: str = "hessian"
    damping: float = 0.1
    dense_limit: int = 3000
    cg_tol: float = 1e-6
    cg_iterations: int = 500

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise InputError(f"There is no curvature {self.form!r}; choose one of {', '.join(FORMS)}.")
        if not (0 <= self.damping < torch.inf and 0 < self.cg_tol < 1) or self.dense_limit < 0:
            raise InputError(
                f"damping={self.damping}, cg_tol={self.cg_tol} and dense_limit={self.dense_limit} were given; at least "
                "0, between 0 and 1, and at least 0 are needed."
            )

    def step(
        self, objective: Objective, w: Tensor, retained: Rows, forgotten: Rows, block: Block, b: Tensor
    ) -> BlockStep:
        """Solve for one b (p,).

        Raises:
            InputError: the form does not fit the model. NotConverged: conjugate gradient met negative curvature or
                was not done in time, or a factored form is not positive definite; raise the damping.
        """
        P, damping = block.positions, 0.0 if objective.strong_convexity > 0 else self.damping
        match self.form:
            case "secant":
                return _secant(objective, w, retained, forgotten, P, b, objective.l2 + damping)
            case "kronecker":
                return BlockStep(_kronecker(objective, w, retained, P, b, objective.l2 + damping))
            case "slice_diagonal":
                return BlockStep(self._by_slices(objective, w, retained, block, b, damping))
            case _ if len(P) > self.dense_limit:
                whole = objective.ggn if self.form == "gauss_newton" else objective.hvp
                return self._by_products(damped(within(whole(w, retained), P, w), damping), b)
            case "gauss_newton" if not isinstance(objective, LinearObjective):
                matrix = gauss_newton_block(objective, w, retained, [P])[0]
            case _:
                matrix = _hessian_block(objective, w, retained, P)
        matrix.diagonal().add_(damping)
        factor, shift = shifted_cholesky(matrix)
        return BlockStep(woodbury.solve(factor, b), len(P), shift=shift)

    def _by_products(self, product: Product, b: Tensor) -> BlockStep:
        found = conjugate_gradient(
            product,
            b,
            tol=self.cg_tol * float(torch.linalg.vector_norm(b)),
            max_iterations=self.cg_iterations,
        )
        if not found.converged:
            raise NotConverged(
                f"Conjugate gradient stopped at {found.residual:.2g} after {found.iterations} iterations: raise "
                "damping, cg_tol or cg_iterations."
            )
        return BlockStep(found.x, found.evaluations)

    def _by_slices(
        self, objective: Objective, w: Tensor, rows: Rows, block: Block, b: Tensor, damping: float
    ) -> Tensor:
        widest = max(map(len, block.slices))
        if widest > self.dense_limit:
            raise InputError(f"A slice has {widest} weights, and dense_limit is {self.dense_limit}: take kronecker.")
        places = [block.positions[part] for part in block.slices]
        total, times = torch.zeros_like(b), torch.zeros_like(b)
        for part, matrix in zip(block.slices, gauss_newton_block(objective, w, rows, places), strict=True):
            matrix.diagonal().add_(damping)
            total[part] += woodbury.solve(woodbury.cholesky(matrix), b[part])
            times[part] += 1
        return total / times.clamp(min=1)  # a weight that two tied layers share is in two slices


def gauss_newton_block(objective: Objective, w: Tensor, rows: Rows, blocks: list[Tensor]) -> list[Tensor]:
    """The Gauss-Newton matrices (p, p) of the mean loss with l2 between the weights of each block.

    With C = R R^T the loss's curvature by the scores, sum_o (J^T R e_o)(J^T R e_o)^T: one batched backward pass for
    each output, and a product of matrices, for any number of weights.
    """
    if isinstance(objective, LinearObjective):
        return [objective.hessian_block(w, rows, part) for part in blocks]
    matrices = [w.new_zeros((len(part), len(part))) for part in blocks]
    size = max(1, GRADIENT_BYTES // (8 * objective.dimension))
    for table in rows.batches(size):
        some = Rows.from_table(table, rows.schema.classes)
        for _, probe in probes(objective, w, some):
            rooted = probe.row_gradients(w, some)
            for matrix, part in zip(matrices, blocks, strict=True):
                matrix.addmm_(rooted[:, part].T, rooted[:, part])
    n = counted(rows)
    for matrix in matrices:
        matrix.div_(n).diagonal().add_(objective.l2)
    return matrices


def within(product: Product, positions: Tensor, w: Tensor) -> Product:
    """A product with a matrix (d, d), restricted to the weights at `positions`."""

    def restricted(v: Tensor) -> Tensor:
        whole = torch.zeros_like(w)
        whole[positions] = v
        return product(whole)[positions]

    return restricted


def _hessian_block(objective: Objective, w: Tensor, rows: Rows, P: Tensor) -> Tensor:
    if not isinstance(objective, LinearObjective | ModuleObjective):
        raise InputError(f"Blocks are known of linear models and torch modules, not of {type(objective).__name__}.")
    return objective.hessian_block(w, rows, P)


def _kronecker(objective: Objective, w: Tensor, rows: Rows, P: Tensor, b: Tensor, damping: float) -> Tensor:
    inside = torch.full_like(w, -1, dtype=torch.int64)
    inside[P] = torch.arange(len(P), device=w.device)
    factors = []
    for layer in layer_factors(objective, w, rows):
        local = inside[layer.positions]
        chosen = (local >= 0).all(1).nonzero()[:, 0]
        if len(chosen):
            factors.append(Factors(layer.inputs, layer.outputs[chosen][:, chosen], local[chosen]))
    return kronecker(factors, damping).power(-1, b)


def _secant(
    objective: Objective, w: Tensor, retained: Rows, forgotten: Rows, P: Tensor, b: Tensor, diagonal: float
) -> BlockStep:
    """With G and g the changes of summed gradients over all rows and over those that leave, along a step s in b:

    H' = (G G^T / (G^T s) - g g^T / (g^T s)) / (n - u) + diagonal I.
    """
    length = float(torch.linalg.vector_norm(b))
    if not length:
        return BlockStep(b.clone())
    s = b * (SECANT_STEP * max(1.0, float(torch.linalg.vector_norm(w))) / length)
    away = w.clone()
    away[P] += s
    left, gone = (
        (objective.gradient_sum(away, part) - objective.gradient_sum(w, part))[P] for part in (retained, forgotten)
    )
    U = torch.stack([left + gone, gone], 1)
    weights = U.new_tensor([secant_weight(left + gone, s), -secant_weight(gone, s)]) / counted(retained)
    found = solve_on_diagonal(U, weights, diagonal, b)
    return BlockStep(found.x, 2, found.clamped)
