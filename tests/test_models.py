"""Models: built alike everywhere, drawn from keys, storable, and never at the cost of torch's global generator."""

from __future__ import annotations

import copy
import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from expunge import record
from expunge.errors import InputError
from expunge.models import Linear, Mlp, Model, ModuleFile, SmallConvNet, initial_weights, undisturbed
from expunge.rows import Rows
from expunge.schema import Schema


def schema(*shape: int, y: object = (0, 1, 2), dtype: type = float) -> Schema:
    targets = np.asarray(y)
    return Rows.of(np.zeros((len(targets), *shape), dtype=dtype), targets).schema


MODELS: list[tuple[Model, tuple[int, ...]]] = [
    (Linear(), (5,)),
    (Mlp(), (2, 3)),
    (Mlp((), "relu"), (4,)),
    (Mlp((4, 3), "gelu"), ()),
    (SmallConvNet((3,)), (5, 4)),
    (SmallConvNet((3, 2), "softplus"), (2, 8, 9)),
]
IDS = [f"{type(model).__name__}{i}" for i, (model, _) in enumerate(MODELS)]


@pytest.mark.parametrize(("model", "shape"), MODELS, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int64])
def test_a_model_scores_rows_of_its_schema(model: Model, shape: tuple[int, ...], dtype: type) -> None:
    module = model.build(schema(*shape, dtype=dtype)).double()
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 9, (6, *shape)).astype(dtype))
    scores = module(x)
    assert scores.shape == (6, 3)
    assert scores.dtype == torch.float64
    assert torch.equal(module(x.double()), scores)
    assert model.build(schema(*shape), outputs=1).double()(x).shape == (6, 1)


@pytest.mark.parametrize(("model", "shape"), MODELS, ids=IDS)
def test_building_leaves_the_global_generator_alone_and_repeats_itself(model: Model, shape: tuple[int, ...]) -> None:
    state = torch.random.get_rng_state()
    first = model.build(schema(*shape)).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(3)
    second = model.build(schema(*shape)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_global_generator_comes_back_after_an_error() -> None:
    state = torch.random.get_rng_state()

    def fail() -> None:
        with undisturbed():
            torch.rand(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("model", "shape"), MODELS, ids=IDS)
def test_a_model_is_stored_and_read_back(model: Model, shape: tuple[int, ...]) -> None:
    tree, tensors = record.encode(model)
    assert record.decode(tree, tensors) == model


def test_outputs_follow_the_target() -> None:
    def outputs(y: object) -> int:
        return Linear().build(schema(4, y=y))(torch.zeros((1, 4))).shape[1]

    assert outputs([0, 1, 2, 1]) == 3
    assert outputs([0.5, 1.0]) == 1
    assert outputs([[0.5, 1.0], [0.1, 0.2]]) == 2
    with pytest.raises(InputError, match="give outputs"):
        Linear().build(Rows.of(np.zeros((2, 4))).schema)


class Mixed(nn.Module):
    """One parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 400, padding_idx=3)
        self.attention = nn.MultiheadAttention(400, 4)
        self.convolution = nn.Conv2d(16, 100, 5)
        self.recurrent = nn.GRU(4, 5)
        self.norms = nn.ModuleList(
            [
                nn.BatchNorm1d(4),
                nn.LayerNorm(4),
                nn.GroupNorm(2, 4),
                nn.InstanceNorm1d(4, affine=True),
                nn.RMSNorm((2, 4)),
            ]
        )
        self.slope = nn.PReLU(init=0.3)
        self.temperature = nn.Parameter(torch.tensor(2.0))
        self.frozen = nn.Linear(3, 3).requires_grad_(False)


def test_initial_weights_are_scaled_by_the_kind_of_parameter() -> None:
    module = Mixed()
    for parameter in module.norms.parameters():
        nn.init.constant_(parameter, 5.0)
    weights = initial_weights(module, 7, ("start",))
    assert list(weights) == [name for name, p in module.named_parameters() if p.requires_grad]
    assert all(weights[name].shape == p.shape for name, p in module.named_parameters() if p.requires_grad)
    assert {t.dtype for t in weights.values()} == {torch.float64}
    for name, fan_in in (("embedding.weight", 400), ("attention.in_proj_weight", 400), ("convolution.weight", 400)):
        drawn = weights[name]
        assert drawn.std() * math.sqrt(fan_in) == pytest.approx(1, abs=0.02)
        assert drawn.mean() * math.sqrt(fan_in) == pytest.approx(0, abs=0.02)
    assert torch.equal(weights["embedding.weight"][3], torch.zeros(400, dtype=torch.float64))
    for name, drawn in weights.items():
        if "bias" in name:
            assert not drawn.any(), name
        elif name.startswith("norms"):
            assert torch.equal(drawn, torch.ones_like(drawn)), name
    assert weights["slope.weight"].item() == pytest.approx(0.3)
    assert weights["temperature"].item() == 2.0


def test_initial_weights_are_a_function_of_seed_purpose_and_name() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    state = torch.random.get_rng_state()
    first = initial_weights(module, 1, ("shard", 0))
    assert torch.equal(torch.random.get_rng_state(), state)
    for parameter in module.parameters():
        nn.init.constant_(parameter, 5.0)
    again = initial_weights(module, 1, ("shard", 0))
    assert all(torch.equal(first[name], again[name]) for name in first)
    others = [initial_weights(module, 2, ("shard", 0)), initial_weights(module, 1, ("shard", 1))]
    assert not any(torch.equal(first["0.weight"], other["0.weight"]) for other in others)
    assert not torch.equal(first["0.weight"], first["1.weight"])


def test_a_tied_parameter_is_drawn_once() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    weights = initial_weights(module, 0, ("start",))
    assert list(weights) == ["0.weight", "0.bias", "1.bias"]


def test_a_tied_parameter_keeps_the_value_of_its_first_name() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    alone = initial_weights(module, 0, ("start",))
    module[1].weight = module[0].weight
    assert torch.equal(initial_weights(module, 0, ("start",))["0.weight"], alone["0.weight"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mlp((0,)), "hidden is"),
        (lambda: Mlp([64]), "tuple of positive integers"),  # type: ignore[arg-type]
        (lambda: Mlp(activation="swish"), "no activation 'swish'.*tanh"),
        (lambda: SmallConvNet(()), "channels is empty"),
        (lambda: SmallConvNet((4,), "none"), "no activation"),
        (lambda: SmallConvNet((2, 2)).build(schema(3, 9)), "too small for 2 halvings"),
        (lambda: SmallConvNet().build(schema(9)), r"\(height, width\)"),
        (lambda: Linear().build(Rows.of({"z": np.zeros((2, 3))}, [0, 1]).schema), r"numeric column 'x'.*\['z'\]"),
        (lambda: Linear().build(Rows.of({"x": ["a", "b"]}, [0, 1]).schema), "numeric column 'x'"),
    ],
)
def test_what_cannot_be_built_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


SOURCE = """
from __future__ import annotations
import dataclasses, torch
from torch import nn

@dataclasses.dataclass
class Widths:
    hidden: int = 4

class Net(nn.Module):
    def __init__(self, schema):
        super().__init__()
        self.layer = nn.Linear(schema.columns[0].shape[0], Widths().hidden)
        self.register_buffer("features", torch.randn(4, len(schema.classes)))

    def forward(self, x):
        return self.layer(x) @ self.features

def nothing():
    return nn.Linear(2, 3)

def optional(width=2):
    return nn.Linear(width, 3)

def by_name(*, schema=None):
    return nn.Linear(schema.columns[0].shape[0], 3)

def broken(schema):
    raise KeyError("boom")

def number():
    return 3

instance = nn.Linear(2, 3)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("name", ["Net", "nothing", "optional", "by_name"])
def test_a_module_file_is_built_from_its_stored_text(file: Path, name: str) -> None:
    model = ModuleFile.read(f"{file}:{name}")
    assert model.digest == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert model.path_name == "net.py"
    tree, tensors = record.encode(model)
    file.unlink()
    again = record.decode(tree, tensors)
    assert again == model
    state = torch.random.get_rng_state()
    first, second = (m.build(schema(2)) for m in (model, again))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first(torch.zeros((5, 2))).shape == (5, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.buffers(), second.buffers(), strict=True))
    assert type(copy.deepcopy(first)) is type(first)


def test_reading_a_module_file_executes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text("raise SystemError('executed')")
    model = ModuleFile.read(f"{path}:Net")
    with pytest.raises(InputError, match="SystemError: executed"):
        model.build(schema(2))
    with pytest.raises(InputError, match="SystemError: executed"):
        model.build(schema(2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken", "KeyError: 'boom'"),
        ("number", "gave a int"),
        ("instance", "no class or function 'instance'"),
        ("Absent", "no class or function 'Absent'"),
    ],
)
def test_a_module_file_that_gives_no_module_is_refused(file: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModuleFile.read(f"{file}:{name}").build(schema(2))


def test_a_place_that_names_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the form is path\.py:name"):
        ModuleFile.read("net.py")
    with pytest.raises(InputError, match="cannot be read"):
        ModuleFile.read(f"{tmp_path}/absent.py:Net")
