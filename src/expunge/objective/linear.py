"""Linear scores of column `x` under a loss and l2, in closed form (`maths.linear_models`): what convex methods use.

w is the (k, q) weight matrix, row after row as in torch.nn.Linear, with the intercepts as its last column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from expunge.errors import InputError
from expunge.maths import linear_models
from expunge.objective.columns import column, finite, numbers, targets
from expunge.objective.objective import AnyLoss, Objective, Product, checked_l2, counted, loss_for
from expunge.rows import Rows
from expunge.schema import Array


@final
class LinearObjective(Objective):
    """F(w; D) for scores W x + b. Rows of `x` are flattened; numbers of another type than w are converted, not scaled.

    `x` in the dtype of w is never copied. With a listed loss F is l2-strongly convex: the intercept is penalised too.
    """

    def __init__(self, loss: AnyLoss, l2: float, inputs: int, outputs: int, *, intercept: bool = True) -> None:
        """As the class says.

        Args:
            loss: a name, a Loss or a function; see `loss_for`. l2: beside the mean loss.
            inputs: numbers in a row of `x`. outputs: scores; 1 for `logistic`, one for each class for `cross_entropy`.

        Raises:
            InputError: one of them is out of range.
        """
        if inputs < 1 or outputs < 1:
            raise InputError(f"A linear model needs at least one input and one output, not {inputs} and {outputs}.")
        self.loss = loss_for(loss)
        self.l2 = checked_l2(l2)
        self.inputs, self.outputs, self.intercept = inputs, outputs, intercept
        self.dimension = outputs * (inputs + intercept)
        self.strong_convexity = self.l2 if self.loss.convex else 0.0

    @override
    def start(self, seed: int) -> Tensor:
        del seed
        return torch.zeros(self.dimension, dtype=torch.float64)

    def matrix(self, w: Tensor) -> Tensor:
        """The weights as (k, q)."""
        if w.shape != (self.dimension,):
            raise InputError(f"The weights have shape {tuple(w.shape)}; ({self.dimension},) was expected.")
        return w.detach().reshape(self.outputs, -1)

    def coefficients(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """The weights as scikit-learn names them: coefficients (k, p) and intercepts (k,)."""
        W = self.matrix(w)
        return W[:, : self.inputs], W[:, self.inputs] if self.intercept else W.new_zeros(self.outputs)

    def trained_elsewhere(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The weights (k, p+1) of "weight" (k, p) and "bias" (k,), as torch.nn.Linear names them.

        Raises:
            InputError: other names or shapes, or a number that is not finite.
        """
        expected = {"weight": (self.outputs, self.inputs), "bias": (self.outputs,)}
        given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if given != expected:
            raise InputError(f"The weights given have shapes {given}; {expected} were expected.")
        joined = torch.cat([weights["weight"].double(), weights["bias"].double()[:, None]], 1)
        return finite("the weights given", joined)

    @override
    def scores(self, w: Tensor, columns: Mapping[str, Array]) -> Tensor:
        W, X = self.matrix(w), self._inputs(columns, w)
        return _sound(linear_models.scores(X, W), w, [columns])

    @override
    def value(self, w: Tensor, rows: Rows) -> Tensor:
        W = self.matrix(w)
        parts = (linear_models.value(X, y, W, self.loss) for X, y in self._batches(rows, w))
        return _sound(_sum(parts, w.new_zeros(())), w, _tables(rows)) / counted(rows) + self._penalty(w)

    @override
    def gradient(self, w: Tensor, rows: Rows) -> Tensor:
        return self.gradient_sum(w, rows) / counted(rows) + self.l2 * w

    @override
    def value_and_gradient(self, w: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        W, n = self.matrix(w), counted(rows)
        total, gradient = w.new_zeros(()), torch.zeros_like(W)
        for X, y in self._batches(rows, w):
            value, part = linear_models.value_and_gradient(X, y, W, self.loss)
            total, gradient = total + value, gradient + part
        flat = _sound(gradient.reshape(-1), w, _tables(rows))
        return total / n + self._penalty(w), flat / n + self.l2 * w

    @override
    def gradient_and_hessian(self, w: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        W, n = self.matrix(w), counted(rows)
        gradient, H = torch.zeros_like(W), w.new_zeros((self.dimension, self.dimension))
        for X, y in self._batches(rows, w):
            gradient += linear_models.add_hessian(H, X, y, W, self.loss)
        flat = _sound(gradient.reshape(-1), w, _tables(rows))
        H = linear_models.completed(H, W, self.loss).div_(n)
        H.diagonal().add_(self.l2)
        return flat / n + self.l2 * w, H

    @override
    def hessian(self, w: Tensor, rows: Rows) -> Tensor:
        return self.gradient_and_hessian(w, rows)[1]

    def hessian_block(self, w: Tensor, rows: Rows, positions: Tensor) -> Tensor:
        """The Hessian of F between the weights at `positions` (p,), (p, p); only their outputs' blocks are made."""
        W, n = self.matrix(w), counted(rows)
        among = torch.unique(positions // W.shape[1]).tolist()
        H = w.new_zeros((len(among) * W.shape[1],) * 2)
        for X, y in self._batches(rows, w):
            linear_models.add_hessian(H, X, y, W, self.loss, among)
        H = linear_models.completed(H, W[among], self.loss).div_(n)
        H.diagonal().add_(self.l2)
        outputs = torch.tensor(among, device=w.device)
        local = torch.searchsorted(outputs, positions // W.shape[1]) * W.shape[1] + positions % W.shape[1]
        return _sound(H[local][:, local], w, _tables(rows))

    @override
    def hvp(self, w: Tensor, rows: Rows) -> Product:
        W, n = self.matrix(w), counted(rows)
        at = [linear_models.scores(X, W) for X, _ in self._batches(rows, w)]

        def product(v: Tensor) -> Tensor:
            V = self.matrix(v)
            pairs = zip(at, self._batches(rows, v), strict=True)
            total = _sum(
                (linear_models.hessian_product(X, y, s, V, self.loss) for s, (X, y) in pairs), torch.zeros_like(V)
            )
            return _sound(total.reshape(-1), v, _tables(rows)) / n + self.l2 * v

        return product

    @override
    def ggn(self, w: Tensor, rows: Rows) -> Product:
        """The Hessian itself: linear scores have no curvature of their own."""
        return self.hvp(w, rows)

    @override
    def gradient_sum(self, w: Tensor, rows: Rows) -> Tensor:
        W = self.matrix(w)
        parts = (linear_models.gradient(X, y, W, self.loss) for X, y in self._batches(rows, w))
        return _sound(_sum(parts, torch.zeros_like(W)).reshape(-1), w, _tables(rows))

    @override
    def row_gradients(self, w: Tensor, rows: Rows) -> Tensor:
        W = self.matrix(w)
        return self._by_row(lambda X, y: linear_models.row_gradients(X, y, W, self.loss), w, rows, (0, self.dimension))

    @override
    def row_products(self, w: Tensor, rows: Rows, v: Tensor) -> Tensor:
        W, V = self.matrix(w), self.matrix(v)
        return self._by_row(lambda X, y: linear_models.row_products(X, y, W, V, self.loss), w, rows, (0,))

    def hessian_root(self, w: Tensor, rows: Rows) -> Tensor:
        """U (d, n k) with U U^T the *sum* of the rows' loss Hessians, without l2: what a factor is down-dated with.

        Raises:
            InputError: the loss is not known to be convex.
        """
        if not self.loss.convex:
            raise InputError("A root of the Hessian exists for convex losses only, and yours is not a listed one.")
        W = self.matrix(w)
        roots = [linear_models.hessian_root(X, y, W, self.loss) for X, y in self._batches(rows, w)]
        return _sound(torch.cat(roots, dim=1) if roots else w.new_zeros((self.dimension, 0)), w, _tables(rows))

    def _penalty(self, w: Tensor) -> Tensor:
        return self.l2 / 2 * (w @ w)

    def _batches(self, rows: Rows, w: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for table in rows.tables():
            yield self._inputs(table.columns, w), targets(table, self.loss, self.outputs, w)

    def _inputs(self, columns: Mapping[str, Array], w: Tensor) -> Tensor:
        x = numbers("x", column(columns, "x"))
        X = x.reshape(len(x), -1) if x.numel() else x.new_zeros((len(x), self.inputs))
        if X.shape[1] != self.inputs:
            raise InputError(f"Column 'x' has {X.shape[1]} numbers in a row; the model was built for {self.inputs}.")
        return X.to(w.device)

    def _by_row(
        self, each: Callable[[Tensor, Tensor], Tensor], w: Tensor, rows: Rows, empty: tuple[int, ...]
    ) -> Tensor:
        parts = [each(X, y) for X, y in self._batches(rows, w)]
        return _sound(torch.cat(parts) if parts else w.new_zeros(empty), w, _tables(rows))


def _sum(parts: Iterator[Tensor], start: Tensor) -> Tensor:
    for part in parts:
        start = start + part
    return start


def _tables(rows: Rows) -> Iterator[Mapping[str, Array]]:
    return (table.columns for table in rows.tables())


def _sound(result: Tensor, w: Tensor, columns: Iterator[Mapping[str, Array]] | list[Mapping[str, Array]]) -> Tensor:
    """The result itself, if it is finite: a bad value in `x` reaches it or had no part in it, so nothing is scanned.

    Raises:
        InputError: it is not; the cause is then looked for.
    """
    if torch.isfinite(result.sum()) or bool(torch.isfinite(result).all()):
        return result
    if not torch.isfinite(w).all():
        raise InputError("The weights hold NaN or infinity: the solver that made them diverged.")
    for given in columns:
        finite("x", numbers("x", given["x"]))
    raise InputError("The scores overflow, though every value is finite: scale column 'x' (features).")
