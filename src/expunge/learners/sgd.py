"""Mini-batch training of a torch module, by momentum or Adam, with every choice keyed.

The order of epoch t is a sort by PRF(seed, purpose, t, row key), and batches are cut from it: without a row, the others
keep their order. Initial weights are keyed by the seed and purpose. One step takes the gradient g of the batch's mean
loss plus `l2/2 ||w||^2` over all weights,

    sgd     m <- momentum m + g,    w <- w - learning_rate m                           (Polyak 1964)
    adam    m <- b m + (1-b) g,  v <- .999 v + .001 g^2,  b = momentum,
            w <- w - learning_rate (m / (1 - b^t)) / (sqrt(v / (1 - .999^t)) + 1e-8)   (Kingma & Ba 2015, algorithm 1)

Differs from torch.optim in: the weights and moments are one flat vector each. With a `norm_bound` C every step ends in
the projection w <- w min(1, C / ||w||).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from expunge import keyed
from expunge.errors import ExpungeError, InputError, NotConverged
from expunge.keyed import Purpose
from expunge.learners.differentiable import Differentiable
from expunge.learners.draws import NoDraws, no_draws_of_python_or_numpy, torch_state
from expunge.learners.inputs import in_key_order, numbers, target
from expunge.learners.learner import Training, one_thread, schema_of, settings_of
from expunge.method import Release
from expunge.models import Mlp, Model, initial_weights
from expunge.objective import ModuleObjective
from expunge.objective.objective import AnyLoss, loss_for
from expunge.rows import Rows
from expunge.schema import Array, Schema

DTYPES = {"float32": torch.float32, "float64": torch.float64}
SECOND = 0.999  # Adam's decay of squared gradients
FLOOR = 1e-8  # Adam's addition to their root
PREDICTED = 1024  # rows predicted at once
BUFFER = "buffer:"


@dataclass(frozen=True)
class Sgd(Differentiable):
    """A torch module trained by mini-batches.

    The module reads the column `x`, or the columns its `forward` names where it takes several. Dropout, and whatever
    else draws from a global generator, is refused; batch normalisation is kept with its running statistics.

    Args:
        model: builds the module for a schema. loss: a name of `expunge.objective.LOSSES`, or (scores, y) -> (n,).
        epochs, batch_size, learning_rate: of the training. momentum: of sgd; beta_1 of adam.
        optimiser: "sgd" or "adam". l2: lambda of `lambda/2 ||w||^2`, added to the mean loss.
        precision: "float32" or "float64".
        norm_bound: C of the ball ||w|| <= C that the weights are projected into after every step.
    """

    model: Model = field(default_factory=Mlp)
    loss: AnyLoss = "cross_entropy"
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    optimiser: Literal["sgd", "adam"] = "sgd"
    l2: float = 1e-4
    precision: Literal["float32", "float64"] = "float32"
    norm_bound: float = math.inf

    def __post_init__(self) -> None:
        loss_for(self.loss)
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value < 1:
                raise InputError(f"{name}={value} was given, and at least 1 was expected.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise InputError(f"learning_rate={self.learning_rate} was given, and a positive number was expected.")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum={self.momentum} was given; expected at least 0 and below 1.")
        if not (self.l2 >= 0 and math.isfinite(self.l2)):
            raise InputError(f"l2={self.l2} was given, and at least 0 was expected.")
        if self.optimiser not in ("sgd", "adam"):
            raise InputError(f"optimiser={self.optimiser!r} was given; expected 'sgd' or 'adam'.")
        if self.precision not in DTYPES:
            raise InputError(f"precision={self.precision!r} was given; expected 'float32' or 'float64'.")
        if not self.norm_bound > 0:
            raise InputError(f"norm_bound={self.norm_bound} was given, and a positive number was expected.")

    def start(self, schema: Schema, seed: int, purpose: Purpose) -> Training:
        """Keyed initial weights, the module's own buffers, moments at zero.

        Raises:
            InputError: the module cannot be built for this schema.
        """
        module = self._module(schema)
        weights = initial_weights(module, seed, (*purpose, "weights"))
        return self._state(schema, module, list(weights.values()))

    def train(
        self, training: Training, rows: Rows, *, seed: int, purpose: Purpose, epochs: int | None = None
    ) -> Training:
        """`epochs` more epochs on these rows; the count of epochs goes on from the state's.

        Raises:
            InputError: a column is text or not finite, the module draws at random, or batch normalisation meets a
                single row. NotConverged: the weights are no longer finite.
        """
        epochs = self.epochs if epochs is None else epochs
        before = torch_state()
        with no_draws_of_python_or_numpy():
            trained = self._trained(training, rows, seed, purpose, epochs, nullcontext())
        if torch_state() != before:  # by a late batch of the module, or by another thread: every batch is watched
            return self._trained(training, rows, seed, purpose, epochs, NoDraws())  # type: ignore[no-untyped-call]
        return trained

    def _trained(
        self,
        training: Training,
        rows: Rows,
        seed: int,
        purpose: Purpose,
        epochs: int,
        guard: AbstractContextManager[Any],
    ) -> Training:
        """`train`, with the first batch watched for draws and all others under `guard`."""
        table, dtype, loss = in_key_order(rows), DTYPES[self.precision], loss_for(self.loss)
        module = self._module(schema_of(training.settings)).train()
        state = {name: tensor.clone() for name, tensor in training.tensors.items()}
        parameters = _placed(module, state)
        inputs = _inputs(module, table.columns, dtype)
        given = numbers("y", target(table), torch.int64 if rows.classes else dtype)
        watched: AbstractContextManager[Any] = NoDraws()  # type: ignore[no-untyped-call]
        steps, last = training.steps, training.epochs + epochs
        with one_thread():
            for epoch in range(training.epochs, last):
                order = torch.from_numpy(keyed.permutation(seed, (*purpose, "order", epoch), table.keys))
                for batch in _batches(order, self.batch_size, module):
                    with watched:
                        scores = _scores(module, {name: column[batch] for name, column in inputs.items()})
                    if not scores.requires_grad:
                        raise InputError("The module's scores do not depend on its weights, so it cannot be trained.")
                    y = loss.targets(given[batch], scores.shape[1], dtype)
                    slopes = torch.autograd.grad(loss.values(scores, y).mean(), parameters, materialize_grads=True)
                    gradient = torch.cat([slope.reshape(-1) for slope in slopes])
                    steps, watched = steps + 1, guard
                    self._step(state, gradient, steps)
                    if self.norm_bound < math.inf:
                        state["weights"].mul_((self.norm_bound / state["weights"].norm()).clamp_(max=1.0))
        if not bool(torch.isfinite(state["weights"]).all()):
            raise NotConverged(f"Training diverged at learning_rate={self.learning_rate}; give a smaller one.")
        state |= {BUFFER + name: buffer.clone() for name, buffer in module.named_buffers()}
        visits = training.visits + len(table) * (last - training.epochs)
        return replace(training, tensors=state, steps=steps, epochs=last, visits=visits)

    def adopt(self, schema: Schema, weights: Mapping[str, Tensor]) -> Training:
        """The module's state_dict, by name.

        Raises:
            InputError: other names or shapes than the module's, or other values in a parameter it freezes.
        """
        module = self._module(schema)
        expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if given != expected:
            raise InputError(f"The weights given have shapes {given}; the model's are {expected}.")
        for name, frozen in module.named_parameters():
            if not frozen.requires_grad and not torch.equal(frozen, weights[name].to(frozen.dtype)):
                raise InputError(f"The model freezes {name!r} at other values than those given: let it load yours.")
        module.load_state_dict(dict(weights))
        return self._state(schema, module, _trainable(module))

    def release(self, training: Training) -> Release:
        """The module's parameters and buffers by name, as its state_dict."""
        module = self._module(schema_of(training.settings))
        _placed(module, training.tensors)
        return Release(
            {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}, training.settings
        )

    def predict(self, release: Release, columns: Mapping[str, Array]) -> Tensor:
        """Scores (m, outputs): log-probabilities for a classification, values for a regression."""
        module = self._module(schema_of(release.settings)).eval()
        module.load_state_dict(dict(release.tensors))
        inputs = _inputs(module, columns, DTYPES[self.precision])
        n = len(next(iter(inputs.values())))
        with one_thread(), torch.no_grad():
            parts = [
                _scores(module, {name: column[start : start + PREDICTED] for name, column in inputs.items()})
                for start in range(0, max(n, 1), PREDICTED)
            ]
            return loss_for(self.loss).outputs(torch.cat(parts))

    def objective(self, training: Training) -> ModuleObjective:
        """The mean loss and `l2/2 ||w||^2` of the trained module; its buffers are constants."""
        module = self._module(schema_of(training.settings))
        _placed(module, training.tensors)
        return ModuleObjective(module, self.loss, self.l2)

    def flat(self, training: Training) -> Tensor:
        """The trainable parameters in the module's order."""
        return training.tensors["weights"].double()

    def moved(self, training: Training, w: Tensor) -> Training:
        """The same module at other weights, with moments at zero: they belong to the weights they were taken at."""
        given = training.tensors
        others = {name: part if name.startswith(BUFFER) else torch.zeros_like(part) for name, part in given.items()}
        return replace(training, tensors={**others, "weights": w.detach().to(DTYPES[self.precision])}, steps=0)

    def shifted(self, training: Training, by: Tensor) -> Training:
        """The weights moved by `by`, in float64 and then rounded; everything else as it was."""
        weights = (self.flat(training) + by).to(DTYPES[self.precision])
        return replace(training, tensors={**training.tensors, "weights": weights})

    def _module(self, schema: Schema) -> nn.Module:
        outputs = 1 if self.loss == "logistic" else None
        return self.model.build(schema, outputs).to(DTYPES[self.precision])

    def _state(self, schema: Schema, module: nn.Module, parameters: Sequence[Tensor]) -> Training:
        moments = ("momentum",) if self.optimiser == "sgd" else ("first", "second")
        weights = torch.cat([part.detach().reshape(-1) for part in parameters]).to(DTYPES[self.precision])
        tensors = {"weights": weights, **{name: torch.zeros_like(weights) for name in moments}}
        tensors |= {BUFFER + name: buffer.clone() for name, buffer in module.named_buffers()}
        return Training(tensors, settings_of(schema))

    def _step(self, state: Mapping[str, Tensor], gradient: Tensor, step: int) -> None:
        """One update of the weights and moments, in place."""
        weights = state["weights"]
        gradient.add_(weights, alpha=self.l2)
        if self.optimiser == "sgd":
            weights.sub_(state["momentum"].mul_(self.momentum).add_(gradient), alpha=self.learning_rate)
            return
        first = state["first"].mul_(self.momentum).add_(gradient, alpha=1 - self.momentum)
        second = state["second"].mul_(SECOND).addcmul_(gradient, gradient, value=1 - SECOND)
        root = (second / (1 - SECOND**step)).sqrt_().add_(FLOOR)
        weights.addcdiv_(first, root, value=-self.learning_rate / (1 - self.momentum**step))


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _placed(module: nn.Module, state: Mapping[str, Tensor]) -> list[nn.Parameter]:
    """Make the trainable parameters views of the flat weights and the buffers the state's; the parameters, in order."""
    parameters, start = _trainable(module), 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = state["weights"][start:end].view_as(parameter)
        start = end
    for name, buffer in module.named_buffers():
        buffer.data = state[BUFFER + name]
    return parameters


def _inputs(module: nn.Module, columns: Mapping[str, Array], dtype: torch.dtype) -> dict[str, Tensor]:
    """Argument of the module's forward -> column of that name, or `x` for a forward of one argument.

    Floating columns take `dtype`; integers stay integers (token ids).

    Raises:
        InputError: a column is missing, text, or not finite.
    """
    given = inspect.signature(module.forward).parameters.values()
    names = {p.name: p.name for p in given if p.name in columns or p.default is p.empty}
    if len(names) == 1 and not names.keys() & columns.keys():
        names = dict.fromkeys(names, "x")
    if missing := sorted(set(names.values()) - set(columns)):
        raise InputError(
            f"The module reads {missing}, and the columns given are {sorted(columns)}: rename one, or wrap the method "
            "in Pipeline(features, method), whose features make the column 'x'."
        )
    kinds = {"f": dtype, "b": torch.bool}
    return {
        name: numbers(column, columns[column], kinds.get(columns[column].dtype.kind, torch.int64))
        for name, column in names.items()
    }


def _batches(order: Tensor, size: int, module: nn.Module) -> Sequence[Tensor]:
    """The order cut into batches; where rows of a batch are normalised together, a last one of one row is joined.

    Raises:
        InputError: batch normalisation, and a single row.
    """
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if len(batches[-1]) > 1 or not any(isinstance(part, _BatchNorm) for part in module.modules()):
        return batches
    if len(order) == 1:
        raise InputError(
            "Batch normalisation cannot train on a single row: use LayerNorm or GroupNorm, or fewer shards."
        )
    return [*batches[:-2], torch.cat(batches[-2:])]


def _scores(module: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """The module's scores (m, k).

    Raises:
        InputError: the module fails, or the scores have another shape.
    """
    try:
        made = module(**inputs)
    except ExpungeError:
        raise
    except Exception as error:
        given = ", ".join(f"{name} {tuple(column.shape)}" for name, column in inputs.items())
        raise InputError(f"The module failed on {given}: {type(error).__name__}: {error}.") from error
    scores = getattr(made, "logits", made)
    if not isinstance(scores, Tensor):
        raise InputError(f"The module gave a {type(scores).__name__}; a tensor of scores (rows, outputs) was expected.")
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.ndim != 2:
        raise InputError(f"The module gave scores of shape {tuple(scores.shape)}; (rows, outputs) was expected.")
    return scores
