"""Models: what builds a torch module for a schema. Frozen and storable, so that a vault can build the same one again.

Weights never come from torch's global generator: `initial_weights` draws them from (seed, purpose, parameter name), and
building a module leaves that generator as it was.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
import threading
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from expunge import keyed
from expunge.errors import InputError
from expunge.schema import Column, Schema

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
NORMS = (
    nn.modules.batchnorm._NormBase,  # noqa: SLF001  (the one name for all batch and instance norms)
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
)

_GENERATOR = threading.RLock()


class Model(ABC):
    """What builds a module. Subclasses are final frozen dataclasses of hyperparameters."""

    @abstractmethod
    def build(self, schema: Schema, outputs: int | None = None) -> nn.Module:
        """A module for rows of this schema; its weights are to be drawn by `initial_weights`.

        Args:
            outputs: scores a row; default one for each class, or one for each number of the target.

        Raises:
            InputError: the schema's columns do not fit.
        """


@final
@dataclass(frozen=True)
class Linear(Model):
    """One linear layer on the flattened column `x`."""

    @override
    def build(self, schema: Schema, outputs: int | None = None) -> nn.Module:
        with undisturbed():
            return Layers(nn.Linear(_size(schema), _outputs(schema, outputs)), flat=True)


@final
@dataclass(frozen=True)
class Mlp(Model):
    """A perceptron on the flattened column `x`: `hidden` widths, each followed by `activation`."""

    hidden: tuple[int, ...] = (64,)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        _check_widths("hidden", self.hidden)
        _check_activation(self.activation)

    @override
    def build(self, schema: Schema, outputs: int | None = None) -> nn.Module:
        widths = (_size(schema), *self.hidden)
        with undisturbed():
            parts: list[nn.Module] = []
            for before, after in pairwise(widths):
                parts += [nn.Linear(before, after), ACTIVATIONS[self.activation]()]
            return Layers(*parts, nn.Linear(widths[-1], _outputs(schema, outputs)), flat=True)


@final
@dataclass(frozen=True)
class SmallConvNet(Model):
    """3x3 convolutions on the images of column `x`, each with `activation` and 2x2 mean pooling; then a linear layer.

    Rows of `x` have the shape (height, width), one channel, or (channels, height, width). Pixels are not scaled.
    """

    channels: tuple[int, ...] = (16, 32)
    activation: str = "relu"

    def __post_init__(self) -> None:
        _check_widths("channels", self.channels)
        if not self.channels:
            raise ValueError("channels is empty; give one number for each convolution, or use Linear.")
        _check_activation(self.activation)

    @override
    def build(self, schema: Schema, outputs: int | None = None) -> nn.Module:
        shape = _x(schema).shape
        if len(shape) not in {2, 3}:
            raise InputError(
                f"A row of 'x' has shape {shape}; (height, width) or (channels, height, width) is expected."
            )
        colours, height, width = (1, *shape) if len(shape) == 2 else shape
        shrink = 2 ** len(self.channels)
        if min(height, width) < shrink:
            raise InputError(
                f"Images of {height} x {width} are too small for {len(self.channels)} halvings; use fewer."
            )
        widths = (colours, *self.channels)
        with undisturbed():
            parts: list[nn.Module] = []
            for before, after in pairwise(widths):
                parts += [nn.Conv2d(before, after, 3, padding=1), ACTIVATIONS[self.activation](), nn.AvgPool2d(2)]
            size = widths[-1] * (height // shrink) * (width // shrink)
            return Layers(*parts, nn.Flatten(), nn.Linear(size, _outputs(schema, outputs)), flat=False)


@final
@dataclass(frozen=True)
class ModuleFile(Model):
    """Your own module, kept as the source text of its file. Reading stores text; only `build` executes it.

    Attributes:
        path_name: where it was read, for messages. source: the file's text.
        name: of a class or function in it that takes a Schema, or nothing, and gives the module.
    """

    path_name: str
    source: str
    name: str

    @classmethod
    def read(cls, place: str) -> ModuleFile:
        """From "path.py:name"; nothing is executed.

        Raises:
            InputError: the place has another form or the file cannot be read.
        """
        path, _, name = place.rpartition(":")
        if not path or not name.isidentifier():
            raise InputError(
                f"{place!r} names no module; the form is path.py:name, name being a class or function in it."
            )
        try:
            return cls(Path(path).name, Path(path).read_text(encoding="utf-8"), name)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The module file {path!r} cannot be read: {error}.") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the source, in hexadecimal."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @override
    def build(self, schema: Schema, outputs: int | None = None) -> nn.Module:
        """The module; `outputs` is the file's own business and passed over. Executes the stored source.

        Raises:
            InputError: the file fails, has no such name, or gives no module.
        """
        del outputs
        try:
            with undisturbed():
                found = self._found()
            with undisturbed():  # apart: the file is executed once in a process, and its module built many times
                made = _called(found, schema)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise InputError(f"{self.path_name}:{self.name} failed: {type(error).__name__}: {error}.") from error
        if not isinstance(made, nn.Module):
            raise InputError(f"{self.path_name}:{self.name} gave a {type(made).__name__}; a torch module was expected.")
        return made

    def _found(self) -> Callable[..., object]:
        # Registered, because dataclasses and copies look their module up by name.
        name = f"expunge_model_{self.digest[:16]}"
        if name not in sys.modules:
            module = types.ModuleType(name)
            sys.modules[name] = module
            try:
                exec(compile(self.source, self.path_name, "exec"), module.__dict__)  # noqa: S102
            except BaseException:
                del sys.modules[name]
                raise
        found: object = vars(sys.modules[name]).get(self.name)
        if not callable(found) or isinstance(found, nn.Module):
            raise InputError(f"{self.path_name} has no class or function {self.name!r} that builds a module.")
        return found


@final
class Layers(nn.Module):
    """A sequence on column `x`, given the dtype of the weights: integers are converted, not scaled.

    With `flat`, rows become vectors; else images without a channel axis get one.
    """

    def __init__(self, *parts: nn.Module, flat: bool) -> None:
        nn.Module.__init__(self)
        self.parts = nn.Sequential(*parts)
        self.flat = flat

    def forward(self, x: Tensor) -> Tensor:
        """Scores (m, outputs)."""
        values = x.to(next(self.parameters()).dtype)
        if self.flat:
            values = values.flatten(1) if values.ndim > 1 else values[:, None]
        elif values.ndim == 3:
            values = values[:, None]
        scores: Tensor = self.parts(values)
        return scores


def initial_weights(module: nn.Module, seed: int, purpose: keyed.Purpose) -> dict[str, Tensor]:
    """Starting weights of the trainable parameters by name, float64: a function of (seed, purpose, name, shape) alone.

    Matrices and kernels are normal with variance 1/fan-in, embeddings normal with variance 1/width (padding rows zero),
    biases 0, scales of normalisations 1; any other vector or number keeps the value it was built with.
    """
    weights: dict[str, Tensor] = {}
    trainable = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    for prefix, part in module.named_modules():
        for kind, parameter in part.named_parameters(recurse=False):
            name = f"{prefix}.{kind}" if prefix else kind
            if name in trainable:
                weights[name] = _initial(part, kind, parameter.detach(), seed, (*purpose, name))
    return {name: weights[name] for name, p in module.named_parameters() if p.requires_grad}


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leaves torch's global generator as it was; inside, modules that draw from it when built always draw the same.

    One thread at a time: the generator is the process's.
    """
    with _GENERATOR:
        before = torch.random.get_rng_state()
        torch.random.set_rng_state(torch.Generator().manual_seed(0).get_state())
        try:
            yield
        finally:
            torch.random.set_rng_state(before)


def _initial(part: nn.Module, kind: str, built: Tensor, seed: int, purpose: keyed.Purpose) -> Tensor:
    shape = tuple(built.shape)
    if isinstance(part, NORMS):
        return torch.full(shape, 0.0 if kind == "bias" else 1.0, dtype=torch.float64)
    if "bias" in kind:
        return torch.zeros(shape, dtype=torch.float64)
    if len(shape) < 2:
        return built.double().cpu().clone()
    normals = torch.from_numpy(keyed.normals(seed, purpose, shape))
    drawn = normals / math.sqrt(max(1, math.prod(shape[1:])))
    if isinstance(part, nn.Embedding) and part.padding_idx is not None:
        drawn[part.padding_idx] = 0
    return drawn


def _x(schema: Schema) -> Column:
    for column in schema.columns:
        if column.name == "x" and column.kind != "T":
            return column
    names = [column.name for column in schema.columns]
    raise InputError(f"This model reads a numeric column 'x', and the columns are {names}: encode them (features).")


def _size(schema: Schema) -> int:
    return math.prod(_x(schema).shape)


def _outputs(schema: Schema, outputs: int | None) -> int:
    if outputs is not None:
        return outputs
    if schema.target is None and not schema.classes:
        raise InputError("The rows have no target, so the number of outputs is unknown: give outputs.")
    return len(schema.classes) or math.prod(schema.target.shape if schema.target is not None else ())


def _check_widths(field: str, widths: tuple[int, ...]) -> None:
    if not isinstance(widths, tuple) or not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError(f"{field} is {widths!r}; a tuple of positive integers was expected, such as (64,).")


def _check_activation(activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"There is no activation {activation!r}; choose one of {sorted(ACTIVATIONS)}.")


def _called(build: Callable[..., object], schema: Schema) -> object:
    """`build` given the schema if it names an argument so or takes one without a default; else given nothing."""
    given = inspect.signature(build).parameters
    if "schema" in given:
        return build(schema=schema)
    needed = any(p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD} for p in given.values())
    return build(schema) if needed else build()
