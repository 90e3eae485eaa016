"""Any torch module under a loss and l2, read as F(w; D) on the flat vector of its trainable parameters.

w lists them in the order of `named_parameters()`, tied ones once. Buffers and frozen parameters are constants. Column
names are the names of the forward's arguments; a module of one input reads `x` where no column has its argument's name.
Floating columns take the dtype of w; integers become int64 and stay integers (token ids), and are never scaled.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import is_lazy
from typing_extensions import override

from expunge.errors import InputError
from expunge.maths import derivatives
from expunge.models import initial_weights
from expunge.objective.columns import column, finite, numbers, targets
from expunge.objective.objective import AnyLoss, Objective, Product, checked_l2, counted, loss_for
from expunge.rows import Rows, Table
from expunge.schema import Array

MICRO_BATCH = 256
GRAPH_BUDGET = 512 * 2**20
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some rows on their way through the module: its inputs, and the loss closed over their targets."""

    inputs: Mapping[str, Tensor]
    scores: derivatives.Scores
    slopes: derivatives.Slopes
    curve: Callable[[Tensor, Tensor], Tensor]
    values: derivatives.Slopes


@final
class ModuleObjective(Objective):
    """F(w; D) of a torch module. It keeps its own copy of the module, in evaluation mode.

    So dropout is off and batch normalisation uses its running statistics, as constants: the loss of a row must not
    depend on other rows. Attention runs in its plain form, since the fused kernels have no second derivative. Calls
    swap weights into the copy, so one objective serves one thread at a time.

    No convexity is claimed (`strong_convexity` is 0), not even for a linear module: use `LinearObjective`.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: AnyLoss,
        l2: float,
        *,
        micro_batch: int = MICRO_BATCH,
        graph_budget: int = GRAPH_BUDGET,
    ) -> None:
        """As the class says.

        Args:
            module: maps columns (m, ...) to scores (m, k) or (m,), or to an object with such `logits`.
            loss: a name, a Loss or a function; see `loss_for`. l2: beside the mean loss.
            micro_batch: rows at a time; 64 to 256 is fastest on a CPU.
            graph_budget: bytes of graphs that `hvp` and `ggn` may keep; further batches are evaluated at each product.

        Raises:
            InputError: the module has no trainable parameter, lazy ones, or batch statistics.
        """
        if micro_batch < 1 or graph_budget < 0:
            raise InputError(f"micro_batch={micro_batch} and graph_budget={graph_budget}: give at least 1 and 0.")
        _check(module)
        self.module = copy.deepcopy(module).eval()
        self.loss = loss_for(loss)
        self.l2 = checked_l2(l2)
        self.micro_batch, self.graph_budget = micro_batch, graph_budget
        self.strong_convexity = 0.0
        named = list(self.module.named_parameters())
        self._shapes = {name: parameter.shape for name, parameter in named if parameter.requires_grad}
        self._constants = {name: p.detach() for name, p in named if not p.requires_grad} | dict(
            self.module.named_buffers()
        )
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        self.dimension = sum(self._sizes)
        self._arguments = _arguments(self.module)
        self._recurrent = any(isinstance(part, nn.RNNBase) for part in self.module.modules())

    @override
    def start(self, seed: int) -> Tensor:
        return self.flat(initial_weights(self.module, seed, ("start",)))

    def weights(self, w: Tensor) -> dict[str, Tensor]:
        """The trainable parameters by name: views of w."""
        if w.shape != (self.dimension,):
            raise InputError(f"The weights have shape {tuple(w.shape)}; ({self.dimension},) was expected.")
        parts = torch.split(w, self._sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}

    def flat(self, weights: Mapping[str, Tensor]) -> Tensor:
        """W of named weights, float64; names that are not trainable parameters are passed over.

        Raises:
            InputError: a parameter is missing or has another shape.
        """
        given = {name: None if name not in weights else weights[name].shape for name in self._shapes}
        if given != self._shapes:
            wrong = [name for name in self._shapes if given[name] != self._shapes[name]]
            raise InputError(f"These weights are missing or have another shape than the module's: {wrong[:5]}.")
        return torch.cat([weights[name].detach().double().reshape(-1) for name in self._shapes])

    @override
    def scores(self, w: Tensor, columns: Mapping[str, Array]) -> Tensor:
        n = len(next(iter(columns.values()), ()))
        batches = [
            {name: array[start : start + self.micro_batch] for name, array in columns.items()}
            for start in range(0, max(n, 1), self.micro_batch)
        ]
        with torch.no_grad():
            return torch.cat([self._explained(w, self._inputs(batch, w)) for batch in batches])

    @override
    def value(self, w: Tensor, rows: Rows) -> Tensor:
        n, total = counted(rows), w.new_zeros(())
        with torch.no_grad():
            for batch in self._batches(rows, w):
                total += batch.values(batch.scores(w)).sum()
        return total / n + self.l2 / 2 * (w.detach() @ w.detach())

    @override
    def gradient(self, w: Tensor, rows: Rows) -> Tensor:
        return self.gradient_sum(w, rows) / counted(rows) + self.l2 * w.detach()

    @override
    def value_and_gradient(self, w: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        n, at = counted(rows), w.detach()
        total, gradient = w.new_zeros(()), torch.zeros_like(at)
        for batch in self._batches(rows, w):
            s, part = derivatives.scores_and_gradient(batch.scores, batch.slopes, w)
            total += batch.values(s).sum()
            gradient += part
        return total / n + self.l2 / 2 * (at @ at), gradient / n + self.l2 * at

    @override
    def gradient_and_hessian(self, w: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        n, at = counted(rows), w.detach()
        gradient, H = torch.zeros_like(at), w.new_zeros((self.dimension, self.dimension))
        for batch in self._batches(rows, w):
            gradient += derivatives.gradient(batch.scores, batch.slopes, w)
            H += derivatives.dense(derivatives.hessian_product(batch.scores, batch.slopes, w), at)
        H /= n
        H.diagonal().add_(self.l2)
        return gradient / n + self.l2 * at, H

    @override
    def hessian(self, w: Tensor, rows: Rows) -> Tensor:
        return self.gradient_and_hessian(w, rows)[1]

    def hessian_block(self, w: Tensor, rows: Rows, positions: Tensor) -> Tensor:
        """The Hessian of F between the weights at `positions` (p,), (p, p)."""
        H = w.new_zeros((len(positions), len(positions)))
        for batch in self._batches(rows, w):
            H += derivatives.hessian_rows(batch.scores, batch.slopes, w, positions)[:, positions]
        H = (H + H.T) / (2 * counted(rows))
        H.diagonal().add_(self.l2)
        return H

    @override
    def hvp(self, w: Tensor, rows: Rows) -> Product:
        return self._product(lambda batch, at: derivatives.hessian_product(batch.scores, batch.slopes, at), w, rows)

    @override
    def ggn(self, w: Tensor, rows: Rows) -> Product:
        return self._product(lambda batch, at: derivatives.gauss_newton_product(batch.scores, batch.curve, at), w, rows)

    @override
    def gradient_sum(self, w: Tensor, rows: Rows) -> Tensor:
        total = torch.zeros_like(w)
        for batch in self._batches(rows, w):
            total += derivatives.gradient(batch.scores, batch.slopes, w)
        return total

    @override
    def row_gradients(self, w: Tensor, rows: Rows) -> Tensor:
        parts = [w.new_zeros((0, self.dimension))]
        for batch in self._batches(rows, w):
            with torch.no_grad():
                r = batch.slopes(batch.scores(w))
            names = tuple(batch.inputs)
            inputs = tuple(batch.inputs.values())

            def forward(at: Tensor, *row: Tensor, names: tuple[str, ...] = names) -> Tensor:
                return self._forward(at, dict(zip(names, row, strict=True)))

            parts.append(derivatives.row_gradients(forward, r, w, inputs))
        return torch.cat(parts)

    @override
    def row_products(self, w: Tensor, rows: Rows, v: Tensor) -> Tensor:
        parts = [w.new_zeros(0)]
        parts += [derivatives.row_products(batch.scores, batch.slopes, w, v) for batch in self._batches(rows, w)]
        return torch.cat(parts)

    def _product(self, build: Callable[[_Batch, Tensor], Product], w: Tensor, rows: Rows) -> Product:
        """Sum `build` over batches: graphs are kept while the budget lasts, the rest is built again for each v."""
        n, at = counted(rows), w.detach().clone()
        kept: list[Product] = []
        room, complete = -1, True
        for batch in self._batches(rows, at):
            if room < 0:
                room = self.graph_budget // max(1, derivatives.graph_bytes(batch.scores, at))
            if len(kept) == room:
                complete = False
                break
            kept.append(build(batch, at))

        def product(v: Tensor) -> Tensor:
            total = torch.zeros_like(at)
            for part in kept:
                total += part(v)
            if not complete:
                for batch in islice(self._batches(rows, at), len(kept), None):
                    total += build(batch, at)(v)
            return total / n + self.l2 * v

        return product

    def _batches(self, rows: Rows, w: Tensor) -> Iterator[_Batch]:
        for table in rows.batches(self.micro_batch):
            yield self._batch(table, w)

    def _batch(self, table: Table, w: Tensor) -> _Batch:
        inputs = self._inputs(table.columns, w)

        def y(s: Tensor) -> Tensor:
            return targets(table, self.loss, s.shape[1], w)

        return _Batch(
            inputs,
            scores=lambda at: self._explained(at, inputs),
            slopes=lambda s: self.loss.slopes(s, y(s)),
            curve=lambda s, direction: self.loss.curve(s, y(s), direction),
            values=lambda s: self.loss.values(s, y(s)),
        )

    def _inputs(self, columns: Mapping[str, Array], w: Tensor) -> dict[str, Tensor]:
        required, optional = self._arguments
        sources = {name: name for name in (*required, *(name for name in optional if name in columns))}
        if len(required) == 1 and required[0] not in columns:
            sources = {**sources, required[0]: "x"}
        return {argument: _input(name, column(columns, name), w) for argument, name in sources.items()}

    def _forward(self, w: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        constants = {
            name: constant.to(w.device, w.dtype if constant.is_floating_point() else constant.dtype)
            for name, constant in self._constants.items()
        }
        named = dict(inputs)
        positional = (named.pop("*"),) if "*" in named else ()
        with _plain_kernels(cudnn=not (self._recurrent and w.is_cuda)):
            out = torch.func.functional_call(self.module, (self.weights(w), constants), positional, named)
        scores = getattr(out, "logits", out)
        if not isinstance(scores, Tensor) or scores.ndim not in {1, 2}:
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise InputError(f"The module gave {shape}; scores of shape (rows, outputs) were expected.")
        return scores[:, None] if scores.ndim == 1 else scores

    def _explained(self, w: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The forward pass, with torch's complaint about an input turned into one that names the columns."""
        try:
            return self._forward(w, inputs)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, TypeError) as error:
            given = {name: f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for name, t in inputs.items()}
            raise InputError(
                f"The module cannot take these columns: {given}. torch says: {error}. Integers are handed over as they "
                "are: give floating numbers (scaled as you wish) where the module expects them."
            ) from error


def _input(name: str, array: Array, w: Tensor) -> Tensor:
    values = numbers(name, array)
    if values.is_floating_point():
        return finite(name, values.to(dtype=w.dtype, device=w.device))
    return values.to(w.device) if values.dtype is torch.bool else values.to(dtype=torch.int64, device=w.device)


def _arguments(module: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the forward's required and optional arguments; "*" for a forward that takes any."""
    kinds = inspect.Parameter
    given: list[Any] = list(inspect.signature(module.forward).parameters.values())
    named = [p for p in given if p.kind in {kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY}]
    required = tuple(p.name for p in named if p.default is kinds.empty)
    optional = tuple(p.name for p in named if p.default is not kinds.empty)
    return (required, optional) if named else (("*",), ())


def _check(module: nn.Module) -> None:
    if any(is_lazy(parameter) for parameter in module.parameters()):
        raise InputError("The module has lazy parameters: send one batch through it first, or give their sizes.")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise InputError("The module has no trainable parameter (requires_grad): there is nothing to learn or forget.")
    for name, part in module.named_modules():
        if isinstance(part, BATCH_NORMS) and part.running_mean is None:
            raise InputError(
                f"Layer {name!r} normalises by the statistics of its batch: the loss of a row would depend on other "
                "rows. Use track_running_stats=True (they are then constants), or LayerNorm or GroupNorm."
            )


@contextmanager
def _plain_kernels(*, cudnn: bool) -> Iterator[None]:
    """Kernels that can be differentiated twice: plain attention, no fused encoder layers, no cuDNN for recurrences."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if not cudnn:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
